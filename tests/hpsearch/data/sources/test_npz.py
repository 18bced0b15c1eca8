"""NPZ source: valid and invalid files."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import paths
import pytest
from pydantic import ValidationError

from hpsearch.data.sources import Source, Split, Table
from hpsearch.data.sources.npz import NpzSource
from hpsearch.data.splits import split_indices
from hpsearch.errors import DataError
from tests.hpsearch.data.sources.test_contract import check_contract, written

MNIST = paths.DATA / "mnist.npz"


def npz(folder: Path, arrays: dict[str, Any], **settings: object) -> Table:
    return NpzSource.model_validate({"path": written(folder, **arrays), **settings}).load()


X, Y = np.arange(24).reshape(6, 2, 2).astype(np.uint8), np.array([3, 7, 3, 3, 7, 9])


TEST = {"test_x": "tx", "test_y": "ty"}


def test_rows_and_test_rows(tmp_path: Path) -> None:
    """Rows are flattened to float32, classes are named by value, and test rows are the last ones."""
    table = npz(tmp_path, {"x": X, "y": Y, "tx": X[:2] + 100, "ty": Y[[1, 5]]}, **TEST)
    check_contract(table)
    assert table.x.tolist() == [*X.reshape(6, 4).tolist(), *(X[:2] + 100).reshape(2, 4).tolist()]
    assert table.x.dtype == np.float32
    assert table.classes == ("3", "7", "9") and table.y.tolist() == [0, 1, 0, 0, 1, 2, 1, 2]
    assert {part: rows.tolist() for part, rows in table.parts.items()} == {"test": [6, 7]}
    assert table.features == ("x[0]", "x[1]", "x[2]", "x[3]") and table.split is None


def test_array_names_without_test_rows(tmp_path: Path) -> None:
    table = npz(tmp_path, {"inputs": X, "labels": Y[:, None]}, x="inputs", y="labels")
    assert not table.parts and table.features[3] == "inputs[3]" and len(table.y) == 6


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [("uint8", "f4"), ("bool", "f4"), ("int16", "f4"), ("float16", "f4"), ("float32", "f4"), ("int32", "f8"),
     ("int64", "f8"), ("float64", "f8"), (">f4", "f4"), ("longdouble", "f8")],
)  # fmt: skip
def test_types_of_x(tmp_path: Path, dtype: str, kept: str) -> None:
    """Inputs are float32 only if that represents every value exactly."""
    table = npz(tmp_path, {"x": X.astype(dtype), "y": Y})
    assert table.x.dtype == np.dtype(kept) and (table.x == X.astype(dtype).reshape(6, 4)).all()


@pytest.mark.parametrize("of_test", ["uint8", "float64"])
def test_types_of_training_and_test_inputs(tmp_path: Path, of_test: str) -> None:
    table = npz(tmp_path, {"x": X, "y": Y, "tx": X.astype(of_test) + 1, "ty": Y}, **TEST)
    assert table.x.dtype == (np.float32 if of_test == "uint8" else np.float64)


@pytest.mark.parametrize(
    ("y", "task", "classes", "values"),
    [
        ([3, 1, 3], None, ("1", "3"), [1, 0, 1]),
        ([-1, 10, 2], None, ("-1", "2", "10"), [0, 2, 1]),
        ([True, False, True], None, ("False", "True"), [1, 0, 1]),
        (["no", "yes", "no"], None, ("no", "yes"), [0, 1, 0]),
        ([2.0, 1.0, 2.0], "classification", ("1", "2"), [1, 0, 1]),
        ([2.5, 1.0, 2.0], None, (), [2.5, 1.0, 2.0]),
        ([3, 1, 3], "regression", (), [3.0, 1.0, 3.0]),
    ],
)
def test_targets(tmp_path: Path, y: list[Any], task: str | None, classes: tuple[str, ...], values: list[Any]) -> None:
    table = npz(tmp_path, {"x": X[:3], "y": np.array(y)}, task=task)
    assert table.classes == classes and table.y.tolist() == values
    check_contract(table)


def test_limited_rows(tmp_path: Path) -> None:
    """Only training rows are limited; labels that only the omitted rows have are unknown."""
    arrays = {"x": X, "y": Y, "tx": X, "ty": Y}
    table = npz(tmp_path, arrays | {"ty": Y % 2 * 0 + 3}, rows=4, **TEST)
    assert len(table.y) == 10 and table.parts["test"].tolist() == [4, 5, 6, 7, 8, 9]
    assert table.x[:4].tolist() == X[:4].reshape(4, 4).tolist() and table.classes == ("3", "7")
    with pytest.raises(DataError, match="has labels that y 'y' does not have: 9; the labels are 3, 7"):
        npz(tmp_path, arrays, rows=4, **TEST)


def test_relative_paths_start_at_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, x=X, y=Y)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert len(NpzSource(path="../rows.npz").load().y) == 6


INVALID: dict[str, tuple[dict[str, Any], dict[str, object], str]] = {
    "no array": ({"x": X, "y": Y}, {"x": "xs"}, "has no array 'xs'; did you mean 'x'?"),
    "no test array": ({"x": X, "y": Y}, {"test_x": "Xte", "test_y": "y"}, "has no array 'Xte'; there is x, y"),
    "empty file": ({}, {}, "has no array 'x'"),
    "lengths": ({"x": X, "y": Y[:5]}, {}, "x 'x' and y 'y' must have the same number of rows, got 6 and 5"),
    "test lengths": (
        {"x": X, "y": Y, "tx": X[:2], "ty": Y},
        TEST,
        "test_x 'tx' and test_y 'ty' must have the same number of rows, got 2 and 6",
    ),
    "widths": (
        {"x": X, "y": Y, "tx": X[:, :1], "ty": Y},
        TEST,
        "x and test_x must have the same number of features, got 4 and 2",
    ),
    "objects": ({"x": np.array([{}, 1, 2], object), "y": Y}, {}, "array 'x' holds Python objects"),
    "object labels": ({"x": X, "y": Y.astype(object)}, {}, "array 'y' holds Python objects"),
    "text": ({"x": np.array(["a"] * 6), "y": Y}, {}, "x 'x' must hold numbers, got <U1"),
    "complex": ({"x": X * 1j, "y": Y}, {}, "x 'x' must hold numbers, got complex128"),
    "dates": ({"x": X, "y": Y.astype("datetime64[s]")}, {}, "y 'y' must hold numbers or text, got datetime64[s]"),
    "no rows": ({"x": X[:0], "y": Y[:0]}, {}, "x 'x' is empty: its shape is (0, 2, 2)"),
    "no features": ({"x": X[:, :0], "y": Y}, {}, "x 'x' is empty: its shape is (6, 0, 2)"),
    "no test rows": ({"x": X, "y": Y, "tx": X[:0], "ty": Y[:0]}, TEST, "test_x 'tx' is empty"),
    "one number": ({"x": np.array(3), "y": Y}, {}, "x 'x' must be (rows, …), got a single number"),
    "one label": ({"x": X, "y": np.array(3)}, {}, "y 'y' must hold one value per row, got an array of shape ()"),
    "one-hot": ({"x": X, "y": np.eye(6)}, {}, "y 'y' must hold one value per row, got an array of shape (6, 6)"),
    "labels": (
        {"x": X, "y": Y, "tx": X, "ty": Y + np.arange(6)},
        TEST,
        "test_y 'ty' has labels that y 'y' does not have: 5, 6, 8, 11, 14; the labels are 3, 7, 9",
    ),
    "many labels": (
        {"x": X, "y": Y, "tx": X, "ty": np.arange(10, 16)},
        TEST,
        "does not have: 10, 11, 12, 13, 14, …; the labels",
    ),
    "fractions": (
        {"x": X, "y": Y + 0.5},
        {"task": "classification"},
        "task is classification, so y must hold whole numbers or text, got 3.5",
    ),
    "text task": ({"x": X, "y": Y.astype(str)}, {"task": "regression"}, "y 'y' holds text, but task is regression"),
    "text and numbers": (
        {"x": X, "y": Y, "tx": X, "ty": Y.astype(str)},
        TEST,
        "y and test_y must both be text or both numbers, got int64",
    ),
    "too many rows": ({"x": X, "y": Y}, {"rows": 7}, "rows must be at most the 6 of x 'x', got 7"),
    "channels last": (
        {"x": np.zeros((6, 4, 4, 3)), "y": Y},
        {"image": [3, 4, 4]},
        "x 'x' holds images of shape (4, 4, 3), but image is (3, 4, 4): [channels, height, width]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", INVALID)
def test_invalid_arrays(tmp_path: Path, case: str) -> None:
    """The message names the source, the file, what is required and what was given."""
    arrays, settings, message = INVALID[case]
    with pytest.raises(DataError) as caught:
        npz(tmp_path, arrays, **settings)
    assert str(caught.value).startswith(f"data: npz: {tmp_path / 'rows.npz'}: ") and message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("shape", "image"), [((6, 4, 4), [1, 4, 4]), ((6, 4, 4, 1), [1, 4, 4]), ((6, 48), [3, 4, 4])])
def test_images(tmp_path: Path, shape: tuple[int, ...], image: list[int]) -> None:
    table = npz(tmp_path, {"x": np.zeros(shape), "y": Y}, image=image)
    assert table.x.shape == (6, np.prod(image))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("missing", "there is no such file; a relative path starts at the current folder"),
        ("folder", "is not a readable .npz file"),
        ("empty", "is not a readable .npz file"),
        ("text", "is not a readable .npz file"),
        ("npy", "must be an .npz file of named arrays, got a single array"),
        ("cut", "is not a readable .npz file"),
        ("spoiled", "is not a readable .npz file"),
        ("zip of text", "'x' is not an array"),
    ],
)
def test_unreadable_files(tmp_path: Path, file: str, message: str) -> None:
    path = tmp_path / "rows.npz"
    match file:
        case "folder":
            path.mkdir()
        case "empty":
            path.touch()
        case "text":
            path.write_text("x,y\n1,2\n")
        case "npy":
            with path.open("wb") as opened:
                np.save(opened, X, allow_pickle=False)
        case "cut":
            written(tmp_path, x=X, y=Y)
            path.write_bytes(path.read_bytes()[:-60])
        case "spoiled":
            np.savez_compressed(path, x=np.random.default_rng(0).normal(size=900), y=Y)
            content = bytearray(path.read_bytes())
            content[400:500] = bytes(100)
            path.write_bytes(content)
        case "zip of text":
            import zipfile

            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("x", "text")
                archive.writestr("y", "text")
    with pytest.raises(DataError) as caught:
        NpzSource(path=str(path)).load()
    assert str(caught.value).startswith(f"data: npz: {path}: {message}")


@pytest.mark.parametrize("settings", [{"test_x": "tx"}, {"test_y": "ty"}])
def test_test_arrays_come_in_pairs(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="test_x and test_y must both be given, or neither"):
        NpzSource.model_validate({"path": "rows.npz", **settings})


@pytest.mark.skipif(not MNIST.exists(), reason=f"needs {MNIST}")
def test_mnist() -> None:
    """60,000 + 10,000 rows of 784; the training rows over 255 have mean .1307 and deviation .3081."""
    names = {"x": "Xtr", "y": "ytr", "test_x": "Xte", "test_y": "yte"}
    source: Source = NpzSource.model_validate({"path": str(MNIST), **names})
    table = source.load()
    assert table.x.shape == (70_000, 784) and table.x.dtype == np.float32
    assert table.classes == tuple("0123456789") and table.parts["test"].tolist() == list(range(60_000, 70_000))
    train = table.x[:60_000]
    assert train.mean(dtype=np.float64) / 255 == pytest.approx(0.1307, abs=5e-5)
    assert train.std(dtype=np.float64) / 255 == pytest.approx(0.3081, abs=5e-5)
    few = NpzSource.model_validate({"path": str(MNIST), **names, "rows": 1000}).load()
    assert few.x.tobytes() == np.concatenate([table.x[:1000], table.x[60_000:]]).tobytes()
    assert (few.y == np.concatenate([table.y[:1000], table.y[60_000:]])).all()


def test_times_and_groups_are_arrays(tmp_path: Path) -> None:
    days = np.arange(20).astype("datetime64[D]")[::-1]
    arrays: dict[str, Any] = {
        "x": np.zeros((20, 2)),
        "y": np.arange(20) % 2,
        "day": days,
        "who": np.arange(20) // 2,
        "few": [1, 2],
    }
    np.savez(tmp_path / "a.npz", **arrays)

    def load(**settings: Any) -> Table:
        return NpzSource.model_validate({"source": "npz", "path": str(tmp_path / "a.npz"), **settings}).load()

    read = load(split={"by": "day"}, rows=15)
    assert read.order is not None and read.order.label(0) == "1970-01-20" and len(read.order.values) == 15
    found = split_indices(read, Split(by="day"), 0)
    assert found.train[0].tolist() == [*range(14, 5, -1)] and found.test.tolist() == [2, 1, 0]
    arrays = {"x": np.zeros((4, 2)), "y": [0, 1] * 2, "u": np.ones((2, 2)), "v": [0, 1], "who": [1, 2, 3, 4, 5, 6]}
    np.savez(tmp_path / "b.npz", **arrays)
    path = str(tmp_path / "b.npz")
    read = load(path=path, split={"groups": "who"}, test_x="u", test_y="v", rows=3)
    assert read.order is not None and [read.order.label(k) for k in range(5)] == ["1", "2", "3", "5", "6"]
    for split, words in (
        ({"by": 0}, "split.by must name an array with a value per row, got 0"),
        ({"by": "no"}, "has no array 'no'"),
        ({"groups": "few"}, "split.groups 'few' must hold a number, text or date for each of 20 rows, got int64"),
        ({"by": "day", "as_feature": True}, "cannot be a feature"),
    ):
        with pytest.raises(DataError, match=re.escape(words)):
            load(split=split)


def test_a_guessed_regression_is_reported(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((30, 2)), y=np.arange(30, dtype=np.float32) % 10)
    source = NpzSource(source="npz", path=str(tmp_path / "a.npz"))
    (notice,) = source.load().notices
    assert "task: regression, because y 'y' holds only 10 distinct whole numbers, stored as floats" in notice
    assert "task: classification" in notice
    chosen = NpzSource(source="npz", path=str(tmp_path / "a.npz"), task="classification").load()
    assert not chosen.notices and len(chosen.classes) == 10


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    for path in (tmp_path / "pipe.npz", tmp_path, Path("/dev/zero")):
        with pytest.raises(DataError, match="a regular file is needed"):
            NpzSource.model_validate({"path": str(path)}).load()

"""Sources: formulas recomputed where there is no noise, files that are sound, and files that are not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paths
import pytest
import table_cases
from pydantic import ValidationError
from sklearn import datasets

from hpsearch.data.dataset import fingerprint
from hpsearch.data.frame import Column, Frame
from hpsearch.data.sources import SOURCES, Source, Split, Table
from hpsearch.data.sources.formula import CLOUDS, EXPERIMENTS, FormulaSource
from hpsearch.data.sources.npz import NpzSource
from hpsearch.errors import DataError

MNIST = paths.DATA / "mnist.npz"
F64 = np.dtype(np.float64)
FORMULAS = (*EXPERIMENTS, *CLOUDS)


def formula(name: str, **settings: object) -> Table:
    return FormulaSource.model_validate({"name": name, **settings}).load()


def xy(table: Table, part: str) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a fixed part, or those that are in none."""
    if part in table.parts:
        rows = table.parts[part]  # type: ignore[index]
    else:
        rows = np.setdiff1d(np.arange(len(table.y)), np.concatenate(list(table.parts.values())))
    return table.x[rows], table.y[rows]


# --- every source


EXAMPLES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "sklearn": lambda folder: {"name": "iris"},
    "formula": lambda folder: {"name": "arc"},
    "npz": lambda folder: {"path": written(folder, x=np.eye(4, 3, dtype=np.uint8), y=np.array([0, 1, 1, 0]))},
    "parquet": lambda folder: {**table_cases.written(folder, "parquet", table_cases.people()), "target": "income"},
    "sql": lambda folder: {**table_cases.written(folder, "sql", table_cases.people()), "target": "income"},
    "openml": table_cases.cached,
    "csv": lambda folder: {"path": text(folder, "a,b,c\n1,x,no\n,y,yes\n3,,no\n"), "target": "c"},
}


def written(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "rows.npz", allow_pickle=True, **arrays)
    return str(folder / "rows.npz")


def text(folder: Path, content: str) -> str:
    (folder / "rows.csv").write_text(content, "utf-8")
    return str(folder / "rows.csv")


@pytest.mark.parametrize("name", SOURCES)
def test_sources_keep_the_contract(name: str, tmp_path: Path) -> None:
    """What every source of the menu says of its rows; it survives JSON, and gives the same again."""
    made = SOURCES[name].model_validate(EXAMPLES[name](tmp_path))
    assert made.source == name and type(made).model_validate(made.model_dump(mode="json")) == made
    assert made.split is None and made.image is None and made.scale == made.target_scale == "standard"
    rows, again = made.load(), made.load()
    check_contract(rows)
    assert fingerprint(rows) == fingerprint(again)


def columns(rows: Table) -> list[Column]:
    assert isinstance(rows.x, Frame)
    return list(rows.x.columns.values())


def check_contract(rows: Table) -> None:
    if isinstance(rows.x, Frame):
        assert rows.features == tuple(rows.x.columns) and rows.y.shape == (len(rows.x),)
        assert all(
            len(c.values) == len(rows.x) and (c.values.dtype == F64) == (c.categories is None) for c in columns(rows)
        )
    else:
        assert rows.x.dtype in (np.float32, F64) and rows.x.ndim == 2 and rows.y.shape == (len(rows.x),)
        assert len(rows.features) == rows.x.shape[1] == len(set(rows.features))
    assert rows.y.dtype == (np.int64 if rows.classes else np.float64)
    if rows.classes:
        assert set(np.unique(rows.y).tolist()) == set(range(len(rows.classes)))
    for numbers in rows.parts.values():
        assert numbers.dtype == np.intp and len(np.unique(numbers)) == len(numbers) > 0
        assert numbers.min() >= 0 and numbers.max() < len(rows.x)


def test_image_is_three_sizes() -> None:
    made = FormulaSource.model_validate({"name": "moons", "image": [2, 1, 1]})
    assert made.image == (2, 1, 1)
    for image in ([1, 2], [1, 1, 1, 2], [0, 1, 2], [1.0, 1, 2], "x", 3):
        with pytest.raises(ValidationError):
            FormulaSource.model_validate({"name": "moons", "image": image})


def test_split_without_test() -> None:
    """It is what the others leave; all three are checked as before."""
    assert Split.model_validate({"train": 0.9, "val": 0.1}).test == 0
    assert Split.model_validate({"train": 0.5, "val": 0.2}).test == 0.3
    assert Split.model_validate({"train": 1 / 3, "val": 2 / 3}).test == 0
    assert Split.model_validate({}) == Split(train=0.6, val=0.2, test=0.2)
    for wrong in ({"train": 0.9, "val": 0.2}, {"train": 0.9}, {"train": 0.9, "val": 0.1, "test": 0.2}):
        with pytest.raises(ValidationError, match="add up to 1"):
            Split.model_validate(wrong)


# --- formulas


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_keep_the_contract(name: str) -> None:
    table = formula(name)
    check_contract(table)
    assert table.features == (("x",) if name in ("curve", "overfit") else ("x", "y"))
    assert table.classes == {"curve": (), "overfit": (), "bank": ("0", "1", "2")}.get(name, ("0", "1"))
    fixed = {"overfit": {"train", "val", "test"}}.get(name, {"test"} if name in EXPERIMENTS else set())
    assert set(table.parts) == fixed
    assert table.split == (Split(train=0.9, val=0.1, test=0.0) if fixed == {"test"} else None)


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [("curve", 1000, 200), ("arc", 400, 100), ("bank", 1000, 500), ("overfit", 25, 100)],
)
def test_rows_of_the_experiments(name: str, train: int, test: int) -> None:
    """`rows` is of the training rows; an odd number of them too."""
    assert len(xy(formula(name), "train")[0]) == train and len(xy(formula(name), "test")[0]) == test
    table = formula(name, rows=31)
    assert len(xy(table, "train")[0]) == 31 and len(xy(table, "test")[0]) == test
    check_contract(table)


@pytest.mark.parametrize("name", CLOUDS)
def test_rows_of_the_others(name: str) -> None:
    table = formula(name)
    assert len(table.y) == 1000 and abs(table.y.mean() - 0.5) < (0.1 if name == "xor" else 1e-9)
    assert [len(formula(name, rows=rows).y) for rows in (2, 33, 5000)] == [2, 33, 5000]


@pytest.mark.parametrize("name", sorted(set(FORMULAS) - {"overfit"}))
def test_seeds(name: str) -> None:
    settings = {} if name in EXPERIMENTS else {"noise": 0.1}
    one, again, other = (formula(name, seed=seed, **settings) for seed in (3, 3, 4))
    assert one.x.tobytes() == again.x.tobytes() and one.y.tobytes() == again.y.tobytes()
    assert one.x.tobytes() != other.x.tobytes()
    assert formula(name, **settings).x.tobytes() == formula(name, seed=0, **settings).x.tobytes()


def test_global_generator_is_left_alone() -> None:
    np.random.seed(1)
    before = np.random.random()
    np.random.seed(1)
    for name in FORMULAS:
        formula(name)
    assert np.random.random() == before


def test_curve() -> None:
    """By hand at 0, 1/2 and 1; noise ±.05 about that, flat, and no function of x."""
    x, y = xy(formula("curve"), "test")
    assert (x[:, 0] == np.arange(200) / 199).all() or np.allclose(x[:, 0], np.arange(200) / 199, rtol=1e-14)
    truth = np.polynomial.Polynomial([-0.3, 0, 0.4])(x[:, 0])
    truth += 0.3 * x[:, 0] * np.sin(15 * x[:, 0]) + 0.01 * np.cos(50 * x[:, 0])
    assert np.allclose(y, truth, atol=1e-14)
    assert y[0] == pytest.approx(-0.29) and y[-1] == pytest.approx(0.1 + 0.3 * 0.6502878402 + 0.01 * 0.9649660285)
    x, y = xy(formula("curve", rows=20_000), "train")
    assert x.min() >= 0 and x.max() <= 1 and abs(x.mean() - 0.5) < 0.01 and abs(x.std() - 12**-0.5) < 0.01
    noise = y - (0.4 * x**2 + 0.3 * x * np.sin(15 * x) + 0.01 * np.cos(50 * x) - 0.3)[:, 0]
    assert 0.0499 < np.abs(noise).max() <= 0.05 and abs(noise.std() - 0.1 * 12**-0.5) < 1e-3
    assert abs(np.corrcoef(noise, x[:, 0])[0, 1]) < 0.03


def test_overfit() -> None:
    """Test is val, without the fast sine; nothing is random."""
    table = formula("overfit")
    assert (table.parts["val"] == table.parts["test"]).all()
    assert np.intersect1d(table.parts["train"], table.parts["test"]).size == 0
    x, y = xy(table, "train")
    assert np.allclose(x[:, 0], np.arange(25) * np.pi / 12)
    # sin and sin 5x at 0, π/12·6 = π/2: 1 and 1; at 3π/2: −1 and −1.
    assert np.allclose(y[[0, 6, 12, 18]], [0, 4 / np.pi * 1.2, 0, -4 / np.pi * 1.2])
    assert y[2] == pytest.approx(4 / np.pi * (0.5 + 0.5 / 5))  # sin 30° and sin 150°
    x, y = xy(table, "test")
    assert np.allclose(x[:, 0], np.arange(100) * 2 * np.pi / 99) and np.allclose(y, np.sin(x[:, 0]) * 1.2732395447)
    assert formula("overfit", seed=9).y.tobytes() == table.y.tobytes()


def test_arc() -> None:
    for part, count in (("train", 200), ("test", 50)):
        x, y = xy(formula("arc"), part)
        assert np.bincount(y).tolist() == [count, count]
        for label in (0, 1):
            points = x[y == label]
            assert np.allclose(points[:, 0], np.arange(count) * 3.14 / (count - 1))
            noise = points[:, 1] - np.sin(points[:, 0]) - 0.65 * label
            assert 0.1 < np.abs(noise).max() <= 0.125 and abs(noise.std() - 0.25 * 12**-0.5) < 0.015
    x, y = xy(formula("arc"), "train")
    assert not np.allclose(x[y == 0][:, 1] + 0.65, x[y == 1][:, 1])  # each has noise of its own


def test_bank() -> None:
    for part in ("train", "test"):
        x, y = xy(formula("bank"), part)
        assert np.abs(x).max() <= 0.5
        for (a, b), label in zip(x.tolist(), y.tolist(), strict=True):
            inner = -0.2 < a < 0.2 and -0.2 < b < 0.2
            assert label == (0 if inner else 1 if a * a + b * b < 0.2025 else 2)
    y = formula("bank", rows=40_000).y
    areas = [0.16, np.pi * 0.45**2 - 0.16, 1 - np.pi * 0.45**2]  # the square lies in the disc
    assert np.allclose(np.bincount(y) / len(y), areas, atol=0.01)


@pytest.mark.parametrize("rows", [10, 101])
def test_moons_and_circles_are_those_of_scikit_learn(rows: int) -> None:
    for name, make in (
        ("moons", datasets.make_moons),
        ("circles", lambda *a, **k: datasets.make_circles(*a, factor=0.5, **k)),
    ):
        want, labels = make(rows, shuffle=False, noise=None)
        table = formula(name, rows=rows, noise=0.0)
        assert (table.y == labels).all() and np.allclose(table.x, want, atol=1e-15)


def test_spirals() -> None:
    """On the arm the angle goes with the radius; the arms are each other's turn by half a circle."""
    table = formula("spirals", rows=400, noise=0.0)
    zero, one = (table.x[table.y == label] for label in (0, 1))
    assert np.allclose(zero, -one)
    radius = np.hypot(*zero.T)
    assert np.allclose(radius, np.arange(1, 201) / 200)
    turns = np.unwrap(np.arctan2(zero[:, 0], zero[:, 1]))
    assert np.allclose((turns - turns[0]) / (2 * np.pi), 1.75 * (radius - radius[0]))


def test_xor() -> None:
    table = formula("xor", rows=5000)
    assert np.abs(table.x).max() <= 1 and np.abs(table.x).max() > 0.99
    assert (table.y == (table.x[:, 0] * table.x[:, 1] < 0)).all()


@pytest.mark.parametrize(("name", "noise"), [("spirals", 0.02), ("circles", 0.1), ("moons", 0.1), ("xor", 0.0)])
def test_noise(name: str, noise: float) -> None:
    """Normal, of the deviation that is asked for, in both directions; the default is the same as naming it."""
    quiet, loud = (formula(name, rows=4000, noise=n).x for n in (0.0, 0.3))
    for column in (loud - quiet).T:
        assert abs(column.std() - 0.3) < 0.02 and abs(column.mean()) < 0.03
        assert 0.65 < (np.abs(column) < 0.3).mean() < 0.72
    assert formula(name).x.tobytes() == formula(name, noise=noise).x.tobytes()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments_have_their_own_noise(name: str) -> None:
    with pytest.raises(ValidationError, match=f"noise: the noise of {name} is part of its formula"):
        formula(name, noise=0.1)


# --- files


def npz(folder: Path, arrays: dict[str, Any], **settings: object) -> Table:
    return NpzSource.model_validate({"path": written(folder, **arrays), **settings}).load()


X, Y = np.arange(24).reshape(6, 2, 2).astype(np.uint8), np.array([3, 7, 3, 3, 7, 9])
TEST = {"test_x": "tx", "test_y": "ty"}


def test_rows_of_a_file(tmp_path: Path) -> None:
    """Flattened, float32, classes named by value; test rows after the others."""
    table = npz(tmp_path, {"x": X, "y": Y, "tx": X[:2] + 100, "ty": Y[[1, 5]]}, **TEST)
    check_contract(table)
    assert table.x.tolist() == [*X.reshape(6, 4).tolist(), *(X[:2] + 100).reshape(2, 4).tolist()]
    assert table.x.dtype == np.float32
    assert table.classes == ("3", "7", "9") and table.y.tolist() == [0, 1, 0, 0, 1, 2, 1, 2]
    assert {part: rows.tolist() for part, rows in table.parts.items()} == {"test": [6, 7]}
    assert table.features == ("x[0]", "x[1]", "x[2]", "x[3]") and table.split is None


def test_names_and_no_test_rows(tmp_path: Path) -> None:
    table = npz(tmp_path, {"inputs": X, "labels": Y[:, None]}, x="inputs", y="labels")
    assert not table.parts and table.features[3] == "inputs[3]" and len(table.y) == 6


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [("uint8", "f4"), ("bool", "f4"), ("int16", "f4"), ("float16", "f4"), ("float32", "f4"), ("int32", "f8"),
     ("int64", "f8"), ("float64", "f8"), (">f4", "f4"), ("longdouble", "f8")],
)  # fmt: skip
def test_types_of_x(tmp_path: Path, dtype: str, kept: str) -> None:
    """float32 only where it holds every value."""
    table = npz(tmp_path, {"x": X.astype(dtype), "y": Y})
    assert table.x.dtype == np.dtype(kept) and (table.x == X.astype(dtype).reshape(6, 4)).all()


@pytest.mark.parametrize("of_test", ["uint8", "float64"])
def test_types_of_both_x(tmp_path: Path, of_test: str) -> None:
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


def test_only_the_first_rows(tmp_path: Path) -> None:
    """Of those to train; a label that only the others have is unknown then."""
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


MISTAKES: dict[str, tuple[dict[str, Any], dict[str, object], str]] = {
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


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(tmp_path: Path, mistake: str) -> None:
    """One message: the source, the file, what must hold and what it got."""
    arrays, settings, message = MISTAKES[mistake]
    with pytest.raises(DataError) as caught:
        npz(tmp_path, arrays, **settings)
    assert str(caught.value).startswith(f"data: npz: {tmp_path / 'rows.npz'}: ") and message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("shape", "image"), [((6, 4, 4), [1, 4, 4]), ((6, 4, 4, 1), [1, 4, 4]), ((6, 48), [3, 4, 4])])
def test_images_of_a_file(tmp_path: Path, shape: tuple[int, ...], image: list[int]) -> None:
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
def test_bad_files(tmp_path: Path, file: str, message: str) -> None:
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
def test_both_test_arrays(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="test_x and test_y must both be given, or neither"):
        NpzSource.model_validate({"path": "rows.npz", **settings})


@pytest.mark.skipif(not MNIST.exists(), reason=f"needs {MNIST}")
def test_mnist() -> None:
    """As its README has it: 60,000 + 10,000 × 784, mean .1307 and deviation .3081 of the training rows over 255."""
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

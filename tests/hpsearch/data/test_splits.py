"""Which rows are for what: folds, and what a file says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpsearch.data.sources import Part, Split, Table
from hpsearch.data.splits import SplitIndices, default_split, parts_from_file, split_indices, with_split_file
from hpsearch.errors import DataError


def parted(rows: Table, asked: Split | None, seed: int) -> SplitIndices:
    return split_indices(with_split_file(rows, asked), asked, seed)


def table(labels: list[int] | int, parts: dict[Part, Any] | None = None, classes: int | None = None) -> Table:
    """Rows of these classes, or so many of a regression."""
    y: Any = np.linspace(0, 1, labels) if isinstance(labels, int) else np.array(labels, np.int64)
    count = 0 if isinstance(labels, int) else classes or max(labels) + 1
    fixed = {part: np.array(rows, np.intp) for part, rows in (parts or {}).items()}
    return Table(np.zeros((len(y), 1)), y, ("a",), tuple(f"c{k}" for k in range(count)), fixed)


def folded(count: int, test: float = 0.2) -> Split:
    return Split.model_validate({"folds": count, "test": test})


@settings(max_examples=150)
@given(
    st.integers(2, 6),
    st.lists(st.integers(0, 40), min_size=2, max_size=4),
    st.sampled_from([0.0, 0.2, 0.5]),
    st.integers(0, 2**32),
)
def test_folds(count: int, extra: list[int], test: float, seed: int) -> None:
    """Equal sizes; every row is chosen by once, or always learned from, or of the test; classes in proportion."""
    labels = [k for k, more in enumerate(extra) for _ in range(3 * count + more)]
    rows = table(labels)
    found = parted(rows, folded(count, test), seed)
    assert len(found.train) == len(found.val) == count
    assert {len(t) for t in found.train} == {len(found.train[0])} and {len(v) for v in found.val} == {len(found.val[0])}
    assert abs(len(found.test) - test * len(labels)) <= 1
    chosen = np.concatenate(found.val)
    assert len(np.unique(chosen)) == len(chosen) and not np.isin(chosen, found.test).any()
    always = np.setdiff1d(np.arange(len(labels)), np.concatenate([chosen, found.test]))
    assert len(always) < count
    for train, val in zip(found.train, found.val, strict=True):
        assert np.array_equal(np.sort(np.concatenate([train, val])), np.sort(np.concatenate([chosen, always])))
        assert np.isin(always, train).all()
    of_class = np.array([np.bincount(rows.y[val], minlength=len(extra)) for val in found.val])  # (folds, classes)
    assert (np.ptp(of_class, axis=0) <= 1).all() and of_class.min() >= 1
    again = parted(rows, folded(count, test), seed)
    assert all(np.array_equal(a, b) for a, b in zip(found.train + found.val, again.train + again.val, strict=True))
    assert dict(found.counts) == {"train": len(found.train[0]), "val": len(found.val[0]), "test": len(found.test)}


def test_folds_depend_on_the_seed() -> None:
    rows = table([0, 1] * 30)
    one, other = parted(rows, folded(3), 1), parted(rows, folded(3), 2)
    assert not np.array_equal(one.val[0], other.val[0])


def test_folds_of_a_regression_and_of_fixed_test_rows() -> None:
    found = parted(table(23), folded(4, 0), 1)
    assert [len(v) for v in found.val] == [5] * 4 and [len(t) for t in found.train] == [18] * 4 and not len(found.test)
    found = parted(table([0, 1] * 10, {"test": [3, 4, 5]}), folded(3), 1)
    assert found.test.tolist() == [3, 4, 5]
    assert not np.isin(found.test, np.concatenate(found.train + found.val)).any()
    assert len(found.val[0]) == 5 and len(found.train[0]) == 12


def test_a_class_of_as_many_rows_as_folds_is_in_each() -> None:
    """What is left over when the rows are dealt is taken from the others, wherever that class stands."""
    for labels in ([0] * 4 + [1] * 23, [1] * 4 + [0] * 23, [0] * 13 + [1] * 4 + [2] * 10):
        rows = table(labels)
        for seed in range(5):
            for val in parted(rows, folded(4, 0), seed).val:
                assert set(rows.y[val].tolist()) == set(labels)


@pytest.mark.parametrize(
    ("rows", "asked", "words"),
    [
        (table([0] * 20 + [1] * 3), folded(4, 0), "class 'c1' has only 3 rows; 4 folds need at least 4"),
        (table([0] * 20, classes=2), folded(4, 0), "class 'c1' has only 0 rows; 4 folds need at least 4"),
        (table(3), folded(5, 0), "there are only 3 rows; 5 folds need at least 5"),
        (table([0, 1] * 20, {"val": [1], "test": [2]}), folded(2), "itself says which rows are for validation"),
        (
            table([0] * 20 + [1], {"train": [*range(15)], "val": [15, 20]}),
            None,
            "class 'c1' (1 row) has no training row",
        ),
        (table([0] * 30 + [1]), Split(train=0.4, val=0.3, test=0.3), None),
    ],
    ids=["few", "none", "rows", "val", "train", "drawn"],
)
def test_rows_that_cannot_be_split(rows: Table, asked: Split | None, words: str | None) -> None:
    if words is not None:
        with pytest.raises(DataError) as caught:
            parted(rows, asked, 1)
        assert words in str(caught.value)
        return
    outcomes = set()
    for seed in range(30):  # wherever the only row of a class falls
        try:
            assert 30 in parted(rows, asked, seed).train[0]
            outcomes.add("train")
        except DataError as error:
            assert "class 'c1' (1 row) has no training row" in str(error)
            outcomes.add("refused")
    assert "refused" in outcomes or outcomes == {"train"}


# --- by a file


def test_words_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "split.txt"
    words = ["train", "val", "test", "train", "train"] * 4
    for content in ("\n".join(words), "\ufeff" + "\r\n".join(words) + "\r\n", " " + " \n ".join(words)):
        path.write_text(content, "utf-8", newline="")
        found = parted(table([0, 1] * 10), Split(file=str(path)), 1)
        assert found.train[0].tolist() == [k for k, word in enumerate(words) if word == "train"]
        assert found.val[0].tolist() == list(range(1, 20, 5)) and found.test.tolist() == list(range(2, 20, 5))
    path.write_text("\n".join(words).replace("test", "val"), "utf-8")  # no test rows at all
    found = parted(table([0, 1] * 10), Split(file=str(path)), 1)
    assert len(found.val[0]) == 8 and len(found.test) == 0


def test_numbers_in_a_file(tmp_path: Path) -> None:
    """What they leave out is nobody's; without test rows there are none; without val some of train are to choose by."""
    path = tmp_path / "split.npz"
    np.savez(path, allow_pickle=False, train=np.arange(12), val=np.arange(12, 18), test=np.array([19, 18], np.uint8))
    found = parted(table([0, 1] * 10), Split(file=str(path)), 1)
    assert found.train[0].tolist() == list(range(12)) and found.test.tolist() == [19, 18]
    np.savez(path, allow_pickle=False, train=np.arange(12), val=np.arange(12, 20))
    assert len(parted(table([0, 1] * 10), Split(file=str(path)), 1).test) == 0
    np.savez(path, allow_pickle=False, train=np.arange(16), test=np.arange(16, 20))
    found = parted(table([0, 1] * 10), Split(file=str(path)), 1)
    assert found.test.tolist() == [16, 17, 18, 19] and len(found.val[0]) == 4 and len(found.train[0]) == 12


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"val": [1]}, "must hold an array 'train', got val"),
        ({}, "must hold an array 'train', got none"),
        ({"train": [1.5]}, "train must be a 1-D array of integers, got float64"),
        ({"train": [[1]]}, "train must be a 1-D array of integers"),
        ({"train": [1, 20]}, "train must be within 0…19, got 1…20"),
        ({"train": [1, -1]}, "train must be within 0…19, got -1…1"),
        ({"train": [1, 2], "val": [3, 2]}, "row 2 is in both train and val"),
        ({"train": [1, 2], "val": [3], "test": [3]}, "row 3 is in both val and test"),
        ({"train": [1, 2, 1]}, "a row occurs twice in train"),
        ({"train": [0, 1, 2], "val": [3], "test": [4]}, "data: 15 of 20 rows are in no part"),
        ({"train": ["a"]}, "train must be a 1-D array of integers, got <U1"),
    ],
    ids=["no-train", "nothing", "floats", "matrix", "high", "low", "both", "both-test", "twice", "left", "text"],
)
def test_numbers_that_do_not_fit(arrays: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "split.npz"
    np.savez(path, allow_pickle=False, **{name: np.array(value) for name, value in arrays.items()})
    with pytest.raises(DataError) as caught:
        parted(table([0, 1] * 10), Split(file=str(path)), 1)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    def refused(name: str, content: bytes | None) -> str:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            parts_from_file(path, 3)
        return str(caught.value)

    np.save(tmp_path / "single.npy", np.arange(3), allow_pickle=False)
    np.savez(tmp_path / "objects.npz", allow_pickle=True, train=np.array([{}], object))
    assert "cannot be read: No such file" in refused("none.txt", None)
    assert "cannot be read: No such file" in refused("none.npz", None)
    assert "cannot be read" in refused("torn.npz", b"PK\x03\x04 no zip file")
    assert "must hold an array 'train', got none" in refused("single.npz", (tmp_path / "single.npy").read_bytes())
    assert "cannot be read" in refused("objects.npz", None)
    assert "cannot be read" in refused("latin.txt", b"\xe9")
    assert "must hold a word for each of 3 rows, got 2" in refused("two.txt", b"train\nval\n")
    assert "row 2 must be train, val or test, got 'Val'" in refused("word.txt", b"train\nVal\ntest")
    assert "no row is train" in refused("val.txt", b"val\nval\ntest")


def test_a_file_beside_rows_that_are_fixed(tmp_path: Path) -> None:
    path = tmp_path / "split.txt"
    path.write_text("train\n" * 20, "utf-8")
    with pytest.raises(DataError, match=r"the source itself says which rows are test; leave the file out"):
        parted(table([0, 1] * 10, {"test": [1]}), Split(file=str(path)), 1)


# --- by size


@pytest.mark.parametrize(
    ("rows", "val", "test"), [(20_000, 4_000, 4_000), (20_001, 2_000, 2_000), (200_001, 2_000, 2_000)]
)
def test_fractions_by_size(rows: int, val: int, test: int) -> None:
    chosen = default_split(rows)
    assert abs(chosen.val * rows - val) < 1 and abs(chosen.test * rows - test) < 1
    assert abs(dict(parted(table(rows), None, 1).counts)["val"] - val) <= 1

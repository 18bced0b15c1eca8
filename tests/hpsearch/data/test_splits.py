"""Splits: fractions, fixed parts, folds, and files with the part of each row."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hpsearch.data.sources import Part, Split, Table
from hpsearch.data.sources.sklearn import SklearnSource
from hpsearch.data.splits import (
    SplitIndices,
    default_split,
    part_indices,
    parts_from_file,
    split_indices,
    with_split_file,
    with_train_rows,
)
from hpsearch.errors import DataError


def split_rows(rows: Table, split: Split | None, seed: int) -> SplitIndices:
    return split_indices(with_split_file(rows, split), split, seed)


def table(labels: list[int] | int, parts: dict[Part, Any] | None = None, classes: int | None = None) -> Table:
    """Return a table with these classes, or a regression of this many rows."""
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
    """Folds have equal sizes and are stratified; each row is in one fold, in all training parts, or a test row."""
    labels = [k for k, more in enumerate(extra) for _ in range(3 * count + more)]
    rows = table(labels)
    found = split_rows(rows, folded(count, test), seed)
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
    again = split_rows(rows, folded(count, test), seed)
    assert all(np.array_equal(a, b) for a, b in zip(found.train + found.val, again.train + again.val, strict=True))
    assert dict(found.counts) == {"train": len(found.train[0]), "val": len(found.val[0]), "test": len(found.test)}


def test_folds_depend_on_the_seed() -> None:
    rows = table([0, 1] * 30)
    one, other = split_rows(rows, folded(3), 1), split_rows(rows, folded(3), 2)
    assert not np.array_equal(one.val[0], other.val[0])


def test_folds_of_a_regression_and_of_fixed_test_rows() -> None:
    found = split_rows(table(23), folded(4, 0), 1)
    assert [len(v) for v in found.val] == [5] * 4 and [len(t) for t in found.train] == [18] * 4 and not len(found.test)
    found = split_rows(table([0, 1] * 10, {"test": [3, 4, 5]}), folded(3), 1)
    assert found.test.tolist() == [3, 4, 5]
    assert not np.isin(found.test, np.concatenate(found.train + found.val)).any()
    assert len(found.val[0]) == 5 and len(found.train[0]) == 12


def test_classes_with_one_row_per_fold_are_in_every_fold() -> None:
    """Rows left over come from other classes, whatever the order of the classes."""
    for labels in ([0] * 4 + [1] * 23, [1] * 4 + [0] * 23, [0] * 13 + [1] * 4 + [2] * 10):
        rows = table(labels)
        for seed in range(5):
            for val in split_rows(rows, folded(4, 0), seed).val:
                assert set(rows.y[val].tolist()) == set(labels)


@pytest.mark.parametrize(
    ("rows", "split", "words"),
    [
        (table([0] * 20 + [1] * 3), folded(4, 0), "class 'c1' has only 3 rows; 4 folds need at least 4"),
        (table([0] * 20, classes=2), folded(4, 0), "class 'c1' has only 0 rows; 4 folds need at least 4"),
        (table(3), folded(5, 0), "there are only 3 rows; 5 folds need at least 5"),
        (table([0, 1] * 20, {"val": [1], "test": [2]}), folded(2), "already determines which rows are for validation"),
        (
            table([0] * 20 + [1], {"train": [*range(15)], "val": [15, 20]}),
            None,
            "class 'c1' (1 row) has no training row",
        ),
        (table([0] * 30 + [1]), Split(train=0.4, val=0.3, test=0.3), None),
    ],
    ids=["few", "none", "rows", "val", "train", "drawn"],
)
def test_rows_that_cannot_be_split(rows: Table, split: Split | None, words: str | None) -> None:
    if words is not None:
        with pytest.raises(DataError) as caught:
            split_rows(rows, split, 1)
        assert words in str(caught.value)
        return
    outcomes = set()
    for seed in range(30):  # the only row of a class may be in any part
        try:
            assert 30 in split_rows(rows, split, seed).train[0]
            outcomes.add("train")
        except DataError as error:
            assert "class 'c1' (1 row) has no training row" in str(error)
            outcomes.add("refused")
    assert "refused" in outcomes or outcomes == {"train"}


# --- files


def test_words_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "split.txt"
    words = ["train", "val", "test", "train", "train"] * 4
    for content in ("\n".join(words), "\ufeff" + "\r\n".join(words) + "\r\n", " " + " \n ".join(words)):
        path.write_text(content, "utf-8", newline="")
        found = split_rows(table([0, 1] * 10), Split(file=str(path)), 1)
        assert found.train[0].tolist() == [k for k, word in enumerate(words) if word == "train"]
        assert found.val[0].tolist() == list(range(1, 20, 5)) and found.test.tolist() == list(range(2, 20, 5))
    path.write_text("\n".join(words).replace("test", "val"), "utf-8")  # no test rows at all
    found = split_rows(table([0, 1] * 10), Split(file=str(path)), 1)
    assert len(found.val[0]) == 8 and len(found.test) == 0


def test_indices_in_a_file(tmp_path: Path) -> None:
    """Without test indices there are no test rows; without val indices some training rows become validation rows."""
    path = tmp_path / "split.npz"
    np.savez(path, train=np.arange(12), val=np.arange(12, 18), test=np.array([19, 18], np.uint8))
    found = split_rows(table([0, 1] * 10), Split(file=str(path)), 1)
    assert found.train[0].tolist() == list(range(12)) and found.test.tolist() == [19, 18]
    np.savez(path, train=np.arange(12), val=np.arange(12, 20))
    assert len(split_rows(table([0, 1] * 10), Split(file=str(path)), 1).test) == 0
    np.savez(path, train=np.arange(16), test=np.arange(16, 20))
    found = split_rows(table([0, 1] * 10), Split(file=str(path)), 1)
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
        ({"train": [0, 1, 2], "val": [3], "test": [4]}, "data: 15 of 20 rows are not in any part"),
        ({"train": ["a"]}, "train must be a 1-D array of integers, got <U1"),
    ],
    ids=["no-train", "nothing", "floats", "matrix", "high", "low", "both", "both-test", "twice", "left", "text"],
)
def test_invalid_indices(arrays: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "split.npz"
    np.savez(path, **{name: np.array(value) for name, value in arrays.items()})
    with pytest.raises(DataError) as caught:
        split_rows(table([0, 1] * 10), Split(file=str(path)), 1)
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
    np.savez(tmp_path / "objects.npz", train=np.array([{}], object))
    assert "cannot be read: No such file" in refused("none.txt", None)
    assert "cannot be read: No such file" in refused("none.npz", None)
    assert "cannot be read" in refused("torn.npz", b"PK\x03\x04 no zip file")
    assert "got a single array" in refused("single.npz", (tmp_path / "single.npy").read_bytes())
    assert "cannot be read" in refused("objects.npz", None)
    assert "cannot be read" in refused("latin.txt", b"\xe9")
    assert "must hold a word for each of 3 rows, got 2" in refused("two.txt", b"train\nval\n")
    assert "row 2 must be train, val or test, got 'Val'" in refused("word.txt", b"train\nVal\ntest")
    assert "at least one row must be train" in refused("val.txt", b"val\nval\ntest")


def test_split_file_for_a_source_with_fixed_parts(tmp_path: Path) -> None:
    path = tmp_path / "split.txt"
    path.write_text("train\n" * 20, "utf-8")
    with pytest.raises(DataError, match=r"the source already determines which rows are test; remove file"):
        split_rows(table([0, 1] * 10, {"test": [1]}), Split(file=str(path)), 1)


# --- fractions


@pytest.mark.parametrize(
    ("rows", "val", "test"), [(20_000, 4_000, 4_000), (20_001, 2_000, 2_000), (200_001, 2_000, 2_000)]
)
def test_default_fractions(rows: int, val: int, test: int) -> None:
    chosen = default_split(rows)
    assert abs(chosen.val * rows - val) < 1 and abs(chosen.test * rows - test) < 1
    assert abs(dict(split_rows(table(rows), None, 1).counts)["val"] - val) <= 1


PARTS: tuple[Part, ...] = ("train", "val", "test")
FRACTIONS = st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(0, 8)).map(
    lambda f: Split(train=f[0] / sum(f), val=f[1] / sum(f), test=f[2] / sum(f))
)


@settings(max_examples=60)
@given(st.lists(st.integers(5, 60), min_size=2, max_size=4), FRACTIONS, st.integers(0, 2**64 - 1))
@example([5, 7, 7, 7], Split(train=7 / 15, val=1 / 15, test=7 / 15), 0)
def test_split(counts: list[int], fractions: Split, seed: int) -> None:
    """Each row is in one part, part sizes are exact to one row, and class counts deviate by less than two rows.

    The example is an Alabama paradox: with one row more, the largest-remainder method gives a class fewer rows.
    """
    rows = table([k for k, count in enumerate(counts) for _ in range(count)])
    try:
        parts = part_indices(rows, fractions, seed)
    except DataError as error:
        assert "data.split" in str(error)
        return
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(rows.y)))
    for part in PARTS:
        share = getattr(fractions, part)
        assert abs(len(parts[part]) - share * len(rows.y)) <= 1
        for k, count in enumerate(counts):
            assert abs((rows.y[parts[part]] == k).sum() - share * count) < 2
    assert all((parts[p] == again).all() for p, again in part_indices(rows, fractions, seed).items())


@pytest.mark.parametrize(
    ("name", "fractions", "seed", "digest"),
    [
        ("digits", (0.6, 0.2, 0.2), 0, "f553788449e2bb7f"),
        ("digits", (0.7, 0.3, 0.0), 1, "8ed040c67f0f6def"),
        ("iris", (0.6, 0.2, 0.2), 0, "b7f9118aba1ddb93"),
        ("iris", (0.5, 0.3, 0.2), 2**63 + 5, "06141b304cf2fc9d"),
        ("diabetes", (0.98, 0.01, 0.01), 3, "39825599a262eb80"),
    ],
)
def test_splits_are_stable_across_versions(
    name: str, fractions: tuple[float, float, float], seed: int, digest: str
) -> None:
    """Digests of commit 0161661: a changed split would invalidate all stored studies."""
    parts = part_indices(
        SklearnSource.model_validate({"name": name}).load(), Split(**dict(zip(PARTS, fractions, strict=True))), seed
    )
    content = b"".join(parts[part].astype(np.int64).tobytes() + part.encode() for part in PARTS)
    assert hashlib.sha256(content).hexdigest()[:16] == digest


def test_split_by_size() -> None:
    for rows, fractions in {
        20_000: (0.6, 0.2, 0.2),
        20_001: (0.8, 0.1, 0.1),
        200_000: (0.8, 0.1, 0.1),
        200_001: (0.98, 0.01, 0.01),
    }.items():
        chosen = default_split(rows)
        assert (chosen.train, chosen.val, chosen.test) == fractions
    rows = table([0, 1] * 15_000)
    assert {p: len(r) for p, r in part_indices(rows, None, 1).items()} == {"train": 24_000, "val": 3000, "test": 3000}
    small, same = table([0, 1] * 50), Split()
    assert all(
        (a == b).all()
        for a, b in zip(part_indices(small, None, 4).values(), part_indices(small, same, 4).values(), strict=True)
    )


def with_parts(rows: Table, share: Split | None = None, **parts: list[int]) -> Table:
    numbers = {part: np.array(parts[part], np.intp) for part in PARTS if part in parts}
    return Table(rows.x, rows.y, rows.features, rows.classes, numbers, share)


@settings(max_examples=60)
@given(
    st.lists(st.integers(5, 60), min_size=2, max_size=4),
    FRACTIONS,
    st.sets(st.sampled_from(PARTS), max_size=2),
    st.data(),
)
def test_fixed_parts_are_kept(counts: list[int], fractions: Split, kept: set[Part], data: st.DataObject) -> None:
    """Fixed parts are kept; the other rows are split by the remaining fractions, class by class."""
    plain = table([k for k, count in enumerate(counts) for _ in range(count)])
    order = data.draw(st.permutations(range(len(plain.y))))
    rows = with_parts(plain, fractions, **{p: order[4 * n : 4 * n + 4] for n, p in enumerate(sorted(kept))})
    seed = data.draw(st.integers(0, 2**64 - 1))
    try:
        parts = part_indices(rows, None, seed)
    except DataError as error:
        assert "no row is left for" in str(error) or "not in any part" in str(error)
        return
    assert list(parts) == list(PARTS)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(rows.y)))
    assert all(parts[p].tolist() == list(rows.parts[p]) for p in kept)
    left = np.array(order[4 * len(kept) :])
    whole = sum(getattr(fractions, p) for p in PARTS if p not in kept)
    for part in set(PARTS) - kept:
        share = getattr(fractions, part) / whole
        assert abs(len(parts[part]) - share * len(left)) <= 2
        for k in range(len(counts)):
            assert abs((rows.y[parts[part]] == k).sum() - share * (rows.y[left] == k).sum()) < 2
    assert all((parts[p] == again).all() for p, again in part_indices(rows, None, seed).items())


def test_sources_with_test_rows() -> None:
    """The fractions come from the study file, the source or the number of rows, without test."""
    rows = table([0, 1] * 60)
    test = list(range(100, 120))
    for split, own, train in (
        (None, Split(train=0.9, val=0.1, test=0.0), 90),
        (Split(train=0.7, val=0.3, test=0.0), Split(train=0.9, val=0.1, test=0.0), 70),
        (None, None, 75),
    ):
        parts = part_indices(with_parts(rows, own, test=test), split, 3)
        assert parts["test"].tolist() == test and len(parts["train"]) == train and len(parts["val"]) == 100 - train
        assert abs(np.diff(np.bincount(rows.y[parts["val"]]))) <= 1
    one, other = (part_indices(with_parts(rows, test=test), None, seed)["train"] for seed in (1, 2))
    assert (np.sort(one) != np.sort(other)).any() and (np.diff(one) < 0).any()


def test_all_parts_are_fixed() -> None:
    """No row is drawn, and a row may be in two parts."""
    rows = with_parts(table([0, 1] * 4), train=[5, 1, 0, 2], val=[3, 4, 6, 7], test=[3, 4, 6, 7])
    for seed in (1, 2):
        assert {p: n.tolist() for p, n in part_indices(rows, None, seed).items()} == {
            p: list(n) for p, n in rows.parts.items()
        }


@pytest.mark.parametrize(
    ("parts", "split", "message"),
    [
        ({"test": [0, 1]}, (0.6, 0.2, 0.2), "has 2 test rows of its own, so test must be 0 or omitted, got 0.2"),
        ({"train": [0, 1], "val": [2], "test": [3]}, (0.9, 0.1, 0), "are train, val and test; remove split"),
        ({"train": [0, 1], "val": [2], "test": [3]}, None, "data: 4 of 8 rows are not in any part"),
        ({"train": [0, 1], "val": [2]}, (0.9, 0.1, 0), "data: 5 of 8 rows are not in any part"),
        ({"train": list(range(8))}, None, "data.split: 0 rows are too few: no row is left for val"),
        ({"test": [0, 1], "val": []}, None, "no row is left for val"),
        ({"test": list(range(7))}, None, "data.split: 1 rows are too few: no row is left for val"),
    ],
)  # fmt: skip
def test_invalid_splits(parts: dict[str, list[int]], split: tuple[float, ...] | None, message: str) -> None:
    rows = with_parts(table([0, 1] * 4), **parts)
    with pytest.raises(DataError) as caught:
        part_indices(rows, Split(**dict(zip(PARTS, split, strict=True))) if split else None, 0)
    assert message in str(caught.value)


def test_fixed_parts_need_no_test_rows() -> None:
    rows = with_parts(table([0, 1] * 4), Split(train=0.8, val=0.2, test=0.0), train=[0, 1, 2, 3, 4, 5], val=[6, 7])
    assert part_indices(rows, None, 0)["test"].tolist() == []


def test_class_counts_of_a_split() -> None:
    """The parts are 60, 20 and 20 % of 50, 30 and 20 rows."""
    rows = table([0] * 50 + [1] * 30 + [2] * 20)
    parts = part_indices(rows, Split(train=0.6, val=0.2, test=0.2), 5)
    found = [np.bincount(rows.y[parts[p]]).tolist() for p in PARTS]
    assert found == [[30, 18, 12], [10, 6, 4], [10, 6, 4]]


def test_split_depends_on_the_seed_and_mixes_classes() -> None:
    rows = table([0] * 50 + [1] * 50)
    one, other = part_indices(rows, Split(), 1), part_indices(rows, Split(), 2)
    assert any((one[p] != other[p]).any() for p in PARTS)
    labels = rows.y[one["train"]]
    assert 10 < (labels[1:] != labels[:-1]).sum() < 50  # neither in blocks nor in turns


def test_regression_rows_are_split() -> None:
    values = np.linspace(0, 1, 50)
    parts = part_indices(Table(values[:, None], values, ("x",), ()), Split(train=0.5, val=0.5, test=0.0), 3)
    assert [len(parts[p]) for p in PARTS] == [25, 25, 0]
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(50))
    assert (np.diff(parts["train"]) < 0).any()


def test_empty_parts_are_rejected() -> None:
    with pytest.raises(DataError, match="no row is left for val"):
        part_indices(table([0, 1, 0]), Split(train=0.9, val=0.05, test=0.05), 0)


def test_too_small_classes_name_a_way_out() -> None:
    for split, words in (
        (
            folded(5, 0),
            "class 'c1' has only 2 rows; 5 folds need at least 5: merge it with another class, data.labels: ",
        ),
        (folded(5, 0.5), "class 'c1' has only 1 row; 5 folds need"),
    ):
        with pytest.raises(DataError, match=re.escape(words)):
            split_rows(table([0] * 60 + [1] * 2), split, 0)


def test_a_share_of_the_training_rows_is_set_aside() -> None:
    """It is drawn from the training rows alone, class by class; val and test stay as they are."""
    y = np.repeat([0, 1], [300, 100])
    table = Table(np.zeros((400, 1)), y, ("x",), ("a", "b"))
    without = split_indices(table, Split(train=0.6, val=0.2, test=0.2), 3)
    found = split_indices(table, Split(train=0.6, val=0.2, test=0.2, train_dev=0.1), 3)
    assert found.train_dev is not None and without.train_dev is None
    assert found.val[0].tolist() == without.val[0].tolist() and found.test.tolist() == without.test.tolist()
    assert sorted([*found.train[0], *found.train_dev]) == sorted(without.train[0])
    assert found.counts == (("train", 216), ("val", 80), ("test", 80), ("train_dev", 24))
    assert np.bincount(y[found.train_dev]).tolist() == [18, 6]
    assert split_indices(table, Split(train=0.6, val=0.2, test=0.2, train_dev=0.1), 3).train[0].tolist() == (
        found.train[0].tolist()
    )
    fixed = replace(table, parts={"train": np.arange(0, 380), "val": np.arange(380, 400), "test": np.empty(0, int)})
    of_column = split_indices(fixed, Split(column="part", train_dev=0.5), 3)
    assert of_column.train_dev is not None and len(of_column.train_dev) == 190 and len(of_column.train[0]) == 190


@pytest.mark.parametrize("other", [{"folds": 5}, {"by": "t"}, {"groups": "g"}])
def test_rows_set_aside_need_one_training_part_at_random(other: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="already determines the split; remove train_dev"):
        Split.model_validate({**other, "train_dev": 0.1})


def test_fewer_training_rows() -> None:
    """They are some of the more, in their order; the other parts stay the same."""
    whole = SplitIndices((np.arange(10, 60), np.arange(60, 110)), (np.arange(5), np.arange(5)), np.arange(5, 10))
    found = {count: with_train_rows(whole, count, 3) for count in (5, 20, 50)}
    for count, rows in found.items():
        assert rows.val is whole.val and rows.test is whole.test and rows.counts[0] == ("train", count)
        assert all((np.diff(fold) > 0).all() for fold in rows.train)
    assert set(found[5].train[1]) < set(found[20].train[1]) < set(found[50].train[1]) == set(whole.train[1])
    assert with_train_rows(whole, None, 3) is whole and found[5].train[0][0] != 10
    with pytest.raises(DataError, match=r"^data\.train_rows: there are 50 training rows, got 51$"):
        with_train_rows(whole, 51, 3)

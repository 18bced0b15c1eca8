"""Splits by time and by group: order, whole groups, equal folds, and the same rows on every run."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpsearch.data.column_splits import describe_split
from hpsearch.data.dataset import fingerprint
from hpsearch.data.sources import Split, Table
from hpsearch.data.split_column import SplitColumn
from hpsearch.data.splits import SplitIndices, split_indices, with_split_file
from hpsearch.errors import DataError


def table(
    order: Any, kind: str, labels: list[int] | None = None, test: list[int] | None = None, classes: int = 2
) -> Table:
    """Return a table with these times or groups."""
    values = np.array(order, np.float64 if kind == "by" else np.int64)
    names = tuple(f"g{k}" for k in range(int(max(order)) + 1)) if kind == "groups" else ()
    y: Any = np.linspace(0, 1, len(values)) if labels is None else np.array(labels, np.int64)
    column = SplitColumn("c", kind, values, groups=names)  # type: ignore[arg-type]
    parts: Any = {} if test is None else {"test": np.array(test)}
    called = () if labels is None else tuple(f"c{k}" for k in range(classes))
    return Table(np.zeros((len(values), 1)), y, ("a",), called, parts, order=column)


def rows_of(data: Table, seed: int = 0, **given: Any) -> SplitIndices:
    split = Split.model_validate({data.order.kind: "c", **given})  # type: ignore[union-attr]
    return split_indices(with_split_file(data, split), split, seed)


def refused(data: Table, **given: Any) -> str:
    with pytest.raises(DataError) as caught:
        rows_of(data, **given)
    return str(caught.value)


def by_part(data: Table, found: SplitIndices, fold: int = 0) -> list[Any]:
    """Return the values of the split column in train, val and test."""
    assert data.order is not None
    return [data.order.values[rows] for rows in (found.train[fold], found.val[fold], found.test)]


@settings(max_examples=50)
@given(st.lists(st.integers(0, 30), min_size=12, max_size=80), st.sampled_from([0.0, 0.2]), st.integers(1, 9))
def test_time_never_runs_backward(times: list[int], test: float, seed: int) -> None:
    """Training rows are earlier than validation rows, and these than test rows; no time is on both sides."""
    data = table(times, "by")
    if len(set(times)) < 3:
        return
    found = rows_of(data, seed, train=0.8 - test, val=0.2, test=test)
    train, val, last = by_part(data, found)
    assert train.max() < val.min() and len(train) + len(val) + len(last) == len(times)
    assert (len(last) > 0) == (test > 0) and (not len(last) or val.max() < last.min())
    other = rows_of(data, seed + 1, train=0.8 - test, val=0.2, test=test)
    assert np.array_equal(found.train[0], other.train[0]) and np.array_equal(found.test, other.test)


def test_cuts_by_time_are_as_near_to_the_shares_as_possible() -> None:
    found = rows_of(table(range(10), "by"))
    assert [rows.tolist() for rows in (found.train[0], found.val[0], found.test)] == [
        [0, 1, 2, 3, 4, 5],
        [6, 7],
        [8, 9],
    ]
    tied = rows_of(table([0, 0, 0, 0, 0, 0, 0, 1, 1, 2], "by"))
    assert [len(part) for part in (tied.train[0], tied.val[0], tied.test)] == [7, 2, 1]
    assert rows_of(table([3, 1, 2, 0], "by"), train=0.5, val=0.5, test=0).train[0].tolist() == [3, 1]


@settings(max_examples=30)
@given(st.lists(st.integers(0, 40), min_size=30, max_size=90), st.integers(2, 5), st.sampled_from([0.0, 0.2]))
def test_folds_by_time(times: list[int], count: int, test: float) -> None:
    data = table(times, "by")
    if len(set(times)) < 20:
        return
    found = rows_of(data, folds=count, test=test)
    assert len({len(rows) for rows in found.train}) == len({len(rows) for rows in found.val}) == 1
    assert len(np.unique(np.concatenate(found.val))) == count * len(found.val[0])
    for fold in range(count):
        train, val, last = by_part(data, found, fold)
        assert train.max() < val.min() and (not len(last) or val.max() < last.min())


@settings(max_examples=30)
@given(
    st.lists(st.integers(0, 25), min_size=40, max_size=120),
    st.sampled_from([{}, {"train": 0.7, "val": 0.3}, {"folds": 3}, {"folds": 4, "test": 0}]),
    st.integers(0, 9),
)
def test_groups_are_never_divided(groups: list[int], given: dict[str, Any], seed: int) -> None:
    groups = np.unique(groups, return_inverse=True)[1].tolist()
    data = table(groups, "groups")
    if max(groups) < 8:
        return
    found = rows_of(data, seed, **given)
    for fold in range(len(found.train)):
        train, val, test = map(set, by_part(data, found, fold))
        assert train and val and not (train & val or train & test or val & test)
    assert len({len(rows) for rows in found.train}) == len({len(rows) for rows in found.val}) == 1
    again = rows_of(data, seed, **given)
    assert all(np.array_equal(a, b) for a, b in zip(found.train + found.val, again.train + again.val, strict=True))
    if "folds" not in given:
        assert len(found.train[0]) + len(found.val[0]) + len(found.test) == len(groups)


def test_groups_share_rows_and_classes_evenly() -> None:
    groups, labels = np.repeat(np.arange(200), 5), np.repeat([1, *[0] * 9], 100)
    found = rows_of(table(groups, "groups", labels.tolist()), 3)
    for rows, share in ((found.train[0], 0.6), (found.val[0], 0.2), (found.test, 0.2)):
        assert abs(len(rows) / 1000 - share) < 0.01 and abs(labels[rows].mean() - 0.1) < 0.01
    folds = rows_of(table(groups, "groups", labels.tolist()), 3, folds=5, test=0)
    assert [len(rows) for rows in folds.val] == [200] * 5 and [len(rows) for rows in folds.train] == [800] * 5
    assert not np.array_equal(found.val[0], rows_of(table(groups, "groups", labels.tolist()), 4).val[0])


def test_the_smallest_groups_fill_the_parts_that_would_be_empty() -> None:
    data = table([0] * 30 + [1] * 30 + [2] * 30, "groups")
    found = rows_of(data, train=0.9, val=0.05, test=0.05)
    assert [len(set(part)) for part in by_part(data, found)] == [1, 1, 1]


def test_folds_of_unequal_groups_leave_rows_out() -> None:
    data = table([0] * 20 + [1] * 10 + [2] * 6 + [3] * 4, "groups")
    found = rows_of(data, folds=2, test=0)
    assert [len(rows) for rows in found.val] == [20, 20] == [len(rows) for rows in found.train]
    uneven = rows_of(table([0] * 20 + [1] * 10 + [2] * 6, "groups"), folds=3, test=0)
    assert [len(rows) for rows in uneven.val] == [6] * 3 and [len(rows) for rows in uneven.train] == [16] * 3


def test_fixed_test_rows() -> None:
    """Test rows of the source are kept, if they are later, or of other groups."""
    found = rows_of(table(range(10), "by", test=[8, 9]))
    assert found.test.tolist() == [8, 9] and [len(found.train[0]), len(found.val[0])] == [6, 2]
    assert rows_of(table(range(20), "by", test=[18, 19]), folds=2).test.tolist() == [18, 19]
    found = rows_of(table([0, 0, 1, 1, 2, 2, 3, 3], "groups", test=[6, 7]))
    assert found.test.tolist() == [6, 7] and len(found.train[0]) == 4 and len(found.val[0]) == 2
    assert "test rows begin at 3, but the other rows end at 9; test rows must be later" in refused(
        table(range(10), "by", test=[3])
    )
    assert "must not share a group of 'c', but they share 1 group: 'g1'" in refused(
        table([0, 0, 1, 1, 2], "groups", test=[3])
    )


@pytest.mark.parametrize(
    ("data", "given", "words"),
    [
        (table([1, 1, 2, 2], "by"), {}, "column 'c' has only 2 distinct times; 3 parts need at least 3"),
        (table([0, 0, 1, 1], "groups"), {}, "column 'c' has only 2 groups; 3 parts need at least 3"),
        (table([0, 1, 1], "groups"), {"folds": 3, "test": 0}, "there are only 3 rows; 3 folds by c need 6"),
        (table([0] * 9 + [1] * 9, "groups"), {"folds": 3, "test": 0}, "has only 2 groups; 3 parts need at least 3"),
        (table([0] * 9 + [1] * 3, "by"), {"folds": 3, "test": 0}, "too few distinct times for 3 folds"),
        (
            table(range(10), "by", [0] * 8 + [1] * 2),
            {},
            "class 'c1' (2 rows) has no training row: its rows are all in other parts of the split by 'c'; merge",
        ),
    ],
    ids=["times", "groups", "rows", "folds", "windows", "class"],
)
def test_what_cannot_be_split(data: Table, given: dict[str, Any], words: str) -> None:
    assert words in refused(data, **given)


def test_a_split_is_described() -> None:
    data = table(range(10), "by")
    found = rows_of(data)
    parts: Any = {"train": found.train, "val": found.val, "test": (found.test,)}
    assert data.order is not None
    assert describe_split(data.order, parts) == (
        "split in the order of 'c': train 6 rows from 0 to 5, val 2 rows from 6 to 7, test 2 rows from 8 to 9"
    )
    data = table([0, 0, 1, 1, 2, 2], "groups")
    found = rows_of(data, folds=3, test=0)
    parts = {"train": found.train, "val": found.val, "test": (found.test,)}
    assert data.order is not None
    assert describe_split(data.order, parts) == (
        "split by groups of 'c' into 3 folds, the last one: train 4 rows of 2 groups, val 2 rows of 1 group"
    )


def test_other_times_are_other_data() -> None:
    one, other = table(range(10), "by"), table([*range(9), 20], "by")
    assert fingerprint(one) != fingerprint(other)

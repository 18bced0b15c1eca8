"""Splits that follow a column: by time, so that later rows are never trained on, and by whole groups of rows."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hpsearch.core.text import format_count
from hpsearch.data.sources.base import PART_NAMES, Part, Table
from hpsearch.data.split_column import SplitColumn
from hpsearch.errors import DataError

Indices = npt.NDArray[np.intp]
FoldIndices = tuple[list[Indices], list[Indices], Indices]  # training and validation rows of each fold, test rows
WINDOW = 0.5  # share of the rows that a fold by time trains on


def parts_by_column(
    table: Table, column: SplitColumn, shares: dict[Part, float], generator: np.random.Generator
) -> dict[Part, Indices]:
    """Return the rows of each part.

    Args:
        shares: part → its share, for the parts that the table does not fix; test rows may be fixed.

    Raises:
        DataError: a part would be empty, or the test rows of the table contradict the column.
    """
    shares = {part: share for part, share in shares.items() if share > 0}
    rows = _free_rows(table, column)
    if column.kind == "by":
        ordered = _in_order(column, rows)
        parts = dict(zip(shares, _cut(column, ordered, list(shares.values())), strict=True))
    else:
        parts = dict(zip(shares, _assigned(table, column, rows, list(shares.values()), generator), strict=True))
    none: Indices = np.empty(0, np.intp)
    return {part: table.parts.get(part, parts.get(part, none)) for part in PART_NAMES}


def folds_by_column(
    table: Table, column: SplitColumn, count: int, test: float, generator: np.random.Generator
) -> FoldIndices:
    """Return the rows of each fold, all folds with the same numbers of rows, and the test rows.

    Args:
        test: share of the test rows, unless the table fixes them.

    Raises:
        DataError: there are too few rows, times or groups, or the test rows of the table contradict the column.
    """
    fixed = table.parts.get("test")
    shares: dict[Part, float] = {"train": 1.0} if fixed is not None else {"train": 1 - test, "test": test}
    parts = parts_by_column(table, column, shares, generator)
    if len(parts["train"]) < 2 * count:
        rows = len(parts["train"])
        raise DataError(f"data.split: there are only {rows} rows; {count} folds by {column.name} need {2 * count}")
    if column.kind == "by":
        train, val = _windows(column, parts["train"], count)
    else:
        train, val = _group_folds(table, column, parts["train"], count, generator)
    return train, val, parts["test"]


def describe_split(column: SplitColumn, parts: dict[Part, Sequence[Indices]]) -> str:
    """Return a sentence about a split that follows a column.

    Args:
        parts: part → its rows in each fold.
    """
    folds = len(parts["train"])
    described = []
    for part, rows in parts.items():
        here = rows[-1]
        if len(here) and column.kind == "groups":
            names = np.unique(column.values[here])
            described.append(f"{part} {format_count(len(here), 'row')} of {format_count(len(names), 'group')}")
        elif len(here):
            values = column.values[here]
            first, last = (column.label(int(here[place])) for place in (values.argmin(), values.argmax()))
            described.append(f"{part} {format_count(len(here), 'row')} from {first} to {last}")
    how = f"split in the order of '{column.name}'" if column.kind == "by" else f"split by groups of '{column.name}'"
    if folds == 1:
        return f"{how}: {', '.join(described)}"
    what = "sliding windows" if column.kind == "by" else "folds"
    return f"{how} into {folds} {what}, the last one: {', '.join(described)}"


def _free_rows(table: Table, column: SplitColumn) -> Indices:
    """Return the rows that are not fixed test rows, which must be later or of other groups than these."""
    test = table.parts.get("test", np.empty(0, np.intp))
    rows = np.setdiff1d(np.arange(len(table.y)), test)
    if not len(test) or not len(rows):
        return rows
    if column.kind == "by":
        last, first = rows[column.values[rows].argmax()], test[column.values[test].argmin()]
        if column.values[first] <= column.values[last]:
            raise DataError(
                f"data.split.by: the test rows begin at {column.label(int(first))}, but the other rows end at"
                f" {column.label(int(last))}; test rows must be later"
            )
    elif len(both := np.intersect1d(column.values[rows], column.values[test])):
        name = column.groups[int(both[0])]
        raise DataError(
            f"data.split.groups: the test rows and the other rows must not share a group of '{column.name}', but they"
            f" share {format_count(len(both), 'group')}: {name!r}"
        )
    return rows


def _in_order(column: SplitColumn, rows: Indices) -> Indices:
    return rows[np.argsort(column.values[rows], kind="stable")]


def _cut(column: SplitColumn, ordered: Indices, shares: Sequence[float]) -> list[Indices]:
    """Cut rows in order of time into pieces, each time where the time changes, as near to the shares as possible."""
    values = column.values[ordered]
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    if len(changes) + 1 < len(shares):
        raise DataError(
            f"data.split.by: column '{column.name}' has only {format_count(len(changes) + 1, 'distinct time')};"
            f" {len(shares)} parts need at least {len(shares)}"
        )
    cuts: list[int] = []
    for k in range(1, len(shares)):
        wanted = sum(shares[:k]) / sum(shares) * len(ordered)
        later = len(shares) - 1 - k  # cuts that must follow
        start = int(np.searchsorted(changes, cuts[-1], "right")) if cuts else 0
        possible = changes[start : len(changes) - later]
        cuts.append(int(possible[np.abs(possible - wanted).argmin()]))
    return np.split(ordered, cuts)


def _windows(column: SplitColumn, rows: Indices, count: int) -> tuple[list[Indices], list[Indices]]:
    """Return training and validation rows of each fold: a window of rows, and the rows that follow it.

    A window ends where the time of the first validation row begins, so that no training row has this time.
    """
    ordered = _in_order(column, rows)
    values = column.values[ordered]
    size = int(len(ordered) * (1 - WINDOW) / count)
    starts = [len(ordered) - (count - k) * size for k in range(count)]
    ends = [int(np.searchsorted(values, values[start], "left")) for start in starts]
    window = min(ends)
    if not window:
        raise DataError(
            f"data.split.by: column '{column.name}' has too few distinct times for {count} folds: half of the rows have"
            f" the first one, {column.label(int(ordered[0]))}"
        )
    train = [ordered[end - window : end] for end in ends]
    return train, [ordered[start : start + size] for start in starts]


def _group_folds(
    table: Table, column: SplitColumn, rows: Indices, count: int, generator: np.random.Generator
) -> tuple[list[Indices], list[Indices]]:
    """Return training and validation rows of each fold; rows are left out at random so that folds have equal sizes."""
    folds = _assigned(table, column, rows, [1 / count] * count, generator)
    smallest, largest = min(map(len, folds)), max(map(len, folds))
    train, val = [], []
    for number, fold in enumerate(folds):
        others = np.concatenate([f for k, f in enumerate(folds) if k != number])
        train.append(np.sort(generator.permutation(others)[: len(rows) - largest]))
        val.append(np.sort(generator.permutation(fold)[:smallest]))
    return train, val


def _assigned(
    table: Table, column: SplitColumn, rows: Indices, shares: Sequence[float], generator: np.random.Generator
) -> list[Indices]:
    """Assign whole groups to parts, such that each part has about its share of the rows and of the rows of each class.

    The largest group comes first; each goes to the part p where it adds the least to Σ_c w_p (a_pc / w_p − 1)², where
    a_pc is the part's fraction of the rows of class c, and w_p its share. Groups of equal size are in random order.
    """
    labels = table.y[rows] if table.classes else np.zeros(len(rows), np.int64)
    _, inverse = np.unique(column.values[rows], return_inverse=True)
    sizes = np.bincount(inverse)
    if len(sizes) < len(shares):
        raise DataError(
            f"data.split.groups: column '{column.name}' has only {format_count(len(sizes), 'group')};"
            f" {len(shares)} parts need at least {len(shares)}"
        )
    members = np.split(np.argsort(inverse, kind="stable"), np.cumsum(sizes)[:-1])
    order = generator.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    totals = np.maximum(1, np.bincount(labels)).astype(np.float64)
    weights = np.array(shares)[:, None] / sum(shares)
    filled = np.zeros((len(shares), len(totals) + 1))  # of each class, and of all rows
    part_of = np.empty(len(sizes), np.intp)
    for place, group in enumerate(order):
        classes, counts = np.unique(labels[members[group]], return_counts=True)
        columns = [*classes, len(totals)]
        added = np.array([*(counts / totals[classes]), sizes[group] / len(rows)])
        costs = (added * (2 * filled[:, columns] + added) / weights).sum(axis=1)
        empty = filled[:, -1] == 0
        if len(order) - place <= empty.sum():
            costs[~empty] = np.inf
        chosen = int(costs.argmin())
        part_of[group] = chosen
        filled[chosen, columns] += added
    return [rows[part_of[inverse] == part] for part in range(len(shares))]

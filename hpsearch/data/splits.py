"""Row indices of the training, validation and test parts: by fractions, from a file or a column, or in folds.

`hpsearch.data.column_splits` has the splits by time and by group.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from engine.npz import BROKEN_NPZ, read_npz
from hpsearch.core.files.regular_file import open_regular
from hpsearch.core.seeds import derive
from hpsearch.core.text import format_count
from hpsearch.data.column_splits import Indices, folds_by_column, parts_by_column
from hpsearch.data.frame import Frame
from hpsearch.data.sources.base import PART_NAMES, Part, Split, Table
from hpsearch.data.sources.columns import parts_from_words
from hpsearch.errors import DataError


class SplitIndices(NamedTuple):
    """Row indices of each part.

    Attributes:
        train, val: one array per fold; each fold has the same number of rows.
        test: the test rows, the same for all folds.
        train_dev: rows drawn from the training rows and not trained on; empty without `split.train_dev`.
    """

    train: tuple[Indices, ...]
    val: tuple[Indices, ...]
    test: Indices
    train_dev: Indices | None = None

    @property
    def counts(self) -> tuple[tuple[Part, int], ...]:
        """Number of rows of each part in one fold."""
        counts: tuple[tuple[Part, int], ...] = (
            ("train", len(self.train[0])),
            ("val", len(self.val[0])),
            ("test", len(self.test)),
        )
        return counts if self.train_dev is None else (*counts, ("train_dev", len(self.train_dev)))


def with_train_rows(rows: SplitIndices, count: int | None, seed: int) -> SplitIndices:
    """Return a split with fewer training rows, in their order; those of a smaller number are some of a larger one.

    Args:
        count: training rows of each fold; None for all.

    Raises:
        DataError: there are not so many.
    """
    if count is None:
        return rows
    available = len(rows.train[0])
    if count > available:
        raise DataError(f"data.train_rows: there are {available:,} training rows, got {count:,}")
    first = np.random.default_rng(seed).permutation(available)[:count]
    return rows._replace(train=tuple(fold[np.sort(first)] for fold in rows.train))


def with_split_file(table: Table, split: Split | None) -> Table:
    """Return the table with the parts that the file of `data.split.file` fixes, if there is one.

    Raises:
        DataError: the file cannot be read or does not match the rows, or `data.split.column` is given for a source
            without columns.
    """
    if split is not None and split.column is not None and not isinstance(table.x, Frame):
        raise DataError("data.split.column: only tables (csv, parquet, sql, openml) have named columns; remove it")
    if split is not None and table.order is None and (split.by is not None or split.groups is not None):
        which = "by" if split.by is not None else "groups"
        raise DataError(f"data.split.{which}: only tables (csv, parquet, sql, openml) and npz have columns; remove it")
    if split is None or split.file is None:
        return table
    if table.parts:
        fixed = ", ".join(table.parts)
        raise DataError(f"data.split.file: the source already determines which rows are {fixed}; remove file")
    if table.row_filter is None:
        return replace(table, parts=parts_from_file(Path(split.file), len(table.y)))
    number = np.cumsum(table.row_filter) - 1  # row of the source → row of the table
    parts = parts_from_file(Path(split.file), len(table.row_filter))
    return replace(table, parts={part: number[rows[table.row_filter[rows]]] for part, rows in parts.items()})


def split_indices(table: Table, split: Split | None, seed: int) -> SplitIndices:
    """Split the rows by the study file's settings, else by the source's.

    Raises:
        DataError: a required part would be empty, a class has no training row, or the settings contradict the source.
    """
    share = 0.0 if split is None else split.train_dev
    if split is not None and (split.file is not None or split.column is not None):
        split = None  # already in table.parts
    if "test" in table.parts and "val" not in table.parts and "train" in table.parts:
        table = replace(table, parts={"test": table.parts["test"]})  # validation rows are drawn from the others
    if split is not None and split.folds is not None:
        found = fold_indices(table, split, split.folds, seed)
        if table.order is not None:
            for train in found.train:
                _check_classes(table, train)
        return found
    parts = part_indices(table, split, seed)
    train, train_dev = parts["train"], None
    if share:
        train, train_dev = _without_train_dev(table, train, share, derive(seed, "train_dev"))
    _check_classes(table, train)
    return SplitIndices((train,), (parts["val"],), parts["test"], train_dev)


def _without_train_dev(table: Table, train: Indices, share: float, seed: int) -> tuple[Indices, Indices]:
    """Return the training rows without a share of them, and this share, drawn class by class.

    Raises:
        DataError: one of them would be empty.
    """
    shares: dict[Part, float] = {"train": 1 - share, "train_dev": share}
    whole = replace(table, parts={})
    drawn = _stratified(whole, train, shares, np.random.default_rng(seed))
    for part, rows in drawn.items():
        if not len(rows):
            raise DataError(f"data.split: {len(train)} rows are too few: no row is left for {part}")
    return drawn["train"], drawn["train_dev"]


def fold_indices(table: Table, split: Split, count: int, seed: int) -> SplitIndices:
    """Split the rows into stratified folds, after setting aside the test rows.

    Each fold is the validation part once and a training part for the other folds. All folds have the same size and, up
    to one row, the same number of rows of each class. Rows left over are training rows of all folds; they are taken
    from the most frequent classes.

    Raises:
        DataError: a class has fewer rows than there are folds, or the source fixes the validation rows.
    """
    if "val" in table.parts:
        raise DataError("data.split: the source already determines which rows are for validation; remove folds")
    generator = np.random.default_rng(seed)
    rows = np.arange(len(table.y))
    if "test" in table.parts and split.test not in (0, Split().test):
        raise DataError(f"data.split: the source has {len(table.parts['test'])} test rows of its own; remove test")
    if table.order is not None:
        train, val, test = folds_by_column(table, table.order, count, split.test, generator)
        return SplitIndices(tuple(train), tuple(val), test)
    if "test" in table.parts:
        test = table.parts["test"]
        rows = np.setdiff1d(rows, test)
    else:
        drawn = _stratified(table, rows, {"train": 1 - split.test, "test": split.test}, generator)
        rows, test = drawn["train"], np.sort(drawn["test"])
    if len(rows) < count:
        raise DataError(f"data.split: there are only {len(rows)} rows; {count} folds need at least {count}")
    folds, rest = _assign_folds(table, generator.permutation(rows), count)
    train = [np.sort(np.concatenate([rest, *(folds[:fold] + folds[fold + 1 :])])) for fold in range(count)]
    return SplitIndices(tuple(train), tuple(folds), test)


def _assign_folds(table: Table, rows: Indices, count: int) -> tuple[list[Indices], Indices]:
    """Return the validation rows of each fold, and the rows left over."""
    if table.classes:
        rows = rows[np.argsort(table.y[rows], kind="stable")]
        sizes = np.bincount(table.y[rows], minlength=len(table.classes))
    else:
        sizes = np.array([len(rows)])
    used = sizes.copy()  # rows of each class that are in a fold
    for _ in range(len(rows) % count):
        used[used.argmax()] -= 1
    for name, rows_of_class in zip(table.classes, used, strict=False):
        if rows_of_class < count:
            raise DataError(
                f"data.split: class {name!r} has only {format_count(int(rows_of_class), 'row')}; {count} folds need at"
                f" least {count}: merge it with another class, data.labels: {{{name!r}: …}}, or set train and val"
                " instead of folds"
            )
    classes = np.split(rows, np.cumsum(sizes)[:-1])
    assigned = np.concatenate([of_class[:n] for of_class, n in zip(classes, used, strict=True)])
    rest = np.concatenate([of_class[n:] for of_class, n in zip(classes, used, strict=True)])
    return [np.sort(assigned[fold::count]) for fold in range(count)], rest


def parts_from_file(path: Path, rows: int) -> dict[Part, Indices]:
    """Read the parts from a file: one word per line, or arrays of row indices in an `.npz` file.

    Args:
        rows: number of rows of the table.

    Raises:
        DataError: the file cannot be read or does not match the number of rows.
    """
    where = f"data.split.file: {path}"
    try:
        if path.suffix == ".npz":
            with open_regular(path) as file:
                arrays = read_npz(file, PART_NAMES)
            indices_of: dict[Part, Any] = {part: arrays[part] for part in PART_NAMES if part in arrays}
        else:
            with open_regular(path) as file:
                words = [line.strip() for line in file.read().decode("utf-8-sig").splitlines()]
            return parts_from_words(words, rows, where)
    except BROKEN_NPZ as error:
        raise DataError(f"{where}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    for part, indices in indices_of.items():
        if indices.ndim != 1 or indices.dtype.kind not in "iu":
            raise DataError(
                f"{where}: {part} must be a 1-D array of integers, got {indices.dtype} of shape {indices.shape}"
            )
        if len(indices) and not (indices.min() >= 0 and indices.max() < rows):
            raise DataError(f"{where}: {part} must be within 0…{rows - 1}, got {indices.min()}…{indices.max()}")
    if "train" not in indices_of:
        raise DataError(f"{where}: must hold an array 'train', got {', '.join(indices_of) or 'none'}")
    parts = {part: indices.astype(np.intp) for part, indices in indices_of.items()}
    for part, indices in parts.items():
        if len(np.unique(indices)) < len(indices):
            raise DataError(f"{where}: a row occurs twice in {part}")
    if "val" in parts and "test" not in parts:
        parts["test"] = np.empty(0, np.intp)
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        both = np.intersect1d(parts.get(one, []), parts.get(other, []))  # type: ignore[call-overload]
        if len(both):
            raise DataError(f"{where}: row {both[0]} is in both {one} and {other}")
    return parts


def _check_classes(table: Table, train: Indices) -> None:
    """Raise a DataError if a class has no training row."""
    absent = sorted(set(range(len(table.classes))) - set(np.unique(table.y[train]).tolist())) if table.classes else []
    if absent:
        count = int((table.y == absent[0]).sum())
        name, order = table.classes[absent[0]], table.order
        where = "" if order is None else f": its rows are all in other parts of the split by '{order.name}'"
        raise DataError(
            f"data.split: class {name!r} ({format_count(count, 'row')}) has no training row{where}; merge it with"
            f" another class, data.labels: {{{name!r}: …}}, or split in another way"
        )


def part_indices(table: Table, fractions: Split | None, seed: int) -> dict[Part, Indices]:
    """Return the row indices of each part: parts fixed by the source unchanged, the others drawn at random.

    Drawing is stratified. The fractions of the drawn parts are relative to the rows that the source does not fix.

    Args:
        fractions: fractions of the study file; None for those of the source, else `default_split`.

    Raises:
        DataError: a required part would be empty, or fractions are given for a part that the source fixes.
    """
    if fractions is not None:
        _check_fractions(table, fractions)
    chosen = fractions or table.split or default_split(len(table.y))
    drawn = {part: getattr(chosen, part) for part in PART_NAMES if part not in table.parts}
    free = np.ones(len(table.y), np.bool_)
    for indices in table.parts.values():
        free[indices] = False
    rows = np.flatnonzero(free)
    if len(rows) and not any(drawn.values()):
        raise DataError(f"data: {len(rows)} of {len(free)} rows are not in any part")
    generator = np.random.default_rng(seed)
    if table.order is not None:
        parts = parts_by_column(table, table.order, drawn, generator)
    else:
        parts = {**table.parts, **_stratified(table, rows, drawn, generator)}
    for part in PART_NAMES:
        if not len(parts[part]) and drawn.get(part, part != "test"):
            raise DataError(f"data.split: {len(rows)} rows are too few: no row is left for {part}")
    return {part: parts[part] for part in PART_NAMES}


def default_split(rows: int) -> Split:
    """Return the default fractions: 1 % of a large table is enough for validation."""
    if rows <= 20_000:
        return Split(train=0.6, val=0.2, test=0.2)
    return Split(train=0.8, val=0.1, test=0.1) if rows <= 200_000 else Split(train=0.98, val=0.01, test=0.01)


def _stratified(
    table: Table, rows: Indices, fractions: dict[Part, float], generator: np.random.Generator
) -> dict[Part, Indices]:
    """Draw rows for parts by fractions, class by class.

    If the table fixes other parts, the fractions are rescaled to add up to 1. The last part with a fraction above 0
    takes the remaining rows.
    """
    if not len(rows) or not fractions:
        return dict.fromkeys(fractions, rows)
    order = rows[generator.permutation(len(rows))]
    labels = table.y[order] if table.classes else np.zeros(len(order))
    classes = [order[labels == label] for label in np.unique(labels)]
    shares = list(fractions.values())
    whole = sum(shares) if table.parts else 1.0
    ends = [
        round(sum(shares[:k]) / whole * len(order)) if any(shares[k:]) else len(order) for k in range(1, len(shares))
    ]
    cuts = [[0] * len(classes)]
    for end in ends:
        cuts.append(_apportion([len(c) for c in classes], end, cuts[-1]))
    pieces = [np.split(c, places) for c, *places in zip(classes, *cuts[1:], strict=True)]
    drawn = (generator.permutation(np.concatenate(piece)) for piece in zip(*pieces, strict=True))
    return dict(zip(fractions, drawn, strict=True))


def _check_fractions(table: Table, fractions: Split) -> None:
    if len(table.parts) == len(PART_NAMES):
        raise DataError("data.split: the source already determines which rows are train, val and test; remove split")
    omitted = table.order is not None and fractions.test == Split().test
    if "test" in table.parts and fractions.test and not omitted:
        raise DataError(
            f"data.split: the source has {len(table.parts['test'])} test rows of its own,"
            f" so test must be 0 or omitted, got {fractions.test}"
        )


def _apportion(sizes: list[int], total: int, least: list[int]) -> list[int]:
    """Apportion `total` rows to classes of these sizes by the largest-remainder method.

    For a larger total, the method may assign fewer rows to a class (the Alabama paradox). So each class gets at least
    `least` rows; the additional rows are taken from the classes that are furthest above their exact share.
    """
    exact = [total * size / sum(sizes) for size in sizes]
    shares = [int(e) for e in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda k: (shares[k] - exact[k], k))
    for k in by_remainder[: total - sum(shares)]:
        shares[k] += 1
    shares = [max(pair) for pair in zip(shares, least, strict=True)]
    for _ in range(sum(shares) - total):
        above = [k for k in range(len(sizes)) if shares[k] > least[k]]
        shares[max(above, key=lambda k: shares[k] - exact[k])] -= 1
    return shares

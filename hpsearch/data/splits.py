"""Which rows are for training, for choosing and for the test: by fractions, fixed by a file, or in folds."""

import io
import zlib
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, get_args
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from hpsearch.data.frame import Frame
from hpsearch.data.sources import Part, Split, Table
from hpsearch.data.sources.tables import by_words
from hpsearch.errors import DataError

PARTS: tuple[Part, ...] = get_args(Part)
Numbers = npt.NDArray[np.intp]


class SplitIndices(NamedTuple):
    """Row numbers. Each fold has as many training rows as the others and as many to choose by; the test rows are one
    for all."""

    train: tuple[Numbers, ...]
    val: tuple[Numbers, ...]
    test: Numbers

    @property
    def counts(self) -> tuple[tuple[Part, int], ...]:
        """How many rows each part of a fold has."""
        return ("train", len(self.train[0])), ("val", len(self.val[0])), ("test", len(self.test))


def fixed(table: Table, asked: Split | None) -> Table:
    """A table with the parts that a file fixes, when the study file names one.

    Raises:
        DataError: the file cannot be read or does not go with the rows, or the rows have no columns to say it.
    """
    if asked is not None and asked.column is not None and not isinstance(table.x, Frame):
        raise DataError("data.split.column: only tables (csv, parquet, sql, openml) have columns that can say it")
    if asked is None or asked.file is None:
        return table
    if table.parts:
        own = ", ".join(table.parts)
        raise DataError(f"data.split.file: the source itself says which rows are {own}; leave the file out")
    return replace(table, parts=by_file(Path(asked.file), len(table.y)))


def cut(table: Table, asked: Split | None, seed: int) -> SplitIndices:
    """A table's rows, as its study file or its source says.

    Raises:
        DataError: a part that should have rows would have none, or what is asked does not go with the rows.
    """
    if asked is not None and (asked.file is not None or asked.column is not None):
        asked = None  # which says what the table holds
    if "test" in table.parts and "val" not in table.parts and "train" in table.parts:
        table = replace(table, parts={"test": table.parts["test"]})  # some of the others are to choose by
    if asked is not None and asked.folds is not None:
        return folds(table, asked, asked.folds, seed)
    parts = split(table, asked, seed)
    _check_classes(table, parts["train"])
    return SplitIndices((parts["train"],), (parts["val"],), parts["test"])


def folds(table: Table, asked: Split, count: int, seed: int) -> SplitIndices:
    """Rows that are not for the test, dealt over folds: each is chosen by once, and learned from by the other folds.

    All have equally many: what is left over when the rows are dealt is always learned from. Every class is in every
    fold, in proportion; what is left over is of the most frequent ones.

    Raises:
        DataError: a class has fewer rows than there are folds, or the source fixes which rows to choose by.
    """
    if "val" in table.parts:
        raise DataError("data.split: the source itself says which rows are to choose by; leave folds out")
    generator = np.random.default_rng(seed)
    rows = np.arange(len(table.y))
    if "test" in table.parts:
        test = table.parts["test"]
        if asked.test not in (0, Split().test):
            raise DataError(f"data.split: the source has {len(test)} test rows of its own, so leave test out")
        rows = np.setdiff1d(rows, test)
    else:
        drawn = _draw(table, rows, {"train": 1 - asked.test, "test": asked.test}, generator)
        rows, test = drawn["train"], np.sort(drawn["test"])
    size, left = divmod(len(rows), count)
    if not size:
        raise DataError(f"data.split: {len(rows)} rows are too few for {count} folds")
    rows = generator.permutation(rows)
    if table.classes:
        rows = rows[np.argsort(table.y[rows], kind="stable")]
        sizes = np.bincount(table.y[rows], minlength=len(table.classes))
    else:
        sizes = np.array([len(rows)])
    spread = sizes.copy()  # how many of each class are dealt
    for _ in range(left):
        spread[spread.argmax()] -= 1
    for name, rows_of in zip(table.classes, spread, strict=False):
        if rows_of < count:
            raise DataError(f"data.split: class {name!r} has {rows_of} rows to deal, too few for {count} folds")
    classes = np.split(rows, np.cumsum(sizes)[:-1])
    dealt = np.concatenate([of_class[:n] for of_class, n in zip(classes, spread, strict=True)])
    always = np.concatenate([of_class[n:] for of_class, n in zip(classes, spread, strict=True)])
    numbers = [np.sort(dealt[fold::count]) for fold in range(count)]
    train = [np.sort(np.concatenate([always, *(numbers[:fold] + numbers[fold + 1 :])])) for fold in range(count)]
    return SplitIndices(tuple(train), tuple(numbers), test)


def by_file(path: Path, rows: int) -> dict[Part, Numbers]:
    """What a file says of each part: a word in each line, or arrays of row numbers in an `.npz` file.

    Raises:
        DataError: it cannot be read, or does not go with so many rows.
    """
    where = f"data.split.file: {path}"
    try:
        if path.suffix == ".npz":
            arrays = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
            found = {part: arrays[part] for part in PARTS if part in arrays}
        else:
            words = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
            return by_words(words, rows, where)
    except (OSError, EOFError, ValueError, RuntimeError, BadZipFile, zlib.error) as error:
        raise DataError(f"{where}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    for part, numbers in found.items():
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            raise DataError(f"{where}: {part} must be a row of whole numbers, got {numbers.dtype} {numbers.shape}")
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < rows):
            raise DataError(f"{where}: {part} must lie in 0…{rows - 1}, got {numbers.min()}…{numbers.max()}")
    if "train" not in found:
        raise DataError(f"{where}: must hold an array 'train', got {', '.join(found) or 'none'}")
    parts = {part: numbers.astype(np.intp) for part, numbers in found.items()}
    for part, numbers in parts.items():
        if len(np.unique(numbers)) < len(numbers):
            raise DataError(f"{where}: a row is twice in {part}")
    if "val" in parts and "test" not in parts:
        parts["test"] = np.empty(0, np.intp)
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        both = np.intersect1d(parts.get(one, []), parts.get(other, []))  # type: ignore[call-overload]
        if len(both):
            raise DataError(f"{where}: row {both[0]} is in both {one} and {other}")
    return parts


def _check_classes(table: Table, train: Numbers) -> None:
    """That every class can be learned."""
    absent = sorted(set(range(len(table.classes))) - set(np.unique(table.y[train]).tolist())) if table.classes else []
    if absent:
        count = int((table.y == absent[0]).sum())
        raise DataError(
            f"data.split: class {table.classes[absent[0]]!r} ({count} row{'s' * (count != 1)}) has none"
            " among the training rows"
        )


def split(table: Table, fractions: Split | None, seed: int) -> dict[Part, npt.NDArray[np.intp]]:
    """Row numbers of each part: those that the source fixes as they are, the others shuffled.

    Every class is spread over the parts in proportion. The fractions of the parts that are not fixed are taken of the
    rows that are not.

    Args:
        fractions: those of the study file; None for the source's own, else by the number of rows.

    Raises:
        DataError: a part that should have rows would have none, or fractions are given for what the source fixes.
    """
    if fractions is not None:
        _check_asked(table, fractions)
    chosen = fractions or table.split or default_split(len(table.y))
    drawn = {part: getattr(chosen, part) for part in PARTS if part not in table.parts}
    free = np.ones(len(table.y), np.bool_)
    for numbers in table.parts.values():
        free[numbers] = False
    rows = np.flatnonzero(free)
    if len(rows) and not any(drawn.values()):
        raise DataError(f"data: {len(rows)} of {len(free)} rows are in no part")
    parts = {**table.parts, **_draw(table, rows, drawn, np.random.default_rng(seed))}
    for part in PARTS:
        if not len(parts[part]) and drawn.get(part, part != "test"):
            raise DataError(f"data.split: {len(rows)} rows leave none for {part}")
    return {part: parts[part] for part in PARTS}


def default_split(rows: int) -> Split:
    """The fractions where neither the study file nor the source says: 1 % of many rows is enough to choose by."""
    if rows <= 20_000:
        return Split(train=0.6, val=0.2, test=0.2)
    return Split(train=0.8, val=0.1, test=0.1) if rows <= 200_000 else Split(train=0.98, val=0.01, test=0.01)


def _draw(
    table: Table, rows: npt.NDArray[np.intp], fractions: dict[Part, float], generator: np.random.Generator
) -> dict[Part, npt.NDArray[np.intp]]:
    """Rows over parts by fractions that need not add up to 1; the last part that has one takes what is left."""
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
        cuts.append(_shares([len(c) for c in classes], end, cuts[-1]))
    pieces = [np.split(c, places) for c, *places in zip(classes, *cuts[1:], strict=True)]
    drawn = (generator.permutation(np.concatenate(piece)) for piece in zip(*pieces, strict=True))
    return dict(zip(fractions, drawn, strict=True))


def _check_asked(table: Table, fractions: Split) -> None:
    if len(table.parts) == len(PARTS):
        raise DataError("data.split: the source itself says which rows are train, val and test; leave split out")
    if "test" in table.parts and fractions.test:
        raise DataError(
            f"data.split: the source has {len(table.parts['test'])} test rows of its own,"
            f" so test must be 0 or left out, got {fractions.test}"
        )


def _shares(sizes: list[int], total: int, least: list[int]) -> list[int]:
    """`total` rows from classes of these sizes in proportion, by the method of largest remainders.

    That may give a class fewer rows of a larger total (Alabama's paradox): never fewer than `least`; what this adds is
    taken from the classes that are furthest above their proportion.
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

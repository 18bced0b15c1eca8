"""A source's rows, split and scaled once, in files that every worker maps instead of copying."""

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, final, get_args

import numpy as np
import numpy.typing as npt

from engine.data import Rows
from engine.losses import Logistic, Loss, SoftmaxCrossEntropy, SquaredError
from engine.scaling import SCALERS, Scaler, Standard
from engine.types import DType, Floats, Shape
from hpsearch.errors import DataError, OutputError
from hpsearch.seeds import derive
from hpsearch.sources import Part, Source, Split, Table

DTYPE: DType = np.dtype(np.float32)
PARTS: tuple[Part, ...] = get_args(Part)
BLOCK = 1 << 20  # numbers scaled and written at a time


@final
@dataclass(frozen=True)
class Dataset:
    """Where prepared rows lie, and what a network for them looks like. Small: it travels with every task.

    Attributes:
        folder: holds `<part>_x.npy (rows, *inputs)` and `<part>_y.npy (rows, outputs)`, float32.
        inputs: shape of a row: `(features,)`, or `(channels, height, width)` where rows are images.
        outputs: of the network.
        classes: a name for each; empty for a regression.
        fingerprint: of the rows as they came from the source.
        rows: part → how many.
    """

    folder: str
    inputs: Shape
    outputs: int
    classes: tuple[str, ...]
    fingerprint: str
    rows: tuple[tuple[Part, int], ...]

    @property
    def loss(self) -> Loss:
        """Softmax for classes, a single sigmoid for two of them, squared error for a regression."""
        if not self.classes:
            return SquaredError()
        return Logistic() if len(self.classes) == 2 else SoftmaxCrossEntropy()

    def part(self, part: Part) -> Rows | None:
        """The rows of a part; None when it has none."""
        return _mapped(self.folder, part) if dict(self.rows)[part] else None


@final
@dataclass(frozen=True, eq=False)
class Scaling:
    """What was done to the rows, so that a model can do it again: None where nothing was.

    Columns are scaled each by itself. Images are scaled by channel: all pixels of a channel are one column, so that a
    pixel that is rarely lit is not blown up, and an object looks the same wherever it stands.
    """

    x: Scaler | None
    y: Scaler | None

    def inputs(self, x: Floats, shape: Shape) -> Floats:
        """Rows `(rows, features)` as the source gives them → `(rows, *shape)` as the network takes them."""
        if self.x is None:
            return x.astype(DTYPE).reshape(len(x), *shape)
        scaled = self.x.apply(_columns(x, shape)).astype(DTYPE)
        if len(shape) == 1:
            return scaled
        channels, height, width = shape
        return np.ascontiguousarray(np.moveaxis(scaled.reshape(len(x), height, width, channels), -1, 1))


def prepare(source: Source, seed: int, folder: Path) -> tuple[Dataset, Scaling]:
    """Loads, splits and scales; writes the parts into a folder.

    Raises:
        DataError: the rows cannot be read or learned from.
        OutputError: the folder cannot be written, or is full.
    """
    table = source.load()
    _check(table, source)
    inputs: Shape = source.image or table.x.shape[1:]
    parts = split(table, source.split, derive(seed, "split"))
    train = parts["train"]
    standard = not table.classes and source.target_scale == "standard"
    scaling = Scaling(
        x=None if source.scale == "none" else SCALERS[source.scale].fit(_columns(table.x[train], inputs)),
        y=Standard.fit(table.y[train].astype(np.float64)[:, None]) if standard else None,
    )
    y = scaling.y.apply(table.y.astype(np.float64)[:, None])[:, 0] if scaling.y else table.y
    dataset = Dataset(
        folder=str(folder),
        inputs=inputs,
        outputs=len(table.classes) if len(table.classes) > 2 else 1,
        classes=table.classes,
        fingerprint=fingerprint(table),
        rows=tuple((part, len(numbers)) for part, numbers in parts.items()),
    )
    try:
        for part, numbers in parts.items():
            targets = dataset.loss.targets(y[numbers], dataset.outputs, DTYPE)
            np.save(folder / f"{part}_y.npy", targets, allow_pickle=False)
            blocks = (scaling.inputs(table.x[some], inputs) for some in _blocks(numbers, table.x.shape[1]))
            _write(folder / f"{part}_x.npy", (len(numbers), *inputs), blocks)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror or error}") from None
    return dataset, scaling


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
    chosen = fractions or table.split or by_size(len(table.y))
    drawn = {part: getattr(chosen, part) for part in PARTS if part not in table.parts}
    free = np.ones(len(table.y), np.bool_)
    for numbers in table.parts.values():
        free[numbers] = False
    rows = np.flatnonzero(free)
    if len(rows) and not any(drawn.values()):
        raise DataError(f"data: {len(rows)} of {len(free)} rows are in no part")
    parts = {**table.parts, **_draw(table, rows, drawn, np.random.default_rng(seed))}
    for part in PARTS:
        if not len(parts[part]) and drawn.get(part, 1):
            raise DataError(f"data.split: {len(rows)} rows leave none for {part}")
    return {part: parts[part] for part in PARTS}


def by_size(rows: int) -> Split:
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


def fingerprint(table: Table) -> str:
    """A digest of the rows as they came, and of what is fixed about their parts."""
    digest = hashlib.sha256()
    fixed = [(part, np.asarray(table.parts[part], np.int64)) for part in PARTS if part in table.parts]
    for name, array in (("", table.x), ("", table.y), *fixed):
        digest.update(f"{name}{array.shape}{array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def _check(table: Table, source: Source) -> None:
    """That the rows can be learned from; a constant column is no mistake, it becomes 0."""
    if not table.x.size:
        raise DataError(f"data: {source.source}: there must be rows and features, got an array of {table.x.shape}")
    if source.image and prod(source.image) != table.x.shape[1]:
        raise DataError(
            f"data.image: {list(source.image)} needs {prod(source.image)} features a row,"
            f" the rows of {source.source} have {table.x.shape[1]}"
        )
    columns: tuple[tuple[tuple[str, ...], npt.NDArray[Any]], ...]
    columns = ((table.features, table.x), (("the target",), table.y[:, None]))
    for names, values in columns:
        bad = _unusable(values)
        if bad:
            shown = [f"{names[k]!r} ({count} of {len(values)} rows)" for k, count in list(bad.items())[:5]]
            more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
            what = "column" if len(bad) == 1 else "columns"
            raise DataError(f"data: {source.source}: NaN or infinite values in {what} {', '.join(shown)}{more}")
    found = np.unique(table.y)
    if table.classes and len(found) == 1:
        raise DataError(
            f"data: {source.source}: the target must have at least two classes,"
            f" got {table.classes[int(found[0])]!r} in all {len(table.y)} rows"
        )


def _unusable(values: npt.NDArray[Any]) -> dict[int, int]:
    """Column → in how many rows it holds what is no number, or none in float32."""
    most = np.finfo(DTYPE).max
    with np.errstate(invalid="ignore"):
        sound = (values.min(axis=0) >= -most) & (values.max(axis=0) <= most)
        return {int(k): int((~(np.abs(values[:, k]) <= most)).sum()) for k in np.flatnonzero(~sound)}


def _columns(x: Floats, shape: Shape) -> Floats:
    """What is scaled alike, a column each: `(rows, features)`, or of images `(rows·height·width, channels)`."""
    if len(shape) == 1:
        return x
    return np.moveaxis(x.reshape(len(x), *shape), 1, -1).reshape(-1, shape[0])


def _blocks(numbers: npt.NDArray[np.intp], width: int) -> Iterator[npt.NDArray[np.intp]]:
    rows = max(1, BLOCK // width)
    return (numbers[start : start + rows] for start in range(0, len(numbers), rows))


def _write(path: Path, shape: Shape, blocks: Iterator[Floats]) -> None:
    """An `.npy` file of `DTYPE`, block by block: the whole of it is never in memory."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": np.lib.format.dtype_to_descr(DTYPE), "fortran_order": False, "shape": shape}
        )
        for block in blocks:
            file.write(np.ascontiguousarray(block).data)


@functools.lru_cache(maxsize=8)
def _mapped(folder: str, part: Part) -> Rows:
    x: Any = np.load(f"{folder}/{part}_x.npy", mmap_mode="r", allow_pickle=False)
    y: Any = np.load(f"{folder}/{part}_y.npy", mmap_mode="r", allow_pickle=False)
    return Rows(_plain(x), _plain(y))


def _plain(mapped: Any) -> Floats:
    """The same memory as a plain array: `np.memmap` costs several times as much a slice."""
    return np.asarray(mapped).view(np.ndarray)

"""A source's rows, split and prepared once, in files that every worker maps instead of copying."""

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from engine.data.rows import Rows
from engine.losses import Logistic, Loss, SoftmaxCrossEntropy, SquaredError
from engine.types import Floats, Shape
from hpsearch.core.seeds import derive
from hpsearch.core.space import Point, Value
from hpsearch.data.column_warnings import MANY_CATEGORIES
from hpsearch.data.frame import Column, Frame
from hpsearch.data.preprocessing import DTYPE, FLOAT32_MAX, Preprocessing, fit
from hpsearch.data.sources import Part, Source, Table
from hpsearch.data.splits import PARTS, SplitIndices, cut, fixed
from hpsearch.errors import DataError, OutputError

BLOCK = 1 << 20  # numbers prepared and written at a time
MOST = 64  # ways of preparing that a study may try
SHOWN, CELLS = 3, 3000  # rows and cells of an example


@final
@dataclass(frozen=True)
class Dataset:
    """Where prepared rows lie, and what a network for them looks like. Small: it travels with every task.

    Attributes:
        folder: holds `<part>_x.npy (folds · rows, *inputs)` and `<part>_y.npy (folds · rows, outputs)`, float32.
        inputs: shape of a row: `(features,)`, or `(channels, height, width)` where rows are images.
        outputs: of the network.
        classes: a name for each; empty for a regression.
        fingerprint: of the rows as they came from the source.
        rows: part → how many, of one fold.
        folds: of the cross-validation; 1 when there is none.
        units: for each fold, what 0 and a difference of 1 in the network's outputs are in the target's own units.
        number: among the ways in which the study prepares rows.
        choices: the parameters that say how rows are prepared.
        variants: their values → the rows prepared so; the first one is this itself.
        notices: what a person should know of how the rows were read.
    """

    folder: str
    inputs: Shape
    outputs: int
    classes: tuple[str, ...]
    fingerprint: str
    rows: tuple[tuple[Part, int], ...]
    folds: int = 1
    units: tuple[tuple[float, float], ...] = ((0.0, 1.0),)
    number: int = 0
    choices: tuple[str, ...] = ()
    variants: tuple[tuple[tuple[Value, ...], "Dataset"], ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def loss(self) -> Loss:
        """Softmax for classes, a single sigmoid for two of them, squared error for a regression."""
        if not self.classes:
            return SquaredError()
        return Logistic() if len(self.classes) == 2 else SoftmaxCrossEntropy()

    def at(self, point: Point) -> "Dataset":
        """The rows as they are prepared at a point."""
        return dict(self.variants)[tuple(point[name] for name in self.choices)] if self.variants else self

    def part(self, part: Part) -> Rows | None:
        """The rows of a part; None when it has none."""
        return _mapped(self.folder, part, self.folds) if dict(self.rows)[part] else None


def prepare(
    source: Source, seed: int, folder: Path, choices: Mapping[str, Sequence[Value]] | None = None
) -> tuple[Dataset, tuple[tuple[Preprocessing, ...], ...]]:
    """Loads, splits and prepares; writes the parts into a folder.

    Args:
        choices: parameters that say how rows are prepared → all their values.

    Returns:
        The rows, and what was done to them: for each way of preparing them one for each fold.

    Raises:
        DataError: the rows cannot be read or learned from.
        OutputError: the folder cannot be written, or is full.
    """
    choices = choices or {}
    ways = prod(map(len, choices.values()))
    if ways > MOST:
        raise DataError(f"data: {', '.join(choices)} give {ways} ways to prepare the rows; at most {MOST}")
    table = fixed(source.load(), source.split)
    _check(table, source)
    rows = cut(table, source.split, derive(seed, "split"))
    first = Dataset(
        folder=str(folder),
        inputs=(),
        outputs=len(table.classes) if len(table.classes) > 2 else 1,
        classes=table.classes,
        fingerprint=fingerprint(table),
        rows=rows.counts,
        folds=len(rows.train),
        choices=tuple(choices),
        notices=(*table.notices, *_noticed(table, source, rows)),
    )
    made = []
    for number, values in enumerate(product(*choices.values())):
        try:
            place = folder / str(number) if number else folder
            place.mkdir(exist_ok=True)
            point = dict(zip(choices, values, strict=True))
            dataset, done = _prepared(table, source, rows, point, replace(first, folder=str(place)))
        except OSError as error:
            raise OutputError(f"{place}: cannot be written: {error.strerror or error}") from None
        made.append((values, replace(dataset, number=number), done))
    variants = tuple((values, dataset) for values, dataset, _ in made) if choices else ()
    return replace(made[0][1], variants=variants), tuple(done for _, _, done in made)


def _prepared(
    table: Table, source: Source, rows: SplitIndices, point: Point, dataset: Dataset
) -> tuple[Dataset, tuple[Preprocessing, ...]]:
    """One way of preparing the rows: fitted, applied and written."""
    x, folder = table.x, Path(dataset.folder)
    config = source.preprocessing_config(point)
    input_format = {**table.input_format, "example": example(x, rows.train[0])}
    described = (table.features, input_format, source.image, config, rows.train)
    folds = fit(x, table.y, *described, regression=not table.classes)
    inputs: Shape = (folds[0].width,) if isinstance(x, Frame) else source.image or x.shape[1:]
    if not prod(inputs):
        raise DataError(f"data: {source.source}: no column is left to learn from")
    of_part: dict[Part, tuple[npt.NDArray[np.intp], ...]] = {
        "train": rows.train,
        "val": rows.val,
        "test": (rows.test,) * len(folds),
    }
    for part, each in of_part.items():
        y = [preprocessing.targets(table.y[numbers]) for preprocessing, numbers in zip(folds, each, strict=True)]
        targets = dataset.loss.targets(np.concatenate(y), dataset.outputs, DTYPE)
        np.save(folder / f"{part}_y.npy", targets, allow_pickle=False)
        blocks = (
            preprocessing.inputs(x.take(some) if isinstance(x, Frame) else x[some], inputs)
            for preprocessing, numbers in zip(folds, each, strict=True)
            for some in _blocks(numbers, prod(inputs))
        )
        _write(folder / f"{part}_x.npy", (sum(map(len, each)), *inputs), blocks)
    return replace(dataset, inputs=inputs, units=tuple(p.unit for p in folds)), folds


def example(x: Floats | Frame, rows: npt.NDArray[np.intp]) -> list[list[float | str | None]]:
    """The first of some rows as they came, to show what a model takes: numbers and names, None where a cell is missing.

    Few enough for a person to read: three, or less where they are long.
    """
    width = len(x.columns) if isinstance(x, Frame) else x.shape[1]
    first = rows[: min(SHOWN, max(1, CELLS // width))]
    if not isinstance(x, Frame):
        return [[float(cell) for cell in row] for row in x[first]]
    return [list(row) for row in zip(*(_cells(column.take(first)) for column in x.columns.values()), strict=True)]


def _cells(column: Column) -> list[float | str | None]:
    names, missing = column.categories, column.missing
    there = column.values.tolist() if names is None else [names[code] for code in column.values]
    return [None if gap else cell for cell, gap in zip(there, missing, strict=True)]


def fingerprint(table: Table) -> str:
    """A digest of the rows as they came, and of what is fixed about their parts."""
    digest = hashlib.sha256()
    fixed = [(part, np.asarray(table.parts[part], np.int64)) for part in PARTS if part in table.parts]
    arrays: list[tuple[str, npt.NDArray[Any]]]
    if isinstance(table.x, Frame):
        arrays = [(f"{name}{column.categories or ''}", column.values) for name, column in table.x.columns.items()]
        arrays.append((f"{table.classes}", np.empty(0)))
    else:
        arrays = [("", table.x)]
    for name, array in (*arrays, ("", table.y), *fixed):
        digest.update(f"{name}{array.shape}{array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def _noticed(table: Table, source: Source, rows: SplitIndices) -> Iterator[str]:
    """What was done with the rows that a person may not expect."""
    count = len(table.y)
    if source.split is None and table.split is None and not table.parts and count > 20_000:
        sizes = ", ".join(f"{part} {number:,}" for part, number in rows.counts)
        yield f"{count:,} rows, split by their number: {sizes}; data.split says otherwise"
    if not isinstance(table.x, Frame):
        return
    pool = np.concatenate([*rows.train[:1], *rows.val[:1]])
    for name, column in table.x.columns.items():
        known = column.values[pool]
        there = known[~column.missing[pool]]
        if not len(there):
            yield f"column '{name}' holds nothing: it becomes 0"
        elif (there == there[0]).all() and len(there) == len(known):
            yield f"column '{name}' is the same in all rows: nothing can be learned from it"
        elif column.categories is not None and len(column.categories) > MANY_CATEGORIES:
            yield (
                f"column '{name}' has {len(column.categories):,} categories: the most frequent ones get columns of"
                " their own, the others share one (data.max_categories, data.min_frequency); drop it if it is an"
                " identifier"
            )


def _check(table: Table, source: Source) -> None:
    """That the rows can be learned from; a constant column is no mistake, it becomes 0."""
    if isinstance(table.x, Frame):
        if not len(table.x) or not table.x.columns:
            raise DataError(f"data: {source.source}: there must be rows and columns to learn from, got none")
        for name, column in table.x.columns.items():
            large = np.flatnonzero(np.abs(column.values) > FLOAT32_MAX)  # which no code is
            if len(large):
                got = f"{column.values[large[0]]} in row {large[0] + 1}"
                raise DataError(
                    f"data: {source.source}: column '{name}' must hold numbers within ±{FLOAT32_MAX:.3g}, got {got}"
                )
    else:
        _check_array(table, table.x, source)
    _check_finite(source, ("the target",), table.y[:, None])
    found = np.unique(table.y)
    if table.classes and len(found) == 1:
        raise DataError(
            f"data: {source.source}: the target must have at least two classes,"
            f" got {table.classes[int(found[0])]!r} in all {len(table.y)} rows"
        )


def _check_array(table: Table, x: Floats, source: Source) -> None:
    if not x.size:
        raise DataError(f"data: {source.source}: there must be rows and features, got an array of {x.shape}")
    if source.image and prod(source.image) != x.shape[1]:
        raise DataError(
            f"data.image: {list(source.image)} needs {prod(source.image)} features a row,"
            f" the rows of {source.source} have {x.shape[1]}"
        )
    _check_finite(source, table.features, x)


def _check_finite(source: Source, names: Sequence[str], values: npt.NDArray[Any]) -> None:
    bad = _unusable(values)
    if bad:
        shown = [f"{names[k]!r} ({count} of {len(values)} rows)" for k, count in list(bad.items())[:5]]
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        what = "column" if len(bad) == 1 else "columns"
        raise DataError(f"data: {source.source}: NaN or infinite values in {what} {', '.join(shown)}{more}")


def _unusable(values: npt.NDArray[Any]) -> dict[int, int]:
    """Column → in how many rows it holds what is no number, or none in float32."""
    most = np.finfo(DTYPE).max
    with np.errstate(invalid="ignore"):
        sound = (values.min(axis=0) >= -most) & (values.max(axis=0) <= most)
        return {int(k): int((~(np.abs(values[:, k]) <= most)).sum()) for k in np.flatnonzero(~sound)}


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


@functools.lru_cache(maxsize=64)
def _mapped(folder: str, part: Part, folds: int) -> Rows:
    x: Any = np.load(f"{folder}/{part}_x.npy", mmap_mode="r", allow_pickle=False)
    y: Any = np.load(f"{folder}/{part}_y.npy", mmap_mode="r", allow_pickle=False)
    return Rows(_plain(x), _plain(y), folds)


def _plain(mapped: Any) -> Floats:
    """The same memory as a plain array: `np.memmap` costs several times as much a slice."""
    return np.asarray(mapped).view(np.ndarray)

"""The rows of a source, split and preprocessed once, in files that all workers map into memory."""

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
from hpsearch.data.column_splits import describe_split
from hpsearch.data.column_warnings import NOTICE_CATEGORIES, class_warnings
from hpsearch.data.frame import Column, Frame
from hpsearch.data.preprocessing import DTYPE, FLOAT32_MAX, Preprocessing, fit
from hpsearch.data.sources.base import PART_NAMES, Part, Source, Table
from hpsearch.data.splits import SplitIndices, split_indices, with_split_file, with_train_rows
from hpsearch.errors import DataError, OutputError

BLOCK_SIZE = 1 << 20  # numbers preprocessed and written at a time
MAX_VARIANTS = 64  # ways to preprocess the rows that a study may try
EXAMPLE_ROWS, EXAMPLE_CELLS = 3, 3000  # limits of an example


@final
@dataclass(frozen=True)
class Dataset:
    """Reference to prepared rows, with a network's input and output shapes; small, because each task carries it.

    Attributes:
        folder: holds `<part>_x.npy (folds · rows, *inputs)` and `<part>_y.npy (folds · rows, outputs)`, float32.
        inputs: shape of a row: `(features,)`, or `(channels, height, width)` for images.
        outputs: number of the network's outputs.
        classes: names of the classes; empty for a regression.
        fingerprint: digest of the rows as read from the source.
        rows: part → number of rows in each fold; variants may have other numbers of training rows.
        folds: number of cross-validation folds; 1 without cross-validation.
        rarer: index of the rarer of two classes in the rows that are not test rows; the second one of equally frequent
            classes.
        units: for each fold, (offset, scale) of the target: value = offset + scale · output.
        number: index among the variants.
        choices: names of the parameters that change the preprocessing.
        variants: values of `choices` → the dataset prepared with them; the first one is this dataset.
        notices: messages for the user about how the rows were read.
    """

    folder: str
    inputs: Shape
    outputs: int
    classes: tuple[str, ...]
    fingerprint: str
    rows: tuple[tuple[Part, int], ...]
    folds: int = 1
    rarer: int = 1
    units: tuple[tuple[float, float], ...] = ((0.0, 1.0),)
    number: int = 0
    choices: tuple[str, ...] = ()
    variants: tuple[tuple[tuple[Value, ...], "Dataset"], ...] = ()
    notices: tuple[str, ...] = ()

    @classmethod
    def empty(cls, folder: str) -> "Dataset":
        """Return the dataset of a study without data."""
        return cls(folder, (), 0, (), "", tuple((part, 0) for part in PART_NAMES))

    @property
    def loss(self) -> Loss:
        """Softmax cross-entropy, a single sigmoid for two classes, squared error for a regression."""
        if not self.classes:
            return SquaredError()
        return Logistic() if len(self.classes) == 2 else SoftmaxCrossEntropy()

    def at(self, point: Point) -> "Dataset":
        """Return the variant for a point."""
        return dict(self.variants)[tuple(point[name] for name in self.choices)] if self.variants else self

    def moved(self, folder: str) -> "Dataset":
        """Return the dataset whose files were copied to another folder."""
        variants = tuple(
            (values, replace(v, folder=str(Path(folder, Path(v.folder).relative_to(self.folder)))))
            for values, v in self.variants
        )
        return replace(self, folder=folder, variants=variants)

    def part(self, part: Part) -> Rows | None:
        """Return the rows of a part, None if it is empty."""
        return _mapped(self.folder, part, self.folds) if dict(self.rows).get(part) else None


def prepare(
    source: Source, seed: int, folder: Path, choices: Mapping[str, Sequence[Value]] | None = None
) -> tuple[Dataset, tuple[tuple[Preprocessing, ...], ...]]:
    """Load, split and preprocess the rows of a source, and write the parts into a folder.

    Args:
        seed: seed of the study, from which the seed of the split is derived.
        folder: an existing folder; variants after the first are written to numbered subfolders.
        choices: parameters that change the preprocessing → all their values.

    Returns:
        The dataset, and the fitted preprocessing as `[variant][fold]`.

    Raises:
        DataError: the rows cannot be read or learned from.
        OutputError: the folder cannot be written or the disk is full.
    """
    choices = choices or {}
    count = prod(map(len, choices.values()))
    if count > MAX_VARIANTS:
        raise DataError(
            f"data: {', '.join(choices)} give {count} ways to preprocess the rows; at most {MAX_VARIANTS} are allowed"
        )
    table = with_split_file(source.load(), source.split)
    _check_table(table, source)
    rows = split_indices(table, source.split, derive(seed, "split"))
    first = Dataset(
        folder=str(folder),
        inputs=(),
        outputs=len(table.classes) if len(table.classes) > 2 else 1,
        classes=table.classes,
        fingerprint=fingerprint(table),
        rows=rows.counts,
        folds=len(rows.train),
        rarer=_rarer(table, rows),
        choices=tuple(choices),
        notices=(*table.notices, *_notices(table, source, rows)),
    )
    prepared = []
    for number, values in enumerate(product(*choices.values())):
        try:
            subfolder = folder / str(number) if number else folder
            subfolder.mkdir(exist_ok=True)
            point = dict(zip(choices, values, strict=True))
            used = with_train_rows(rows, source.train_rows_at(point), derive(seed, "train rows"))
            draft = replace(first, folder=str(subfolder), rows=used.counts)
            dataset, folds = _prepare_variant(table, source, used, point, draft)
        except OSError as error:
            raise OutputError(f"{subfolder}: cannot be written: {error.strerror or error}") from None
        prepared.append((values, replace(dataset, number=number), folds))
    variants = tuple((values, dataset) for values, dataset, _ in prepared) if choices else ()
    return replace(prepared[0][1], variants=variants), tuple(folds for _, _, folds in prepared)


def _prepare_variant(
    table: Table, source: Source, rows: SplitIndices, point: Point, dataset: Dataset
) -> tuple[Dataset, tuple[Preprocessing, ...]]:
    """Fit, apply and write the preprocessing of one point."""
    x, folder = table.x, Path(dataset.folder)
    config = source.preprocessing_config(point)
    input_format = {**table.input_format, "example": example_rows(x, rows.train[0])}
    fitted_to = (table.features, input_format, source.image, config, rows.train)
    folds = fit(x, table.y, *fitted_to, regression=not table.classes)
    inputs: Shape = (folds[0].width,) if isinstance(x, Frame) else source.image or x.shape[1:]
    if not prod(inputs):
        raise DataError(f"data: {source.source}: there is no column left to learn from")
    parts: dict[Part, tuple[npt.NDArray[np.intp], ...]] = {
        "train": rows.train,
        "val": rows.val,
        "test": (rows.test,) * len(folds),
    }
    if rows.train_dev is not None:
        parts["train_dev"] = (rows.train_dev,)
    for part, indices in parts.items():
        y = [preprocessing.targets(table.y[of_fold]) for preprocessing, of_fold in zip(folds, indices, strict=True)]
        targets = dataset.loss.targets(np.concatenate(y), dataset.outputs, DTYPE)
        np.save(folder / f"{part}_y.npy", targets, allow_pickle=False)
        blocks = (
            preprocessing.inputs(x.take(block) if isinstance(x, Frame) else x[block], inputs)
            for preprocessing, of_fold in zip(folds, indices, strict=True)
            for block in _blocks(of_fold, prod(inputs))
        )
        _write_npy(folder / f"{part}_x.npy", (sum(map(len, indices)), *inputs), blocks)
    return replace(dataset, inputs=inputs, units=tuple(p.unit for p in folds)), folds


def example_rows(x: Floats | Frame, rows: npt.NDArray[np.intp]) -> list[list[float | str | None]]:
    """Return the first of some rows as an example of a model's input: numbers and text, None for missing cells.

    The example has up to three rows, fewer if they are wide, so that it stays readable.
    """
    width = len(x.columns) if isinstance(x, Frame) else x.shape[1]
    first = rows[: min(EXAMPLE_ROWS, max(1, EXAMPLE_CELLS // width))]
    if not isinstance(x, Frame):
        return [[float(cell) for cell in row] for row in x[first]]
    return [list(row) for row in zip(*(_cells(column.take(first)) for column in x.columns.values()), strict=True)]


def _cells(column: Column) -> list[float | str | None]:
    categories = column.categories
    cells = column.values.tolist() if categories is None else [categories[code] for code in column.values]
    return [None if missing else cell for cell, missing in zip(cells, column.missing, strict=True)]


def fingerprint(table: Table) -> str:
    """Return a digest of the rows as read from the source and of their fixed parts."""
    digest = hashlib.sha256()
    fixed: list[tuple[str, npt.NDArray[Any]]] = [
        (part, np.asarray(table.parts[part], np.int64)) for part in PART_NAMES if part in table.parts
    ]
    if table.order is not None:
        fixed.append((f"{table.order.name}{table.order.groups}", table.order.values))
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


def _rarer(table: Table, rows: SplitIndices) -> int:
    counts = np.bincount(table.y[_known_rows(rows)], minlength=2) if len(table.classes) == 2 else np.zeros(2)
    return int(counts[0] >= counts[1])


def _known_rows(rows: SplitIndices) -> npt.NDArray[np.intp]:
    """Return the training and validation rows of a fold."""
    return np.concatenate([*rows.train[:1], *rows.val[:1]])


def _notices(table: Table, source: Source, rows: SplitIndices) -> Iterator[str]:
    """Yield notices about properties of the rows that the user may not expect."""
    count = len(table.y)
    if source.split is None and table.split is None and not table.parts and count > 20_000:
        sizes = ", ".join(f"{part} {number:,}" for part, number in rows.counts)
        yield f"{count:,} rows, split by the default for this size: {sizes}; to change it: data.split"
    if table.order is not None:
        yield describe_split(table.order, {"train": rows.train, "val": rows.val, "test": (rows.test,)})
    yield from class_warnings(table.classes)
    if not isinstance(table.x, Frame):
        return
    pool = _known_rows(rows)
    for name, column in table.x.columns.items():
        known = column.values[pool]
        present = known[~column.missing[pool]]
        if not len(present):
            yield f"column '{name}' is empty: it becomes 0"
        elif (present == present[0]).all() and len(present) == len(known):
            yield f"column '{name}' is the same in all rows: nothing can be learned from it"
        elif column.categories is not None and len(column.categories) > NOTICE_CATEGORIES:
            yield (
                f"column '{name}' has {len(column.categories):,} categories: the most frequent ones get columns of"
                " their own, the others share one (data.max_categories, data.min_frequency); drop it if it is an"
                " identifier"
            )


def _check_table(table: Table, source: Source) -> None:
    """Raise a DataError if the rows cannot be learned from; constant columns are valid and become 0."""
    if isinstance(table.x, Frame):
        if not len(table.x) or not table.x.columns:
            raise DataError(f"data: {source.source}: the table must have rows and feature columns, got none")
        for name, column in table.x.columns.items():
            large = np.flatnonzero(np.abs(column.values) > FLOAT32_MAX)  # codes are smaller
            if len(large):
                got = f"{column.values[large[0]]} in row {large[0] + 1}"
                raise DataError(
                    f"data: {source.source}: column '{name}' must hold numbers within ±{FLOAT32_MAX:.3g}, got {got}"
                )
    else:
        _check_array(table, table.x, source)
    _check_finite(source, ("the target",), table.y[:, None])
    labels = np.unique(table.y)
    if table.classes and len(labels) == 1:
        raise DataError(
            f"data: {source.source}: the target must have at least two classes,"
            f" got {table.classes[int(labels[0])]!r} in all {len(table.y)} rows"
        )


def _check_array(table: Table, x: Floats, source: Source) -> None:
    if not x.size:
        raise DataError(f"data: {source.source}: there must be rows and features, got an array of shape {x.shape}")
    if source.image and prod(source.image) != x.shape[1]:
        raise DataError(
            f"data.image: {list(source.image)} needs {prod(source.image)} features per row,"
            f" the rows of {source.source} have {x.shape[1]}"
        )
    _check_finite(source, table.features, x)


def _check_finite(source: Source, names: Sequence[str], values: npt.NDArray[Any]) -> None:
    bad = _invalid_counts(values)
    if bad:
        listed = [f"{names[k]!r} ({count} of {len(values)} rows)" for k, count in list(bad.items())[:5]]
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        what = "column" if len(bad) == 1 else "columns"
        raise DataError(f"data: {source.source}: NaN or infinite values in {what} {', '.join(listed)}{more}")


def _invalid_counts(values: npt.NDArray[Any]) -> dict[int, int]:
    """Return column → number of rows with NaN, infinity or a number beyond float32."""
    with np.errstate(invalid="ignore"):
        valid = (values.min(axis=0) >= -FLOAT32_MAX) & (values.max(axis=0) <= FLOAT32_MAX)
        return {int(k): int((~(np.abs(values[:, k]) <= FLOAT32_MAX)).sum()) for k in np.flatnonzero(~valid)}


def _blocks(indices: npt.NDArray[np.intp], width: int) -> Iterator[npt.NDArray[np.intp]]:
    rows = max(1, BLOCK_SIZE // width)
    return (indices[start : start + rows] for start in range(0, len(indices), rows))


def _write_npy(path: Path, shape: Shape, blocks: Iterator[Floats]) -> None:
    """Write an `.npy` file of `DTYPE` block by block, so that it is never in memory as a whole."""
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
    return Rows(_as_ndarray(x), _as_ndarray(y), folds)


def _as_ndarray(mapped: Any) -> Floats:
    """Return a view as a plain array: slicing an `np.memmap` takes several times as long."""
    return np.asarray(mapped).view(np.ndarray)

"""A source's rows, split and scaled once, in files that every worker maps instead of copying."""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from engine.data import Rows
from engine.losses import Logistic, Loss, SoftmaxCrossEntropy, SquaredError
from engine.scaling import Standard
from engine.types import DType, Floats
from hpsearch.errors import DataError, OutputError
from hpsearch.seeds import derive
from hpsearch.sources import Source, Split, Table

DTYPE: DType = np.dtype(np.float32)
Part = Literal["train", "val", "test"]


@final
@dataclass(frozen=True)
class Dataset:
    """Where prepared rows lie, and what a network for them looks like. Small: it travels with every task.

    Attributes:
        folder: holds `<part>_x.npy` and `<part>_y.npy`, float32.
        inputs, outputs: of the network.
        classes: a name for each; empty for a regression.
        fingerprint: of the rows as they came from the source.
        rows: part → how many.
    """

    folder: str
    inputs: int
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
    """What was done to the rows, so that a model can do it again: None where nothing was."""

    x: Standard | None
    y: Standard | None


def prepare(source: Source, seed: int, folder: Path) -> tuple[Dataset, Scaling]:
    """Loads, splits and scales; writes the parts into a folder.

    Raises:
        DataError: the rows cannot be read or learned from.
        OutputError: the folder cannot be written, or is full.
    """
    table = source.load()
    _check(table, source)
    parts = split(table, source.split, derive(seed, "split"))
    train = parts["train"]
    scaling = Scaling(
        x=Standard.fit(table.x[train]) if source.scale == "standard" else None,
        y=None if table.classes else Standard.fit(table.y[train].astype(np.float64)[:, None]),
    )
    x = scaling.x.apply(table.x) if scaling.x else table.x
    y = scaling.y.apply(table.y.astype(np.float64)[:, None])[:, 0] if scaling.y else table.y
    outputs = len(table.classes) if len(table.classes) > 2 else 1
    dataset = Dataset(
        folder=str(folder),
        inputs=x.shape[1],
        outputs=outputs,
        classes=table.classes,
        fingerprint=fingerprint(table),
        rows=tuple((part, len(numbers)) for part, numbers in parts.items()),
    )
    try:
        for part, numbers in parts.items():
            np.save(folder / f"{part}_x.npy", x[numbers].astype(DTYPE), allow_pickle=False)
            np.save(folder / f"{part}_y.npy", dataset.loss.targets(y[numbers], outputs, DTYPE), allow_pickle=False)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror or error}") from None
    return dataset, scaling


def split(table: Table, fractions: Split, seed: int) -> dict[Part, npt.NDArray[np.intp]]:
    """Row numbers of each part, shuffled; every class is spread over the parts in proportion.

    Raises:
        DataError: a part that should have rows would have none.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(table.y))
    labels = table.y[order] if table.classes else np.zeros(len(order))
    classes = [order[labels == label] for label in np.unique(labels)]
    first = round(fractions.train * len(order))
    second = len(order) if not fractions.test else round((fractions.train + fractions.val) * len(order))
    cuts = [_shares([len(rows) for rows in classes], cut) for cut in (first, second)]
    pieces = [np.split(rows, [a, max(a, b)]) for rows, a, b in zip(classes, *cuts, strict=True)]
    train, val, test = (generator.permutation(np.concatenate(piece)) for piece in zip(*pieces, strict=True))
    parts: dict[Part, npt.NDArray[np.intp]] = {"train": train, "val": val, "test": test}
    for part, rows in parts.items():
        if not len(rows) and getattr(fractions, part):
            raise DataError(f"data.split: {len(order)} rows leave none for {part}")
    return parts


def _shares(sizes: list[int], total: int) -> list[int]:
    """`total` rows from classes of these sizes in proportion, by the method of largest remainders."""
    exact = [total * size / sum(sizes) for size in sizes]
    shares = [int(e) for e in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda k: (shares[k] - exact[k], k))
    for k in by_remainder[: total - sum(shares)]:
        shares[k] += 1
    return shares


def fingerprint(table: Table) -> str:
    """A digest of the rows as they came."""
    digest = hashlib.sha256()
    for part in (np.ascontiguousarray(table.x), np.ascontiguousarray(table.y)):
        digest.update(f"{part.shape}{part.dtype.str}".encode())
        digest.update(part.data)
    return digest.hexdigest()[:16]


def _check(table: Table, source: Source) -> None:
    for name, values in (("inputs", table.x), ("targets", table.y)):
        if not np.isfinite(values).all():
            raise DataError(f"data: {source.source}: {name} hold NaN or infinite values")


@functools.lru_cache(maxsize=8)
def _mapped(folder: str, part: Part) -> Rows:
    x: Any = np.load(f"{folder}/{part}_x.npy", mmap_mode="r", allow_pickle=False)
    y: Any = np.load(f"{folder}/{part}_y.npy", mmap_mode="r", allow_pickle=False)
    return Rows(_plain(x), _plain(y))


def _plain(mapped: Any) -> Floats:
    """The same memory as a plain array: `np.memmap` costs several times as much a slice."""
    return np.asarray(mapped).view(np.ndarray)

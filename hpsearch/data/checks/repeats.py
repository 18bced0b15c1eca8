"""Repeated rows: equal inputs with different targets, and rows of a part that are also training rows."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.types import Floats

MAX_NUMBERS = 100_000_000  # of rows; larger tables are not searched for repeated rows
BLOCK = 1 << 18  # numbers hashed at a time
_Keys = npt.NDArray[np.uint64]


class RepeatedRows(NamedTuple):
    """Rows of a part that are also training rows, with equal inputs and targets.

    Attributes:
        part: its name.
        rows: number of its rows.
        repeated: number of them that are also training rows.
        usual: the share of training rows that equal another training row.
    """

    part: str
    rows: int
    repeated: int
    usual: float

    @property
    def share(self) -> float:
        """Share of the rows of the part that are also training rows."""
        return self.repeated / self.rows

    @property
    def notable(self) -> bool:
        """True if more rows are repeated than rows of this table usually are, by more than chance."""
        deviation = (max(self.usual * (1 - self.usual), 0.25 / self.rows) / self.rows) ** 0.5
        return self.share > 0.02 and self.share > self.usual + 3 * deviation


def row_keys(*arrays: Floats) -> _Keys | None:
    """Return a 64-bit hash of each row of arrays `(rows, …)`, equal for equal rows; None for too many numbers."""
    flat = [np.asarray(array, np.float32).reshape(len(array), -1) for array in arrays]
    width = sum(array.shape[1] for array in flat)
    rows = len(flat[0])
    if rows * width > MAX_NUMBERS or not width:
        return None
    factors = np.random.default_rng(0).integers(1, 1 << 63, width, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    keys = np.zeros(rows, np.uint64)
    step = max(1, BLOCK // width)
    for start in range(0, rows, step):
        block = np.concatenate([array[start : start + step] for array in flat], axis=1) + np.float32(0)  # −0 is 0
        bits = block.view(np.uint32).astype(np.uint64)
        bits ^= bits >> np.uint64(15)
        keys[start : start + step] = (bits * factors).sum(axis=1, dtype=np.uint64)
    return keys


def repeated_rows(part: str, train: _Keys, other: _Keys) -> RepeatedRows:
    """Return how many rows of a part are also training rows."""
    _, counts = np.unique(train, return_counts=True)
    usual = float(counts[counts > 1].sum() / len(train))
    return RepeatedRows(part, len(other), int(np.isin(other, train).sum()), usual)


def noise_floor(keys: _Keys, targets: Floats, *, classes: bool) -> float:
    """Return a lower bound of the error of any model on these rows, from equal inputs with different targets.

    Args:
        keys: of the inputs alone.
        targets: `(rows, outputs)`.
        classes: the error is the share of wrong rows, else 1 − R².
    """
    _, group, counts = np.unique(keys, return_inverse=True, return_counts=True)
    if len(counts) == len(keys):
        return 0.0
    if classes:
        labels = targets.argmax(axis=1) if targets.shape[1] > 1 else (targets[:, 0] > 0.5).astype(np.intp)
        table = np.zeros((len(counts), int(labels.max()) + 1), np.int64)
        np.add.at(table, (group, labels), 1)
        return float((counts - table.max(axis=1)).sum() / len(keys))
    y = targets[:, 0].astype(np.float64)
    total = float(np.square(y - y.mean()).sum())
    means = np.bincount(group, y) / counts
    return float(np.square(y - means[group]).sum() / total) if total > 0 else 0.0

"""Rows to learn from, and mini-batches of them; each trial shuffles by its own generator."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from engine.types import Floats

BLOCK = 1 << 20  # numbers of one trial gathered at a time, 4 MB in float32


@final
@dataclass(frozen=True, eq=False)
class Rows:
    """Inputs `x (rows, …)` and targets `y (rows, outputs)`, both in the network's dtype."""

    x: Floats
    y: Floats

    def __len__(self) -> int:
        return len(self.x)


class Batches:
    """Epochs of shuffled rows, gathered in blocks of whole batches into memory that is used again.

    A block holds as many batches as fit `BLOCK`, whatever the number of trials, so that a trial's sums over blocks are
    the same in any company. The rows left over at the end of an epoch are a smaller batch.
    """

    def __init__(self, rows: Rows, trials: int, batch: int) -> None:
        self._rows = rows
        self._trials = trials
        width = int(np.prod(rows.x.shape[1:]))
        self._step = min(len(rows), batch * max(1, BLOCK // (batch * width)))
        self._x = np.empty(trials * self._step * width, rows.x.dtype)
        self._y = np.empty(trials * self._step * rows.y.shape[1], rows.y.dtype)

    @property
    def largest(self) -> int:
        """Rows of the largest block."""
        return self._step

    def epoch(self, generators: Sequence[np.random.Generator]) -> Iterator[tuple[Floats, Floats]]:
        """Blocks `x (trials, rows, …)` and `y (trials, rows, outputs)`, valid until the next one."""
        order = np.stack([generator.permutation(len(self._rows)) for generator in generators])
        for start in range(0, len(self._rows), self._step):
            picked = order[:, start : start + self._step]
            yield _gather(self._rows.x, picked, self._x), _gather(self._rows.y, picked, self._y)


def _gather(source: Floats, picked: np.ndarray, memory: Floats) -> Floats:
    shape = (*picked.shape, *source.shape[1:])
    block = memory[: int(np.prod(shape))].reshape(shape)
    return np.take(source, picked, axis=0, out=block, mode="clip")  # "raise" would gather into a copy first

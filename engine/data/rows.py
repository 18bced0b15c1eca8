"""Rows to learn from, and mini-batches of them; each trial shuffles by its own generator."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np

from engine.types import DType, Floats, Shape

if TYPE_CHECKING:
    from engine.data.row_sampling import RowSampling

BLOCK = 1 << 20  # numbers of one trial gathered at a time, 4 MB in float32


@final
@dataclass(frozen=True, eq=False)
class Rows:
    """Inputs `x (rows, …)` and targets `y (rows, outputs)`, both in the network's dtype.

    There may be several sets of as many rows, one after the other: the folds of a cross-validation. Trial t of a state
    has set t mod `sets`; `len` is the number of rows that one trial has.
    """

    x: Floats
    y: Floats
    sets: int = 1

    def __len__(self) -> int:
        return len(self.x) // self.sets

    def of(self, trial: int) -> "Rows":
        """Those that a trial has."""
        if self.sets == 1:
            return self
        start, rows = trial % self.sets * len(self), len(self)
        return Rows(self.x[start : start + rows], self.y[start : start + rows])


class Block(NamedTuple):
    """Several batches of every trial, gathered: `x (trials, steps, batch, …)`, `y (trials, steps, batch, outputs)`.

    `logits`, shaped like `y`, is where the trainer puts what the network made of them.
    """

    x: Floats
    y: Floats
    logits: Floats


class Batches:
    """Epochs of rows in the order they are drawn, gathered in blocks of whole batches into memory that is reused.

    A block holds as many batches as fit `BLOCK`, whatever the number of trials, so that a trial's sums over blocks do
    not depend on the other trials. The rows left over at the end of an epoch are a block of one smaller batch, unless
    they are fewer than `least`: then the epoch omits them.

    Attributes:
        sizes: rows of a batch, one or two different ones.
        steps: batches of an epoch.
    """

    def __init__(self, rows: Rows, trials: int, batch: int, row_sampling: "RowSampling", least: int = 1) -> None:
        self._rows = rows
        self._each = [rows.of(trial) for trial in range(trials)]
        self._starts = len(rows) * (np.arange(trials) % rows.sets)[:, None]
        self._draw = row_sampling
        width = max(prod(rows.x.shape[1:]), rows.y.shape[1])
        whole, rest = divmod(len(rows), batch)
        steps = min(whole, max(1, BLOCK // (batch * width)))
        # From where to where in the epoch's order, and the memory that the rows are gathered into.
        self._spans = [(start * batch, min(start + steps, whole) * batch) for start in range(0, whole, steps)]
        memory = _allocate(rows, trials, steps, batch)
        self._blocks = [_first_steps(memory, (stop - start) // batch) for start, stop in self._spans]
        if rest >= least:
            self._spans.append((whole * batch, len(rows)))
            self._blocks.append(_allocate(rows, trials, 1, rest))
        self.sizes = {block.x.shape[2] for block in self._blocks}
        self.steps = sum(block.x.shape[1] for block in self._blocks)

    def epoch(self, generators: Sequence[np.random.Generator]) -> Iterator[Block]:
        """Blocks, each valid until the next one."""
        order = np.stack([self._draw.order(*given) for given in zip(self._each, generators, strict=True)])
        if self._rows.sets > 1:
            order += self._starts
        for (start, stop), block in zip(self._spans, self._blocks, strict=True):
            picked = order[:, start:stop].reshape(block.x.shape[:3])
            np.take(self._rows.x, picked, axis=0, out=block.x, mode="clip")  # "raise" would gather into a copy first
            block.y[...] = np.take(self._rows.y, picked, axis=0, mode="clip")  # half the time of an index
            yield block


def rows_adjacent(shape: Shape, dtype: DType) -> Floats:
    """An array of `shape (…, rows, outputs)` whose memory is `(…, outputs, rows)`."""
    return np.empty((*shape[:-2], shape[-1], shape[-2]), dtype).swapaxes(-1, -2)


def _allocate(rows: Rows, trials: int, steps: int, batch: int) -> Block:
    x = np.empty((trials, steps, batch, *rows.x.shape[1:]), rows.x.dtype)
    shape = (trials, steps, batch, rows.y.shape[1])
    return Block(x, rows_adjacent(shape, rows.y.dtype), rows_adjacent(shape, rows.y.dtype))


def _first_steps(block: Block, steps: int) -> Block:
    """A part of a block's memory that lies in one piece for each trial."""
    return Block(*(array[:, :steps] for array in block))

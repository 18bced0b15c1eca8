"""Rows of inputs and targets, and mini-batches of them; each trial draws its order with its own generator."""

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

    There may be several sets of equal size, concatenated: the folds of a cross-validation. Trial t of a state uses set
    t mod `sets`; `len` is the number of rows of one set.
    """

    x: Floats
    y: Floats
    sets: int = 1

    def __len__(self) -> int:
        return len(self.x) // self.sets

    def of(self, trial: int) -> "Rows":
        """Return the rows of a trial's set."""
        if self.sets == 1:
            return self
        start, rows = trial % self.sets * len(self), len(self)
        return Rows(self.x[start : start + rows], self.y[start : start + rows])


class Block(NamedTuple):
    """Several batches of each trial: `x (trials, steps, batch, …)`, `y (trials, steps, batch, outputs)`.

    The trainer writes the network's outputs into `logits`, which has the shape of `y`.
    """

    x: Floats
    y: Floats
    logits: Floats


class Batches:
    """Epochs of rows in drawn order, gathered in blocks of whole batches into reused memory.

    The number of batches of a block depends on `BLOCK`, not on the number of trials, so that a trial's sums over blocks
    do not depend on other trials. The rows left over at the end of an epoch form a block of one smaller batch; the
    epoch omits them if there are fewer than `least`.

    Attributes:
        sizes: the batch size, and the size of the smaller batch if there is one.
        steps: number of batches of an epoch.
    """

    def __init__(self, rows: Rows, trials: int, batch: int, row_sampling: "RowSampling", least: int = 1) -> None:
        self._rows = rows
        self._each = [rows.of(trial) for trial in range(trials)]
        self._starts = len(rows) * (np.arange(trials) % rows.sets)[:, None]
        self._row_sampling = row_sampling
        width = max(prod(rows.x.shape[1:]), rows.y.shape[1])
        whole, rest = divmod(len(rows), batch)
        steps = min(whole, max(1, BLOCK // (batch * width)))
        # (start, stop) in the epoch's order, and memory, of each block.
        self._spans = [(start * batch, min(start + steps, whole) * batch) for start in range(0, whole, steps)]
        memory = _allocate(rows, trials, steps, batch)
        self._blocks = [_first_steps(memory, (stop - start) // batch) for start, stop in self._spans]
        if rest >= least:
            self._spans.append((whole * batch, len(rows)))
            self._blocks.append(_allocate(rows, trials, 1, rest))
        self.sizes = {block.x.shape[2] for block in self._blocks}
        self.steps = sum(block.x.shape[1] for block in self._blocks)

    def epoch(self, generators: Sequence[np.random.Generator]) -> Iterator[Block]:
        """Yield the blocks of one epoch; each is valid until the next one."""
        order = np.stack([self._row_sampling.order(*args) for args in zip(self._each, generators, strict=True)])
        if self._rows.sets > 1:
            order += self._starts
        for (start, stop), block in zip(self._spans, self._blocks, strict=True):
            picked = order[:, start:stop].reshape(block.x.shape[:3])
            np.take(self._rows.x, picked, axis=0, out=block.x, mode="clip")  # mode "raise" would buffer the output
            block.y[...] = np.take(self._rows.y, picked, axis=0, mode="clip")  # half the time of fancy indexing
            yield block


def rows_adjacent(shape: Shape, dtype: DType) -> Floats:
    """Allocate an array of `shape (…, rows, outputs)` with the memory layout `(…, outputs, rows)`."""
    return np.empty((*shape[:-2], shape[-1], shape[-2]), dtype).swapaxes(-1, -2)


def _allocate(rows: Rows, trials: int, steps: int, batch: int) -> Block:
    x = np.empty((trials, steps, batch, *rows.x.shape[1:]), rows.x.dtype)
    shape = (trials, steps, batch, rows.y.shape[1])
    return Block(x, rows_adjacent(shape, rows.y.dtype), rows_adjacent(shape, rows.y.dtype))


def _first_steps(block: Block, steps: int) -> Block:
    """Return a view of the first steps of a block, contiguous for each trial."""
    return Block(*(array[:, :steps] for array in block))

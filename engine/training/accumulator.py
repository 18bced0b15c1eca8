"""Loss and accuracy of every trial over rows seen in blocks; a trial's sums do not depend on the other trials."""

from typing import NamedTuple

import numpy as np

from engine.data.rows import rows_adjacent
from engine.losses import Loss
from engine.types import Booleans, Floats


class Scores(NamedTuple):
    """`(trials,)` each, float64: mean loss a row, and accuracy (R² for a regression)."""

    loss: Floats
    accuracy: Floats


class MetricAccumulator:
    """Sums over blocks of rows.

    Args:
        loss: whose values are summed; without regularization, so that train, val and test compare.
        targets: `(rows, outputs)`, all of them, whose mean R² needs; or `(sets, rows, outputs)`, trial t having
            set t mod `sets`.
    """

    def __init__(self, loss: Loss, trials: int, targets: Floats) -> None:
        self._loss = loss
        self._trials = trials
        self._targets = targets.reshape(-1, *targets.shape[-2:])
        self._rows = 0
        self._values = np.zeros(trials)
        self._correct: Floats | None = np.zeros(trials)

    def add(self, logits: Floats, targets: Floats) -> None:
        """Add `(trials, rows, outputs)` or batches `(trials, steps, batch, outputs)`; targets likewise, or `(1, …)`."""
        logits, targets = _side_by_side(logits), _side_by_side(targets)
        self._rows += logits.shape[1]
        self._values += _sums(self._loss.values(logits, targets))
        correct = self._loss.correct(logits, targets)
        self._correct = None if correct is None or self._correct is None else self._correct + _sums(correct)

    def scores(self) -> Scores:
        """Return the scores of all rows so far."""
        loss = self._values / self._rows
        if self._correct is not None:
            return Scores(loss, self._correct / self._rows)
        # ½ Σ (a − y)² is the loss, so that R² = 1 − 2 · mean loss / variance; undefined when all targets are equal.
        spreads = [np.square(y - y.mean(axis=0)).sum(dtype=np.float64) / len(y) or np.nan for y in self._targets]
        return Scores(loss, 1 - 2 * loss / np.resize(spreads, self._trials))


def _side_by_side(block: Floats) -> Floats:
    """`(trials, …, rows, outputs)` as `(trials, all rows, outputs)` whose rows are neighbors in memory."""
    if block.ndim == 3:
        return block
    trials, steps, batch, outputs = block.shape
    flat: Floats = rows_adjacent((trials, steps * batch, outputs), block.dtype)
    flat.mT.reshape(trials, outputs, steps, batch)[...] = np.moveaxis(block, -1, 1)
    return flat


def _sums(values: Floats | Booleans) -> Floats:
    """`(trials, …)` → `(trials,)` in float64, one trial at a time: the order of a sum must not depend on the others."""
    return np.array([trial.ravel().sum(dtype=np.float64) for trial in values])

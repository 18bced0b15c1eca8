"""Loss and accuracy of each trial, accumulated over blocks of rows; a trial's sums do not depend on other trials."""

from typing import NamedTuple

import numpy as np

from engine.data.rows import rows_adjacent
from engine.losses import Loss
from engine.types import Booleans, Floats


class Scores(NamedTuple):
    """Mean loss per row, and accuracy (R² for a regression); `(trials,)` each, float64."""

    loss: Floats
    accuracy: Floats


class MetricAccumulator:
    """Accumulates loss and accuracy over blocks of rows.

    Args:
        loss: the loss to sum, without regularization, so that training, validation and test scores are comparable.
        trials: number of trials.
        targets: all targets, `(rows, outputs)`, or `(sets, rows, outputs)`, where trial t uses set t mod `sets`; R²
            needs their mean.
    """

    def __init__(self, loss: Loss, trials: int, targets: Floats) -> None:
        self._loss = loss
        self._trials = trials
        self._targets = targets.reshape(-1, *targets.shape[-2:])
        self._rows = 0
        self._values = np.zeros(trials)
        self._correct: Floats | None = np.zeros(trials)

    def add(self, logits: Floats, targets: Floats) -> None:
        """Add a block of rows.

        Args:
            logits: `(trials, rows, outputs)`, or batches `(trials, steps, batch, outputs)`.
            targets: the same shape, or `(1, …)` for all trials.
        """
        logits, targets = _flattened(logits), _flattened(targets)
        self._rows += logits.shape[1]
        self._values += _sums(self._loss.values(logits, targets))
        correct = self._loss.correct(logits, targets)
        self._correct = None if correct is None or self._correct is None else self._correct + _sums(correct)

    def add_sums(self, rows: int, values: Floats) -> None:
        """Add the sums of rows of a regression that were scored elsewhere.

        Args:
            rows: number of rows.
            values: `(trials,)`, sums of the losses.
        """
        self._rows += rows
        self._values += values
        self._correct = None

    def scores(self) -> Scores:
        """Return the scores of all rows so far."""
        loss = self._values / self._rows
        if self._correct is not None:
            return Scores(loss, self._correct / self._rows)
        # The loss is ½ Σ (a − y)², so R² = 1 − 2 · mean loss / variance; undefined if all targets are equal.
        spreads = [np.square(y - y.mean(axis=0)).sum(dtype=np.float64) / len(y) or np.nan for y in self._targets]
        return Scores(loss, 1 - 2 * loss / np.resize(spreads, self._trials))


def _flattened(block: Floats) -> Floats:
    """Return `(trials, steps, batch, outputs)` as `(trials, rows, outputs)` with adjacent rows in memory."""
    if block.ndim == 3:
        return block
    trials, steps, batch, outputs = block.shape
    flat: Floats = rows_adjacent((trials, steps * batch, outputs), block.dtype)
    flat.mT.reshape(trials, outputs, steps, batch)[...] = np.moveaxis(block, -1, 1)
    return flat


def _sums(values: Floats | Booleans) -> Floats:
    """Return the sums of `(trials, …)`, float64; one trial at a time, so that the summation order is fixed."""
    return np.array([trial.ravel().sum(dtype=np.float64) for trial in values])

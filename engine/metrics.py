"""Loss and accuracy of every trial over rows seen in blocks; a trial's sums do not depend on its company."""

from math import prod
from typing import NamedTuple

import numpy as np

from engine.losses import Loss
from engine.types import Booleans, Floats


class Scores(NamedTuple):
    """`(trials,)` each, float64: mean loss a row, and accuracy (R² for a regression)."""

    loss: Floats
    accuracy: Floats


class Tally:
    """Sums over blocks of rows.

    Args:
        loss: whose values are summed; without regularization, so that train, val and test compare.
        targets: `(rows, outputs)`, all of them: R² needs their mean before the first block is seen.
    """

    def __init__(self, loss: Loss, trials: int, targets: Floats) -> None:
        self._loss = loss
        self._rows = 0
        self._values = np.zeros(trials)
        self._correct = np.zeros(trials)
        self._spread = float(np.square(targets - targets.mean(axis=0)).sum(dtype=np.float64))

    def add(self, logits: Floats, targets: Floats) -> None:
        """Rows as they come: logits `(trials, …, rows, outputs)`, targets the same or `(1, …, rows, outputs)`."""
        self._rows += prod(logits.shape[1:-1])
        self._values += _sums(self._loss.values(logits, targets))
        correct = self._loss.correct(logits, targets)
        if correct is not None:
            self._correct += _sums(correct)
        else:  # ½ Σ (a − y)² is the loss, so that R² = 1 − 2 Σ loss / Σ (y − ȳ)², times the rows for the mean below
            self._correct = self._rows * (1 - 2 * self._values / (self._spread or np.nan))

    def scores(self) -> Scores:
        """Of all rows so far."""
        return Scores(self._values / self._rows, self._correct / self._rows)


def _sums(values: Floats | Booleans) -> Floats:
    """`(trials, …)` → `(trials,)` in float64, one trial at a time: the order of a sum must not depend on the others."""
    return np.array([trial.ravel().sum(dtype=np.float64) for trial in values])

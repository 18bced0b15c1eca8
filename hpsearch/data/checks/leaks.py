"""Label leaks: a single column that predicts the target almost without error."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from engine.types import Floats
from hpsearch.data.checks.columns import flat

LEAK_ERROR = 0.01  # error of one column alone from which it may hold the target itself
LEAK_ROWS = 2000
LEAK_COLUMNS = 1000
LEAK_BINS = 64
JUDGED_ROWS = 20  # of the judged rows


class Leak(NamedTuple):
    """A column that predicts the target alone.

    Attributes:
        column: its name.
        error: share of wrong rows, or 1 − R², on rows that it was not fitted to.
    """

    column: str
    error: float


def find_leaks(
    train: tuple[Floats, Floats], judged: tuple[Floats, Floats], names: Sequence[str], *, classes: bool
) -> list[Leak]:
    """Return the columns that predict the target alone, the most accurate first; none for a table of one column.

    Args:
        train, judged: inputs and targets `(rows, outputs)`; each column is fitted to the first, judged by the second.
        names: of the columns.
        classes: the error is the share of wrong rows, else 1 − R².
    """
    (x, y), (new, truth) = ((flat(a, LEAK_ROWS), flat(b, LEAK_ROWS)) for a, b in (train, judged))
    if not 2 <= x.shape[1] <= LEAK_COLUMNS or len(new) < JUDGED_ROWS or len(x) < JUDGED_ROWS:
        return []
    if classes and y.shape[1] == 1:
        y, truth = (np.concatenate([1 - t, t], axis=1) for t in (y, truth))
    errors = [_error(x[:, k], y, new[:, k], truth, classes=classes) for k in range(x.shape[1])]
    found = [Leak(names[k], round(error, 6)) for k, error in enumerate(errors) if error <= LEAK_ERROR]
    return sorted(found, key=lambda leak: leak.error)


def _error(x: Floats, y: Floats, new: Floats, truth: Floats, *, classes: bool) -> float:
    """Return the error of the mean target in each of up to 64 bins of one column, or of a line for a regression."""
    edges = np.unique(np.quantile(x, np.linspace(0, 1, LEAK_BINS + 1)[1:-1]))
    place, of_new = np.searchsorted(edges, x, "right"), np.searchsorted(edges, new, "right")
    bins = len(edges) + 1
    counts = np.bincount(place, minlength=bins)
    means = np.stack([np.bincount(place, column, bins) for column in y.T], axis=1) / np.maximum(counts, 1)[:, None]
    means[counts == 0] = y.mean(axis=0)
    predicted = means[of_new]
    if classes:
        return float((predicted.argmax(axis=1) != truth.argmax(axis=1)).mean())
    total = float(np.square(truth - truth.mean(axis=0)).sum())
    if total == 0:
        return 1.0
    spread = float(np.square(x - x.mean()).sum())
    slope = float(((x - x.mean()) * (y[:, 0] - y[:, 0].mean())).sum()) / spread if spread > 0 else 0.0
    line = y[:, :1].mean() + slope * (new[:, None] - x.mean())
    return min(float(np.square(truth - guess).sum()) / total for guess in (predicted, line))

"""Drift: how the rows of a part differ from the training rows, by column and for a classifier that tells them apart."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.types import Floats
from hpsearch.data.checks.columns import flat

DRIFT_ROWS = 4000  # of each part
CLASSIFIER_COLUMNS = 256  # that the classifier sees, evenly spaced
MAX_SHIFTS = 5  # that are kept, the largest first
NOTABLE_SHIFT = 0.1  # standardized difference above which groups are unbalanced (Austin 2009)
NOTABLE_AUC = 0.6  # below the interval of a classifier's AUC, from which rows count as of another distribution
RIDGE = 1.0  # penalty of the classifier, in rows
FALSE_ALARM = 1e-3  # probability of a shift by chance in any column


class ColumnShift(NamedTuple):
    """The difference of one column between two parts.

    Attributes:
        column: its name; a category is `sex=male`.
        difference: (mean of the part − mean of the training rows) / √((σ² + σ²) / 2).
        train, part: means, or shares of a category; in units of the prepared column.
        share: the column is 0 or 1.
    """

    column: str
    difference: float
    train: float
    part: float
    share: bool

    def __str__(self) -> str:
        if self.share:
            return f"'{self.column}' in {self.part:.0%} of its rows, {self.train:.0%} of the training rows"
        return f"'{self.column}' {self.difference:+.2f} standard deviations"


class Drift(NamedTuple):
    """How a part differs from the training rows.

    Attributes:
        part: its name.
        auc: of a classifier that tells its rows from training rows; 0.5 without a difference.
        low, high: 95 % interval of `auc` (Hanley and McNeil 1982).
        shifts: the columns that differ by more than chance, the most different first.
    """

    part: str
    auc: float
    low: float
    high: float
    shifts: list[ColumnShift]

    @property
    def notable(self) -> bool:
        """True if the rows come from another distribution."""
        return self.low > NOTABLE_AUC

    def __str__(self) -> str:
        shifts = f": {'; '.join(map(str, self.shifts))}" if self.shifts else ""
        told = f"a classifier tells {self.part} rows from training rows with an AUC of {self.auc:.2f}"
        return f"{told} ({self.low:.2f} to {self.high:.2f}; 0.5 without a difference){shifts}"


def compare_rows(part: str, train: Floats, other: Floats, names: Sequence[str]) -> Drift | None:
    """Compare the prepared rows of a part with the training rows; None if there are too few of either.

    Args:
        train, other: `(rows, …)`.
        names: of the columns.
    """
    a, b = flat(train, DRIFT_ROWS), flat(other, DRIFT_ROWS)
    if min(len(a), len(b)) < 8:
        return None
    auc = classifier_auc(a, b)
    error = _standard_error(auc, len(a), len(b))
    low, high = max(0.0, auc - 1.96 * error), min(1.0, auc + 1.96 * error)
    return Drift(part, round(auc, 4), round(low, 4), round(high, 4), _shifts(a, b, names))


def _shifts(a: Floats, b: Floats, names: Sequence[str]) -> list[ColumnShift]:
    """Return the columns that differ by more than chance and by a notable standardized difference."""
    means, variances = (np.array([part.mean(axis=0) for part in (a, b)]), np.array([p.var(axis=0) for p in (a, b)]))
    spread = np.sqrt(variances.mean(axis=0))
    difference = np.divide(means[1] - means[0], spread, out=np.zeros_like(spread), where=spread > 0)
    share = np.isin(np.concatenate([a[:1], a[-1:], b[:1]]), (0.0, 1.0)).all(axis=0)
    share &= ((a == 0) | (a == 1)).all(axis=0) & ((b == 0) | (b == 1)).all(axis=0)
    chance = math.sqrt(2 * math.log(max(1, a.shape[1]) / FALSE_ALARM)) * math.sqrt(1 / len(a) + 1 / len(b))
    order = np.argsort(-np.abs(difference), kind="stable")[:MAX_SHIFTS]
    return [
        ColumnShift(
            column=names[k],
            difference=round(float(difference[k]), 4),
            train=round(float(means[0, k]), 4),
            part=round(float(means[1, k]), 4),
            share=bool(share[k]),
        )
        for k in order
        if abs(difference[k]) > max(NOTABLE_SHIFT, chance)
    ]


def classifier_auc(a: Floats, b: Floats) -> float:
    """Return the AUC of ridge regression on each column and its square, fitted to half of the rows, on the others."""
    columns = np.unique(np.linspace(0, a.shape[1] - 1, min(a.shape[1], CLASSIFIER_COLUMNS)).round().astype(np.intp))
    x = np.concatenate([a, b])[:, columns]
    spread = x.std(axis=0)
    z = np.clip((x - x.mean(axis=0)) / np.where(spread > 0, spread, 1), -5, 5)
    z = np.concatenate([z, np.square(z)], axis=1)
    label = np.repeat([0.0, 1.0], [len(a), len(b)])
    half = np.concatenate([_halves(len(a)), _halves(len(b))])
    areas = []
    for fold in (False, True):
        fitted, judged = half == fold, half != fold
        scores = _ridge(z[fitted], label[fitted], z[judged])
        areas.append(area_under_curve(scores[label[judged] == 0], scores[label[judged] == 1]))
    return float(np.mean(areas))


def _halves(count: int) -> npt.NDArray[np.bool_]:
    """Return a random half of the rows, always the same."""
    half: npt.NDArray[np.bool_] = np.random.default_rng(count).permutation(count) % 2 == 0
    return half


def _ridge(x: Floats, y: Floats, new: Floats) -> Floats:
    """Return the predictions for new rows, with equal weight of both labels."""
    weights = np.where(y == 1, 0.5 / max(1, int((y == 1).sum())), 0.5 / max(1, int((y == 0).sum()))) * len(y)
    center = np.average(x, axis=0, weights=weights)
    centered = x - center
    moment = (centered * weights[:, None]).T @ centered
    solved = np.linalg.solve(moment + RIDGE * np.eye(x.shape[1]), (centered * weights[:, None]).T @ (y - 0.5))
    predicted: Floats = (new - center) @ solved
    return predicted


def area_under_curve(negative: Floats, positive: Floats) -> float:
    """Return P(positive > negative) + ½ P(equal), of all pairs."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
    return float(below.mean() / (2 * len(negative)))


def _standard_error(auc: float, negative: int, positive: int) -> float:
    """Return the standard error of an AUC (Hanley and McNeil 1982)."""
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (positive - 1) * (q1 - auc**2) + (negative - 1) * (q2 - auc**2)
    return math.sqrt(max(0.0, variance) / (negative * positive))

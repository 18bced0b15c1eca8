"""Metrics of one trial's predictions, as scikit-learn defines them.

Sums are taken in float64 whatever the dtype, over memory laid out anew: a trial's value depends neither on other trials
nor on how its rows lie. What is undefined is NaN, never an exception or a warning.
"""

from dataclasses import dataclass
from math import nan
from typing import ClassVar, NamedTuple, Protocol, final

import numpy as np

from engine.registry import Registry
from engine.types import Booleans, EngineError, Floats, Integers


class Metric(Protocol):
    """One number for one trial.

    Attributes:
        classifies: it takes probabilities and classes, not values.
        sign: +1 where lower is better, −1 where higher is.
    """

    classifies: ClassVar[bool]
    sign: ClassVar[int]

    def of(self, predicted: Floats, targets: Floats) -> float:
        """The metric over all rows.

        Args:
            predicted: `(rows, outputs)` as `Loss.predict` gives them: the probability of the second of two classes,
                a probability for each class, or values.
            targets: `(rows, outputs)` as `Loss.targets` makes them: 0 or 1, one-hot rows, or values.

        Returns:
            NaN where it is undefined: a NaN among the predictions, no rows, and what each metric says of itself.

        Raises:
            EngineError: the two shapes differ, or are not `(rows, outputs)`.
        """
        ...


@final
@dataclass(frozen=True)
class Accuracy:
    """The fraction of rows classified rightly; sklearn.metrics.accuracy_score.

    The class is the one of the largest probability, the first of equals; of two classes the second above 0.5. That is
    what `Loss.correct` says of the logits, but where they are so near to equal that the probabilities are equal.
    """

    classifies: ClassVar[bool] = True
    sign: ClassVar[int] = -1

    def of(self, predicted: Floats, targets: Floats) -> float:
        if _undefined(predicted, targets):
            return nan
        return int(np.count_nonzero(_classes(predicted) == _classes(targets))) / len(targets)


@final
@dataclass(frozen=True)
class BalancedAccuracy:
    """The mean recall of the classes that the targets have; sklearn.metrics.balanced_accuracy_score.

    Brodersen et al. 2010, "The balanced accuracy and its posterior distribution".
    """

    classifies: ClassVar[bool] = True
    sign: ClassVar[int] = -1

    def of(self, predicted: Floats, targets: Floats) -> float:
        if _undefined(predicted, targets):
            return nan
        counts = _count(predicted, targets)
        there = counts.actual > 0
        return float((counts.right[there] / counts.actual[there]).mean())


@final
@dataclass(frozen=True)
class F1:
    """2 · true positives / (actual + decided): of the second of two classes, else the unweighted mean over classes.

    sklearn.metrics.f1_score, `average="binary"` and `"macro"`, `zero_division=0`: the mean is over the classes that the
    targets or the decisions have, and a second class that neither has gives 0. Van Rijsbergen 1979, chapter 7.
    """

    classifies: ClassVar[bool] = True
    sign: ClassVar[int] = -1

    def of(self, predicted: Floats, targets: Floats) -> float:
        if _undefined(predicted, targets):
            return nan
        counts = _count(predicted, targets)
        total = counts.actual + counts.decided
        of_each = 2 * counts.right / np.maximum(total, 1)
        return float(of_each[1] if len(of_each) == 2 else of_each[total > 0].mean())


@final
@dataclass(frozen=True)
class RocAuc:
    """The chance that a row of the class gets a higher probability than one of the rest, a tie counting half.

    sklearn.metrics.roc_auc_score: of the second of two classes, else the unweighted mean of each class against the
    rest (`multi_class="ovr"`, `average="macro"`). NaN unless the targets have every class. It is the Mann-Whitney U
    over the number of pairs (Hanley, McNeil 1982); one class against the rest: Fawcett 2006.
    """

    classifies: ClassVar[bool] = True
    sign: ClassVar[int] = -1

    def of(self, predicted: Floats, targets: Floats) -> float:
        if _undefined(predicted, targets):
            return nan
        outputs = predicted.shape[1]
        asked = range(outputs) if outputs > 2 else [outputs - 1]
        return sum(_area(predicted[:, c], targets[:, c] > 0.5) for c in asked) / len(asked)


@final
@dataclass(frozen=True)
class LogLoss:
    """−mean ln p of each row's own class, p within [ε, 1 − ε], ε that of the predictions' dtype.

    sklearn.metrics.log_loss; Bishop 2006, section 4.3.
    """

    classifies: ClassVar[bool] = True
    sign: ClassVar[int] = 1

    def of(self, predicted: Floats, targets: Floats) -> float:
        if _undefined(predicted, targets):
            return nan
        if predicted.shape[1] == 1:
            second = predicted[:, 0].astype(np.float64)
            own = np.where(targets[:, 0] > 0.5, second, 1 - second)
        else:
            own = predicted[np.arange(len(predicted)), _classes(targets)].astype(np.float64)
        eps = float(np.finfo(predicted.dtype).eps)
        return -float(np.log(own.clip(eps, 1 - eps)).mean())


@final
@dataclass(frozen=True)
class R2:
    """1 − Σ (a − y)² / Σ (y − mean y)², the unweighted mean over outputs; sklearn.metrics.r2_score.

    NaN when the targets of some output are all equal, where scikit-learn puts 0 or 1 for it (`force_finite`).
    """

    classifies: ClassVar[bool] = False
    sign: ClassVar[int] = -1

    def of(self, predicted: Floats, targets: Floats) -> float:
        if _undefined(predicted, targets):
            return nan
        a, y = _columns(predicted), _columns(targets)
        if (y == y[:, :1]).all(axis=1).any():  # their mean may be off by rounding, and the spread not 0
            return nan
        with np.errstate(all="ignore"):
            spread = np.square(y - y.mean(axis=1, keepdims=True)).sum(axis=1)
            return float((1 - np.square(a - y).sum(axis=1) / spread).mean())


@final
@dataclass(frozen=True)
class Rmse:
    """√ mean (a − y)², the mean over outputs of each output's root; sklearn.metrics.root_mean_squared_error."""

    classifies: ClassVar[bool] = False
    sign: ClassVar[int] = 1

    def of(self, predicted: Floats, targets: Floats) -> float:
        if _undefined(predicted, targets):
            return nan
        with np.errstate(all="ignore"):
            squares = np.square(_columns(predicted) - _columns(targets))
            return float(np.sqrt(squares.mean(axis=1)).mean())


@final
@dataclass(frozen=True)
class Mae:
    """mean |a − y|, over rows and outputs; sklearn.metrics.mean_absolute_error."""

    classifies: ClassVar[bool] = False
    sign: ClassVar[int] = 1

    def of(self, predicted: Floats, targets: Floats) -> float:
        if _undefined(predicted, targets):
            return nan
        with np.errstate(all="ignore"):
            return float(np.abs(_columns(predicted) - _columns(targets)).mean(axis=1).mean())


class _Counts(NamedTuple):
    """`(classes,)` each: rows of a class, rows decided to be of it, and rows of it that are decided rightly."""

    actual: Integers
    decided: Integers
    right: Integers


def _count(predicted: Floats, targets: Floats) -> _Counts:
    classes = max(2, targets.shape[1])
    actual, decided = _classes(targets), _classes(predicted)
    groups = (actual, decided, actual[actual == decided])
    return _Counts(*(np.bincount(group, minlength=classes) for group in groups))


def _classes(values: Floats) -> Integers:
    """`(rows, outputs)` of probabilities or targets → the class of each row, `(rows,)`."""
    return values.argmax(axis=1) if values.shape[1] > 1 else (values[:, 0] > 0.5).astype(np.intp)


def _area(scores: Floats, positive: Booleans) -> float:
    """U / (positives · negatives), U counted in whole numbers; NaN when either is none."""
    above, below = np.sort(scores[positive]), np.sort(scores[~positive])
    if not (len(above) and len(below)):
        return nan
    twice = below.searchsorted(above, "left").sum() + below.searchsorted(above, "right").sum()
    return int(twice) / (2 * len(above) * len(below))


def _columns(values: Floats) -> Floats:
    """`(rows, outputs)` → `(outputs, rows)`, float64, each output's rows side by side."""
    return np.ascontiguousarray(values.T, np.float64)


def _undefined(predicted: Floats, targets: Floats) -> bool:
    """There are no rows, or there is a NaN among the predictions."""
    if predicted.ndim != 2 or predicted.shape != targets.shape:
        raise EngineError(
            f"metric: predictions and targets must both be (rows, outputs), got {predicted.shape} and {targets.shape}"
        )
    return not predicted.size or bool(np.isnan(predicted).any())


METRICS: Registry[Metric] = Registry(
    "metric",
    {
        "accuracy": Accuracy,
        "balanced_accuracy": BalancedAccuracy,
        "f1": F1,
        "roc_auc": RocAuc,
        "log_loss": LogLoss,
        "r2": R2,
        "rmse": Rmse,
        "mae": Mae,
    },
)

"""Metrics of one trial's predictions, as defined by scikit-learn.

Sums are float64, over contiguous copies, so that a trial's value depends neither on other trials nor on the memory
layout. An undefined metric is NaN, without an exception or a warning.
"""

from dataclasses import dataclass
from math import nan
from typing import ClassVar, NamedTuple, Protocol, final

import numpy as np

from engine.registry import Registry
from engine.types import Booleans, EngineError, Floats, Integers


class Metric(Protocol):
    """A function of one trial's predictions and targets.

    Attributes:
        classifies: True for probabilities and classes, False for values.
        sign: +1 if lower is better, −1 if higher is better.
    """

    classifies: ClassVar[bool]
    sign: ClassVar[int]

    def of(self, predicted: Floats, targets: Floats) -> float:
        """Return the metric over all rows.

        Args:
            predicted: `(rows, outputs)`, the output of `Loss.predict`: the probability of the second of two classes,
                a probability for each class, or values.
            targets: `(rows, outputs)`, the output of `Loss.targets`: 0 or 1, one-hot rows, or values.

        Returns:
            The metric; NaN without rows, if a prediction is NaN, or where the metric's docstring says so.

        Raises:
            EngineError: the two shapes differ, or are not `(rows, outputs)`.
        """
        ...


@final
@dataclass(frozen=True)
class Accuracy:
    """The fraction of correctly classified rows; sklearn.metrics.accuracy_score.

    The predicted class has the largest probability, the first of equal ones; of two classes, the second is predicted
    above 0.5. `Loss.correct` may differ where logits differ but their probabilities are equal after rounding.
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
    """The mean recall of the classes among the targets; sklearn.metrics.balanced_accuracy_score.

    Brodersen et al. 2010, "The balanced accuracy and its posterior distribution".
    """

    classifies: ClassVar[bool] = True
    sign: ClassVar[int] = -1

    def of(self, predicted: Floats, targets: Floats) -> float:
        if _undefined(predicted, targets):
            return nan
        counts = _count(predicted, targets)
        present = counts.actual > 0
        return float((counts.correct[present] / counts.actual[present]).mean())


@final
@dataclass(frozen=True)
class F1:
    """2 · true positives / (actual + predicted): of the positive class, else the unweighted mean over classes.

    sklearn.metrics.f1_score, `average="binary"` and `"macro"`, `zero_division=0`: the mean is over the classes among
    the targets or predictions; without any row of the positive class it is 0. Van Rijsbergen 1979, chapter 7.

    Attributes:
        positive: index of the positive class; None for the second of two classes, and for the mean over more classes.
    """

    positive: int | None = None

    classifies: ClassVar[bool] = True
    sign: ClassVar[int] = -1

    def of(self, predicted: Floats, targets: Floats) -> float:
        if _undefined(predicted, targets):
            return nan
        counts = _count(predicted, targets)
        return _of_class(2 * counts.correct, counts.actual + counts.predicted, counts, self.positive)


@final
@dataclass(frozen=True)
class Precision:
    """True positives / predicted: of the positive class, else the unweighted mean over classes.

    sklearn.metrics.precision_score, `average="binary"` and `"macro"`, `zero_division=0`; classes as for F1.

    Attributes:
        positive: as for F1.
    """

    positive: int | None = None

    classifies: ClassVar[bool] = True
    sign: ClassVar[int] = -1

    def of(self, predicted: Floats, targets: Floats) -> float:
        if _undefined(predicted, targets):
            return nan
        counts = _count(predicted, targets)
        return _of_class(counts.correct, counts.predicted, counts, self.positive)


@final
@dataclass(frozen=True)
class Recall:
    """True positives / actual: of the positive class, else the unweighted mean over classes.

    sklearn.metrics.recall_score, `average="binary"` and `"macro"`, `zero_division=0`; classes as for F1.

    Attributes:
        positive: as for F1.
    """

    positive: int | None = None

    classifies: ClassVar[bool] = True
    sign: ClassVar[int] = -1

    def of(self, predicted: Floats, targets: Floats) -> float:
        if _undefined(predicted, targets):
            return nan
        counts = _count(predicted, targets)
        return _of_class(counts.correct, counts.actual, counts, self.positive)


@final
@dataclass(frozen=True)
class RocAuc:
    """The probability that a row of the class scores higher than a row of the other classes; a tie counts half.

    sklearn.metrics.roc_auc_score: of the second of two classes, else the unweighted mean of each class against the
    rest (`multi_class="ovr"`, `average="macro"`). NaN unless every class is among the targets. Computed as the
    Mann-Whitney U divided by the number of pairs (Hanley, McNeil 1982); one class against the rest: Fawcett 2006.
    """

    classifies: ClassVar[bool] = True
    sign: ClassVar[int] = -1

    def of(self, predicted: Floats, targets: Floats) -> float:
        if _undefined(predicted, targets):
            return nan
        outputs = predicted.shape[1]
        classes = range(outputs) if outputs > 2 else [outputs - 1]
        return sum(_area(predicted[:, c], targets[:, c] > 0.5) for c in classes) / len(classes)


@final
@dataclass(frozen=True)
class LogLoss:
    """−mean ln p of each row's class, with p clipped to [ε, 1 − ε] and ε of the predictions' dtype.

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

    NaN if the targets of an output are all equal; scikit-learn returns 0 or 1 for that output (`force_finite`).
    """

    classifies: ClassVar[bool] = False
    sign: ClassVar[int] = -1

    def of(self, predicted: Floats, targets: Floats) -> float:
        if _undefined(predicted, targets):
            return nan
        a, y = _columns(predicted), _columns(targets)
        if (y == y[:, :1]).all(axis=1).any():  # with rounding in the mean, the spread may not be 0
            return nan
        with np.errstate(all="ignore"):
            spread = np.square(y - y.mean(axis=1, keepdims=True)).sum(axis=1)
            return float((1 - np.square(a - y).sum(axis=1) / spread).mean())


@final
@dataclass(frozen=True)
class Rmse:
    """√ mean (a − y)² of each output, averaged over outputs; sklearn.metrics.root_mean_squared_error."""

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
    """mean |a − y| over rows and outputs; sklearn.metrics.mean_absolute_error."""

    classifies: ClassVar[bool] = False
    sign: ClassVar[int] = 1

    def of(self, predicted: Floats, targets: Floats) -> float:
        if _undefined(predicted, targets):
            return nan
        with np.errstate(all="ignore"):
            return float(np.abs(_columns(predicted) - _columns(targets)).mean(axis=1).mean())


class _Counts(NamedTuple):
    """Numbers of rows, `(classes,)` each: rows of a class, rows predicted as it, and rows of it predicted as it."""

    actual: Integers
    predicted: Integers
    correct: Integers


def _count(predicted: Floats, targets: Floats) -> _Counts:
    classes = max(2, targets.shape[1])
    actual, decided = _classes(targets), _classes(predicted)
    groups = (actual, decided, actual[actual == decided])  # in the order of `_Counts`
    return _Counts(*(np.bincount(group, minlength=classes) for group in groups))


def _of_class(part: Integers, whole: Integers, counts: _Counts, positive: int | None) -> float:
    """Return part / whole of the positive class, 0 without rows, or the mean over the classes that occur."""
    scores = part / np.maximum(whole, 1)
    positive = 1 if positive is None and len(scores) == 2 else positive
    occurs = counts.actual + counts.predicted > 0
    return float(scores[occurs].mean() if positive is None else scores[positive])


def _classes(values: Floats) -> Integers:
    """Return the class of each row, `(rows,)`, of probabilities or targets `(rows, outputs)`."""
    return values.argmax(axis=1) if values.shape[1] > 1 else (values[:, 0] > 0.5).astype(np.intp)


def _area(scores: Floats, positive: Booleans) -> float:
    """Return U / (positives · negatives), with U counted in integers; NaN without positives or negatives."""
    above, below = np.sort(scores[positive]), np.sort(scores[~positive])
    if not (len(above) and len(below)):
        return nan
    twice = below.searchsorted(above, "left").sum() + below.searchsorted(above, "right").sum()
    return int(twice) / (2 * len(above) * len(below))


def _columns(values: Floats) -> Floats:
    """Return `(rows, outputs)` as a contiguous `(outputs, rows)`, float64."""
    return np.ascontiguousarray(values.T, np.float64)


def _undefined(predicted: Floats, targets: Floats) -> bool:
    """Return True without rows or if a prediction is NaN; raise an EngineError for invalid shapes."""
    if predicted.ndim != 2 or predicted.shape != targets.shape:
        raise EngineError(
            f"metric: predictions and targets must both be (rows, outputs), got {predicted.shape} and {targets.shape}"
        )
    return not predicted.size or bool(np.isnan(predicted).any())


# Those that have a positive class.
POSITIVE_METRICS: dict[str, type[F1 | Precision | Recall]] = {"f1": F1, "precision": Precision, "recall": Recall}
METRICS: Registry[Metric] = Registry(
    "metric",
    {
        "accuracy": Accuracy,
        "balanced_accuracy": BalancedAccuracy,
        "f1": F1,
        "precision": Precision,
        "recall": Recall,
        "roc_auc": RocAuc,
        "log_loss": LogLoss,
        "r2": R2,
        "rmse": Rmse,
        "mae": Mae,
    },
)

"""Bias and variance of a network, from its errors and from the number of rows on which each was measured."""

from dataclasses import dataclass
from math import hypot, inf, isfinite, nan, sqrt
from typing import NamedTuple, final

from engine.types import EngineError

HIGH = 0.03  # geometric mean of 1 %, which is low in Ng's examples, and 10 %, which is high
NORMAL_QUANTILE = 1.959963984540054  # of a two-sided 95 % interval


class Interval(NamedTuple):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the width of the interval."""
        return (self.high - self.low) / 2


@final
@dataclass(frozen=True)
class ErrorEstimate:
    """An error and the rows on which it was measured.

    Attributes:
        error: share of wrong rows, or 1 − R² of a regression.
        rows: number of rows; None if it is unknown, so that the interval has no width.
        deviation: of a regression, standard deviation of a row's share in the error; None for a share of wrong rows.

    Raises:
        EngineError: an error below 0 or not finite, or no rows.
    """

    error: float
    rows: int | None = None
    deviation: float | None = None

    def __post_init__(self) -> None:
        if not (isfinite(self.error) and self.error >= 0):
            raise EngineError(f"diagnosis: an error must be at least 0 and finite, got {self.error}")
        if self.rows is not None and self.rows < 1:
            raise EngineError(f"diagnosis: rows must be at least 1, got {self.rows}")

    @property
    def interval(self) -> Interval:
        """The 95 % interval: Wilson's (1927) for a share, else error ± z · deviation / √rows."""
        e, n, z = self.error, self.rows, NORMAL_QUANTILE
        if n is None:
            return Interval(e, e, e)
        if self.deviation is not None or e > 1:
            half = z * (sqrt(2) * e if self.deviation is None else self.deviation) / sqrt(n)
            return Interval(e, max(0.0, e - half), e + half)
        center, half = e + z * z / (2 * n), z * sqrt(e * (1 - e) / n + z * z / (4 * n * n))
        low, high = (center - half) / (1 + z * z / n), (center + half) / (1 + z * z / n)
        return Interval(e, max(0.0, low), min(1.0, high))

    def minus(self, other: "ErrorEstimate") -> Interval:
        """Return the difference of two errors of independent rows, with the interval of Newcombe (1998, method 10).

        It combines the intervals of both: low = d − √((a − aₗ)² + (bᵤ − b)²).
        """
        a, b = self.interval, other.interval
        d = a.value - b.value
        return Interval(d, d - hypot(a.value - a.low, b.high - b.value), d + hypot(a.high - a.value, b.value - b.low))

    def __str__(self) -> str:
        found = self.interval
        return f"{self.error:.1%}" + (f" ({found.low:.1%} to {found.high:.1%})" if self.rows is not None else "")


@final
@dataclass(frozen=True)
class Diagnosis:
    """Bias and variance of a network, from its errors. Ng 2018, "Machine Learning Yearning", chapters 20 to 23.

    A difference counts as high if it exceeds `high` and its 95 % interval excludes 0.

    Attributes:
        train, val, test: errors, all of one kind; None if they are not known.
        base_error: unavoidable error: that of people, of the best possible model, or of the noise; None if unknown.
        high: threshold above which a bias or a variance is high.
        train_dev: error of rows like the training rows that were not trained on.
        stopped: training ended at a goal, so that the training error is intended and no bias.

    Raises:
        EngineError: a base error below 0 or not finite, `high` not above 0.
    """

    train: ErrorEstimate
    val: ErrorEstimate | None
    test: ErrorEstimate | None = None
    base_error: float | None = 0.0
    high: float = HIGH
    stopped: bool = False
    train_dev: ErrorEstimate | None = None

    def __post_init__(self) -> None:
        base = 0.0 if self.base_error is None else self.base_error
        if not (isfinite(base) and base >= 0):
            raise EngineError(f"diagnosis: base_error must be at least 0 and finite, got {base}")
        if not self.high > 0:
            raise EngineError(f"diagnosis: high must be above 0, got {self.high}")

    @property
    def bias(self) -> float:
        """Avoidable part of the training error, negative if it is below the unavoidable error; NaN if unknown."""
        return nan if self.base_error is None else self.train.error - self.base_error

    @property
    def val_gap(self) -> Interval:
        """Validation error − training error."""
        return _gap(self.val, self.train)

    @property
    def test_gap(self) -> Interval:
        """Test error − training error."""
        return _gap(self.test, self.train)

    @property
    def test_against_val(self) -> Interval:
        """Test error − validation error."""
        return _gap(self.test, self.val)

    @property
    def variance(self) -> float:
        """Difference between validation error and training error."""
        return self.val_gap.value

    @property
    def val_below_train(self) -> bool:
        """True if the validation error is below the training error by more than chance; False if rows are unknown."""
        return self.val_gap.high < 0 and None not in (self.train.rows, self.val and self.val.rows)

    @property
    def high_bias(self) -> bool:
        """True if the network underfits the training rows; never if the validation error is below the training error.

        Such a training error is due to regularization or to harder rows, so it says nothing of the network.
        """
        if self.base_error is None or self.val_below_train or self.stopped:
            return False
        return self.bias > self.high and self.train.interval.low > self.base_error

    @property
    def bias_unknown(self) -> bool:
        """True if it is not known how much of a training error that is not low could be avoided."""
        intended = self.stopped or self.val_below_train
        return self.base_error is None and self.train.error > self.high and not intended

    @property
    def high_variance(self) -> bool:
        """True if the network does not generalize to new rows: those of train_dev, else of val or test."""
        gaps = (self.val_gap, self.test_gap) if self.train_dev is None else (_gap(self.train_dev, self.train),)
        return any(gap.value > self.high and gap.low > 0 for gap in gaps)

    @property
    def mismatch(self) -> bool:
        """True if val or test rows are harder than new rows like the training rows (chapter 40, data mismatch)."""
        gaps = [_gap(part, self.train_dev) for part in (self.val, self.test)]
        return any(gap.value > self.high and gap.low > 0 for gap in gaps)

    @property
    def verdict(self) -> str:
        """The diagnosis in words: high bias, high variance, both or neither."""
        names = [("high bias", self.high_bias), ("high variance", self.high_variance), ("data mismatch", self.mismatch)]
        found = " and ".join(name for name, is_high in names if is_high)
        if self.val_below_train:
            return found or "no high variance; bias cannot be judged"
        if self.bias_unknown:
            return f"{found or 'no high variance'}; bias unknown"
        return found or "neither high bias nor high variance"

    def __str__(self) -> str:
        parts = {"train": self.train, "train_dev": self.train_dev, "val": self.val, "test": self.test}
        text = ", ".join(f"{name} error {part}" for name, part in parts.items() if part is not None)
        if self.base_error:
            text += f"; {self.base_error:.1%} is unavoidable"
        return f"{self.verdict}: {text}"


def _gap(one: ErrorEstimate | None, other: ErrorEstimate | None) -> Interval:
    """Return the difference; one that is not known lies anywhere."""
    return Interval(nan, -inf, inf) if one is None or other is None else one.minus(other)


def diagnose(train_error: float, val_error: float, base_error: float | None = 0.0, high: float = HIGH) -> Diagnosis:
    """Return the bias and variance of a network from errors whose numbers of rows are not known.

    Raises:
        EngineError: an error below 0 or not finite, `high` not above 0.
    """
    return Diagnosis(ErrorEstimate(float(train_error)), ErrorEstimate(float(val_error)), None, base_error, high)

"""Bias and variance of a network, from its errors."""

from dataclasses import dataclass
from math import isfinite
from typing import final

from engine.types import EngineError

HIGH = 0.03  # geometric mean of 1 %, which is low in Ng's examples, and 10 %, which is high


@final
@dataclass(frozen=True)
class Diagnosis:
    """Bias and variance of a network, from its errors. Ng 2018, "Machine Learning Yearning", chapters 20 to 23.

    Attributes:
        train_error, val_error: 1 − accuracy, or 1 − R² of a regression.
        base_error: unavoidable error: that of people, or of the best possible model.
        high: threshold above which a bias or a variance is high.

    Raises:
        EngineError: an error below 0 or not finite, `high` not above 0.
    """

    train_error: float
    val_error: float
    base_error: float = 0.0
    high: float = HIGH

    def __post_init__(self) -> None:
        for name in ("train_error", "val_error", "base_error"):
            value = getattr(self, name)
            if not (isfinite(value) and value >= 0):
                raise EngineError(f"diagnosis: {name} must be at least 0 and finite, got {value}")
        if not self.high > 0:
            raise EngineError(f"diagnosis: high must be above 0, got {self.high}")

    @property
    def bias(self) -> float:
        """Avoidable part of the training error; negative if it is below the unavoidable error."""
        return self.train_error - self.base_error

    @property
    def variance(self) -> float:
        """Difference between validation error and training error."""
        return self.val_error - self.train_error

    @property
    def high_bias(self) -> bool:
        """True if the network underfits the training rows."""
        return self.bias > self.high

    @property
    def high_variance(self) -> bool:
        """True if the network does not generalize."""
        return self.variance > self.high

    @property
    def verdict(self) -> str:
        """The diagnosis in words: high bias, high variance, both or neither."""
        names = [("high bias", self.high_bias), ("high variance", self.high_variance)]
        return " and ".join(name for name, is_high in names if is_high) or "neither high bias nor high variance"

    @property
    def advice(self) -> tuple[str, ...]:
        """Remedies to try, in order."""
        against_bias = ("a larger network", "longer training") if self.high_bias else ()
        against_variance = ("more data", "regularization") if self.high_variance else ()
        advice = (*against_bias, *against_variance)
        return (*advice, "another architecture") if advice else ()

    def __str__(self) -> str:
        text = f"{self.verdict}: train error {self.train_error:.1%}, val error {self.val_error:.1%}"
        if self.base_error:
            text += f", of which {self.base_error:.1%} is unavoidable"
        return f"{text}; try {', '.join(self.advice)}" if self.advice else text


def diagnose(train_error: float, val_error: float, base_error: float = 0.0, high: float = HIGH) -> Diagnosis:
    """Return the bias and variance of a network, with remedies.

    Args:
        train_error, val_error, base_error, high: see `Diagnosis`.

    Raises:
        EngineError: an error below 0 or not finite, `high` not above 0.
    """
    return Diagnosis(float(train_error), float(val_error), float(base_error), high)

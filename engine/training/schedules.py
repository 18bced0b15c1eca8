"""Learning-rate schedules: a factor for α₀ in each epoch."""

from bisect import bisect_right
from dataclasses import dataclass
from math import cos, pi, sqrt
from typing import Protocol, final

from engine.optimizers.base import check_positive
from engine.registry import Registry
from engine.types import EngineError


class Schedule(Protocol):
    """Configuration of a learning-rate schedule; a frozen dataclass in the registry."""

    def factor(self, epoch: int) -> float:
        """Return α / α₀ in an epoch, counted from 0."""
        ...


@final
@dataclass(frozen=True)
class Constant:
    """α = α₀."""

    def factor(self, epoch: int) -> float:
        return 1.0


@final
@dataclass(frozen=True)
class InverseTime:
    """α = α₀ / (1 + d·epoch), with d the decay.

    Raises:
        EngineError: d below 0.
    """

    decay: float = 0.1

    def __post_init__(self) -> None:
        _not_negative("inverse_time", decay=self.decay)

    def factor(self, epoch: int) -> float:
        return 1 / (1 + self.decay * epoch)


@final
@dataclass(frozen=True)
class Exponential:
    """α = α₀ · γ^epoch.

    Raises:
        EngineError: γ outside (0, 1].
    """

    gamma: float = 0.95

    def __post_init__(self) -> None:
        _share("exponential", gamma=self.gamma)

    def factor(self, epoch: int) -> float:
        return self.gamma**epoch


@final
@dataclass(frozen=True)
class Root:
    """α = α₀ · k / √(epoch + 1).

    Raises:
        EngineError: k not above 0.
    """

    k: float = 1.0

    def __post_init__(self) -> None:
        check_positive("root", k=self.k)

    def factor(self, epoch: int) -> float:
        return self.k / sqrt(epoch + 1)


@final
@dataclass(frozen=True)
class Step:
    """α is multiplied by γ every `every` epochs.

    Raises:
        EngineError: `every` below 1, γ outside (0, 1].
    """

    every: int = 10
    gamma: float = 0.1

    def __post_init__(self) -> None:
        if not self.every >= 1:
            raise EngineError(f"step: every must be at least 1, got {self.every}")
        _share("step", gamma=self.gamma)

    def factor(self, epoch: int) -> float:
        return self.gamma ** (epoch // self.every)


@final
@dataclass(frozen=True)
class MultiStep:
    """α is multiplied by γ at the start of each milestone epoch, counted from 0.

    Raises:
        EngineError: the milestones do not increase or begin below 1, γ outside (0, 1].
    """

    milestones: tuple[int, ...] = (30, 60)
    gamma: float = 0.1

    def __post_init__(self) -> None:
        if not all(a < b for a, b in zip((0, *self.milestones), self.milestones, strict=False)):
            raise EngineError(f"multi_step: milestones must increase and be at least 1, got {list(self.milestones)}")
        _share("multi_step", gamma=self.gamma)

    def factor(self, epoch: int) -> float:
        return self.gamma ** bisect_right(self.milestones, epoch)


@final
@dataclass(frozen=True)
class Inverse:
    """α = α₀ · (1 + γ·epoch)^−p, with p the power. Caffe's policy "inv", per epoch.

    Raises:
        EngineError: γ or p below 0.
    """

    gamma: float = 0.1
    power: float = 0.75

    def __post_init__(self) -> None:
        _not_negative("inverse", gamma=self.gamma, power=self.power)

    def factor(self, epoch: int) -> float:
        return float((1 + self.gamma * epoch) ** -self.power)


@final
@dataclass(frozen=True)
class Polynomial:
    """α = α₀ · (e + (1−e)(1 − t/T)^p) in epoch t of T, with e the end, then α₀ · e.

    Attributes:
        epochs: T + w, required for `factor`.
        power: p; 1 is linear.
        end: e, the final share of α₀.
        warmup: w, the number of epochs before, in which α = α₀ · (t + 1)/(w + 1). Goyal et al. 2017, section 2.2.

    Raises:
        EngineError: T below 1, or None when `factor` is called; p not above 0, e outside [0, 1], w below 0.
    """

    epochs: int | None = None
    power: float = 1.0
    end: float = 0.0
    warmup: int = 0

    def __post_init__(self) -> None:
        _span("polynomial", self.epochs, self.end, self.warmup)
        check_positive("polynomial", power=self.power)

    def factor(self, epoch: int) -> float:
        if epoch < self.warmup:
            return (epoch + 1) / (self.warmup + 1)
        left = 1 - _progress("polynomial", epoch, self.epochs, self.warmup)
        return float(self.end + (1 - self.end) * left**self.power)


@final
@dataclass(frozen=True)
class Cosine:
    """α = α₀ · (e + (1−e)(1 + cos πt/T)/2) in epoch t of T, with e the end, then α₀ · e.

    Loshchilov and Hutter 2017, equation 5, without restarts.

    Attributes:
        epochs: T + w, required for `factor`.
        end: e, the final share of α₀.
        warmup: w, the number of epochs before, in which α = α₀ · (t + 1)/(w + 1). Goyal et al. 2017, section 2.2.

    Raises:
        EngineError: T below 1, or None when `factor` is called; e outside [0, 1], w below 0.
    """

    epochs: int | None = None
    end: float = 0.0
    warmup: int = 0

    def __post_init__(self) -> None:
        _span("cosine", self.epochs, self.end, self.warmup)

    def factor(self, epoch: int) -> float:
        if epoch < self.warmup:
            return (epoch + 1) / (self.warmup + 1)
        done = _progress("cosine", epoch, self.epochs, self.warmup)
        return self.end + (1 - self.end) * (1 + cos(pi * done)) / 2


def _not_negative(schedule: str, **values: float) -> None:
    for name, value in values.items():
        if not value >= 0:
            raise EngineError(f"{schedule}: {name} must be at least 0, got {value}")


def _share(schedule: str, **values: float) -> None:
    for name, value in values.items():
        if not 0 < value <= 1:
            raise EngineError(f"{schedule}: {name} must be above 0 and at most 1, got {value}")


def _span(schedule: str, epochs: int | None, end: float, warmup: int) -> None:
    if not warmup >= 0:
        raise EngineError(f"{schedule}: warmup must be at least 0, got {warmup}")
    if epochs is not None and epochs >= 1 and not warmup < epochs:
        raise EngineError(f"{schedule}: warmup must be below epochs, {epochs}, got {warmup}")
    if epochs is not None and not epochs >= 1:
        raise EngineError(f"{schedule}: epochs must be at least 1, got {epochs}")
    if not 0 <= end <= 1:
        raise EngineError(f"{schedule}: end must be at least 0 and at most 1, got {end}")


def _progress(schedule: str, epoch: int, epochs: int | None, warmup: int) -> float:
    """Return t / T after the warm-up, at most 1."""
    if epochs is None:
        raise EngineError(f"{schedule}: epochs must be set, got None")
    return min((epoch - warmup) / (epochs - warmup), 1.0)


SCHEDULES: Registry[Schedule] = Registry(
    "schedule",
    {
        "constant": Constant,
        "inverse_time": InverseTime,
        "exponential": Exponential,
        "root": Root,
        "step": Step,
        "multi_step": MultiStep,
        "inverse": Inverse,
        "polynomial": Polynomial,
        "cosine": Cosine,
    },
)

"""Initializers of weights; biases start at zero.

Weights of layers with `fan_in` inputs and `fan_out` outputs are drawn from the trial's generator, in float64.
"""

from dataclasses import dataclass
from math import inf, sqrt
from typing import Protocol, final

import numpy as np

from engine.registry import Registry
from engine.types import EngineError, Floats, Shape


class Initializer(Protocol):
    """Configuration of an initializer; a frozen dataclass in the registry."""

    def __call__(self, generator: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Floats:
        """Draw weights of `shape`, float64."""
        ...


@final
@dataclass(frozen=True)
class Zero:
    """All zeros; for biases only, because units with equal weights stay equal."""

    def __call__(self, generator: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Floats:
        return np.zeros(shape)


@final
@dataclass(frozen=True)
class Normal:
    """N(0, sigma²), independent of the fan.

    Raises:
        EngineError: sigma below 0.
    """

    sigma: float = 0.01

    def __post_init__(self) -> None:
        if not self.sigma >= 0:
            raise EngineError(f"normal initializer: sigma must be at least 0, got {self.sigma}")

    def __call__(self, generator: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Floats:
        return generator.standard_normal(shape) * self.sigma


@final
@dataclass(frozen=True)
class Uniform:
    """U(±bound), independent of the fan.

    Raises:
        EngineError: a bound below 0 or not finite.
    """

    bound: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.bound < inf:
            raise EngineError(f"uniform initializer: bound must be at least 0 and finite, got {self.bound}")

    def __call__(self, generator: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Floats:
        return generator.uniform(-self.bound, self.bound, shape)


@final
@dataclass(frozen=True)
class LeCunUniform:
    """U(±√(3 / fan_in)): the variance of LeCun et al. 1998, equation 16, drawn uniformly."""

    def __call__(self, generator: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Floats:
        bound = sqrt(3 / fan_in)
        return generator.uniform(-bound, bound, shape)


@final
@dataclass(frozen=True)
class LeCunNormal:
    """N(0, 1 / fan_in). LeCun, Bottou, Orr and Müller 1998, "Efficient BackProp", equation 16."""

    def __call__(self, generator: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Floats:
        return generator.standard_normal(shape) * sqrt(1 / fan_in)


@final
@dataclass(frozen=True)
class XavierUniform:
    """U(±√(6 / (fan_in + fan_out))). Glorot and Bengio 2010, equation 16."""

    def __call__(self, generator: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Floats:
        bound = sqrt(6 / (fan_in + fan_out))
        return generator.uniform(-bound, bound, shape)


@final
@dataclass(frozen=True)
class XavierNormal:
    """N(0, 2 / (fan_in + fan_out)). Glorot and Bengio 2010, equation 12."""

    def __call__(self, generator: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Floats:
        return generator.standard_normal(shape) * sqrt(2 / (fan_in + fan_out))


@final
@dataclass(frozen=True)
class HeUniform:
    """U(±√(6 / fan_in)): the variance of He et al. 2015, equation 10, drawn uniformly."""

    def __call__(self, generator: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Floats:
        bound = sqrt(6 / fan_in)
        return generator.uniform(-bound, bound, shape)


@final
@dataclass(frozen=True)
class HeNormal:
    """N(0, 2 / fan_in). He et al. 2015, equation 10."""

    def __call__(self, generator: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Floats:
        return generator.standard_normal(shape) * sqrt(2 / fan_in)


INITIALIZERS: Registry[Initializer] = Registry(
    "initializer",
    {
        "zero": Zero,
        "normal": Normal,
        "uniform": Uniform,
        "lecun_uniform": LeCunUniform,
        "lecun_normal": LeCunNormal,
        "xavier_uniform": XavierUniform,
        "xavier_normal": XavierNormal,
        "he_uniform": HeUniform,
        "he_normal": HeNormal,
    },
)

"""Functions applied to each number, as layers without parameters; backwards from the output alone."""

import abc
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import numpy as np

from engine.layers.base import Bound, Layer, Parameter, Place
from engine.registry import Menu
from engine.types import EngineError, Floats, Shape


class Memory(NamedTuple):
    """Arrays that are there already: both `(trials, rows, …)`. `zeros` stays zero, `scratch` is free."""

    zeros: Floats
    scratch: Floats


class Activation(Layer):
    """y = f(x), with f′ written in terms of y, so that x need not be kept."""

    keeps_output: ClassVar[bool] = True

    @abc.abstractmethod
    def forward(self, x: Floats, y: Floats, memory: Memory) -> None:
        """Writes f(x) into `y`, which may be `x` itself. Both `(trials, rows, …)`."""

    @abc.abstractmethod
    def backward(self, y: Floats, dy: Floats, memory: Memory) -> None:
        """Multiplies `dy` by f′ in place."""

    def outputs(self, inputs: Shape) -> Shape:
        return inputs

    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        return ()

    def bind(self, place: Place) -> Bound:
        memory = Memory(place.zeros(place.inputs), place.empty(place.inputs))
        y = memory.scratch if place.overwrite else place.empty(place.inputs)
        overwrite, f, multiply_by_slope = place.overwrite, self.forward, self.backward

        def forward(x: Floats) -> Floats:
            nonlocal y
            if overwrite:
                y = x
            f(x, y, memory)
            return y

        def backward(dy: Floats) -> Floats:
            multiply_by_slope(y, dy, memory)
            return dy

        return Bound(forward, backward)


@final
@dataclass(frozen=True)
class Identity(Activation):
    """y = x."""

    def forward(self, x: Floats, y: Floats, memory: Memory) -> None:
        if y is not x:
            np.copyto(y, x)

    def backward(self, y: Floats, dy: Floats, memory: Memory) -> None:
        return


@final
@dataclass(frozen=True)
class Sigmoid(Activation):
    """y = 1 / (1 + exp(−x)); y′ = y(1 − y)."""

    def forward(self, x: Floats, y: Floats, memory: Memory) -> None:
        np.negative(x, out=y)
        np.exp(y, out=y)  # +inf for x below −88 in float32, and 1/inf is the 0 that is meant
        y += 1
        np.reciprocal(y, out=y)

    def backward(self, y: Floats, dy: Floats, memory: Memory) -> None:
        dy *= y
        np.subtract(1, y, out=memory.scratch)
        dy *= memory.scratch


@final
@dataclass(frozen=True)
class Tanh(Activation):
    """y = tanh x; y′ = 1 − y²."""

    def forward(self, x: Floats, y: Floats, memory: Memory) -> None:
        np.tanh(x, out=y)

    def backward(self, y: Floats, dy: Floats, memory: Memory) -> None:
        np.multiply(y, y, out=memory.scratch)
        np.subtract(1, memory.scratch, out=memory.scratch)
        dy *= memory.scratch


@final
@dataclass(frozen=True)
class ReLU(Activation):
    """y = max(x, 0); y′ = [y > 0], so 0 at the kink."""

    def forward(self, x: Floats, y: Floats, memory: Memory) -> None:
        np.maximum(x, memory.zeros, out=y)  # an array: with a scalar 3-4 times slower

    def backward(self, y: Floats, dy: Floats, memory: Memory) -> None:
        np.multiply(dy, y > memory.zeros, dy)


@final
@dataclass(frozen=True)
class LeakyReLU(Activation):
    """y = max(x, slope·x); y′ = 1 for y > 0, else slope. Maas et al. 2013."""

    slope: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.slope < 1:
            raise EngineError(f"leaky_relu: slope must lie between 0 and 1, got {self.slope}")

    def forward(self, x: Floats, y: Floats, memory: Memory) -> None:
        np.multiply(x, self.slope, out=memory.scratch)
        np.maximum(x, memory.scratch, out=y)

    def backward(self, y: Floats, dy: Floats, memory: Memory) -> None:
        np.multiply(dy, self.slope, out=dy, where=y <= 0)


ACTIVATIONS: Menu[Activation] = Menu(
    "activation",
    {
        "identity": Identity,
        "sigmoid": Sigmoid,
        "tanh": Tanh,
        "relu": ReLU,
        "leaky_relu": LeakyReLU,
    },
)

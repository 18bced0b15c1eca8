"""Activations: functions of each number (softmax: of each row), as layers without parameters."""

import abc
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import numpy as np

from engine.kernels.program import Operation, Program, Tensor
from engine.layers import LAYERS
from engine.layers.base import Bound, Layer, Parameter, Place
from engine.registry import Registry
from engine.types import EngineError, Floats, Shape


class Memory(NamedTuple):
    """Preallocated arrays, both `(trials, rows, …)`: `zeros` stays zero, `scratch` may be overwritten."""

    zeros: Floats
    scratch: Floats


class Activation(Layer):
    """y = f(x), with f′ computed from y, so that x need not be kept."""

    keeps_output: ClassVar[bool] = True

    @abc.abstractmethod
    def forward(self, x: Floats, y: Floats, memory: Memory) -> None:
        """Write f(x) into `y`, which may be `x` itself; both `(trials, rows, …)`."""

    @abc.abstractmethod
    def backward(self, y: Floats, dy: Floats, memory: Memory) -> None:
        """Multiply `dy (trials, rows, …)` by f′ in place."""

    def outputs(self, inputs: Shape) -> Shape:
        return inputs

    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        return ()

    @abc.abstractmethod
    def compile(self, program: Program, x: Tensor) -> Tensor:
        """Append the activation to a program of the compiled kernel, as all activations can."""

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

    def compile(self, program: Program, x: Tensor) -> Tensor:
        return x


@final
@dataclass(frozen=True)
class Sigmoid(Activation):
    """y = 1 / (1 + exp(−x)); y′ = y(1 − y)."""

    def forward(self, x: Floats, y: Floats, memory: Memory) -> None:
        np.negative(x, out=y)
        np.exp(y, out=y)  # +inf for x below −88 in float32; its reciprocal is 0, as intended
        y += 1
        np.reciprocal(y, out=y)

    def backward(self, y: Floats, dy: Floats, memory: Memory) -> None:
        dy *= y
        np.subtract(1, y, out=memory.scratch)
        dy *= memory.scratch

    def compile(self, program: Program, x: Tensor) -> Tensor:
        return program.elementwise(Operation.SIGMOID, x, needs_output=True)


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

    def compile(self, program: Program, x: Tensor) -> Tensor:
        return program.elementwise(Operation.TANH, x, needs_output=True)


@final
@dataclass(frozen=True)
class ReLU(Activation):
    """y = max(x, 0); y′ = [y > 0], so 0 at the kink."""

    def forward(self, x: Floats, y: Floats, memory: Memory) -> None:
        np.maximum(x, memory.zeros, out=y)  # a scalar 0 is 3 to 4 times slower

    def backward(self, y: Floats, dy: Floats, memory: Memory) -> None:
        np.multiply(dy, y > memory.zeros, dy)

    def compile(self, program: Program, x: Tensor) -> Tensor:
        return program.elementwise(Operation.RELU, x, needs_output=True)


@final
@dataclass(frozen=True)
class LeakyReLU(Activation):
    """y = max(x, slope·x); y′ = 1 for y > 0, else slope. Maas et al. 2013.

    Raises:
        EngineError: slope outside (0, 1).
    """

    slope: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.slope < 1:
            raise EngineError(f"leaky_relu: slope must lie between 0 and 1, got {self.slope}")

    def forward(self, x: Floats, y: Floats, memory: Memory) -> None:
        np.multiply(x, self.slope, out=memory.scratch)
        np.maximum(x, memory.scratch, out=y)

    def backward(self, y: Floats, dy: Floats, memory: Memory) -> None:
        np.greater(y, memory.zeros, out=memory.scratch)
        np.maximum(memory.scratch, self.slope, out=memory.scratch)  # 4 times faster than `where=y <= 0`
        dy *= memory.scratch

    def compile(self, program: Program, x: Tensor) -> Tensor:
        return program.elementwise(Operation.LEAKY_RELU, x, self.slope, needs_output=True)


@final
@dataclass(frozen=True)
class ELU(Activation):
    """y = x for x > 0, else α(eˣ − 1); y′ = 1 for y > 0, else y + α. Clevert et al. 2016, equation 15.

    Raises:
        EngineError: alpha not above 0.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise EngineError(f"elu: alpha must be above 0, got {self.alpha}")

    def forward(self, x: Floats, y: Floats, memory: Memory) -> None:
        np.minimum(x, memory.zeros, out=memory.scratch)
        np.expm1(memory.scratch, out=memory.scratch)
        if self.alpha != 1:
            np.multiply(memory.scratch, self.alpha, out=memory.scratch)
        np.maximum(x, memory.zeros, out=y)
        y += memory.scratch

    def backward(self, y: Floats, dy: Floats, memory: Memory) -> None:
        np.minimum(y, memory.zeros, out=memory.scratch)
        np.add(memory.scratch, self.alpha, out=memory.scratch)
        if self.alpha != 1:
            np.add(memory.scratch, (y > memory.zeros) * y.dtype.type(1 - self.alpha), out=memory.scratch)
        dy *= memory.scratch

    def compile(self, program: Program, x: Tensor) -> Tensor:
        return program.elementwise(Operation.ELU, x, self.alpha, needs_output=True)


@final
@dataclass(frozen=True)
class Softplus(Activation):
    """y = ln(1 + eˣ), as max(x, 0) + ln(1 + e^−|x|), so that nothing overflows; y′ = 1 − e^−y. Dugas et al. 2001."""

    def forward(self, x: Floats, y: Floats, memory: Memory) -> None:
        np.abs(x, out=memory.scratch)
        np.negative(memory.scratch, out=memory.scratch)
        np.exp(memory.scratch, out=memory.scratch)
        np.log1p(memory.scratch, out=memory.scratch)
        np.maximum(x, memory.zeros, out=y)
        y += memory.scratch

    def backward(self, y: Floats, dy: Floats, memory: Memory) -> None:
        np.negative(y, out=memory.scratch)
        np.expm1(memory.scratch, out=memory.scratch)  # exact for small y, where 1 − e^−y would round to 0
        dy *= memory.scratch
        np.negative(dy, out=dy)

    def compile(self, program: Program, x: Tensor) -> Tensor:
        return program.elementwise(Operation.SOFTPLUS, x, needs_output=True)


@final
@dataclass(frozen=True)
class Softmax(Activation):
    """y = eˣ / Σ eˣ over the features of a row, or the channels of each pixel; dx = y(dy − Σ dy·y). Bridle 1990.

    For use between layers, such as in attention; the softmax of a classifier's outputs is part of its loss.
    """

    def forward(self, x: Floats, y: Floats, memory: Memory) -> None:
        np.subtract(x, np.maximum.reduce(x, axis=2, keepdims=True), out=y)
        np.exp(y, out=y)
        y /= np.add.reduce(y, axis=2, keepdims=True)

    def backward(self, y: Floats, dy: Floats, memory: Memory) -> None:
        np.multiply(dy, y, out=memory.scratch)
        dy -= np.add.reduce(memory.scratch, axis=2, keepdims=True)
        dy *= y

    def compile(self, program: Program, x: Tensor) -> Tensor:
        return program.elementwise(Operation.SOFTMAX, x, needs_output=True)


def hardmax(scores: Floats) -> Floats:
    """Return 1 for the largest score of each row (the first of equal ones) and 0 for the others.

    Args:
        scores: `(…, rows, classes)`, logits or probabilities.
    """
    largest = np.zeros_like(scores)
    np.put_along_axis(largest, scores.argmax(axis=-1)[..., None], 1, axis=-1)
    return largest


ACTIVATIONS: Registry[Activation] = Registry(
    "activation",
    {
        "identity": Identity,
        "sigmoid": Sigmoid,
        "tanh": Tanh,
        "relu": ReLU,
        "leaky_relu": LeakyReLU,
        "elu": ELU,
        "softplus": Softplus,
        "softmax": Softmax,
    },
)

# All layers of a network, and the activations of a hidden layer; maxout includes the dense layer.
ALL_LAYERS: Registry[Layer] = Registry.joined("layer", LAYERS, ACTIVATIONS)
HIDDEN_ACTIVATIONS: Registry[Layer] = Registry.joined(
    "activation", ACTIVATIONS, {name: LAYERS[name] for name in ("prelu", "rrelu", "maxout")}
)

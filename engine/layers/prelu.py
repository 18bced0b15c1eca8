"""PReLU: a ReLU whose slope below zero is learned."""

from dataclasses import dataclass
from math import isfinite
from typing import final

import numpy as np

from engine.kernels.program import Operation, Program, Tensor
from engine.layers.base import Bound, Layer, Parameter, Place
from engine.layers.batch_norm import across, by_channel, by_row, check_shape, sums
from engine.types import EngineError, Floats, Shape


@final
@dataclass(frozen=True)
class PReLU(Layer):
    """y = x for x > 0, else a·x, with one learned a for each feature or channel. He et al. 2015, equation 1.

    The slopes are not regularized, which would pull them toward 0, a ReLU.

    Attributes:
        slope: initial value of every a.

    Raises:
        EngineError: a slope that is not finite, rows that are neither features nor images.
    """

    slope: float = 0.25

    def __post_init__(self) -> None:
        if not isfinite(self.slope):
            raise EngineError(f"prelu: slope must be finite, got {self.slope}")

    def outputs(self, inputs: Shape) -> Shape:
        check_shape("prelu", inputs)
        return inputs

    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        return (Parameter("slope", inputs[:1], self._initialize, regularized=False),)

    def compile(self, program: Program, x: Tensor) -> Tensor:
        return program.elementwise(Operation.PRELU, x, needs_input=True, parameters=x.width)

    def bind(self, place: Place) -> Bound:
        slope, first = across(place.theta["slope"], place), place.first
        zeros, y, below = (by_channel(make(place.inputs)) for make in (place.zeros, place.empty, place.empty))
        scratch, total = np.empty_like(y), sums(place, 1)
        grad = place.grad["slope"] if place.training else place.theta["slope"]
        kept = y

        def forward(x: Floats) -> Floats:
            nonlocal kept
            shape, kept = (place.trials, *x.shape[1:]), by_channel(x)
            np.minimum(kept, zeros, out=below)
            np.multiply(below, slope, scratch)
            np.maximum(kept, zeros, out=y)
            np.add(y, scratch, y)
            return by_row(y, shape)

        def backward(dy: Floats) -> Floats:
            shape, dy = dy.shape, by_channel(dy)
            np.multiply(dy, below, scratch)
            total(scratch, grad)  # da = Σ dy·min(x, 0)
            if first:
                return by_row(dy, shape)
            np.multiply(dy, kept > zeros, scratch)
            np.subtract(dy, scratch, dy)  # dy where x is not above 0
            np.multiply(dy, slope, dy)
            np.add(dy, scratch, dy)  # dx = dy for x > 0, else a·dy
            return by_row(dy, shape)

        return Bound(forward, backward)

    def _initialize(self, generator: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Floats:
        return np.full(shape, self.slope)

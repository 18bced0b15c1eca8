"""RReLU: a ReLU with a random slope below zero, drawn for each number in each training step."""

from dataclasses import dataclass
from math import prod
from typing import ClassVar, final

import numpy as np

from engine.kernels.program import Operation, Program, Tensor
from engine.layers.base import Bound, Layer, Parameter, Place
from engine.layers.dropout import STEPS, in_memory_order, random_bits
from engine.types import EngineError, Floats, Shape


@final
@dataclass(frozen=True)
class RReLU(Layer):
    """y = x for x > 0, else a·x; a ~ U(low, high) in training, a = (low + high)/2 at inference. Xu et al. 2015.

    Raises:
        EngineError: bounds that are not 0 < low <= high < 1.
    """

    keeps_output: ClassVar[bool] = True
    low: float = 1 / 8
    high: float = 1 / 3

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high < 1:
            raise EngineError(f"rrelu: must have 0 < low ≤ high < 1, got low={self.low}, high={self.high}")

    def outputs(self, inputs: Shape) -> Shape:
        return inputs

    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        return ()

    def compile(self, program: Program, x: Tensor) -> Tensor:
        step = (self.high - self.low) / STEPS
        numbers = (self.low + step / 2, step, (self.low + self.high) / 2)
        return program.elementwise(Operation.RRELU, x, *numbers, draws=True, needs_output=True)

    def bind(self, place: Place) -> Bound:
        y, slopes = place.empty(place.inputs), place.empty(place.inputs)
        if not place.training:
            mean = (self.low + self.high) / 2
            return Bound(lambda x: np.maximum(x, np.multiply(x, mean, slopes), out=y), lambda dy: dy)
        zeros, numbers = place.zeros(place.inputs), place.rows * prod(place.inputs)
        draws = list(zip(in_memory_order(slopes), place.generators, strict=True))
        step = (self.high - self.low) / STEPS
        lowest = self.low + step / 2  # slopes are the midpoints of 2¹⁶ equal steps

        def forward(x: Floats) -> Floats:
            for row, generator in draws:
                row[...] = random_bits(generator, numbers)
            np.multiply(slopes, step, slopes)
            np.add(slopes, lowest, slopes)
            np.multiply(x, slopes, y)
            return np.maximum(x, y, out=y)  # valid because every slope is between 0 and 1

        def backward(dy: Floats) -> Floats:
            np.maximum(slopes, y > zeros, out=slopes)  # 1 for x > 0
            return np.multiply(dy, slopes, dy)

        return Bound(forward, backward)

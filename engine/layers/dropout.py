"""Dropout: in training, random numbers are set to 0 and the others scaled up."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, final

import numpy as np

from engine.kernels.program import Operation, Program, Tensor
from engine.layers.base import Bound, Layer, Parameter, Place
from engine.types import EngineError, Floats, Integers, Shape

STEPS = 1 << 16  # rates are rounded to multiples of 1 / STEPS, so that 16 random bits suffice for a number


@final
@dataclass(frozen=True)
class Dropout(Layer):
    """y = x·m / (1 − rate), with m = 0 with probability `rate`, else 1; y = x at inference. Srivastava et al. 2014.

    Trials that train together may have different rates: the number of random bits does not depend on the rate.

    Raises:
        EngineError: a rate outside [0, 1).
    """

    keeps_output: ClassVar[bool] = True  # at inference the output is the input, which the next layer must not overwrite
    rate: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise EngineError(f"dropout: rate must be at least 0 and below 1, got {self.rate}")

    def outputs(self, inputs: Shape) -> Shape:
        return inputs

    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        return ()

    def compile(self, program: Program, x: Tensor) -> Tensor:
        return program.elementwise(Operation.DROPOUT, x, count=_dropped_steps(self), draws=True)

    def bind(self, place: Place) -> Bound:
        if not place.training:
            return Bound(lambda x: x, lambda dy: dy)
        dropped_steps = [_dropped_steps(peer) for peer in place.peers]
        mask = place.empty(place.inputs)
        kept = np.empty_like(mask, np.bool_, subok=False)
        numbers, one_each = place.rows * prod(place.inputs), (-1, *(1,) * (mask.ndim - 1))
        draws = list(zip(in_memory_order(kept), place.generators, dropped_steps, strict=True))
        scale = np.array([STEPS / (STEPS - steps) for steps in dropped_steps]).astype(place.dtype).reshape(one_each)
        overwrite, y = place.overwrite, place.empty(place.inputs if not place.overwrite else (0,))

        def forward(x: Floats) -> Floats:
            for row, generator, steps in draws:
                np.greater_equal(random_bits(generator, numbers), steps, row)
            np.multiply(kept, scale, mask)
            return np.multiply(x, mask, x if overwrite else y)

        def backward(dy: Floats) -> Floats:
            return np.multiply(dy, mask, dy)

        return Bound(forward, backward)


def _dropped_steps(layer: Layer) -> int:
    """Return the rate in steps, at most STEPS − 1."""
    return min(round(layer.rate * STEPS), STEPS - 1) if isinstance(layer, Dropout) else 0


def random_bits(generator: np.random.Generator, numbers: int) -> Integers:
    """Draw `(numbers,)` of uint16, uniform: four per 64-bit word, 3 times faster than `integers` and `random`."""
    return generator.bit_generator.random_raw(-(-numbers // 4)).view(np.uint16)[:numbers]


def in_memory_order(array: Any) -> Any:
    """Return a view of rows allocated by a `Place` as `(trials, numbers)`, contiguous for each trial."""
    if array.ndim == 5:
        array = array.transpose(0, 2, 3, 4, 1)
    return array.reshape(len(array), -1)


def without_rates(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Return the layers with all dropout rates set to 0, including those of nested layers."""
    return tuple(_without_rates(layer) for layer in layers)


def _without_rates(layer: Any) -> Layer:
    if isinstance(layer, Dropout):
        return Dropout(0.0)
    inner = {
        f.name: without_rates(getattr(layer, f.name))
        for f in dataclasses.fields(layer)
        if isinstance(getattr(layer, f.name), tuple) and any(isinstance(p, Layer) for p in getattr(layer, f.name))
    }
    changed: Layer = dataclasses.replace(layer, **inner) if inner else layer
    return changed

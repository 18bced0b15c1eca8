"""Dropout: in training some numbers are left out, and the others made larger to match."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, final

import numpy as np

from engine.layers.base import Bound, Layer, Parameter, Place
from engine.types import EngineError, Floats, Integers, Shape

STEPS = 1 << 16  # rates are rounded to multiples of 1 / STEPS, so that 16 random bits decide about a number


@final
@dataclass(frozen=True)
class Dropout(Layer):
    """y = x·m / (1 − rate), each m 0 with probability `rate`, else 1; at inference y = x. Srivastava et al. 2014.

    Trials that train together may have different rates: each draws as many bits as any other, whatever its rate.

    Raises:
        EngineError: a rate outside [0, 1).
    """

    keeps_output: ClassVar[bool] = True  # at inference what goes out is what came in, which is not for the next layer
    rate: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise EngineError(f"dropout: rate must be at least 0 and below 1, got {self.rate}")

    def outputs(self, inputs: Shape) -> Shape:
        return inputs

    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        return ()

    def bind(self, place: Place) -> Bound:
        if not place.training:
            return Bound(lambda x: x, lambda dy: dy)
        left_out = [_left_out(peer) for peer in place.peers]
        mask = place.empty(place.inputs)
        kept = np.empty_like(mask, np.bool_, subok=False)
        numbers, one_each = place.rows * prod(place.inputs), (-1, *(1,) * (mask.ndim - 1))
        draws = list(zip(in_memory_order(kept), place.generators, left_out, strict=True))
        scale = np.array([STEPS / (STEPS - steps) for steps in left_out]).astype(place.dtype).reshape(one_each)
        overwrite, y = place.overwrite, place.empty(place.inputs if not place.overwrite else (0,))

        def forward(x: Floats) -> Floats:
            for row, generator, steps in draws:
                np.greater_equal(random_bits(generator, numbers), steps, row)
            np.multiply(kept, scale, mask)
            return np.multiply(x, mask, x if overwrite else y)

        def backward(dy: Floats) -> Floats:
            return np.multiply(dy, mask, dy)

        return Bound(forward, backward)


def _left_out(layer: Layer) -> int:
    """The rate in steps; at least one step is kept."""
    return min(round(layer.rate * STEPS), STEPS - 1) if isinstance(layer, Dropout) else 0


def random_bits(generator: np.random.Generator, numbers: int) -> Integers:
    """`(numbers,)` of uint16, uniform: four of every word that the generator's bits come in, 3 times faster than
    `integers` and `random`."""
    return generator.bit_generator.random_raw(-(-numbers // 4)).view(np.uint16)[:numbers]


def in_memory_order(array: Any) -> Any:
    """Rows that a `Place` has allocated, as a view `(trials, numbers)` that lies in one piece for each trial."""
    if array.ndim == 5:
        array = array.transpose(0, 2, 3, 4, 1)
    return array.reshape(len(array), -1)


def without_rates(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The layers with every dropout rate set to 0, also inside of other layers."""
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

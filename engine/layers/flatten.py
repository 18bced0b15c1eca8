"""Flatten: an image becomes a vector."""

from dataclasses import dataclass
from math import prod
from typing import ClassVar, final

import numpy as np

from engine.layers.base import Bound, Layer, Parameter, Place
from engine.types import Floats, Shape


@final
@dataclass(frozen=True)
class Flatten(Layer):
    """y = x, from `(channels, height, width)` to `(channels · height · width,)` in C order.

    The output is a view of the input, with rows innermost in memory, which BLAS accepts without a copy. The next layer
    must not overwrite it, because the previous layer may need its output.
    """

    keeps_output: ClassVar[bool] = True

    def outputs(self, inputs: Shape) -> Shape:
        return (prod(inputs),)

    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        return ()

    def bind(self, place: Place) -> Bound:
        dx = place.empty(place.inputs)

        def forward(x: Floats) -> Floats:
            return x.reshape(len(x), place.rows, -1)

        def backward(dy: Floats) -> Floats:
            np.copyto(dx, dy.reshape(dx.shape))  # back to memory with rows innermost
            return dx

        return Bound(forward, backward)

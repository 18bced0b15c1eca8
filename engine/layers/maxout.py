"""Maxout: the output of a unit is the largest of several affine pieces."""

from dataclasses import dataclass, field
from math import prod
from typing import ClassVar, final

import numpy as np

from engine.initializers import HeNormal, Initializer, Zero
from engine.kernels.program import Program, Tensor
from engine.layers.base import Bound, Layer, Parameter, Place
from engine.layers.dense import Dense
from engine.types import EngineError, Floats, Shape


@final
@dataclass(frozen=True)
class Maxout(Layer):
    """y = max over k of xW_k + b_k, with x `(trials, rows, in)`. Goodfellow et al. 2013, section 3.

    W is `(in, pieces·units)`, its first `units` columns are the first piece; b is `(pieces·units,)`. Of equal maxima,
    the first piece gets the gradient.

    Raises:
        EngineError: units below 1, pieces below 2, or rows that are not one-dimensional.
    """

    keeps_output: ClassVar[bool] = True
    units: int
    pieces: int = 2
    initializer: Initializer = field(default_factory=HeNormal)

    def __post_init__(self) -> None:
        if self.units < 1:
            raise EngineError(f"maxout: units must be at least 1, got {self.units}")
        if self.pieces < 2:
            raise EngineError(f"maxout: pieces must be at least 2, got {self.pieces}")

    def outputs(self, inputs: Shape) -> Shape:
        if len(inputs) != 1:
            raise EngineError(f"maxout: rows must be (features,), got {inputs}")
        return (self.units,)

    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        fan_in, columns = prod(inputs), self.pieces * self.units
        return (
            Parameter("W", (fan_in, columns), self.initializer, fan_in, self.units),
            Parameter("b", (columns,), Zero(), regularized=False),
        )

    def compile(self, program: Program, x: Tensor) -> Tensor:
        return program.maxout(x, self.units, self.pieces)

    def bind(self, place: Place) -> Bound:
        affine = Dense(self.pieces * self.units).bind(place)
        y = np.empty((place.trials, place.rows, self.units), place.dtype)
        dz = np.empty((place.trials, place.rows, self.pieces * self.units), place.dtype)
        pieces = [slice(k * self.units, (k + 1) * self.units) for k in range(self.pieces)]
        grads, z = [dz[:, :, piece] for piece in pieces], dz

        def forward(x: Floats) -> Floats:
            nonlocal z
            z = affine.forward(x)
            np.maximum(z[:, :, pieces[0]], z[:, :, pieces[1]], out=y)
            for piece in pieces[2:]:
                np.maximum(y, z[:, :, piece], out=y)
            return y

        def backward(dy: Floats) -> Floats:
            for piece, grad in zip(pieces[:-1], grads, strict=False):
                np.multiply(dy, z[:, :, piece] == y, grad)
                np.subtract(dy, grad, dy)  # the gradient left for the next pieces: dy or 0
            np.copyto(grads[-1], dy)
            return affine.backward(dz)

        return Bound(forward, backward)

"""Dense: y = xW + b."""

from dataclasses import dataclass, field
from math import prod
from typing import final

import numpy as np

from engine.initializers import HeNormal, Initializer, Zero
from engine.kernels.program import Program, Tensor
from engine.layers.base import Bound, Layer, Parameter, Place
from engine.types import EngineError, Floats, Shape

UNPACKED = 1_000_000  # multiply-adds up to which OpenBLAS does not copy its operands, which is a fifth faster
SMALL = 1 << 14  # numbers in a trial's input (64 KB in float32) up to which a copy costs less than two calls


@final
@dataclass(frozen=True)
class Dense(Layer):
    """y = xW + b, with x `(trials, rows, in)`, W `(in, units)`, b `(units,)`.

    Raises:
        EngineError: units below 1, or rows that are not one-dimensional.
    """

    units: int
    initializer: Initializer = field(default_factory=HeNormal)

    def __post_init__(self) -> None:
        if self.units < 1:
            raise EngineError(f"dense: units must be at least 1, got {self.units}")

    def outputs(self, inputs: Shape) -> Shape:
        if len(inputs) != 1:
            raise EngineError(f"dense: rows must be (features,), got {inputs}")
        return (self.units,)

    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        fan_in = prod(inputs)
        return (
            Parameter("W", (fan_in, self.units), self.initializer, fan_in, self.units),
            Parameter("b", (self.units,), Zero(), regularized=False),
        )

    def bind(self, place: Place) -> Bound:
        if not place.training:
            return self._bind_inference(place)
        if place.rows * prod(place.inputs) <= SMALL:
            return self._bind_joined(place)
        return self._bind_separate(place)

    def compile(self, program: Program, x: Tensor) -> Tensor:
        return program.dense(x, self.units)

    def _bind_inference(self, place: Place) -> Bound:
        weights, bias = place.theta["W"], place.theta["b"][:, None]
        y = np.empty((place.trials, place.rows, self.units), place.dtype)

        def forward(x: Floats) -> Floats:
            np.matmul(x, weights, y)
            return np.add(y, bias, y)

        return Bound(forward, lambda dy: dy)

    def _bind_joined(self, place: Place) -> Bound:
        """Bind W and b as one matrix, with a column of ones appended to x, which saves the calls for b."""
        inputs, first, weights_t = prod(place.inputs), place.first, place.theta["W"].mT
        shape = (place.trials, inputs + 1, self.units)  # W and b are adjacent in theta
        joined, grad_joined = place.all_theta.reshape(shape), place.all_grad.reshape(shape)
        x_ones = np.ones((place.trials, place.rows, inputs + 1), place.dtype)
        kept, x_ones_t = x_ones[:, :, :-1], x_ones.mT
        y = np.empty((place.trials, place.rows, self.units), place.dtype)
        dx = np.empty((0 if first else place.trials, place.rows, inputs), place.dtype)
        blocks = _blocks(place.rows, inputs + 1, self.units)
        if blocks > 1:
            left, left_t = x_ones[:, None], x_ones_t[:, None]
            right, out, grad_out = (_cut(a, blocks) for a in (joined, y, grad_joined))

        def forward(x: Floats) -> Floats:
            kept[...] = x
            if blocks == 1:
                return np.matmul(x_ones, joined, y)
            np.matmul(left, right, out)
            return y

        def backward(dy: Floats) -> Floats:
            if blocks == 1:
                np.matmul(x_ones_t, dy, grad_joined)  # dW = xᵀ dy, db = 1ᵀ dy
            else:
                np.matmul(left_t, _cut(dy, blocks), grad_out)
            return dx if first else np.matmul(dy, weights_t, dx)  # dx = dy Wᵀ

        return Bound(forward, backward)

    def _bind_separate(self, place: Place) -> Bound:
        first, weights_t = place.first, place.theta["W"].mT
        grad_weights, grad_bias = place.grad["W"], place.grad["b"][:, None]
        ones = np.ones((1, 1, place.rows), place.dtype)  # 1ᵀ dy by BLAS takes half the time of a sum over rows
        dx = np.empty((0 if first else place.trials, place.rows, prod(place.inputs)), place.dtype)
        affine, kept = self._bind_inference(place).forward, dx

        def forward(x: Floats) -> Floats:
            nonlocal kept
            kept = x
            return affine(x)

        def backward(dy: Floats) -> Floats:
            np.matmul(kept.mT, dy, grad_weights)  # dW = xᵀ dy
            np.matmul(ones, dy, grad_bias)  # db = 1ᵀ dy
            return dx if first else np.matmul(dy, weights_t, dx)  # dx = dy Wᵀ

        return Bound(forward, backward)


def _blocks(rows: int, inputs: int, units: int) -> int:
    """Return the number of column blocks of a product for which BLAS uses its code for small matrices."""
    return next((k for k in (1, 2, 4, 8) if units % k == 0 and rows * inputs * units <= k * UNPACKED), 1)


def _cut(a: Floats, blocks: int) -> Floats:
    """Return a view of `(trials, rows, columns)` as `(trials, blocks, rows, columns / blocks)`."""
    return a.reshape(*a.shape[:2], blocks, -1).swapaxes(1, 2)

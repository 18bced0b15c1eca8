"""Transposed convolution: the adjoint of a convolution, from its outputs to its inputs."""

from dataclasses import dataclass, field
from typing import final

import numpy as np

from engine.initializers import HeNormal, Initializer, Zero
from engine.layers.base import Bound, Layer, Parameter, Place
from engine.layers.convolution.im2col import (
    Pair,
    Windows,
    bind_gather,
    bind_outer,
    bind_product,
    bind_spread,
    check_convolution,
    in_memory,
    lines_of,
    pair,
    windows_over,
)
from engine.types import EngineError, Floats, Shape


@final
@dataclass(frozen=True)
class ConvTranspose2d(Layer):
    """y[c, i·stride + u − padding, j·stride + v − padding] = b[c] + Σ W[f, c, u, v] · x[f, i, j]. Zeiler et al. 2010.

    This is the adjoint of a convolution: with the same W and no biases, ⟨conv2d(y), x⟩ = ⟨y, conv_transpose2d(x)⟩.
    x `(trials, rows, f, height, width)`, W `(f, channels, kernel height, kernel width)`, b `(channels,)`. Each side of
    y is (side − 1)·stride + kernel − 2·padding.

    For the initializer, fan_in is the average number of terms in a number of y, f · kernel area / stride².

    Attributes:
        channels: number of output channels.
        kernel: side of a square kernel, or (height, width).

    Raises:
        EngineError: a setting below its minimum, rows that are not images, or a padding that leaves no output.
    """

    channels: int
    kernel: int | Pair
    stride: int = 1
    padding: int = 0
    initializer: Initializer = field(default_factory=HeNormal)

    def __post_init__(self) -> None:
        check_convolution("conv_transpose2d", self.channels, self.kernel, self.stride, self.padding)

    def outputs(self, inputs: Shape) -> Shape:
        if len(inputs) != 3:
            raise EngineError(f"conv_transpose2d: rows must be images (channels, height, width), got {inputs}")
        kernel = pair("conv_transpose2d", self.kernel)
        height, width = (
            (side - 1) * self.stride + over - 2 * self.padding for side, over in zip(inputs[1:], kernel, strict=True)
        )
        outputs = (self.channels, height, width)
        if min(outputs) < 1:
            raise EngineError(
                f"conv_transpose2d: padding {self.padding} must leave an image, got {outputs} from rows of {inputs}"
            )
        return outputs

    def windows(self, inputs: Shape) -> Windows:
        """Return the windows of the adjoint convolution, over the output images."""
        kernel = pair("conv_transpose2d", self.kernel)
        return windows_over("conv_transpose2d", self.outputs(inputs), kernel, self.stride, self.padding)

    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        height, width = pair("conv_transpose2d", self.kernel)
        shape = (inputs[0], self.channels, height, width)
        fan_in = max(1, round(inputs[0] * height * width / self.stride**2))
        return (
            Parameter("W", shape, self.initializer, fan_in, self.channels * height * width),
            Parameter("b", (self.channels,), Zero(), regularized=False),
        )

    def bind(self, place: Place) -> Bound:
        windows, weights, bias = self.windows(place.inputs), place.theta["W"], place.theta["b"][:, :, None]
        blocks = windows.blocks(place.inputs[0], place.rows)
        spread = bind_spread(windows, weights, place.rows, blocks)
        lines = np.empty((0, blocks, *place.inputs), place.dtype)

        def forward(x: Floats) -> Floats:
            nonlocal lines
            lines = lines_of(in_memory(x), blocks)
            y = spread(lines)
            flat = in_memory(y).reshape(place.trials, self.channels, -1)
            np.add(flat, bias, flat)
            return y

        if not place.training:
            return Bound(forward, lambda dy: dy)
        gather = bind_gather(windows, place.trials, place.rows, blocks, place.dtype)
        outer = bind_outer(windows, place.grad["W"], blocks)
        dx = place.empty(place.inputs)
        product = bind_product(weights, lines_of(in_memory(dx), blocks))
        area = windows.down.length * windows.across.length
        grad_bias = place.grad["b"][:, :, None]
        ones = np.ones((1, area * place.rows, 1), place.dtype)

        def backward(dy: Floats) -> Floats:
            slabs = gather(dy)
            outer(slabs, lines)  # dW = Σ window of dy · x
            np.matmul(in_memory(dy).reshape(place.trials, self.channels, -1), ones, grad_bias)  # db = Σ dy
            if not place.first:
                product(slabs)  # dx = conv2d(dy)
            return dx

        return Bound(forward, backward)

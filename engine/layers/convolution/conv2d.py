"""Convolution: the same filters applied at every position of an image."""

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
from engine.types import Floats, Shape


@final
@dataclass(frozen=True)
class Conv2d(Layer):
    """y[f, i, j] = b[f] + Σ W[f, c, u, v] · x[c, i·stride + u − padding, j·stride + v − padding]. LeCun et al. 1998.

    This is a cross-correlation, as in other libraries. x `(trials, rows, c, height, width)`, W `(channels, c, kernel
    height, kernel width)`, b `(channels,)`; x is 0 outside the image. Each side of y is ⌊(side + 2·padding − kernel) /
    stride⌋ + 1.

    Attributes:
        channels: number of filters, the output channels.
        kernel: side of a square kernel, or (height, width).

    Raises:
        EngineError: a setting below its minimum, rows that are not images, or a kernel larger than the padded image.
    """

    channels: int
    kernel: int | Pair
    stride: int = 1
    padding: int = 0
    initializer: Initializer = field(default_factory=HeNormal)

    def __post_init__(self) -> None:
        check_convolution("conv2d", self.channels, self.kernel, self.stride, self.padding)

    def windows(self, inputs: Shape) -> Windows:
        """Return the windows that the kernel covers."""
        return windows_over("conv2d", inputs, pair("conv2d", self.kernel), self.stride, self.padding)

    def outputs(self, inputs: Shape) -> Shape:
        return (self.channels, *self.windows(inputs).places)

    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        height, width = pair("conv2d", self.kernel)
        shape = (self.channels, inputs[0], height, width)
        fan_in, fan_out = inputs[0] * height * width, self.channels * height * width
        return (
            Parameter("W", shape, self.initializer, fan_in, fan_out),
            Parameter("b", (self.channels,), Zero(), regularized=False),
        )

    def bind(self, place: Place) -> Bound:
        windows, weights, bias = self.windows(place.inputs), place.theta["W"], place.theta["b"][:, :, None]
        blocks = windows.blocks(self.channels, place.rows)
        gather = bind_gather(windows, place.trials, place.rows, blocks, place.dtype)
        y = place.empty(self.outputs(place.inputs))
        flat = in_memory(y).reshape(place.trials, self.channels, -1)
        product = bind_product(weights, lines_of(in_memory(y), blocks))
        slabs = np.empty((0, blocks, *windows.places, 0), place.dtype)

        def forward(x: Floats) -> Floats:
            nonlocal slabs
            slabs = gather(x)
            product(slabs)
            np.add(flat, bias, flat)
            return y

        if not place.training:
            return Bound(forward, lambda dy: dy)
        outer = bind_outer(windows, place.grad["W"], blocks)
        spread = None if place.first else bind_spread(windows, weights, place.rows, blocks)
        grad_bias = place.grad["b"][:, :, None]
        ones = np.ones((1, flat.shape[2], 1), place.dtype)

        def backward(dy: Floats) -> Floats:
            maps = in_memory(dy)
            lines = lines_of(maps, blocks)
            outer(slabs, lines)  # dW = Σ dy · window
            np.matmul(maps.reshape(flat.shape), ones, grad_bias)  # db = Σ dy
            return spread(lines) if spread else dy

        return Bound(forward, backward)

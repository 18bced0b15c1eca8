"""Pooling: one number per window of an image and channel.

Both kinds process the axes one after the other: windows down the lines, then windows across the columns (max pooling
in the reverse order).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import final

import numpy as np

from engine.layers.base import Bound, Layer, Parameter, Place
from engine.layers.convolution.im2col import Axis, Windows, windows_over
from engine.types import Booleans, EngineError, Floats, Shape


@final
@dataclass(frozen=True)
class MaxPool2d(Layer):
    """y = the maximum of each window. Ranzato et al. 2007.

    x `(trials, rows, channels, height, width)`. Each side of y is ⌊(side − size) / stride⌋ + 1; remaining lines and
    columns are ignored. Of equal maxima, the first in line order gets the gradient.

    Attributes:
        size: side of the square window.
        stride: distance between windows; None for `size`.

    Raises:
        EngineError: a setting below 1, rows that are not images, or a window larger than the image.
    """

    size: int
    stride: int | None = None

    def __post_init__(self) -> None:
        _check("max_pool2d", self.size, self.stride)

    def outputs(self, inputs: Shape) -> Shape:
        return (inputs[0], *_windows("max_pool2d", self.size, self.stride, inputs).places)

    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        return ()

    def bind(self, place: Place) -> Bound:
        windows = _windows("max_pool2d", self.size, self.stride, place.inputs)
        down, across = windows.down, windows.across
        y = place.empty(self.outputs(place.inputs))
        # First the maximum of each line of a window, then of these: so the first of equal maxima is in line order.
        middle = _pixels(place.zeros((windows.channels, down.covered, across.count)))
        lines, top = _under_lines(middle, down), _pixels(y)
        later = self.size - 1 if place.training and not place.first else 0
        # Masks of the numbers that are larger than all previous ones.
        in_line = [np.empty(middle.shape, np.bool_) for _ in range(later)]
        of_lines = [np.empty(top.shape, np.bool_) for _ in range(later)]

        def forward(x: Floats) -> Floats:
            _largest(_under_columns(_pixels(x)[:, :, : down.covered], across), middle, in_line)
            _largest(lines, top, of_lines)
            return y

        if not place.training or place.first:
            return Bound(forward, lambda dy: dy)
        dx = place.empty(place.inputs)
        image = _pixels(dx)
        columns = _under_columns(image[:, :, : down.covered], across)
        gapless, scratch = down.gapless and across.gapless, np.empty_like(middle)
        overlap_down, overlap_across = (a.stride < a.kernel for a in (down, across))

        def backward(dy: Floats) -> Floats:
            if down.stride != down.kernel:
                middle[...] = 0
            _to_largest(_pixels(dy), lines, of_lines, scratch[:, :, : down.count] if overlap_down else None)
            if not gapless:
                image[...] = 0
            _to_largest(middle, columns, in_line, scratch if overlap_across else None)
            return dx

        return Bound(forward, backward)


@final
@dataclass(frozen=True)
class MeanPool2d(Layer):
    """y = the mean of each window. LeCun et al. 1998, without the learned weights.

    x `(trials, rows, channels, height, width)`. Each side of y is ⌊(side − size) / stride⌋ + 1; remaining lines and
    columns are ignored.

    Attributes:
        size: side of the square window.
        stride: distance between windows; None for `size`.

    Raises:
        EngineError: a setting below 1, rows that are not images, or a window larger than the image.
    """

    size: int
    stride: int | None = None

    def __post_init__(self) -> None:
        _check("mean_pool2d", self.size, self.stride)

    def outputs(self, inputs: Shape) -> Shape:
        return (inputs[0], *_windows("mean_pool2d", self.size, self.stride, inputs).places)

    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        return ()

    def bind(self, place: Place) -> Bound:
        windows = _windows("mean_pool2d", self.size, self.stride, place.inputs)
        down, across = windows.down, windows.across
        share = place.dtype.type(1 / self.size**2)
        y = place.empty(self.outputs(place.inputs))
        total = _pixels(y)
        middle = _pixels(place.zeros((windows.channels, down.count, across.length)))  # sums down the windows
        parts = _under_columns(middle, across)

        def forward(x: Floats) -> Floats:
            _sum(_under_lines(_pixels(x), down), middle)
            _sum(parts, total)
            np.multiply(total, share, total)
            return y

        if not place.training or place.first:
            return Bound(forward, lambda dy: dy)
        dx = place.empty(place.inputs)
        image = _pixels(dx)
        lines = _under_lines(image, down)

        def backward(dy: Floats) -> Floats:
            np.multiply(dy, share, y)
            _to_all(total, middle, parts, across)
            _to_all(middle, image, lines, down)
            return dx

        return Bound(forward, backward)


def _check(layer: str, size: int, stride: int | None) -> None:
    for name, value in (("size", size), ("stride", size if stride is None else stride)):
        if value < 1:
            raise EngineError(f"{layer}: {name} must be at least 1, got {value}")


def _windows(layer: str, size: int, stride: int | None, inputs: Shape) -> Windows:
    return windows_over(layer, inputs, (size, size), size if stride is None else stride)


def _pixels(x: Floats) -> Floats:
    """Return a view of `(trials, rows, channels, height, width)` as `(trials, channels, height, width, rows)`."""
    return x.transpose(0, 2, 3, 4, 1)


def _under_lines(pixels: Floats, axis: Axis) -> list[Floats]:
    """Return the first lines of all windows, their second lines, and so on, each `(trials, channels, count, …)`."""
    return [pixels[:, :, axis.under(line)[1]] for line in range(axis.kernel)]


def _under_columns(pixels: Floats, axis: Axis) -> list[Floats]:
    """Return the first columns of all windows, and so on, each `(trials, channels, height, count, rows)`."""
    return [pixels[:, :, :, axis.under(column)[1]] for column in range(axis.kernel)]


def _sum(parts: Sequence[Floats], total: Floats) -> None:
    """Write the sum of the parts into `total`."""
    first, *others = parts
    if not others:
        np.copyto(total, first)
    for part in others:
        np.add(first, part, total)
        first = total


def _to_all(share: Floats, whole: Floats, parts: Sequence[Floats], axis: Axis) -> None:
    """Write or add `share` to all parts of `whole`: the adjoint of `_sum`."""
    if not axis.gapless:
        whole[...] = 0
    for part in parts:
        if axis.stride < axis.kernel:
            np.add(part, share, part)
        else:
            np.copyto(part, share)


def _largest(parts: Sequence[Floats], top: Floats, larger: Sequence[Booleans]) -> None:
    """Write the maximum of the parts into `top`, and into `larger` where each later part exceeds all previous parts."""
    first, *others = parts
    if not others:
        np.copyto(top, first)
    for part, mask in zip_longest(others, larger):
        if mask is not None:
            np.greater(part, first, mask)
        np.maximum(first, part, out=top)
        first = top


def _to_largest(grad: Floats, parts: Sequence[Floats], larger: Sequence[Booleans], scratch: Floats | None) -> None:
    """Write `grad` to the last part that exceeds all previous ones, else to the first; `grad` is overwritten.

    Args:
        scratch: shaped like a part; required if parts overlap, so that `grad` must be added.
    """
    for part, mask in zip(parts[:0:-1], larger[::-1], strict=True):
        share = part if scratch is None else scratch
        np.multiply(grad, mask, share)
        np.subtract(grad, share, grad)
        if scratch is not None:
            np.add(part, share, part)
    if scratch is None:
        np.copyto(parts[0], grad)
    else:
        np.add(parts[0], grad, parts[0])

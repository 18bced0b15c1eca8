"""Sliding windows over images: their positions, and the matrix products of convolutions.

Copied window by window (im2col), an image becomes kernel height · kernel width times as large. Here each line of the
image is copied only once per kernel *column*, into `strips (lines, channels · kernel width, places · rows)`: strip
(c, v) is the line of channel c, shifted by v. The lines under one line of windows are adjacent in this memory. Viewed
as one matrix `(kernel height · channels · kernel width, places · rows)`, a *slab*, they are its im2col without another
copy. The next slab begins `stride` lines later and overlaps. BLAS multiplies slab by slab.

The outputs of filters are maps, `(trials, filters, places down, places across, rows)`, viewed line by line for BLAS:
`lines (trials, blocks, places down, filters, width)`. The places across · rows of a line, and of a slab, are cut into
blocks of `width` columns. All memory has rows innermost; see `engine.types.allocate`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.lib.stride_tricks import as_strided

from engine.types import DType, EngineError, Floats, Shape, allocate

Pair = tuple[int, int]
# Up to this m · k · n, OpenBLAS multiplies (m, k) by (k, n) without packing, for few filters up to twice as fast (on
# processors with AVX-512; elsewhere without effect). Blocks with fewer columns than FEWEST are slower again.
UNPACKED, FEWEST = 1_000_000, 64


@final
@dataclass(frozen=True)
class Axis:
    """Windows along one side of an image: `kernel` pixels each, `stride` apart, with `padding` zeros at both ends."""

    length: int
    kernel: int
    stride: int
    padding: int = 0

    @property
    def count(self) -> int:
        """Number of windows that fit; remaining pixels at the end are in no window."""
        return (self.length + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def covered(self) -> int:
        """Number of pixels from the start of the first window to the end of the last, including padding."""
        return (self.count - 1) * self.stride + self.kernel

    @property
    def seen(self) -> int:
        """Number of image pixels before the end of the last window."""
        return max(0, min(self.length, self.covered - self.padding))

    @property
    def gapless(self) -> bool:
        """True if every pixel lies in exactly one window."""
        return self.stride == self.kernel and self.covered == self.length and not self.padding

    def under(self, offset: int) -> tuple[slice, slice]:
        """Return the windows that have an image pixel (not padding) at position `offset`, and these pixels."""
        shift = offset - self.padding
        first = max(0, -(shift // self.stride))  # smallest j with j · stride + shift ≥ 0
        last = min(self.count - 1, (self.length - 1 - shift) // self.stride)
        if last < first:
            return slice(0), slice(0)
        start = first * self.stride + shift
        return slice(first, last + 1), slice(start, start + (last - first) * self.stride + 1, self.stride)


@final
@dataclass(frozen=True)
class Windows:
    """Windows over images of `channels`; `down` and `across` are their axes."""

    channels: int
    down: Axis
    across: Axis

    @property
    def places(self) -> Pair:
        """Numbers of windows: (down, across)."""
        return self.down.count, self.across.count

    @property
    def image(self) -> Shape:
        """Shape of one row: `(channels, height, width)`."""
        return self.channels, self.down.length, self.across.length

    @property
    def numbers(self) -> int:
        """Count of numbers in a window over all channels."""
        return self.channels * self.down.kernel * self.across.kernel

    def blocks(self, filters: int, rows: int) -> int:
        """Return the number of blocks into which lines are cut for BLAS."""
        work, places = filters * self.numbers, self.across.count
        widths = {n: places // n * rows for n in range(1, places + 1) if places % n == 0}
        return next((n for n, width in widths.items() if width >= FEWEST and width * work <= UNPACKED), 1)


def windows_over(layer: str, inputs: Shape, kernel: Pair, stride: int, padding: int = 0) -> Windows:
    """Return the windows over rows of a shape.

    Raises:
        EngineError: the rows are not images, or the kernel is larger than the padded image.
    """
    if len(inputs) != 3:
        raise EngineError(f"{layer}: rows must be images (channels, height, width), got {inputs}")
    channels, height, width = inputs
    windows = Windows(channels, Axis(height, kernel[0], stride, padding), Axis(width, kernel[1], stride, padding))
    if windows.down.count < 1 or windows.across.count < 1:
        padded = f" with padding {padding}" if padding else ""
        raise EngineError(f"{layer}: a kernel of {kernel} must fit into the image{padded}, got rows of {inputs}")
    return windows


def pair(layer: str, kernel: int | Pair) -> Pair:
    """Return height and width of a kernel.

    Raises:
        EngineError: the kernel is neither one nor two integers, or below 1.
    """
    both = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)
    if len(both) != 2 or not all(isinstance(side, int) and side >= 1 for side in both):
        raise EngineError(f"{layer}: kernel must be a number or two, at least 1, got {kernel}")
    return both[0], both[1]


def in_memory(x: Floats) -> Floats:
    """Return `(trials, rows, channels, height, width)` as contiguous `(trials, channels, height, width, rows)`.

    The result is a view of memory allocated by `engine.types.allocate`, and a copy of other arrays.
    """
    return np.ascontiguousarray(x.transpose(0, 2, 3, 4, 1))


def lines_of(maps: Floats, blocks: int) -> Floats:
    """Return a view of maps `(trials, filters, down, across, rows)` as `(trials, blocks, down, filters, width)`."""
    return maps.reshape(*maps.shape[:3], blocks, -1).transpose(0, 3, 2, 1, 4)


def bind_gather(windows: Windows, trials: int, rows: int, blocks: int, dtype: DType) -> Callable[[Floats], Floats]:
    """Return a function images → slabs, `(trials, blocks, places down, numbers in a window, width)`, which overlap.

    A window's numbers have the order (kernel height, channels, kernel width). For images `(1, …)`, slabs are `(1, …)`.
    """
    down, across, channels = windows.down, windows.across, windows.channels
    strips = np.zeros((trials, down.covered, channels, across.kernel, across.count, rows), dtype)
    trial, line, _, strip, _, number = strips.strides
    width = across.count * rows // blocks
    slabs = as_strided(
        strips,
        (trials, blocks, down.count, windows.numbers, width),
        (trial, width * number, down.stride * line, strip, number),
        subok=True,
    )
    image = strips[:, down.padding : down.padding + down.seen].swapaxes(1, 2)  # padding stays zero
    moves = [
        (image[:, :, :, v, places], columns) for v in range(across.kernel) for places, columns in [across.under(v)]
    ]

    def gather(x: Floats) -> Floats:
        count = len(x)
        pixels = in_memory(x)[:, :, : down.seen]
        for moved, columns in moves:
            np.copyto(moved[:count], pixels[:, :, :, columns])
        return slabs[:count]

    return gather


def bind_product(weights: Floats, lines: Floats) -> Callable[[Floats], Floats]:
    """Return a function slabs → `lines`: each window times each filter.

    Args:
        weights: `(trials, filters, channels, height, width)`.
        lines: the array to write to, `(trials, blocks, places down, filters, width)`.
    """
    ordered = _distinct(weights).swapaxes(2, 3)
    kernel = np.empty(ordered.shape, weights.dtype)
    matrix = kernel.reshape(len(kernel), 1, 1, weights.shape[1], -1)

    def product(slabs: Floats) -> Floats:
        np.copyto(kernel, ordered)
        return np.matmul(matrix, slabs, lines)

    return product


def bind_outer(windows: Windows, grad: Floats, blocks: int) -> Callable[[Floats, Floats], None]:
    """Return a function that writes the gradient of the weights: the sum over windows of lines × slabs.

    Args:
        grad: the array to write to, `(trials, filters, channels, height, width)`.
    """
    trials, filters, channels, height, width = grad.shape
    by_line = np.empty((trials, blocks, windows.down.count, windows.numbers, filters), grad.dtype)
    flat = by_line.reshape(trials, blocks * windows.down.count, -1)
    ones = np.ones((1, 1, flat.shape[1]), grad.dtype)
    total = np.empty((trials, height, channels, width, filters), grad.dtype)
    flat_total, ordered = total.reshape(trials, 1, -1), total.transpose(0, 4, 2, 1, 3)

    def outer(slabs: Floats, lines: Floats) -> None:
        np.matmul(slabs, lines.mT, by_line)
        np.matmul(ones, flat, flat_total)
        np.copyto(grad, ordered)

    return outer


def bind_spread(windows: Windows, weights: Floats, rows: int, blocks: int) -> Callable[[Floats], Floats]:
    """Return a function lines → images `(trials, rows, channels, height, width)`: the adjoint of gather and product.

    Line h = q · stride + r of the strips is Σₘ W[u = r + m · stride] · lines[q − m], which is again a matrix times a
    slab, of lines. The strips are then added to the image, each shifted back by its kernel column.
    """
    down, across, dtype = windows.down, windows.across, weights.dtype
    trials, filters, channels, *_ = weights.shape
    width = across.count * rows // blocks
    kept = np.empty((trials, blocks, down.count, filters, width), dtype)
    strips = np.zeros((trials, down.seen, channels, across.kernel, across.count, rows), dtype)
    in_blocks = strips.reshape(trials, down.seen, channels * across.kernel, blocks, width).transpose(0, 3, 1, 2, 4)
    images = allocate(trials, rows, windows.image, dtype)
    pixels = images.transpose(0, 2, 3, 4, 1)
    copies: list[tuple[Floats, Floats]] = []
    products: list[tuple[Floats, Floats, Floats]] = []
    for r in range(min(down.stride, down.kernel)):
        # W (trials, filters, channels, height, width) → (trials, channels, width, m descending, filters)
        ordered = _distinct(weights)[:, :, :, r :: down.stride].transpose(0, 2, 4, 3, 1)[:, :, :, ::-1]
        kernel = np.empty(ordered.shape, dtype)
        copies.append((kernel, ordered))
        matrix = kernel.reshape(len(kernel), 1, 1, channels * across.kernel, -1)
        for image_lines, first, taps in _products(down, r):
            target = in_blocks[:, :, image_lines]
            slabs = as_strided(
                kept[:, :, first:],
                (trials, blocks, target.shape[2], (taps.stop - taps.start) * filters, width),
                kept.strides,
                subok=True,
            )
            products.append((matrix[..., taps.start * filters : taps.stop * filters], slabs, target))
    moves = [
        (pixels[:, :, : down.seen, columns], strips.swapaxes(1, 2)[:, :, :, v, places])
        for v in range(across.kernel)
        for places, columns in [across.under(v)]
    ]

    def spread(lines: Floats) -> Floats:
        count = len(lines)
        np.copyto(kept[:count], lines)
        for kernel, ordered in copies:
            np.copyto(kernel, ordered)
        for matrix, slabs, target in products:
            np.matmul(matrix, slabs[:count], target)
        pixels[...] = 0
        for image, strip in moves:
            np.add(image, strip, image)
        return images

    return spread


def _distinct(weights: Floats) -> Floats:
    """Return weights of one trial, `(1, …)`, if all trials share the same memory; else all weights."""
    return weights[:1] if weights.strides[0] == 0 else weights


def _products(down: Axis, r: int) -> Iterator[tuple[slice, int, slice]]:
    """Group the image lines q · stride + r − padding by the lines of windows that cover them.

    Yields:
        The lines of the image; the first line of windows that covers the first of them; and the kernel taps m involved,
        in descending order. All lines except those near the border form one group.
    """
    most = len(range(r, down.kernel, down.stride))
    groups: dict[tuple[int, int], list[int]] = {}
    for q in range(down.count + most - 1):
        if 0 <= q * down.stride + r - down.padding < down.seen:
            before, after = max(0, most - 1 - q), max(0, q - down.count + 1)  # taps outside the windows
            groups.setdefault((before, most - after), []).append(q)
    for (start, stop), (q, *others) in groups.items():
        line, last = (p * down.stride + r - down.padding for p in (q, others[-1] if others else q))
        yield slice(line, last + 1, down.stride), q - most + 1 + start, slice(start, stop)


def check_convolution(layer: str, channels: int, kernel: int | Pair, stride: int, padding: int) -> None:
    """Raise an EngineError if a setting of a convolution is below its minimum."""
    pair(layer, kernel)
    for name, value, least in (("channels", channels, 1), ("stride", stride, 1), ("padding", padding, 0)):
        if value < least:
            raise EngineError(f"{layer}: {name} must be at least {least}, got {value}")

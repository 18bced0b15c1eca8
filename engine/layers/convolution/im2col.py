"""Windows that slide over images: where they lie, and the products that convolutions are made of.

Written out window by window (im2col), an image is kernel height · kernel width times as large. Here each line of the
image is written out by the kernel's *width* only, `strips (lines, channels · kernel width, places · rows)`: strip
(c, v) is the line of channel c, moved by v. The lines under one line of windows are neighbors in that memory, so that
read as one matrix `(kernel height · channels · kernel width, places · rows)`, a *slab*, they are its im2col, without a
copy; the next slab begins `stride` lines further on and overlaps. BLAS multiplies one slab after another.

What filters find are maps, `(trials, filters, places down, places across, rows)`, read line by line for BLAS: `lines
(trials, blocks, places down, filters, width)`. A line's places across · rows are cut into blocks of `width` columns,
those of slabs too. All memory has rows innermost, see `engine.types.allocate`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.lib.stride_tricks import as_strided

from engine.types import DType, EngineError, Floats, Shape, allocate

Pair = tuple[int, int]
# OpenBLAS multiplies a (m, k) with a (k, n) without packing them first up to so large an m · k · n (on processors with
# AVX-512; elsewhere it does not matter): for a few filters up to twice as fast. But columns should not be too few.
UNPACKED, FEWEST = 1_000_000, 64


@final
@dataclass(frozen=True)
class Axis:
    """Windows along one side of an image: `kernel` pixels each, `stride` apart, over `padding` zeros at both ends."""

    length: int
    kernel: int
    stride: int
    padding: int = 0

    @property
    def count(self) -> int:
        """The number of windows that fit; leftover pixels at the end are in none."""
        return (self.length + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def covered(self) -> int:
        """Pixels from the first window's first to the last one's last, padding included."""
        return (self.count - 1) * self.stride + self.kernel

    @property
    def seen(self) -> int:
        """The number of the image's pixels before the end of the last window."""
        return max(0, min(self.length, self.covered - self.padding))

    @property
    def gapless(self) -> bool:
        """True if every pixel lies in exactly one window."""
        return self.stride == self.kernel and self.covered == self.length and not self.padding

    def under(self, offset: int) -> tuple[slice, slice]:
        """The windows under whose position `offset` there is a pixel, not padding, and these pixels."""
        shift = offset - self.padding
        first = max(0, -(shift // self.stride))  # the least j with j · stride + shift ≥ 0
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
        """The numbers of windows: down, across."""
        return self.down.count, self.across.count

    @property
    def image(self) -> Shape:
        """The shape of one row: `(channels, height, width)`."""
        return self.channels, self.down.length, self.across.length

    @property
    def numbers(self) -> int:
        """Numbers in a window."""
        return self.channels * self.down.kernel * self.across.kernel

    def blocks(self, filters: int, rows: int) -> int:
        """Into how many blocks lines are cut for BLAS."""
        work, places = filters * self.numbers, self.across.count
        widths = {n: places // n * rows for n in range(1, places + 1) if places % n == 0}
        return next((n for n, width in widths.items() if width >= FEWEST and width * work <= UNPACKED), 1)


def windows_over(layer: str, inputs: Shape, kernel: Pair, stride: int, padding: int = 0) -> Windows:
    """Windows over rows of a shape.

    Raises:
        EngineError: the rows are no images, or the kernel is larger than the image with its padding.
    """
    if len(inputs) != 3:
        raise EngineError(f"{layer}: rows must be images (channels, height, width), got {inputs}")
    channels, height, width = inputs
    windows = Windows(channels, Axis(height, kernel[0], stride, padding), Axis(width, kernel[1], stride, padding))
    if windows.down.count < 1 or windows.across.count < 1:
        behind = f" with padding {padding}" if padding else ""
        raise EngineError(f"{layer}: a kernel of {kernel} must fit into the image{behind}, got rows of {inputs}")
    return windows


def pair(layer: str, kernel: int | Pair) -> Pair:
    """Height and width of a kernel.

    Raises:
        EngineError: it is neither a number nor two, or below 1.
    """
    both = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)
    if len(both) != 2 or not all(isinstance(side, int) and side >= 1 for side in both):
        raise EngineError(f"{layer}: kernel must be a number or two, at least 1, got {kernel}")
    return both[0], both[1]


def in_memory(x: Floats) -> Floats:
    """`(trials, rows, channels, height, width)` as it lies in memory, rows innermost: a view, or else a copy."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 4, 1))


def lines_of(maps: Floats, blocks: int) -> Floats:
    """Maps `(trials, filters, down, across, rows)` as `lines (trials, blocks, down, filters, width)`, a view."""
    return maps.reshape(*maps.shape[:3], blocks, -1).transpose(0, 3, 2, 1, 4)


def bind_gather(windows: Windows, trials: int, rows: int, blocks: int, dtype: DType) -> Callable[[Floats], Floats]:
    """Images → slabs, `(trials, blocks, places down, numbers in a window, width)`, which overlap.

    A window's numbers are in the order (kernel height, channels, kernel width). Images of one trial give its slabs.
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
    """Slabs → `lines`: each window times each filter, by weights `(trials, filters, channels, height, width)`."""
    ordered = _distinct(weights).swapaxes(2, 3)
    kernel = np.empty(ordered.shape, weights.dtype)
    matrix = kernel.reshape(len(kernel), 1, 1, weights.shape[1], -1)

    def product(slabs: Floats) -> Floats:
        np.copyto(kernel, ordered)
        return np.matmul(matrix, slabs, lines)

    return product


def bind_outer(windows: Windows, grad: Floats, blocks: int) -> Callable[[Floats, Floats], None]:
    """Slabs, lines → `grad (trials, filters, channels, height, width)`, the sum over windows of filter × window."""
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
    """Lines → images `(trials, rows, channels, height, width)`: the adjoint of gathering and multiplying.

    Line h = q · stride + r of the image, still written out by the kernel's width, is Σₘ W[u = r + m · stride] ·
    lines[q − m]: again a matrix times a slab, of lines. The strips are then added, each moved back to where it came
    from.
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
    """Return weights of one trial, `(1, …)`, where all trials share the same memory."""
    return weights[:1] if weights.strides[0] == 0 else weights


def _products(down: Axis, r: int) -> Iterator[tuple[slice, int, slice]]:
    """The image's lines q · stride + r − padding, in groups over which the same of the windows' lines lie.

    Yields:
        Which lines of the image; the first of the windows' lines over the first of them; and which they are of all
        that could be there, the last m first. All but those near the border are one group.
    """
    most = len(range(r, down.kernel, down.stride))
    groups: dict[tuple[int, int], list[int]] = {}
    for q in range(down.count + most - 1):
        if 0 <= q * down.stride + r - down.padding < down.seen:
            before, behind = max(0, most - 1 - q), max(0, q - down.count + 1)  # that would lie outside
            groups.setdefault((before, most - behind), []).append(q)
    for (start, stop), (q, *others) in groups.items():
        line, last = (p * down.stride + r - down.padding for p in (q, others[-1] if others else q))
        yield slice(line, last + 1, down.stride), q - most + 1 + start, slice(start, stop)


def check_convolution(layer: str, channels: int, kernel: int | Pair, stride: int, padding: int) -> None:
    """Raises EngineError where a number is too small."""
    pair(layer, kernel)
    for name, value, least in (("channels", channels, 1), ("stride", stride, 1), ("padding", padding, 0)):
        if value < least:
            raise EngineError(f"{layer}: {name} must be at least {least}, got {value}")

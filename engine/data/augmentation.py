"""Augmentation: random changes of the rows of each training batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import pi
from typing import Protocol, final

import numpy as np

from engine.registry import Registry
from engine.types import EngineError, Floats, Integers, Shape

IMAGES = 256  # images processed at a time; temporary arrays take about 20 times their memory


class Augmentation(Protocol):
    """Configuration of an augmentation; a frozen dataclass in the registry."""

    def check(self, inputs: Shape) -> None:
        """Check that rows of this shape can be augmented.

        Raises:
            EngineError: they cannot; the message has the required and the actual shape.
        """
        ...

    def apply(self, x: Floats, generator: np.random.Generator) -> None:
        """Change one trial's rows `x (rows, *inputs)` in place, drawing from the trial's generator."""
        ...


@final
@dataclass(frozen=True)
class Noise:
    """x + N(0, sigma²), drawn for each number independently. Bishop 1995.

    Raises:
        EngineError: sigma below 0.
    """

    sigma: float = 0.1

    def __post_init__(self) -> None:
        if not self.sigma >= 0:
            raise EngineError(f"noise: sigma must be at least 0, got {self.sigma}")

    def check(self, inputs: Shape) -> None:
        return

    def apply(self, x: Floats, generator: np.random.Generator) -> None:
        noise = generator.standard_normal(x.shape, np.float32)
        noise *= np.float32(self.sigma)
        x += noise


@final
@dataclass(frozen=True)
class Flip:
    """Mirror images, left to right and upside down, each with probability ½. Krizhevsky et al. 2012, section 4.1.

    Raises:
        EngineError: neither direction is True.
    """

    horizontal: bool = True
    vertical: bool = False

    def __post_init__(self) -> None:
        if not (self.horizontal or self.vertical):
            raise EngineError("flip: horizontal or vertical must be true, got neither")

    def check(self, inputs: Shape) -> None:
        _check_images("flip", inputs)

    def apply(self, x: Floats, generator: np.random.Generator) -> None:
        for axis, enabled in ((3, self.horizontal), (2, self.vertical)):
            if enabled:
                chosen = generator.random(len(x)) < 0.5
                x[chosen] = np.flip(x[chosen], axis)


@final
@dataclass(frozen=True)
class Rotate:
    """Rotate each image about its center by an angle ~ U(−degrees, degrees); bilinear, padded with zeros.

    Raises:
        EngineError: degrees below 0.
    """

    degrees: float = 10.0

    def __post_init__(self) -> None:
        if not self.degrees >= 0:
            raise EngineError(f"rotate: degrees must be at least 0, got {self.degrees}")

    def check(self, inputs: Shape) -> None:
        _check_images("rotate", inputs)

    def apply(self, x: Floats, generator: np.random.Generator) -> None:
        angle = generator.uniform(-self.degrees, self.degrees, len(x)) * (pi / 180)
        cos, sin = np.cos(angle), np.sin(angle)
        _warp(x, np.stack([np.stack([cos, sin], axis=-1), np.stack([-sin, cos], axis=-1)], axis=-2))


@final
@dataclass(frozen=True)
class Scale:
    """Enlarge each image about its center by a factor ~ U(low, high); bilinear, padded with zeros.

    Raises:
        EngineError: bounds that are not 0 < low <= high.
    """

    low: float = 0.9
    high: float = 1.1

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high < np.inf:
            raise EngineError(f"scale: must have 0 < low ≤ high, both finite, got low={self.low}, high={self.high}")

    def check(self, inputs: Shape) -> None:
        _check_images("scale", inputs)

    def apply(self, x: Floats, generator: np.random.Generator) -> None:
        factor = generator.uniform(self.low, self.high, len(x))
        _warp(x, np.eye(2) / factor[:, None, None])


@final
@dataclass(frozen=True)
class Shift:
    """Shift each image by up to `pixels` whole pixels in each direction, padded with zeros.

    Raises:
        EngineError: pixels below 0.
    """

    pixels: int = 1

    def __post_init__(self) -> None:
        if self.pixels < 0:
            raise EngineError(f"shift: pixels must be at least 0, got {self.pixels}")

    def check(self, inputs: Shape) -> None:
        _check_images("shift", inputs)

    def apply(self, x: Floats, generator: np.random.Generator) -> None:
        shifts = generator.integers(-self.pixels, self.pixels, (2, len(x), 1), endpoint=True)
        for chunk in _chunks(len(x)):
            images, (height, width) = x[chunk], x.shape[2:]
            down = np.clip(np.arange(height) - shifts[0, chunk], -1, height)
            right = np.clip(np.arange(width) - shifts[1, chunk], -1, width)
            images[...] = _Framed(images).at(down[:, :, None], right[:, None, :])


def _warp(x: Floats, matrices: Floats) -> None:
    """Replace each pixel at p by the bilinear value at Mp, both relative to the center; M `(rows, 2, 2)`."""
    height, width = x.shape[2:]
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), axis=-1) - middle
    for chunk in _chunks(len(x)):
        images, frame = x[chunk], _Framed(x[chunk])
        source = np.einsum("nij,hwj->inhw", matrices[chunk], grid) + middle[:, None, None, None]
        down, right = (np.clip(s, -1, size) for s, size in zip(source, (height, width), strict=True))
        top, left = (np.minimum(np.floor(s), size - 1).astype(np.intp) for s, size in ((down, height), (right, width)))
        low, far = (down - top).astype(x.dtype)[:, None], (right - left).astype(x.dtype)[:, None]
        above = frame.at(top, left) * (1 - far) + frame.at(top, left + 1) * far
        below = frame.at(top + 1, left) * (1 - far) + frame.at(top + 1, left + 1) * far
        images[...] = above * (1 - low) + below * low


class _Framed:
    """Images `(rows, channels, height, width)`, padded with one pixel of zeros on each side."""

    def __init__(self, x: Floats) -> None:
        self._shape = len(x), x.shape[2] + 2, x.shape[3] + 2
        framed = np.zeros((x.shape[1], *self._shape), x.dtype)
        framed[:, :, 1:-1, 1:-1] = x.swapaxes(0, 1)
        self._flat = framed.reshape(x.shape[1], -1)

    def at(self, down: Integers, right: Integers) -> Floats:
        """Return the pixels at indices `(rows, height, width)`, from −1 to the size, as `(rows, channels, …)`."""
        rows, height, width = self._shape
        first = np.arange(rows)[:, None, None] * (height * width)
        picked = first + (down + 1) * width + (right + 1)
        pixels: Floats = np.take(self._flat, picked, axis=1)
        return pixels.swapaxes(0, 1)


def _chunks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, IMAGES):
        yield slice(start, start + IMAGES)


def _check_images(name: str, inputs: Shape) -> None:
    if len(inputs) != 3:
        raise EngineError(f"{name}: rows must be (channels, height, width), got {inputs}")


def augment(augmentations: Sequence[Augmentation], x: Floats, generators: Sequence[np.random.Generator]) -> None:
    """Apply augmentations in order and in place.

    Args:
        x: `(trials, steps, batch, *inputs)`, in C order.
        generators: one per trial.
    """
    for augmentation in augmentations:
        for rows, generator in zip(x, generators, strict=True):
            augmentation.apply(rows.reshape(-1, *rows.shape[2:]), generator)


AUGMENTATIONS: Registry[Augmentation] = Registry(
    "augmentation",
    {
        "noise": Noise,
        "flip": Flip,
        "rotate": Rotate,
        "scale": Scale,
        "shift": Shift,
    },
)

"""Augmentation: what is done to the rows of every batch while training, anew each time."""

from dataclasses import dataclass
from typing import Protocol, final

import numpy as np

from engine.registry import Menu
from engine.types import EngineError, Floats, Shape


class Augmentation(Protocol):
    """Configuration; a frozen dataclass on the menu."""

    def check(self, inputs: Shape) -> None:
        """Whether rows of that shape can be augmented so.

        Raises:
            EngineError: they cannot, with the shape it needs and the one it got.
        """
        ...

    def apply(self, x: Floats, generator: np.random.Generator) -> None:
        """Changes one trial's rows `x (rows, *inputs)` in place, drawing from the trial's generator."""
        ...


@final
@dataclass(frozen=True)
class Noise:
    """x + N(0, sigma²), every number by itself. Bishop 1995.

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


AUGMENTATIONS: Menu[Augmentation] = Menu("augmentation", {"noise": Noise})

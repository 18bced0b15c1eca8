"""Dropout: in training some numbers are left out, and the others made larger to match."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from engine.layers.base import Bound, Layer, Parameter, Place
from engine.types import EngineError, Shape

STEPS = 1 << 16  # a rate is rounded to so many steps, so that 16 random bits decide about a number


@final
@dataclass(frozen=True)
class Dropout(Layer):
    """y = x·m / (1 − rate), each m 0 with probability `rate`, else 1; at inference y = x. Srivastava et al. 2014.

    Trials that train together may have different rates.

    Raises:
        EngineError: a rate outside [0, 1).
    """

    rate: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise EngineError(f"dropout: rate must be at least 0 and below 1, got {self.rate}")

    def outputs(self, inputs: Shape) -> Shape:
        return inputs

    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        return ()

    def bind(self, place: Place) -> Bound:
        if not place.training:
            return Bound(lambda x: x, lambda dy: dy)
        raise NotImplementedError


def without_rates(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The layers with every dropout rate set to 0, also inside of other layers."""
    return tuple(_without_rates(layer) for layer in layers)


def _without_rates(layer: Any) -> Layer:
    if isinstance(layer, Dropout):
        return Dropout(0.0)
    inner = {
        f.name: without_rates(getattr(layer, f.name))
        for f in dataclasses.fields(layer)
        if isinstance(getattr(layer, f.name), tuple) and any(isinstance(p, Layer) for p in getattr(layer, f.name))
    }
    changed: Layer = dataclasses.replace(layer, **inner) if inner else layer
    return changed

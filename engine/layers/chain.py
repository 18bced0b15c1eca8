"""A chain: layers one after another, over one matrix of parameters."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import NamedTuple, final

from engine.layers.base import Bound, Layer, Parameter, Place
from engine.types import EngineError, Floats, Shape


class Slice(NamedTuple):
    """A parameter's columns in a row of theta."""

    layer: int
    parameter: Parameter
    start: int
    stop: int


@final
@dataclass(frozen=True)
class Chain:
    """Layers over rows of shape `inputs`: a network's, or those inside of a residual block.

    Raises:
        EngineError: rows of one layer do not fit the next (when shapes are asked for).
    """

    inputs: Shape
    layers: tuple[Layer, ...]

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes of one row before each layer and after the last."""
        shapes = [self.inputs]
        for number, layer in enumerate(self.layers, 1):
            try:
                shapes.append(layer.outputs(shapes[-1]))
            except EngineError as error:
                raise EngineError(f"layer {number} of {len(self.layers)}: {error}") from None
        return tuple(shapes)

    @cached_property
    def slices(self) -> tuple[Slice, ...]:
        """Every parameter and where it stands in a row of theta."""
        slices: list[Slice] = []
        at = 0
        for number, (layer, shape) in enumerate(zip(self.layers, self.shapes, strict=False)):
            for parameter in layer.parameters(shape):
                slices.append(Slice(number, parameter, at, at + prod(parameter.shape)))
                at = slices[-1].stop
        return tuple(slices)

    @property
    def size(self) -> int:
        """Numbers in a row of theta."""
        return self.slices[-1].stop if self.slices else 0

    def bind(self, place: Place, peers: Sequence[Sequence[Layer]]) -> list[Bound]:
        """The layers at work.

        Args:
            place: of the whole chain; `theta` and `grad` by name are not read.
            peers: the layers of each trial.
        """
        bound = []
        for number, layer in enumerate(self.layers):
            own = [s for s in self.slices if s.layer == number]
            columns = slice(own[0].start, own[-1].stop) if own else slice(0)
            inner = replace(
                place,
                inputs=self.shapes[number],
                theta={s.parameter.name: view(place.all_theta, s) for s in own},
                grad={s.parameter.name: view(place.all_grad, s) for s in own} if place.training else {},
                all_theta=place.all_theta[:, columns],
                all_grad=place.all_grad[:, columns],
                peers=[layers[number] for layers in peers],
                first=place.first and number == 0,
                overwrite=number > 0 and not self.layers[number - 1].keeps_output,
            )
            bound.append(layer.bind(inner))
        return bound


def view(matrix: Floats, s: Slice) -> Floats:
    """One parameter of a matrix `(trials, parameters)`, in its own shape `(trials, …)`."""
    return matrix[:, s.start : s.stop].reshape(len(matrix), *s.parameter.shape)

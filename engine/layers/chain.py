"""A chain: layers one after another, over one matrix of parameters."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import NamedTuple, final

from engine.kernels.program import Program, Tensor
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
    """Consecutive layers of a network or a residual block.

    Attributes:
        inputs: shape of one input row.
    """

    inputs: Shape
    layers: tuple[Layer, ...]

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes of one row before each layer and after the last.

        Raises:
            EngineError: a layer does not accept the output of the previous one.
        """
        shapes = [self.inputs]
        for number, layer in enumerate(self.layers, 1):
            try:
                shapes.append(layer.outputs(shapes[-1]))
            except EngineError as error:
                raise EngineError(f"layer {number} of {len(self.layers)}: {error}") from None
        return tuple(shapes)

    @cached_property
    def slices(self) -> tuple[Slice, ...]:
        """All parameters with their columns in theta."""
        slices: list[Slice] = []
        start = 0
        for number, (layer, shape) in enumerate(zip(self.layers, self.shapes, strict=False)):
            for parameter in layer.parameters(shape):
                slices.append(Slice(number, parameter, start, start + prod(parameter.shape)))
                start = slices[-1].stop
        return tuple(slices)

    @property
    def size(self) -> int:
        """Number of parameters of one trial, the columns of theta."""
        return self.slices[-1].stop if self.slices else 0

    def bind(self, place: Place, peers: Sequence[Sequence[Layer]]) -> list[Bound]:
        """Bind all layers to memory.

        Args:
            place: the place of the whole chain; its `theta` and `grad` are not read.
            peers: the layers of each trial's network.
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

    def compile(self, program: Program, x: Tensor) -> Tensor:
        """Append all layers to a program; return the output of the last.

        Raises:
            NotCompiled: the compiled kernel does not have one of the layers.
        """
        for layer in self.layers:
            x = layer.compile(program, x)
        return x


def view(matrix: Floats, s: Slice) -> Floats:
    """Return a view of one parameter in a matrix `(trials, parameters)`, `(trials, *shape)`."""
    return matrix[:, s.start : s.stop].reshape(len(matrix), *s.parameter.shape)

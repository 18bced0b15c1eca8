"""A network: forwards through the layers, backwards through them, over one matrix of parameters."""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple, final

import numpy as np

from engine.data import rows_adjacent
from engine.layers import Bound, Layer, Parameter, Place
from engine.losses import Loss
from engine.registry import Menu
from engine.types import Booleans, DType, EngineError, Floats, Shape

CHUNK = 1024  # rows a forward pass holds at a time outside training


class Slice(NamedTuple):
    """Where a parameter stands in a row of theta."""

    layer: int
    parameter: Parameter
    start: int
    stop: int


@final
@dataclass(frozen=True)
class Network:
    """Layers over rows of shape `inputs`, and the loss that reads the last of them.

    Raises:
        EngineError: rows of one layer do not fit the next; the message names the layer and the shape.
    """

    inputs: Shape
    layers: tuple[Layer, ...]
    loss: Loss

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise EngineError("a network must have at least one layer")
        if len(self.shapes[-1]) != 1:
            raise EngineError(f"the last layer must put out rows of (outputs,), got {self.shapes[-1]}")

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """Of one row before each layer, and after the last."""
        shapes = [self.inputs]
        for number, layer in enumerate(self.layers, 1):
            try:
                shapes.append(layer.outputs(shapes[-1]))
            except EngineError as error:
                raise EngineError(f"layer {number} of {len(self.layers)}: {error}") from None
        return tuple(shapes)

    @property
    def outputs(self) -> int:
        """Numbers in a row of logits."""
        return self.shapes[-1][0]

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
        """Learned numbers, the columns of theta."""
        return self.slices[-1].stop if self.slices else 0

    @cached_property
    def regularized(self) -> Booleans:
        """`(size,)`: which are weights; biases are never regularized."""
        mask = np.zeros(self.size, dtype=np.bool_)
        for s in self.slices:
            mask[s.start : s.stop] = s.parameter.regularized
        return mask

    def initialize(self, generator: np.random.Generator, dtype: DType) -> Floats:
        """One trial's row of theta, `(size,)`, drawn by its own generator."""
        row = np.empty(self.size, dtype)
        for s in self.slices:
            p = s.parameter
            row[s.start : s.stop] = p.initializer(generator, p.shape, p.fan_in, p.fan_out).ravel()
        return row

    def bind(self, theta: Floats, grad: Floats | None, rows: int) -> list[Bound]:
        """The layers at work on so many rows of each trial.

        Args:
            theta: `(trials, size)`; the layers read views of it, so what changes it changes them.
            grad: the same shape, written by `backward`; None for inference.
        """
        bound = []
        for number, layer in enumerate(self.layers):
            own = [s for s in self.slices if s.layer == number]
            columns = slice(own[0].start, own[-1].stop) if own else slice(0)
            place = Place(
                inputs=self.shapes[number],
                trials=len(theta),
                rows=rows,
                dtype=theta.dtype,
                theta={s.parameter.name: _view(theta, s) for s in own},
                grad={} if grad is None else {s.parameter.name: _view(grad, s) for s in own},
                all_theta=theta[:, columns],
                all_grad=(theta if grad is None else grad)[:, columns],
                first=number == 0,
                overwrite=number > 0 and not self.layers[number - 1].keeps_output,
            )
            bound.append(layer.bind(place))
        return bound

    def forward(self, theta: Floats, x: Floats) -> Floats:
        """Logits at inference.

        Args:
            theta: `(trials, size)`.
            x: `(rows, *inputs)`, the same for all trials.

        Returns:
            `(trials, rows, outputs)`, computed `CHUNK` rows at a time.

        Raises:
            EngineError: the rows are of another shape.
        """
        if x.shape[1:] != self.inputs:
            raise EngineError(f"rows must be {self.inputs}, got {x.shape[1:]}")
        logits = rows_adjacent((len(theta), len(x), self.outputs), theta.dtype)
        bound: list[Bound] = []
        for start in range(0, len(x), CHUNK):
            a = x[None, start : start + CHUNK].astype(theta.dtype, copy=False)
            if not bound or a.shape[1] != CHUNK:
                bound = self.bind(theta, None, a.shape[1])
            with np.errstate(all="ignore"):  # a diverged trial's logits are not finite, which is a result
                for layer in bound:
                    a = layer.forward(a)
            logits[:, start : start + CHUNK] = a
        return logits

    def predict(self, theta: Floats, x: Floats) -> Floats:
        """Probabilities, or values for a regression, `(trials, rows, outputs)`; otherwise as `forward`."""
        with np.errstate(all="ignore"):  # a sigmoid's e^−z may be +inf, whose reciprocal is the 0 that is meant
            return self.loss.predict(self.forward(theta, x))


def _view(matrix: Floats, s: Slice) -> Floats:
    return matrix[:, s.start : s.stop].reshape(len(matrix), *s.parameter.shape)


NETWORKS: Menu[Network] = Menu("network", {"sequential": Network})

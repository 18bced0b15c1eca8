"""The layer protocol: frozen configuration that, bound to memory, works.

Configuration (`Layer`) knows shapes and parameters. `bind` gives it its views into the matrix of parameters and its
preallocated arrays, for a number of trials and rows, and returns the two functions that the inner loop calls.
"""

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from engine.types import DType, Floats, Shape, allocate

if TYPE_CHECKING:
    from engine.initializers import Initializer


@dataclass(frozen=True)
class Parameter:
    """One array of numbers: where it stands in a row of theta is the network's business.

    Attributes:
        regularized: weights yes, biases never.
        learned: False for what a layer itself keeps up to date, like running statistics: its gradient is zero.
    """

    name: str
    shape: Shape
    initializer: "Initializer"
    fan_in: int = 1
    fan_out: int = 1
    regularized: bool = True
    learned: bool = True


@dataclass(frozen=True, eq=False)
class Place:
    """The memory and sizes that a layer is bound to.

    Attributes:
        inputs: shape of one row that comes in.
        trials, rows: how many of each.
        dtype: of every array.
        theta: parameter name → view `(trials, *shape)` into the matrix of parameters.
        grad: the same for gradients; empty at inference, where `backward` is never called.
        all_theta, all_grad: `(trials, numbers)`, the same in one piece, in the order of `parameters`.
        training: whether this is training or inference.
        generators: one a trial in training, for whatever the layer draws; none at inference.
        peers: this layer as each trial has it; they may differ in a dropout rate.
        first: nothing before it learns, so `backward` may return anything.
        overwrite: `forward` may write its output over its input, which no other layer needs.
    """

    inputs: Shape
    trials: int
    rows: int
    dtype: DType
    theta: Mapping[str, Floats]
    grad: Mapping[str, Floats]
    all_theta: Floats
    all_grad: Floats
    training: bool
    generators: Sequence[np.random.Generator]
    peers: "Sequence[Layer]"
    first: bool
    overwrite: bool

    @property
    def shape(self) -> Shape:
        """The shape of the whole input: `(trials, rows, *inputs)`."""
        return (self.trials, self.rows, *self.inputs)

    def empty(self, shape: Shape) -> Floats:
        """Memory for rows of that shape, `(trials, rows, *shape)`, laid out as `engine.types.allocate` says."""
        return allocate(self.trials, self.rows, shape, self.dtype)

    def zeros(self, shape: Shape) -> Floats:
        """The same, filled with zeros."""
        return allocate(self.trials, self.rows, shape, self.dtype, zero=True)


class Bound(NamedTuple):
    """A layer at work. Both take and return `(trials, rows, …)`; what they return lives until the next call.

    `forward` may be handed one trial's rows for all, `(1, rows, …)`. `backward` takes dL/dy, which it may overwrite,
    writes dL/dparameters into its views, and returns dL/dx. Rows that come in or out may lie in memory in any order.
    """

    forward: Callable[[Floats], Floats]
    backward: Callable[[Floats], Floats]


class Layer(abc.ABC):
    """Configuration of a layer; a frozen dataclass in the registry of `engine.layers` or `engine.activations`.

    Attributes:
        keeps_output: `backward` reads what `forward` returned, so that the next layer must not overwrite it.
        least_rows: the smallest batch it can train on.
    """

    keeps_output: ClassVar[bool] = False
    least_rows: ClassVar[int] = 1

    @abc.abstractmethod
    def outputs(self, inputs: Shape) -> Shape:
        """Shape of one row that goes out.

        Raises:
            EngineError: rows of that shape cannot come in; the message names both shapes.
        """

    @abc.abstractmethod
    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        """The learned and running parameters, in the order of theta."""

    @abc.abstractmethod
    def bind(self, place: Place) -> Bound:
        """Allocates what it needs for that many trials and rows."""

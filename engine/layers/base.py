"""What a layer is: frozen configuration that, bound to memory, works.

Configuration (`Layer`) knows shapes and parameters. `bind` gives it its views into the matrix of parameters and its
preallocated arrays, for so many trials and rows, and returns the two functions that the inner loop calls.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from engine.initializers import Initializer
from engine.types import DType, Floats, Shape


@dataclass(frozen=True)
class Parameter:
    """One array of learned numbers: where it stands in a row of theta is the network's business."""

    name: str
    shape: Shape
    initializer: Initializer
    fan_in: int = 1
    fan_out: int = 1
    regularized: bool = True  # weights yes, biases never


@dataclass(frozen=True, eq=False)
class Place:
    """What a layer is bound to.

    Attributes:
        inputs: shape of one row that comes in.
        trials, rows: how many of each.
        dtype: of every array.
        theta: parameter name → view `(trials, *shape)` into the matrix of parameters.
        grad: the same for gradients; empty at inference, where `backward` is never called.
        all_theta, all_grad: `(trials, numbers)`, the same in one piece, in the order of `parameters`.
        first: nothing before it learns, so `backward` may return anything.
        overwrite: `forward` may write its output over its input, because nobody needs that any more.
    """

    inputs: Shape
    trials: int
    rows: int
    dtype: DType
    theta: Mapping[str, Floats]
    grad: Mapping[str, Floats]
    all_theta: Floats
    all_grad: Floats
    first: bool
    overwrite: bool

    @property
    def shape(self) -> Shape:
        """Of the whole input: `(trials, rows, *inputs)`."""
        return (self.trials, self.rows, *self.inputs)


class Bound(NamedTuple):
    """A layer at work. Both take and return `(trials, rows, …)`; what they return lives until the next call.

    `forward` may be handed one trial's rows for all, `(1, rows, …)`. `backward` takes dL/dy, which it may overwrite,
    writes dL/dparameters into its views, and returns dL/dx.
    """

    forward: Callable[[Floats], Floats]
    backward: Callable[[Floats], Floats]


class Layer(Protocol):
    """Configuration of a layer; a frozen dataclass on the menu of `engine.layers` or `engine.activations`."""

    @property
    def keeps_output(self) -> bool:
        """Whether `backward` reads what `forward` returned, so that the next layer must not overwrite it."""
        ...

    def outputs(self, inputs: Shape) -> Shape:
        """Shape of one row that goes out.

        Raises:
            EngineError: rows of that shape cannot come in; the message names both shapes.
        """
        ...

    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        """What it learns, in the order in which it stands in theta."""
        ...

    def bind(self, place: Place) -> Bound:
        """Allocates what it needs for that many trials and rows."""
        ...

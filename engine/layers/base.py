"""The layer protocol: frozen configuration that is bound to memory.

Configuration (`Layer`) determines shapes and parameters. `bind` takes views into the matrix of parameters, allocates
arrays for a number of trials and rows, and returns the two functions that the inner loop calls.
"""

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from engine.kernels.program import Program, Tensor
from engine.types import DType, EngineError, Floats, Shape, allocate

if TYPE_CHECKING:
    from engine.initializers import Initializer


@dataclass(frozen=True)
class Parameter:
    """One parameter array of a layer; `Chain.slices` has its columns in theta.

    Attributes:
        name: unique in the layer.
        shape: shape of one trial's array.
        fan_in, fan_out: number of inputs and outputs, for the initializer.
        regularized: True for weights, False for biases.
        learned: False for arrays that the layer updates itself, such as running statistics; their gradient is zero.
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
        inputs: shape of one input row.
        trials, rows: number of trials, and number of rows per trial.
        dtype: dtype of all arrays.
        theta: parameter name → view `(trials, *shape)` into the matrix of parameters.
        grad: the same for gradients; empty at inference, where `backward` is never called.
        all_theta, all_grad: `(trials, parameters)`, the columns of all parameters of the layer, in their order.
        training: True in training, False at inference.
        generators: one per trial in training, for the layer's random draws; none at inference.
        peers: this layer in each trial's network; they may differ in dropout rates.
        first: no layer before it has parameters, so `backward` may return any array.
        overwrite: `forward` may overwrite its input, which no other layer needs.
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
        """Shape of the whole input: `(trials, rows, *inputs)`."""
        return (self.trials, self.rows, *self.inputs)

    def empty(self, shape: Shape) -> Floats:
        """Allocate `(trials, rows, *shape)` in the memory layout of `engine.types.allocate`."""
        return allocate(self.trials, self.rows, shape, self.dtype)

    def zeros(self, shape: Shape) -> Floats:
        """Allocate zeros like `empty`."""
        return allocate(self.trials, self.rows, shape, self.dtype, zero=True)


class NotCompiled(EngineError):
    """The compiled kernel does not have a layer."""


class Bound(NamedTuple):
    """The functions of a bound layer, from and to `(trials, rows, …)`; their results are valid until the next call.

    The input of `forward` may be `(1, rows, …)`, the same rows for all trials. `backward` takes dL/dy, which it may
    overwrite, writes dL/dparameters into its views, and returns dL/dx. Arrays may have any memory layout.
    """

    forward: Callable[[Floats], Floats]
    backward: Callable[[Floats], Floats]


class Layer(abc.ABC):
    """Configuration of a layer; a frozen dataclass in the registry of `engine.layers` or `engine.activations`.

    Attributes:
        keeps_output: the next layer must not overwrite the output of `forward`, because `backward` reads it.
        least_rows: smallest batch that the layer can train on.
    """

    keeps_output: ClassVar[bool] = False
    least_rows: ClassVar[int] = 1

    @abc.abstractmethod
    def outputs(self, inputs: Shape) -> Shape:
        """Return the shape of one output row.

        Raises:
            EngineError: the layer does not accept rows of shape `inputs`; the message has the required shape.
        """

    @abc.abstractmethod
    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        """Return the learned parameters and running statistics, in the order of their columns in theta."""

    @abc.abstractmethod
    def bind(self, place: Place) -> Bound:
        """Allocate the layer's arrays and return its functions."""

    def compile(self, program: Program, x: Tensor) -> Tensor:
        """Append the layer to a program of the compiled kernel, after the input x, and return its output.

        A layer without this method is trained by NumPy only.

        Raises:
            NotCompiled: the kernel does not have the layer.
        """
        raise NotCompiled(f"{type(self).__name__} is trained by NumPy")

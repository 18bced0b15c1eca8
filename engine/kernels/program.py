"""Programs: a network's layers as instructions for the compiled kernel; needs only NumPy.

A layer says how it is compiled (`Layer.compile`): it appends instructions to a program and returns its output. A layer
without this method is trained by NumPy, and so is every network that contains it.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from engine.types import Floats

NO_GRADIENT = -1  # the place of a gradient that is not needed, because no layer before has parameters


class Operation(IntEnum):
    """The operations of the kernel; `engine.kernels.operations` has their code."""

    DENSE = 0
    RELU = 1
    LEAKY_RELU = 2
    SIGMOID = 3
    TANH = 4
    ELU = 5
    SOFTPLUS = 6
    SOFTMAX = 7
    DROPOUT = 8
    RRELU = 9
    PRELU = 10
    MAXOUT = 11
    BATCH_NORM = 12
    FORK = 13
    ADD = 14


# The columns of an instruction; Numba reads constants of a module. Places are sums of widths, to be multiplied by the
# rows that memory is for.
OPERATION = 0
INPUTS = 1  # width of the input
OUTPUTS = 2  # width of the output
X = 3  # place of the input's values
Y = 4  # place of the output's values
DX = 5  # place of the input's gradient, or NO_GRADIENT
DY = 6  # place of the output's gradient, or NO_GRADIENT
THETA = 7  # first parameter
OTHER = 8  # place of the layer's own memory, or of the second input's values
OTHER_GRADIENT = 9  # place of the second input's or output's gradient, or NO_GRADIENT
COUNT = 10  # a whole number: pieces of maxout, steps of dropout
COLUMNS = 11


@final
@dataclass(frozen=True)
class Tensor:
    """Values that an instruction reads or writes, `(rows, width)`, and their gradient.

    Attributes:
        width: numbers in a row.
        values, gradient: places in the two memories; the gradient may be NO_GRADIENT.
        overwritable: no instruction needs these values later, so the next one may overwrite them.
    """

    width: int
    values: int
    gradient: int
    overwritable: bool


class Code(NamedTuple):
    """A program as arrays, which Numba reads.

    Attributes:
        instructions: int64, `(instructions, columns)`.
        numbers: float64, `(instructions, 3)`, the settings of each instruction.
        segments: int64, `(segments, 3)`: first and last + 1 of adjacent learned parameters, and 1 for weights, 0 for
            biases, which are not regularized.
        logits: int64, place of the last output's values and gradient, and its width.
        random: int64, widths for which a training step draws random numbers, in order.
        widths: int64, total widths of the memories of values and gradients.
    """

    instructions: npt.NDArray[np.int64]
    numbers: Floats
    segments: npt.NDArray[np.int64]
    logits: npt.NDArray[np.int64]
    random: npt.NDArray[np.int64]
    widths: npt.NDArray[np.int64]


class Program:
    """A program under construction.

    Args:
        inputs: numbers in an input row.
    """

    def __init__(self, inputs: int) -> None:
        self._instructions: list[list[int]] = []
        self._numbers: list[tuple[float, ...]] = []
        self._segments: list[tuple[int, int, int]] = []
        self._random: list[int] = []
        self._values, self._gradients, self._theta = inputs, 0, 0
        self.inputs = Tensor(inputs, 0, NO_GRADIENT, overwritable=False)

    def elementwise(
        self,
        operation: Operation,
        x: Tensor,
        *numbers: float,
        count: int = 0,
        draws: bool = False,
        needs_input: bool = False,
        needs_output: bool = False,
        parameters: int = 0,
    ) -> Tensor:
        """Append an operation whose output has the input's shape; return its output.

        Args:
            numbers: up to three settings.
            count: a whole number.
            draws: it draws 16 random bits for each number in training.
            needs_input, needs_output: its backward pass reads them.
            parameters: number of learned parameters, which are not regularized.
        """
        gradient = x.gradient if parameters == 0 else self._gradient(x.width)
        in_place = x.overwritable and not needs_input
        y = Tensor(x.width, x.values if in_place else self._memory(x.width), gradient, not needs_output)
        self._append(operation, x, y, numbers, count=count)
        self._learned(parameters, regularized=False)
        if draws:
            self._random.append(x.width)
        return y

    def dense(self, x: Tensor, units: int) -> Tensor:
        """Append y = xW + b."""
        y = Tensor(units, self._memory(units), self._gradient(units), overwritable=True)
        self._append(Operation.DENSE, x, y, ())
        self._learned(x.width * units, regularized=True)
        self._learned(units, regularized=False)
        return y

    def maxout(self, x: Tensor, units: int, pieces: int) -> Tensor:
        """Append y = max over k of xW_k + b_k."""
        z = self.dense(x, units * pieces)
        y = Tensor(units, self._memory(units), self._gradient(units), overwritable=False)
        self._append(Operation.MAXOUT, z, y, (), count=pieces)
        return y

    def batch_norm(self, x: Tensor, momentum: float, epsilon: float) -> Tensor:
        """Append batch normalization; its running statistics follow γ and β in theta and are not learned."""
        gradient = x.gradient if x.gradient != NO_GRADIENT else self._gradient(x.width)
        y = Tensor(x.width, self._memory(x.width), gradient, overwritable=True)
        own = self._memory(2 * x.width)  # x − μ, and 1/√(σ² + ε)
        self._append(Operation.BATCH_NORM, x, y, (momentum, epsilon), other=own)
        self._learned(2 * x.width, regularized=False)
        self._theta += 2 * x.width
        return y

    def fork(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Append two uses of x, whose gradients are added."""
        needed = x.gradient != NO_GRADIENT
        left, right = (
            replace(x, gradient=self._gradient(x.width) if needed else NO_GRADIENT, overwritable=False)
            for _ in range(2)
        )
        self._append(Operation.FORK, x, left, (), other_gradient=right.gradient)
        return left, right

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        """Append y = a + b."""
        needed = a.gradient != NO_GRADIENT or b.gradient != NO_GRADIENT
        y = Tensor(
            a.width, self._memory(a.width), self._gradient(a.width) if needed else NO_GRADIENT, overwritable=True
        )
        self._append(Operation.ADD, a, y, (), other=b.values, other_gradient=b.gradient)
        return y

    def code(self, logits: Tensor) -> Code:
        """Return the program as arrays.

        Args:
            logits: the last output.
        """
        return Code(
            instructions=np.array(self._instructions, np.int64).reshape(-1, COLUMNS),
            numbers=np.array([(*n, 0.0, 0.0, 0.0)[:3] for n in self._numbers]).reshape(-1, 3),
            segments=np.array(self._segments, np.int64).reshape(-1, 3),
            logits=np.array([logits.values, logits.gradient, logits.width], np.int64),
            random=np.array(self._random, np.int64),
            widths=np.array([self._values, self._gradients], np.int64),
        )

    def _append(
        self,
        operation: Operation,
        x: Tensor,
        y: Tensor,
        numbers: tuple[float, ...],
        count: int = 0,
        other: int = 0,
        other_gradient: int = NO_GRADIENT,
    ) -> None:
        places = (x.values, y.values, x.gradient, y.gradient, self._theta, other, other_gradient, count)
        self._instructions.append([operation, x.width, y.width, *places])
        self._numbers.append(numbers)

    def _learned(self, parameters: int, *, regularized: bool) -> None:
        """Take the next columns of theta."""
        if parameters:
            self._segments.append((self._theta, self._theta + parameters, int(regularized)))
            self._theta += parameters

    def _memory(self, width: int) -> int:
        self._values += width
        return self._values - width

    def _gradient(self, width: int) -> int:
        self._gradients += width
        return self._gradients - width

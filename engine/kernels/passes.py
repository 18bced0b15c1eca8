"""The forward and the backward pass of a program, compiled."""

from engine.kernels import program
from engine.kernels.jit import compiled
from engine.kernels.operations import (
    activate,
    activate_backward,
    add,
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    copy,
    dense,
    dense_backward,
    drop,
    leak,
    leak_backward,
    leak_mean,
    maxout,
    maxout_backward,
    prelu,
    prelu_backward,
    softmax,
    softmax_backward,
)
from engine.kernels.program import NO_GRADIENT, Code, Operation
from engine.kernels.rules import Mode
from engine.types import Floats, Integers


@compiled
def matrix(memory: Floats, place: int, capacity: int, rows: int, width: int) -> Floats:
    """Return a view of a tensor, `(rows, width)`."""
    return memory[place * capacity : place * capacity + rows * width].reshape(rows, width)


@compiled
def drawn_bits(code: Code, rows: int) -> int:
    """Return how many random numbers of 16 bits a step of this many rows draws: whole words of 64 bits a layer."""
    drawn = 0
    for k in range(len(code.random)):
        drawn += (rows * code.random[k] + 3) // 4 * 4
    return drawn


@compiled
def forward(code: Code, theta: Floats, values: Floats, capacity: int, rows: int, mode: Mode, bits: Integers) -> None:
    """Run the forward pass of all instructions.

    Args:
        values: memory of `capacity` rows; the inputs are in its first place.
        rows: number of rows.
        bits: random bits for the step, for each instruction that draws `4⌈rows · width / 4⌉` of them.
    """
    drawn = 0
    for k in range(len(code.instructions)):
        c, number = code.instructions[k], code.numbers[k]
        operation, inputs, outputs, first = (
            c[program.OPERATION],
            c[program.INPUTS],
            c[program.OUTPUTS],
            c[program.THETA],
        )
        x = matrix(values, c[program.X], capacity, rows, inputs)
        y = matrix(values, c[program.Y], capacity, rows, outputs)
        numbers = rows * outputs
        flat = y.reshape(numbers)
        if operation == Operation.DENSE:
            dense(x, y, theta[first : first + (inputs + 1) * outputs])
            continue
        if operation == Operation.MAXOUT:
            maxout(x, y, c[program.COUNT])
            continue
        if operation == Operation.PRELU:
            prelu(x, y, theta[first : first + outputs])
            continue
        if operation == Operation.ADD:
            add(x, matrix(values, c[program.OTHER], capacity, rows, outputs), y)
            continue
        if operation == Operation.BATCH_NORM:
            own = values[c[program.OTHER] * capacity : (c[program.OTHER] + 2 * outputs) * capacity]
            statistics = theta[first : first + 4 * outputs]
            if mode == Mode.TRAINING:
                batch_norm(x, y, own, statistics, number[0], number[1])
            else:
                batch_norm_inference(x, y, own, statistics, number[1])
            continue
        if c[program.X] != c[program.Y]:
            copy(x.reshape(numbers), flat)
        if operation <= Operation.SOFTPLUS:
            activate(operation, flat, number[0])
        elif operation == Operation.SOFTMAX:
            softmax(y)
        elif operation == Operation.DROPOUT and mode == Mode.TRAINING:
            drop(flat, bits[drawn : drawn + numbers], c[program.COUNT])
            drawn += (numbers + 3) // 4 * 4
        elif operation == Operation.RRELU and mode == Mode.TRAINING:
            leak(flat, bits[drawn : drawn + numbers], number[0], number[1])
            drawn += (numbers + 3) // 4 * 4
        elif operation == Operation.RRELU:
            leak_mean(flat, number[2])


@compiled
def _in_place_backward(operation: int, y: Floats, dy: Floats, number: Floats, bits: Integers, count: int) -> None:
    """Run the backward pass of an elementwise operation, whose dx takes the place of dy."""
    flat_y, flat_dy = y.reshape(y.size), dy.reshape(y.size)
    if operation <= Operation.SOFTPLUS:
        activate_backward(operation, flat_y, flat_dy, number[0])
    elif operation == Operation.SOFTMAX:
        softmax_backward(y, dy)
    elif operation == Operation.DROPOUT:
        drop(flat_dy, bits, count)
    else:
        leak_backward(flat_y, flat_dy, bits, number[0], number[1])


@compiled
def backward(
    code: Code,
    theta: Floats,
    grad: Floats,
    values: Floats,
    gradients: Floats,
    capacity: int,
    rows: int,
    bits: Integers,
    drawn: int,
) -> None:
    """Run the backward pass of all instructions; dL/dlogits is in its place.

    Args:
        gradients: memory of `capacity` rows.
        drawn: number of random bits that the forward pass read.
    """
    for k in range(len(code.instructions) - 1, -1, -1):
        c, number = code.instructions[k], code.numbers[k]
        operation, inputs, outputs, first = (
            c[program.OPERATION],
            c[program.INPUTS],
            c[program.OUTPUTS],
            c[program.THETA],
        )
        numbers, needed = rows * outputs, c[program.DX] != NO_GRADIENT
        if operation == Operation.DROPOUT or operation == Operation.RRELU:
            drawn -= (numbers + 3) // 4 * 4
        if c[program.DY] == NO_GRADIENT:
            continue
        x = matrix(values, c[program.X], capacity, rows, inputs)
        y = matrix(values, c[program.Y], capacity, rows, outputs)
        dy = matrix(gradients, c[program.DY], capacity, rows, outputs)
        dx = matrix(gradients, c[program.DX], capacity, rows, inputs) if needed else dy
        flat_dy = dy.reshape(numbers)
        if operation == Operation.DENSE:
            last = first + (inputs + 1) * outputs
            dense_backward(x, dy, dx, theta[first:last], grad[first:last], needed)
        elif operation <= Operation.RRELU:
            _in_place_backward(operation, y, dy, number, bits[drawn:], c[program.COUNT])
        elif operation == Operation.PRELU:
            prelu_backward(x, dy, theta[first : first + outputs], grad[first : first + outputs])
            if needed:
                copy(flat_dy, dx.reshape(numbers))
        elif operation == Operation.MAXOUT:
            maxout_backward(x, y, dx, dy, c[program.COUNT])
        elif operation == Operation.BATCH_NORM:
            own = values[c[program.OTHER] * capacity : (c[program.OTHER] + 2 * outputs) * capacity]
            batch_norm_backward(own, dy, theta[first : first + 4 * outputs], grad[first : first + 2 * outputs])
        elif operation == Operation.FORK and needed:
            add(dy, matrix(gradients, c[program.OTHER_GRADIENT], capacity, rows, outputs), dx)
        elif operation == Operation.ADD:
            if needed:
                copy(flat_dy, dx.reshape(numbers))
            if c[program.OTHER_GRADIENT] != NO_GRADIENT:
                copy(flat_dy, matrix(gradients, c[program.OTHER_GRADIENT], capacity, rows, outputs).reshape(numbers))

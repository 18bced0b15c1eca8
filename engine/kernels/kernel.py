"""The compiled kernel: the two functions that Python calls, for one dtype, compiled once per installation."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types as _types

from engine.kernels.choice import source_digest
from engine.kernels.jit import compiled
from engine.kernels.losses import loss_gradient, score
from engine.kernels.operations import copy
from engine.kernels.passes import backward, drawn_bits, forward, matrix
from engine.kernels.program import Code
from engine.kernels.rules import Mode, StepSettings
from engine.kernels.updates import update
from engine.types import DType, Floats, Integers

types: Any = _types  # most of it has no annotations


class Kernel(NamedTuple):
    """Some steps of training, and the scores of some rows; `_entries` has their arguments."""

    train_steps: Callable[..., tuple[float, int]]
    score_rows: Callable[..., tuple[float, int]]


@cache
def kernel(dtype: DType) -> Kernel:
    """Return the kernel, from Numba's cache or compiled now, which takes 5 to 10 s.

    Numba's cache is `__pycache__` beside this file, else a folder of the user, or `NUMBA_CACHE_DIR`; it is written
    atomically, so several processes may compile at the same time.

    Raises:
        RuntimeError: no folder for the cache can be written.
    """
    train_steps, score_rows = _entries(source_digest())
    real = numba.from_dtype(np.dtype(dtype))
    code, settings, memory = _struct(Code), _struct(StepSettings), types.Array(real, 1, "C")
    rows = types.Array(real, 2, "C", readonly=True)  # also takes arrays that can be written
    numbers, order, bits = (types.Array(t, 1, "C") for t in (types.float64, types.int64, types.uint16))
    rule = types.Tuple((types.int64, numbers, types.float64, types.int64))
    two, three = types.UniTuple(memory, 2), types.UniTuple(memory, 3)
    logits = types.Array(real, 2, "C")
    training = (code, settings, rule, types.int64, memory, two, rows, rows, order, types.int64, bits, three)
    scoring = (code, types.int64, memory, rows, rows, logits, types.int64, two)
    result = types.Tuple((types.float64, types.int64))
    return Kernel(_compile(train_steps, result(*training)), _compile(score_rows, result(*scoring)))


def _compile(function: Callable[..., Any], signature: Any) -> Callable[..., tuple[float, int]]:
    entry: Callable[..., tuple[float, int]] = numba.njit([signature], error_model="numpy", cache=True)(function)
    return entry


def _struct(kind: Any) -> Any:
    """Return Numba's type of a named tuple, from its annotations."""
    fields = {
        "instructions": types.Array(types.int64, 2, "C"),
        "numbers": types.Array(types.float64, 2, "C"),
        "segments": types.Array(types.int64, 2, "C"),
        "logits": types.Array(types.int64, 1, "C"),
        "random": types.Array(types.int64, 1, "C"),
        "widths": types.Array(types.int64, 1, "C"),
    }
    plain = {bool: types.boolean, int: types.int64, float: types.float64}
    return types.NamedTuple([fields.get(name) or plain[hint] for name, hint in kind.__annotations__.items()], kind)


def _entries(sources: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return `train_steps` and `score_rows`, not yet compiled.

    Args:
        sources: a digest of all compiled functions. Numba's cache looks at the source of the function that Python
            calls, and at the variables of its closure, but not at the functions that it calls.
    """

    def train_steps(
        code: Code,
        settings: StepSettings,
        rule: tuple[int, Floats, float, int],
        kind: int,
        theta: Floats,
        slots: tuple[Floats, Floats],
        x: Floats,
        y: Floats,
        order: Integers,
        batch: int,
        bits: Integers,
        memory: tuple[Floats, Floats, Floats],
    ) -> tuple[float, int]:
        """Train on the rows of `order`; return the sum of their losses and the number of correct rows.

        Args:
            rule: kind, numbers and kept of the `UpdateRule`, and the number of steps before the first.
            kind: a `LossKind`.
            theta: `(parameters,)`, changed in place, as are `slots`.
            x, y: rows, `(rows, inputs)`, and targets, `(rows, outputs)`.
            order: numbers of the rows.
            batch: rows of a step; the last step may have fewer.
            bits: uint16, random bits of all steps.
            memory: values and gradients of `batch` rows, and a gradient `(parameters,)`.
        """
        _ = sources
        loss, correct, drawn, number = 0.0, 0, 0, rule[3]
        for start in range(0, len(order), batch):
            picked = order[start : start + batch]
            own_bits = bits[drawn : drawn + drawn_bits(code, len(picked))]
            drawn += len(own_bits)
            number += 1
            step_loss, step_correct = _gradient(code, settings, kind, theta, x, y, picked, batch, own_bits, memory)
            update(rule[0], rule[1], rule[2], number, settings, len(picked), code.segments, theta, memory[2], slots)
            loss += step_loss
            correct += step_correct
        return loss, correct

    def score_rows(
        code: Code,
        kind: int,
        theta: Floats,
        x: Floats,
        y: Floats,
        logits: Floats,
        chunk: int,
        memory: tuple[Floats, Floats],
    ) -> tuple[float, int]:
        """Return the sum of the rows' losses and the number of correct rows at inference, and write their logits.

        Args:
            logits: output, `(rows, outputs)`; may be empty.
            chunk: rows at a time.
            memory: values of `chunk` rows, and predictions of as many.
        """
        _ = sources
        loss, correct, order = 0.0, 0, np.arange(len(x))
        for start in range(0, len(x), chunk):
            chunk_loss, chunk_correct = _score(
                code, kind, theta, x, y, logits, chunk, order[start : start + chunk], memory
            )
            loss += chunk_loss
            correct += chunk_correct
        return loss, correct

    return train_steps, score_rows


@compiled
def _gradient(
    code: Code,
    settings: StepSettings,
    kind: int,
    theta: Floats,
    x: Floats,
    y: Floats,
    picked: Integers,
    batch: int,
    bits: Integers,
    memory: tuple[Floats, Floats, Floats],
) -> tuple[float, int]:
    """Compute the gradient of a batch; return the sum of its losses and the number of correct rows."""
    values, gradients, grad = memory
    rows, inputs, outputs = len(picked), x.shape[1], code.logits[2]
    first = values[: rows * inputs].reshape(rows, inputs)
    for i in range(rows):
        for j in range(inputs):
            first[i, j] = x[picked[i], j]
    forward(code, theta, values, batch, rows, Mode.TRAINING, bits)
    logits = matrix(values, code.logits[0], batch, rows, outputs)
    delta = matrix(gradients, code.logits[1], batch, rows, outputs)
    loss, correct = score(kind, logits, y, picked, delta)
    loss_gradient(delta, y, picked, settings.keep, settings.share)
    backward(code, theta, grad, values, gradients, batch, rows, bits, len(bits))
    return loss, correct


@compiled
def _score(
    code: Code,
    kind: int,
    theta: Floats,
    x: Floats,
    y: Floats,
    logits: Floats,
    capacity: int,
    picked: Integers,
    memory: tuple[Floats, Floats],
) -> tuple[float, int]:
    """Score adjacent rows at inference; the arguments are those of `score_rows`."""
    values, predicted = memory
    rows, inputs, outputs, first = len(picked), x.shape[1], code.logits[2], picked[0]
    copy(x[first : first + rows].reshape(rows * inputs), values)
    forward(code, theta, values, capacity, rows, Mode.INFERENCE, np.zeros(0, np.uint16))
    z = matrix(values, code.logits[0], capacity, rows, outputs)
    if len(logits):
        copy(z.reshape(rows * outputs), logits[first : first + rows].reshape(rows * outputs))
    return score(kind, z, y, picked, predicted[: rows * outputs].reshape(rows, outputs))

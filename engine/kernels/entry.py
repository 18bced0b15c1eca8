"""The compiled functions that Python calls: some steps of training, and the scores of some rows."""

from collections.abc import Callable
from typing import Any

import numpy as np

from engine.kernels.jit import compiled
from engine.kernels.losses import loss_gradient, score
from engine.kernels.operations import copy
from engine.kernels.passes import backward, drawn_bits, forward, matrix
from engine.kernels.program import Code
from engine.kernels.rules import Mode, StepSettings
from engine.kernels.updates import update
from engine.types import Floats, Integers


def entries(sources: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
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
        values, predicted = memory
        outputs = code.logits[2]
        loss, correct, order, bits = 0.0, 0, np.arange(len(x)), np.zeros(0, np.uint16)
        for start in range(0, len(x), chunk):
            rows = min(chunk, len(x) - start)
            copy(x[start : start + rows].reshape(rows * x.shape[1]), values)
            forward(code, theta, values, chunk, rows, Mode.INFERENCE, bits)
            z = matrix(values, code.logits[0], chunk, rows, outputs)
            p = predicted[: rows * outputs].reshape(rows, outputs)
            chunk_loss, chunk_correct = score(kind, z, y, order[start : start + rows], p)
            loss += chunk_loss
            correct += chunk_correct
            if len(logits):
                copy(z.reshape(rows * outputs), logits[start : start + rows].reshape(rows * outputs))
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

"""Losses, compiled: the loss and the number of correct rows of a batch, and dL/dlogits."""

import math

from engine.kernels.functions import exp, log1p
from engine.kernels.jit import Number, compiled
from engine.kernels.rules import LossKind
from engine.types import Floats, Integers


@compiled
def score(kind: int, z: Floats, y: Floats, order: Integers, p: Floats) -> tuple[float, int]:
    """Return the sum of the rows' losses and the number of correct rows, and write predictions into p.

    Args:
        z: logits, `(rows, outputs)`.
        y: targets of all rows; row i of the batch is `y[order[i]]`.
        p: output, `(rows, outputs)`: the output function of z, whose gradient of the loss is p − y.
    """
    if kind == LossKind.SOFTMAX_CROSS_ENTROPY:
        return _softmax(z, y, order, p)
    if kind == LossKind.LOGISTIC:
        return _logistic(z, y, order, p)
    return _squared(z, y, order, p)


@compiled
def _softmax(z: Floats, y: Floats, order: Integers, p: Floats) -> tuple[float, int]:
    rows, outputs = z.shape
    loss: Number = 0.0
    correct, flat = 0, p.reshape(rows * outputs)
    for i in range(rows):
        best = 0
        for j in range(1, outputs):
            best = j if z[i, j] > z[i, best] else best
        correct += y[order[i], best] > 0
        largest = z[i, best]
        for j in range(outputs):
            p[i, j] = z[i, j] - largest
        picked = p.dtype.type(0)
        for j in range(outputs):
            picked += p[i, j] * y[order[i], j]
        loss -= picked
    for i in range(flat.size):
        flat[i] = exp(flat[i])
    for i in range(rows):
        total = p.dtype.type(0)
        for j in range(outputs):
            total += p[i, j]
        loss += math.log(total)
        inverse = p.dtype.type(1) / total
        for j in range(outputs):
            p[i, j] *= inverse
    return loss, correct


@compiled
def _logistic(z: Floats, y: Floats, order: Integers, p: Floats) -> tuple[float, int]:
    zero, one, half, loss, correct = z.dtype.type(0), z.dtype.type(1), z.dtype.type(0.5), 0.0, 0
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            x, target = z[i, j], y[order[i], j]
            loss += (x if x > zero else zero) - x * target + log1p(exp(-abs(x)))
            correct += (x > zero) == (target > half)
            p[i, j] = one / (one + exp(-x))
    return loss, correct


@compiled
def _squared(z: Floats, y: Floats, order: Integers, p: Floats) -> tuple[float, int]:
    loss = 0.0
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            difference = z[i, j] - y[order[i], j]
            loss += difference * difference
            p[i, j] = z[i, j]
    return loss / 2, 0


@compiled
def loss_gradient(p: Floats, y: Floats, order: Integers, keep: float, share: float) -> None:
    """Compute dL/dlogits = (p − (keep · y + share)) / rows in place of p; keep and share smooth the labels."""
    inverse = p.dtype.type(1 / p.shape[0])
    kept, shared = p.dtype.type(keep), p.dtype.type(share)
    for i in range(p.shape[0]):
        for j in range(p.shape[1]):
            p[i, j] = (p[i, j] - (y[order[i], j] * kept + shared)) * inverse

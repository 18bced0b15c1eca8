"""Optimizer steps, compiled; the formulas and the content of the slots are those of `engine.optimizers`."""

import math

import numpy as np

from engine.kernels.jit import Number, compiled
from engine.kernels.rules import ClipKind, StepSettings, UpdateKind
from engine.types import Floats, Integers


@compiled
def update(
    kind: int,
    numbers: Floats,
    kept: float,
    number: int,
    settings: StepSettings,
    rows: int,
    segments: Integers,
    theta: Floats,
    grad: Floats,
    slots: tuple[Floats, Floats],
) -> None:
    """Add the regularizers to the gradient, clip it, and make one step.

    Args:
        kind: an `UpdateKind`.
        numbers: settings of the optimizer, float64.
        kept: factor of the weights before the step.
        number: number of the step, counted from 1.
        rows: rows of the batch.
        segments: adjacent learned parameters, as in `Code`.
        slots: the optimizer's state; arrays that it does not use may be empty.
    """
    divisor = rows if settings.divide_by_batch else 1
    l2, l1 = settings.l2 / divisor, settings.l1 / divisor
    if l1 > 0 or settings.clip != ClipKind.NONE or kept != 1:
        for k in range(len(segments)):
            if segments[k, 2]:
                _penalize(theta[segments[k, 0] : segments[k, 1]], grad[segments[k, 0] : segments[k, 1]], l2, l1)
        l2 = 0.0
        if settings.clip == ClipKind.NORM:
            _clip_norm(grad, settings.limit)
        elif settings.clip == ClipKind.VALUE:
            _clip_value(grad, settings.limit)
    factor, epsilon = 0.0, 0.0
    if kind == UpdateKind.ADAM:  # numbers: α, β₁, β₂, ε
        correction = math.sqrt((1 - numbers[2] ** number) / (1 - numbers[2]))
        factor = numbers[0] * (1 - numbers[1]) / (1 - numbers[1] ** number) * correction
        epsilon = numbers[3] * correction
    for k in range(len(segments)):
        start, stop, weights = segments[k, 0], segments[k, 1], segments[k, 2]
        w, g, decay = theta[start:stop], grad[start:stop], typed(theta, l2 if weights else 0.0)
        if weights and kept != 1:
            _scale(w, kept)
        if kind == UpdateKind.SGD:
            _sgd(w, g, decay, numbers[0])
            continue
        s = slots[0][start:stop]
        if kind == UpdateKind.MOMENTUM:
            _momentum(w, g, s, decay, numbers[0], numbers[1], numbers[2])
        elif kind == UpdateKind.NESTEROV:
            _nesterov(w, g, s, decay, numbers[0], numbers[1], numbers[2])
        elif kind == UpdateKind.ADAGRAD:
            _adagrad(w, g, s, decay, numbers[0], numbers[1])
        elif kind == UpdateKind.RMSPROP:
            _rmsprop(w, g, s, decay, numbers[0], numbers[1], numbers[2])
        elif kind == UpdateKind.ADADELTA:
            _adadelta(w, g, s, slots[1][start:stop], decay, numbers[0], numbers[1])
        else:
            _adam(w, g, s, slots[1][start:stop], decay, numbers[1], numbers[2], factor, epsilon)


@compiled
def typed(w: Floats, value: Number) -> Number:
    """Return a number in the dtype of an array."""
    return w.dtype.type(value)


@compiled
def _scale(w: Floats, factor: float) -> None:
    f = typed(w, factor)
    for p in range(w.size):
        w[p] *= f


@compiled
def _penalize(w: Floats, g: Floats, l2: float, l1: float) -> None:
    """Add λw + λ₁ sign(w)."""
    decay, pull, zero = typed(w, l2), typed(w, l1), typed(w, 0.0)
    for p in range(w.size):
        sign = pull if w[p] > zero else (-pull if w[p] < zero else zero)
        g[p] += w[p] * decay + sign


@compiled
def _clip_norm(g: Floats, limit: float) -> None:
    """Scale g to a norm of at most `limit`; where Σg² overflows, g / max |g| is scaled."""
    norm = math.sqrt(np.dot(g, g))
    if not norm < np.inf:
        largest = typed(g, 0.0)
        for p in range(g.size):
            largest = abs(g[p]) if abs(g[p]) > largest else largest
        if largest < np.inf:
            for p in range(g.size):
                g[p] /= largest
            norm = math.sqrt(np.dot(g, g))
            _scale(g, limit / norm)
            return
    if not norm <= limit:
        _scale(g, limit / norm)


@compiled
def _clip_value(g: Floats, limit: float) -> None:
    high = typed(g, limit)
    for p in range(g.size):
        g[p] = -high if g[p] < -high else (high if g[p] > high else g[p])


@compiled
def _sgd(w: Floats, g: Floats, decay: Number, rate: float) -> None:
    r = typed(w, rate)
    for p in range(w.size):
        w[p] -= r * (g[p] + w[p] * decay)


@compiled
def _momentum(w: Floats, g: Floats, s: Floats, decay: Number, beta: float, inside: float, outside: float) -> None:
    b, i, o = typed(w, beta), typed(w, inside), typed(w, outside)
    for p in range(w.size):
        u = s[p] * b + (g[p] + w[p] * decay) * i
        s[p] = u
        w[p] -= u * o


@compiled
def _nesterov(w: Floats, g: Floats, s: Floats, decay: Number, beta: float, inside: float, outside: float) -> None:
    b, i, o = typed(w, beta), typed(w, inside), typed(w, outside)
    for p in range(w.size):
        d = (g[p] + w[p] * decay) * i
        u = (s[p] + d) * b
        s[p] = u
        w[p] -= (d + u) * o


@compiled
def _adagrad(w: Floats, g: Floats, s: Floats, decay: Number, rate: float, epsilon: float) -> None:
    r, e = typed(w, rate), typed(w, epsilon)
    for p in range(w.size):
        d = g[p] + w[p] * decay
        s[p] += d * d
        w[p] -= d / (np.sqrt(s[p]) + e) * r


@compiled
def _rmsprop(w: Floats, g: Floats, s: Floats, decay: Number, rate: float, beta: float, epsilon: float) -> None:
    r, b, e = typed(w, rate), typed(w, beta), typed(w, epsilon)
    for p in range(w.size):
        d = g[p] + w[p] * decay
        s[p] = s[p] * b + d * d
        w[p] -= d / (np.sqrt(s[p]) + e) * r


@compiled
def _adadelta(w: Floats, g: Floats, s: Floats, moved: Floats, decay: Number, rho: float, epsilon: float) -> None:
    r, e = typed(w, rho), typed(w, epsilon)
    for p in range(w.size):
        g[p] += w[p] * decay
    for p in range(w.size):
        s[p] = s[p] * r + g[p] * g[p]
    for p in range(w.size):
        g[p] *= np.sqrt((moved[p] + e) / (s[p] + e))
    for p in range(w.size):
        moved[p] = moved[p] * r + g[p] * g[p]
    for p in range(w.size):
        w[p] -= g[p]


@compiled
def _adam(
    w: Floats,
    g: Floats,
    mean: Floats,
    square: Floats,
    decay: Number,
    beta1: float,
    beta2: float,
    factor: float,
    epsilon: float,
) -> None:
    b1, b2, f, e = typed(w, beta1), typed(w, beta2), typed(w, factor), typed(w, epsilon)
    for p in range(w.size):
        g[p] += w[p] * decay
    for p in range(w.size):
        mean[p] = mean[p] * b1 + g[p]
    for p in range(w.size):
        square[p] = square[p] * b2 + g[p] * g[p]
    for p in range(w.size):
        w[p] -= mean[p] / (np.sqrt(square[p]) + e) * f

"""The operations of a program, compiled: the forward and the backward pass of one instruction each.

Values and gradients lie in two flat arrays. `v` is a layer's output, which holds its input when an operation works in
place; `d` is dL/dy before a backward pass and dL/dx after it. Loops are written for LLVM: one branch for each loop, at
most four arrays in a loop, constants of the array's dtype.
"""

import numpy as np

from engine.kernels.functions import exp, expm1, log1p, tanh
from engine.kernels.jit import Number, compiled
from engine.kernels.program import Operation
from engine.types import Floats, Integers

STEPS = 1 << 16  # as in engine.layers.dropout
_SMALL = 1_000_000  # multiply-adds up to which BLAS does not copy its operands


@compiled
def product(a: Floats, b: Floats, out: Floats) -> None:
    """Compute out = ab, a few rows at a time where that makes the products small."""
    rows, inner, columns = a.shape[0], a.shape[1], b.shape[1]
    parts = 1
    while parts < 8 and rows * inner * columns > parts * _SMALL:
        parts *= 2
    if rows * inner * columns > parts * _SMALL or rows % parts:
        parts = 1
    size = rows // parts
    for k in range(parts):
        np.dot(a[k * size : (k + 1) * size], b, out[k * size : (k + 1) * size])


@compiled
def add(a: Floats, b: Floats, out: Floats) -> None:
    """Compute out = a + b."""
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[i, j] = a[i, j] + b[i, j]


@compiled
def copy(x: Floats, y: Floats) -> None:
    """Copy an array of one dimension: a slice assignment takes longer to compile."""
    for i in range(x.size):
        y[i] = x[i]


@compiled
def sum_rows(x: Floats, out: Floats) -> None:
    """Sum the rows of x into `out (width,)`."""
    for j in range(x.shape[1]):
        out[j] = x[0, j]
    for i in range(1, x.shape[0]):
        for j in range(x.shape[1]):
            out[j] += x[i, j]


@compiled
def dense(x: Floats, y: Floats, theta: Floats) -> None:
    """Compute y = xW + b; `theta` has W, then b."""
    inputs, units = x.shape[1], y.shape[1]
    bias = theta[inputs * units :]
    product(x, theta[: inputs * units].reshape(inputs, units), y)
    for i in range(y.shape[0]):
        for j in range(units):
            y[i, j] += bias[j]


@compiled
def dense_backward(x: Floats, dy: Floats, dx: Floats, theta: Floats, grad: Floats, needed: bool) -> None:
    """Compute dW = xᵀ dy and db = Σ dy, and dx = dy Wᵀ if it is needed."""
    inputs, units = x.shape[1], dy.shape[1]
    np.dot(x.T, dy, grad[: inputs * units].reshape(inputs, units))
    sum_rows(dy, grad[inputs * units :])
    if needed:
        product(dy, theta[: inputs * units].reshape(inputs, units).T, dx)


@compiled
def activate(operation: int, v: Floats, number: float) -> None:
    """Compute v = f(v) for the elementwise activations; a NaN stays NaN."""
    zero: Number = v.dtype.type(0)
    one, a = v.dtype.type(1), v.dtype.type(number)
    if operation == Operation.RELU:
        for i in range(v.size):
            v[i] = zero if v[i] < zero else v[i]
    elif operation == Operation.LEAKY_RELU:
        for i in range(v.size):
            v[i] = v[i] * a if v[i] < zero else v[i]
    elif operation == Operation.SIGMOID:
        for i in range(v.size):
            v[i] = one / (one + exp(-v[i]))
    elif operation == Operation.TANH:
        for i in range(v.size):
            v[i] = tanh(v[i])
    elif operation == Operation.ELU:
        for i in range(v.size):
            e = expm1(zero if v[i] > zero else v[i])
            v[i] = v[i] if v[i] > zero else e * a
    elif operation == Operation.SOFTPLUS:
        for i in range(v.size):
            x = v[i]
            v[i] = (x if x > zero else zero) + log1p(exp(-abs(x)))


@compiled
def activate_backward(operation: int, v: Floats, d: Floats, number: float) -> None:
    """Multiply d by f′, which follows from the output v."""
    zero: Number = v.dtype.type(0)
    one, a = v.dtype.type(1), v.dtype.type(number)
    if operation == Operation.RELU:
        for i in range(v.size):
            d[i] = d[i] if v[i] > zero else zero
    elif operation == Operation.LEAKY_RELU:
        for i in range(v.size):
            d[i] = d[i] if v[i] > zero else d[i] * a
    elif operation == Operation.SIGMOID:
        for i in range(v.size):
            d[i] = d[i] * v[i] * (one - v[i])
    elif operation == Operation.TANH:
        for i in range(v.size):
            d[i] = d[i] * (one - v[i] * v[i])
    elif operation == Operation.ELU:
        for i in range(v.size):
            d[i] = d[i] if v[i] > zero else d[i] * (v[i] + a)
    elif operation == Operation.SOFTPLUS:
        for i in range(v.size):
            d[i] = -d[i] * expm1(-v[i])


@compiled
def softmax(v: Floats) -> None:
    """Compute v = e^v / Σ e^v for each row."""
    for i in range(v.shape[0]):
        largest = v[i, 0]
        for j in range(1, v.shape[1]):
            largest = v[i, j] if v[i, j] > largest else largest
        total = v.dtype.type(0)
        for j in range(v.shape[1]):
            v[i, j] = exp(v[i, j] - largest)
        for j in range(v.shape[1]):
            total += v[i, j]
        for j in range(v.shape[1]):
            v[i, j] /= total


@compiled
def softmax_backward(v: Floats, d: Floats) -> None:
    """Compute d = v(d − Σ dv) for each row."""
    for i in range(v.shape[0]):
        total = v.dtype.type(0)
        for j in range(v.shape[1]):
            total += d[i, j] * v[i, j]
        for j in range(v.shape[1]):
            d[i, j] = (d[i, j] - total) * v[i, j]


@compiled
def drop(v: Floats, bits: Integers, steps: int) -> None:
    """Compute v = v / (1 − p) where the random bits are at least p in steps, else 0."""
    scale, zero, least = v.dtype.type(STEPS / (STEPS - steps)), v.dtype.type(0), np.uint16(steps)
    for i in range(v.size):
        v[i] *= scale if bits[i] >= least else zero


@compiled
def leak(v: Floats, bits: Integers, low: float, step: float) -> None:
    """Compute v = v for v > 0, else v · (low + bits · step)."""
    zero, lowest, width = v.dtype.type(0), v.dtype.type(low), v.dtype.type(step)
    for i in range(v.size):
        v[i] = v[i] if v[i] > zero else v[i] * (v.dtype.type(bits[i]) * width + lowest)


@compiled
def leak_mean(v: Floats, slope: float) -> None:
    """Compute v = v for v > 0, else v · slope."""
    zero, a = v.dtype.type(0), v.dtype.type(slope)
    for i in range(v.size):
        v[i] = v[i] * a if v[i] < zero else v[i]


@compiled
def leak_backward(v: Floats, d: Floats, bits: Integers, low: float, step: float) -> None:
    """Multiply d by the slope that `leak` used."""
    zero, lowest, width = v.dtype.type(0), v.dtype.type(low), v.dtype.type(step)
    for i in range(v.size):
        d[i] = d[i] if v[i] > zero else d[i] * (v.dtype.type(bits[i]) * width + lowest)


@compiled
def prelu(x: Floats, y: Floats, slope: Floats) -> None:
    """Compute y = x for x > 0, else ax."""
    zero = x.dtype.type(0)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = x[i, j] if x[i, j] > zero else x[i, j] * slope[j]


@compiled
def prelu_backward(x: Floats, dy: Floats, slope: Floats, grad: Floats) -> None:
    """Compute da = Σ dy·min(x, 0), and dx in place of dy."""
    zero = x.dtype.type(0)
    for j in range(x.shape[1]):
        grad[j] = zero
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            grad[j] += zero if x[i, j] > zero else dy[i, j] * x[i, j]
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            dy[i, j] = dy[i, j] if x[i, j] > zero else dy[i, j] * slope[j]


@compiled
def maxout(z: Floats, y: Floats, pieces: int) -> None:
    """Compute the largest of the pieces, `z (rows, pieces · units)`."""
    units = y.shape[1]
    for i in range(y.shape[0]):
        for j in range(units):
            y[i, j] = z[i, j]
        for k in range(1, pieces):
            piece = z[i, k * units : (k + 1) * units]
            for j in range(units):
                larger = piece[j] > y[i, j] or piece[j] != piece[j]  # a NaN stays NaN
                y[i, j] = piece[j] if larger else y[i, j]


@compiled
def maxout_backward(z: Floats, y: Floats, dz: Floats, dy: Floats, pieces: int) -> None:
    """Give dy to the first of the largest pieces; dy is overwritten."""
    units, zero = y.shape[1], y.dtype.type(0)
    for i in range(y.shape[0]):
        for k in range(pieces):
            piece, grad, last = z[i, k * units : (k + 1) * units], dz[i, k * units : (k + 1) * units], k == pieces - 1
            for j in range(units):
                grad[j] = dy[i, j] if last or piece[j] == y[i, j] else zero
            for j in range(units):
                dy[i, j] -= grad[j]


@compiled
def batch_norm(x: Floats, y: Floats, own: Floats, theta: Floats, momentum: float, epsilon: float) -> None:
    """Standardize each column over the rows, then scale and shift it; update the running statistics.

    Args:
        own: memory for x − μ, then for 1/√(σ² + ε) and the variance.
        theta: γ, β, running mean, running variance.
    """
    rows, width = x.shape
    one, share = x.dtype.type(1), x.dtype.type(1 / rows)
    centered = own[: rows * width].reshape(rows, width)
    inverse, mean = own[rows * width : (rows + 1) * width], own[(rows + 1) * width : (rows + 2) * width]
    gamma, beta, running_mean, running_variance = theta.reshape(4, width)
    keep, part = x.dtype.type(1 - momentum), x.dtype.type(momentum)
    part_unbiased, eps = x.dtype.type(momentum * rows / (rows - 1)), x.dtype.type(epsilon)
    sum_rows(x, mean)
    for j in range(width):
        mean[j] *= share
        running_mean[j] = running_mean[j] * keep + mean[j] * part
    for j in range(width):
        inverse[j] = x.dtype.type(0)
    for i in range(rows):
        for j in range(width):
            centered[i, j] = x[i, j] - mean[j]
        for j in range(width):
            inverse[j] += centered[i, j] * centered[i, j]
    for j in range(width):
        inverse[j] *= share
        running_variance[j] = running_variance[j] * keep + inverse[j] * part_unbiased
    for j in range(width):
        inverse[j] = one / np.sqrt(inverse[j] + eps)
        mean[j] = gamma[j] * inverse[j]
    for i in range(rows):
        for j in range(width):
            y[i, j] = centered[i, j] * mean[j] + beta[j]


@compiled
def batch_norm_backward(own: Floats, dy: Floats, theta: Floats, grad: Floats) -> None:
    """Compute dγ and dβ, and dx in place of dy; `own` and `theta` as in `batch_norm`."""
    rows, width = dy.shape
    share = dy.dtype.type(1 / rows)
    centered = own[: rows * width].reshape(rows, width)
    inverse, scale = own[rows * width : (rows + 1) * width], own[(rows + 1) * width : (rows + 2) * width]
    grad_gamma, grad_beta = grad[:width], grad[width : 2 * width]
    gamma = theta[:width]
    sum_rows(dy, grad_beta)  # dβ = Σ dy
    for j in range(width):
        grad_gamma[j] = dy.dtype.type(0)
    for i in range(rows):
        for j in range(width):
            grad_gamma[j] += dy[i, j] * centered[i, j]
    for j in range(width):
        grad_gamma[j] *= inverse[j]  # dγ = Σ dy·x̂
        scale[j] = grad_gamma[j] * inverse[j] * share
    for i in range(rows):  # dx = γ/√(σ² + ε) · (dy − dβ/n − x̂·dγ/n)
        for j in range(width):
            dy[i, j] -= centered[i, j] * scale[j]
        for j in range(width):
            dy[i, j] -= grad_beta[j] * share
        for j in range(width):
            dy[i, j] *= gamma[j] * inverse[j]


@compiled
def batch_norm_inference(x: Floats, y: Floats, own: Floats, theta: Floats, epsilon: float) -> None:
    """Standardize with the running statistics."""
    width, eps = x.shape[1], x.dtype.type(epsilon)
    gamma, beta, mean, variance = theta.reshape(4, width)
    scale = own[:width]
    for j in range(width):
        scale[j] = gamma[j] / np.sqrt(variance[j] + eps)
    for i in range(x.shape[0]):
        for j in range(width):
            y[i, j] = (x[i, j] - mean[j]) * scale[j] + beta[j]

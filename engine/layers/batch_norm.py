"""Batch normalization: each feature or channel is standardized over the batch, then scaled and shifted."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import ClassVar, final

import numpy as np

from engine.initializers import Zero
from engine.kernels.program import Program, Tensor
from engine.layers.base import Bound, Layer, Parameter, Place
from engine.types import EngineError, Floats, Shape


@final
@dataclass(frozen=True)
class BatchNorm(Layer):
    """y = γ(x − μ)/√(σ² + ε) + β, by feature, or by channel of images. Ioffe and Szegedy 2015, algorithms 1 and 2.

    In training, μ and σ² are those of the batch. At inference they are running statistics, stored in theta and updated
    in each training step: running ← (1 − momentum)·running + momentum·batch, with the unbiased variance of the batch,
    as in PyTorch. γ and β are not regularized. The layer may come before or after an activation.

    Attributes:
        momentum: weight of the batch in the running statistics.
        epsilon: ε, added to the variance.

    Raises:
        EngineError: a momentum outside (0, 1], epsilon not above 0, rows that are neither features nor images.
    """

    least_rows: ClassVar[int] = 2
    momentum: float = 0.1
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        if not 0 < self.momentum <= 1:
            raise EngineError(f"batch_norm: momentum must be above 0 and at most 1, got {self.momentum}")
        if not self.epsilon > 0:
            raise EngineError(f"batch_norm: epsilon must be above 0, got {self.epsilon}")

    def outputs(self, inputs: Shape) -> Shape:
        check_shape("batch_norm", inputs)
        return inputs

    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        shape = inputs[:1]
        return (
            Parameter("gamma", shape, ones, regularized=False),
            Parameter("beta", shape, Zero(), regularized=False),
            Parameter("mean", shape, Zero(), regularized=False, learned=False),
            Parameter("variance", shape, ones, regularized=False, learned=False),
        )

    def bind(self, place: Place) -> Bound:
        return self._bind_training(place) if place.training else self._bind_inference(place)

    def compile(self, program: Program, x: Tensor) -> Tensor:
        return program.batch_norm(x, self.momentum, self.epsilon)

    def _bind_inference(self, place: Place) -> Bound:
        gamma, beta, mean, variance = (across(place.theta[name], place) for name in STATISTICS)
        scale, epsilon = np.empty_like(gamma), self.epsilon
        y = place.empty(place.inputs)
        flat = by_channel(y)

        def forward(x: Floats) -> Floats:
            np.add(variance, epsilon, scale)
            np.sqrt(scale, scale)
            np.divide(gamma, scale, scale)
            np.subtract(by_channel(x), mean, flat)
            np.multiply(flat, scale, flat)
            np.add(flat, beta, flat)
            return y

        return Bound(forward, lambda dy: dy)

    def _bind_training(self, place: Place) -> Bound:
        trials, channels, first, epsilon = place.trials, place.inputs[0], place.first, self.epsilon
        count = place.rows * prod(place.inputs[1:])  # numbers in a mean
        average, total = sums(place, 1 / count), sums(place, 1)
        batch = np.empty((trials, 2, channels), place.dtype)  # mean and variance are adjacent, as in theta
        means, variances = batch[:, 0], batch[:, 1]
        running = place.all_theta[:, 2 * channels :].reshape(batch.shape)
        keep, update = 1 - self.momentum, np.empty_like(batch)
        share = np.empty_like(batch[:1, :, :1])
        share[:, 0], share[:, 1] = self.momentum, self.momentum * count / (count - 1)
        gamma, beta = (across(place.theta[name], place) for name in STATISTICS[:2])
        grad_gamma, grad_beta = place.grad["gamma"], place.grad["beta"]
        inverse, mean_dy, slope = np.empty_like(means), np.empty_like(means), np.empty_like(means)
        mean, deviation, dy_mean, dy_slope = (across(a, place) for a in (means, inverse, mean_dy, slope))
        scale = np.empty_like(deviation)
        centered, y = by_channel(place.empty(place.inputs)), place.empty(place.inputs)
        flat = by_channel(y)

        def forward(x: Floats) -> Floats:
            x = by_channel(x)
            average(x, means)
            np.subtract(x, mean, centered)
            np.multiply(centered, centered, flat)
            average(flat, variances)
            np.multiply(running, keep, running)
            np.multiply(batch, share, update)
            np.add(running, update, running)
            np.add(variances, epsilon, inverse)
            np.sqrt(inverse, inverse)
            np.reciprocal(inverse, inverse)  # 1/√(σ² + ε)
            np.multiply(gamma, deviation, scale)
            np.multiply(centered, scale, flat)
            np.add(flat, beta, flat)
            return y

        def backward(dy: Floats) -> Floats:
            shape, dy = dy.shape, by_channel(dy)
            np.multiply(dy, centered, flat)  # reuses the memory of y
            total(flat, grad_gamma)
            np.multiply(grad_gamma, inverse, grad_gamma)  # dγ = Σ dy·x̂, with x̂ = (x − μ)/√(σ² + ε)
            total(dy, grad_beta)  # dβ = Σ dy
            if not first:  # dx = γ/√(σ² + ε) · (dy − dβ/n − x̂·dγ/n)
                np.multiply(grad_beta, 1 / count, mean_dy)
                np.multiply(grad_gamma, inverse, slope)
                np.multiply(slope, 1 / count, slope)
                np.multiply(centered, dy_slope, flat)
                np.subtract(dy, flat, dy)
                np.subtract(dy, dy_mean, dy)
                np.multiply(dy, scale, dy)
            return by_row(dy, shape)

        return Bound(forward, backward)


STATISTICS = ("gamma", "beta", "mean", "variance")


def ones(generator: np.random.Generator, shape: Shape, fan_in: int, fan_out: int) -> Floats:
    """Return ones, as an initializer."""
    return np.ones(shape)


def check_shape(name: str, inputs: Shape) -> None:
    """Check that rows are features or images.

    Raises:
        EngineError: they are neither; the message names the layer.
    """
    if len(inputs) not in (1, 3):
        raise EngineError(f"{name}: rows must be (features,) or (channels, height, width), got {inputs}")


def by_channel(x: Floats) -> Floats:
    """Return images as `(trials, channels, height·width·rows)`, a view of a Place's memory; features unchanged."""
    if x.ndim == 3:
        return x
    return x.transpose(0, 2, 3, 4, 1).reshape(x.shape[0], x.shape[2], -1)


def by_row(flat: Floats, shape: Shape) -> Floats:
    """Return the output of `by_channel` in the original `shape (trials, rows, …)`."""
    if len(shape) == 3:
        return flat
    trials, rows, *image = shape
    return flat.reshape(trials, *image, rows).transpose(0, 4, 1, 2, 3)


def across(values: Floats, place: Place) -> Floats:
    """Return a view of `values (trials, channels)` that broadcasts over the output of `by_channel`."""
    return values[:, None] if len(place.inputs) == 1 else values[:, :, None]


def sums(place: Place, weight: float) -> Callable[[Floats, Floats], Floats]:
    """Return a function (output of `by_channel`, out) → out: weighted sums `(trials, channels)`, by BLAS per trial."""
    weights = np.ones(place.rows * prod(place.inputs[1:]), place.dtype) * place.dtype.type(weight)
    if len(place.inputs) == 1:
        return lambda x, out: np.matmul(weights, x, out)
    return lambda x, out: np.matmul(x, weights, out)

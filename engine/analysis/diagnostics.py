"""Diagnostics of a network: weight statistics, histograms of activations and gradients."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import final

import numpy as np

from engine.data.rows import Rows
from engine.layers.chain import Slice
from engine.network import Network
from engine.training.gradient import bind_gradient
from engine.training.hyperparameters import Hyperparameters
from engine.training.trainer import check_fit, check_rows
from engine.types import EngineError, Floats, Integers

LITTLE, ZERO = 0.01, 1e-4
LARGEST = 1e300  # larger numbers count as not finite, so that the width of a range does not overflow
Range = tuple[float, float]


@final
@dataclass(frozen=True, eq=False)
class LayerWeights:
    """Weight statistics of one layer.

    Attributes:
        layer: number of the layer, from 1.
        total: `(trials,)`, Σ|W|, float64.
        count: number of weights.
        little: `(trials,)`, number of weights with |w| ≤ 0.01.
        zero: `(trials,)`, number of weights with |w| ≤ 1e-4, which are also counted in `little`.
    """

    layer: int
    total: Floats
    count: int
    little: Integers
    zero: Integers


@final
@dataclass(frozen=True, eq=False)
class WeightStatistics:
    """Weight statistics of each layer and of the network, without biases and running statistics.

    Raises:
        EngineError: no layer has weights.
    """

    layers: tuple[LayerWeights, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise EngineError("weight statistics need a network with weights")

    @property
    def total(self) -> Floats:
        """Σ|W|, `(trials,)`, float64."""
        total: Floats = np.sum([layer.total for layer in self.layers], axis=0)
        return total

    @property
    def count(self) -> int:
        """Number of weights."""
        return sum(layer.count for layer in self.layers)

    @property
    def little(self) -> Integers:
        """Number of weights with |w| ≤ 0.01, `(trials,)`."""
        little: Integers = np.sum([layer.little for layer in self.layers], axis=0)
        return little

    @property
    def zero(self) -> Integers:
        """Number of weights with |w| ≤ 1e-4, `(trials,)`."""
        zero: Integers = np.sum([layer.zero for layer in self.layers], axis=0)
        return zero


def weight_statistics(network: Network, theta: Floats) -> WeightStatistics:
    """Return sums and counts over the weights, the regularized parameters.

    Args:
        theta: `(trials, parameters)`.

    Raises:
        EngineError: the network has no weights, or the shape of theta does not match.
    """
    _check_theta(network, theta)
    layers = []
    for number in sorted({s.layer for s in network.slices if s.parameter.regularized}):
        columns = _columns([s for s in network.slices if s.layer == number and s.parameter.regularized])
        sizes = np.abs(theta[:, columns])
        layers.append(
            LayerWeights(
                layer=number + 1,
                # Trial by trial, so that the bits do not depend on the number of trials.
                total=np.array([row.sum(dtype=np.float64) for row in sizes]),
                count=len(columns),
                little=np.count_nonzero(sizes <= LITTLE, axis=1),
                zero=np.count_nonzero(sizes <= ZERO, axis=1),
            )
        )
    return WeightStatistics(tuple(layers))


@final
@dataclass(frozen=True, eq=False)
class Histogram:
    """A histogram of the numbers of one layer; numbers that are not finite count only in `numbers`.

    Attributes:
        layer: number of the layer, from 1.
        numbers: count of all numbers of a trial.
        counts: `(trials, bins)`; without limits, every finite number is in a bin.
        edges: `(trials, bins + 1)`, float64; the last bin includes both of its edges.
        mean, deviation: `(trials,)`, float64, of the finite numbers; NaN without finite numbers.
        tails: `(trials, 2)`, the shares of all numbers in the first and the last bin; None without limits.
    """

    layer: int
    numbers: int
    counts: Integers
    edges: Floats
    mean: Floats
    deviation: Floats
    tails: Floats | None


@final
@dataclass(frozen=True, eq=False)
class Histograms:
    """Histograms of one batch.

    Attributes:
        activations: the outputs of each layer.
        gradients: dL/dparameters of each layer with learned parameters, weights and biases together.
    """

    activations: tuple[Histogram, ...]
    gradients: tuple[Histogram, ...]


def histograms(
    network: Network,
    theta: Floats,
    rows: Rows,
    trial: Hyperparameters | None = None,
    bins: int = 25,
    limits: Range | None = None,
    training: bool = True,
    seed: int = 0,
) -> Histograms:
    """Return histograms of activations and gradients per layer, which show vanishing, exploding or saturation.

    Gradients are those of training, with the regularizers and before clipping.

    Args:
        theta: `(trials, parameters)`; not changed, including running statistics.
        rows: one batch, the same for all trials.
        trial: hyperparameters whose regularizers and label smoothing are part of the gradient; None for neither.
        bins: number of bins of equal width.
        limits: range of the bins of activations, such as (0, 1) for sigmoids; None for the range of each layer and
            trial, which the bins of gradients always have.
        training: activations of training, else of inference.
        seed: seed of the layers' random draws, the same for all trials.

    Raises:
        EngineError: rows that do not fit the network, a batch too small for batch norm, bins below 1, or limits that
            are not two increasing finite numbers.
    """
    if bins < 1:
        raise EngineError(f"histograms: bins must be at least 1, got {bins}")
    if limits is not None and not -inf < limits[0] < limits[1] < inf:
        raise EngineError(f"histograms: limits must be finite and increase, got {limits}")
    _check_theta(network, theta)
    check_rows(network, rows, theta)
    trial = replace(trial or Hyperparameters(), batch_size=len(rows), clip=None)
    check_fit(network, trial, len(rows))
    with np.errstate(all="ignore"):
        return Histograms(
            _activations(network, theta, rows, bins, limits, training, seed),
            _gradients(network, theta, rows, trial, bins, seed),
        )


def _activations(
    network: Network, theta: Floats, rows: Rows, bins: int, limits: Range | None, training: bool, seed: int
) -> tuple[Histogram, ...]:
    theta, grad = theta.copy(), np.empty_like(theta) if training else None
    x = np.repeat(rows.x[None], len(theta), axis=0)
    result = []
    for number, layer in enumerate(network.bind(theta, grad, len(rows), _generators(theta, seed)), 1):
        x = layer.forward(x)
        result.append(_histogram(number, x.reshape(len(theta), -1), bins, limits))  # the next layer may overwrite x
    return tuple(result)


def _gradients(
    network: Network, theta: Floats, rows: Rows, trial: Hyperparameters, bins: int, seed: int
) -> tuple[Histogram, ...]:
    count, theta = len(theta), theta.copy()
    grad, scratch = np.empty_like(theta), np.empty_like(theta)
    gradient = bind_gradient(
        [network] * count, [trial] * count, _generators(theta, seed), theta, grad, scratch, len(rows)
    )
    x, y = (np.repeat(a[None], count, axis=0) for a in (rows.x, rows.y))
    gradient(x, y, np.empty((count, len(rows), network.outputs), theta.dtype))
    learned = [s for s in network.slices if s.parameter.learned]
    return tuple(
        _histogram(number + 1, grad[:, _columns([s for s in learned if s.layer == number])], bins, None)
        for number in sorted({s.layer for s in learned})
    )


def _generators(theta: Floats, seed: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for _ in theta]


def _histogram(layer: int, values: Floats, bins: int, limits: Range | None) -> Histogram:
    """Return the histogram of `values (trials, numbers)`."""
    counts, edges, means, deviations = [], [], [], []
    for row in values:
        finite = row[np.abs(row) <= LARGEST].astype(np.float64)
        row_counts, row_edges = np.histogram(finite, bins, limits or _range(finite, bins))
        counts.append(row_counts)
        edges.append(row_edges)
        means.append(finite.mean() if len(finite) else np.nan)
        deviations.append(finite.std() if len(finite) else np.nan)
    table = np.array(counts)
    tails = None if limits is None else table[:, [0, -1]] / values.shape[1]
    return Histogram(layer, values.shape[1], table, np.array(edges), np.array(means), np.array(deviations), tails)


def _range(values: Floats, bins: int) -> Range:
    """Return the range of the values, widened if the bins would have no width."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if high - low > 4 * bins * np.spacing(max(abs(low), abs(high))):
        return low, high
    apart = max(0.5, abs(high) * 1e-6 * bins)
    return low - apart, high + apart


def _check_theta(network: Network, theta: Floats) -> None:
    if theta.ndim != 2 or theta.shape[1] != network.size:
        raise EngineError(f"theta must be (trials, {network.size} parameters), got {theta.shape}")


def _columns(slices: Sequence[Slice]) -> Integers:
    """Return the column indices of slices in theta."""
    return np.concatenate([np.arange(s.start, s.stop) for s in slices])

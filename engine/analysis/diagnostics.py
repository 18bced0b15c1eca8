"""Diagnostics of a network: weight statistics, histograms of activations and gradients, bias and variance."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
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
HIGH = 0.03  # between the 1 % that is fine in Ng's examples and the 10 % that is not, by ratio
LARGEST = 1e300  # what is beyond counts as not finite, so that a range has a width
Range = tuple[float, float]


@final
@dataclass(frozen=True, eq=False)
class LayerWeights:
    """The weights of one layer, `(trials,)` each but for the count.

    Attributes:
        layer: counted from 1.
        total: Σ|W|, float64.
        count: how many weights it has.
        little: how many are |w| ≤ 0.01.
        zero: how many are |w| ≤ 1e-4; they are little too.
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
        EngineError: no layers.
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
        """The number of weights."""
        return sum(layer.count for layer in self.layers)

    @property
    def little(self) -> Integers:
        """The number of weights |w| ≤ 0.01, `(trials,)`."""
        little: Integers = np.sum([layer.little for layer in self.layers], axis=0)
        return little

    @property
    def zero(self) -> Integers:
        """The number of weights |w| ≤ 1e-4, `(trials,)`."""
        zero: Integers = np.sum([layer.zero for layer in self.layers], axis=0)
        return zero


def weight_statistics(network: Network, theta: Floats) -> WeightStatistics:
    """Sums and counts over the weights, which are what is regularized.

    Args:
        theta: `(trials, parameters)`.

    Raises:
        EngineError: the network has no weights, or theta is another network's.
    """
    _check_theta(network, theta)
    layers = []
    for number in sorted({s.layer for s in network.slices if s.parameter.regularized}):
        columns = _columns([s for s in network.slices if s.layer == number and s.parameter.regularized])
        sizes = np.abs(theta[:, columns])
        layers.append(
            LayerWeights(
                layer=number + 1,
                total=np.array(
                    [row.sum(dtype=np.float64) for row in sizes]
                ),  # trained alone or together, the same bits
                count=len(columns),
                little=np.count_nonzero(sizes <= LITTLE, axis=1),
                zero=np.count_nonzero(sizes <= ZERO, axis=1),
            )
        )
    return WeightStatistics(tuple(layers))


@final
@dataclass(frozen=True, eq=False)
class Histogram:
    """A histogram of the numbers of one layer. Values that are not finite count in `numbers` only.

    Attributes:
        layer: counted from 1.
        numbers: how many there are in a trial, counted or not.
        counts: `(trials, bins)`; without a range that was given, all finite numbers lie within.
        edges: `(trials, bins + 1)`, float64, the last bin with both of its edges.
        mean, deviation: `(trials,)`, float64, of the finite numbers; NaN where there are none.
        tails: `(trials, 2)`, the shares of all numbers that lie in the first and the last bin; None without a range.
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
        activations: what each layer put out.
        gradients: dL/dparameters of each layer that learns, weights and biases together.
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
    """Return activations and gradients layer by layer: they show what vanishes, explodes or saturates.

    Gradients are those of training, with the regularizers and before clipping.

    Args:
        theta: `(trials, parameters)`; left alone, running statistics included.
        rows: one batch, the same for all trials.
        trial: of which regularizers and label smoothing are part of the gradient; None for neither.
        bins: of equal width.
        limits: of the bins of activations, (0, 1) for a sigmoid's; None for each layer's and trial's own.
            Gradients have their own always.
        training: activations as they are in training, else at inference.
        seed: of the layers' random draws, the same in every trial.

    Raises:
        EngineError: rows that do not fit the network, batches too small for batch norm, bins below 1, limits that are
            not two finite numbers in their order.
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
    found = []
    for number, layer in enumerate(network.bind(theta, grad, len(rows), _generators(theta, seed)), 1):
        x = layer.forward(x)  # read at once: the next layer may overwrite it
        found.append(_histogram(number, x.reshape(len(theta), -1), bins, limits))
    return tuple(found)


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
        kept = row[np.abs(row) <= LARGEST].astype(np.float64)
        found = np.histogram(kept, bins, limits or _range(kept, bins))
        counts.append(found[0])
        edges.append(found[1])
        means.append(kept.mean() if len(kept) else np.nan)
        deviations.append(kept.std() if len(kept) else np.nan)
    table = np.array(counts)
    tails = None if limits is None else table[:, [0, -1]] / values.shape[1]
    return Histogram(layer, values.shape[1], table, np.array(edges), np.array(means), np.array(deviations), tails)


def _range(values: Floats, bins: int) -> Range:
    """From the least to the greatest, moved apart where bins would have no width."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if high - low > 4 * bins * np.spacing(max(abs(low), abs(high))):
        return low, high
    apart = max(0.5, abs(high) * 1e-6 * bins)
    return low - apart, high + apart


@final
@dataclass(frozen=True)
class Diagnosis:
    """Bias and variance of a network, from its errors. Ng 2018, "Machine Learning Yearning", chapters 20 to 23.

    Attributes:
        train_error, val_error: shares: 1 − accuracy, or 1 − R² of a regression.
        base_error: what cannot be helped: that of people, or of the best possible.
        high: a bias or a variance above it is high.

    Raises:
        EngineError: an error below 0 or not finite, `high` not above 0.
    """

    train_error: float
    val_error: float
    base_error: float = 0.0
    high: float = HIGH

    def __post_init__(self) -> None:
        for name in ("train_error", "val_error", "base_error"):
            value = getattr(self, name)
            if not (isfinite(value) and value >= 0):
                raise EngineError(f"diagnosis: {name} must be at least 0 and finite, got {value}")
        if not self.high > 0:
            raise EngineError(f"diagnosis: high must be above 0, got {self.high}")

    @property
    def bias(self) -> float:
        """The avoidable part of the train error; negative where the network overfits the training rows."""
        return self.train_error - self.base_error

    @property
    def variance(self) -> float:
        """By how much the val error exceeds the train error."""
        return self.val_error - self.train_error

    @property
    def high_bias(self) -> bool:
        """True if the network underfits the training rows."""
        return self.bias > self.high

    @property
    def high_variance(self) -> bool:
        """True if the network does not generalize."""
        return self.variance > self.high

    @property
    def verdict(self) -> str:
        """ "high bias", "high variance", both or neither, in words."""
        found = [("high bias", self.high_bias), ("high variance", self.high_variance)]
        return " and ".join(name for name, is_high in found if is_high) or "neither high bias nor high variance"

    @property
    def advice(self) -> tuple[str, ...]:
        """Remedies to try, in order."""
        against_bias = ("a bigger net", "longer training") if self.high_bias else ()
        against_variance = ("more data", "regularization") if self.high_variance else ()
        advice = (*against_bias, *against_variance)
        return (*advice, "another architecture") if advice else ()

    def __str__(self) -> str:
        found = f"{self.verdict}: train error {self.train_error:.1%}, val error {self.val_error:.1%}"
        if self.base_error:
            found += f", of which {self.base_error:.1%} cannot be helped"
        return f"{found}; try {', '.join(self.advice)}" if self.advice else found


def diagnose(train_error: float, val_error: float, base_error: float = 0.0, high: float = HIGH) -> Diagnosis:
    """Bias and variance of a net, and what helps against them.

    Args:
        train_error, val_error, base_error, high: as a `Diagnosis` has them.

    Raises:
        EngineError: an error below 0 or not finite, `high` not above 0.
    """
    return Diagnosis(float(train_error), float(val_error), float(base_error), high)


def _check_theta(network: Network, theta: Floats) -> None:
    if theta.ndim != 2 or theta.shape[1] != network.size:
        raise EngineError(f"theta must be (trials, {network.size} parameters), got {theta.shape}")


def _columns(slices: Sequence[Slice]) -> Integers:
    """Their numbers in a row of theta."""
    return np.concatenate([np.arange(s.start, s.stop) for s in slices])

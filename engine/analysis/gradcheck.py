"""Gradient check: backpropagation compared with central differences, in float64."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from engine.data.rows import Rows
from engine.layers.chain import Slice
from engine.network import Network
from engine.training.gradient import bind_gradient
from engine.training.hyperparameters import Hyperparameters
from engine.types import Booleans, EngineError, Floats, Integers

GOOD, WRONG = 1e-7, 1e-3
LITTLE = 1e-3
CHUNK = 256  # parameters whose perturbed copies are evaluated together
COPIES = 1 << 24  # numbers of all copies


@final
@dataclass(frozen=True, eq=False)
class ParameterCheck:
    """The check of one parameter array.

    The denominator of the ratio is at least a thousandth of that of the whole gradient, because the differences of a
    parameter without influence, such as a bias before batch norm, are only rounding error.

    Attributes:
        layer: number of the layer, from 1.
        name: name of the parameter.
        ratio: ‖a−b‖ / (‖a‖+‖b‖) of analytic and numeric gradient, `(trials,)`.
    """

    layer: int
    name: str
    ratio: Floats


@final
@dataclass(frozen=True, eq=False)
class GradientCheck:
    """The result of a gradient check: a ratio up to 1e-7 is good, about 1e-5 suspicious, from 1e-3 wrong.

    Attributes:
        ratio: ‖a−b‖ / (‖a‖+‖b‖) over all parameters, `(trials,)`; 0 if both are 0.
        parameters: the check of each parameter array.
    """

    ratio: Floats
    parameters: tuple[ParameterCheck, ...]

    @property
    def worst(self) -> ParameterCheck:
        """The parameter with the largest ratio in any trial; NaN is larger than all numbers."""
        return max(self.parameters, key=lambda p: _largest(p.ratio))

    @property
    def good(self) -> bool:
        """True if every parameter's ratio is at most 1e-7 in every trial."""
        return _largest(self.worst.ratio) <= GOOD

    def __str__(self) -> str:
        ratio = _largest(self.worst.ratio)
        verdict = "good" if ratio <= GOOD else "suspicious" if ratio < WRONG else "wrong"
        return f"gradient {verdict}: {ratio:.1e}, largest in layer {self.worst.layer}, {self.worst.name}"


def check_gradient(
    network: Network,
    theta: Floats,
    rows: Rows,
    trial: Hyperparameters | None = None,
    step: float = 1e-5,
    most: int | None = None,
) -> GradientCheck:
    """Compare the trainer's gradient of the mean loss and the regularizers with (J(w+h) − J(w−h)) / 2h.

    Random draws of layers (dropout) are the same on both sides, batch norm uses the statistics of the batch, and
    running statistics are excluded. Across a kink (ReLU at 0) the two differ legitimately, so choose rows whose
    activations are not near one.

    Args:
        theta: `(trials, parameters)`, float64.
        rows: one batch, the same for all trials, float64.
        trial: hyperparameters whose regularizers and label smoothing are part of J; clipping is ignored.
        step: h.
        most: check about this many parameters, evenly spaced in each array; None for all.

    Raises:
        EngineError: the network has no learned parameters, or an array is not float64.
    """
    trial = replace(trial or Hyperparameters(), clip=None)
    dtypes = {theta.dtype, rows.x.dtype, rows.y.dtype}
    if dtypes != {np.dtype(np.float64)}:
        raise EngineError(f"a gradient check needs float64, got {', '.join(sorted(map(str, dtypes)))}")
    if not network.learned.any():
        raise EngineError("a gradient check needs a network with parameters")
    checked = _checked_parameters(network, most)
    analytic = np.where(checked, _gradient(network, theta, rows, trial)[0], 0)
    numeric = np.stack([_numeric(network, row, rows, trial, step, checked) for row in theta])
    learned = [s for s in network.slices if s.parameter.learned]
    least = LITTLE * _size(analytic, numeric)
    return GradientCheck(
        ratio=_ratio(analytic, numeric),
        parameters=tuple(
            ParameterCheck(s.layer + 1, s.parameter.name, _ratio(_part(analytic, s), _part(numeric, s), least))
            for s in learned
        ),
    )


def _gradient(network: Network, theta: Floats, rows: Rows, trial: Hyperparameters) -> tuple[Floats, Floats]:
    """Return the trainer's gradient, `(trials, parameters)`, and its logits; theta is not changed."""
    count, theta = len(theta), theta.copy()
    grad = np.empty_like(theta)
    logits = np.empty((count, len(rows), network.outputs))
    generators = [np.random.default_rng(0) for _ in range(count)]
    scratch = np.empty_like(theta)
    gradient = bind_gradient([network] * count, [trial] * count, generators, theta, grad, scratch, len(rows))
    x, y = (np.repeat(a[None], count, axis=0) for a in (rows.x, rows.y))
    with np.errstate(all="ignore"):
        gradient(x, y, logits)
    return grad, logits


def _checked_parameters(network: Network, most: int | None) -> Booleans:
    """Return the mask of the parameters that are checked, `(parameters,)`: at least one of each learned array."""
    checked = network.learned.copy()
    total = int(checked.sum())
    if most is None or total <= most:
        return checked
    checked[:] = False
    for s in network.slices:
        if s.parameter.learned and s.stop > s.start:
            count = max(1, round(most * (s.stop - s.start) / total))
            checked[np.linspace(s.start, s.stop - 1, count).round().astype(np.intp)] = True
    return checked


def _numeric(
    network: Network, row: Floats, rows: Rows, trial: Hyperparameters, step: float, checked: Booleans
) -> Floats:
    """Return the numeric gradient of one trial, `(parameters,)`, 0 for parameters that are not checked."""
    numeric = np.zeros_like(row)
    for numbers in _chunks(np.flatnonzero(checked), max(1, min(CHUNK, COPIES // (2 * len(row))))):
        nudged = np.repeat(row[None], 2 * len(numbers), axis=0)
        nudged[range(len(numbers)), numbers] += step
        nudged[range(len(numbers), len(nudged)), numbers] -= step
        costs = _costs(network, nudged, rows, trial).reshape(2, -1)
        numeric[numbers] = (costs[0] - costs[1]) / (2 * step)
    return numeric


def _costs(network: Network, theta: Floats, rows: Rows, trial: Hyperparameters) -> Floats:
    """Return J = mean loss + λ/2 · Σw² + λ₁ · Σ|w|, `(trials,)`, for the logits of training."""
    logits = _gradient(network, theta, rows, trial)[1]
    classes, smoothing = max(network.outputs, 2), trial.label_smoothing
    targets = rows.y * (1 - smoothing) + smoothing / classes if smoothing else rows.y
    losses = network.loss.values(logits, targets[None])
    weights = theta[:, network.regularized]
    penalty = trial.l2 / 2 * np.square(weights).sum(axis=1) + trial.l1 * np.abs(weights).sum(axis=1)
    costs: Floats = losses.mean(axis=1) + penalty / (len(rows) if trial.divide_by_batch else 1)
    return costs


def _chunks(numbers: Integers, count: int) -> Iterator[Integers]:
    for start in range(0, len(numbers), count):
        yield numbers[start : start + count]


def _part(matrix: Floats, s: Slice) -> Floats:
    return matrix[:, s.start : s.stop]


def _ratio(a: Floats, b: Floats, least: Floats | float = 0.0) -> Floats:
    """Return ‖a−b‖ / max(‖a‖+‖b‖, least), `(trials,)`, of matrices `(trials, parameters)`."""
    size = np.maximum(_size(a, b), least)
    ratio: Floats = np.linalg.norm(a - b, axis=1) / np.where(size > 0, size, 1)
    return ratio


def _size(a: Floats, b: Floats) -> Floats:
    size: Floats = np.linalg.norm(a, axis=1) + np.linalg.norm(b, axis=1)
    return size


def _largest(ratios: Floats) -> float:
    return float(np.nan_to_num(ratios, nan=np.inf).max())

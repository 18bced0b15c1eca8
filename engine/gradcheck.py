"""Gradient check: what backpropagation says against central differences, in float64."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from engine.data import Rows
from engine.gradient import bind_gradient
from engine.network import Network, Slice
from engine.types import EngineError, Floats

GOOD, WRONG = 1e-7, 1e-3
CHUNK = 256  # nudged copies of a trial that go forwards together


@final
@dataclass(frozen=True, eq=False)
class ParameterCheck:
    """‖a−b‖ / (‖a‖+‖b‖) over one parameter of a layer, `ratio (trials,)`; layers count from 1."""

    layer: int
    name: str
    ratio: Floats


@final
@dataclass(frozen=True, eq=False)
class GradientCheck:
    """At most 1e-7 is good, about 1e-5 suspicious, 1e-3 and more wrong.

    Attributes:
        ratio: ‖a−b‖ / (‖a‖+‖b‖) over all parameters, `(trials,)`; 0 when both are 0.
        parameters: the same for each.
    """

    ratio: Floats
    parameters: tuple[ParameterCheck, ...]

    @property
    def worst(self) -> ParameterCheck:
        """The parameter with the largest ratio in any trial; one that is not a number is larger than all."""
        return max(self.parameters, key=lambda p: _largest(p.ratio))

    @property
    def good(self) -> bool:
        """Whether every parameter's ratio is at most 1e-7 in every trial."""
        return _largest(self.worst.ratio) <= GOOD

    def __str__(self) -> str:
        ratio = _largest(self.worst.ratio)
        verdict = "good" if ratio <= GOOD else "suspicious" if ratio < WRONG else "wrong"
        return f"gradient {verdict}: {ratio:.1e}, largest in layer {self.worst.layer}, {self.worst.name}"


def check_gradient(network: Network, theta: Floats, rows: Rows, l2: float = 0.0, step: float = 1e-5) -> GradientCheck:
    """Compares the trainer's gradient of the mean loss and the regularizer with (J(w+h) − J(w−h)) / 2h.

    Differences across a kink (ReLU at 0) differ rightly: take rows whose activations stay away from it.

    Args:
        theta: `(trials, parameters)`, float64.
        rows: one batch, the same for all trials, float64.
        l2: λ, for λ/2 · Σw² over the weights.
        step: h.

    Raises:
        EngineError: the network has nothing to learn, or something is not float64.
    """
    dtypes = {theta.dtype, rows.x.dtype, rows.y.dtype}
    if dtypes != {np.dtype(np.float64)}:
        raise EngineError(f"a gradient check needs float64, got {', '.join(sorted(map(str, dtypes)))}")
    if not network.size:
        raise EngineError("a gradient check needs a network with parameters")
    analytic = _analytic(network, theta, rows, l2)
    numeric = np.stack([_numeric(network, row, rows, l2, step) for row in theta])
    return GradientCheck(
        ratio=_ratio(analytic, numeric),
        parameters=tuple(
            ParameterCheck(s.layer + 1, s.parameter.name, _ratio(_part(analytic, s), _part(numeric, s)))
            for s in network.slices
        ),
    )


def _analytic(network: Network, theta: Floats, rows: Rows, l2: float) -> Floats:
    grad = np.empty_like(theta)
    logits = np.empty((len(theta), len(rows), network.outputs))
    gradient = bind_gradient(network, [l2] * len(theta), theta, grad, np.empty_like(theta), len(rows))
    x, y = (np.repeat(a[None], len(theta), axis=0) for a in (rows.x, rows.y))
    gradient(x, y, logits)
    return grad


def _numeric(network: Network, row: Floats, rows: Rows, l2: float, step: float) -> Floats:
    """`(parameters,)` of one trial."""
    numeric = np.empty_like(row)
    for numbers in _chunks(len(row)):
        nudged = np.repeat(row[None], 2 * len(numbers), axis=0)
        nudged[range(len(numbers)), numbers] += step
        nudged[range(len(numbers), len(nudged)), numbers] -= step
        costs = _costs(network, nudged, rows, l2).reshape(2, -1)
        numeric[numbers] = (costs[0] - costs[1]) / (2 * step)
    return numeric


def _costs(network: Network, theta: Floats, rows: Rows, l2: float) -> Floats:
    """J = mean loss + λ/2 · Σw², `(trials,)`."""
    losses = network.loss.values(network.forward(theta, rows.x), rows.y[None])
    weights = theta[:, network.regularized]
    costs: Floats = losses.mean(axis=1) + l2 / 2 * np.square(weights).sum(axis=1)
    return costs


def _chunks(count: int) -> Iterator[range]:
    for start in range(0, count, CHUNK):
        yield range(start, min(start + CHUNK, count))


def _part(matrix: Floats, s: Slice) -> Floats:
    return matrix[:, s.start : s.stop]


def _ratio(a: Floats, b: Floats) -> Floats:
    """`(trials,)` of matrices `(trials, parameters)`."""
    apart = np.linalg.norm(a - b, axis=1)
    size = np.linalg.norm(a, axis=1) + np.linalg.norm(b, axis=1)
    ratio: Floats = apart / np.where(size > 0, size, 1)
    return ratio


def _largest(ratios: Floats) -> float:
    return float(np.nan_to_num(ratios, nan=np.inf).max())

"""Units of a network on some rows: dead, saturated or identical ones, and the size of the gradient, by layer."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from engine.activations import Activation, Identity, Sigmoid, Softmax, Tanh
from engine.analysis.diagnostics import histograms
from engine.data.rows import Rows
from engine.network import Network
from engine.training.hyperparameters import Hyperparameters
from engine.types import Floats

LIMITS: dict[type, tuple[float, float]] = {Sigmoid: (0.0, 1.0), Tanh: (-1.0, 1.0)}
NEAR_LIMIT = 0.01  # share of the range, in which the slope is below 4 % of the largest
SATURATED_ROWS = 0.9  # share of the rows on which a saturated unit is near a limit
CONSTANT = 1e-6  # largest range of a constant unit, relative to the largest output of its layer


class UnitCounts(NamedTuple):
    """The units of one layer.

    Attributes:
        layer: number of the layer, from 1.
        units: number of units: outputs of a dense layer, channels of an image.
        dead: units whose output is the same for all rows.
        saturated: units of a bounded activation whose output is near its limits on most rows.
        identical: units whose output equals that of another unit and that are not dead; both count.
    """

    layer: int
    units: int
    dead: int
    saturated: int
    identical: int


def count_units(network: Network, theta: Floats, rows: Rows) -> list[UnitCounts]:
    """Return the units of each hidden activation, at inference.

    Args:
        theta: `(1, parameters)`.
        rows: some rows, such as one batch.
    """
    x = rows.x[None].astype(theta.dtype, copy=False)
    found = []
    hidden = len(network.layers) - 1
    with np.errstate(all="ignore"):
        for number, (layer, bound) in enumerate(
            zip(network.layers, network.bind(theta, None, len(rows)), strict=True), 1
        ):
            x = bound.forward(x)
            if isinstance(layer, Activation) and not isinstance(layer, Identity | Softmax) and number <= hidden:
                found.append(_counts(number, layer, np.array(x[0])))
    return found


def _counts(number: int, layer: Activation, outputs: Floats) -> UnitCounts:
    """Return the counts for outputs `(rows, units)` or `(rows, channels, height, width)`."""
    units = outputs.shape[1]
    by_unit = np.moveaxis(outputs, 1, 0).reshape(units, -1).astype(np.float64)
    by_unit = np.nan_to_num(by_unit, nan=0.0, posinf=1e30, neginf=-1e30)
    saturated = np.zeros(units, np.bool_)
    if type(layer) in LIMITS:
        low, high = LIMITS[type(layer)]
        margin = NEAR_LIMIT * (high - low)
        near = (by_unit < low + margin) | (by_unit > high - margin)
        saturated = near.mean(axis=1) >= SATURATED_ROWS
    dead = np.ptp(by_unit, axis=1) <= CONSTANT * max(1.0, float(np.abs(by_unit).max()))
    dead &= ~saturated
    alive = np.flatnonzero(~dead & ~saturated)
    keys = [by_unit[k].astype(np.float32).tobytes() for k in alive]
    identical = sum(count for count in _occurrences(keys) if count > 1)
    return UnitCounts(number, units, int(dead.sum()), int(saturated.sum()), identical)


def _occurrences(keys: list[bytes]) -> list[int]:
    counts: dict[bytes, int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    return list(counts.values())


def gradient_sizes(
    network: Network, theta: Floats, rows: Rows, trial: Hyperparameters | None = None
) -> list[tuple[int, float]]:
    """Return (layer, root mean square of dL/dweights and biases) of each layer with parameters, without regularizers.

    Raises:
        EngineError: a batch too small for batch norm.
    """
    plain = replace(trial or Hyperparameters(), l1=0.0, l2=0.0)
    found = histograms(network, theta, rows, plain, bins=1)
    return [(h.layer, float(np.hypot(h.mean[0], h.deviation[0]))) for h in found.gradients]

"""Units of a network by hand: dead, saturated and identical ones, and the size of gradients."""

import numpy as np
import pytest
from engine_cases import F32, F64

from engine.activations import ReLU, Sigmoid
from engine.analysis.units import count_units, gradient_sizes
from engine.data.rows import Rows
from engine.layers import Dense
from engine.losses import SquaredError
from engine.network import Network
from engine.training.hyperparameters import Hyperparameters

X = np.linspace(-1, 1, 20)[:, None]
ROWS = Rows(X.astype(F32), X.astype(F32))


def net(activation: object, units: int) -> Network:
    return Network((1,), (Dense(units), activation, Dense(1)), SquaredError())  # type: ignore[arg-type]


def theta(weights: list[float], biases: list[float]) -> np.ndarray:
    return np.array([[*weights, *biases, *([1.0] * len(weights)), 0.0]], F32)


def test_dead_units_never_change() -> None:
    """The second unit is below 0 for all rows; the third one is constant and above 0."""
    (found,) = count_units(net(ReLU(), 4), theta([1, 1, 0, -1], [0, -5, 2, 0]), ROWS)
    assert found == (2, 4, 2, 0, 0)


def test_saturated_units_are_near_a_limit() -> None:
    (found,) = count_units(net(Sigmoid(), 3), theta([1, 1, 400], [0, 9, 0]), ROWS)
    assert found == (2, 3, 0, 2, 0)  # at one limit on all rows, and at both limits


def test_identical_units_are_counted_and_dead_ones_are_not() -> None:
    (found,) = count_units(net(ReLU(), 5), theta([1, 1, 2, 0, 0], [0] * 5), ROWS)
    assert found == (2, 5, 2, 0, 2)


def test_diverged_weights_raise_nothing() -> None:
    (found,) = count_units(net(ReLU(), 2), theta([np.nan, np.inf], [0, 0]), ROWS)
    assert found.units == 2


def test_gradient_sizes_by_hand() -> None:
    """y = x·w₂·σ(0): only the output layer has a gradient where w₂ is 0; penalties are not part of it."""
    rows = Rows(X.astype(F64), X.astype(F64))
    found = gradient_sizes(net(ReLU(), 1), np.array([[1.0, 0.5, 0.0, 0.0]]), rows, Hyperparameters(l2=9.0))
    assert [layer for layer, _ in found] == [1, 3]
    h = np.maximum(X[:, 0] + 0.5, 0)
    expected = np.sqrt(np.mean([np.mean(-X[:, 0] * h) ** 2, np.mean(-X[:, 0]) ** 2]))
    assert found[0][1] == 0 and found[1][1] == pytest.approx(expected, rel=1e-9)

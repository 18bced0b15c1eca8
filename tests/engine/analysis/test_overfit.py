"""The one-batch overfit test: networks that learn a batch and networks that cannot; floors by hand."""

import numpy as np
import pytest
from engine_cases import F32

from engine.activations import ReLU
from engine.analysis.overfit import constant_loss, overfit_test
from engine.data.rows import Rows
from engine.initializers import HeNormal, Zero
from engine.layers import Dense, Dropout
from engine.losses import Logistic, SoftmaxCrossEntropy, SquaredError
from engine.network import Network
from engine.training.hyperparameters import Hyperparameters

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 4)).astype(F32)
LABELS = np.eye(3, dtype=F32)[RNG.integers(0, 3, 32)]


def net(units: int, initializer: object = None, rate: float = 0.0) -> Network:
    first = Dense(units, initializer or HeNormal())  # type: ignore[arg-type]
    last = Dense(3, initializer or HeNormal())  # type: ignore[arg-type]
    return Network((4,), (first, ReLU(), Dropout(rate), last), SoftmaxCrossEntropy())


def test_constant_losses_by_hand() -> None:
    y = np.array([[1.0], [0.0], [0.0], [0.0]])
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    assert constant_loss(Rows(X[:4], y), 1, classes=True) == pytest.approx(entropy)
    assert constant_loss(Rows(X[:3], np.eye(3)), 3, classes=True) == pytest.approx(np.log(3))
    assert constant_loss(Rows(X[:4], y), 1, classes=False) == pytest.approx(y.var() / 2)


def test_a_wide_network_learns_a_batch_whatever_its_rate_and_regularization() -> None:
    """Penalties and dropout are left out, and a learning rate that is ten times too small is mended."""
    trial = Hyperparameters(learning_rate=0.05, l2=10.0, batch_size=1)
    found = overfit_test(net(64, rate=0.9), trial, Rows(X, LABELS), steps=700)
    assert found.learned and found.loss <= 0.1 * found.chance and found.rows == 32 and found.floor == 0
    assert overfit_test(net(64, rate=0.9), trial, Rows(X, LABELS), steps=700) == found


def test_dead_and_narrow_networks_do_not() -> None:
    assert not overfit_test(net(64, Zero()), Hyperparameters(learning_rate=0.1), Rows(X, LABELS), steps=200).learned
    assert not overfit_test(net(1), Hyperparameters(learning_rate=0.1), Rows(X, LABELS), steps=200).learned


def test_equal_inputs_with_different_targets_leave_a_floor() -> None:
    """Equal inputs come in pairs with the targets 0 and 1, so no network reaches a loss below ln 2."""
    x = np.repeat(X[:8], 2, axis=0)
    y = np.tile(np.array([[0.0], [1.0]], F32), (8, 1))
    wide = Network((4,), (Dense(32), ReLU(), Dense(1)), Logistic())
    found = overfit_test(wide, Hyperparameters(learning_rate=0.1), Rows(x, y), steps=100)
    assert found.floor == pytest.approx(np.log(2)) == found.chance
    single = Network((4,), (Dense(32), ReLU(), Dense(1)), SquaredError())
    assert overfit_test(single, Hyperparameters(learning_rate=0.1), Rows(x, y), steps=50).floor == pytest.approx(1 / 8)


def test_a_rate_that_diverges_is_no_result() -> None:
    found = overfit_test(net(16), Hyperparameters(learning_rate=1e6), Rows(X, LABELS), steps=30)
    assert not found.learned and found.steps <= 30

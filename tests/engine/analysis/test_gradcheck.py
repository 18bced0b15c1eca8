"""Gradient checks of a part of the parameters; `test_gradients.py` and `test_layers.py` check every layer and loss."""

import numpy as np
import pytest

from engine.activations import Sigmoid
from engine.analysis.gradcheck import check_gradient
from engine.data.rows import Rows
from engine.layers import Dense
from engine.losses import SoftmaxCrossEntropy
from engine.network import Network


def test_a_part_of_the_parameters_is_checked_in_each_array() -> None:
    """A wrong gradient is found, also if few parameters of each array are checked."""
    network = Network((5,), (Dense(40), Sigmoid(), Dense(3)), SoftmaxCrossEntropy())
    rng = np.random.default_rng(0)
    theta = rng.normal(0, 0.5, (2, network.size))
    rows = Rows(rng.normal(size=(6, 5)), np.eye(3)[rng.integers(0, 3, 6)])
    found = check_gradient(network, theta, rows, most=20)
    assert found.good and len(found.parameters) == 4 and all((p.ratio > 0).all() for p in found.parameters)
    every, whole = check_gradient(network, theta, rows, most=10**6), check_gradient(network, theta, rows)
    assert every.ratio == pytest.approx(whole.ratio)

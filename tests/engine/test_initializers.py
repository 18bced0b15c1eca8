"""Initializers: mean, standard deviation, bounds, for a fan of 200 in and 400 out."""

import numpy as np
import pytest

from engine.initializers import INITIALIZERS, Normal, Uniform
from engine.layers import Dense
from engine.losses import SquaredError
from engine.network import Network
from engine.types import EngineError

# name: (standard deviation, bound or None)
EXPECTED = {
    "zero": (0.0, 0.0),
    "normal": (0.01, None),
    "uniform": (0.0288675, 0.05),  # 0.05 / √3
    "lecun_uniform": (0.0707107, 0.1224745),  # √(3/200)
    "lecun_normal": (0.0707107, None),  # √(1/200)
    "xavier_uniform": (0.0577350, 0.1),  # √(6/600)
    "xavier_normal": (0.0577350, None),  # √(2/600)
    "he_uniform": (0.1, 0.1732051),  # √(6/200)
    "he_normal": (0.1, None),  # √(2/200)
}


def test_every_initializer_has_an_expectation() -> None:
    assert EXPECTED.keys() == INITIALIZERS.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_distribution(name: str) -> None:
    deviation, bound = EXPECTED[name]
    w = INITIALIZERS[name]()(np.random.default_rng(0), (200, 400), 200, 400)
    assert w.shape == (200, 400) and w.dtype == np.float64
    assert abs(w.mean()) <= 4 * deviation / np.sqrt(w.size)
    assert w.std() == pytest.approx(deviation, rel=0.01)
    if bound is None:  # 4.55 % of a normal distribution lie beyond two standard deviations
        assert np.mean(np.abs(w) > 2 * deviation) == pytest.approx(0.0455, abs=0.004)
    else:
        assert np.abs(w).max() <= bound and np.abs(w).max() >= 0.999 * bound


@pytest.mark.parametrize("name", INITIALIZERS)
def test_biases_are_zero_and_draws_are_those_of_the_generator(name: str) -> None:
    net = Network((4,), (Dense(3, INITIALIZERS[name]()), Dense(2, INITIALIZERS[name]())), SquaredError())
    rows = [net.initialize(np.random.default_rng(seed), np.dtype(np.float32)) for seed in (1, 1, 2)]
    for s in net.slices:
        if s.parameter.name == "b":
            assert not rows[0][s.start : s.stop].any()
    assert np.array_equal(rows[0], rows[1])
    assert name == "zero" or not np.array_equal(rows[0], rows[2])


def test_sigma() -> None:
    w = Normal(3.0)(np.random.default_rng(0), (200, 400), 200, 400)
    assert w.std() == pytest.approx(3, rel=0.01)
    for sigma in (-1.0, float("nan")):
        with pytest.raises(EngineError, match=f"normal initializer: sigma must be at least 0, got {sigma}"):
            Normal(sigma)


def test_bound() -> None:
    w = Uniform(2.0)(np.random.default_rng(0), (200, 400), 200, 400)
    assert 1.999 <= w.max() <= 2 and -2 <= w.min() <= -1.999
    for bound in (-1.0, float("inf"), float("nan")):
        message = f"uniform initializer: bound must be at least 0 and finite, got {bound}"
        with pytest.raises(EngineError, match=message):
            Uniform(bound)

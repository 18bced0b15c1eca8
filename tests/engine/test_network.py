"""Predictions of a network: a row's bits do not depend on the rows predicted with it."""

import os
import subprocess
import sys

import numpy as np
import pytest
from engine_cases import F32, F64, plain
from layer_cases import LAYER_CASES

from engine.activations import ACTIVATIONS
from engine.layers import BatchNorm, Conv2d, ConvTranspose2d, Dense, Flatten, Layer
from engine.losses import Logistic, SoftmaxCrossEntropy, SquaredError
from engine.network import Network
from engine.types import DType, Floats

SIZED = [  # widths for which OpenBLAS kernels compute rows differently by their position in a batch
    Network((8,), (Dense(16), Dense(1)), SquaredError()),
    Network((31,), (Dense(64), Dense(12)), SquaredError()),
    Network((100,), (Dense(33), ACTIVATIONS["sigmoid"](), Dense(1)), Logistic()),
    Network((64,), (Dense(255), BatchNorm(), ACTIVATIONS["tanh"](), Dense(10)), SoftmaxCrossEntropy()),
    Network((2, 9, 8), (Conv2d(16, 3), ConvTranspose2d(5, 3, 2), Flatten(), Dense(12)), SoftmaxCrossEntropy()),
]


def theta_and_rows(net: Network, rows: int, dtype: DType, trials: int = 1) -> tuple[Floats, Floats]:
    """Return `theta (trials, size)` and rows `(rows, *inputs)`, both random."""
    generator = np.random.default_rng(3)
    theta = np.stack([net.initialize(generator, dtype) for _ in range(trials)])
    return theta, generator.standard_normal((rows, *net.inputs)).astype(dtype)


def check_rows_apart(net: Network, dtype: DType) -> None:
    """Compare predictions of 1100 rows, more than one chunk, with those of parts of them, at odd offsets and alone."""
    theta, x = theta_and_rows(net, 1100, dtype)
    together = net.predict(theta, x)
    for start, count in [(0, 1), (7, 1), (1099, 1), (0, 2), (1, 7), (5, 13), (3, 16), (40, 48), (0, 1024), (30, 1030)]:
        apart = net.predict(theta, x[start : start + count])
        assert plain(apart) == plain(together[:, start : start + count]), (net, start, count)
    assert plain(net.predict(theta, x.T.copy().T)) == plain(together)  # columns adjacent in memory
    np.testing.assert_allclose(together, net.loss.predict(net.forward(theta, x)), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("net", [net for nets in LAYER_CASES.values() for net in nets])
def test_a_row_alone_and_in_a_batch(net: Network) -> None:
    check_rows_apart(net, F32)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_every_activation(activation: str, dtype: DType) -> None:
    layers: tuple[Layer, ...] = (Dense(21), ACTIVATIONS[activation](), Dense(11))
    check_rows_apart(Network((9,), layers, SoftmaxCrossEntropy()), dtype)


@pytest.mark.parametrize("kernels", ["", "Haswell", "Zen"])
def test_with_other_kernels(kernels: str) -> None:
    """OpenBLAS chooses its kernels when it is loaded, so this runs in a new process."""
    environment = {**os.environ, "OPENBLAS_CORETYPE": kernels, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_trials_with_their_own_rows() -> None:
    """Trial t predicts set t mod `sets`, as in `forward`."""
    net = Network((4,), (Dense(6), ACTIVATIONS["tanh"](), Dense(2)), SquaredError())
    theta, x = theta_and_rows(net, 20, F32, trials=4)
    both, one = net.predict(theta, x.reshape(2, 10, 4)), net.predict(theta, x)
    assert both.shape == (4, 10, 2) and one.shape == (4, 20, 2)
    for trial in range(4):
        start = 10 * (trial % 2)
        assert both[trial].tobytes() == one[trial, start : start + 10].tobytes()
    np.testing.assert_allclose(one, net.forward(theta, x), rtol=1e-4, atol=1e-6)
    assert net.predict(theta, x[:0]).shape == (4, 0, 2)


if __name__ == "__main__":
    for net in SIZED:
        for dtype in (F32, F64):
            check_rows_apart(net, dtype)

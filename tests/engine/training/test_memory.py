"""Memory of training: its peak for a network of MNIST's size, which does not grow with the number of steps."""

import tracemalloc
from collections.abc import Generator

import numpy as np
import pytest
from engine_cases import hyperparameters, network, rows, start, train

from engine.activations import ReLU
from engine.data.rows import BLOCK, Rows
from engine.kernels.choice import Kernel
from engine.layers import Dense
from engine.losses import SoftmaxCrossEntropy
from engine.network import Network
from engine.optimizers import OPTIMIZERS, Momentum
from engine.training.hyperparameters import Hyperparameters
from engine.training.trainer import Epoch
from engine.types import Booleans

pytestmark = pytest.mark.usefixtures("kernel")

MB = 1 << 20


def highest(training: Generator[Epoch, Booleans | None, None], epochs: int) -> int:
    """Return the peak memory in bytes of this number of epochs, relative to the start."""
    tracemalloc.start()
    try:
        for _ in range(epochs):
            next(training)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_network_of_mnist_size(capsys: pytest.CaptureFixture[str]) -> None:
    """784-512-10 on 10,000 rows in batches of 128, momentum: weights, gradient, scratch and what a block gathers.

    The state (weights, best weights, velocity) and the rows are the caller's and counted apart.
    """
    random = np.random.default_rng(0)
    x = random.standard_normal((10_000, 784), np.float32)
    data = Rows(x, np.eye(10, dtype=np.float32)[random.integers(0, 10, len(x))])
    net = Network((784,), (Dense(512), ReLU(), Dense(10)), SoftmaxCrossEntropy())
    trials = [Hyperparameters(Momentum(), 0.01, 128)]
    state = start(net, trials)
    peak = highest(train(net, trials, state, data), 1)
    parameters, block = 4 * net.size, 4 * (BLOCK // (128 * 784)) * 128 * 784
    with capsys.disabled():
        print(
            f"\n784-512-10 on {len(x)} rows: training adds {peak / MB:.1f} MB at its highest to {x.nbytes / MB:.1f} MB "
            f"of rows and {3 * parameters / MB:.1f} MB of state"
        )
    # The gradient and the optimizer's scratch; a block; outputs and gradients of
    # layers for 128 rows, five times 512, and for the last 16 rows; the order of rows.
    layers = 4 * (128 + 16) * (5 * 512 + 784)
    assert peak < 3 * parameters + block + layers + 8 * 3 * len(x)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_memory_does_not_grow_with_the_steps(optimizer: str, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """50 steps of one epoch, 500 of ten, and 500 of one, which need a longer order and nothing else.

    The interpreter keeps up to 20 kB of freed tuples of the compiled kernel's calls. So these are 20 times as many: one
    lost view of an array for each trial and epoch would be 40 kB.
    """
    few, slack = (1, 5_000) if kernel == "numpy" else (20, 25_000)
    monkeypatch.setattr("engine.data.rows.BLOCK", 2000)
    net = network("softmax_cross_entropy", 3, "relu", inputs=5, hidden=(64,))
    trials = hyperparameters(2, optimizer)

    def peak(count: int, epochs: int) -> int:
        training = train(net, trials, start(net, trials), rows("softmax_cross_entropy", 3, count, 5))
        next(training)  # allocates
        return highest(training, epochs)

    peak(400, 10 * few)  # everything that is imported or cached
    once = peak(400, few)
    order = 8 * 2 * 2 * 3600  # of each trial, and both in one array
    assert peak(400, 10 * few) <= once + slack and peak(4000, few) <= once + order + slack

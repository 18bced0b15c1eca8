"""Speed of the engine's parts: layers and optimizers against PyTorch, batches of small networks against single ones.

Ratios of the shortest of several runs in turns, in one process on one thread.

    pip install -e ".[bench]" && python -m pytest -n 0 -m bench -s tests/benchmarks
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from rivals import interleaved, report
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from engine.activations import ReLU, Sigmoid
from engine.data.rows import Rows
from engine.initializers import XavierNormal
from engine.layers import BatchNorm, Dense, Dropout, Layer
from engine.losses import SoftmaxCrossEntropy, SquaredError
from engine.network import Network
from engine.optimizers import SGD, Adam, Momentum
from engine.training.hyperparameters import Hyperparameters
from engine.training.state import State
from engine.training.trainer import train

pytestmark = pytest.mark.bench

Digits = tuple[np.ndarray, np.ndarray]
HIDDEN, BATCH, RATE, L2 = 128, 32, 0.002, 1e-4
PARTS = {"adam": 4.0, "batch norm": 4.0, "dropout": 4.0}  # PyTorch's time over ours, at least
GROUP = 16
# Time of the networks of a batch trained one by one over their time together, at least.
TINY, SMALL = 8.0, 1.8


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with threadpool_limits(limits=1):
        yield


@pytest.fixture(scope="module")
def digits() -> Digits:
    """Return standardized rows, float32, and labels."""
    x, labels = load_digits(return_X_y=True)
    x = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-8)
    return x[:1400].astype(np.float32), labels[:1400]


def trained(network: Network, trial: Hyperparameters, rows: Rows, epochs: int, trials: int = 1) -> np.ndarray:
    """Return the accuracy of each trial in the last epoch."""
    state = State.start(network, trial.optimizer.slots, [np.random.default_rng(seed) for seed in range(trials)])
    training = train(network, [trial] * trials, state, rows)
    for _ in range(epochs):
        epoch = next(training)
    return epoch.train.accuracy


def ours(x: np.ndarray, labels: np.ndarray, part: str, epochs: int = 5) -> float:
    parts: dict[str, Sequence[Layer]] = {
        "adam": (ReLU(),),
        "batch norm": (BatchNorm(), ReLU()),
        "dropout": (ReLU(), Dropout(0.2)),
    }
    network = Network((64,), (Dense(HIDDEN), *parts[part], Dense(10)), SoftmaxCrossEntropy())
    rows = Rows(x, network.loss.targets(labels, 10, x.dtype))
    return float(trained(network, Hyperparameters(Adam(), RATE, BATCH, L2), rows, epochs)[0])


def torch_eager(x: np.ndarray, labels: np.ndarray, part: str, epochs: int = 5) -> float:
    import torch
    from torch import nn

    torch.set_num_threads(1)
    parts: dict[str, tuple[nn.Module, ...]] = {
        "adam": (nn.ReLU(),),
        "batch norm": (nn.BatchNorm1d(HIDDEN), nn.ReLU()),
        "dropout": (nn.ReLU(), nn.Dropout(0.2)),
    }
    net = nn.Sequential(nn.Linear(64, HIDDEN), *parts[part], nn.Linear(HIDDEN, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, weight_decay=L2)
    xt, yt, loss = torch.from_numpy(x), torch.from_numpy(labels), nn.CrossEntropyLoss()
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for start in range(0, len(x), BATCH):
            rows = order[start : start + BATCH]
            optimizer.zero_grad()
            loss(net(xt[rows]), yt[rows]).backward()
            optimizer.step()
    net.eval()
    return float((net(xt).argmax(dim=1) == yt).float().mean())


@pytest.mark.parametrize("part", PARTS)
def test_torch_takes_longer(part: str, digits: Digits, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="the rival PyTorch is not installed; see the bench extra")
    runs = {"ours": lambda: ours(*digits, part), "torch": lambda: torch_eager(*digits, part)}
    times = interleaved(runs)
    ratio = times["torch"] / times["ours"]
    report(capsys, f"{part}: torch {ratio:.2f} times ours, goal {PARTS[part]}")
    assert ratio >= PARTS[part]


@pytest.fixture(scope="module")
def curve() -> Rows:
    """Return y = 0.4x² + 0.3x·sin(15x) + 0.01cos(50x) − 0.3 at 900 places."""
    x = np.random.default_rng(0).uniform(0, 1, (900, 1))
    y = 0.4 * x**2 + 0.3 * x * np.sin(15 * x) + 0.01 * np.cos(50 * x) - 0.3
    return Rows(x.astype(np.float32), y.astype(np.float32))


def tiny(rows: Rows, count: int) -> float:
    """Train 1-4-1 sigmoid networks on the curve; return the smallest R², which is 0 for a constant."""
    network = Network((1,), (Dense(4, XavierNormal()), Sigmoid(), Dense(1, XavierNormal())), SquaredError())
    return float(trained(network, Hyperparameters(SGD(), 0.5, 10), rows, 50, count).min())


def small(x: np.ndarray, labels: np.ndarray, count: int) -> float:
    """Train networks of 32 units on digits."""
    network = Network((64,), (Dense(32), ReLU(), Dense(10)), SoftmaxCrossEntropy())
    trial = Hyperparameters(Momentum(0.9, classical=True), 0.05, BATCH, L2)
    return float(trained(network, trial, Rows(x, network.loss.targets(labels, 10, x.dtype)), 5, count).min())


def alone_over_together(run: Callable[[int], float], least: float) -> float:
    """Return the time of `GROUP` networks trained one by one, divided by their time together."""
    times = interleaved({"alone": lambda: run(1), "together": lambda: run(GROUP)}, least)
    return GROUP * times["alone"] / times["together"]


def test_tiny_networks_together(curve: Rows, capsys: pytest.CaptureFixture[str]) -> None:
    ratio = alone_over_together(lambda count: tiny(curve, count), least=-0.5)
    report(capsys, f"{GROUP} nets of 1-4-1: one by one {ratio:.2f} times together, goal {TINY}")
    assert ratio >= TINY


def test_small_networks_together(digits: Digits, capsys: pytest.CaptureFixture[str]) -> None:
    ratio = alone_over_together(lambda count: small(*digits, count), least=0.9)
    report(capsys, f"{GROUP} nets of 32 units: one by one {ratio:.2f} times together, goal {SMALL}")
    assert ratio >= SMALL

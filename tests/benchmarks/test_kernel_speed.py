"""Speed of the compiled kernel against PyTorch eager and against NumPy, in one process on one thread: ratios.

Five epochs of digits (1400 rows of 64, ten classes). Ours also counts loss and accuracy of every epoch.

    pip install -e ".[bench,fast]" && python -m pytest -n 0 -m bench -s tests/benchmarks/test_kernel_speed.py
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from rivals import interleaved, report
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from engine.activations import ReLU, Tanh
from engine.data.rows import Rows
from engine.kernels.choice import Kernel, load_kernel
from engine.layers import BatchNorm, Dense, Dropout, Layer
from engine.losses import SoftmaxCrossEntropy
from engine.network import Network
from engine.optimizers import Adam, Momentum, Optimizer
from engine.training.hyperparameters import Hyperparameters
from engine.training.state import State
from engine.training.trainer import train

pytestmark = pytest.mark.bench

EPOCHS = 5
MOMENTUM, ADAM = Momentum(0.9, classical=True), Adam()


class Case(NamedTuple):
    """A network, and the least ratio of PyTorch's time to ours."""

    hidden: tuple[Layer, ...]
    optimizer: Optimizer
    batch: int
    goal: float


CASES = {
    "32 units, batches of 32": Case((Dense(32), ReLU()), MOMENTUM, 32, 20),
    "128, 32": Case((Dense(128), ReLU()), MOMENTUM, 32, 11),
    "128, 128": Case((Dense(128), ReLU()), MOMENTUM, 128, 4.5),
    "512, 128": Case((Dense(512), ReLU()), MOMENTUM, 128, 3),
    "128, 32, Adam": Case((Dense(128), ReLU()), ADAM, 32, 14),
    "three tanh layers of 64, 32, Adam": Case((Dense(64), Tanh()) * 3, ADAM, 32, 14),
    "128, 32, batch norm": Case((Dense(128), BatchNorm(), ReLU()), MOMENTUM, 32, 10),
    "128, 32, dropout": Case((Dense(128), ReLU(), Dropout(0.3)), MOMENTUM, 32, 8),
    "two layers of 256, 256, Adam": Case((Dense(256), ReLU(), Dense(256), ReLU()), ADAM, 256, 1),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    load_kernel(np.dtype(np.float32))  # first, so that its BLAS is limited too
    with threadpool_limits(limits=1):
        yield


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return standardized rows, float32, and labels."""
    x, labels = load_digits(return_X_y=True)
    x = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-8)
    return x[:1400].astype(np.float32), labels[:1400]


def ours(case: Case, x: np.ndarray, labels: np.ndarray, kernel: Kernel) -> float:
    """Return the accuracy in the last epoch."""
    network = Network((64,), (*case.hidden, Dense(10)), SoftmaxCrossEntropy())
    rate, l2 = (0.002, 0.0) if case.optimizer is ADAM else (0.05, 1e-4)
    trial = Hyperparameters(case.optimizer, rate, case.batch, l2)
    state = State.start(network, trial.slots, [np.random.default_rng(0)])
    training = train(network, [trial], state, Rows(x, network.loss.targets(labels, 10, x.dtype)), kernel=kernel)
    return float([next(training) for _ in range(EPOCHS)][-1].train.accuracy[0])


def theirs(case: Case, x: np.ndarray, labels: np.ndarray) -> Callable[[], float]:
    """Return a run of the same network by PyTorch eager."""
    torch: Any = pytest.importorskip("torch")
    torch.set_num_threads(1)
    rows, targets = torch.tensor(x), torch.tensor(labels)
    modules: dict[type, Callable[[Any, int], Any]] = {
        ReLU: lambda layer, width: torch.nn.ReLU(),
        Tanh: lambda layer, width: torch.nn.Tanh(),
        BatchNorm: lambda layer, width: torch.nn.BatchNorm1d(width),
        Dropout: lambda layer, width: torch.nn.Dropout(layer.rate),
    }

    def run() -> float:
        torch.manual_seed(0)
        built, width = [], 64
        for layer in (*case.hidden, Dense(10)):
            if isinstance(layer, Dense):
                built.append(torch.nn.Linear(width, layer.units))
                width = layer.units
            else:
                built.append(modules[type(layer)](layer, width))
        model, loss = torch.nn.Sequential(*built), torch.nn.CrossEntropyLoss()
        if case.optimizer is ADAM:
            optimizer = torch.optim.Adam(model.parameters(), 0.002)
        else:
            optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-4)
        for _ in range(EPOCHS):
            order = torch.randperm(len(rows))
            for start in range(0, len(rows), case.batch):
                batch = order[start : start + case.batch]
                optimizer.zero_grad()
                loss(model(rows[batch]), targets[batch]).backward()
                optimizer.step()
        model.eval()
        return float((model(rows).argmax(dim=1) == targets).float().mean())

    return run


@pytest.mark.parametrize("name", CASES)
def test_against_torch_and_numpy(
    name: str, digits: tuple[np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    """Never slower than NumPy, and faster than PyTorch by the goal."""
    case = CASES[name]
    seconds = interleaved(
        {
            "compiled": lambda: ours(case, *digits, "compiled"),
            "numpy": lambda: ours(case, *digits, "numpy"),
            "torch": theirs(case, *digits),
        },
        least=0.85,
        repeats=15,
    )
    by_torch, by_numpy = (seconds[rival] / seconds["compiled"] for rival in ("torch", "numpy"))
    report(capsys, f"{name}: PyTorch {by_torch:.1f} (goal {case.goal}), NumPy {by_numpy:.2f} times the compiled kernel")
    assert by_numpy >= 1
    assert by_torch >= case.goal

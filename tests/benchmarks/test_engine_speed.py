"""Speed of the engine against its rivals, in one process on one thread: ratios, never seconds.

Five epochs of digits (1400 rows of 64, ten classes), one hidden layer of ReLUs, softmax, cross-entropy, momentum, L2.
Ours also counts loss and accuracy of every epoch, which the others do not.

    pip install -e ".[bench]" && python -m pytest -n 0 -m bench -s tests/benchmarks
"""

from collections.abc import Iterator

import numpy as np
import pytest
import rivals
from rivals import interleaved
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from engine.activations import ReLU
from engine.data.rows import Rows
from engine.layers import Dense
from engine.losses import SoftmaxCrossEntropy
from engine.network import Network
from engine.optimizers import Momentum
from engine.training.hyperparameters import Hyperparameters
from engine.training.state import State
from engine.training.trainer import train

pytestmark = pytest.mark.bench

Digits = tuple[np.ndarray, np.ndarray]
EPOCHS, RATE, BETA, L2 = 5, 0.05, 0.9, 1e-4
# (hidden units, batch size): PyTorch's time and scikit-learn's over ours, at least.
GOALS = {(32, 32): 9.0, (128, 32): 7.0, (128, 128): 3.5, (512, 128): 1.8}
LEAN = 1.25  # our time over that of a hand-written loop, at most
GROUP, SHARE = 16, 0.6  # time of one of 16 networks trained together over one alone, at most, up to 64 units


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


def ours(x: np.ndarray, labels: np.ndarray, hidden: int, batch: int, trials: int = 1) -> float:
    """Return the first trial's accuracy in the last epoch."""
    network = Network((64,), (Dense(hidden), ReLU(), Dense(10)), SoftmaxCrossEntropy())
    same = [Hyperparameters(Momentum(BETA, classical=True), RATE, batch, L2)] * trials
    state = State.start(network, Momentum.slots, [np.random.default_rng(seed) for seed in range(trials)])
    training = train(network, same, state, Rows(x, network.loss.targets(labels, 10, x.dtype)))
    for _ in range(EPOCHS):
        epoch = next(training)
    return float(epoch.train.accuracy[0])


def lean(x: np.ndarray, labels: np.ndarray, hidden: int, batch: int) -> float:
    """Train by the loop that an expert in NumPy would write for this one network."""
    f32, rng, inputs, outputs = np.float32, np.random.default_rng(0), x.shape[1], 10
    sizes = [inputs * hidden, hidden, hidden * outputs, outputs]
    ends = np.cumsum(sizes)
    theta, grad, velocity, scratch = (np.zeros(ends[-1], f32) for _ in range(4))

    def views(flat: np.ndarray) -> tuple[np.ndarray, ...]:
        w1, b1, w2, b2 = np.split(flat, ends[:-1])
        return w1.reshape(inputs, hidden), b1, w2.reshape(hidden, outputs), b2

    (w1, b1, w2, b2), (g1, gb1, g2, gb2) = views(theta), views(grad)
    w1[:] = rng.standard_normal(w1.shape) * np.sqrt(2 / inputs)
    w2[:] = rng.standard_normal(w2.shape) * np.sqrt(2 / hidden)
    decay = np.repeat(np.array([L2, 0, L2, 0], f32), sizes)
    rate, beta, y = f32(RATE), f32(BETA), np.eye(outputs, dtype=f32)[labels]
    a1, a2, d1 = (np.empty((batch, n), f32) for n in (hidden, outputs, hidden))
    for _ in range(EPOCHS):
        order = rng.permutation(len(x))
        xs, ys = x[order], y[order]
        for start in range(0, len(x), batch):
            xb, yb = xs[start : start + batch], ys[start : start + batch]
            n = len(xb)
            h, z, d = a1[:n], a2[:n], d1[:n]
            np.matmul(xb, w1, out=h)
            h += b1
            np.maximum(h, 0, out=h)
            np.matmul(h, w2, out=z)
            z += b2
            z -= z.max(axis=1, keepdims=True)
            np.exp(z, out=z)
            z /= z.sum(axis=1, keepdims=True)
            z -= yb
            z *= f32(1 / n)
            np.matmul(h.T, z, out=g2)
            np.add.reduce(z, axis=0, out=gb2)
            np.matmul(z, w2.T, out=d)
            d *= h > 0
            np.matmul(xb.T, d, out=g1)
            np.add.reduce(d, axis=0, out=gb1)
            np.multiply(theta, decay, out=scratch)
            grad += scratch
            velocity *= beta
            velocity += grad
            np.multiply(velocity, rate, out=scratch)
            theta -= scratch
    logits = np.maximum(x @ w1 + b1, 0) @ w2 + b2
    return float((logits.argmax(axis=1) == labels).mean())


def scikit_learn(x: np.ndarray, labels: np.ndarray, hidden: int, batch: int) -> float:
    net = MLPClassifier(
        (hidden,),
        solver="sgd",
        batch_size=batch,
        learning_rate_init=RATE,
        momentum=BETA,
        nesterovs_momentum=False,
        alpha=L2,
        random_state=0,
    )
    for _ in range(EPOCHS):
        net.partial_fit(x, labels, classes=np.arange(10))
    return float(net.score(x, labels))


def torch_eager(x: np.ndarray, labels: np.ndarray, hidden: int, batch: int) -> float:
    import torch

    torch.set_num_threads(1)
    net = torch.nn.Sequential(torch.nn.Linear(x.shape[1], hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=BETA, weight_decay=L2)
    xt, yt, loss = torch.from_numpy(x), torch.from_numpy(labels), torch.nn.CrossEntropyLoss()
    for _ in range(EPOCHS):
        order = torch.randperm(len(x))
        for start in range(0, len(x), batch):
            rows = order[start : start + batch]
            optimizer.zero_grad()
            loss(net(xt[rows]), yt[rows]).backward()
            optimizer.step()
    return float((net(xt).argmax(dim=1) == yt).float().mean())


def report(capsys: pytest.CaptureFixture[str], hidden: int, batch: int, text: str) -> None:
    rivals.report(capsys, f"{hidden} units, batches of {batch}: {text}")


@pytest.mark.parametrize(("hidden", "batch"), GOALS)
def test_torch_takes_longer(hidden: int, batch: int, digits: Digits, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="the rival PyTorch is not installed; see the bench extra")
    goal = GOALS[hidden, batch]
    times = interleaved(
        {"ours": lambda: ours(*digits, hidden, batch), "torch": lambda: torch_eager(*digits, hidden, batch)}
    )
    ratio = times["torch"] / times["ours"]
    report(capsys, hidden, batch, f"torch {ratio:.2f} times ours, goal {goal}")
    assert ratio >= goal


@pytest.mark.parametrize(("hidden", "batch"), GOALS)
def test_scikit_learn_takes_longer(hidden: int, batch: int, digits: Digits, capsys: pytest.CaptureFixture[str]) -> None:
    goal = GOALS[hidden, batch]
    times = interleaved(
        {"ours": lambda: ours(*digits, hidden, batch), "sklearn": lambda: scikit_learn(*digits, hidden, batch)}
    )
    ratio = times["sklearn"] / times["ours"]
    report(capsys, hidden, batch, f"scikit-learn {ratio:.2f} times ours, goal {goal}")
    assert ratio >= goal


@pytest.mark.parametrize(("hidden", "batch"), GOALS)
def test_no_slower_than_a_hand_written_loop(
    hidden: int,
    batch: int,
    digits: Digits,
    capsys: pytest.CaptureFixture[str],
) -> None:
    times = interleaved({"ours": lambda: ours(*digits, hidden, batch), "lean": lambda: lean(*digits, hidden, batch)})
    ratio = times["ours"] / times["lean"]
    report(capsys, hidden, batch, f"ours {ratio:.2f} times a loop by hand, at most {LEAN}")
    assert ratio <= LEAN


@pytest.mark.parametrize(("hidden", "batch"), [(16, 32), (32, 32), (64, 32)])
def test_batched_training_is_cheaper(
    hidden: int, batch: int, digits: Digits, capsys: pytest.CaptureFixture[str]
) -> None:
    times = interleaved(
        {
            "alone": lambda: ours(*digits, hidden, batch),
            "together": lambda: ours(*digits, hidden, batch, trials=GROUP),
        }
    )
    share = times["together"] / GROUP / times["alone"]
    report(capsys, hidden, batch, f"one of {GROUP} takes {share:.2f} of one alone, at most {SHARE}")
    assert share <= SHARE

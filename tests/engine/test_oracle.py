"""The engine compared with scikit-learn's `MLPClassifier`: equal losses from equal weights and equal orders of rows.

Its example "Compare Stochastic learning strategies for MLPClassifier", all seven strategies on all four data sets:
https://scikit-learn.org/stable/auto_examples/neural_networks/plot_mlp_training_curves.html

The engine gets the initial weights and the order of the rows, both drawn here from the seed that
scikit-learn gets. Nothing that scikit-learn computes is used; losses are compared epoch by epoch.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Any, ClassVar, Self, cast, final

import numpy as np
import pytest
from engine_cases import F64
from sklearn.datasets import load_digits, load_iris, make_circles, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from engine.activations import ReLU
from engine.data.rows import Rows
from engine.data.scaling import MinMax
from engine.layers import Dense
from engine.losses import Logistic, SoftmaxCrossEntropy
from engine.network import Network
from engine.optimizers import SGD, Adam, Matrices, Momentum, Nesterov, Optimizer
from engine.training.hyperparameters import Hyperparameters
from engine.training.schedules import Constant, Inverse
from engine.training.state import State
from engine.training.trainer import train

HIDDEN, BATCH, L2 = 100, 200, 1e-4  # scikit-learn's defaults
MOMENTUM: dict[str, Any] = {"momentum": 0.9, "nesterovs_momentum": False}
NESTEROV: dict[str, Any] = {"momentum": 0.9, "nesterovs_momentum": True}
CLASSICAL, CLASSICAL_NESTEROV = Momentum(0.9, True, rate_inside=True), Nesterov(0.9, True, rate_inside=True)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: the matrices are small, and on a busy machine threads would wait for each other."""
    with threadpool_limits(limits=1):
        yield


@final
@dataclass(frozen=True)
class Strategy:
    """The settings of one strategy for both sides."""

    optimizer: Optimizer
    inverse: bool  # α₀ / √(rows seen + 1), set after each epoch
    theirs: dict[str, Any]

    @property
    def rate(self) -> float:
        return float(self.theirs["learning_rate_init"])


def _sgd(optimizer: Optimizer, inverse: bool, momentum: dict[str, Any]) -> Strategy:
    name = "invscaling" if inverse else "constant"
    return Strategy(optimizer, inverse, {"solver": "sgd", "learning_rate": name, "learning_rate_init": 0.2, **momentum})


STRATEGIES = {
    "constant": _sgd(SGD(), False, {"momentum": 0}),
    "constant, momentum": _sgd(CLASSICAL, False, MOMENTUM),
    "constant, Nesterov": _sgd(CLASSICAL_NESTEROV, False, NESTEROV),
    "inverse": _sgd(SGD(), True, {"momentum": 0}),
    "inverse, momentum": _sgd(CLASSICAL, True, MOMENTUM),
    "inverse, Nesterov": _sgd(CLASSICAL_NESTEROV, True, NESTEROV),
    "adam": Strategy(Adam(), False, {"solver": "adam", "learning_rate_init": 0.01}),
}
# "Training set loss" of the page, in the order of the strategies; the two without a figure are computed.
PUBLISHED: dict[str, tuple[float | None, ...]] = {
    "iris": (0.096950, 0.049530, 0.049540, 0.978444, 0.504185, 0.503452, 0.045311),
    "digits": (0.243802, 0.041297, 0.042898, 1.855465, None, None, 0.045934),
}
# Rows and iterations of the page; `circles` and `moons` have two classes, hence a logistic loss.
DATA: dict[str, tuple[Callable[[], Any], int]] = {
    "iris": (lambda: load_iris(return_X_y=True), 400),
    "digits": (lambda: load_digits(return_X_y=True), 15),
    "circles": (lambda: make_circles(noise=0.2, factor=0.5, random_state=1), 400),
    "moons": (lambda: make_moons(noise=0.3, random_state=0), 400),
}


@final
@dataclass
class TheirOrder:
    """A generator that shuffles as scikit-learn does: it permutes the order of the previous epoch."""

    random: np.random.RandomState
    order: np.ndarray = field(default_factory=lambda: np.empty(0, np.intp))

    def permutation(self, count: int) -> np.ndarray:
        numbers = np.arange(count)
        self.random.shuffle(numbers)
        self.order = self.order[numbers] if len(self.order) else numbers
        return self.order


@final
@dataclass(frozen=True)
class Theirs:
    """An optimizer of the engine with the details of scikit-learn's.

    Before each step it records Σw² of the weights that the batch's loss was computed with. scikit-learn's Adam
    is that of the end of section 2 of Kingma and Ba, which adds ε to √s, not to √ŝ: ours with ε / √(1 − β₂ᵗ).
    """

    optimizer: Optimizer
    squares: list[float] = field(default_factory=list)
    slots: ClassVar[tuple[str, ...]] = ("velocity", "mean", "square")

    @classmethod
    def bind(cls, trials: Sequence[Self], rates: Sequence[float], matrices: Matrices) -> Callable[[int], None]:
        (trial,) = trials

        def step(number: int) -> None:
            trial.squares.append(float(np.square(matrices.theta[0, matrices.regularized]).sum()))
            optimizer = trial.optimizer
            if isinstance(optimizer, Adam):
                optimizer = replace(optimizer, epsilon=optimizer.epsilon / sqrt(1 - optimizer.beta2**number))
            type(optimizer).bind([optimizer], rates, matrices)(number)

        return step


def their_weights(network: Network, random: np.random.RandomState) -> np.ndarray:
    """Draw weights and biases with Glorot's uniform bound in the order W, b, W, b of theta."""
    sizes = [s.parameter.shape for s in network.slices if s.parameter.name == "W"]
    drawn: list[np.ndarray] = []
    for fan_in, fan_out in sizes:
        bound = np.sqrt(6 / (fan_in + fan_out))
        drawn += [random.uniform(-bound, bound, (fan_in, fan_out)).ravel(), random.uniform(-bound, bound, fan_out)]
    return np.concatenate(drawn)[None]


def our_losses(x: np.ndarray, labels: np.ndarray, strategy: Strategy) -> Iterator[float]:
    """Yield the engine's loss of each epoch, with the (λ/2m)·Σw² that scikit-learn adds for each batch."""
    classes = int(labels.max()) + 1
    loss, outputs = (Logistic(), 1) if classes == 2 else (SoftmaxCrossEntropy(), classes)
    network = Network((x.shape[1],), (Dense(HIDDEN), ReLU(), Dense(outputs)), loss)
    optimizer = Theirs(strategy.optimizer)
    trial = Hyperparameters(
        optimizer=optimizer,
        learning_rate=strategy.rate,
        batch_size=BATCH,
        l2=L2,
        divide_by_batch=True,
        schedule=Inverse(gamma=len(x), power=0.5) if strategy.inverse else Constant(),
    )
    random = np.random.RandomState(0)
    state = State.start(network, trial.slots, [np.random.default_rng()], F64)
    state.theta[:] = their_weights(network, random)
    state.generators = [cast(Any, TheirOrder(random))]
    for epoch in train(network, [trial], state, Rows(x, network.loss.targets(labels, outputs, F64))):
        yield float(epoch.train.loss[0] + L2 / 2 * sum(optimizer.squares) / len(x))
        optimizer.squares.clear()


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("data", DATA)
def test_losses_equal_those_of_scikit_learn(data: str, name: str) -> None:
    strategy, (load, iterations) = STRATEGIES[name], DATA[data]
    x, labels = load()
    x = MinMax.fit(x).apply(x)
    referee = MLPClassifier(random_state=0, max_iter=iterations, **strategy.theirs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        referee.fit(x, labels)
    # It ends early when its loss has not fallen by 1e-4 in ten epochs; the engine trains as many epochs.
    ours = [loss for loss, _ in zip(our_losses(x, labels, strategy), range(referee.n_iter_), strict=False)]
    np.testing.assert_allclose(ours, referee.loss_curve_, rtol=0, atol=1e-9)
    if data in PUBLISHED:
        published = PUBLISHED[data][list(STRATEGIES).index(name)]
        assert published is None or ours[-1] == pytest.approx(published, abs=1e-6)

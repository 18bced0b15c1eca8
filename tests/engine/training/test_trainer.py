"""The trainer: the definition of an epoch, contained divergence, and refused arguments."""

import tracemalloc
import warnings
from dataclasses import replace

import numpy as np
import pytest
from engine_cases import F64, LOSS_CASES, bits, hyperparameters, network, rows, run, start, train

from engine.activations import ACTIVATIONS, LeakyReLU
from engine.data.rows import Rows
from engine.layers import Dense
from engine.losses import SoftmaxCrossEntropy, SquaredError
from engine.network import Network
from engine.optimizers import OPTIMIZERS, SGD, Adam, Momentum
from engine.training.gradient import bind_gradient
from engine.training.hyperparameters import Hyperparameters
from engine.training.stopping import EarlyStopping
from engine.training.trainer import evaluate
from engine.types import EngineError

pytestmark = pytest.mark.usefixtures("kernel")

NET = network("softmax_cross_entropy", 3, "relu", inputs=5)
DATA = rows("softmax_cross_entropy", 3, 21, 5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_it_learns(optimizer: str) -> None:
    """Three well separated clusters."""
    labels = np.arange(90) % 3
    centers = np.array([[3, 0], [0, 3], [-3, -3]])
    x = (centers[labels] + np.random.default_rng(0).standard_normal((90, 2))).astype(np.float32)
    net = network("softmax_cross_entropy", 3, "relu", inputs=2)
    data = Rows(x, net.loss.targets(labels, 3, np.dtype(np.float32)))
    trials = [Hyperparameters(OPTIMIZERS[optimizer](), 0.05, 16)]
    epochs = run(net, trials, start(net, trials), data, 30)
    assert epochs[-1].val is not None
    assert epochs[-1].val.accuracy[0] > 0.95 and epochs[-1].val.loss[0] < 0.3 < epochs[0].train.loss[0]
    assert [e.number for e in epochs] == list(range(1, 31))


def test_an_epoch_by_definition() -> None:
    """Shuffle, batches in order, the remainder last, w −= α(dL/dw + λw): repeated here batch by batch."""
    trial = Hyperparameters(SGD(), 0.1, batch_size=8, l2=0.3)
    data = rows("softmax_cross_entropy", 3, 21, 5, dtype=F64)
    state = start(NET, [trial], F64)
    theta, bare = state.theta.copy(), replace(trial, l2=0.0)
    order = np.random.Generator(np.random.PCG64())
    order.bit_generator.state = state.generators[0].bit_generator.state
    epochs = run(NET, [trial], state, data, 2)
    decay = np.where(NET.regularized, 0.3, 0)
    for epoch in epochs:
        shuffled, losses = order.permutation(21), []
        for batch in (shuffled[:8], shuffled[8:16], shuffled[16:]):
            x, y = data.x[batch][None], data.y[batch][None]
            grad, logits = np.empty_like(theta), np.empty((1, len(batch), 3))
            bind_gradient([NET], [bare], [order], theta, grad, np.empty_like(theta), len(batch))(x, y, logits)
            losses.append(NET.loss.values(logits, y)[0])
            theta -= 0.1 * (grad + decay * theta)
        assert epoch.train.loss[0] == pytest.approx(np.concatenate(losses).mean(), rel=1e-12)
    np.testing.assert_allclose(state.theta, theta, rtol=1e-10)
    assert (state.epoch, state.step) == (2, 6)


def test_l2_shrinks_weights_and_leaves_biases() -> None:
    """With zero inputs and squared error against zero only the regularizer changes W."""
    net = Network((3,), (Dense(4),), SquaredError())
    trial = Hyperparameters(SGD(), 0.1, batch_size=5, l2=0.5)
    state = start(net, [trial], F64)
    state.theta[:, ~net.regularized] = 1.0
    before = state.theta.copy()
    run(net, [trial], state, Rows(np.zeros((5, 3)), np.ones((5, 4))), 1)
    np.testing.assert_allclose(state.theta[:, net.regularized], before[:, net.regularized] * 0.95, rtol=1e-15)
    np.testing.assert_array_equal(state.theta[:, ~net.regularized], 1.0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("loss", "outputs"), LOSS_CASES)
def test_divergence_is_contained(loss: str, outputs: int, activation: str) -> None:
    net = network(loss, outputs, activation, inputs=5, hidden=(6, 6))
    data = rows(loss, outputs, 21, 5)
    trials = [Hyperparameters(Momentum(), rate, 8) for rate in (0.05, 1e6, 0.02)]
    state = start(net, trials)
    stopping = EarlyStopping()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        training = train(net, trials, state, data, data)
        for _ in range(12):
            epoch = next(training)
            assert epoch.val is not None
            stopping.update(state, epoch.val.loss)
    if loss == "squared_error" and activation in ("identity", "relu", "leaky_relu"):
        assert not np.isfinite(epoch.train.loss[1])
        assert not np.isfinite(epoch.val.loss[1])
    assert np.isfinite(epoch.train.loss[[0, 2]]).all() and np.isfinite(state.best_theta).all()
    for k in (0, 2):
        alone = start(net, trials).take(np.array([k]))
        run(net, [trials[k]], alone, data, 12)
        assert np.array_equal(alone.theta[0], state.theta[k])


def test_batches_larger_than_the_data() -> None:
    trials = [hyperparameters(1, "sgd", batch=batch)[0] for batch in (21, 500)]
    whole, larger = start(NET, trials[:1]), start(NET, trials[:1])
    run(NET, trials[:1], whole, DATA, 2)
    run(NET, trials[1:], larger, DATA, 2)
    assert bits(whole, 0) == bits(larger, 0) and whole.step == 2


def test_rows_are_not_changed_and_val_has_no_effect() -> None:
    trials = hyperparameters(2, "momentum")
    x, y = DATA.x.copy(), DATA.y.copy()
    with_val, without = start(NET, trials), start(NET, trials)
    run(NET, trials, with_val, DATA, 2)
    training = train(NET, trials, without, DATA)
    assert next(training).val is None
    next(training)
    assert bits(with_val, 0) == bits(without, 0) and bits(with_val, 1) == bits(without, 1)
    assert np.array_equal(x, DATA.x) and np.array_equal(y, DATA.y)


def test_training_ends_when_no_trial_continues() -> None:
    trials = hyperparameters(2, "sgd")
    state = start(NET, trials)
    training = train(NET, trials, state, DATA)
    next(training)
    with pytest.raises(StopIteration):
        training.send(np.array([False, False]))
    assert len(state) == 0


def test_memory_does_not_grow_with_epochs_or_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.data.rows.BLOCK", 2000)

    def peak(count: int, epochs: int) -> int:
        trials = hyperparameters(2, "adam", batch=1)
        data = rows("softmax_cross_entropy", 3, count, 50)
        net = network("softmax_cross_entropy", 3, "relu", inputs=50)
        training = train(net, trials, start(net, trials), data)
        next(training)
        tracemalloc.start()
        for _ in range(epochs):
            next(training)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(400, 8) < peak(400, 1) + 10_000
    assert (
        peak(1600, 1) < peak(400, 1) + 1200 * 2 * 2 * 8 + 10_000
    )  # the permutation of each trial, and all of them in one array


def test_evaluate_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    theta = start(NET, hyperparameters(2, "sgd"), F64).theta
    data = rows("softmax_cross_entropy", 3, 50, 5, dtype=F64)
    whole = evaluate(NET, theta, data)
    monkeypatch.setattr("engine.network.CHUNK", 7)
    np.testing.assert_allclose(evaluate(NET, theta, data).loss, whole.loss, rtol=1e-12)


def test_invalid_hyperparameters() -> None:
    nan = float("nan")
    for kwargs, message in (
        ({"learning_rate": -1.0}, "learning_rate must be at least 0, got -1.0"),
        ({"learning_rate": nan}, "learning_rate must be at least 0, got nan"),
        ({"learning_rate": 1.0, "batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"learning_rate": 1.0, "l2": -1e-9}, "l2 must be at least 0, got -1e-09"),
        ({"learning_rate": 1.0, "l2": nan}, "l2 must be at least 0, got nan"),
    ):
        with pytest.raises(EngineError, match=f"^{message}$"):
            Hyperparameters(SGD(), **kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Momentum(1.0), "momentum: beta must be at least 0 and below 1, got 1.0"),
        (lambda: Momentum(float("nan")), "momentum: beta must be at least 0 and below 1, got nan"),
        (lambda: Adam(beta1=-0.1), "adam: beta1 must be at least 0 and below 1, got -0.1"),
        (lambda: Adam(beta2=1), "adam: beta2 must be at least 0 and below 1, got 1"),
        (lambda: Adam(epsilon=0), "adam: epsilon must be above 0, got 0"),
        (lambda: LeakyReLU(1.0), "leaky_relu: slope must lie between 0 and 1, got 1.0"),
        (lambda: Dense(0), "dense: units must be at least 1, got 0"),
        (lambda: Network((3,), (), SquaredError()), "a network must have at least one layer"),
        (
            lambda: Network((3, 3), (ACTIVATIONS["relu"](),), SquaredError()),
            r"the last layer must put out rows of \(outputs,\), got \(3, 3\)",
        ),
        (
            lambda: Network((8, 8), (ACTIVATIONS["relu"](), Dense(3)), SquaredError()),
            r"layer 2 of 2: dense: rows must be \(features,\), got \(8, 8\)",
        ),
        (lambda: NET.forward(np.zeros((1, NET.size)), np.zeros((2, 4))), r"rows must be \(5,\), got \(4,\)"),
    ],
)
def test_invalid_networks_and_optimizers(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(EngineError, match=f"^{message}$"):
        make()


def test_trials_and_rows_of_different_numbers() -> None:
    trials = hyperparameters(2, "sgd")
    state = start(NET, trials)
    other_batch = [trials[0], hyperparameters(2, "sgd", batch=9)[1]]
    other_kind = [trials[0], hyperparameters(2, "adam")[1]]
    shape = r"rows must be \(5,\) with \(3,\) targets, got "
    none = Rows(DATA.x[:0], DATA.y[:0])
    for given, data, message in (
        (trials[:1], DATA, rf"the state must be \(1 trials, {NET.size} parameters\), got \(2, {NET.size}\)"),
        (other_batch, DATA, "trials that train together must have the same batch size and the same kinds of settings"),
        (other_kind, DATA, "trials that train together must have the same batch size and the same kinds of settings"),
        (trials, Rows(DATA.x[:, :4], DATA.y), shape + r"21 rows \(4,\) with \(3,\)"),
        (trials, Rows(DATA.x, DATA.y[:, :2]), shape + r"21 rows \(5,\) with \(2,\)"),
        (trials, none, shape + r"0 rows \(5,\) with \(3,\)"),
        (trials, Rows(DATA.x.astype(F64), DATA.y), "rows must be float32 like the parameters, got float64 and float32"),
    ):
        with pytest.raises(EngineError, match=f"^{message}$"):
            next(train(NET, given, state, data))
    assert SoftmaxCrossEntropy() == NET.loss

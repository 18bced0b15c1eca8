"""A trial's numbers are the same to the bit, whether it trains alone or in a batch of trials."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from engine_cases import LOSS_CASES, bits, hyperparameters, network, plain, rows, run, scores_bits, start, train
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.activations import ACTIVATIONS
from engine.data.rows import Rows
from engine.initializers import INITIALIZERS
from engine.layers import Dense
from engine.losses import SoftmaxCrossEntropy
from engine.network import Network
from engine.optimizers import OPTIMIZERS
from engine.training.hyperparameters import Hyperparameters
from engine.training.schedules import SCHEDULES
from engine.training.trainer import evaluate

pytestmark = pytest.mark.usefixtures("kernel")


def assert_batching_changes_nothing(
    net: Network, trials: Sequence[Hyperparameters], data: Rows, groups: Sequence[int], epochs: int = 3
) -> None:
    """Compare the first `n` trials trained together, for each group size `n`, with each trained alone."""
    alone = []
    for k, trial in enumerate(trials):
        state = start(net, trials).take(np.array([k]))
        epochs_alone = run(net, [trial], state, data, epochs)
        alone.append(bits(state, 0) + scores_bits(epochs_alone, 0) + plain(net.predict(state.theta, data.x)))
    for size in groups:
        state = start(net, trials).take(np.arange(size))
        together = run(net, trials[:size], state, data, epochs)
        predicted = net.predict(state.theta, data.x)
        for k in range(size):
            assert bits(state, k) + scores_bits(together, k) + plain(predicted[k]) == alone[k], (size, k)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("loss", "outputs"), LOSS_CASES)
def test_losses_and_activations(loss: str, outputs: int, activation: str) -> None:
    net = network(loss, outputs, activation, inputs=5, hidden=(17, 9))
    assert_batching_changes_nothing(net, hyperparameters(16, "sgd"), rows(loss, outputs, 21, 5), (1, 2, 5, 16))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_and_schedules(optimizer: str, schedule: str) -> None:
    net = network("softmax_cross_entropy", 3, "relu", inputs=7, hidden=(33,))
    trials = hyperparameters(16, optimizer, schedule)
    assert_batching_changes_nothing(net, trials, rows("softmax_cross_entropy", 3, 21, 7), (1, 2, 5, 16))


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_initializers(initializer: str) -> None:
    init = INITIALIZERS[initializer]()
    net = Network((7,), (Dense(33, init), ACTIVATIONS["tanh"](), Dense(3, init)), SoftmaxCrossEntropy())
    trials = hyperparameters(5, "momentum")
    assert_batching_changes_nothing(net, trials, rows("softmax_cross_entropy", 3, 21, 7), (1, 2, 5))


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_odd_sizes(data: st.DataObject) -> None:
    size = st.integers(1, 70)
    loss, outputs = data.draw(st.sampled_from(LOSS_CASES))
    inputs, count = data.draw(size), data.draw(size)
    hidden = data.draw(st.lists(size, max_size=2))
    net = network(loss, outputs, data.draw(st.sampled_from(sorted(ACTIVATIONS))), inputs, hidden)
    group = data.draw(st.sampled_from([2, 5, 16]))
    trials = hyperparameters(group, data.draw(st.sampled_from(sorted(OPTIMIZERS))), batch=data.draw(size))
    assert_batching_changes_nothing(net, trials, rows(loss, outputs, count, inputs), (group,), epochs=2)


@pytest.mark.parametrize(("small", "unpacked"), [(0, 10**6), (1 << 14, 10**9), (1 << 14, 10**6)])
def test_wide_layers(small: int, unpacked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large enough for BLAS to cut the matrices into panels; both treatments of biases, products cut or whole."""
    monkeypatch.setattr("engine.layers.dense.SMALL", small)
    monkeypatch.setattr("engine.layers.dense.UNPACKED", unpacked)
    net = network("softmax_cross_entropy", 3, "relu", inputs=64, hidden=(300,))
    trials = hyperparameters(3, "adam", batch=128)
    assert_batching_changes_nothing(net, trials, rows("softmax_cross_entropy", 3, 300, 64), (2, 3))


def test_more_rows_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.data.rows.BLOCK", 100)  # numbers: 2 batches of 8 rows of 5
    monkeypatch.setattr("engine.network.CHUNK", 10)
    net = network("softmax_cross_entropy", 3, "relu", inputs=5)
    data = rows("softmax_cross_entropy", 3, 45, 5)
    assert_batching_changes_nothing(net, hyperparameters(5, "momentum"), data, (1, 2, 5))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("loss", "outputs"), LOSS_CASES)
def test_neighbors_that_diverge_or_end(loss: str, outputs: int, optimizer: str) -> None:
    net = network(loss, outputs, "relu", inputs=5)
    data = rows(loss, outputs, 21, 5)
    trials = hyperparameters(5, optimizer)
    trials[1] = replace(trials[1], learning_rate=1e30)
    together = start(net, trials)
    training = train(net, trials, together, data)
    next(training)
    training.send(np.array([True, True, False, True, True]))
    last = training.send(np.array([True, True, False, True]))  # the fourth ends too: 0, 1 and 4 continue
    assert len(last.train.loss) == len(together) == 3
    if optimizer in ("sgd", "momentum", "nesterov"):  # for the others, steps do not grow with the gradient
        assert not np.isfinite(last.train.loss[1])
    for row, k in ((0, 0), (2, 4)):
        alone = start(net, trials).take(np.array([k]))
        run(net, [trials[k]], alone, data, 3)
        assert bits(together, row) == bits(alone, 0)


def test_each_trial_has_its_own_generator() -> None:
    """Equal weights and hyperparameters with different orders of rows give different networks."""
    net = network("softmax_cross_entropy", 3, "tanh", inputs=5)
    data = rows("softmax_cross_entropy", 3, 21, 5)
    trials = [hyperparameters(1, "sgd")[0]] * 3
    state = start(net, trials)
    state.theta[:] = state.theta[0]
    state.generators = [np.random.default_rng(seed) for seed in (1, 2, 1)]
    run(net, trials, state, data, 1)
    assert not np.array_equal(state.theta[0], state.theta[1])
    assert np.array_equal(state.theta[0], state.theta[2])


def test_scores_are_the_same_in_a_batch() -> None:
    net = network("squared_error", 3, "tanh", inputs=5)
    data = rows("squared_error", 3, 2000, 5)
    state = start(net, hyperparameters(5, "sgd"))
    together = evaluate(net, state.theta, data)
    for k in range(5):
        alone = evaluate(net, state.theta[k : k + 1], data)
        assert together.loss[k] == alone.loss[0] and together.accuracy[k] == alone.accuracy[0]

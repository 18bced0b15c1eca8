"""Training continues with equal bits from a state that was written, read and joined with others."""

import io

import numpy as np
import pytest
from engine_cases import F64, bits, hyperparameters, network, rows, run, scores_bits, start, train
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.network import Network
from engine.optimizers import OPTIMIZERS
from engine.training.state import State
from engine.training.stopping import EarlyStopping
from engine.types import EngineError

pytestmark = pytest.mark.usefixtures("kernel")

DATA = rows("softmax_cross_entropy", 3, 21, 5)


def net() -> Network:
    return network("softmax_cross_entropy", 3, "relu", inputs=5)


@pytest.mark.parametrize("cut", range(5))
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_resuming_changes_nothing(optimizer: str, cut: int) -> None:
    trials = hyperparameters(3, optimizer, "inverse_time")
    uninterrupted = start(net(), trials)
    epochs = run(net(), trials, uninterrupted, DATA, 5)

    first = start(net(), trials)
    run(net(), trials, first, DATA, cut)
    second = State.from_bytes(first.to_bytes())
    rest = run(net(), trials, second, DATA, 5 - cut)
    for k in range(3):
        assert bits(second, k) == bits(uninterrupted, k)
        assert scores_bits(rest, k) == scores_bits(epochs[cut:], k)
    assert (second.epoch, second.step) == (uninterrupted.epoch, uninterrupted.step) == (5, 5 * 3)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_trials_that_began_apart_continue_together(optimizer: str) -> None:
    trials = hyperparameters(4, optimizer)
    uninterrupted = start(net(), trials)
    run(net(), trials, uninterrupted, DATA, 4)

    fresh = start(net(), trials)
    parts = [(np.array([3]), [3]), (np.array([0, 2]), [0, 2]), (np.array([False, True, False, False]), [1])]
    states = []
    for chosen, numbers in parts:
        state = fresh.take(chosen)
        run(net(), [trials[k] for k in numbers], state, DATA, 2)
        states.append(State.from_bytes(state.to_bytes()))
    joined = State.join(states)
    order = [3, 0, 2, 1]
    run(net(), [trials[k] for k in order], joined, DATA, 2)
    for row, k in enumerate(order):
        assert bits(joined, row) == bits(uninterrupted, k)


def test_round_trip_through_bytes() -> None:
    trials = hyperparameters(3, "adam")
    for dtype in (F64, np.dtype(np.float32)):
        state = start(net(), trials, dtype)
        state.best_value[:] = [np.nan, np.inf, 0.1]
        state.best_epoch[:] = [0, 1, 2]
        back = State.from_bytes(state.to_bytes())
        assert back.theta.dtype == dtype and list(back.slots) == ["mean", "square"]
        np.testing.assert_array_equal(back.best_value, state.best_value)
        np.testing.assert_array_equal(back.best_epoch, state.best_epoch)
        assert len(back) == 3 and [bits(back, k) for k in range(3)] == [bits(state, k) for k in range(3)]


def test_best_weights_stay_with_their_trial() -> None:
    trials = hyperparameters(3, "sgd")
    state = start(net(), trials)
    stopping = EarlyStopping(patience=9)
    for epoch in train(net(), trials, state, DATA, DATA):
        assert epoch.val is not None
        stopping.update(state, epoch.val.loss)
        if epoch.number == 3:
            break
    taken = state.take(np.array([2, 0]))
    assert np.array_equal(taken.best_theta, state.best_theta[[2, 0]])
    assert np.array_equal(taken.best_value, state.best_value[[2, 0]])
    joined = State.join([taken, state.take(np.array([1]))])
    assert np.array_equal(joined.best_value, state.best_value[[2, 0, 1]])
    assert np.array_equal(joined.best_epoch, state.best_epoch[[2, 0, 1]])


def test_a_state_is_copied_not_shared() -> None:
    state = start(net(), hyperparameters(2, "momentum"))
    taken = state.take(np.array([0, 1]))
    taken.theta[:] = 0
    taken.slots["velocity"][:] = 1
    assert state.theta.any() and not state.slots["velocity"].any()


def test_different_states_cannot_be_joined() -> None:
    trials = hyperparameters(1, "sgd")
    early, late = start(net(), trials), start(net(), trials)
    run(net(), trials, late, DATA, 1)
    wide = start(network("softmax_cross_entropy", 3, "relu", inputs=5, hidden=(7,)), trials)
    other = start(net(), hyperparameters(1, "adam"))
    double = start(net(), trials, F64)
    for stranger in (late, wide, other, double):
        with pytest.raises(EngineError, match="states to join must have the same epoch, step"):
            State.join([early, stranger])


def test_invalid_bytes() -> None:
    whole = start(net(), hyperparameters(2, "adam")).to_bytes()
    array, archive = io.BytesIO(), io.BytesIO()
    np.save(array, np.zeros(3))
    np.savez(archive, theta=np.zeros(3))
    for data in (b"", b"rubbish", whole[: len(whole) // 2], whole[:-1], array.getvalue(), archive.getvalue()):
        with pytest.raises(EngineError, match="not a checkpoint: "):
            State.from_bytes(data)


@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=200, deadline=None)
def test_a_flipped_bit_is_refused_or_harmless(at: float, bit: int) -> None:
    state = start(net(), hyperparameters(1, "sgd"))
    data = bytearray(state.to_bytes())
    data[int(at * len(data))] ^= 1 << bit
    try:
        back = State.from_bytes(bytes(data))
    except EngineError as error:
        assert str(error).startswith("not a checkpoint: ")
    else:
        assert bits(back, 0) == bits(state, 0)

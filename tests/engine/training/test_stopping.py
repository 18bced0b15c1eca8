"""Early stopping: patience, min_delta, and the best weights."""

import numpy as np
import pytest
from engine_cases import F64, hyperparameters, network, rows, start, train
from hypothesis import given
from hypothesis import strategies as st

from engine.kernels.choice import Kernel
from engine.training.state import State
from engine.training.stopping import EarlyStopping
from engine.training.trainer import evaluate
from engine.types import EngineError

pytestmark = pytest.mark.usefixtures("kernel")

NET = network("softmax_cross_entropy", 3, "tanh", inputs=5)


def fed(stopping: EarlyStopping, values: list[list[float]]) -> tuple[State, list[list[bool]]]:
    """Return a state whose weights are the number of the epoch, after these values per epoch."""
    state = start(NET, hyperparameters(len(values[0]), "sgd"), F64)
    going = []
    for epoch, now in enumerate(values, 1):
        state.epoch = epoch
        state.theta[:] = epoch
        going.append(stopping.update(state, np.array(now)).tolist())
    return state, going


def test_patience_counts_epochs_without_improvement() -> None:
    values = [[0.5, 0.5], [0.4, 0.5], [0.45, 0.5], [0.42, 0.4], [0.3, 0.6]]
    state, going = fed(EarlyStopping(patience=2), values)
    assert going == [[True, True], [True, True], [True, False], [False, True], [True, True]]
    assert state.best_value.tolist() == [0.3, 0.4] and state.best_epoch.tolist() == [5, 4]
    assert (state.best_theta[0] == 5).all() and (state.best_theta[1] == 4).all()


def test_an_improvement_must_exceed_min_delta() -> None:
    state, going = fed(EarlyStopping(patience=2, min_delta=0.125), [[1.0], [0.9], [0.875], [0.8125]])
    assert going == [[True], [True], [False], [True]]
    assert state.best_value[0] == 0.8125 and state.best_epoch[0] == 4


def test_values_that_are_not_finite_are_no_improvement() -> None:
    nan, inf = float("nan"), float("inf")
    state, going = fed(EarlyStopping(patience=2), [[nan, 1.0, inf], [nan, nan, -inf]])
    assert going == [[True, True, True], [False, True, False]]
    assert state.best_value.tolist() == [inf, 1.0, inf] and state.best_epoch.tolist() == [0, 1, 0]
    assert np.isfinite(state.best_theta).all() and (state.best_theta[1] == 1).all()


@given(st.lists(st.lists(st.floats(allow_nan=True), min_size=2, max_size=2), min_size=1, max_size=12), st.booleans())
def test_the_best_epoch_is_the_first_with_the_lowest_value(values: list[list[float]], patient: bool) -> None:
    state, going = fed(EarlyStopping(patience=3 if patient else None), values)
    for k in range(2):
        finite = [(v[k], epoch) for epoch, v in enumerate(values, 1) if np.isfinite(v[k])]
        best, epoch = min(finite, default=(np.inf, 0))
        assert (state.best_value[k], state.best_epoch[k]) == (best, epoch)
        assert epoch == 0 or (state.best_theta[k] == epoch).all()
        assert patient or all(mask[k] for mask in going)


def test_training_ends_with_the_best_weights(kernel: Kernel) -> None:
    """Validation loss rises again on a small noisy set; the kept weights have the lowest value."""
    data, val = rows("softmax_cross_entropy", 3, 30, 5), rows("softmax_cross_entropy", 3, 30, 5, seed=9)
    trials = hyperparameters(3, "adam")
    state = start(NET, trials)
    stopping = EarlyStopping(patience=5)
    history: list[np.ndarray] = []
    training = train(NET, trials, state, data, val)
    for epoch in training:
        assert epoch.val is not None
        history.append(epoch.val.loss)
        if not stopping.update(state, epoch.val.loss).any() or epoch.number == 60:
            break
    curves = np.array(history)
    assert (curves.argmin(axis=0) < len(curves) - 1).all()
    assert state.best_value.tolist() == curves.min(axis=0).tolist()
    again = evaluate(NET, state.best_theta, val).loss  # by NumPy
    if kernel == "numpy":
        assert again.tolist() == curves.min(axis=0).tolist()
    np.testing.assert_allclose(again, curves.min(axis=0), rtol=1e-6)


def test_settings() -> None:
    with pytest.raises(EngineError, match="early stopping: patience must be at least 1, got 0"):
        EarlyStopping(patience=0)
    for delta in (-1e-9, float("nan")):
        with pytest.raises(EngineError, match="early stopping: min_delta must be at least 0, got "):
            EarlyStopping(min_delta=delta)

"""float32 throughout: no operand or result of a ufunc in a step is float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from engine_cases import F32, F64, LOSS_CASES, hyperparameters, network, rows, run, start

from engine.activations import ACTIVATIONS
from engine.losses import LOSSES
from engine.optimizers import OPTIMIZERS, Matrices
from engine.training.gradient import bind_gradient
from engine.training.hyperparameters import Hyperparameters

pytestmark = pytest.mark.usefixtures("kernel")


class Watched(np.ndarray):
    """An array that checks the dtypes of every ufunc call it takes part in."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        plain = [np.asarray(i) if isinstance(i, Watched) else i for i in inputs]
        named = {name: np.asarray(v) if isinstance(v, Watched) else v for name, v in kwargs.items()}
        if "out" in kwargs:
            named["out"] = tuple(np.asarray(o) for o in kwargs["out"])
        result = getattr(ufunc, method)(*plain, **named)
        for value in (*plain, *named.get("out", ()), result):
            assert getattr(value, "dtype", F32) in (F32, np.bool_), f"{ufunc.__name__} met {value.dtype}"
        if "out" in kwargs:
            return kwargs["out"][0]
        return watched(result) if isinstance(result, np.ndarray) else result


def watched(array: np.ndarray) -> Watched:
    return array.view(Watched)


@pytest.fixture
def watched_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every float32 allocation a `Watched` array."""

    def looking(make: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        def allocate(*args: Any, **kwargs: Any) -> np.ndarray:
            array = make(*args, **kwargs)
            return watched(array) if array.dtype == F32 else array

        return allocate

    for make in (np.empty, np.zeros, np.ones):
        monkeypatch.setattr(np, make.__name__, looking(make))


@pytest.mark.usefixtures("watched_memory")
@pytest.mark.parametrize("trials", [1, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("loss", "outputs"), LOSS_CASES)
def test_gradient(loss: str, outputs: int, activation: str, trials: int) -> None:
    net = network(loss, outputs, activation, inputs=5, hidden=(6, 4))
    data = rows(loss, outputs, 8, 5)
    theta, grad, scratch = (watched(np.ones((trials, net.size), F32)) for _ in range(3))
    hypers = [Hyperparameters(l2=0.1, l1=0.1)] * trials
    generators = [np.random.default_rng(k) for k in range(trials)]
    gradient = bind_gradient([net] * trials, hypers, generators, theta, grad, scratch, 8)
    x, y = (watched(np.repeat(a[None], trials, axis=0)) for a in (data.x, data.y))
    logits = watched(np.empty((trials, 8, outputs), F32))
    gradient(x, y, logits)
    assert np.asarray(grad).any()


@pytest.mark.usefixtures("watched_memory")
@pytest.mark.parametrize("loss", LOSSES)
def test_loss_gradient_and_values(loss: str) -> None:
    outputs = next(o for name, o in LOSS_CASES if name == loss)
    data = rows(loss, outputs, 8, 5)
    logits, y = watched(np.ones((2, 8, outputs), F32)), watched(np.stack([data.y, data.y]))
    config = LOSSES[loss]()
    assert config.bind(logits.shape, F32)(logits, y).dtype == F32
    assert config.values(logits, y).dtype == config.predict(logits).dtype == F32


@pytest.mark.parametrize("trials", [1, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizer(optimizer: str, trials: int) -> None:
    kind = OPTIMIZERS[optimizer]
    theta, grad, scratch = (watched(np.ones((trials, 9), F32)) for _ in range(3))
    slots = {name: watched(np.zeros((trials, 9), F32)) for name in kind.slots}
    regularized = np.arange(9) % 2 == 0
    update = kind.bind([kind()] * trials, [0.1] * trials, Matrices(theta, grad, slots, scratch, regularized))
    update(1)
    update(2)
    assert not np.array_equal(np.asarray(theta), np.ones((trials, 9)))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_state_and_logits_keep_the_dtype(optimizer: str, dtype: np.dtype[Any]) -> None:
    net = network("softmax_cross_entropy", 3, "sigmoid", inputs=5)
    data = rows("softmax_cross_entropy", 3, 21, 5, dtype=dtype)
    for count in (1, 3):
        trials = hyperparameters(count, optimizer)
        state = start(net, trials, dtype)
        epochs = run(net, trials, state, data, 2)
        assert {a.dtype for a in (state.theta, state.best_theta, *state.slots.values())} == {dtype}
        assert net.forward(state.theta, data.x).dtype == net.predict(state.theta, data.x).dtype == dtype
        assert epochs[-1].train.loss.dtype == state.best_value.dtype == np.float64


def test_rows_are_converted_to_the_dtype_of_the_network() -> None:
    net = network("softmax_cross_entropy", 3, "relu", inputs=5)
    state = start(net, hyperparameters(1, "sgd"))
    x = rows("softmax_cross_entropy", 3, 8, 5).x
    assert np.array_equal(net.predict(state.theta, x.astype(F64)), net.predict(state.theta, x))

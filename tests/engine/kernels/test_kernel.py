"""The compiled kernel computes what NumPy computes, up to rounding, for every network and setting that it covers."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from engine_cases import F32, F64, LOSS_CASES, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_cases import LAYER_CASES

from engine.activations import ACTIVATIONS
from engine.data.augmentation import Noise
from engine.data.row_sampling import ROW_SAMPLINGS
from engine.data.rows import Rows
from engine.initializers import XavierNormal
from engine.kernels.choice import Kernel, is_covered
from engine.layers import BatchNorm, Dense, Dropout, Layer, Maxout, PReLU, Residual, RReLU
from engine.losses import LOSSES
from engine.metrics import METRICS
from engine.network import Network
from engine.optimizers import OPTIMIZERS, SGD, Momentum, Nesterov
from engine.training.clipping import CLIPS
from engine.training.hyperparameters import Hyperparameters, Switch
from engine.training.schedules import Exponential
from engine.training.state import State
from engine.training.trainer import Epoch, train

pytest.importorskip("numba", reason="needs the fast extra")

XAVIER = XavierNormal()
# Every activation, and every layer of features.
HIDDEN: dict[str, Any] = {name: kind() for name, kind in ACTIVATIONS.items()} | {
    "prelu": PReLU(),
    "prelu, steep": PReLU(-0.3),
    "rrelu": RReLU(),
    "maxout": Maxout(5, 3, XAVIER),
    "dropout": Dropout(0.3),
    "batch_norm": BatchNorm(),
}

SMOOTH = ("sigmoid", "tanh", "softplus", "softmax")

KERNELS: tuple[Kernel, ...] = ("numpy", "compiled")
Trained = tuple[State, list[Epoch]]


def trained(
    network: Network,
    trials: Sequence[Hyperparameters],
    data: Rows,
    epochs: int,
    dtype: np.dtype[Any],
    kernel: Kernel,
    rounded: bool = False,
) -> Trained:
    """Train by a kernel; with `rounded`, from initial parameters that differ in their last bit."""
    generators = [np.random.default_rng([1, k]) for k in range(len(trials))]
    state = State.start(network, trials[0].slots, generators, dtype)
    if rounded:
        state.theta[...] = np.nextafter(state.theta, np.where(np.arange(network.size) % 2, 9, -9).astype(dtype))
    metrics = {n: m() for n, m in METRICS.items() if m.classifies == network.loss.classifies}
    training = train(network, trials, state, data, data, metrics=metrics, kernel=kernel)
    return state, [next(training) for _ in range(epochs)]


def numbers(result: Trained, trial: int) -> list[Any]:
    """Return parameters, slots and losses of a trial."""
    state, epochs = result
    losses = [scores.loss[trial] for e in epochs for scores in (e.train, e.val) if scores is not None]
    return [state.theta[trial], *(slot[trial] for slot in state.slots.values()), np.array(losses)]


def assert_alike(
    network: Network, trials: Sequence[Hyperparameters], data: Rows, epochs: int, dtype: np.dtype[Any], tolerance: float
) -> None:
    """Compare the compiled kernel with NumPy, relative to the norm of the numbers.

    Some trainings magnify rounding. So the tolerance is at least 100 times the difference between two trainings by
    NumPy whose initial parameters differ in the last bit.
    """
    by_numpy, compiled = (trained(network, trials, data, epochs, dtype, k) for k in KERNELS)
    rounded = trained(network, trials, data, epochs, dtype, "numpy", rounded=True)
    assert compiled[0].theta.dtype == dtype and compiled[0].step == by_numpy[0].step
    for trial in range(len(trials)):
        for x, y, z in zip(*(numbers(r, trial) for r in (by_numpy, compiled, rounded)), strict=True):
            assert np.isfinite(x).all()
            allowed = max(tolerance * np.linalg.norm(x), 100 * np.linalg.norm(x - z))
            assert np.linalg.norm(x - y) <= allowed, (trial, np.linalg.norm(x - y) / np.linalg.norm(x))
    draws = [[g.bit_generator.state for g in state.generators] for state, _ in (by_numpy, compiled)]
    assert draws[0] == draws[1]


@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-12), (F32, 1e-5)])
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize(("loss", "outputs"), LOSS_CASES)
def test_layers_and_losses(loss: str, outputs: int, hidden: str, dtype: np.dtype[Any], tolerance: float) -> None:
    layers = (Dense(9, XAVIER), HIDDEN[hidden], Dense(6, XAVIER), HIDDEN[hidden], Dense(outputs, XAVIER))
    network = Network((5,), layers, LOSSES[loss]())
    assert is_covered(network)
    trials = [Hyperparameters(OPTIMIZERS["momentum"](), 0.05, 8, l2=1e-3)]
    assert_alike(network, trials, rows(loss, outputs, 30, 5, dtype=dtype), 5, dtype, tolerance)


@pytest.mark.parametrize(("loss", "outputs"), LOSS_CASES)
def test_scores(loss: str, outputs: int) -> None:
    """Accuracy and other metrics count rows, so rounding changes them for rows between two classes only."""
    network = Network((5,), (Dense(9, XAVIER), HIDDEN["tanh"], Dense(outputs, XAVIER)), LOSSES[loss]())
    trials = [Hyperparameters(OPTIMIZERS["sgd"](), rate, 8) for rate in (0.01, 0.1)]
    results = [trained(network, trials, rows(loss, outputs, 1000, 5, dtype=F64), 3, F64, k) for k in KERNELS]
    for a, b in zip(*(epochs for _, epochs in results), strict=True):
        assert a.others.keys() == b.others.keys() and a.val is not None and b.val is not None
        both = [(a.train, b.train), (a.val, b.val), (tuple(a.others.values()), tuple(b.others.values()))]
        for expected, got in both:
            np.testing.assert_allclose(got, expected, rtol=1e-9)


CASES = [(name, k) for name, networks in LAYER_CASES.items() for k, net in enumerate(networks) if is_covered(net)]


@pytest.mark.parametrize(("layer", "number"), CASES)
def test_layer_cases(layer: str, number: int) -> None:
    network = LAYER_CASES[layer][number]
    data = rows("softmax_cross_entropy", 3, 22, 5, dtype=F64)
    trials = [Hyperparameters(OPTIMIZERS["nesterov"](), 0.05, 7)]
    assert_alike(network, trials, data, 5, F64, 1e-12)


@st.composite
def chains(draw: st.DrawFn, inputs: int, batch_norm: bool, depth: int = 3) -> tuple[Layer, ...]:
    """Return hidden layers: dense ones with an activation, and then perhaps batch norm, dropout, a residual block."""
    layers: list[Layer] = []
    width = inputs
    for _ in range(draw(st.integers(0, depth))):
        name = draw(st.sampled_from([*ACTIVATIONS, "prelu", "rrelu", "maxout"]))
        width = draw(st.integers(1, 20))
        layers += [Maxout(width, 2, XAVIER)] if name == "maxout" else [Dense(width, XAVIER), HIDDEN[name]]
        if batch_norm and name in SMOOTH and draw(st.booleans()):
            layers.append(BatchNorm())
        if draw(st.booleans()):
            layers.append(Dropout(draw(st.floats(0, 0.6))))
        if depth > 1 and draw(st.booleans()):
            inner = (*draw(chains(width, batch_norm, 1)), Dense(width, XAVIER))
            layers.append(Residual(inner, (Dense(width, XAVIER),) if draw(st.booleans()) else ()))
    return tuple(layers)


@st.composite
def hyperparameters(draw: st.DrawFn, classifies: bool) -> Hyperparameters:
    """Return hyperparameters of any kind, at learning rates that let no rounding error grow."""
    optimizer, later = (draw(st.sampled_from(sorted(OPTIMIZERS))) for _ in range(2))
    rate = 0.003 if optimizer in ("adagrad", "rmsprop", "adam", "adamw") else 0.02
    forms = [{}, {"classical": True}, {"classical": True, "rate_inside": True}]
    form: Any = draw(st.sampled_from(forms)) if optimizer in ("momentum", "nesterov") else {}
    penalty = st.sampled_from([0.0, 1e-3, 1e-2])
    return Hyperparameters(
        OPTIMIZERS[optimizer](**form),
        rate,
        draw(st.integers(5, 12)),
        l2=draw(penalty),
        l1=draw(penalty),
        divide_by_batch=draw(st.booleans()),
        schedule=Exponential(0.9),
        clip=draw(st.sampled_from([None, *(CLIPS[name](limit) for name in CLIPS for limit in (0.05, 10.0))])),
        label_smoothing=draw(st.sampled_from([0.0, 0.1])) if classifies else 0.0,
        augment=draw(st.sampled_from([(), (Noise(0.05),)])),
        row_sampling=ROW_SAMPLINGS[draw(st.sampled_from(sorted(ROW_SAMPLINGS)))](),
        switch=draw(st.sampled_from([None, Switch(2, OPTIMIZERS[later](), 0.003)])),
    )


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_any_network_and_setting(data: st.DataObject) -> None:
    loss, outputs = data.draw(st.sampled_from(LOSS_CASES))
    dtype, tolerance = data.draw(st.sampled_from([(F64, 1e-12), (F32, 1e-5)]))
    trial = data.draw(hyperparameters(LOSSES[loss].classifies))
    optimizers = {type(trial.optimizer), type(trial.switch.optimizer) if trial.switch else SGD}
    # A bias before batch norm may have no gradient but for rounding, which other optimizers divide by its own size,
    # and which decides the sign of numbers that only consist of the bias.
    layers = data.draw(chains(5, batch_norm=optimizers <= {SGD, Momentum, Nesterov}))
    network = Network((5,), (*layers, Dense(outputs, XAVIER)), LOSSES[loss]())
    trials = [dataclasses.replace(trial, learning_rate=trial.learning_rate / k) for k in (1, 2, 3, 4)]
    sets = data.draw(st.sampled_from([1, 2]))
    # The last batch may be smaller, but after batch norm two or three rows are nearly constants.
    count = 4 * trial.batch_size + data.draw(st.sampled_from([0, 5]))
    whole = rows(loss, outputs, sets * count, 5, dtype=dtype)
    assert_alike(network, trials, Rows(whole.x, whole.y, sets), 4, dtype, tolerance)

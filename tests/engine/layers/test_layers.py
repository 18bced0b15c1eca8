"""Layers: contracts over the registry, and each layer compared with a definition, a statistic, or PyTorch.

The stored values come from PyTorch 2.13.0 in float64, by `python tests/engine/references/torch_layers.py`.
"""

import dataclasses
import json
import tracemalloc
from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np
import pytest
from engine_cases import F32, F64, REFERENCES_FOLDER, bits, hyperparameters, plain, scores_bits, start, train
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_cases import LAYER_CASES, Pixels, of_features, of_images

from engine.activations import ACTIVATIONS, ELU, LeakyReLU, Softmax, Softplus, hardmax
from engine.analysis.gradcheck import check_gradient
from engine.data.rows import Rows
from engine.initializers import XavierNormal
from engine.layers import (
    LAYERS,
    BatchNorm,
    Bound,
    Chain,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Maxout,
    Place,
    PReLU,
    Residual,
    RReLU,
)
from engine.losses import SoftmaxCrossEntropy, SquaredError
from engine.network import Network
from engine.optimizers import SGD
from engine.registry import describe, restore
from engine.training.gradient import bind_gradient
from engine.training.hyperparameters import Hyperparameters
from engine.training.state import State
from engine.training.trainer import Epoch
from engine.types import EngineError, Floats, Shape, allocate
from tests.engine.training.test_float32 import watched, watched_memory  # noqa: F401  # a fixture

pytestmark = pytest.mark.usefixtures("kernel")

CASES = [pytest.param(net, id=f"{name}-{k}") for name, nets in LAYER_CASES.items() for k, net in enumerate(nets)]
# The contracts also hold for activations on images, in the memory layout of images.
CASES += [pytest.param(of_images(ACTIVATIONS[name]()), id=f"{name}-images") for name in ACTIVATIONS]
CASES += [pytest.param(of_images(ELU(0.7)), id="elu-0.7-images"), pytest.param(of_features(ELU(1.3)), id="elu-1.3")]
over_cases = pytest.mark.parametrize("net", CASES)
REFERENCES = json.loads((REFERENCES_FOLDER / "torch_layers.json").read_text())


def data(net: Network, count: int, dtype: np.dtype[Any] = F32, seed: int = 0) -> Rows:
    rng = np.random.default_rng([seed, 2])
    x = rng.standard_normal((count, *net.inputs)).astype(dtype)
    return Rows(x, net.loss.targets(rng.integers(0, net.outputs, count), net.outputs, dtype))


def with_other_rates(layer: Any, k: int) -> Any:
    """Return the layer of the k-th trial, which has another dropout rate, also inside other layers."""
    if isinstance(layer, Dropout):
        return Dropout((layer.rate + k / 7) % 0.9)
    inner = {
        f.name: tuple(with_other_rates(inside, k) for inside in getattr(layer, f.name))
        for f in dataclasses.fields(layer)
        if isinstance(getattr(layer, f.name), tuple) and f.name in ("layers", "shortcut")
    }
    return dataclasses.replace(layer, **inner)


def run(
    nets: Sequence[Network], trials: Sequence[Hyperparameters], state: State, rows: Rows, epochs: int
) -> list[Epoch]:
    training = train(nets, trials, state, rows, rows)
    return [next(training) for _ in range(epochs)]


def bound(layer: Layer, inputs: Shape, trials: int, rows: int, training: bool = True) -> tuple[Bound, Any, Any]:
    """Return a layer bound in float64, neither first nor allowed to overwrite, and its theta and gradient by name."""
    chain = Chain(inputs, (layer,))
    theta, grad = np.empty((trials, chain.size)), np.full((trials, chain.size), np.nan)
    for s in chain.slices:
        p = s.parameter
        theta[:, s.start : s.stop] = p.initializer(np.random.default_rng(0), p.shape, p.fan_in, p.fan_out).ravel()
    generators = [np.random.default_rng([k]) for k in range(trials)]
    place = Place(inputs, trials, rows, F64, {}, {}, theta, grad, training, generators, (), False, False)
    views = [
        {s.parameter.name: m[:, s.start : s.stop].reshape(trials, *s.parameter.shape) for s in chain.slices}
        for m in (theta, grad)
    ]
    return chain.bind(place, [(layer,)] * trials)[0], *views


def laid_out(x: Floats) -> Floats:
    """Return the same rows `(trials, rows, …)` in the engine's memory layout."""
    out = allocate(x.shape[0], x.shape[1], x.shape[2:], x.dtype)
    out[...] = x
    return out


def test_every_registered_layer_has_cases() -> None:
    assert LAYER_CASES.keys() == LAYERS.keys()
    for name, nets in LAYER_CASES.items():
        for net in nets:
            assert f"'layer': '{name}'" in str(describe(net.layers)), name


@over_cases
@pytest.mark.parametrize("count", [8, 3])
def test_gradient_equals_differences(net: Network, count: int) -> None:
    theta = np.random.default_rng(5).standard_normal((2, net.size)) * 0.7
    for s in net.slices:
        if s.parameter.name.endswith("gamma"):  # near 0 the next batch norm would enlarge the difference step
            theta[:, s.start : s.stop] = 1 + theta[:, s.start : s.stop] / 4
    check = check_gradient(net, theta, data(net, count, F64), Hyperparameters(l2=0.1))
    assert check.good, str(check)


@over_cases
@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
def test_alone_and_in_a_batch(net: Network, optimizer: str) -> None:
    """Different hyperparameters and dropout rates; 21 rows are batches of 8, 8 and 5."""
    trials, rows = hyperparameters(5, optimizer), data(net, 21)
    nets = [with_other_rates(net, k) for k in range(5)]
    alone = []
    for k, trial in enumerate(trials):
        state = start(net, trials).take(np.array([k]))
        epochs = run([nets[k]], [trial], state, rows, 3)
        alone.append(bits(state, 0) + scores_bits(epochs, 0) + plain(net.predict(state.theta, rows.x)))
    for size in (2, 5):
        state = start(net, trials).take(np.arange(size))
        together = run(nets[:size], trials[:size], state, rows, 3)
        predicted = net.predict(state.theta, rows.x)
        for k in range(size):
            assert bits(state, k) + scores_bits(together, k) + plain(predicted[k]) == alone[k], (size, k)


@given(drawn=st.data())
@settings(max_examples=100, deadline=None)
def test_batches_of_odd_sizes(drawn: st.DataObject) -> None:
    """Numbers of rows, features, channels and pixels for which BLAS and NumPy use special code."""
    size, small, count = st.integers(1, 40), st.integers(1, 5), drawn.draw(st.integers(2, 40))
    common: list[Layer] = [Dropout(0.3), BatchNorm(), PReLU(), RReLU(), Residual((BatchNorm(),)), Softmax(), ELU(0.7)]
    if drawn.draw(st.booleans()):
        inputs: Shape = (drawn.draw(size),)
        layers = drawn.draw(st.lists(st.sampled_from([*common, Maxout(drawn.draw(size)), Dense(drawn.draw(size))])))
    else:
        inputs = (drawn.draw(small), drawn.draw(small), drawn.draw(small))
        layers = [*drawn.draw(st.lists(st.sampled_from(common))), Pixels()]
    net = Network(inputs, (*layers, Dense(3, XavierNormal())), SoftmaxCrossEntropy())
    trials = hyperparameters(3, "momentum", batch=drawn.draw(st.integers(2, 40)))
    rows, nets = data(net, count), [with_other_rates(net, k) for k in range(3)]
    together = start(net, trials)
    epochs = run(nets, trials, together, rows, 2)
    for k in range(3):
        alone = start(net, trials).take(np.array([k]))
        epochs_alone = run([nets[k]], [trials[k]], alone, rows, 2)
        assert bits(together, k) + scores_bits(epochs, k) == bits(alone, 0) + scores_bits(epochs_alone, 0)


@pytest.mark.usefixtures("watched_memory")
@over_cases
@pytest.mark.parametrize("trials", [1, 3])
def test_float32_throughout(net: Network, trials: int) -> None:
    rows = data(net, 8)
    theta, grad, scratch = (watched(np.ones((trials, net.size), F32)) for _ in range(3))
    nets = [with_other_rates(net, k) for k in range(trials)]
    hypers = [Hyperparameters(l2=0.1, l1=0.1)] * trials
    generators = [np.random.default_rng(k) for k in range(trials)]
    gradient = bind_gradient(nets, hypers, generators, theta, grad, scratch, 8)
    x, y = (watched(np.repeat(a[None], trials, axis=0)) for a in (rows.x, rows.y))
    with np.errstate(all="ignore"):  # as in the trainer
        gradient(x, y, watched(np.empty((trials, 8, net.outputs), F32)))
    a: np.ndarray = watched(rows.x[None])
    for layer in net.bind(theta, None, 8):
        a = layer.forward(a)
    assert np.asarray(grad).any() and a.dtype == F32


@over_cases
def test_ending_and_resuming_change_nothing(net: Network) -> None:
    """Five train together; one ends after an epoch; after another the rest is written, read and resumed."""
    trials, rows = hyperparameters(5, "adam"), data(net, 21)
    nets = [with_other_rates(net, k) for k in range(5)]
    state = start(net, trials)
    training = train(nets, trials, state, rows)
    next(training)
    training.send(np.arange(5) != 2)
    left = [0, 1, 3, 4]
    resumed = State.from_bytes(state.to_bytes())
    run([nets[k] for k in left], [trials[k] for k in left], resumed, rows, 2)
    for row, k in enumerate(left):
        alone = start(net, trials).take(np.array([k]))
        run([nets[k]], [trials[k]], alone, rows, 4)
        without_best = [np.array_equal(resumed.theta[row], alone.theta[0])]
        without_best += [np.array_equal(resumed.slots[name][row], alone.slots[name][0]) for name in alone.slots]
        assert all(without_best) and resumed.generators[row].random() == alone.generators[0].random()


@over_cases
def test_restored_layers_predict_the_same(net: Network) -> None:
    trials, rows = hyperparameters(2, "sgd"), data(net, 21)
    state = start(net, trials)
    run([net] * 2, trials, state, rows, 2)
    if not any(isinstance(layer, Pixels) for layer in net.layers):  # which is in no registry
        again = restore(json.loads(json.dumps(describe(net))))
        assert again == net
        assert plain(again.predict(state.theta, rows.x)) == plain(net.predict(state.theta, rows.x))


@over_cases
def test_inference_with_shared_rows(net: Network) -> None:
    """Equal to each trial by itself, in any memory layout; the caller's rows are not changed."""
    theta, rows = np.random.default_rng(1).standard_normal((3, net.size)).astype(F32), data(net, 9)
    theta = np.abs(theta)  # includes running variances

    def infer(theta: Floats, x: Floats) -> Floats:
        for layer in net.bind(theta, None, x.shape[1]):
            x = layer.forward(x)
        return np.broadcast_to(x, (len(theta), *x.shape[1:]))

    x, before = rows.x[None], rows.x.copy()
    together = infer(theta, x)
    for k in range(3):
        assert plain(infer(theta[k : k + 1], x)[0]) == plain(together[k])
    np.testing.assert_allclose(infer(theta, np.repeat(x, 3, axis=0)), together, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(infer(theta, laid_out(x)), together, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(infer(theta, np.asfortranarray(x)), together, rtol=1e-4, atol=1e-5)
    assert np.array_equal(rows.x, before)


@over_cases
def test_any_memory_layout_and_the_batch_is_not_changed(net: Network) -> None:
    rows = data(net, 8, F64)
    theta, grads, outs = np.random.default_rng(1).standard_normal((2, net.size)), [], []
    for arrange in (np.ascontiguousarray, np.asfortranarray, laid_out):
        x = arrange(np.repeat(rows.x[None], 2, axis=0))
        grad, logits, mine = np.empty_like(theta), np.empty((2, 8, net.outputs)), theta.copy()
        generators = [np.random.default_rng(k) for k in range(2)]
        gradient = bind_gradient([net] * 2, [Hyperparameters()] * 2, generators, mine, grad, np.empty_like(theta), 8)
        gradient(x, np.repeat(rows.y[None], 2, axis=0), logits)
        assert np.array_equal(x[0], rows.x)
        grads.append(grad)
        outs.append(logits)
    for grad, logits in zip(grads[1:], outs[1:], strict=True):
        np.testing.assert_allclose(grad, grads[0], rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(logits, outs[0], rtol=1e-9, atol=1e-11)


def fits(layer: Layer, inputs: Shape) -> bool:
    try:
        return bool(layer.outputs(inputs))
    except EngineError:
        return False


EVERY_LAYER = [layer for nets in LAYER_CASES.values() for net in nets for layer in net.layers]
EVERY_LAYER = list(dict.fromkeys([*EVERY_LAYER, *(kind() for kind in ACTIVATIONS.values()), Residual((BatchNorm(),))]))


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [(layer, inputs) for layer in EVERY_LAYER for inputs in ((6,), (2, 4, 5)) if fits(layer, inputs)],
)
def test_gradients_in_any_memory_layout(layer: Layer, inputs: Shape) -> None:
    """A single layer: dL/dx of dL/dy in three memory layouts."""
    results = []
    for arrange in (np.ascontiguousarray, np.asfortranarray, laid_out):
        work, _, grad = bound(layer, inputs, 2, 4)
        x = np.random.default_rng(0).standard_normal((2, 4, *inputs))
        y = work.forward(arrange(x.copy()))
        dy = np.random.default_rng(1).standard_normal(y.shape)
        results.append([y.copy(), work.backward(arrange(dy)).copy(), *(grad[n].copy() for n in sorted(grad))])
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@over_cases
def test_steps_allocate_no_lasting_memory(net: Network) -> None:
    rows, trials = data(net, 8), 2
    theta = np.random.default_rng(1).standard_normal((trials, net.size)).astype(F32)
    grad, scratch, logits = np.empty_like(theta), np.empty_like(theta), np.empty((trials, 8, net.outputs), F32)
    generators = [np.random.default_rng(k) for k in range(trials)]
    gradient = bind_gradient([net] * trials, [Hyperparameters()] * trials, generators, theta, grad, scratch, 8)
    x, y = (np.repeat(a[None], trials, axis=0) for a in (rows.x, rows.y))
    for _ in range(10):
        gradient(x, y, logits)
    tracemalloc.start()
    gradient(x, y, logits)
    before, peak = tracemalloc.get_traced_memory()
    for _ in range(300):
        gradient(x, y, logits)
    after, peak_of_many = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after < before + 2000 and peak_of_many < peak + 3000


# References


def arrays(name: str) -> dict[str, np.ndarray]:
    return {key: np.array(value) for key, value in REFERENCES[name].items()}


def twice(a: np.ndarray) -> np.ndarray:
    """Return two trials, the second with the rows in reverse order, so that a mix-up of trials is found."""
    return laid_out(np.stack([a, a[::-1]]))


def close(actual: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("elu", ELU()),
        ("elu_alpha", ELU(0.7)),
        ("softplus", Softplus()),
        ("softmax_features", Softmax()),
        ("softmax_images", Softmax()),
        ("leaky_relu", LeakyReLU(0.1)),
        ("prelu_features", PReLU()),
        ("prelu_images", PReLU()),
    ],
)
def test_activations_like_pytorch(name: str, layer: Layer) -> None:
    case = arrays(name)
    work, theta, grad = bound(layer, case["x"].shape[1:], 2, len(case["x"]))
    if "slope" in case:
        theta["slope"][...] = case["slope"]
    close(work.forward(twice(case["x"])), twice(case["y"]))
    close(work.backward(twice(case["dy"])), twice(case["dx"]))
    if "slope" in case:
        close(grad["slope"], np.stack([case["grad_slope"]] * 2))


@pytest.mark.parametrize(
    ("name", "layer"),
    [("batch_norm_features", BatchNorm(momentum=0.2, epsilon=1e-3)), ("batch_norm_images", BatchNorm())],
)
def test_batch_norm_like_pytorch(name: str, layer: BatchNorm) -> None:
    case = arrays(name)
    inputs, count = case["x"].shape[1:], len(case["x"])
    work, theta, grad = bound(layer, inputs, 2, count)
    theta["gamma"][...], theta["beta"][...] = case["gamma"], case["beta"]
    work.forward(twice(case["before"]))
    close(work.forward(twice(case["x"])), twice(case["y"]))
    close(work.backward(twice(case["dy"])), twice(case["dx"]))
    close(grad["gamma"], np.stack([case["grad_gamma"]] * 2))
    close(grad["beta"], np.stack([case["grad_beta"]] * 2))
    close(theta["mean"], np.stack([case["mean"]] * 2))
    close(theta["variance"], np.stack([case["variance"]] * 2))
    inference, stored, _ = bound(layer, inputs, 2, count, training=False)
    for key in stored:
        stored[key][...] = case[key]
    close(inference.forward(twice(case["x"])), twice(case["inference"]))


# Batch norm


def test_batch_norm_far_from_zero_in_float32() -> None:
    """With a mean of 3000 deviations, E[x²] − E[x]² would have no correct digit."""
    x = (np.random.default_rng(0).standard_normal((64, 5)) + 3000).astype(F32)
    net = Network((5,), (BatchNorm(momentum=1.0),), SquaredError())
    theta = net.initialize(np.random.default_rng(0), F32)[None]
    y = net.bind(theta, np.empty_like(theta), 64)[0].forward(x[None])[0]
    exact = (x - x.mean(axis=0, dtype=F64)) / x.std(axis=0, dtype=F64)
    np.testing.assert_allclose(y, exact, atol=2e-3)
    np.testing.assert_allclose(theta[0, 15:], x.var(axis=0, dtype=F64, ddof=1), rtol=1e-4)


def test_running_statistics_are_neither_learned_nor_regularized() -> None:
    """Without a learning rate nothing else changes, for every optimizer and regularizer."""
    net = of_features(BatchNorm(momentum=0.5))
    trial = Hyperparameters(SGD(), 0.0, 8, l2=0.5, l1=0.5)
    state = start(net, [trial])
    before = state.theta.copy()
    run([net], [trial], state, data(net, 21), 1)
    assert [s.parameter.name for s in net.slices if not s.parameter.learned] == ["mean", "variance"]
    assert [s.parameter.name for s in net.slices if s.parameter.regularized] == ["W", "W"]
    assert np.array_equal(state.theta[:, net.learned], before[:, net.learned])
    assert (state.theta[:, ~net.learned] != before[:, ~net.learned]).all()


@pytest.mark.parametrize("wrap", [lambda layer: layer, lambda layer: Residual((Dense(6), layer))])
def test_batch_norm_refuses_batches_of_one(wrap: Any) -> None:
    net = of_features(wrap(BatchNorm()))
    assert net.least_rows == 2
    trials = [Hyperparameters(batch_size=1)]
    with pytest.raises(EngineError, match=r"batch_norm.* needs batches of at least 2 rows, got "):
        next(train(net, trials, start(net, trials), data(net, 8)))
    nine = [Hyperparameters(batch_size=8)]  # the ninth row alone is not a batch
    state = start(net, nine)
    run([net], nine, state, data(net, 9), 2)
    assert state.step == 2 and np.isfinite(state.theta).all()


# Dropout


@pytest.mark.parametrize("inputs", [(30,), (3, 4, 5)], ids=["features", "images"])
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.9])
def test_dropout_keeps_its_share_and_the_mean(rate: float, inputs: Shape) -> None:
    work, _, _ = bound(Dropout(rate), inputs, 2, 16)
    x, draws = laid_out(np.ones((2, 16, *inputs))), 200
    y = np.stack([work.forward(x).copy() for _ in range(draws)])
    kept = y != 0
    assert set(np.unique(y)) <= {0.0, y.max()} and y.max() == pytest.approx(1 / (1 - rate), rel=1e-4)
    for axis in (0, 2, 3):  # also along each axis: each row, each feature and each draw has its share
        share = kept.mean(axis=tuple(i for i in range(kept.ndim) if i != axis))
        sigma = sqrt(rate * (1 - rate) / (kept.size / kept.shape[axis]))
        assert (abs(share - (1 - rate)) <= 5 * sigma).all()
    assert abs(y.mean() - 1) <= 5 * sqrt(rate / (1 - rate) / y.size)
    assert np.array_equal(x, np.ones_like(x))
    for a, b in ((kept[1:], kept[:-1]), (kept[:, 0], kept[:, 1]), (kept[:, :, 1:], kept[:, :, :-1])):
        together = (a & b).mean()
        assert abs(together - (1 - rate) ** 2) <= 10 * sqrt(rate * (1 - rate) / a.size)
    assert np.array_equal(work.backward(laid_out(np.ones((2, 16, *inputs)))), y[-1])


def test_dropout_with_a_rate_per_trial() -> None:
    """Each trial has its own rate, and the number of draws does not depend on it."""
    rates, chain = (0.0, 0.3, 0.8), Chain((50,), (Dropout(0.0),))
    none, generators = np.empty((3, 0)), [np.random.default_rng(7) for _ in rates]
    place = Place((50,), 3, 40, F64, {}, {}, none, none, True, generators, (), True, False)
    work = chain.bind(place, [(Dropout(rate),) for rate in rates])[0]
    y = work.forward(np.ones((3, 40, 50)))
    for row, rate in zip(y, rates, strict=True):
        assert abs((row != 0).mean() - (1 - rate)) <= 5 * sqrt(rate * (1 - rate) / row.size)
        assert row.max() == pytest.approx(1 / (1 - rate), rel=1e-4)
    assert (y[0] == 1).all() and ((y[2] != 0) <= (y[1] != 0)).all()  # equal generators: the same draws, two thresholds
    assert len({generator.random() for generator in generators}) == 1


def test_dropout_at_inference_is_the_identity() -> None:
    x = np.random.default_rng(0).standard_normal((2, 4, 5))
    assert np.array_equal(bound(Dropout(0.7), (5,), 2, 4, training=False)[0].forward(x.copy()), x)
    nets = [Network((5,), (Dropout(rate), Dense(3)), SquaredError()) for rate in (0.0, 0.7)]
    theta = start(nets[0], hyperparameters(1, "sgd")).theta
    assert plain(nets[0].predict(theta, x[0])) == plain(nets[1].predict(theta, x[0]))


def test_dropout_near_one_keeps_some_values() -> None:
    y = bound(Dropout(1 - 1e-9), (500,), 1, 2000)[0].forward(np.ones((1, 2000, 500)))
    assert y.max() == 1 << 16 and np.isfinite(y).all()


# Slopes


def test_rrelu_draws_slopes_within_bounds() -> None:
    work, _, _ = bound(RReLU(0.2, 0.6), (50,), 2, 200)
    x = np.full((2, 200, 50), -1.0)
    slopes = -work.forward(x)
    assert ((slopes > 0.2) & (slopes < 0.6)).all()
    assert abs(slopes.mean() - 0.4) <= 5 * 0.4 / sqrt(12 * slopes.size)
    assert abs(slopes.std() - 0.4 / sqrt(12)) <= 0.002 and len(np.unique(slopes[0])) > 5000
    assert np.array_equal(work.backward(np.ones_like(x)), slopes)
    assert not np.array_equal(-work.forward(x), slopes) and not np.array_equal(slopes[0], slopes[1])
    assert np.array_equal(work.forward(-x), -x) and np.array_equal(work.backward(np.ones_like(x)), -x)
    inference = bound(RReLU(0.2, 0.6), (50,), 2, 200, training=False)[0]
    close(inference.forward(x), 0.4 * x)
    close(inference.forward(-x), -x)


def test_slopes_of_prelu_are_learned_and_not_regularized() -> None:
    net = of_images(PReLU())
    slopes = [s for s in net.slices if s.parameter.name == "slope"]
    assert [s.parameter.shape for s in slopes] == [(2,), (2,)] and not any(s.parameter.regularized for s in slopes)
    state = start(net, hyperparameters(1, "sgd"))
    assert state.theta[0, :4].tolist() == pytest.approx([0.6, 0.6, 0.25, 0.25])


# Maxout


@pytest.mark.parametrize("pieces", [2, 3, 5])
def test_maxout_is_the_largest_of_dense_layers(pieces: int) -> None:
    x, dy = np.random.default_rng(0).standard_normal((2, 2, 7, 4))
    x, dy = x, np.ascontiguousarray(dy[..., :3])
    work, theta, grad = bound(Maxout(3, pieces), (4,), 2, 7)
    theta["b"][...] = np.random.default_rng(1).standard_normal(theta["b"].shape)
    weights, bias = (np.split(theta[name], pieces, axis=-1) for name in ("W", "b"))
    parts = [bound(Dense(3), (4,), 2, 7) for _ in range(pieces)]
    for (_, values, _), w, b in zip(parts, weights, bias, strict=True):
        values["W"][...], values["b"][...] = w, b
    z = np.stack([dense.forward(x) for dense, _, _ in parts])
    close(work.forward(x), z.max(axis=0))
    dx = work.backward(dy.copy())
    each = [dense.backward(dy * (z.argmax(axis=0) == k)) for k, (dense, _, _) in enumerate(parts)]
    close(dx, np.sum(each, axis=0))
    close(grad["W"], np.concatenate([g["W"] for _, _, g in parts], axis=-1))
    close(grad["b"], np.concatenate([g["b"] for _, _, g in parts], axis=-1))


def test_gradients_of_ties_go_to_the_first_piece() -> None:
    work, theta, grad = bound(Maxout(2, 3), (4,), 1, 5)
    theta["W"][...] = 0
    work.forward(np.ones((1, 5, 4)))
    work.backward(np.ones((1, 5, 2)))
    assert grad["b"].tolist() == [[5, 5, 0, 0, 0, 0]]


# Residual


def test_residual_adds_its_input() -> None:
    x, dy = np.random.default_rng(0).standard_normal((2, 2, 7, 4))
    plain_dense, inner, g = bound(Dense(4), (4,), 2, 7)
    work, theta, grad = bound(Residual((Dense(4),)), (4,), 2, 7)
    assert list(theta) == ["layers.0.W", "layers.0.b"]
    theta["layers.0.W"][...] = inner["W"][...] = np.random.default_rng(1).standard_normal((4, 4))
    before = x.copy()
    close(work.forward(x), plain_dense.forward(x) + x)
    assert np.array_equal(x, before)
    close(work.backward(dy.copy()), plain_dense.backward(dy.copy()) + dy)
    close(grad["layers.0.W"], g["W"])


def test_residual_with_a_shortcut() -> None:
    x, dy = np.random.default_rng(0).standard_normal((2, 1, 7, 4))
    work, theta, grad = bound(Residual((Dense(4), Dense(4)), (Dense(4),)), (4,), 1, 7)
    assert list(theta) == [f"{n}.{p}" for n in ("layers.0", "layers.1", "shortcut.0") for p in "Wb"]
    first, second, around = (theta[f"{n}.W"][0] for n in ("layers.0", "layers.1", "shortcut.0"))
    around[...] = np.eye(4) * 3
    close(work.forward(x)[0], x[0] @ first @ second + 3 * x[0])
    close(work.backward(dy.copy())[0], dy[0] @ (first @ second).T + 3 * dy[0])
    close(grad["shortcut.0.W"][0], x[0].T @ dy[0])


# Activations


def test_activations_far_from_zero() -> None:
    """No overflow, and no loss of small values."""
    x = np.array([-1e4, -50.0, 0.0, 50.0, 1e4])
    for dtype in (F32, F64):
        row = x.astype(dtype).reshape(1, 1, 5)
        with np.errstate(all="raise", under="ignore"):
            for layer, expected, slope in (
                (Softplus(), [0, np.exp(-50.0), np.log(2), 50, 1e4], [0, np.exp(-50.0), 0.5, 1, 1]),
                (ELU(2.0), [-2, -2, 0, 50, 1e4], [0, 0, 2, 1, 1]),
                (Softmax(), [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]),
            ):
                net = Network((5,), (layer,), SquaredError())
                work = net.bind(np.empty((1, 0), dtype), np.empty((1, 0), dtype), 1)[0]
                np.testing.assert_allclose(work.forward(row)[0, 0], expected, rtol=1e-6)
                got = work.backward(np.ones((1, 1, 5), dtype))[0, 0]
                np.testing.assert_allclose(got, slope, rtol=1e-6)


def test_hardmax_reads_predictions() -> None:
    scores = np.array([[[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]]], F32)
    assert hardmax(scores).tolist() == [[[0, 1, 0], [1, 0, 0]]] and hardmax(scores).dtype == F32


# Invalid settings

NAN = float("nan")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dropout(1.0), "dropout: rate must be at least 0 and below 1, got 1.0"),
        (lambda: Dropout(-0.1), "dropout: rate must be at least 0 and below 1, got -0.1"),
        (lambda: Dropout(NAN), "dropout: rate must be at least 0 and below 1, got nan"),
        (lambda: BatchNorm(momentum=0), "batch_norm: momentum must be above 0 and at most 1, got 0"),
        (lambda: BatchNorm(epsilon=0), "batch_norm: epsilon must be above 0, got 0"),
        (lambda: Maxout(0), "maxout: units must be at least 1, got 0"),
        (lambda: Maxout(3, pieces=1), "maxout: pieces must be at least 2, got 1"),
        (lambda: RReLU(0.5, 0.2), "rrelu: must have 0 < low ≤ high < 1, got low=0.5, high=0.2"),
        (lambda: RReLU(0, 0.2), "rrelu: must have 0 < low ≤ high < 1, got low=0, high=0.2"),
        (lambda: RReLU(0.2, 1), "rrelu: must have 0 < low ≤ high < 1, got low=0.2, high=1"),
        (lambda: PReLU(NAN), "prelu: slope must be finite, got nan"),
        (lambda: ELU(0), "elu: alpha must be above 0, got 0"),
        (lambda: ELU(NAN), "elu: alpha must be above 0, got nan"),
        (lambda: Residual(()), "residual: layers must have at least one layer, got none"),
        (
            lambda: Maxout(3).outputs((2, 4, 4)),
            r"maxout: rows must be \(features,\), got \(2, 4, 4\)",
        ),
        (
            lambda: BatchNorm().outputs((2, 4)),
            r"batch_norm: rows must be \(features,\) or \(channels, height, width\), got \(2, 4\)",
        ),
        (
            lambda: PReLU().outputs((2, 4)),
            r"prelu: rows must be \(features,\) or \(channels, height, width\), got \(2, 4\)",
        ),
        (
            lambda: of_features(Residual((Dense(5),))).shapes,
            r"layer 3 of 4: residual: layers and shortcut must have the same output shape, got \(5,\) and \(6,\); "
            r"set a shortcut from \(6,\) to \(5,\)",
        ),
        (
            lambda: Residual((Dense(5),), (Dense(4),)).outputs((6,)),
            r"residual: layers and shortcut must have the same output shape, got \(5,\) and \(4,\); "
            r"set another shortcut from \(6,\) to \(5,\)",
        ),
        (
            lambda: Residual((Dense(5),)).outputs((2, 4, 4)),
            r"residual: layers: layer 1 of 1: dense: rows must be \(features,\), got \(2, 4, 4\)",
        ),
        (
            lambda: Residual((LeakyReLU(), BatchNorm()), (Dense(5),)).outputs((2, 4, 4)),
            r"residual: shortcut: layer 1 of 1: dense: rows must be \(features,\), got \(2, 4, 4\)",
        ),
    ],
)
def test_invalid_layers(make: Any, message: str) -> None:
    with pytest.raises(EngineError, match=f"^{message}$"):
        make()


def test_work_counts_every_position_of_a_convolution() -> None:
    dense = Network((5,), (Dense(6), Dense(2)), SoftmaxCrossEntropy())
    assert dense.work == dense.size == 5 * 6 + 6 + 6 * 2 + 2
    image = Network((1, 8, 8), (Conv2d(4, 3), Flatten(), Dense(2)), SoftmaxCrossEntropy())
    assert image.work == (4 * 9 + 4) * 36 + 4 * 36 * 2 + 2

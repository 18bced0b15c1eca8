"""Convolutions and pooling: against PyTorch, against loops that spell out the definition, and each other's adjoint.

The stored values come from PyTorch 2.13.0 in float64, by `python tests/engine/references/torch_convolution.py`.
"""

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_cases import F32, F64, REFERENCES_FOLDER, bits, hyperparameters, plain, scores_bits, start
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.activations import ACTIVATIONS
from engine.data.rows import Rows
from engine.layers import (
    LAYERS,
    Bound,
    Chain,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Flatten,
    Layer,
    MaxPool2d,
    MeanPool2d,
    Place,
)
from engine.layers.convolution.im2col import Axis
from engine.losses import SoftmaxCrossEntropy
from engine.network import Network
from engine.optimizers import Momentum
from engine.training.hyperparameters import Hyperparameters
from engine.training.state import State
from engine.training.trainer import train
from engine.types import EngineError, Floats, Shape, allocate

CASES = json.loads((REFERENCES_FOLDER / "torch_convolution.json").read_text())
IDS = [f"{c['layer']}-{k}" for k, c in enumerate(CASES)]


def bound(
    layer: Layer, inputs: Shape, trials: int, rows: int, training: bool = True, first: bool = False
) -> tuple[Bound, dict[str, Floats], dict[str, Floats]]:
    """Return a layer bound in float64, and its theta and gradient by name; both hold noise."""
    chain = Chain(inputs, (layer,))
    theta = np.random.default_rng(7).standard_normal((trials, chain.size))
    grad = np.full_like(theta, np.nan)
    place = Place(inputs, trials, rows, F64, {}, {}, theta, grad, training, (), (), first, False)
    views = [
        {s.parameter.name: m[:, s.start : s.stop].reshape(trials, *s.parameter.shape) for s in chain.slices}
        for m in (theta, grad)
    ]
    return chain.bind(place, [(layer,)] * trials)[0], views[0], views[1]


def laid_out(x: Floats) -> Floats:
    """Return the same rows `(trials, rows, …)` in the engine's memory layout, with adjacent rows."""
    out = allocate(x.shape[0], x.shape[1], x.shape[2:], x.dtype)
    out[...] = x
    return out


def twice(a: Floats) -> Floats:
    """Return two trials, the second with the rows in reverse order, so that a mix-up of trials is found."""
    return np.stack([a, a[::-1]])


def close(actual: Floats, expected: Floats) -> None:
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.fixture(params=[(1_000_000, 64), (200, 1)], ids=["whole", "cut"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pass lines to BLAS whole, or in blocks, as long ones are."""
    for name, value in zip(("UNPACKED", "FEWEST"), request.param, strict=True):
        monkeypatch.setattr(f"engine.layers.convolution.im2col.{name}", value)


# Against PyTorch


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("arrange", [np.ascontiguousarray, laid_out, np.asfortranarray])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_like_pytorch(case: dict[str, Any], arrange: Any) -> None:
    """Two steps, so that remains of the first would be found in the second."""
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in case["settings"].items()}
    c = {key: np.array(value) for key, value in case.items() if key not in ("layer", "settings")}
    work, theta, grad = bound(LAYERS[case["layer"]](**given), c["x"].shape[1:], 2, len(c["x"]))
    for name in theta:
        theta[name][...] = c[name]
    for _ in range(2):
        close(work.forward(arrange(twice(c["x"]))), twice(c["y"]))
        dx = work.backward(arrange(twice(c["dy"])))
        close(dx, twice(c["dx"]))
        for name in grad:
            close(grad[name], np.stack([c["d" + name]] * 2))
        dx[...] = np.nan  # the previous layer may overwrite it


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_first_layers_have_the_same_gradients(case: dict[str, Any]) -> None:
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in case["settings"].items()}
    c = {key: np.array(value) for key, value in case.items() if key not in ("layer", "settings")}
    work, theta, grad = bound(LAYERS[case["layer"]](**given), c["x"].shape[1:], 2, len(c["x"]), first=True)
    for name in theta:
        theta[name][...] = c[name]
    close(work.forward(twice(c["x"])), twice(c["y"]))
    work.backward(twice(c["dy"]))
    for name in grad:
        close(grad[name], np.stack([c["d" + name]] * 2))


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_inference_with_shared_rows(case: dict[str, Any]) -> None:
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in case["settings"].items()}
    x, y = np.array(case["x"]), np.array(case["y"])
    work, theta, _ = bound(LAYERS[case["layer"]](**given), x.shape[1:], 3, len(x), training=False)
    for name in theta:
        theta[name][...] = np.array(case[name])
    close(work.forward(x[None]), np.stack([y] * 3))


# Against the definition


@st.composite
def geometries(draw: st.DrawFn) -> tuple[Shape, int, tuple[int, int], int, int]:
    """Draw the shape of the image, output channels, kernel, stride and padding such that the kernel fits."""
    size, small = st.integers(1, 9), st.integers(1, 3)
    inputs = (draw(small), draw(size), draw(size))
    padding = draw(st.integers(0, 3))
    kernel = (
        draw(st.integers(1, min(6, inputs[1] + 2 * padding))),
        draw(st.integers(1, min(6, inputs[2] + 2 * padding))),
    )
    return inputs, draw(small), kernel, draw(st.integers(1, 4)), padding


def naive_conv2d(x: Floats, w: Floats, b: Floats, stride: int, padding: int) -> Floats:
    """Compute the definition for x `(rows, c, height, width)`."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    height, width = w.shape[2:]
    down, across = (x.shape[2] - height) // stride + 1, (x.shape[3] - width) // stride + 1
    y = np.empty((len(x), len(w), down, across))
    for n, f, i, j in itertools.product(*map(range, y.shape)):
        window = x[n, :, i * stride : i * stride + height, j * stride : j * stride + width]
        y[n, f, i, j] = b[f] + (window * w[f]).sum()
    return y


@given(geometry=geometries(), trials=st.integers(1, 3), rows=st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_conv2d_by_definition(geometry: Any, trials: int, rows: int) -> None:
    inputs, channels, kernel, stride, padding = geometry
    layer = Conv2d(channels, kernel, stride, padding)
    work, theta, _ = bound(layer, inputs, trials, rows)
    x = np.random.default_rng(0).standard_normal((trials, rows, *inputs))
    y = work.forward(x)
    assert y.shape[2:] == layer.outputs(inputs)
    for k in range(trials):
        close(y[k], naive_conv2d(x[k], theta["W"][k], theta["b"][k], stride, padding))


@given(geometry=geometries(), trials=st.integers(1, 3), rows=st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_transposed_is_the_adjoint(geometry: Any, trials: int, rows: int) -> None:
    """⟨conv2d(x), y⟩ = ⟨x, conv_transpose2d(y)⟩ with the same W, and each has the other's gradients."""
    inputs, channels, kernel, stride, padding = geometry
    conv = Conv2d(channels, kernel, stride, padding)
    outputs = conv.outputs(inputs)
    back = ConvTranspose2d(inputs[0], kernel, stride, padding)
    try:
        assume(back.outputs(outputs) == inputs)  # no unused lines or columns
    except EngineError:
        assume(False)
    one, theta, grad = bound(conv, inputs, trials, rows)
    other, theta_t, grad_t = bound(back, outputs, trials, rows)
    theta_t["W"][...] = theta["W"]
    theta["b"][...] = theta_t["b"][...] = 0
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((trials, rows, *inputs)), rng.standard_normal((trials, rows, *outputs))
    conv_x, transposed_y = one.forward(x).copy(), other.forward(y).copy()
    inner = [(a * b).sum(axis=(1, 2, 3, 4)) for a, b in ((conv_x, y), (x, transposed_y))]
    close(*inner)
    close(one.backward(y.copy()), transposed_y)
    close(other.backward(x.copy()), conv_x)
    close(grad["W"], grad_t["W"])


@given(geometry=geometries(), rows=st.integers(1, 4), largest=st.booleans())
@settings(max_examples=200, deadline=None)
def test_pooling_by_definition(geometry: Any, rows: int, largest: bool) -> None:
    """Forward; and backward, each dL/dy into its window, for whole numbers with many equal maxima."""
    inputs, _, (size, _), stride, _ = geometry
    assume(size <= min(inputs[1:]))
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (1, rows, *inputs)).astype(float)
    layer = MaxPool2d(size, stride) if largest else MeanPool2d(size, stride)
    work, *_ = bound(layer, inputs, 1, rows)
    y, expected = work.forward(x), np.zeros_like(x)
    dy = rng.standard_normal(y.shape)
    for n, c, i, j in itertools.product(*map(range, y.shape[1:])):
        at = (0, n, c, slice(i * stride, i * stride + size), slice(j * stride, j * stride + size))
        assert y[0, n, c, i, j] == pytest.approx(x[at].max() if largest else x[at].mean())
        if largest:
            first = np.zeros(size * size)
            first[x[at].argmax()] = 1
            expected[at] += dy[0, n, c, i, j] * first.reshape(size, size)
        else:
            expected[at] += dy[0, n, c, i, j] / size**2
    close(work.backward(dy.copy()), expected)


@given(st.integers(1, 12), st.integers(1, 6), st.integers(1, 5), st.integers(0, 5))
def test_windows_and_pixels_of_an_axis(length: int, kernel: int, stride: int, padding: int) -> None:
    assume(length + 2 * padding >= kernel)
    axis = Axis(length, kernel, stride, padding)
    starts = range(-padding, length + padding - kernel + 1, stride)
    assert axis.count == len(starts)
    assert axis.seen == sum(p < starts[-1] + kernel for p in range(length))
    touched = np.zeros(length, int)
    for offset in range(kernel):
        windows, pixels = axis.under(offset)
        expected = [(j, start + offset) for j, start in enumerate(starts) if 0 <= start + offset < length]
        assert list(zip(range(axis.count)[windows], range(length)[pixels], strict=True)) == expected
        touched[pixels] += 1
    assert axis.gapless == (padding == 0 and stride == kernel and (touched == 1).all())


def test_lines_are_cut_into_blocks() -> None:
    first, second = (Conv2d(6, 5, padding=2).windows((1, 28, 28)), Conv2d(16, 5).windows((6, 14, 14)))
    assert [first.blocks(6, 64), second.blocks(16, 64), second.blocks(16, 41), second.blocks(16, 12)] == [1, 2, 1, 1]
    assert second.blocks(16, 128) == 5  # of 10, and not 4
    assert second.blocks(16, 6) == 1
    assert Conv2d(64, 3).windows((64, 9, 9)).blocks(64, 8) == 1  # blocks would be too narrow


# Shapes


@pytest.mark.parametrize(
    ("layer", "inputs", "message"),
    [
        (Conv2d(3, 5), (6,), r"conv2d: rows must be images \(channels, height, width\), got \(6,\)"),
        (Conv2d(3, 5), (1, 4, 6), r"conv2d: a kernel of \(5, 5\) must fit into the image, got rows of \(1, 4, 6\)"),
        (
            Conv2d(3, (2, 7), padding=1),
            (1, 4, 4),
            r"conv2d: a kernel of \(2, 7\) must fit into the image with padding 1, got rows of \(1, 4, 4\)",
        ),
        (ConvTranspose2d(3, 5), (6,), r"conv_transpose2d: rows must be images .*, got \(6,\)"),
        (
            ConvTranspose2d(3, 2, padding=1),
            (2, 1, 4),
            r"conv_transpose2d: padding 1 must leave an image, got \(3, 0, 3\) from rows of \(2, 1, 4\)",
        ),
        (MaxPool2d(2), (8,), r"max_pool2d: rows must be images .*, got \(8,\)"),
        (MeanPool2d(3), (2, 4, 2), r"mean_pool2d: a kernel of \(3, 3\) must fit into the image, got .* \(2, 4, 2\)"),
    ],
)
def test_rows_of_the_wrong_shape(layer: Layer, inputs: Shape, message: str) -> None:
    with pytest.raises(EngineError, match=f"^{message}$"):
        layer.outputs(inputs)
    with pytest.raises(EngineError, match=f"^layer 2 of 3: {message}$"):
        Network(inputs, (ACTIVATIONS["tanh"](), layer, Flatten()), SoftmaxCrossEntropy())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv2d(0, 3), "conv2d: channels must be at least 1, got 0"),
        (lambda: Conv2d(1, 0), "conv2d: kernel must be a number or two, at least 1, got 0"),
        (lambda: Conv2d(1, (3, 0)), r"conv2d: kernel must be a number or two, at least 1, got \(3, 0\)"),
        (lambda: Conv2d(1, (3, 3, 3)), r"conv2d: kernel must be a number or two, at least 1, got \(3, 3, 3\)"),  # type: ignore[arg-type]
        (lambda: Conv2d(1, 3, stride=0), "conv2d: stride must be at least 1, got 0"),
        (lambda: Conv2d(1, 3, padding=-1), "conv2d: padding must be at least 0, got -1"),
        (lambda: ConvTranspose2d(1, 3, stride=0), "conv_transpose2d: stride must be at least 1, got 0"),
        (lambda: MaxPool2d(0), "max_pool2d: size must be at least 1, got 0"),
        (lambda: MeanPool2d(2, 0), "mean_pool2d: stride must be at least 1, got 0"),
    ],
)
def test_settings_that_are_too_small(make: Any, message: str) -> None:
    with pytest.raises(EngineError, match=f"^{message}$"):
        make()


def test_fans() -> None:
    """Inputs of an output, and outputs of an input; with adjacent windows, an output has one input per channel."""
    fans = [
        (p.fan_in, p.fan_out, p.shape)
        for layer in (Conv2d(6, (3, 5)), ConvTranspose2d(6, (3, 5)), ConvTranspose2d(6, 2, 2), ConvTranspose2d(1, 1, 9))
        for p in layer.parameters((4, 8, 8))[:1]
    ]
    assert fans == [
        (60, 90, (6, 4, 3, 5)),
        (60, 90, (4, 6, 3, 5)),
        (4, 24, (4, 6, 2, 2)),
        (1, 1, (4, 1, 1, 1)),
    ]


def test_flatten_is_a_view_in_c_order() -> None:
    work, *_ = bound(Flatten(), (2, 3, 4), 2, 5)
    x = laid_out(np.random.default_rng(0).standard_normal((2, 5, 2, 3, 4)))
    y = work.forward(x)
    assert np.array_equal(y, x.reshape(2, 5, 24)) and np.shares_memory(x, y)
    assert np.array_equal(work.backward(np.ascontiguousarray(y)), x)
    assert y.strides[1] == work.backward(y).strides[1] == y.itemsize


# Networks


def lenet(pool: type[MaxPool2d] | type[MeanPool2d], activation: str = "tanh", inputs: Shape = (1, 28, 28)) -> Network:
    a = ACTIVATIONS[activation]()
    layers = (
        *(Conv2d(6, 5, padding=2), a, pool(2), Conv2d(16, 5), a, pool(2), Flatten()),
        *(Dense(120), a, Dense(84), a, Dense(10)),
    )
    return Network(inputs, layers, SoftmaxCrossEntropy())


def images(net: Network, count: int, dtype: np.dtype[Any] = F32) -> Rows:
    """Return one image of each class, with noise."""
    rng = np.random.default_rng(3)
    classes = rng.standard_normal((net.outputs, *net.inputs))
    labels = rng.integers(0, net.outputs, count)
    x = classes[labels] + rng.standard_normal((count, *net.inputs))
    return Rows(x.astype(dtype), net.loss.targets(labels, net.outputs, dtype))


@pytest.mark.parametrize("pool", [MaxPool2d, MeanPool2d])
def test_lenet_learns(pool: Any) -> None:
    net = lenet(pool)
    rows, val = images(net, 330), images(net, 90)
    trials = [Hyperparameters(Momentum(), learning_rate=rate, batch_size=16) for rate in (0.1, 0.07)]
    state = start(net, trials)
    training = train(net, trials, state, rows, val)
    before = next(training).train.loss
    *_, after = itertools.islice(training, 3)
    assert (after.train.loss < before / 2).all()
    assert after.val is not None and (after.val.accuracy > 0.8).all()
    assert net.predict(state.theta, val.x).shape == (2, 90, 10)


def test_lenet_alone_and_in_a_batch() -> None:
    """Large enough for BLAS to cut matrices into panels; the last batch is smaller."""
    net = lenet(MaxPool2d)
    rows, trials = images(net, 75), hyperparameters(3, "momentum", batch=64)
    together = start(net, trials)
    training = train(net, trials, together, rows, rows)
    epochs = [next(training) for _ in range(2)]
    predicted = net.predict(together.theta, rows.x)
    for k in range(3):
        alone = start(net, trials).take(np.array([k]))
        training = train(net, [trials[k]], alone, rows, rows)
        epochs_alone = [next(training) for _ in range(2)]
        assert bits(together, k) + scores_bits(epochs, k) == bits(alone, 0) + scores_bits(epochs_alone, 0)
        assert plain(net.predict(alone.theta, rows.x)[0]) == plain(predicted[k])


@given(geometry=geometries(), rows=st.integers(1, 33), transposed=st.booleans(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_alone_and_in_a_batch_with_odd_sizes(geometry: Any, rows: int, transposed: bool, data: st.DataObject) -> None:
    inputs, channels, kernel, stride, padding = geometry
    kind = ConvTranspose2d if transposed else Conv2d
    pool = data.draw(st.sampled_from([MaxPool2d, MeanPool2d]))(*data.draw(st.sampled_from([(1, 1), (2, 1), (2, 2)])))
    layers = (Conv2d(2, 1), kind(channels, kernel, stride, padding), pool, Flatten(), Dense(3))
    try:
        net = Network(inputs, layers, SoftmaxCrossEntropy())
    except EngineError:
        assume(False)
    batch, trials = images(net, rows), hyperparameters(3, "momentum", batch=32)
    together = start(net, trials)
    next(train(net, trials, together, batch))
    for k in range(3):
        alone = start(net, trials).take(np.array([k]))
        next(train(net, [trials[k]], alone, batch))
        assert bits(together, k) == bits(alone, 0)


def test_diverged_neighbors_do_not_matter() -> None:
    """Values that are not finite stay in the memory of their trial."""
    net = lenet(MaxPool2d, "relu", (1, 17, 18))
    trials = hyperparameters(3, "momentum")
    trials[1] = replace(trials[1], learning_rate=1e30)
    rows, together = images(net, 21), start(net, trials)
    training = train(net, trials, together, rows)
    losses = [next(training).train.loss for _ in range(3)][-1]
    assert not np.isfinite(losses[1]) and np.isfinite(losses[[0, 2]]).all()
    for k in (0, 2):
        alone: State = start(net, trials).take(np.array([k]))
        training = train(net, [trials[k]], alone, rows)
        for _ in range(3):
            next(training)
        assert bits(together, k) == bits(alone, 0)

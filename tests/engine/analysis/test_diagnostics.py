"""Diagnostics of a network: statistics computed by hand, and histograms compared with NumPy's."""

from dataclasses import replace
from math import prod

import numpy as np
import pytest
from engine_cases import F32, F64, hyperparameters, network, rows, start
from layer_cases import LAYER_CASES

from engine.activations import ReLU, Sigmoid
from engine.analysis.diagnostics import histograms, weight_statistics
from engine.data.rows import Rows
from engine.layers import BatchNorm, Dense, Dropout
from engine.losses import SoftmaxCrossEntropy, SquaredError
from engine.network import Network
from engine.training.clipping import ClipNorm
from engine.training.hyperparameters import Hyperparameters
from engine.types import EngineError

# 2-2-1 with batch norm between, two trials. Dense: W by rows, b; batch norm: γ, β, mean, variance.
MIXED = Network((2,), (Dense(2), BatchNorm(), ReLU(), Dense(1)), SquaredError())
THETA = np.array(
    [
        [0.5, -0.25, 0.0, 0.01, 9, 9, 1, 1, 0, 0, 0, 0, 1, 1, -2.0, 1e-4, 9],
        [-0.02, 0.02, -0.01, 1e-5, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 0.0, 0.0, 0],
    ]
)


@pytest.mark.parametrize("dtype", [F32, F64])
def test_weight_statistics_by_hand(dtype: np.dtype[np.floating]) -> None:
    """Bounds are inclusive; biases (the nines), γ, β and running statistics are excluded."""
    found = weight_statistics(MIXED, THETA.astype(dtype))
    first, last = found.layers
    assert (first.layer, first.count, last.layer, last.count, found.count) == (1, 4, 4, 2, 6)
    np.testing.assert_allclose(first.total, [0.76, 0.05001], rtol=1e-6)
    np.testing.assert_allclose(last.total, [2.0001, 0], rtol=1e-6)
    np.testing.assert_allclose(found.total, [2.7601, 0.05001], rtol=1e-6)
    assert (first.little.tolist(), first.zero.tolist()) == ([2, 2], [1, 1])
    assert (last.little.tolist(), last.zero.tolist()) == ([1, 2], [1, 2])
    assert (found.little.tolist(), found.zero.tolist()) == ([3, 4], [2, 3])
    assert found.total.dtype == np.float64


def test_weight_statistics_are_the_same_in_a_batch() -> None:
    net = network("softmax_cross_entropy", 3, "relu", inputs=40, hidden=(33, 17))
    theta = start(net, hyperparameters(5, "sgd")).theta
    theta[2] = np.nan
    together = weight_statistics(net, theta)
    for k in range(5):
        alone = weight_statistics(net, theta[k : k + 1])
        assert np.array_equal(alone.total[0], together.total[k], equal_nan=True)
        assert alone.little[0] == together.little[k]
    assert np.isnan(together.total[2]) and together.little[2] == 0


# One input, sigmoid, one output: z = x·0 + 0, so a = 0.5 for every row; output 0.5·2 + 0.5 = 1.5.
SMALL = Network((1,), (Dense(1), Sigmoid(), Dense(1)), SquaredError())
SMALL_THETA = np.array([[0.0, 0.0, 2.0, 0.5]])
SMALL_ROWS = Rows(np.array([[1.0], [3.0]]), np.array([[1.5], [0.5]]))


def test_histograms_by_hand() -> None:
    """δ = (0, 1)/2 at the output: dW₂ = 0.5·0.5, db₂ = 0.5; through 2·a(1 − a) = 0.5: dW₁ = 0.5·0.5·3, db₁ = 0.25."""
    found = histograms(SMALL, SMALL_THETA, SMALL_ROWS, bins=5, limits=(0, 1))
    z, a, output = found.activations
    assert [h.layer for h in found.activations] == [1, 2, 3] and [h.layer for h in found.gradients] == [1, 3]
    assert a.counts.tolist() == [[0, 0, 2, 0, 0]] and z.counts.tolist() == [[2, 0, 0, 0, 0]]
    assert output.counts.tolist() == [[0, 0, 0, 0, 0]] and (output.numbers, output.mean[0]) == (2, 1.5)
    assert z.tails is not None and a.tails is not None and output.tails is not None
    assert (z.tails.tolist(), a.tails.tolist(), output.tails.tolist()) == ([[1, 0]], [[0, 0]], [[0, 0]])
    np.testing.assert_allclose(a.edges, [[0, 0.2, 0.4, 0.6, 0.8, 1]])
    first, last = found.gradients
    assert (first.mean[0], last.mean[0]) == (0.5, 0.375)  # of 0.75 and 0.25, of 0.25 and 0.5
    assert (first.deviation[0], last.deviation[0]) == (0.25, 0.125)
    assert first.counts.tolist() == [[1, 0, 0, 0, 1]] and first.edges[0, [0, -1]].tolist() == [0.25, 0.75]
    assert first.tails is None


def test_regularizers_are_part_of_the_gradient_and_clipping_is_not() -> None:
    """λ·2 = 1 on W₂ alone: 0.25 + 1 and 0.5, nothing on W₁ = 0; by batch half of it."""
    trial = Hyperparameters(l2=0.5, clip=ClipNorm(1e-3))
    assert histograms(SMALL, SMALL_THETA, SMALL_ROWS, trial).gradients[1].mean[0] == (1.25 + 0.5) / 2
    divide_by_batch = replace(trial, divide_by_batch=True)
    assert histograms(SMALL, SMALL_THETA, SMALL_ROWS, divide_by_batch).gradients[1].mean[0] == (0.75 + 0.5) / 2


def test_training_and_inference() -> None:
    """Batch norm uses batch or running statistics, dropout is on or off; theta is not changed."""
    net = Network((3,), (BatchNorm(), Dropout(0.5), Dense(2)), SoftmaxCrossEntropy())
    theta = start(net, hyperparameters(2, "sgd"), F64).theta
    x = np.random.default_rng(0).standard_normal((400, 3)) + 5
    before, data = theta.copy(), Rows(x, np.eye(2)[np.arange(400) % 2])
    trained, inferred = (histograms(net, theta, data, training=t).activations for t in (True, False))
    np.testing.assert_allclose(trained[0].mean, 0, atol=1e-12)
    np.testing.assert_allclose(inferred[0].mean, x.mean(), rtol=1e-4)  # running mean 0, variance 1
    np.testing.assert_allclose(inferred[1].mean, inferred[0].mean)
    left_out = [h.counts.max() / h.numbers for h in (trained[1], inferred[1])]
    assert left_out[0] > 0.45 and left_out[1] < 0.2  # zeros are in one bin
    assert np.array_equal(theta, before)
    one_more = histograms(net, theta, data, seed=1).activations[1]
    assert not np.array_equal(one_more.counts, trained[1].counts)


@pytest.mark.parametrize("training", [True, False])
def test_totals(training: bool) -> None:
    net = network("softmax_cross_entropy", 3, "tanh", inputs=5, hidden=(6, 4))
    theta = start(net, hyperparameters(3, "sgd")).theta
    found = histograms(net, theta, rows("softmax_cross_entropy", 3, 21, 5), bins=7, training=training)
    assert [h.numbers for h in found.activations] == [21 * 6, 21 * 6, 21 * 4, 21 * 4, 21 * 3]
    assert [h.numbers for h in found.gradients] == [5 * 6 + 6, 6 * 4 + 4, 4 * 3 + 3]
    for h in (*found.activations, *found.gradients):
        assert h.counts.shape == (3, 7) and h.edges.shape == (3, 8)
        assert (h.counts.sum(axis=1) == h.numbers).all()
        assert (np.diff(h.edges) > 0).all()
    np.testing.assert_allclose(
        net.forward(theta, rows("softmax_cross_entropy", 3, 21, 5).x).mean(axis=(1, 2)),
        found.activations[-1].mean,
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    ("name", "number"), [(name, k) for name, nets in LAYER_CASES.items() for k in range(len(nets))]
)
def test_every_layer_has_diagnostics(name: str, number: int) -> None:
    net = LAYER_CASES[name][number]
    theta = start(net, hyperparameters(2, "sgd"), F64).theta
    x = np.random.default_rng(0).standard_normal((7, *net.inputs))
    data = Rows(x, np.eye(net.outputs)[np.arange(7) % net.outputs])
    for training in (True, False):
        found = histograms(net, theta, data, training=training)
        assert [h.numbers for h in found.activations] == [7 * prod(shape) for shape in net.shapes[1:]]
        assert all((h.counts.sum(axis=1) == h.numbers).all() for h in (*found.activations, *found.gradients))
    np.testing.assert_allclose(found.activations[-1].mean, net.forward(theta, x).mean(axis=(1, 2)), rtol=1e-9)


def test_running_statistics_have_no_gradient() -> None:
    found = histograms(MIXED, THETA, Rows(np.arange(6.0).reshape(3, 2), np.zeros((3, 1))))
    assert [(h.layer, h.numbers) for h in found.gradients] == [(1, 6), (2, 4), (4, 3)]


def test_shares_are_of_all_numbers() -> None:
    """An infinite input times 0 is NaN."""
    tails = histograms(SMALL, SMALL_THETA, Rows(np.array([[1], [np.inf]]), np.zeros((2, 1))), limits=(0, 1))
    assert tails.activations[0].tails is not None and tails.activations[0].tails.tolist() == [[0.5, 0]]


def test_values_that_are_not_finite_or_all_equal() -> None:
    net = network("squared_error", 3, "relu", inputs=5)
    theta = start(net, hyperparameters(3, "sgd"), F64).theta
    theta[0], theta[1], theta[2] = np.nan, 0, 1e200
    found = histograms(net, theta, rows("squared_error", 3, 21, 5, dtype=F64))
    for h in (*found.activations, *found.gradients):
        assert not h.counts[0].any() and np.isnan(h.mean[0])
        assert (np.diff(h.edges) > 0).all()
    assert found.activations[0].counts[1].max() == 21 * 6 and found.activations[0].mean[1] == 0
    alone = histograms(net, theta[1:2], rows("squared_error", 3, 21, 5, dtype=F64))
    assert np.array_equal(alone.gradients[0].counts[0], found.gradients[0].counts[1])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"bins": 0}, "histograms: bins must be at least 1, got 0"),
        ({"limits": (1, 1)}, r"histograms: limits must be finite and increase, got \(1, 1\)"),
        ({"limits": (0, np.inf)}, r"histograms: limits must be finite and increase, got \(0, inf\)"),
        ({"theta": THETA[:, :5]}, r"theta must be \(trials, 17 parameters\), got \(2, 5\)"),
        (
            {"rows": Rows(np.zeros((3, 4)), np.zeros((3, 1)))},
            r"rows must be \(2,\) with \(1,\) targets, got 3 rows \(4,\) .*",
        ),
        ({"rows": Rows(np.zeros((3, 2), F32), np.zeros((3, 1)))}, "rows must be float64 like the parameters, got .*"),
        ({"rows": Rows(np.zeros((1, 2)), np.zeros((1, 1)))}, "batch_norm needs batches of at least 2 rows, got .* 1"),
        ({"trial": Hyperparameters(label_smoothing=0.1)}, "label_smoothing must be 0 for a regression, .*"),
    ],
)
def test_invalid_histograms(kwargs: dict[str, object], message: str) -> None:
    given = {"theta": THETA, "rows": Rows(np.zeros((3, 2)), np.zeros((3, 1))), **kwargs}
    with pytest.raises(EngineError, match=f"^{message}$"):
        histograms(MIXED, **given)  # type: ignore[arg-type]


def test_a_network_without_weights_has_no_statistics() -> None:
    with pytest.raises(EngineError, match=r"^weight statistics need a network with weights$"):
        weight_statistics(Network((2,), (ReLU(),), SquaredError()), np.zeros((1, 0)))
    with pytest.raises(EngineError, match=r"^theta must be \(trials, 17 parameters\), got \(17,\)$"):
        weight_statistics(MIXED, THETA[0])

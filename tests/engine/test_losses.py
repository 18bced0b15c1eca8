"""Losses compared with scikit-learn and SciPy, their gradients, and extreme logits."""

import numpy as np
import pytest
from engine_cases import F32, F64, LOSS_CASES, targets
from scipy.special import expit, log_softmax, softmax
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, r2_score

from engine.data.rows import rows_adjacent
from engine.losses import LOSSES, Logistic, SoftmaxCrossEntropy, SquaredError
from engine.training.accumulator import MetricAccumulator
from engine.types import EngineError

RNG = np.random.default_rng(3)
LOGITS = RNG.standard_normal((2, 50, 4)) * 3
CLASSES = RNG.integers(0, 4, 50)
BITS = RNG.integers(0, 2, 50)
VALUES = RNG.standard_normal((50, 4))


def test_softmax_cross_entropy() -> None:
    loss = SoftmaxCrossEntropy()
    y = loss.targets(CLASSES, 4, F64)
    for k in range(2):
        p = softmax(LOGITS[k], axis=1)
        np.testing.assert_allclose(loss.predict(LOGITS)[k], p, rtol=1e-12)
        mean = loss.values(LOGITS, y[None])[k].mean()
        assert mean == pytest.approx(log_loss(CLASSES, p), rel=1e-12)
        np.testing.assert_allclose(loss.values(LOGITS, y[None])[k], -log_softmax(LOGITS[k], 1)[range(50), CLASSES])
        np.testing.assert_allclose(loss.bind((2, 50, 4), F64)(LOGITS, y[None])[k], (p - y) / 50, atol=1e-15)


def test_logistic() -> None:
    loss = Logistic()
    y = loss.targets(BITS, 1, F64)
    z = LOGITS[:, :, :1]
    for k in range(2):
        p = expit(z[k, :, 0])
        np.testing.assert_allclose(loss.predict(z)[k, :, 0], p, rtol=1e-12)
        assert loss.values(z, y[None])[k].mean() == pytest.approx(log_loss(BITS, p), rel=1e-12)
        np.testing.assert_allclose(loss.bind(z.shape, F64)(z, y[None])[k, :, 0], (p - BITS) / 50, atol=1e-15)


def test_squared_error() -> None:
    loss = SquaredError()
    assert loss.predict(LOGITS) is LOGITS
    for k in range(2):
        mean = loss.values(LOGITS, VALUES[None])[k].mean()
        assert mean == pytest.approx(4 * mean_squared_error(VALUES, LOGITS[k]) / 2, rel=1e-12)
        delta = loss.bind(LOGITS.shape, F64)(LOGITS, VALUES[None])[k]
        np.testing.assert_allclose(delta, (LOGITS[k] - VALUES) / 50, atol=1e-15)


def test_accuracy_and_r2_over_blocks() -> None:
    for loss, y, logits in (
        (SoftmaxCrossEntropy(), SoftmaxCrossEntropy().targets(CLASSES, 4, F64), LOGITS),
        (Logistic(), Logistic().targets(BITS, 1, F64), LOGITS[:, :, :1]),
        (SquaredError(), VALUES, VALUES + LOGITS / 9),
    ):
        accumulator = MetricAccumulator(loss, 2, y)
        for part in (slice(0, 20), slice(20, 50)):
            accumulator.add(logits[:, part], y[None, part])
        scores = accumulator.scores()
        for k in range(2):
            if isinstance(loss, SquaredError):
                expected = r2_score(y, logits[k], multioutput="variance_weighted")
            elif isinstance(loss, Logistic):
                expected = accuracy_score(BITS, logits[k, :, 0] > 0)
            else:
                expected = accuracy_score(CLASSES, logits[k].argmax(1))
            assert scores.accuracy[k] == pytest.approx(expected, rel=1e-12)
            assert scores.loss[k] == pytest.approx(loss.values(logits, y[None])[k].mean(), rel=1e-12)


def test_batches_are_weighted_by_their_rows() -> None:
    loss = SoftmaxCrossEntropy()
    y = loss.targets(CLASSES, 4, F64)
    whole, parts = MetricAccumulator(loss, 2, y), MetricAccumulator(loss, 2, y)
    whole.add(LOGITS, y[None])
    for rows, batch in ((slice(0, 20), 10), (slice(20, 40), 5), (slice(40, 50), 10)):
        shape = (2, -1, batch, 4)
        parts.add(LOGITS[:, rows].reshape(shape), np.stack([y, y])[:, rows].reshape(shape))
    np.testing.assert_allclose(parts.scores(), whole.scores(), rtol=1e-12)


def test_the_first_of_equal_outputs_counts() -> None:
    loss, y = SoftmaxCrossEntropy(), np.eye(3)[[0, 1, 2]]
    assert loss.correct(np.zeros((3, 3)), y).tolist() == [True, False, False]  # type: ignore[union-attr]
    assert loss.correct(np.array([[1.0, 2, 2], [1, 2, 2], [1, 2, 3]]), y).tolist() == [False, True, True]  # type: ignore[union-attr]


def test_sums_over_many_rows_are_exact() -> None:
    """A float32 sum over this many rows would lose the seventh digit."""
    accumulator = MetricAccumulator(SquaredError(), 1, np.zeros((100_000, 1), np.float32))
    accumulator.add(np.full((1, 100_000, 1), 0.1, np.float32), np.zeros((1, 100_000, 1), np.float32))
    assert accumulator.scores().loss[0] == pytest.approx(float(np.float32(0.1) ** 2 / 2), rel=1e-12)


def test_r2_of_equal_targets_is_undefined() -> None:
    accumulator = MetricAccumulator(SquaredError(), 1, np.ones((5, 1)))
    accumulator.add(np.zeros((1, 5, 1)), np.ones((1, 5, 1)))
    assert np.isnan(accumulator.scores().accuracy[0]) and accumulator.scores().loss[0] == 0.5


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize(("name", "outputs"), LOSS_CASES)
def test_extreme_logits_stay_finite(name: str, outputs: int, dtype: np.dtype) -> None:  # type: ignore[type-arg]
    loss = LOSSES[name]()
    y = targets(loss, outputs, 40, 0, dtype)
    assert y is not None
    logits = np.random.default_rng(1).choice([-1e4, 0, 1e4], (2, 40, outputs)).astype(dtype)
    with np.errstate(all="ignore"):  # as in the trainer: 1 / e^10000 = 1 / inf = 0 is intended
        delta = loss.bind(logits.shape, dtype)(logits, y[None])
        values, predicted = loss.values(logits, y[None]), loss.predict(logits)
    assert np.isfinite(delta).all() and np.isfinite(values).all() and np.isfinite(predicted).all()
    assert (values >= 0).all()


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_extreme_logits_of_one_trial_change_nothing_for_another(dtype: np.dtype) -> None:  # type: ignore[type-arg]
    """Softmax uses its slower form only for the trial that needs it; the slower form is correct."""
    loss, z = SoftmaxCrossEntropy(), RNG.standard_normal((3, 20, 4)).astype(dtype)
    z[1] += 800  # e^z overflows
    z[2] -= 800  # Σ e^z is 0
    y = np.stack([loss.targets(CLASSES[:20], 4, dtype)] * 3)
    with np.errstate(all="ignore"):
        together = loss.bind(z.shape, dtype)(z, y).copy()
        for k in range(3):
            assert np.array_equal(together[k], loss.bind((1, 20, 4), dtype)(z[k : k + 1], y[:1])[0])
        np.testing.assert_allclose(together, (softmax(z, axis=2) - y) / 20, atol=1e-6 if dtype == F32 else 1e-15)


@pytest.mark.parametrize(("name", "outputs"), LOSS_CASES)
def test_memory_layout_does_not_matter_and_inputs_are_not_changed(name: str, outputs: int) -> None:
    loss = LOSSES[name]()
    y = targets(loss, outputs, 40, 0, F64)
    assert y is not None
    logits = RNG.standard_normal((2, 40, outputs))
    adjacent, before = rows_adjacent(logits.shape, F64), logits.copy()
    adjacent[...] = logits
    np.testing.assert_allclose(loss.values(adjacent, y[None]), loss.values(logits, y[None]), rtol=1e-12)
    bind = loss.bind(logits.shape, F64)
    np.testing.assert_allclose(bind(adjacent, y[None]).copy(), bind(logits, y[None]), rtol=1e-12)
    np.testing.assert_array_equal(adjacent, before)
    np.testing.assert_array_equal(logits, before)


@pytest.mark.parametrize("loss", [Logistic(), SoftmaxCrossEntropy()])
def test_labels_of_the_wrong_shape(loss: Logistic | SoftmaxCrossEntropy) -> None:
    outputs, classes = (1, 2) if isinstance(loss, Logistic) else (3, 3)
    with pytest.raises(EngineError, match="labels must be whole numbers, one per row, got float64"):
        loss.targets(np.array([0.0, 1.0]), outputs, F32)
    with pytest.raises(EngineError, match=r"labels must be whole numbers, one per row, got int64 \(2, 1\)"):
        loss.targets(np.array([[0], [1]]), outputs, F32)
    for labels in ([0, classes], [-1, 0]):
        with pytest.raises(EngineError, match=rf"labels must lie in 0…{classes - 1}, got {min(labels)}…{max(labels)}"):
            loss.targets(np.array(labels), outputs, F32)
    assert loss.targets(np.array([], dtype=int), outputs, F32).shape == (0, outputs)


def test_outputs_of_the_wrong_shape() -> None:
    with pytest.raises(EngineError, match="logistic: the network must have 1 output, got 2"):
        Logistic().targets(np.array([0, 1]), 2, F32)
    with pytest.raises(EngineError, match="squared_error: targets must have 2 columns, got 1"):
        SquaredError().targets(np.array([0.5, 1.5]), 2, F32)

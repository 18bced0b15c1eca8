"""Metrics: compared with scikit-learn, and contracts for every name in the registry."""

import warnings
from collections.abc import Callable
from math import inf, isnan, nan

import numpy as np
import pytest
from engine_cases import F32, F64
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import expit, softmax
from sklearn import metrics as sk

from engine.data.rows import rows_adjacent
from engine.losses import LOSSES
from engine.metrics import F1, METRICS
from engine.training.accumulator import MetricAccumulator
from engine.types import EngineError

CLASSIFIERS = [name for name in METRICS if METRICS[name].classifies]
REGRESSIONS = [name for name in METRICS if not METRICS[name].classifies]
Pair = tuple[np.ndarray, np.ndarray]  # predicted and targets, `(rows, outputs)`


def of(name: str, predicted: object, targets: object) -> float:
    """Return the metric of read-only arrays, with floating-point errors raised."""
    p, y = np.array(predicted, copy=None), np.array(targets, copy=None)
    p, y = (x.astype(F64) if x.dtype.kind == "i" else x.view() for x in (p, y))
    p.flags.writeable = y.flags.writeable = False
    with np.errstate(all="raise", under="ignore"):
        value = METRICS[name]().of(p, y)
    assert type(value) is float
    return value


def labels_of(targets: np.ndarray) -> np.ndarray:
    return targets[:, 0].astype(int) if targets.shape[1] == 1 else targets.argmax(axis=1)


def decided(p: np.ndarray) -> np.ndarray:
    """Return the decisions by a loop, which shares no code with the tested function."""
    return np.array([int(row[0] > 0.5) if len(row) == 1 else row.tolist().index(max(row)) for row in p])


def _of_class(score: Callable[..., float]) -> Callable[[np.ndarray, np.ndarray], float]:
    def referee(p: np.ndarray, y: np.ndarray) -> float:
        average = "binary" if p.shape[1] < 3 else "macro"
        return float(score(labels_of(y), decided(p), average=average, zero_division=0))

    return referee


def _roc_auc(p: np.ndarray, y: np.ndarray) -> float:
    if p.shape[1] < 3:
        return float(sk.roc_auc_score(labels_of(y), p[:, -1]))
    return float(sk.roc_auc_score(labels_of(y), p, multi_class="ovr", labels=range(p.shape[1])))


def _r2(p: np.ndarray, y: np.ndarray) -> float:
    each = sk.r2_score(y, p, multioutput="raw_values", force_finite=False)
    return float(np.mean(np.where(np.ptp(y, axis=0) == 0, nan, each)))


REFEREES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": lambda p, y: sk.accuracy_score(labels_of(y), decided(p)),
    "balanced_accuracy": lambda p, y: sk.balanced_accuracy_score(labels_of(y), decided(p)),
    "f1": _of_class(sk.f1_score),
    "precision": _of_class(sk.precision_score),
    "recall": _of_class(sk.recall_score),
    "roc_auc": _roc_auc,
    "log_loss": lambda p, y: sk.log_loss(labels_of(y), p, labels=range(max(2, p.shape[1]))),
    "r2": _r2,
    "rmse": lambda p, y: sk.root_mean_squared_error(y, p),
    "mae": lambda p, y: sk.mean_absolute_error(y, p),
}


def assert_like_the_referee(name: str, predicted: np.ndarray, targets: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # undefined metrics, and classes that are only predicted
        expected = REFEREES[name](predicted, targets)
    tiny = 1e-12 if name == "r2" else 0  # it is a difference from 1
    assert of(name, predicted, targets) == pytest.approx(expected, rel=1e-12, abs=tiny, nan_ok=True)


def classified(seed: int, rows: int, outputs: int, ties: bool = False, absent: int = 0) -> Pair:
    """Return probabilities correlated with the targets; with ties in rows and in columns."""
    rng = np.random.default_rng([seed, rows, outputs])
    labels = rng.integers(0, max(outputs, 2) - absent, rows)
    y = labels[:, None].astype(F64) if outputs == 1 else np.eye(outputs)[labels]
    z = rng.standard_normal((rows, outputs)) * 1.5 + y - 0.5 * (outputs == 1)
    if ties:
        z = np.round(z)
    return (expit(z) if outputs == 1 else softmax(z, axis=1)), y


def measured(seed: int, rows: int, outputs: int) -> Pair:
    rng = np.random.default_rng([seed, rows, outputs])
    y = rng.normal(3, 2, (rows, outputs))
    return y + rng.standard_normal((rows, outputs)), y


def case(name: str, outputs: int, rows: int = 60, seed: int = 0) -> Pair:
    return classified(seed, rows, outputs) if METRICS[name].classifies else measured(seed, rows, outputs)


CASES = [(name, outputs) for name in METRICS for outputs in (1, 2, 4)]
every_case = pytest.mark.parametrize(("name", "outputs"), CASES)


# --- scikit-learn


def test_every_metric_has_a_reference() -> None:
    assert list(METRICS) == list(REFEREES)
    assert list(REFEREES) == list(METRICS)


@pytest.mark.parametrize("outputs", [1, 2, 3, 10])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classification_like_scikit_learn(name: str, outputs: int) -> None:
    for seed, rows in enumerate((1, 2, 3, 7, 50, 1000)):
        for ties in (False, True):
            for absent in (0, 1):
                assert_like_the_referee(name, *classified(seed, rows, outputs, ties, absent))


@pytest.mark.parametrize("outputs", [1, 2, 5])
@pytest.mark.parametrize("name", REGRESSIONS)
def test_regression_like_scikit_learn(name: str, outputs: int) -> None:
    for seed, rows in enumerate((1, 2, 3, 7, 50, 1000)):
        assert_like_the_referee(name, *measured(seed, rows, outputs))


SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 4))


@st.composite
def few_probabilities(draw: st.DrawFn) -> Pair:
    """Draw few values: ties in every row and column, certainty, classes without rows or predictions."""
    rows, outputs = draw(SHAPES)
    labels = draw(hnp.arrays(np.int64, rows, elements=st.integers(0, max(outputs, 2) - 1)))
    weights = draw(hnp.arrays(np.int64, (rows, outputs), elements=st.integers(0, 4)))
    if outputs == 1:
        return weights / 4, labels[:, None].astype(F64)
    weights[:, 0] += weights.sum(axis=1) == 0
    return weights / weights.sum(axis=1, keepdims=True), np.eye(outputs)[labels]


@settings(max_examples=300, deadline=None)
@given(few_probabilities())
def test_any_classification_like_scikit_learn(pair: Pair) -> None:
    for name in CLASSIFIERS:
        assert_like_the_referee(name, *pair)


@settings(max_examples=300, deadline=None)
@given(SHAPES.flatmap(lambda s: hnp.arrays(np.int64, (2, *s), elements=st.integers(-400, 400))))
def test_any_regression_like_scikit_learn(quarters: np.ndarray) -> None:
    for name in REGRESSIONS:
        assert_like_the_referee(name, quarters[0] / 4, quarters[1] / 4)


# --- contracts of every metric


@pytest.mark.parametrize("name", METRICS)
def test_attributes_of_the_class(name: str) -> None:
    kind = METRICS[name]
    assert isinstance(kind.classifies, bool) and kind.sign in (1, -1)


@every_case
def test_better_predictions_give_a_better_value(name: str, outputs: int) -> None:
    """From the first predictions to the targets, in steps: `sign` · value never rises, and falls overall."""
    p, y = case(name, outputs, rows=300)
    values = [METRICS[name].sign * of(name, p + t * (y - p), y) for t in (0, 0.1, 0.3, 0.6, 0.9, 1)]
    assert values == sorted(values, reverse=True) and values[-1] < values[0]
    best = 1 if METRICS[name].sign < 0 else 0
    assert METRICS[name].sign * values[-1] == pytest.approx(best, abs=1e-12)


@every_case
def test_a_nan_anywhere_gives_nan(name: str, outputs: int) -> None:
    for dtype in (F32, F64):
        p, y = (x.astype(dtype) for x in case(name, outputs, rows=5))
        assert not isnan(of(name, p, y)) or name == "roc_auc"
        for place in np.ndindex(p.shape):
            wrong = p.copy()
            wrong[place] = nan
            assert isnan(of(name, wrong, y))


@every_case
def test_float32_is_summed_in_float64(name: str, outputs: int) -> None:
    """Equal to the bit to the same numbers in float64, with so many rows that float32 sums would differ."""
    p, y = (x.astype(F32) for x in case(name, outputs, rows=20_000))
    assert of(name, p, y) == of(name, p.astype(F64), y.astype(F64))


@every_case
def test_the_order_of_the_rows_does_not_matter(name: str, outputs: int) -> None:
    p, y = case(name, outputs)
    order = np.random.default_rng(1).permutation(len(p))
    assert of(name, p[order], y[order]) == pytest.approx(of(name, p, y), rel=1e-12)


@every_case
def test_duplicated_rows_change_nothing(name: str, outputs: int) -> None:
    p, y = case(name, outputs)
    assert of(name, np.tile(p, (2, 1)), np.tile(y, (2, 1))) == pytest.approx(of(name, p, y), rel=1e-12)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@every_case
def test_neither_other_trials_nor_memory_layout_matter(name: str, outputs: int, dtype: np.dtype) -> None:  # type: ignore[type-arg]
    """One trial of several, with adjacent rows or not: equal to the bit to that trial alone."""
    p, y = (x.astype(dtype) for x in case(name, outputs, rows=1001))
    alone = of(name, p, y)
    for batch in (np.empty((3, *p.shape), dtype), rows_adjacent((3, *p.shape), dtype)):
        batch[...] = nan
        batch[1] = p
        assert of(name, batch[1], y) == alone
        assert of(name, batch[1], np.asfortranarray(y)) == alone
    wide = np.full((2002, 2 * outputs + 1), nan, dtype)
    wide[::2, 1::2] = p
    assert of(name, wide[::2, 1::2], y) == alone


@every_case
def test_no_rows_and_one_row(name: str, outputs: int) -> None:
    p, y = case(name, outputs)
    assert isnan(of(name, p[:0], y[:0]))
    one = of(name, p[:1], y[:1])
    assert isnan(one) == (name in ("roc_auc", "r2"))


@every_case
def test_extreme_predictions_raise_no_error(name: str, outputs: int) -> None:
    p, y = case(name, outputs, rows=300)
    values = [0.0, 1.0, 1e-300, 5e-324] if METRICS[name].classifies else [0.0, 1e300, -1e300, inf, -inf]
    wild = np.random.default_rng(0).choice(values, p.shape)
    with np.errstate(under="ignore"):
        assert not isnan(of(name, wild, y))


@pytest.mark.parametrize("name", METRICS)
def test_invalid_shapes(name: str) -> None:
    p, y = case(name, 1)
    for wrong in (y[:, 0], y[:-1], np.tile(y, 2), y[None]):
        with pytest.raises(EngineError, match=r"^metric: predictions and targets must both be \(rows, outputs\), got "):
            of(name, p, wrong)
        with pytest.raises(EngineError, match="predictions and targets must both be"):
            of(name, wrong, p)
    with pytest.raises(EngineError, match=r"got \(60,\) and \(60,\)$"):
        of(name, p[:, 0], y[:, 0])


# --- contracts of classification and of regression


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_names_of_classes_do_not_matter(name: str) -> None:
    p, y = classified(0, 90, 5)
    order = np.array([3, 0, 4, 1, 2])
    assert of(name, p[:, order], y[:, order]) == pytest.approx(of(name, p, y), rel=1e-12)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_two_classes_as_one_column_or_two(name: str, ties: bool) -> None:
    """Sigmoid or softmax; at 0.5 the decision is the first class in both."""
    p, y = classified(0, 90, 1, ties)
    assert (p == 0.5).any() == ties
    two = of(name, np.hstack([1 - p, p]), np.hstack([1 - y, y]))
    assert two == pytest.approx(of(name, p, y), rel=1e-14)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize(
    ("loss", "outputs"), [("logistic", 1), ("softmax_cross_entropy", 2), ("softmax_cross_entropy", 3)]
)
def test_metrics_agree_with_the_losses(loss: str, outputs: int, dtype: np.dtype) -> None:  # type: ignore[type-arg]
    """The same decisions from probabilities and from logits, with ties and near ties, and the same loss."""
    rng, made = np.random.default_rng(5), LOSSES[loss]()
    logits = rng.choice([-5, -1, -1e-6, 0, 1e-6, 1, 5], (3, 400, outputs)).astype(dtype)
    y = made.targets(rng.integers(0, max(2, outputs), 400), outputs, dtype)
    right = made.correct(logits, y[None])
    assert right is not None
    for k in range(3):
        p = made.predict(logits)[k]
        assert of("accuracy", p, y) == right[k].mean()
        values = made.values(logits, y[None])[k].mean(dtype=F64)
        assert of("log_loss", p, y) == pytest.approx(values, rel=1e-12 if dtype == F64 else 1e-5)


def test_r2_equals_that_of_the_accumulator() -> None:
    p, y = measured(0, 80, 1)
    accumulator = MetricAccumulator(LOSSES["squared_error"](), 1, y)
    accumulator.add(p[None], y[None])
    assert of("r2", p, y) == pytest.approx(accumulator.scores().accuracy[0], rel=1e-12)


@pytest.mark.parametrize(("name", "power"), [("r2", 0), ("rmse", 1), ("mae", 1)])
def test_regression_metrics_scale_with_the_target(name: str, power: int) -> None:
    p, y = measured(0, 80, 3)
    assert of(name, p * 7 + 100, y * 7 + 100) == pytest.approx(of(name, p, y) * 7**power, rel=1e-12)


def test_roc_auc_depends_on_the_order_only() -> None:
    p, y = classified(0, 200, 1, ties=True)
    area = of("roc_auc", p, y)
    assert 0.6 < area < 1
    assert of("roc_auc", p**3 / 9, y) == area
    assert of("roc_auc", 1 - p, 1 - y) == area
    assert of("roc_auc", 1 - p, y) == pytest.approx(1 - area, rel=1e-12)


# --- cases by hand


@pytest.mark.parametrize(
    ("name", "predicted", "targets", "value"),
    [
        ("accuracy", [[0.5], [0.5], [0.51], [0.2]], [[0], [1], [1], [1]], 0.5),
        ("accuracy", [[0.4, 0.4, 0.2], [0.2, 0.4, 0.4]], [[1, 0, 0], [0, 0, 1]], 0.5),  # the first of equals
        ("balanced_accuracy", [[0.9], [0.1], [0.1], [0.1]], [[1], [1], [0], [0]], 0.75),
        ("balanced_accuracy", [[0.1], [0.9]], [[1], [1]], 0.5),  # no row of the first class
        ("f1", [[0.9], [0.9], [0.1]], [[1], [0], [1]], 0.5),
        ("f1", [[0.1], [0.2]], [[0], [0]], 0.0),  # no row and no prediction of the second class
        ("f1", [[0.9, 0.1], [0.8, 0.2]], [[1, 0], [1, 0]], 0.0),
        ("f1", [[0.9, 0.1, 0], [0.8, 0.2, 0]], [[1, 0, 0], [0, 1, 0]], 1 / 3),  # of two of three classes
        ("precision", [[0.9], [0.9], [0.9], [0.1]], [[1], [0], [0], [1]], 1 / 3),
        ("precision", [[0.1], [0.2]], [[0], [1]], 0.0),  # no prediction of the second class
        ("recall", [[0.9], [0.9], [0.9], [0.1]], [[1], [0], [0], [1]], 0.5),
        ("recall", [[0.1], [0.9]], [[0], [0]], 0.0),  # no row of the second class
        ("recall", [[0.9, 0.1, 0], [0.8, 0.2, 0]], [[1, 0, 0], [0, 1, 0]], 1 / 2),  # of two of three classes
        ("roc_auc", [[0.1], [0.4], [0.4], [0.8]], [[0], [0], [1], [1]], 0.875),  # 3½ of 4 pairs
        ("roc_auc", [[0.3], [0.3]], [[0], [1]], 0.5),
        ("roc_auc", [[0.0], [-0.0]], [[0], [1]], 0.5),
        ("roc_auc", [[0.1], [0.9]], [[1], [0]], 0.0),
        ("roc_auc", [[1, 1e-20], [1, 1e-18]], [[1, 0], [0, 1]], 1.0),  # the second column counts
        ("roc_auc", [[0.1], [0.9]], [[1], [1]], nan),
        ("roc_auc", [[0.1], [0.9]], [[0], [0]], nan),
        ("roc_auc", [[0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], [[0, 1, 0], [0, 0, 1]], nan),  # no row of the first class
        ("log_loss", [[0.25], [0.5]], [[1], [0]], 1.5 * np.log(2)),
        ("log_loss", [[0.0]], [[1]], 52 * np.log(2)),  # ε = 2⁻⁵²
        ("log_loss", [[0.0, 1.0, 0.0]], [[1, 0, 0]], 52 * np.log(2)),
        ("log_loss", np.array([[1]], F32), np.array([[0]], F32), 23 * np.log(2)),  # ε = 2⁻²³
        ("log_loss", np.array([[0, 1]], F32), np.array([[0, 1]], F32), -np.log1p(-(2.0**-23))),
        ("r2", [[1], [2], [6]], [[1], [2], [3]], 1 - 9 / 2),
        ("r2", [[0.1], [0.1], [0.1]], [[0.1], [0.1], [0.1]], nan),
        ("r2", [[1], [2], [2]], [[0.1], [0.1], [0.1]], nan),  # whose mean is not 0.1
        ("r2", [[1, 1], [2, 1]], [[1, 1], [2, 1]], nan),  # of one output
        ("r2", [[inf], [0]], [[0], [1]], -inf),
        ("rmse", [[0, 3], [0, 5]], [[0, 0], [0, 5]], np.sqrt(4.5) / 2),  # the mean of two roots
        ("rmse", [[inf], [0]], [[0], [1]], inf),
        ("mae", [[0, 3], [-1, 5]], [[0, 0], [0, 5]], 1.0),
    ],
)
def test_by_hand(name: str, predicted: object, targets: object, value: float) -> None:
    assert of(name, predicted, targets) == pytest.approx(value, rel=1e-14, abs=0, nan_ok=True)


def test_f1_of_a_chosen_class() -> None:
    """F1 of each class, as scikit-learn computes it with `labels`."""
    generator = np.random.default_rng(0)
    for outputs in (1, 3):
        y = np.eye(3)[generator.integers(0, 3, 40)] if outputs == 3 else generator.integers(0, 2, (40, 1)).astype(float)
        p = generator.dirichlet(np.ones(3), 40) if outputs == 3 else generator.random((40, 1))
        single = sk.f1_score(labels_of(y), decided(p), average=None)
        assert [F1(k).of(p, y) for k in range(len(single))] == pytest.approx(single)

"""Training options beyond optimizer and learning rate, and stopping conditions.

The stored values come from PyTorch 2.13.0 in float64, by `python tests/engine/references/torch_layers.py`.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_cases import F32, F64, LOSS_CASES, REFERENCES_FOLDER, bits, network, plain, rows, scores_bits, train

from engine.analysis.gradcheck import check_gradient
from engine.data.row_sampling import ROW_SAMPLINGS, Balanced, Bootstrap, Shuffle
from engine.data.rows import Rows
from engine.losses import SoftmaxCrossEntropy
from engine.network import Network
from engine.optimizers import SGD, Adadelta, Adam, Momentum
from engine.training.clipping import CLIPS, Clip, ClipNorm, ClipValue
from engine.training.gradient import bind_gradient
from engine.training.hyperparameters import Hyperparameters, Switch
from engine.training.schedules import Exponential
from engine.training.state import State
from engine.training.stopping import Plateau, TargetReached
from engine.training.trainer import Epoch
from engine.types import EngineError, Floats

pytestmark = pytest.mark.usefixtures("kernel")

NET = network("softmax_cross_entropy", 3, "tanh", inputs=5)
DATA = rows("softmax_cross_entropy", 3, 21, 5)
NAN, INF = float("nan"), float("inf")


def begin(trials: Sequence[Hyperparameters], net: Network = NET, dtype: np.dtype[Any] = F32) -> State:
    generators = [np.random.default_rng([4, k]) for k in range(len(trials))]
    return State.start(net, trials[0].slots, generators, dtype)


def run(trials: Sequence[Hyperparameters], state: State, count: int, data: Rows = DATA, every: int = 1) -> list[Epoch]:
    training = train(NET, trials, state, data, data, every)
    return [next(training) for _ in range(count)]


def assert_batching_changes_nothing(trials: Sequence[Hyperparameters], data: Rows = DATA, epochs: int = 4) -> None:
    together = begin(trials)
    seen = run(trials, together, epochs, data)
    for k, trial in enumerate(trials):
        alone = begin(trials).take(np.array([k]))
        seen_alone = run([trial], alone, epochs, data)
        assert bits(alone, 0) + scores_bits(seen_alone, 0) == bits(together, k) + scores_bits(seen, k), k


# Clipping


def clipped(clips: Sequence[Clip], grad: Floats) -> Floats:
    grad = grad.copy()
    with np.errstate(all="ignore"):
        type(clips[0]).bind(clips, grad)()
    return grad


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_norms_are_clipped_to_the_limit_of_each_trial(dtype: np.dtype[Any]) -> None:
    grad = np.random.default_rng(0).standard_normal((4, 50)).astype(dtype)
    norms = np.linalg.norm(grad, axis=1)
    limits = [0.1, 3.0, 1e3, 1e-6]
    got = clipped([ClipNorm(limit) for limit in limits], grad)
    assert got.dtype == dtype
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), np.minimum(norms, limits), rtol=1e-5)
    np.testing.assert_allclose(got / np.linalg.norm(got, axis=1)[:, None], grad / norms[:, None], rtol=1e-5)
    assert np.array_equal(got[2], grad[2])
    for k, limit in enumerate(limits):
        assert np.array_equal(clipped([ClipNorm(limit)], grad[k : k + 1])[0], got[k])


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_values_are_clipped_to_the_limit_of_each_trial(dtype: np.dtype[Any]) -> None:
    grad = np.random.default_rng(0).standard_normal((3, 50)).astype(dtype)
    got = clipped([ClipValue(limit) for limit in (0.1, 0.5, 100.0)], grad)
    for k, limit in enumerate((0.1, 0.5, 100.0)):
        bound = dtype.type(limit)
        inside = np.abs(grad[k]) <= bound
        assert np.array_equal(got[k][inside], grad[k][inside])
        assert np.array_equal(got[k][~inside], np.sign(grad[k][~inside]) * bound)
    assert got.dtype == dtype


def test_gradients_that_are_not_finite_stay_in_their_trial() -> None:
    grad = np.ones((4, 3), np.float32)
    grad[1, 0], grad[2, 1] = np.inf, np.nan
    for clips in ([ClipNorm(0.5)] * 4, [ClipValue(0.5)] * 4):
        got = clipped(clips, grad)
        alone = clipped(clips[:1], grad[:1])
        assert np.array_equal(got[0], alone[0]) and np.array_equal(got[3], alone[0])
    norm, value = clipped([ClipNorm(0.5)] * 4, grad), clipped([ClipValue(0.5)] * 4, grad)
    assert np.isnan(norm[1, 0]) and np.isnan(norm[2]).all()  # divergence is not hidden
    assert value[1].tolist() == [0.5, 0.5, 0.5] and np.isnan(value[2, 1])


def test_norms_too_large_or_too_small_to_square() -> None:
    """3e30² is infinite in float32 and 1e-30² is 0; both are valid norms."""
    grad = np.array([[3e30, -4e30], [1e-30, 0], [0, 0], [3, -4]], F32)
    got = clipped([ClipNorm(2.0)] * 4, grad)
    np.testing.assert_allclose(got, [[1.2, -1.6], [1e-30, 0], [0, 0], [1.2, -1.6]], rtol=1e-6)
    assert np.array_equal(clipped([ClipNorm(2.0)], grad[3:])[0], got[3])


@pytest.mark.parametrize("name", CLIPS)
def test_clipping_in_a_batch(name: str) -> None:
    trials = [Hyperparameters(Momentum(), 0.1, 8, l2=0.01, clip=CLIPS[name](0.05 * (k + 1))) for k in range(5)]
    assert_batching_changes_nothing(trials)
    bare = [replace(trial, clip=None) for trial in trials]
    state, unclipped = begin(trials), begin(bare)
    run(trials, state, 1)
    run(bare, unclipped, 1)
    assert (state.theta != unclipped.theta).any(axis=1).all()


def test_clipping_comes_after_the_regularizers() -> None:
    """The length of an SGD step is the learning rate times the limit, for any decay."""
    trial = Hyperparameters(SGD(), 0.1, 21, l2=1e3, l1=1e3, clip=ClipNorm(0.5))
    state = begin([trial], dtype=F64)
    before = state.theta.copy()
    run([trial], state, 1, rows("softmax_cross_entropy", 3, 21, 5, dtype=F64))
    assert np.linalg.norm(state.theta - before) == pytest.approx(0.05, rel=1e-9)


# Regularizers and labels


@pytest.mark.parametrize("divide_by_batch", [False, True])
@pytest.mark.parametrize(("loss", "outputs"), LOSS_CASES)
def test_gradient_with_all_regularizers(loss: str, outputs: int, divide_by_batch: bool) -> None:
    net = network(loss, outputs, "tanh", inputs=4, hidden=(6, 5))
    smoothing = 0.0 if loss == "squared_error" else 0.15
    trial = Hyperparameters(
        l2=0.3, l1=0.2, divide_by_batch=divide_by_batch, label_smoothing=smoothing, clip=ClipNorm(1e-9)
    )
    theta = np.random.default_rng(5).standard_normal((3, net.size)) * 0.7
    check = check_gradient(net, theta, rows(loss, outputs, 7, 4, dtype=F64), trial)
    assert check.good, str(check)


def gradient_of(trial: Hyperparameters, theta: Floats, data: Rows) -> Floats:
    grad, logits = np.empty_like(theta), np.empty((1, len(data), 3))
    gradient = bind_gradient([NET], [trial], [np.random.default_rng(0)], theta, grad, np.empty_like(theta), len(data))
    gradient(data.x[None], data.y[None], logits)
    return grad


@pytest.mark.parametrize(("divide_by_batch", "divisor"), [(False, 1), (True, 7)])
def test_terms_of_the_regularizers(divide_by_batch: bool, divisor: int) -> None:
    theta = np.random.default_rng(0).standard_normal((1, NET.size))
    theta[0, 3] = 0.0  # a weight without a sign
    data = rows("softmax_cross_entropy", 3, 7, 5, dtype=F64)
    bare = gradient_of(Hyperparameters(), theta, data)
    with_l1 = gradient_of(Hyperparameters(l1=0.4, divide_by_batch=divide_by_batch), theta, data) - bare
    with_l2 = gradient_of(Hyperparameters(l2=0.4, divide_by_batch=divide_by_batch), theta, data) - bare
    np.testing.assert_allclose(with_l1, np.where(NET.regularized, 0.4 / divisor * np.sign(theta), 0), atol=1e-14)
    np.testing.assert_allclose(with_l2, np.where(NET.regularized, 0.4 / divisor * theta, 0), atol=1e-14)


def test_label_smoothing_like_pytorch() -> None:
    """By the gradient of a network that returns its inputs: dL/dlogits is the gradient of its bias."""
    file = REFERENCES_FOLDER / "torch_layers.json"
    case = json.loads(file.read_text())["label_smoothing"]
    logits, labels, expected = (np.array(case[key]) for key in ("logits", "labels", "dx"))
    net = network("softmax_cross_entropy", 4, "identity", inputs=4, hidden=())
    theta = np.concatenate([np.eye(4).ravel(), np.zeros(4)])[None]
    y = SoftmaxCrossEntropy().targets(labels, 4, F64)
    trial, grad = Hyperparameters(label_smoothing=case["smoothing"]), np.empty_like(theta)
    for row in range(len(logits)):
        one = slice(row, row + 1)
        run_one = bind_gradient([net], [trial], [np.random.default_rng(0)], theta, grad, np.empty_like(theta), 1)
        run_one(logits[None, one], y[None, one], np.empty((1, 1, 4)))
        np.testing.assert_allclose(grad[0, 16:] / len(logits), expected[row], rtol=1e-9, atol=1e-9)


def test_regularizers_and_smoothing_in_a_batch() -> None:
    trials = [
        Hyperparameters(Momentum(), 0.1, 8, l2=0.01 * k, l1=0.003 * k, label_smoothing=0.07 * k, divide_by_batch=True)
        for k in range(1, 6)
    ]
    assert_batching_changes_nothing(trials)


@pytest.mark.parametrize("option", ["l1", "l2", "label_smoothing"])
def test_trials_with_and_without_penalty_train_apart(option: str) -> None:
    """Without a penalty a step has two calls less, and adding 0 can change the sign of a 0."""
    trials = [Hyperparameters(**{option: value}) for value in (0.0, 0.1)]
    assert trials[0].kind != trials[1].kind
    with pytest.raises(EngineError, match="the same kinds of settings"):
        next(train(NET, trials, begin(trials), DATA))


def test_scores_use_the_labels_without_smoothing() -> None:
    """Smoothing changes training and not the reported scores."""
    trials = [Hyperparameters(learning_rate=0.0, label_smoothing=s) for s in (0.0, 0.3)]
    losses = [run([trial], begin([trial]), 1)[0].train.loss[0] for trial in trials]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_smoothing_needs_classes() -> None:
    net, trial = network("squared_error", 1, "tanh", inputs=5), Hyperparameters(label_smoothing=0.1)
    with pytest.raises(EngineError, match="label_smoothing must be 0 for a regression"):
        next(train(net, [trial], begin([trial], net), rows("squared_error", 1, 8, 5)))


# Switching

PAIRS = [(Adam(), SGD()), (SGD(), Adam()), (Momentum(), Momentum(0.5)), (Adam(), Adam()), (Adadelta(), Momentum())]


@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("rate", [None, 0.02])
def test_a_switch_starts_a_new_optimizer(first: Any, second: Any, rate: float | None) -> None:
    switched = Hyperparameters(first, 0.05, 8, schedule=Exponential(0.9), switch=Switch(2, second, rate))
    state = begin([switched])
    seen = run([switched], state, 5)

    before = replace(switched, switch=None)
    by_hand = begin([before])
    seen_by_hand = run([before], by_hand, 2)
    after = replace(before, optimizer=second, learning_rate=0.05 if rate is None else rate)
    by_hand = replace(
        by_hand, slots={name: np.zeros_like(by_hand.theta) for name in second.slots}, step=0
    )  # the schedule counts all epochs
    seen_by_hand += run([after], by_hand, 3)
    assert np.array_equal(state.theta, by_hand.theta)
    assert scores_bits(seen, 0) == scores_bits(seen_by_hand, 0)
    assert all(np.array_equal(state.slots[name], by_hand.slots[name]) for name in second.slots)


@pytest.mark.parametrize("cut", range(6))
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_resuming_around_a_switch_changes_nothing(first: Any, second: Any, cut: int) -> None:
    trials = [Hyperparameters(first, 0.05 * (k + 1), 8, switch=Switch(3, second, 0.02)) for k in range(2)]
    uninterrupted, cut_off = begin(trials), begin(trials)
    run(trials, uninterrupted, 6)
    run(trials, cut_off, cut)
    resumed = State.from_bytes(cut_off.to_bytes())
    run(trials, resumed, 6 - cut)
    assert [bits(resumed, k) for k in range(2)] == [bits(uninterrupted, k) for k in range(2)]


@pytest.mark.parametrize("at", [2, 3, 4])
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_switching_in_a_batch_that_shrinks(first: Any, second: Any, at: int) -> None:
    trials = [
        Hyperparameters(first, 0.05 * (k + 1), 8, switch=Switch(3, second, None if k == 1 else 0.01 * (k + 1)))
        for k in range(3)
    ]
    assert_batching_changes_nothing(trials, epochs=5)
    together = begin(trials)
    training = train(NET, trials, together, DATA)
    for _ in range(at):
        next(training)
    training.send(np.array([True, False, True]))
    for _ in range(4 - at):
        next(training)
    alone = begin(trials).take(np.array([2]))
    run([trials[2]], alone, 5)
    assert together.epoch == 5
    assert np.array_equal(together.theta[1], alone.theta[0])


def test_trials_switch_together_to_one_optimizer() -> None:
    trial = Hyperparameters(switch=Switch(3, Adam()))
    assert trial.kind == replace(trial, switch=Switch(3, Adam(0.8), 0.5)).kind
    for other in (None, Switch(4, Adam()), Switch(3, SGD()), Switch(3, Momentum())):
        trials = [trial, replace(trial, switch=other)]
        with pytest.raises(
            EngineError, match="trials that train together must have the same batch size and the same kinds"
        ):
            next(train(NET, trials, begin(trials), DATA))


# Row sampling


def labelled(counts: Sequence[int]) -> Rows:
    labels = np.repeat(np.arange(len(counts)), counts)
    x = np.random.default_rng(0).standard_normal((len(labels), 5)).astype(F32)
    return Rows(x, SoftmaxCrossEntropy().targets(labels, len(counts), F32))


def test_bootstrap_draws_every_row_equally_often() -> None:
    data, generator = labelled([30, 10, 10]), np.random.default_rng(0)
    drawn = np.stack([Bootstrap().order(data, generator) for _ in range(400)])
    counts = np.bincount(drawn.ravel(), minlength=50)
    assert drawn.shape == (400, 50) and len(counts) == 50
    assert (abs(counts - 400) <= 5 * np.sqrt(400)).all()
    different = np.mean([len(set(order)) for order in drawn]) / 50
    assert abs(different - (1 - 0.98**50)) < 0.02  # 1 − (1 − 1/n)ⁿ, near 0.636


def test_balanced_draws_every_class_equally_often() -> None:
    sizes = np.array([5, 20, 75])
    data, generator = labelled(sizes), np.random.default_rng(0)
    drawn = np.stack([Balanced().order(data, generator) for _ in range(300)])
    counts = np.bincount(drawn.ravel(), minlength=100)
    by_class = np.add.reduceat(counts, [0, 5, 25])
    assert drawn.shape == (300, 100)
    assert (abs(by_class - 10_000) <= 5 * np.sqrt(30_000 * 2 / 9)).all()
    expected = np.repeat(10_000 / sizes, sizes)
    assert (abs(counts - expected) <= 5 * np.sqrt(expected)).all()


@pytest.mark.parametrize("name", ROW_SAMPLINGS)
def test_row_sampling_in_a_batch(name: str) -> None:
    trials = [
        Hyperparameters(learning_rate=0.05 * (k + 1), batch_size=8, row_sampling=ROW_SAMPLINGS[name]())
        for k in range(5)
    ]
    assert_batching_changes_nothing(trials, labelled([3, 6, 12]))


def test_batches_have_the_sampled_rows() -> None:
    """Batches of an epoch have the sampled rows, each with its target."""
    data = labelled([3, 6, 12])
    thetas = []
    for draw in (Shuffle(), Bootstrap(), Balanced()):
        trial = Hyperparameters(learning_rate=0.1, batch_size=21, row_sampling=draw)
        state = begin([trial], dtype=F64)
        theta, twin = state.theta.copy(), np.random.default_rng([4, 0])
        NET.initialize(twin, F64)
        double = Rows(data.x.astype(F64), data.y.astype(F64))
        run([trial], state, 1, double)
        order = draw.order(double, twin)
        grad = gradient_of(trial, theta, Rows(double.x[order], double.y[order]))
        np.testing.assert_allclose(state.theta, theta - 0.1 * grad, rtol=1e-10, atol=1e-12)
        thetas.append(plain(state.theta))
    assert len(set(thetas)) == 3


# Less frequent checks


@pytest.mark.parametrize("every", [2, 3, 5])
def test_epochs_without_a_check_train_the_same(every: int) -> None:
    trials = [Hyperparameters(Adam(), 0.01 * (k + 1), 8) for k in range(2)]
    often, seldom = begin(trials), begin(trials)
    all_epochs = run(trials, often, 3 * every)
    some = run(trials, seldom, 3, every=every)
    assert [epoch.number for epoch in some] == [every, 2 * every, 3 * every]
    for k in range(2):
        assert bits(often, k) == bits(seldom, k)
        assert scores_bits(some, k) == scores_bits(all_epochs[every - 1 :: every], k)


def test_resuming_between_checks_keeps_their_epochs() -> None:
    trials = [Hyperparameters(Adam(), 0.01, 8)]
    state = begin(trials)
    run(trials, state, 4)
    assert [epoch.number for epoch in run(trials, state, 2, every=3)] == [6, 9]


# Stopping


def fed(
    stop: TargetReached | Plateau, values: Sequence[Sequence[float]], state: State | None = None
) -> list[list[bool]]:
    state = state or begin([Hyperparameters()] * len(values[0]))
    return [stop.update(state, np.array(now)).tolist() for now in values]


def test_target_reached() -> None:
    values = [[0.5, NAN, INF], [0.3, 0.31, -INF], [0.2, 0.3, 1.0]]
    assert fed(TargetReached(0.3), values) == [[True, True, True], [False, True, False], [False, False, True]]


def test_plateau_counts_small_changes_in_a_row() -> None:
    values = [[1.0, 1.0], [1.05, 2.0], [1.0, 2.05], [2.0, 2.1], [2.05, 2.15], [2.1, 2.2], [2.05, 9.0]]
    going = fed(Plateau(0.1, checks=3), values)
    assert going == [
        [True, True],
        [True, True],
        [True, True],
        [True, True],
        [True, False],
        [True, False],
        [False, True],
    ]
    assert fed(Plateau(0.1), values[:3]) == [[True, True], [False, True], [False, False]]
    assert fed(Plateau(0.1), [[1.0, 1.0], [1.1 + 1e-9, 1.1 - 1e-9]])[1] == [True, False]


def test_plateau_ignores_values_that_are_not_finite() -> None:
    assert fed(Plateau(0.1, 1), [[NAN, INF], [NAN, INF], [1.0, 1.0], [NAN, INF]]) == [[True, True]] * 4


def test_plateau_survives_a_checkpoint_and_another_batch() -> None:
    values = np.round(np.random.default_rng(0).standard_normal((12, 3)).cumsum(axis=0) / 5, 2)
    whole = fed(Plateau(0.3, 2), values)
    state = begin([Hyperparameters()] * 3)
    first = fed(Plateau(0.3, 2), values[:5], state)
    taken = State.from_bytes(state.to_bytes()).take(np.array([2, 0]))
    rest = fed(Plateau(0.3, 2), values[5:][:, [2, 0]], taken)
    assert first == whole[:5] and rest == [[row[2], row[0]] for row in whole[5:]]
    assert {going for row in whole for going in row} == {True, False}
    joined = State.join([taken, state.take(np.array([1]))])
    assert joined.small_changes.tolist() == [*taken.small_changes, state.small_changes[1]]
    assert joined.last_value.tolist() == [*taken.last_value, state.last_value[1]]


# Invalid settings


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClipNorm(0), "clip norm: limit must be above 0, got 0"),
        (lambda: ClipValue(-1), "clip value: limit must be above 0, got -1"),
        (lambda: ClipNorm(NAN), "clip norm: limit must be above 0, got nan"),
        (lambda: Hyperparameters(l1=-1), "l1 must be at least 0, got -1"),
        (lambda: Hyperparameters(label_smoothing=1), "label_smoothing must be at least 0 and below 1, got 1"),
        (lambda: Hyperparameters(label_smoothing=NAN), "label_smoothing must be at least 0 and below 1, got nan"),
        (lambda: Switch(0, SGD()), "switch: epoch must be at least 1, got 0"),
        (lambda: Switch(1, SGD(), -1), "switch: learning_rate must be at least 0, got -1"),
        (lambda: Plateau(0), "stop: change must be above 0, got 0"),
        (lambda: Plateau(NAN), "stop: change must be above 0, got nan"),
        (lambda: Plateau(1, 0), "stop: checks must be at least 1, got 0"),
    ],
)
def test_invalid_settings(make: Any, message: str) -> None:
    with pytest.raises(EngineError, match=f"^{message}$"):
        make()


def test_trials_of_other_kinds_cannot_train_together() -> None:
    trial = Hyperparameters(clip=ClipNorm(), row_sampling=Shuffle())
    for other in ({"clip": None}, {"clip": ClipValue()}, {"row_sampling": Balanced()}, {"divide_by_batch": True}):
        trials = [trial, replace(trial, **other)]  # type: ignore[arg-type]
        with pytest.raises(
            EngineError, match="trials that train together must have the same batch size and the same kinds"
        ):
            next(train(NET, trials, begin(trials), DATA))

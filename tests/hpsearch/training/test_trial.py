"""Training of a task's trials: batched, alone, paused and resumed, with one fold or several."""

import errno
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
from fault_cases import DyingExecutor, StudyCase, by_place, fail_after_training, finished_table, seed_of
from fold_cases import FOLDS, POINT, VALUES, WAYS, model, one, prepared
from sklearn import metrics as sk

from engine.training.trainer import evaluate
from hpsearch.config.spec import Spec
from hpsearch.core.resources import ResourceExhausted
from hpsearch.core.seeds import derive
from hpsearch.data.dataset import DTYPE, Dataset
from hpsearch.storage.records import Trial
from hpsearch.training.network import build_network
from hpsearch.training.objectives import engine as engine_objective
from hpsearch.training.task import Task, TrialResult, TrialTask
from hpsearch.training.trial import advance
from tests.hpsearch.study import test_loop

spec, dataset = test_loop.spec, test_loop.dataset  # fixtures


@pytest.mark.parametrize("content", [FOLDS, VALUES], ids=["classes", "values"])
def test_value_is_the_mean(content: dict[str, Any], tmp_path: Path) -> None:
    """The value is the mean over folds at a common epoch, as scikit-learn computes it from the weights."""
    spec = cases.small(**content, **{"train.epochs": 9})
    made = prepared(spec, tmp_path)
    dataset, result = made[0], one(spec, made[0])
    assert result.state == "complete" and result.weights is not None
    built, val = model(spec, made, result), dataset.part("val")
    assert val is not None and built.theta.shape[0] == dataset.folds
    each = []
    for number, (center, unit) in enumerate(dataset.units):
        rows = val.of(number)
        said = built.network.predict(built.theta[number : number + 1], rows.x)[0]
        if dataset.classes:
            each.append(sk.log_loss(rows.y.argmax(axis=1), said, labels=range(3)))
        else:
            each.append(sk.root_mean_squared_error(rows.y * unit + center, said * unit + center))
    name = spec.metric.name
    best = result.best_epoch - 1
    assert result.value == pytest.approx(np.mean(each), rel=1e-4)
    assert result.history[f"{name}_std"][best] == pytest.approx(np.std(each, ddof=1), rel=1e-3)
    assert result.value == min(result.history[name]) == result.history[name][best]
    assert ("val/accuracy" in result.history) == bool(dataset.classes)
    assert ("val/r2" in result.history) != bool(dataset.classes)


@pytest.mark.parametrize("content", [FOLDS, WAYS, VALUES], ids=["folds", "ways", "values"])
def test_batched_paused_and_alone_are_equal(content: dict[str, Any], tmp_path: Path) -> None:
    """Trials that train alone, batched, or paused and resumed have results equal to the bit."""
    spec = cases.small(**content, **{"train.epochs": 6})
    dataset, _ = prepared(spec, tmp_path)
    way = {"scaling": "minmax"} if dataset.choices else {}
    points = [{**POINT, **way, "learning_rate": rate} for rate in (0.05, 0.2)]
    starts = tuple(TrialTask(n, point, 5 + n) for n, point in enumerate(points))
    together = advance(Task(spec, dataset, starts, 6))
    for start, result in zip(starts, together, strict=True):
        (alone,) = advance(Task(spec, dataset, (start,), 6))
        assert alone._replace(seconds=0) == result._replace(seconds=0)
        (half,) = advance(Task(spec, dataset, (start,), 2))
        assert half.state == "running" and half.checkpoint is not None
        onwards = start._replace(epochs=2, checkpoint=half.checkpoint, history=half.history, machine="another")
        (whole,) = advance(Task(spec, dataset, (onwards,), 6))
        assert whole._replace(seconds=0) == result._replace(seconds=0, machine="another")


def test_one_fold_that_diverges(tmp_path: Path) -> None:
    """It ends its trial, whose mean over folds would not be finite."""
    spec = cases.small(**FOLDS)
    dataset, _ = prepared(spec, tmp_path)
    rows = np.load(f"{dataset.folder}/train_x.npy")
    rows[-1] = np.inf  # of the last fold
    np.save(f"{dataset.folder}/train_x.npy", rows)
    assert one(spec, dataset).state == "diverged"


def test_exception_fails_one_trial_of_a_batch(plain: StudyCase, tmp_path: Path) -> None:
    """The other trials of the batch are not affected; the message keeps its first line."""
    sound = DyingExecutor(workers=1)
    cases.run(plain.spec, plain.dataset, tmp_path / "sound.db", sound)
    victim = next(task for task, _ in sound.tasks if len(task.trials) > 1).trials[1]
    executor = DyingExecutor(work=partial(fail_after_training, (victim.seed,)), workers=1)
    records = by_place(cases.run(plain.spec, plain.dataset, tmp_path / "small.db", executor))
    place = ("coarse", victim.number)
    assert victim.seed == seed_of(plain.spec, place)
    assert [p for p, r in records.items() if r.state == "failed"] == [place]
    assert records[place].error == "ArithmeticError: no such number"
    for p, r in plain.trials.items():
        if p[0] == "coarse" and p != place:
            assert records[p]._replace(metrics={}) == r._replace(metrics={})
    finished_table(tmp_path / "small.db")


def test_a_trial_that_fails_in_training_does_not_affect_its_batch(
    spec: Spec, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only during construction: an exception in the engine."""
    point = {"learning_rate": 0.01, "beta": 0.9, "hidden_units": 4, "batch_size": 16, "l2": 1e-4}
    starts = [TrialTask(n, point, n) for n in range(3)]
    alone = [advance(Task(spec, dataset, (s,), 4))[0] for s in starts]
    sound = engine_objective.train

    def train(net: Any, hypers: Any, state: Any, *others: Any) -> Any:
        broken = np.random.default_rng(1).bit_generator.state
        if any(g.bit_generator.state == broken for g in state.generators) or len(state) == 0:
            raise ArithmeticError
        return sound(net, hypers, state, *others)

    def started(one: TrialTask, *others: Any) -> Any:
        state = begin(one, *others)
        if one.number == 1:
            state.generators[0].bit_generator.state = np.random.default_rng(1).bit_generator.state
        return state

    begin = engine_objective._state
    monkeypatch.setattr(engine_objective, "train", train)
    monkeypatch.setattr(engine_objective, "_state", started)
    together = advance(Task(spec, dataset, tuple(starts), 4))
    assert [r.state for r in together] == ["complete", "failed", "complete"]
    assert timeless([together[0], together[2]]) == timeless([alone[0], alone[2]])
    assert together[1].error is not None and together[1].error.startswith("ArithmeticError")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MemoryError("Unable to allocate 9 GiB"), "out of memory (Unable to allocate 9 GiB)"),
        (OSError(errno.EMFILE, "Too many open files"), "too many open files"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on the disk"),
    ],
    ids=["memory", "files", "disk"],
)
def test_a_shortage_of_the_machine_is_no_result(
    spec: Spec, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, error: Exception, text: str
) -> None:
    """Neither of a trial alone nor of a batch."""

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(engine_objective, "train", fail)
    point = {"learning_rate": 0.01, "beta": 0.9, "hidden_units": 4, "batch_size": 16, "l2": 1e-4}
    for count in (1, 3):
        starts = tuple(TrialTask(n, point, n) for n in range(count))
        with pytest.raises(ResourceExhausted) as caught:
            advance(Task(spec, dataset, starts, 4))
        assert str(caught.value).startswith(text)


def timeless(results: Sequence[TrialResult]) -> list[TrialResult]:
    return [r._replace(seconds=0.0) for r in results]


def test_advance_is_pure(spec: Spec, dataset: Dataset) -> None:
    point = {"learning_rate": 0.01, "beta": 0.9, "hidden_units": 4, "batch_size": 16, "l2": 1e-4}
    task = Task(spec, dataset, (TrialTask(0, point, 7), TrialTask(1, point, 8)), 4)
    before = np.random.get_state()[1].copy()  # type: ignore[index]
    first, second = [timeless(advance(task)) for _ in range(2)]
    assert first == second and first[0].history != first[1].history
    assert (np.random.get_state()[1] == before).all()  # type: ignore[index]
    assert isinstance(first[0], TrialResult) and first[0].epochs <= 4


def test_keep_best_or_last(dataset: Dataset, tmp_path: Path) -> None:
    for keep in ("best", "last"):
        spec = cases.small(**{"train.keep": keep, "train.epochs": 12, "parameters.learning_rate.min": 0.5})
        records = cases.rows(cases.run(spec, dataset, tmp_path / f"{keep}.db"))
        if keep == "last":
            assert all(r.best_epoch == r.epochs and r.value == r.history["val/loss"][-1] for r in records)
        else:
            assert any(r.best_epoch < r.epochs for r in records)


def weights_score(spec: Spec, dataset: Dataset, record: Trial) -> float:
    """Return the validation loss of the weights that training a trial returns."""
    (result,) = advance(Task(spec, dataset, (TrialTask(record.number, record.point, seed(spec, record)),), 12))
    assert result.weights is not None and result.value == record.value
    val = dataset.part("val")
    assert val is not None
    theta = np.frombuffer(result.weights, DTYPE)[None]
    return float(evaluate(build_network(spec, dataset, record.point), theta, val).loss[0])


def seed(spec: Spec, record: Trial) -> int:
    return derive(spec.seed, record.stage, record.number, "train")


@pytest.mark.parametrize("keep", ["best", "last"])
def test_weights_are_those_of_the_kept_epoch(dataset: Dataset, tmp_path: Path, keep: str) -> None:
    changes = {"train.keep": keep, "train.epochs": 12, "parameters.learning_rate.min": 0.5}
    spec = cases.small(**changes, stages=[{"name": "only", "trials": 4}])
    records = cases.rows(cases.run(spec, dataset, tmp_path / "small.db"))
    assert any(r.best_epoch < r.epochs for r in records) == (keep == "best")
    for r in records:
        assert weights_score(spec, dataset, r) == r.history["val/loss"][r.best_epoch - 1] == r.value

"""The loop: the same table to the bit, whoever trains, in whatever order, grouped or alone, unbroken or stopped."""

import contextlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cases
import numpy as np
import optuna
import pytest

from engine.metrics import METRICS
from engine.types import EngineError
from hpsearch.config.spec import Spec
from hpsearch.core.seeds import derive
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.errors import Interrupted
from hpsearch.search.earlier import reusable_trials
from hpsearch.storage.records import Trial
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.study import stage_run
from hpsearch.study.loop import Study
from hpsearch.training import trial
from hpsearch.training.executors import EXECUTORS, Inline
from hpsearch.training.grouping import group_trials
from hpsearch.training.scores import final_scores
from hpsearch.training.task import Task, TrialResult, TrialTask
from hpsearch.training.trial import advance

WAVE = cases.CONTENT["wave"]
TRIALS = sum(stage["trials"] for stage in cases.CONTENT["stages"])


@pytest.fixture(scope="module")
def spec() -> Spec:
    return cases.small()


@pytest.fixture(scope="module")
def dataset(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare(spec.data, spec.seed, tmp_path_factory.mktemp("data"))[0]


@pytest.fixture(scope="module")
def done(spec: Spec, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    """The small study, trained inline, and its database: to be read only."""
    database = tmp_path_factory.mktemp("reference") / "small.db"
    study = cases.run(spec, dataset, database)
    assert len(reusable_trials(study.space, study.boxes[1], study.records[:1])) > 10, "TPE is in its start-up still"
    return study, database


@pytest.fixture(scope="module")
def reference(done: tuple[Study, Path]) -> tuple[list[Trial], str]:
    """Its records and table."""
    return cases.rows(done[0]), cases.table(done[1])


def test_reference_is_worth_comparing(spec: Spec, reference: tuple[list[Trial], str]) -> None:
    """All trials are there, they differ, and the second stage is TPE's with more than its ten start-up trials."""
    records, _ = reference
    assert [(r.stage, r.number) for r in records] == [(s.name, n) for s in spec.stages for n in range(s.trials)]
    assert len({tuple(r.internal_params.values()) for r in records}) == len(records)
    assert {r.state for r in records} == {"complete"}
    assert len({r.value for r in records}) > 15
    assert spec.stages[1].sampler == "tpe" and spec.stages[1].trials > 2 * WAVE
    assert all(len(r.history["val/loss"]) == r.epochs > 0 for r in records)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", EXECUTORS)
def test_every_executor_gives_the_same_table(
    spec: Spec, dataset: Dataset, reference: tuple[list[Trial], str], tmp_path: Path, name: str, workers: int
) -> None:
    """The contract of the family."""
    executor = EXECUTORS[name](workers, str(tmp_path / "scratch"))
    try:
        study = cases.run(spec, dataset, tmp_path / "small.db", executor)
    finally:
        executor.close()
    assert (cases.rows(study), cases.table(tmp_path / "small.db")) == reference


ORDERS: dict[str, Callable[[], Callable[[int], int]]] = {
    "first": lambda: lambda _: 0,
    "last": lambda: lambda waiting: waiting - 1,
    "random": lambda: random.Random(3).randrange,
}


@pytest.mark.parametrize(("order", "single"), [("first", True), ("last", False), ("random", False), ("last", True)])
def test_order_of_arrival_changes_nothing(
    spec: Spec, dataset: Dataset, reference: tuple[list[Trial], str], tmp_path: Path, order: str, single: bool
) -> None:
    """Nor does company: trials end in an order that no pool would give."""
    executor = cases.Held(ORDERS[order](), single=single)
    with cases.opened(spec, dataset, tmp_path / "small.db", executor) as study:
        cases.drive(study, executor)
    assert (cases.rows(study), cases.table(tmp_path / "small.db")) == reference
    if order != "first":
        assert any(executor.order)


def test_waves_overlap_by_one(spec: Spec, dataset: Dataset, tmp_path: Path) -> None:
    """While a wave is not done the next is there to be trained, and never more than that."""
    executor = cases.Held(lambda waiting: waiting - 1)
    most = 0
    with cases.opened(spec, dataset, tmp_path / "small.db", executor) as study:
        for progress in study.run():
            most = max(most, progress.running)
            executor.release()
    assert WAVE < most <= 2 * WAVE


def test_progress(spec: Spec, dataset: Dataset, tmp_path: Path) -> None:
    news: list[Trial] = []
    with cases.opened(spec, dataset, tmp_path / "small.db") as study:
        for progress in study.run():
            news += progress.news
            assert progress.total == TRIALS and progress.stages == 2
            assert progress.finished + progress.running <= progress.total
            assert progress.best is None or progress.best.value == min(r.value for r in news if r.value is not None)
    assert progress.finished == TRIALS and progress.stage == "fine"
    assert sorted(r.label for r in news) == sorted(r.label for r in cases.rows(study))


def bare(records: list[Trial]) -> list[Trial]:
    """Without the champion's test scores, which come at the end."""
    return [
        r._replace(metrics={k: v for k, v in r.metrics.items() if not k.startswith(("test/", "fit/"))}) for r in records
    ]


@pytest.mark.parametrize("limit", [0, 5, 15, 20, 23])
def test_stopped_and_resumed(
    spec: Spec, dataset: Dataset, reference: tuple[list[Trial], str], tmp_path: Path, limit: int
) -> None:
    """What had arrived is stored, and the rest is as it would have been."""
    database, tracker, executor = tmp_path / "small.db", cases.Limit(limit), cases.Held(lambda waiting: waiting - 1)
    with (
        pytest.raises(Interrupted),
        cases.opened(spec, dataset, database, executor, tracker=tracker, stop=tracker.stop) as study,
    ):
        cases.drive(study, executor)
    kept = [r for r in cases.rows(study) if r.state != "running"]
    assert all(r in bare(reference[0]) for r in kept)
    assert limit <= len(kept) < TRIALS
    again = cases.run(spec, dataset, database)
    assert (cases.rows(again), cases.table(database)) == reference


def test_stopped_again_and_again(
    spec: Spec, dataset: Dataset, reference: tuple[list[Trial], str], tmp_path: Path
) -> None:
    database = tmp_path / "small.db"
    for limit in range(0, TRIALS, 4):
        tracker, executor = cases.Limit(limit), cases.Held(lambda waiting: 0)
        with (
            contextlib.suppress(Interrupted),
            cases.opened(spec, dataset, database, executor, tracker=tracker, stop=tracker.stop) as study,
        ):
            cases.drive(study, executor)
    again = cases.run(spec, dataset, database)
    assert (cases.rows(again), cases.table(database)) == reference


def test_finished_study_is_left_alone(
    spec: Spec, dataset: Dataset, done: tuple[Study, Path], reference: tuple[list[Trial], str], tmp_path: Path
) -> None:
    database = tmp_path / "small.db"
    database.write_bytes(done[1].read_bytes())
    executor = cases.Held(lambda waiting: 0)  # which nobody releases
    again = cases.run(spec, dataset, database, executor)
    assert again.records == done[0].records
    assert cases.table(database) == reference[1]


@pytest.mark.parametrize("share", [0.0, None])
def test_time_slices(
    spec: Spec,
    dataset: Dataset,
    reference: tuple[list[Trial], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    share: float | None,
) -> None:
    """A group that comes back after every epoch goes on as if it had never been away."""
    monkeypatch.setattr(stage_run, "TIME_SLICE", share)
    tasks: list[Task] = []

    def counted(self: Inline, task: Task) -> Any:
        assert len(tasks) < 1000, "it does not get any further"
        tasks.append(task)
        return submit(self, task)

    submit = Inline.submit
    monkeypatch.setattr(Inline, "submit", counted)
    study = cases.run(spec, dataset, tmp_path / "small.db")
    assert (cases.rows(study), cases.table(tmp_path / "small.db")) == reference
    assert any(t.checkpoint for task in tasks for t in task.trials) == (share is not None)


def test_optuna_reads_it(spec: Spec, done: tuple[Study, Path], reference: tuple[list[Trial], str]) -> None:
    """Points, values and states, by Optuna alone."""
    for stage in spec.stages:
        trials = optuna.load_study(study_name=f"small/{stage.name}", storage=url_of(str(done[1]))).trials
        records = [r for r in reference[0] if r.stage == stage.name]
        assert [(t.number, t.value, t.params) for t in trials] == [
            (r.number, r.value, r.internal_params) for r in records
        ]
        assert {t.state.name for t in trials} == {"COMPLETE"}


def test_values_are_of_the_best_epoch(reference: tuple[list[Trial], str]) -> None:
    for r in reference[0]:
        # An epoch counts as better when it is so by min_delta, so that the best may be a little above the least.
        assert r.value == r.history["val/loss"][r.best_epoch - 1] == r.metrics["val/loss"]
        assert r.value <= min(r.history["val/loss"]) + 1e-3


def test_test_scores_of_the_champion_alone(
    spec: Spec, dataset: Dataset, reference: tuple[list[Trial], str], tmp_path: Path
) -> None:
    """And they are those of its best weights, trained again from its seed."""
    records, _ = reference
    scored = [r for r in records if any(name.startswith("test/") for name in r.metrics)]
    assert scored == [min(records, key=lambda r: (r.value, r.stage, r.number))]
    best = scored[0]
    start = TrialTask(best.number, best.point, derive(spec.seed, best.stage, best.number, "train"))
    (again,) = advance(Task(spec, dataset, (start,), spec.train.epochs))
    assert again.history == best.history and again.weights is not None
    scores = final_scores(spec, dataset, best.point, again.weights)
    assert scores == {name: value for name, value in best.metrics.items() if name.startswith(("test/", "fit/"))}
    of_classes = {f"test/{name}" for name, metric in METRICS.items() if metric.classifies}
    assert set(scores) == {"test/loss", "fit/loss", "fit/accuracy"} | of_classes


def test_maximize(dataset: Dataset, tmp_path: Path) -> None:
    """An accuracy: ties are many, the first of the best wins, and the boxes lie about the high ones."""
    spec = cases.small(metric={"name": "val/accuracy", "goal": "maximize"})
    study = cases.run(spec, dataset, tmp_path / "a.db")
    values = [r.value for r in cases.rows(study)]
    assert study.best is not None
    assert study.best.value == max(v for v in values if v is not None)
    assert next(r.label for r in cases.rows(study) if r.value == study.best.value) == study.best.label
    assert all(r.value == r.history["val/accuracy"][r.best_epoch - 1] for r in cases.rows(study))
    stored = optuna.load_study(study_name="small/fine", storage=url_of(str(tmp_path / "a.db")))
    assert stored.direction == optuna.study.StudyDirection.MAXIMIZE
    executor = cases.Held(lambda waiting: waiting - 1)
    with cases.opened(spec, dataset, tmp_path / "b.db", executor) as other:
        cases.drive(other, executor)
    assert cases.table(tmp_path / "b.db") == cases.table(tmp_path / "a.db")


def test_diverged_trials(dataset: Dataset, tmp_path: Path) -> None:
    """A result, not an exception: no value, told to Optuna as worse than all others, and the others go on."""
    spec = cases.small(**{"parameters.learning_rate": {"min": 1e-3, "max": 1e30, "scale": "log"}})
    study = cases.run(spec, dataset, tmp_path / "a.db")
    records = cases.rows(study)
    states = {r.label: r.state for r in records}
    assert len(records) == TRIALS and set(states.values()) == {"complete", "diverged"}
    for r in records:
        if r.state == "diverged":
            assert r.value is None and r.best_epoch == 0 and not r.metrics
            assert not np.isfinite(r.history["train/loss"][-1]) or not np.isfinite(r.history["val/loss"][-1])
            assert len(r.history["train/loss"]) == r.epochs
    for stage in spec.stages:
        for t in optuna.load_study(study_name=f"small/{stage.name}", storage=url_of(str(tmp_path / "a.db"))).trials:
            assert (t.state.name == "PRUNED") == (states[f"{stage.name}/{t.number}"] == "diverged")
    executor = cases.Held(lambda waiting: 0, single=True)
    with cases.opened(spec, dataset, tmp_path / "b.db", executor) as other:
        cases.drive(other, executor)
    assert cases.table(tmp_path / "b.db") == cases.table(tmp_path / "a.db")


def test_all_diverged(dataset: Dataset, tmp_path: Path) -> None:
    """There is no best then, and the next stage searches the whole range."""
    spec = cases.small(
        **{
            "parameters.learning_rate": {"min": 1e30, "max": 1e36, "scale": "log"},
            "train.epochs": 3,
            "parameters.l2": 1,
        }
    )
    study = cases.run(spec, dataset, tmp_path / "a.db")
    assert {r.state for r in cases.rows(study)} == {"diverged"}
    assert study.best is None
    assert study.boxes[1] == study.space.full_box()


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nets of some trials cannot be trained."""
    sound = trial.hyperparameters

    def hyperparameters(training: Any, point: Any) -> Any:
        if 0.01 < point["learning_rate"] < 0.05:
            raise EngineError("no such net\nand more of it")
        return sound(training, point)

    monkeypatch.setattr(trial, "hyperparameters", hyperparameters)


@pytest.mark.usefixtures("faulty")
def test_failing_trials(spec: Spec, dataset: Dataset, reference: tuple[list[Trial], str], tmp_path: Path) -> None:
    """Failed with the first line, they alone, in company or not, and the study goes on."""
    study = cases.run(spec, dataset, tmp_path / "a.db")
    records = cases.rows(study)
    failed = [r for r in records if r.state == "failed"]
    assert failed and len(records) == TRIALS
    assert all((0.01 < r.point["learning_rate"] < 0.05) == (r in failed) for r in records)
    assert {r.error for r in failed} == {"EngineError: no such net"}
    assert all(r.value is None for r in failed)
    coarse = [r for r in records if r.stage == "coarse" and r not in failed]
    assert all(r._replace(metrics={}) in [x._replace(metrics={}) for x in reference[0]] for r in coarse)
    trials = optuna.load_study(study_name="small/coarse", storage=url_of(str(tmp_path / "a.db"))).trials
    assert {t.number for t in trials if t.state.name == "FAIL"} == {r.number for r in failed if r.stage == "coarse"}
    executor = cases.Held(lambda waiting: 0, single=True)
    with cases.opened(spec, dataset, tmp_path / "b.db", executor) as other:
        cases.drive(other, executor)
    assert cases.table(tmp_path / "b.db") == cases.table(tmp_path / "a.db")


def test_one_that_fails_in_training_leaves_its_company(
    spec: Spec, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only when it is built: an exception in the engine."""
    point = {"learning_rate": 0.01, "beta": 0.9, "hidden_units": 4, "batch_size": 16, "l2": 1e-4}
    starts = [TrialTask(n, point, n) for n in range(3)]
    alone = [advance(Task(spec, dataset, (s,), 4))[0] for s in starts]
    sound = trial.train

    def train(net: Any, hypers: Any, state: Any, *others: Any) -> Any:
        broken = np.random.default_rng(1).bit_generator.state
        if any(g.bit_generator.state == broken for g in state.generators) or len(state) == 0:
            raise MemoryError
        return sound(net, hypers, state, *others)

    def started(one: TrialTask, *others: Any) -> Any:
        state = begin(one, *others)
        if one.number == 1:
            state.generators[0].bit_generator.state = np.random.default_rng(1).bit_generator.state
        return state

    begin = trial._state
    monkeypatch.setattr(trial, "train", train)
    monkeypatch.setattr(trial, "_state", started)
    together = advance(Task(spec, dataset, tuple(starts), 4))
    assert [r.state for r in together] == ["complete", "failed", "complete"]
    assert timeless([together[0], together[2]]) == timeless([alone[0], alone[2]])
    assert together[1].error is not None and together[1].error.startswith("MemoryError")


def test_seconds_are_those_of_all_slices(
    spec: Spec, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial's share of every slice it was in, not of the last alone: by a clock that counts epochs."""
    ticks = iter(range(10**9))
    monkeypatch.setattr(trial.time, "monotonic", lambda: float(next(ticks)))
    monkeypatch.setattr(stage_run, "TIME_SLICE", 0.0)
    spec = cases.small(**{"train.epochs": 6, "train.early_stopping": None, "parameters.hidden_units": {"values": [4]}})
    study = cases.run(spec, dataset, tmp_path / "a.db")
    long = [r.seconds for records in study.records for r in records]
    monkeypatch.setattr(stage_run, "TIME_SLICE", 0.0)
    spec = cases.small(**{"train.epochs": 1, "train.early_stopping": None, "parameters.hidden_units": {"values": [4]}})
    short = [r.seconds for records in cases.run(spec, dataset, tmp_path / "b.db").records for r in records]
    assert sum(long) > 4 * sum(short)


def test_groups(spec: Spec, dataset: Dataset) -> None:
    """Equal shapes only, every trial once, and enough groups for the workers."""
    points = [
        {"learning_rate": 0.01, "beta": 0.9, "hidden_units": u, "batch_size": b, "l2": 1e-4}
        for u in (4, 8, 4000)
        for b in (16, 32)
        for _ in range(4)
    ]
    starts = [TrialTask(n, point, n) for n, point in enumerate(points)]
    for workers in (1, 2, 3, 100):
        cut = group_trials(spec, dataset, starts, workers)
        assert sorted(s.number for g in cut for s in g) == list(range(len(starts)))
        for g in cut:
            assert len({(s.point["hidden_units"], s.point["batch_size"]) for s in g}) == 1
            assert g[0].point["hidden_units"] != 4000 or len(g) == 1
        assert max(len(g) for g in cut) <= max(1, -(-len(starts) // (2 * workers)))
        assert cut[0][0].point["hidden_units"] == 4000  # the longest first


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


@pytest.mark.parametrize("change", [{"seed": 6}, {"stages.0.name": "other"}])
def test_seed_and_stage_matter(
    dataset: Dataset, reference: tuple[list[Trial], str], tmp_path: Path, change: dict[str, Any]
) -> None:
    """A comparison that could not fail would prove nothing."""
    spec = cases.small(**change, **{"stages.0.trials": 4, "stages.1.trials": 1})
    records = cases.rows(cases.run(spec, dataset, tmp_path / "a.db"))
    assert [r.point for r in records[:4]] != [r.point for r in reference[0][:4]]


def test_the_database_as_records(spec: Spec, done: tuple[Study, Path]) -> None:
    """What is loaded is what was returned."""
    study, database = done
    storage = StudyDatabase.open(url_of(str(database)), create=False)
    loaded = [storage.trials.load(stage.name, study.space) for stage in spec.stages]
    storage.close()
    best = study.best
    assert best is not None
    for found, want in zip(loaded, study.records, strict=True):
        assert [r._replace(metrics={}) for r in found] == [r._replace(metrics={}) for r in want]

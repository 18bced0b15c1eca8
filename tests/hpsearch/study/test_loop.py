"""The loop: the table is equal to the bit for all executors, orders of results, groupings, and interruptions."""

import contextlib
import random
from pathlib import Path
from typing import Any

import cases
import optuna
import pytest

from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.errors import Interrupted
from hpsearch.search.earlier import reusable_trials
from hpsearch.storage.optuna_mirror import OptunaMirror
from hpsearch.storage.records import Trial
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.study.loop import Study
from hpsearch.study.stages.run import StageRun
from hpsearch.training.executors import EXECUTORS

PARALLEL = cases.CONTENT["parallel"]
TRIALS = sum(stage["trials"] for stage in cases.CONTENT["stages"])


@pytest.fixture(scope="module")
def spec() -> Spec:
    return cases.small()


@pytest.fixture(scope="module")
def dataset(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare(spec.data, spec.seed, tmp_path_factory.mktemp("data"))[0]


@pytest.fixture(scope="module")
def done(spec: Spec, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    """Return the small study, trained inline, and its database, which tests must not change."""
    database = tmp_path_factory.mktemp("reference") / "small.db"
    study = cases.run(spec, dataset, database)
    assert len(reusable_trials(study.space, study.boxes[1], study.trials[:1])) > 10, "TPE is still in its start-up"
    return study, database


@pytest.fixture(scope="module")
def reference(done: tuple[Study, Path]) -> tuple[list[Trial], str]:
    """Return its trials and table."""
    return cases.rows(done[0]), cases.table(done[1])


def test_reference_is_complete(spec: Spec, reference: tuple[list[Trial], str]) -> None:
    """All trials exist and differ; the second stage uses TPE with more than its ten start-up trials."""
    records, _ = reference
    assert [(r.stage, r.number) for r in records] == [(s.name, n) for s in spec.stages for n in range(s.trials)]
    assert len({tuple(r.internal_params.values()) for r in records}) == len(records)
    assert {r.state for r in records} == {"complete"}
    assert len({r.value for r in records}) > 15
    assert spec.stages[1].sampler == "tpe" and spec.stages[1].trials > 2 * PARALLEL
    assert all(len(r.history["val/loss"]) == r.epochs > 0 for r in records)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", EXECUTORS)
def test_every_executor_gives_the_same_table(
    spec: Spec, dataset: Dataset, reference: tuple[list[Trial], str], tmp_path: Path, name: str, workers: int
) -> None:
    """For every executor in the registry."""
    executor = EXECUTORS[name](workers, str(tmp_path / "scratch"))
    try:
        study = cases.run(spec, dataset, tmp_path / "small.db", executor)
    finally:
        executor.close()
    assert (cases.rows(study), cases.table(tmp_path / "small.db")) == reference


def bare(records: list[Trial]) -> list[Trial]:
    """Return the trials without the champion's test scores, which are computed at the end."""
    return [
        r._replace(metrics={k: v for k, v in r.metrics.items() if not k.startswith(("test/", "fit/"))}) for r in records
    ]


@pytest.mark.parametrize("limit", [0, 5, 15, 20, 23])
def test_stopped_and_resumed(
    spec: Spec, dataset: Dataset, reference: tuple[list[Trial], str], tmp_path: Path, limit: int
) -> None:
    """Collected outcomes are stored, and the rest equals that of an uninterrupted study."""
    database, tracker, executor = (
        tmp_path / "small.db",
        cases.LimitTracker(limit),
        cases.HeldExecutor(lambda waiting: waiting - 1),
    )
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


def test_stopped_repeatedly(spec: Spec, dataset: Dataset, reference: tuple[list[Trial], str], tmp_path: Path) -> None:
    database = tmp_path / "small.db"
    for limit in range(0, TRIALS, 4):
        tracker, executor = cases.LimitTracker(limit), cases.HeldExecutor(lambda waiting: 0)
        with (
            contextlib.suppress(Interrupted),
            cases.opened(spec, dataset, database, executor, tracker=tracker, stop=tracker.stop) as study,
        ):
            cases.drive(study, executor)
    again = cases.run(spec, dataset, database)
    assert (cases.rows(again), cases.table(database)) == reference


def test_finished_study_is_not_changed(
    spec: Spec, dataset: Dataset, done: tuple[Study, Path], reference: tuple[list[Trial], str], tmp_path: Path
) -> None:
    database = tmp_path / "small.db"
    database.write_bytes(done[1].read_bytes())
    executor = cases.HeldExecutor(lambda waiting: 0)  # its tasks are never released
    again = cases.run(spec, dataset, database, executor)
    assert again.trials == done[0].trials
    assert cases.table(database) == reference[1]


def test_optuna_reads_it(spec: Spec, done: tuple[Study, Path], reference: tuple[list[Trial], str]) -> None:
    """Points, values and states, read by Optuna without hpsearch."""
    for stage in spec.stages:
        _, trials = cases.optuna_study(done[1], f"small/{stage.name}")
        records = [r for r in reference[0] if r.stage == stage.name]
        assert [(t.number, t.value, t.params) for t in trials] == [
            (r.number, r.value, r.internal_params) for r in records
        ]
        assert {t.state.name for t in trials} == {"COMPLETE"}


def test_values_are_of_the_best_epoch(reference: tuple[list[Trial], str]) -> None:
    for r in reference[0]:
        # An improvement must exceed min_delta, so the best epoch may have a value slightly above the minimum.
        assert r.value == r.history["val/loss"][r.best_epoch - 1] == r.metrics["val/loss"]
        assert r.value <= min(r.history["val/loss"]) + 1e-3


def test_maximize(dataset: Dataset, tmp_path: Path) -> None:
    """Accuracies have many ties; the first of the best wins, and the boxes contain the high ones."""
    spec = cases.small(metric={"name": "val/accuracy", "goal": "maximize"})
    study = cases.run(spec, dataset, tmp_path / "a.db")
    values = [r.value for r in cases.rows(study)]
    assert study.best is not None
    assert study.best.value == max(v for v in values if v is not None)
    assert next(r.label for r in cases.rows(study) if r.value == study.best.value) == study.best.label
    assert all(r.value == r.history["val/accuracy"][r.best_epoch - 1] for r in cases.rows(study))
    direction, _ = cases.optuna_study(tmp_path / "a.db", "small/fine")
    assert direction == optuna.study.StudyDirection.MAXIMIZE
    executor = cases.HeldExecutor(lambda waiting: waiting - 1)
    with cases.opened(spec, dataset, tmp_path / "b.db", executor) as other:
        cases.drive(other, executor)
    assert cases.table(tmp_path / "b.db") == cases.table(tmp_path / "a.db")


@pytest.mark.parametrize("change", [{"seed": 6}, {"stages.0.name": "other"}])
def test_seed_and_stage_matter(
    dataset: Dataset, reference: tuple[list[Trial], str], tmp_path: Path, change: dict[str, Any]
) -> None:
    """Otherwise the comparisons above could not fail."""
    spec = cases.small(**change, **{"stages.0.trials": 4, "stages.1.trials": 1})
    records = cases.rows(cases.run(spec, dataset, tmp_path / "a.db"))
    assert [r.point for r in records[:4]] != [r.point for r in reference[0][:4]]


def test_the_database_has_the_trials(spec: Spec, done: tuple[Study, Path]) -> None:
    """Loaded trials equal those that the study returned."""
    study, database = done
    storage = StudyDatabase.open(url_of(str(database)), create=False)
    loaded = [storage.trials.load(stage.name, study.space) for stage in spec.stages]
    storage.close()
    best = study.best
    assert best is not None
    for found, want in zip(loaded, study.trials, strict=True):
        assert [r._replace(metrics={}) for r in found] == [r._replace(metrics={}) for r in want]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", EXECUTORS)
def test_every_executor_gives_the_same_table_with_conditional_parameters(
    conditional_spec: Spec,
    dataset: Dataset,
    conditional_reference: tuple[list[Trial], str],
    tmp_path: Path,
    name: str,
    workers: int,
) -> None:
    executor = EXECUTORS[name](workers, str(tmp_path / "scratch"))
    try:
        study = cases.run(conditional_spec, dataset, tmp_path / "small.db", executor)
    finally:
        executor.close()
    assert (cases.rows(study), cases.table(tmp_path / "small.db")) == conditional_reference


@pytest.mark.parametrize("single", [False, True], ids=["company", "alone"])
def test_order_of_results_and_batching_do_not_matter(
    conditional_spec: Spec,
    dataset: Dataset,
    conditional_reference: tuple[list[Trial], str],
    tmp_path: Path,
    single: bool,
) -> None:
    executor = cases.HeldExecutor(random.Random(3).randrange, single=single)
    with cases.opened(conditional_spec, dataset, tmp_path / "small.db", executor) as study:
        cases.drive(study, executor)
    assert (cases.rows(study), cases.table(tmp_path / "small.db")) == conditional_reference


def test_time_slices_do_not_matter(
    conditional_spec: Spec,
    dataset: Dataset,
    conditional_reference: tuple[list[Trial], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A checkpoint at every check includes batch norm statistics, the optimizer switch and stopping counts."""
    monkeypatch.setattr("hpsearch.study.stages.training.TIME_SLICE", 0.0)
    study = cases.run(conditional_spec, dataset, tmp_path / "small.db")
    assert (cases.rows(study), cases.table(tmp_path / "small.db")) == conditional_reference


def test_conditional_study_stopped_repeatedly(
    conditional_spec: Spec, dataset: Dataset, conditional_reference: tuple[list[Trial], str], tmp_path: Path
) -> None:
    database = tmp_path / "small.db"
    for limit in range(0, 30, 5):
        tracker, executor = cases.LimitTracker(limit), cases.HeldExecutor(lambda waiting: 0)
        with (
            contextlib.suppress(Interrupted),
            cases.opened(conditional_spec, dataset, database, executor, tracker=tracker, stop=tracker.stop) as study,
        ):
            cases.drive(study, executor)
    again = cases.run(conditional_spec, dataset, database)
    assert (cases.rows(again), cases.table(database)) == conditional_reference


def test_mirrored_while_the_next_stage_trains(
    spec: Spec, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optuna's tables are written once the first trials of the next stage train, at most some trials at a time."""
    events: list[str] = []
    add, advance = OptunaMirror.add, StageRun._advance

    def noted_add(self: OptunaMirror, stage: str, trials: list[optuna.trial.FrozenTrial]) -> None:
        events.append(f"mirror {len(trials)} of {stage}")
        add(self, stage, trials)

    def noted_advance(self: StageRun) -> list[Trial]:
        events.append(f"{self._stage.name} advances")
        return advance(self)

    monkeypatch.setattr(OptunaMirror, "add", noted_add)
    monkeypatch.setattr(StageRun, "_advance", noted_advance)
    monkeypatch.setattr("hpsearch.study.stages.run.MIRRORED_AT_ONCE", 10)
    cases.run(spec, dataset, tmp_path / "small.db")
    first, second = events.index("mirror 10 of coarse"), events.index("mirror 5 of coarse")
    assert events.index("fine advances") < first < second < events.index("mirror 9 of fine")
    assert len([event for event in events if event.startswith("mirror")]) == 3


def test_mirrored_once_imports_are_done(
    spec: Spec, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The coordinator never waits for imports while the workers train: they begin with the first trials."""
    events: list[str] = []
    add, advance = OptunaMirror.add, StageRun._advance

    class Slow:
        done = False

        def start(self) -> None:
            events.append("imports start")

        def wait(self) -> None:
            events.append("imports end")

    def noted_add(self: OptunaMirror, stage: str, trials: list[optuna.trial.FrozenTrial]) -> None:
        events.append(f"mirror {stage}")
        add(self, stage, trials)

    def noted_advance(self: StageRun) -> list[Trial]:
        events.append(f"{self._stage.name} advances")
        return advance(self)

    monkeypatch.setattr("hpsearch.storage.optuna_mirror.BackgroundImports", lambda *names: Slow())
    monkeypatch.setattr(OptunaMirror, "add", noted_add)
    monkeypatch.setattr(StageRun, "_advance", noted_advance)
    cases.run(spec, dataset, tmp_path / "small.db")
    assert events[:2] == ["coarse advances", "imports start"]
    assert events[-3:] == ["imports end", "mirror coarse", "mirror fine"]

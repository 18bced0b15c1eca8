"""The task scheduler: order, retries after deaths of workers, and resuming from checkpoints."""

import dataclasses
import time
from collections import Counter
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import cases
import pytest
from fault_cases import (
    VICTIMS,
    DyingExecutor,
    StudyCase,
    by_place,
    checkpoints_match,
    die_before_training,
    finished_table,
    seed_of,
    trained_epochs,
)

from hpsearch.core.resources import ResourceExhausted
from hpsearch.training import scheduler as module
from hpsearch.training.executors import Inline, Processes, WorkerDied, WorkerKilled
from hpsearch.training.scheduler import MAX_DEATHS, MAX_SHORTAGES, PREFETCH, TaskScheduler
from hpsearch.training.task import Outcome, Task, TrialResult, TrialTask, failed_result
from hpsearch.training.trial import advance


def test_trial_fails_after_three_deaths(plain: StudyCase, tmp_path: Path) -> None:
    """Trials of the same batch and all others are not affected, and samplers see a failed trial."""
    victim = ("coarse", 7)
    seed, scratch = seed_of(plain.spec, victim), tmp_path / "scratch"
    executor = Processes(2, str(scratch), partial(die_before_training, str(tmp_path), {seed: 10}))
    try:
        study = cases.run(plain.spec, plain.dataset, tmp_path / "small.db", executor)
    finally:
        executor.close()
    assert (tmp_path / str(seed)).read_bytes() == b"..."
    records = by_place(study)
    assert records[victim].state == "failed"
    assert records[victim].error == "its worker process ended 3 times: exit code 9"
    assert {r.state for place, r in records.items() if place != victim} == {"complete"}
    for place, r in plain.trials.items():
        if place[0] == "coarse" and place != victim:
            assert records[place]._replace(metrics={}) == r._replace(metrics={})

    def fails(task: Task) -> Outcome:
        """Fail that trial only."""
        alone = [dataclasses.replace(task, trials=(t,)) for t in task.trials]
        return tuple(
            failed_result(t.trials[0], records[victim].error or "") if t.trials[0].seed == seed else advance(t)[0]
            for t in alone
        )

    cases.run(plain.spec, plain.dataset, tmp_path / "other.db", Inline(run_task=fails))
    assert finished_table(tmp_path / "small.db") == finished_table(tmp_path / "other.db") != plain.table


@pytest.mark.parametrize("deaths", [1, 2])
def test_fewer_deaths_have_no_effect(full: StudyCase, tmp_path: Path, deaths: int) -> None:
    """The table is the one without deaths."""
    seeds = {seed_of(full.spec, place): deaths for place in VICTIMS}
    executor = Processes(2, str(tmp_path / "scratch"), partial(die_before_training, str(tmp_path), seeds))
    try:
        cases.run(full.spec, full.dataset, tmp_path / "small.db", executor)
    finally:
        executor.close()
    assert [(tmp_path / str(seed)).read_bytes() for seed in seeds] == [b"." * deaths] * 3
    assert finished_table(tmp_path / "small.db") == full.table


def test_progress_resets_the_count_of_deaths(full: StudyCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that makes progress between deaths may cost any number of workers."""
    deaths: Counter[tuple[int, int]] = Counter()

    def dies(task: Task) -> bool:
        """Return True twice before each epoch."""
        places = [(t.seed, t.epochs) for t in task.trials]
        deaths.update(places)
        return any(deaths[place] <= 2 for place in places)

    monkeypatch.setattr("hpsearch.study.stages.training.TIME_SLICE", 0.0)
    executor = DyingExecutor(dies)
    cases.run(full.spec, full.dataset, tmp_path / "small.db", executor)
    died = Counter(t.seed for task, outcome in executor.tasks if outcome is None for t in task.trials)
    assert max(died.values()) > 10
    assert finished_table(tmp_path / "small.db") == full.table


def test_trials_are_retried_alone(plain: StudyCase, tmp_path: Path) -> None:
    """Trials that lose workers only as a batch do not fail."""
    executor = DyingExecutor(lambda task: len(task.trials) > 1, workers=1)
    cases.run(plain.spec, plain.dataset, tmp_path / "small.db", executor)
    assert sum(outcome is None for _, outcome in executor.tasks) > 3
    assert finished_table(tmp_path / "small.db") == plain.table


def test_retries_resume_from_checkpoints(full: StudyCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only lost epochs are trained again; here none, because each epoch is a time slice."""
    seeds = {seed_of(full.spec, place): 2 for place in VICTIMS}

    def dies(task: Task) -> bool:
        """Return True twice at epoch 2 or later."""
        found = checkpoints_match(task)
        for t in task.trials:
            if t.epochs >= 2 and seeds.get(t.seed):
                seeds[t.seed] -= 1
                found = True
        return found

    monkeypatch.setattr("hpsearch.study.stages.training.TIME_SLICE", 0.0)
    executor = DyingExecutor(dies)
    cases.run(full.spec, full.dataset, tmp_path / "small.db", executor)
    assert set(seeds.values()) == {0}
    assert len(executor.trained) == len(set(executor.trained)) == trained_epochs(full)
    assert finished_table(tmp_path / "small.db") == full.table


class ManualExecutor:
    """An executor whose futures are set by the test."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self.submitted: list[tuple[Task, Future[Outcome]]] = []

    def submit(self, task: Task) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        self.submitted.append((task, future))
        return future

    def notes(self) -> list[str]:
        return []

    def close(self) -> None:
        return


def task_of(*numbers: int, epochs: int = 4) -> Task:
    spec: Any = None  # the scheduler reads the trials and their epochs only
    return Task(spec, spec, tuple(TrialTask(n, {}, n) for n in numbers), epochs)


def numbers_of(executor: ManualExecutor) -> list[tuple[int, ...]]:
    return [tuple(t.number for t in task.trials) for task, _ in executor.submitted]


def result_of(number: int, state: Any = "complete", epochs: int = 4) -> TrialResult:
    return TrialResult(number, state, None, epochs, 0, {}, checkpoint=b"state")


def test_earlier_waves_start_first() -> None:
    executor = ManualExecutor(workers=4)
    scheduler = TaskScheduler(executor)
    scheduler.add(1, [task_of(4), task_of(5)])
    scheduler.add(0, [task_of(0, 1), task_of(2)])
    scheduler.dispatch()
    assert numbers_of(executor) == [(0, 1), (2,), (4,), (5,)]


def test_prefetch() -> None:
    """Each worker has a task in reserve; the others stay in the queue."""
    executor = ManualExecutor(workers=2)
    scheduler = TaskScheduler(executor)
    scheduler.add(0, [task_of(n) for n in range(6)])
    scheduler.dispatch()
    assert len(executor.submitted) == 2 * PREFETCH == 4
    executor.submitted[2][1].set_result((result_of(2),))
    assert scheduler.collect(1.0) == ([(result_of(2),)], None)
    scheduler.dispatch()
    assert numbers_of(executor)[4:] == [(4,)]
    assert [scheduler.in_flight(n) for n in range(7)] == [True, True, False, True, True, True, False]


def test_unfinished_trials_are_queued_again() -> None:
    executor = ManualExecutor()
    scheduler = TaskScheduler(executor)
    scheduler.add(0, [task_of(0, 1, 2)])
    scheduler.dispatch()
    outcome = (result_of(0, "running", 2), result_of(1, "diverged", 1), result_of(2, "running", 4))
    executor.submitted[0][1].set_result(outcome)
    assert scheduler.collect(1.0) == ([outcome], None)
    assert [scheduler.in_flight(n) for n in range(3)] == [True, False, False]
    scheduler.dispatch()
    (trial,) = executor.submitted[1][0].trials
    assert (trial.number, trial.epochs, trial.checkpoint, trial.seed) == (0, 2, b"state", 0)


def test_exceptions_end_the_study() -> None:
    """An exception that is not the death of a worker is returned, not raised."""
    executor = ManualExecutor()
    scheduler = TaskScheduler(executor)
    scheduler.add(0, [task_of(0)])
    scheduler.dispatch()
    error = OSError("rows.npy")
    executor.submitted[0][1].set_exception(error)
    assert scheduler.collect(1.0) == ([], error)
    assert scheduler.collect(0.0) == ([], None)


def test_deaths() -> None:
    """Trials of a dead worker are queued again one by one; after three deaths a trial has failed."""
    executor = ManualExecutor(workers=9)
    scheduler = TaskScheduler(executor)
    scheduler.add(0, [task_of(0, 1)])
    for death in range(MAX_DEATHS):
        scheduler.dispatch()
        for task, future in executor.submitted:
            if any(t.number == 0 for t in task.trials):
                future.set_exception(WorkerDied("exit code 9"))
            else:
                future.set_result((result_of(1),))
        executor.submitted.clear()
        outcomes, error = scheduler.collect(1.0)
        assert error is None
        assert scheduler.in_flight(0) == (death < MAX_DEATHS - 1)
    (failed,) = [r for outcome in outcomes for r in outcome if r.number == 0]
    assert (failed.state, failed.error) == ("failed", f"its worker process ended {MAX_DEATHS} times: exit code 9")


@pytest.fixture
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHORTAGE_PAUSE", 0.0)


SHORTAGES = [MemoryError("9 GiB"), ResourceExhausted("out of memory"), WorkerKilled("killed by signal 9 (SIGKILL)")]


@pytest.mark.parametrize("shortage", SHORTAGES, ids=lambda error: type(error).__name__)
def test_a_shortage_that_passes(without_pauses: None, shortage: Exception) -> None:
    """The trials are trained again before all others, one at a time; then there are as many tasks as before."""
    executor = ManualExecutor(workers=2)
    scheduler = TaskScheduler(executor)
    scheduler.add(0, [task_of(0, 1), *(task_of(n) for n in range(2, 9))])
    scheduler.dispatch()
    assert numbers_of(executor) == [(0, 1), (2,), (3,), (4,)]
    executor.submitted[0][1].set_exception(shortage)
    assert scheduler.collect(1.0) == ([], None)
    scheduler.dispatch()
    assert len(executor.submitted) == 4, "the others are still in training"
    for task, future in executor.submitted[1:]:
        future.set_result((result_of(task.trials[0].number),))
    assert scheduler.collect(1.0)[1] is None
    for number in (0, 1):
        scheduler.dispatch()
        assert numbers_of(executor)[4 + number :] == [(number,)]
        assert scheduler.in_flight(number)
        executor.submitted[-1][1].set_result((result_of(number),))
        assert scheduler.collect(1.0) == ([(result_of(number),)], None)
    scheduler.dispatch()
    assert numbers_of(executor)[6:] == [(5,), (6,), (7,), (8,)]


@pytest.mark.parametrize("shortage", SHORTAGES, ids=lambda error: type(error).__name__)
def test_a_shortage_that_persists(without_pauses: None, shortage: Exception) -> None:
    """It ends the study with its reason, and is never the result of a trial."""
    executor = ManualExecutor()
    scheduler = TaskScheduler(executor)
    scheduler.add(0, [task_of(0)])
    for count in range(1, MAX_SHORTAGES + 1):
        scheduler.dispatch()
        executor.submitted.pop()[1].set_exception(shortage)
        outcomes, error = scheduler.collect(1.0)
        assert outcomes == [] and (error is None) == (count < MAX_SHORTAGES)
    assert type(error) is ResourceExhausted and str(error).endswith(f", {MAX_SHORTAGES} times in a row")
    assert "memory" in str(error)


def test_shortages_and_deaths_are_counted_apart(without_pauses: None) -> None:
    """Two shortages do not make a trial fail that ended its worker once; progress resets both counts."""
    executor = ManualExecutor()
    scheduler = TaskScheduler(executor)
    scheduler.add(0, [task_of(0)])
    events = [MemoryError(), MemoryError(), WorkerDied("exit code 3"), WorkerDied("exit code 3")]
    for event in [*events, result_of(0, "running", 2), *events]:
        scheduler.dispatch()
        future = executor.submitted.pop()[1]
        future.set_result((event,)) if isinstance(event, TrialResult) else future.set_exception(event)
        outcomes, error = scheduler.collect(1.0)
        assert error is None and [r.state for (r,) in outcomes] == ["running"] * isinstance(event, TrialResult)
        assert scheduler.in_flight(0)


def test_pauses_after_shortages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is submitted during a pause, and `collect` waits for its end."""
    monkeypatch.setattr(module, "SHORTAGE_PAUSE", 0.05)
    executor = ManualExecutor()
    scheduler = TaskScheduler(executor)
    scheduler.add(0, [task_of(0)])
    scheduler.dispatch()
    executor.submitted.pop()[1].set_exception(MemoryError())
    assert scheduler.collect(1.0) == ([], None)
    scheduler.dispatch()
    assert executor.submitted == []
    begun = time.monotonic()
    assert scheduler.collect(10.0) == ([], None)
    assert time.monotonic() - begun < 5
    scheduler.dispatch()
    assert numbers_of(executor) == [(0,)]

"""One stage of a study: checkpoints, failed trials, and studies that cannot continue."""

import json
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cases
import numpy as np
import pytest
from executor_cases import ExitsWhenRead
from fault_cases import (
    STEPS,
    DyingExecutor,
    StudyCase,
    checkpoints_match,
    fail_after_training,
    finished_table,
    query_rows,
    seed_of,
    trained_epochs,
)

from engine.types import EngineError
from hpsearch.config.load import restore_spec
from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset
from hpsearch.errors import Interrupted
from hpsearch.storage.records import Trial
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.study.loop import Study
from hpsearch.study.stages import training
from hpsearch.study.summary import summary
from hpsearch.training.executors import Inline, Processes
from hpsearch.training.objectives import engine as engine_objective
from hpsearch.training.task import Outcome, Task
from hpsearch.training.trial import advance
from tests.hpsearch.study import test_loop

spec, dataset, done, reference = test_loop.spec, test_loop.dataset, test_loop.done, test_loop.reference  # fixtures
TRIALS, PARALLEL = test_loop.TRIALS, test_loop.PARALLEL

ORDERS: dict[str, Callable[[], Callable[[int], int]]] = {
    "first": lambda: lambda _: 0,
    "last": lambda: lambda waiting: waiting - 1,
    "random": lambda: random.Random(3).randrange,
}


@pytest.mark.parametrize("share", [0.0, 30.0], ids=["slices", "rungs"])
def test_trials_resume_from_checkpoints_after_the_coordinator(
    full: StudyCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """Each coordinator sees a few outcomes; only tasks that it submitted and did not collect are lost."""
    monkeypatch.setattr("hpsearch.study.stages.training.TIME_SLICE", share)
    monkeypatch.setattr("hpsearch.study.stages.run.COLLECT_TIMEOUT", 0.0)
    database, trained, going_on, lives, steps = tmp_path / "small.db", list[tuple[int, int, int]](), 0, 0, STEPS
    while steps == STEPS:
        executor, steps = DyingExecutor(checkpoints_match, held=True), 0
        with cases.opened(full.spec, full.dataset, database, executor) as study:
            running = study.run()
            while steps < STEPS and next(running, None) is not None:
                steps += 1
                if steps < STEPS:
                    executor.step()
            running.close()
        going_on += sum(t.epochs > 0 for task, _ in executor.tasks for t in task.trials)
        trained += executor.trained
        lives += 1
        assert lives < 100, "it makes no progress"
    assert lives > 5 and going_on > 10
    assert len(trained) == len(set(trained)) == trained_epochs(full)
    assert finished_table(database) == full.table


def test_checkpoints_are_stored_with_their_outcome(
    full: StudyCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every commit, of trials that returned at a rung or after their time slice, and not of finished trials."""
    import sqlalchemy as sa

    database, seen = tmp_path / "small.db", []
    query = """SELECT t.stage, t.number, c.epochs, t.state FROM hpsearch_trial t
               LEFT JOIN hpsearch_checkpoint c ON c.stage = t.stage AND c.number = t.number"""

    def look(_connection: Any) -> None:
        """Record what the previous commit has written."""
        if query_rows(database, "SELECT 1 FROM sqlite_master WHERE name = 'hpsearch_checkpoint'"):
            seen.append({(s, n): (e, state) for s, n, e, state in query_rows(database, query)})

    executors = []
    sa.event.listen(sa.Engine, "commit", look)
    try:
        for name, share in (("rungs", 30.0), ("slices", 0.0)):
            monkeypatch.setattr("hpsearch.study.stages.training.TIME_SLICE", share)
            database = tmp_path / f"{name}.db"
            executors.append(cases.HeldExecutor(lambda _: 0))
            outcomes: list[Outcome] = []
            with cases.opened(full.spec, full.dataset, database, executors[-1]) as study:
                executor = executors[-1]
                executor.submit = noted(executor.submit, outcomes)
                cases.drive(study, executor)
            with_result = [{r.number: r.epochs for r in outcome if r.state == "running"} for outcome in outcomes]
            for before, after in pairwise(seen):
                news = {n: e for (s, n), (e, _) in after.items() if e and (s, n) in before and before[s, n][0] != e}
                assert not news or news in with_result, f"{news} was not stored with its batch"
                assert not [p for p, (e, state) in after.items() if e and state != "running"]
                went = [p for p, (e, state) in after.items() if state == "running" and p in before]
                assert all((after[p][0] or 0) >= (before[p][0] or 0) for p in went), "a trial was missing for a while"
            at = {e for snapshot in seen for e, _ in snapshot.values() if e}
            assert at == ({2, 4} if name == "rungs" else set(range(1, 8)))
            assert finished_table(database) == full.table
            seen.clear()
    finally:
        sa.event.remove(sa.Engine, "commit", look)


def noted(submit: Callable[[Task], Future[Outcome]], outcomes: list[Outcome]) -> Callable[[Task], Future[Outcome]]:
    def submitted(task: Task) -> Future[Outcome]:
        future = submit(task)
        future.add_done_callback(lambda f: outcomes.append(f.result()))
        return future

    return submitted


class Said(NamedTuple):
    code: int
    out: str
    err: str


Call = Callable[..., Said]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Return a function that calls the command in this process, with workers that run a given task function."""
    from hpsearch import cli

    monkeypatch.chdir(tmp_path)

    def hpsearch(*arguments: str | Path, work: Any = advance) -> Said:
        tracking = () if arguments[0] == "show" else ("--tracking-uri", "none", "--quiet", "--workers", "2")
        monkeypatch.setattr(sys, "argv", ["hpsearch", *map(str, arguments), *tracking])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main(lambda workers, scratch: Processes(workers, scratch, work))
        out, err = capsys.readouterr()
        return Said(int(end.value.code or 0), out, err)

    return hpsearch


def states(database: Path) -> Counter[str]:
    return Counter(state for (state,) in query_rows(database, "SELECT state FROM hpsearch_trial"))


def test_too_many_failures_end_the_study(plain: StudyCase, call: Call, tmp_path: Path) -> None:
    """All outcomes are stored, and with a higher limit the study resumes."""
    study, database = cases.write(tmp_path, max_failed=1), tmp_path / "small.db"
    seeds = tuple(seed_of(plain.spec, ("coarse", n)) for n in (0, 4, 5))
    work = partial(fail_after_training, seeds)
    said = call("run", study, work=partial(work, endless=seed_of(plain.spec, ("coarse", 1))))
    assert said.code == 1 and said.out == ""
    assert " trials have failed, and max_failed is 1 (coarse/0: ArithmeticError: no such number); raise it" in said.err
    assert said.err.startswith("error: ") and f"hpsearch resume {database}" in said.err
    before = states(database)
    assert before["failed"] in (2, 3) and before["complete"] > 0 and before["running"] > 0
    said = call("resume", database, work=work)  # no trial trains
    assert said.code == 1 and "and max_failed is 1" in said.err
    assert (states(database)["failed"], states(database)["complete"]) == (before["failed"], before["complete"])
    said = call("run", study, "--set", "max_failed=3", work=work)
    assert said.code == 0, said
    assert states(database) == {"failed": 3, "complete": 21}
    shown = call("show", database).out
    assert "3 failed: ArithmeticError: no such number" in shown and "15/15" in shown
    content = json.loads(call("show", database, "--json").out)
    assert Counter(t["state"] for t in content["trials"]) == {"failed": 3, "complete": 21}
    assert [s["finished"] for s in content["stages"]] == [15, 9]
    patient = cases.small(max_failed=3)
    cases.run(patient, plain.dataset, tmp_path / "other.db", Inline(run_task=work))
    assert finished_table(database) == finished_table(tmp_path / "other.db")


def test_failed_trials_are_trained_again(plain: StudyCase, call: Call, tmp_path: Path) -> None:
    """The last trials, failed and retried, give the table without failures: nothing was suggested after them."""
    study, database = cases.write(tmp_path), tmp_path / "small.db"
    seeds = tuple(seed_of(plain.spec, ("fine", n)) for n in (6, 8))
    assert call("run", study, work=partial(fail_after_training, seeds)).code == 0
    assert states(database) == {"failed": 2, "complete": 22} and finished_table(database) != plain.table
    said = call("resume", database, "--retry-failed")
    assert said.code == 0 and "2 failed trials to train again" in said.err
    assert finished_table(database) == plain.table


class Killed(BaseException):
    pass


def test_killed_during_a_retry(plain: StudyCase, tmp_path: Path) -> None:
    """At each commit of a retry; the trials are retried the next time."""
    import sqlalchemy as sa

    from hpsearch.study.start import retry_failed

    spec = cases.small(**{"stages.0.trials": 4, "stages.1.trials": 3, "train.epochs": 2})
    cases.run(spec, plain.dataset, tmp_path / "sound.db")
    seeds = tuple(seed_of(spec, ("fine", n)) for n in (0, 2))
    cases.run(spec, plain.dataset, tmp_path / "failed.db", DyingExecutor(work=partial(fail_after_training, seeds)))
    want = finished_table(tmp_path / "sound.db")
    database, left, opened = tmp_path, 0, list[Any]()

    def commit(_connection: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed

    def forget() -> bool:
        storage = StudyDatabase.open(url_of(str(database)), create=False)
        try:
            retry_failed(storage, spec)
        except Killed:
            return False
        finally:
            storage.close()
        return True

    def connect(connection: Any, _record: Any) -> None:
        opened.append(connection)  # a kill leaves connections open

    sa.event.listen(sa.Engine, "commit", commit)
    sa.event.listen(sa.Pool, "connect", connect)
    try:
        limit, through = 0, False
        while not through:
            limit += 1
            database = tmp_path / f"{limit}.db"  # one database each, because the log of a killed process may remain
            shutil.copy(tmp_path / "failed.db", database)
            left = limit
            through = forget()
            left = 0
            cases.run(spec, plain.dataset, database)  # without a retry
            assert forget()
            cases.run(spec, plain.dataset, database)
            assert finished_table(database) == want, f"commit {limit}"
    finally:
        sa.event.remove(sa.Engine, "commit", commit)
        sa.event.remove(sa.Pool, "connect", connect)
        for connection in opened:
            connection.close()
    assert limit == 7  # five commits of Optuna and one of ours


def test_workers_that_cannot_be_started(call: Call, tmp_path: Path) -> None:
    study, database = cases.write(tmp_path), tmp_path / "small.db"
    said = call("run", study, work=ExitsWhenRead())
    assert said.code == 1 and said.out == ""
    assert said.err.startswith("error: workers cannot be started, 3 times in a row: exit code 7;")
    assert f"Resume with: hpsearch resume {database}" in said.err
    assert call("resume", database).code == 0


@pytest.mark.parametrize(("order", "single"), [("first", True), ("last", False), ("random", False), ("last", True)])
def test_order_of_results_changes_nothing(
    spec: Spec, dataset: Dataset, reference: tuple[list[Trial], str], tmp_path: Path, order: str, single: bool
) -> None:
    """Batching does not either: trials end in an order that no pool would produce."""
    executor = cases.HeldExecutor(ORDERS[order](), single=single)
    with cases.opened(spec, dataset, tmp_path / "small.db", executor) as study:
        cases.drive(study, executor)
    assert (cases.rows(study), cases.table(tmp_path / "small.db")) == reference
    if order != "first":
        assert any(executor.order)


def test_so_many_trials_run_as_there_are_virtual_workers(spec: Spec, dataset: Dataset, tmp_path: Path) -> None:
    """A stage whose sampler learns; trials of a random stage train ahead."""
    executor = cases.HeldExecutor(lambda waiting: waiting - 1)
    most = 0
    with cases.opened(spec, dataset, tmp_path / "small.db", executor) as study:
        for progress in study.run():
            if progress.stage == "fine":
                most = max(most, progress.running)
            executor.release()
    assert most == PARALLEL


@pytest.mark.parametrize("share", [0.0, None])
def test_time_slices(
    spec: Spec,
    dataset: Dataset,
    reference: tuple[list[Trial], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    share: float | None,
) -> None:
    """A group that returns after every epoch continues as if it had not returned."""
    monkeypatch.setattr(training, "TIME_SLICE", share)
    tasks: list[Task] = []

    def counted(self: Inline, task: Task) -> Any:
        assert len(tasks) < 1000, "it makes no progress"
        tasks.append(task)
        return submit(self, task)

    submit = Inline.submit
    monkeypatch.setattr(Inline, "submit", counted)
    study = cases.run(spec, dataset, tmp_path / "small.db")
    assert (cases.rows(study), cases.table(tmp_path / "small.db")) == reference
    assert any(t.checkpoint for task in tasks for t in task.trials) == (share is not None)


def test_diverged_trials(dataset: Dataset, tmp_path: Path) -> None:
    """They have no value, count as the worst for Optuna, and do not affect the other trials."""
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
        for t in cases.optuna_study(tmp_path / "a.db", f"small/{stage.name}")[1]:
            assert (t.state.name == "PRUNED") == (states[f"{stage.name}/{t.number}"] == "diverged")
    executor = cases.HeldExecutor(lambda waiting: 0, single=True)
    with cases.opened(spec, dataset, tmp_path / "b.db", executor) as other:
        cases.drive(other, executor)
    assert cases.table(tmp_path / "b.db") == cases.table(tmp_path / "a.db")


def test_all_diverged(dataset: Dataset, tmp_path: Path) -> None:
    """There is no best trial, and the next stage searches the whole range."""
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
    """Make networks of some trials untrainable."""
    sound = engine_objective.hyperparameters

    def hyperparameters(training: Any, point: Any) -> Any:
        if 0.01 < point["learning_rate"] < 0.05:
            raise EngineError("no such net\nand more of it")
        return sound(training, point)

    monkeypatch.setattr(engine_objective, "hyperparameters", hyperparameters)


@pytest.mark.usefixtures("faulty")
def test_failing_trials(spec: Spec, dataset: Dataset, reference: tuple[list[Trial], str], tmp_path: Path) -> None:
    """Only these trials fail, with the first line of the error, batched or alone, and the study continues."""
    study = cases.run(spec, dataset, tmp_path / "a.db")
    records = cases.rows(study)
    failed = [r for r in records if r.state == "failed"]
    assert failed and len(records) == TRIALS
    assert all((0.01 < r.point["learning_rate"] < 0.05) == (r in failed) for r in records)
    assert {r.error for r in failed} == {"EngineError: no such net"}
    assert all(r.value is None for r in failed)
    coarse = [r for r in records if r.stage == "coarse" and r not in failed]
    assert all(r._replace(metrics={}) in [x._replace(metrics={}) for x in reference[0]] for r in coarse)
    _, trials = cases.optuna_study(tmp_path / "a.db", "small/coarse")
    assert {t.number for t in trials if t.state.name == "FAIL"} == {r.number for r in failed if r.stage == "coarse"}
    executor = cases.HeldExecutor(lambda waiting: 0, single=True)
    with cases.opened(spec, dataset, tmp_path / "b.db", executor) as other:
        cases.drive(other, executor)
    assert cases.table(tmp_path / "b.db") == cases.table(tmp_path / "a.db")


def test_seconds_are_those_of_all_slices(
    spec: Spec, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial's share of every slice, not only of the last one, by a clock that counts epochs."""
    ticks = iter(range(10**9))
    monkeypatch.setattr(engine_objective.time, "monotonic", lambda: float(next(ticks)))
    monkeypatch.setattr(training, "TIME_SLICE", 0.0)
    spec = cases.small(**{"train.epochs": 6, "train.early_stopping": None, "parameters.hidden_units": {"values": [4]}})
    study = cases.run(spec, dataset, tmp_path / "a.db")
    long = [r.seconds for records in study.trials for r in records]
    monkeypatch.setattr(training, "TIME_SLICE", 0.0)
    spec = cases.small(**{"train.epochs": 1, "train.early_stopping": None, "parameters.hidden_units": {"values": [4]}})
    short = [r.seconds for records in cases.run(spec, dataset, tmp_path / "b.db").trials for r in records]
    assert sum(long) > 4 * sum(short)


BUDGET: dict[str, Any] = {
    **cases.FULL,
    "stages": [
        {"name": "coarse", "budget": 5, "sampler": "random"},
        {"name": "fine", "budget": 6, "sampler": "tpe", "zoom": {"keep": 5, "every": 3}},
        {"name": "confirm", "top": 3, "seeds": 2},
    ],
}


@pytest.fixture(scope="module")
def by_budget(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    database = tmp_path_factory.mktemp("budget") / "small.db"
    return cases.run(cases.small(**BUDGET), dataset, database), database


def test_a_stage_ends_with_its_budget(by_budget: tuple[Study, Path]) -> None:
    """Its epochs are used, and hardly more; the number of trials at which it ended is stored."""
    study, database = by_budget
    spec = study.spec
    for trials, stage, total in zip(study.trials, spec.stages[:2], study.totals, strict=False):
        epochs, allowed = sum(t.epochs for t in trials), (stage.budget or 0) * spec.train.epochs
        assert allowed <= epochs < allowed + (spec.parallel + 3) * spec.train.epochs
        assert total == len(trials) > 6 and {t.state for t in trials} >= {"complete", "pruned"}
    shown = summary(url_of(str(database)))
    assert shown.trained and shown.totals == study.totals
    assert any(t.box for t in study.trials[1]) and not any(t.box for t in study.trials[0])


@pytest.mark.parametrize("limit", [0, 3, 9, 14, 20])
def test_a_stage_with_a_budget_resumes(
    by_budget: tuple[Study, Path], dataset: Dataset, tmp_path: Path, limit: int
) -> None:
    """From the stored spec, in any order of outcomes."""
    spec = restore_spec(cases.small(**BUDGET).model_dump(mode="json"), "here")
    tracker, executor = cases.LimitTracker(limit), cases.HeldExecutor(lambda waiting: waiting - 1)
    with (
        pytest.raises(Interrupted),
        cases.opened(spec, dataset, tmp_path / "a.db", executor, tracker=tracker, stop=tracker.stop) as study,
    ):
        cases.drive(study, executor)
    cases.run(spec, dataset, tmp_path / "a.db")
    assert cases.table(tmp_path / "a.db") == cases.table(by_budget[1])


def test_a_larger_budget_continues_a_stage(dataset: Dataset, tmp_path: Path) -> None:
    """Nothing that is finished is lost; trials that were pruned stay so."""
    stages = [{"name": "coarse", "budget": 4, "sampler": "tpe"}]
    first = cases.run(cases.small(**{**BUDGET, "stages": stages}), dataset, tmp_path / "a.db")
    more = cases.run(cases.small(**{**BUDGET, "stages": [{**stages[0], "budget": 8}]}), dataset, tmp_path / "a.db")
    before, after = cases.rows(first), cases.rows(more)
    assert len(after) > len(before) + 2
    for one, same in zip(before, after, strict=False):
        assert repr(one._replace(metrics={})) == repr(same._replace(metrics={})), "NaN is NaN here"
    again = cases.run(more.spec, dataset, tmp_path / "a.db", cases.HeldExecutor(lambda waiting: 0))
    assert repr(cases.rows(again)) == repr(after)

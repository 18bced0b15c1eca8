"""Workers that die, trials that fail, and checkpoints: the study goes on, and nothing but the failed differs."""

import dataclasses
import json
import os
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from engine.training.state import State
from hpsearch.config.spec import Spec
from hpsearch.core.seeds import derive
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.training import trial
from hpsearch.training.executors import Inline, Processes, WorkerDied
from hpsearch.training.task import Outcome, Task, TrialResult, failed_result
from hpsearch.training.trial import advance

if TYPE_CHECKING:  # workers import this file, and these import Optuna
    from hpsearch.storage.records import Trial
    from hpsearch.study.loop import Study

Place = tuple[str, int]
STEPS = 10  # outcomes that a coordinator lives for
VICTIMS: list[Place] = [("coarse", 3), ("coarse", 14), ("fine", 10)]  # in cases.FULL


def cases() -> Any:
    import cases

    return cases


def seed_of(spec: Spec, place: Place) -> int:
    return derive(spec.seed, *place, "train")


class Given(NamedTuple):
    """A study, and how it ends when nothing happens."""

    spec: Spec
    dataset: Dataset
    table: str
    records: dict[Place, "Trial"]


def given(folder: Path, changes: dict[str, Any]) -> Given:
    spec = cases().small(**changes)
    dataset, _ = prepare(spec.data, spec.seed, folder)
    study = cases().run(spec, dataset, folder / "small.db")
    return Given(spec, dataset, done(folder / "small.db"), by_place(study))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Given:
    """All that the loop does."""
    found = given(tmp_path_factory.mktemp("full"), cases().FULL)
    assert all(found.records[place].epochs > 2 for place in VICTIMS), "there is nothing half-way through"
    return found


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Given:
    """Without pruning."""
    return given(tmp_path_factory.mktemp("plain"), {})


def by_place(study: "Study") -> dict[Place, "Trial"]:
    return {(r.stage, r.number): r for r in cases().rows(study)}


def done(database: Path) -> str:
    """The table of a study that is done, which leaves no checkpoint behind."""
    assert rows(database, "SELECT count(*) FROM hpsearch_checkpoint") == [(0,)]
    table: str = cases().table(database)
    return table


def rows(database: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


# What workers do.


def deadly(folder: str, seeds: dict[int, int], task: Task) -> Outcome:
    """Some trials end their worker, company and all, each so many times."""
    for t in task.trials:
        marks = Path(folder) / str(t.seed)
        deaths = len(marks.read_bytes()) if marks.exists() else 0
        if deaths < seeds.get(t.seed, 0):
            with marks.open("ab") as file:
                file.write(b".")
            os._exit(9)
    return advance(task)


def faulty(seeds: tuple[int, ...], task: Task) -> Outcome:
    """The training of some trials raises, once it is through."""
    if not hasattr(trial, "sound"):
        trial.sound = trial._train  # type: ignore[attr-defined]

    def train(task: Task) -> list[TrialResult]:
        results: list[TrialResult] = trial.sound(task)  # type: ignore[attr-defined]
        if any(t.seed in seeds for t in task.trials):
            raise ArithmeticError("no such number\nand more of it")
        return results

    trial._train = train
    return advance(task)


class Lethal:
    """Ends who reads it."""

    def __reduce__(self) -> Any:
        return os._exit, (7,)


@pytest.fixture(autouse=True)
def sound() -> Iterator[None]:
    """`faulty` is for one test at a time."""
    before = trial._train
    yield
    trial._train = before
    vars(trial).pop("sound", None)


class Mortal:
    """Trains in this process, and dies when it is told to.

    Args:
        held: trains one task at each `step`, not when it is submitted.

    Attributes:
        tasks: all it was given, with what came of them; None for those it died of.
    """

    def __init__(
        self,
        dies: Callable[[Task], bool] = lambda _: False,
        work: Callable[[Task], Outcome] = advance,
        *,
        workers: int = 2,
        held: bool = False,
    ) -> None:
        self.workers = workers
        self.tasks: list[tuple[Task, Outcome | None]] = []
        self._dies = dies
        self._work = work
        self._held = held
        self._waiting: list[tuple[Future[Outcome], Task]] = []

    def submit(self, task: Task) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        self._waiting.append((future, task))
        if not self._held:
            self.step()
        return future

    def step(self) -> None:
        """One more task is done, if any is there."""
        for future, task in self._waiting[:1]:
            outcome = None if self._dies(task) else self._work(task)
            self.tasks.append((task, outcome))
            if outcome is None:
                future.set_exception(WorkerDied("exit code 9"))
            else:
                future.set_result(outcome)
        del self._waiting[:1]

    def close(self) -> None:
        return

    @property
    def trained(self) -> list[tuple[int, int, int]]:
        """Every epoch of every trial that was trained, as (number, seed, epoch)."""
        found = []
        for task, outcome in self.tasks:
            for t, r in zip(task.trials, outcome or (), strict=False):
                found += [(t.number, t.seed, epoch) for epoch in range(t.epochs + 1, r.epochs + 1)]
        return found


def epochs(study: Given) -> int:
    return sum(r.epochs for r in study.records.values())


# Workers that die.


def test_a_trial_that_ends_every_worker_has_failed(plain: Given, tmp_path: Path) -> None:
    """After three. Its company and whoever else was there come out as ever, and the samplers see a failed trial."""
    victim = ("coarse", 7)
    seed, scratch = seed_of(plain.spec, victim), tmp_path / "scratch"
    executor = Processes(2, str(scratch), partial(deadly, str(tmp_path), {seed: 10}))
    try:
        study = cases().run(plain.spec, plain.dataset, tmp_path / "small.db", executor)
    finally:
        executor.close()
    assert (tmp_path / str(seed)).read_bytes() == b"..."
    records = by_place(study)
    assert records[victim].state == "failed"
    assert records[victim].error == "its worker process ended 3 times: exit code 9"
    assert {r.state for place, r in records.items() if place != victim} == {"complete"}
    for place, r in plain.records.items():
        if place[0] == "coarse" and place != victim:
            assert records[place]._replace(metrics={}) == r._replace(metrics={})

    def fails(task: Task) -> Outcome:
        """A study in which just that trial fails."""
        alone = [dataclasses.replace(task, trials=(t,)) for t in task.trials]
        return tuple(
            failed_result(t.trials[0], records[victim].error or "") if t.trials[0].seed == seed else advance(t)[0]
            for t in alone
        )

    cases().run(plain.spec, plain.dataset, tmp_path / "other.db", Inline(run_task=fails))
    assert done(tmp_path / "small.db") == done(tmp_path / "other.db") != plain.table


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_trial_that_ends_a_worker_or_two(full: Given, tmp_path: Path, deaths: int) -> None:
    """Nothing has happened."""
    seeds = {seed_of(full.spec, place): deaths for place in VICTIMS}
    executor = Processes(2, str(tmp_path / "scratch"), partial(deadly, str(tmp_path), seeds))
    try:
        cases().run(full.spec, full.dataset, tmp_path / "small.db", executor)
    finally:
        executor.close()
    assert [(tmp_path / str(seed)).read_bytes() for seed in seeds] == [b"." * deaths] * 3
    assert done(tmp_path / "small.db") == full.table


def test_deaths_count_in_a_row(full: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that gets on between them may cost any number."""
    deaths: Counter[tuple[int, int]] = Counter()

    def dies(task: Task) -> bool:
        """Twice before each epoch."""
        places = [(t.seed, t.epochs) for t in task.trials]
        deaths.update(places)
        return any(deaths[place] <= 2 for place in places)

    monkeypatch.setattr("hpsearch.study.stage_run.TIME_SLICE", 0.0)
    executor = Mortal(dies)
    cases().run(full.spec, full.dataset, tmp_path / "small.db", executor)
    died = Counter(t.seed for task, outcome in executor.tasks if outcome is None for t in task.trials)
    assert max(died.values()) > 10
    assert done(tmp_path / "small.db") == full.table


def test_company_of_the_dead_goes_on_alone(plain: Given, tmp_path: Path) -> None:
    """So that whose fault it was shows: three trials that lose a worker together do not fail together."""
    executor = Mortal(lambda task: len(task.trials) > 1, workers=1)
    cases().run(plain.spec, plain.dataset, tmp_path / "small.db", executor)
    assert sum(outcome is None for _, outcome in executor.tasks) > 3
    assert done(tmp_path / "small.db") == plain.table


def test_a_worker_that_dies_while_the_best_is_trained_again(
    plain: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that were not kept, as of a study that was forked: two workers may die of it, not three."""
    from hpsearch.storage.study_tables import WeightsTable

    monkeypatch.setattr(WeightsTable, "load", lambda _: {})
    for deaths in (2, 3):
        left = [deaths]

        def dies(task: Task, left: list[int] = left) -> bool:
            again = task.seconds is None
            left[0] -= again
            return again and left[0] >= 0

        with cases().opened(plain.spec, plain.dataset, tmp_path / f"{deaths}.db", Mortal(dies)) as study:
            notes = [note for progress in study.run() for note in progress.notes]
            lost = "trained again for its weights: its worker process ended 3 times"
            assert any(lost in note for note in notes) == (deaths == 3)
    monkeypatch.undo()
    assert done(tmp_path / "2.db") == plain.table


# Half-way through.


def sane(task: Task) -> bool:
    """Whether a trial that goes on has a checkpoint and curves of the same epoch."""
    for t in task.trials:
        if t.epochs:
            assert t.checkpoint is not None and t.history is not None
            assert State.from_bytes(t.checkpoint).epoch == t.epochs == len(t.history["val/loss"])
    return False


def test_after_a_worker_a_trial_goes_on_from_its_checkpoint(
    full: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No epoch is trained twice but those that were lost: here none, every epoch being a slice."""
    seeds = {seed_of(full.spec, place): 2 for place in VICTIMS}

    def dies(task: Task) -> bool:
        """At epoch 2 or later, twice."""
        found = sane(task)
        for t in task.trials:
            if t.epochs >= 2 and seeds.get(t.seed):
                seeds[t.seed] -= 1
                found = True
        return found

    monkeypatch.setattr("hpsearch.study.stage_run.TIME_SLICE", 0.0)
    executor = Mortal(dies)
    cases().run(full.spec, full.dataset, tmp_path / "small.db", executor)
    assert set(seeds.values()) == {0}
    assert len(executor.trained) == len(set(executor.trained)) == epochs(full)
    assert done(tmp_path / "small.db") == full.table


@pytest.mark.parametrize("share", [0.0, 30.0], ids=["slices", "rungs"])
def test_after_a_coordinator_a_trial_goes_on_from_its_checkpoint(
    full: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """One after the other sees a few outcomes; what it had sent to workers and not seen is lost, nothing else."""
    monkeypatch.setattr("hpsearch.study.stage_run.TIME_SLICE", share)
    monkeypatch.setattr("hpsearch.study.stage_run.POLL_INTERVAL", 0.0)
    database, trained, going_on, lives, steps = tmp_path / "small.db", list[tuple[int, int, int]](), 0, 0, STEPS
    while steps == STEPS:
        executor, steps = Mortal(sane, held=True), 0
        with cases().opened(full.spec, full.dataset, database, executor) as study:
            running = study.run()
            while steps < STEPS and next(running, None) is not None:
                steps += 1
                if steps < STEPS:
                    executor.step()
            running.close()
        going_on += sum(t.epochs > 0 for task, _ in executor.tasks for t in task.trials)
        trained += executor.trained
        lives += 1
        assert lives < 100, "it does not get any further"
    assert lives > 5 and going_on > 10
    assert len(trained) == len(set(trained)) == epochs(full)
    assert done(database) == full.table


def test_checkpoints_are_stored_with_what_came(full: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every commit: of whoever came back at a rung or when its time was over, and of nobody who has finished."""
    import sqlalchemy as sa

    database, seen = tmp_path / "small.db", []
    query = """SELECT t.stage, t.number, c.epochs, t.state FROM hpsearch_trial t
               LEFT JOIN hpsearch_checkpoint c ON c.stage = t.stage AND c.number = t.number"""

    def look(_connection: Any) -> None:
        """What the commit before has written."""
        if rows(database, "SELECT 1 FROM sqlite_master WHERE name = 'hpsearch_checkpoint'"):
            seen.append({(s, n): (e, state) for s, n, e, state in rows(database, query)})

    executors = []
    sa.event.listen(sa.Engine, "commit", look)
    try:
        for name, share in (("rungs", 30.0), ("slices", 0.0)):
            monkeypatch.setattr("hpsearch.study.stage_run.TIME_SLICE", share)
            database = tmp_path / f"{name}.db"
            executors.append(cases().Held(lambda _: 0))
            outcomes: list[Outcome] = []
            with cases().opened(full.spec, full.dataset, database, executors[-1]) as study:
                executor = executors[-1]
                executor.submit = noted(executor.submit, outcomes)
                cases().drive(study, executor)
            with_result = [{r.number: r.epochs for r in outcome if r.state == "running"} for outcome in outcomes]
            for before, after in pairwise(seen):
                news = {n: e for (s, n), (e, _) in after.items() if e and (s, n) in before and before[s, n][0] != e}
                assert not news or news in with_result, f"{news} was not stored with its company"
                assert not [p for p, (e, state) in after.items() if e and state != "running"]
                went = [p for p, (e, state) in after.items() if state == "running" and p in before]
                assert all((after[p][0] or 0) >= (before[p][0] or 0) for p in went), "one was lost for a while"
            at = {e for snapshot in seen for e, _ in snapshot.values() if e}
            assert at == ({2, 4} if name == "rungs" else set(range(1, 8)))
            assert done(database) == full.table
            seen.clear()
    finally:
        sa.event.remove(sa.Engine, "commit", look)


def noted(submit: Callable[[Task], Future[Outcome]], outcomes: list[Outcome]) -> Callable[[Task], Future[Outcome]]:
    def submitted(task: Task) -> Future[Outcome]:
        future = submit(task)
        future.add_done_callback(lambda f: outcomes.append(f.result()))
        return future

    return submitted


# Trials that fail.


def test_an_exception_fails_its_trial_alone(plain: Given, tmp_path: Path) -> None:
    """In company too; the first line is kept."""
    sound = Mortal(workers=1)
    cases().run(plain.spec, plain.dataset, tmp_path / "sound.db", sound)
    victim = next(task for task, _ in sound.tasks if len(task.trials) > 1).trials[1]
    executor = Mortal(work=partial(faulty, (victim.seed,)), workers=1)
    records = by_place(cases().run(plain.spec, plain.dataset, tmp_path / "small.db", executor))
    place = ("coarse", victim.number)
    assert victim.seed == seed_of(plain.spec, place)
    assert [p for p, r in records.items() if r.state == "failed"] == [place]
    assert records[place].error == "ArithmeticError: no such number"
    for p, r in plain.records.items():
        if p[0] == "coarse" and p != place:
            assert records[p]._replace(metrics={}) == r._replace(metrics={})
    done(tmp_path / "small.db")


class Said(NamedTuple):
    code: int
    out: str
    err: str


Call = Callable[..., Said]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """The installed command's function in this process, with processes that train, and do what we say."""
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
    return Counter(state for (state,) in rows(database, "SELECT state FROM hpsearch_trial"))


def test_too_many_failures_end_the_study(plain: Given, call: Call, tmp_path: Path) -> None:
    """Everything that came is stored, and with more patience it goes on."""
    study, database = cases().write(tmp_path, max_failed=1), tmp_path / "small.db"
    seeds = tuple(seed_of(plain.spec, ("coarse", n)) for n in (0, 4, 5))
    work = partial(faulty, seeds)
    said = call("run", study, work=work)
    assert said.code == 1 and said.out == ""
    assert " trials have failed, and max_failed is 1 (coarse/0: ArithmeticError: no such number); raise it" in said.err
    assert said.err.startswith("error: ") and f"hpsearch resume {database}" in said.err
    before = states(database)
    assert before["failed"] in (2, 3) and before["complete"] > 0 and before["running"] > 0
    said = call("resume", database, work=work)  # trains nothing
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
    patient = cases().small(max_failed=3)
    cases().run(patient, plain.dataset, tmp_path / "other.db", Inline(run_task=work))
    assert done(database) == done(tmp_path / "other.db")


def test_failed_trials_are_trained_again(plain: Given, call: Call, tmp_path: Path) -> None:
    """Nobody was asked or judged after the last wave, so when its failures are mended nothing has ever happened."""
    study, database = cases().write(tmp_path), tmp_path / "small.db"
    seeds = tuple(seed_of(plain.spec, ("fine", n)) for n in (6, 8))
    assert call("run", study, work=partial(faulty, seeds)).code == 0
    assert states(database) == {"failed": 2, "complete": 22} and done(database) != plain.table
    said = call("resume", database, "--retry-failed")
    assert said.code == 0 and "2 failed trials to train again" in said.err
    assert done(database) == plain.table


class Killed(BaseException):
    pass


def test_killed_while_failures_are_forgotten(plain: Given, tmp_path: Path) -> None:
    """At each commit of it: they are tried again the next time somebody asks for it."""
    import sqlalchemy as sa

    from hpsearch.storage.sqlite_file import url_of
    from hpsearch.storage.study_db import StudyDatabase
    from hpsearch.study.start import retry_failed

    spec = cases().small(**{"stages.0.trials": 4, "stages.1.trials": 3, "train.epochs": 2})
    cases().run(spec, plain.dataset, tmp_path / "sound.db")
    seeds = tuple(seed_of(spec, ("fine", n)) for n in (0, 2))
    cases().run(spec, plain.dataset, tmp_path / "failed.db", Mortal(work=partial(faulty, seeds)))
    want = done(tmp_path / "sound.db")
    trial._train = trial.sound  # type: ignore[attr-defined]
    database, left = tmp_path, 0

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

    sa.event.listen(sa.Engine, "commit", commit)
    try:
        limit, through = 0, False
        while not through:
            limit += 1
            database = tmp_path / f"{limit}.db"  # each its own: the log of one that was killed may still be there
            shutil.copy(tmp_path / "failed.db", database)
            left = limit
            through = forget()
            left = 0
            cases().run(spec, plain.dataset, database)  # by somebody who does not ask for it
            assert forget()
            cases().run(spec, plain.dataset, database)
            assert done(database) == want, f"commit {limit}"
    finally:
        sa.event.remove(sa.Engine, "commit", commit)
    assert limit == 7  # five of Optuna's and one of ours


def test_workers_that_cannot_be_started(call: Call, tmp_path: Path) -> None:
    study, database = cases().write(tmp_path), tmp_path / "small.db"
    said = call("run", study, work=Lethal())
    assert said.code == 1 and said.out == ""
    assert said.err.startswith("error: workers cannot be started, 3 times in a row: exit code 7;")
    assert f"Go on with: hpsearch resume {database}" in said.err
    assert call("resume", database).code == 0

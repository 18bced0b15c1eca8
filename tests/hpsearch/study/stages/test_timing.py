"""Timeouts of stages: no trial begins any more; the table is the beginning of that without a timeout, and stays so."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import pytest

from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.errors import Interrupted
from hpsearch.storage.records import StoredStage, Trial
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.study.loop import Study
from hpsearch.study.stages import timing
from hpsearch.study.stages.run import StageRun
from hpsearch.training.executors import Inline
from hpsearch.training.task import Task
from tests.hpsearch import test_cli

call = test_cli.call  # a fixture


class Clock:
    """Advances by a second with each trial that trains."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def work(self, task: Task) -> Any:
        self.now += len(task.trials)
        return Inline().run_task(task)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the clock of the loop."""
    found = Clock()
    monkeypatch.setattr(timing, "time", found)
    return found


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    small = cases.small()
    return prepare(small.data, small.seed, tmp_path_factory.mktemp("data"))[0]


# The small study: the first stage has fifteen trials on three virtual workers; the second zooms on its finished trials.
CHANGES: dict[str, Any] = {"train.epochs": 2, "stages.1.trials": 6}


def timed(seconds: float | str | None) -> Spec:
    return cases.small(**CHANGES, **({"stages.0.timeout": seconds} if seconds is not None else {}))


@pytest.fixture(scope="module")
def untimed(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return cases.run(timed(None), dataset, tmp_path_factory.mktemp("untimed") / "small.db")


def bare(records: list[Trial]) -> list[Trial]:
    """Return the trials without times and test scores."""
    return [
        r._replace(
            seconds=0.0, finished=0.0, metrics={k: v for k, v in r.metrics.items() if k[:4] not in ("test", "fit/")}
        )
        for r in records
    ]


def watched(spec: Spec, dataset: Dataset, database: Path, executor: Any) -> tuple[Study, list[str]]:
    """Run the study to its end; return it and its notes."""
    notes: list[str] = []
    with cases.opened(spec, dataset, database, executor) as study:
        for progress in study.run():
            notes += progress.notes
            assert progress.finished + progress.running <= progress.total
        assert progress.finished == progress.total
    return study, [n for n in notes if "time limit reached" in n]


def stages(database: Path) -> dict[str, StoredStage]:
    storage = StudyDatabase.open(url_of(str(database)), create=False)
    try:
        return storage.stages.load()
    finally:
        storage.close()


# A trial takes a second, and two are in flight at once: timeout → trials of the stage at its end.
@pytest.mark.parametrize(("seconds", "trials"), [(0.5, 3), (3.5, 6), (9.5, 11), (14.5, 15)])
def test_a_stage_ends_with_the_trials_that_have_begun(
    dataset: Dataset, untimed: Study, clock: Clock, tmp_path: Path, seconds: float, trials: int
) -> None:
    """Its table equals the beginning of that without a timeout to the bit, and the next stage uses it."""
    study, notes = watched(timed(seconds), dataset, tmp_path / "a.db", Inline(run_task=clock.work))
    assert len(study.trials[0]) == trials and study.totals == [trials, 6]
    assert bare(study.trials[0]) == bare(untimed.trials[0][:trials])
    assert [len(study.trials[1])] == [6] and study.best is not None
    assert notes == ([] if trials == 15 else [f"coarse: time limit reached after {trials} of 15 trials"])
    assert stages(tmp_path / "a.db")["coarse"].ended == (None if trials == 15 else trials)
    if trials == 15:
        assert bare(study.trials[1]) == bare(untimed.trials[1])
        return
    shorter = cases.run(cases.small(**CHANGES, **{"stages.0.trials": trials}), dataset, tmp_path / "b.db")
    assert bare(study.trials[1]) == bare(shorter.trials[1]), "equals that of a study with this number of trials"
    assert study.boxes == shorter.boxes


def test_resuming_does_not_extend_it(dataset: Dataset, clock: Clock, tmp_path: Path) -> None:
    """However often it is resumed, no trial trains."""
    watched(timed(3.5), dataset, tmp_path / "a.db", Inline(run_task=clock.work))
    before = cases.table(tmp_path / "a.db")
    for _ in range(2):
        clock.now += 1e6
        _, notes = watched(timed(3.5), dataset, tmp_path / "a.db", cases.HeldExecutor(lambda _: 0))
        assert notes == [] and cases.table(tmp_path / "a.db") == before


@pytest.mark.parametrize(("limits", "trials"), [((1, 2), 6), ((2, 4, 5), 6)])
def test_time_is_counted_over_restarts(
    dataset: Dataset, untimed: Study, clock: Clock, tmp_path: Path, limits: tuple[int, ...], trials: int
) -> None:
    """Used time stays used; time without a running process does not count."""
    spec, database = timed(4.5), tmp_path / "a.db"
    for limit in limits:
        tracker, finished = cases.LimitTracker(limit), 0
        with (
            pytest.raises(Interrupted),
            cases.opened(spec, dataset, database, Single(clock), tracker=tracker, stop=tracker.stop) as study,
        ):
            for progress in study.run():
                finished = progress.finished
        assert finished < 12
        clock.now += 1e6
    study, _ = watched(spec, dataset, database, Inline(run_task=clock.work))
    assert trials <= len(study.trials[0]) <= trials + 3
    assert bare(study.trials[0]) == bare(untimed.trials[0][: len(study.trials[0])])
    assert 4.5 < stages(database)["coarse"].seconds < 15


def test_time_of_suggesting_counts(
    dataset: Dataset, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also time without training, while trials are suggested: resuming does not extend the stage."""
    sound, delays = StageRun._add_next, [100.0]

    def slow(self: StageRun) -> None:
        sound(self)
        clock.now += delays.pop() if len(self._trials) == 4 and delays else 0.0

    monkeypatch.setattr(StageRun, "_add_next", slow)
    _, notes = watched(timed(20.0), dataset, tmp_path / "a.db", Single(clock))
    assert notes == ["coarse: time limit reached after 6 of 15 trials"]
    before = cases.table(tmp_path / "a.db")
    watched(timed(20.0), dataset, tmp_path / "a.db", Single(clock))
    assert cases.table(tmp_path / "a.db") == before


class Single:
    """Trains every trial by itself."""

    workers = 10_000

    def __init__(self, clock: Clock) -> None:
        self._inline = Inline(run_task=clock.work)
        self.submit: Callable[[Task], Any] = self._inline.submit

    def notes(self) -> list[str]:
        return []

    def close(self) -> None:
        return


def test_through_the_commands(call: Any, clock: Clock, tmp_path: Path) -> None:
    """The note is printed; a longer timeout continues the stage; a shorter one removes no trial."""
    executor = Inline(run_task=clock.work)

    def run(timeout: str | None, name: str = "small.db", **others: Any) -> Any:
        stage = {"name": "coarse", "trials": 15, **({"timeout": timeout} if timeout else {})}
        file = cases.write(tmp_path, **{"train.epochs": 2, "stages": [stage], **others})
        return call("run", file, "--tracking-uri", "none", "--storage", name, executor=lambda *_: executor)

    def trials(name: str = "small.db") -> list[tuple[Any, ...]]:
        content = json.loads(call("show", tmp_path / name, "--json").out)
        (stage,) = content["stages"]
        assert stage["trials"] == stage["finished"] == len(content["trials"])
        return [(t["params"], t["value"]) for t in content["trials"]]

    assert run(None, "whole.db").code == 0
    whole = trials("whole.db")
    said = run("3.5s")
    assert said.code == 0 and "note: coarse: time limit reached after 6 of 15 trials\n" in said.err
    assert trials() == whole[:6]
    assert "6/6" in call("show", tmp_path / "small.db").out
    assert call("resume", tmp_path / "small.db", "--tracking-uri", "none").err == ""
    assert trials() == whole[:6]
    said = run("9.5s")
    assert said.code == 0 and "stages.coarse.timeout: 3.5 → 9.5" in said.err
    assert "time limit reached after 11 of 15 trials" in said.err
    assert trials() == whole[:11]
    said = run("1s")
    assert said.code == 0 and "stages.coarse.timeout: 9.5 → 1.0" in said.err
    assert trials() == whole[:11]
    assert run(None).code == 0 and trials() == whole
    assert stages(tmp_path / "small.db")["coarse"].ended is None

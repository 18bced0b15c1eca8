"""Sessions: a study gets its executor and tracker by name or from a function, and nothing is computed twice."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import cases
import pytest

from hpsearch.config import load, references
from hpsearch.config.spec import Spec
from hpsearch.errors import StorageError
from hpsearch.storage.records import Baseline, Trial
from hpsearch.storage.sqlite_file import url_of
from hpsearch.study.session import Options, Session
from hpsearch.tracking import BackgroundTracker, StudyInfo
from hpsearch.training.executors import Inline
from hpsearch.training.task import Outcome, Task

SHORT_CHANGES: dict[str, Any] = {"train.epochs": 2, "stages.0.trials": 4, "stages.1.trials": 3}
SPEC = cases.small(**SHORT_CHANGES)
INLINE = Options(None, "none", executor="inline")


def run(spec: Spec | None, database: Path, options: Options = INLINE) -> Session:
    with Session(spec, url_of(str(database)), options) as session:
        for _ in session.run():
            pass
        session.summary()
    return session


class Recorder:
    """A tracker, in a process of its own, that appends the names of its calls to the file that its URI names."""

    def __init__(self, uri: str) -> None:
        self._file = Path(uri)

    def _note(self, call: str) -> None:
        with self._file.open("a") as file:
            file.write(f"{call}\n")

    def start_study(self, study: StudyInfo) -> None:
        self._note("start_study")

    def log_trial(self, trial: Trial) -> None:
        self._note("log_trial")

    def finish_study(
        self,
        ranking: list[Trial],
        model: Path | None,
        baselines: Sequence[Baseline] = (),
        ensemble: Path | None = None,
    ) -> None:
        assert ranking and model is not None and (model / "model.json").exists()
        self._note("finish_study")
        if ensemble is not None and (ensemble / "model.json").exists():
            self._note("ensemble")

    def close(self, seconds: float) -> str | None:
        return None


def test_mlflow_s_file_is_not_the_study_s(tmp_path: Path) -> None:
    database = tmp_path / "small.db"
    with pytest.raises(StorageError, match="name two databases"):
        run(SPEC, database, INLINE._replace(tracking=url_of(str(database))))
    assert list(tmp_path.iterdir()) == []


def test_executor_and_tracker_are_handed_in(tmp_path: Path) -> None:
    """By functions that make them; the executor gets the number of workers and a folder that exists."""
    made: list[tuple[int, bool]] = []

    def executor(workers: int, folder: str) -> Inline:
        made.append((workers, Path(folder).is_dir()))
        return Inline()

    session = run(SPEC, tmp_path / "a.db", Options(3, str(tmp_path / "calls"), executor=executor, tracker=Recorder))
    assert made == [(3, True)] and session.untracked is None
    calls = Counter((tmp_path / "calls").read_text().split())
    assert calls == {"start_study": 1, "log_trial": 7, "finish_study": 1}
    run(SPEC, tmp_path / "b.db")
    assert cases.table(tmp_path / "a.db") == cases.table(tmp_path / "b.db")


def test_the_tracker_gets_the_ensemble(tmp_path: Path) -> None:
    """A summary of the closed session has it too."""
    spec = SPEC.model_copy(update={"ensemble": cases.small(ensemble={"size": 2}).ensemble})
    session = run(spec, tmp_path / "a.db", Options(1, str(tmp_path / "calls"), executor="inline", tracker=Recorder))
    assert (tmp_path / "calls").read_text().split()[-2:] == ["finish_study", "ensemble"]
    assert session.summary().ensemble is not None


def test_tracker_starts_after_the_first_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers have tasks before the tracker opens its store, which would delay them; nothing is lost."""
    events: list[str] = []

    class Noted:
        """Trains inline."""

        workers = 2

        def __init__(self) -> None:
            self._inline = Inline()

        def submit(self, task: Task) -> Future[Outcome]:
            events.append("task")
            return self._inline.submit(task)

        def notes(self) -> list[str]:
            return []

        def close(self) -> None:
            return

    start = BackgroundTracker.start_study

    def noted(self: BackgroundTracker, study: StudyInfo) -> None:
        events.append("tracker")
        start(self, study)

    monkeypatch.setattr(BackgroundTracker, "start_study", noted)
    options = Options(1, str(tmp_path / "calls"), executor=lambda workers, folder: Noted(), tracker=Recorder)
    run(SPEC, tmp_path / "a.db", options)
    assert events[0] == "task" and events.count("tracker") == 1
    events.clear()
    run(SPEC, tmp_path / "a.db", options)  # all trials are finished: they are sent before the tracker starts
    assert events == ["tracker"]
    calls = (tmp_path / "calls").read_text().split()
    assert calls == ["start_study", *["log_trial"] * 7, "finish_study"] * 2


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """The number of calls that restore a stored spec or build a search space, in the modules that a session uses."""
    found: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            found[name] += 1
            return function(*arguments)

        return call

    for name, function in (("restore_spec", load.restore_spec), ("search_space", references.search_space)):
        wrapper = counted(name, function)
        for module in ("config.load", "config.references", "study.session", "study.summary", "study.fork"):
            if hasattr(__import__(f"hpsearch.{module}", fromlist=["_"]), name):
                monkeypatch.setattr(f"hpsearch.{module}.{name}", wrapper)
    yield found


def test_nothing_is_computed_twice(counts: Counter[str], tmp_path: Path) -> None:
    """A new study builds its space once; a resumed one restores the stored spec once, and a fork its parent's."""
    database, parent = tmp_path / "small.db", url_of(str(tmp_path / "small.db"))
    run(SPEC, database)
    assert counts == {"search_space": 1}
    counts.clear()
    run(None, database)
    assert counts == {"restore_spec": 1, "search_space": 1}
    counts.clear()
    run(SPEC, database)
    assert counts == {"restore_spec": 1, "search_space": 1}
    counts.clear()
    forked = SPEC.model_copy(update={"name": "other"})
    run(forked, tmp_path / "other.db", INLINE._replace(parent=parent))
    assert counts == {"restore_spec": 1, "search_space": 2}, "its own space and its parent's"


def test_a_summary_of_a_closed_session_opens_no_connection(tmp_path: Path) -> None:
    """It would keep SQLite's log beside the file."""
    spec = cases.small(**{**SHORT_CHANGES, "ensemble": {"size": 2}})
    session = run(spec, tmp_path / "small.db")
    assert session.summary().ensemble is not None
    assert not list(tmp_path.glob("small.db-*"))

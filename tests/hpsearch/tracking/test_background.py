"""A tracker in a child process: a store that does not work fails no study."""

import errno
import json
import multiprocessing
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import cases
import pytest

from hpsearch.core.resources import ResourceExhausted
from hpsearch.storage.records import Baseline, Trial
from hpsearch.tracking import PREPARATIONS, TRACKERS, BackgroundTracker, StudyInfo
from tests.hpsearch.tracking.mlflow.mlflow_cases import STATES, STUDY, counts, versions
from tests.hpsearch.tracking.mlflow.test_tracker import hpsearch

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
]


class Listed:
    """A tracker that appends its calls to the file that its URI names."""

    def __init__(self, uri: str) -> None:
        self._file = Path(uri)

    def start_study(self, _study: StudyInfo) -> None:
        note("start_study", self._file)

    def log_trial(self, _trial: Trial) -> None:
        note("log_trial", self._file)

    def finish_study(
        self, _ranking: list[Trial], _model: Path | None, _baselines: Sequence[Baseline], _ensemble: Path | None
    ) -> None:
        note("finish_study", self._file)

    def close(self, _seconds: float) -> str | None:
        note("close", self._file)
        return None


def note(call: str, file: Path) -> None:
    with file.open("a") as lines:
        lines.write(f"{call}\n")


def prepare(uri: str) -> None:
    note("prepare", Path(uri))


def fail(uri: str) -> None:
    prepare(uri)
    raise ImportError


def calls_once(file: Path, count: int) -> list[str]:
    """Wait for a number of calls, and return all calls."""
    limit = time.monotonic() + 30
    while not file.exists() or len(file.read_text().split()) < count:
        assert time.monotonic() < limit
        time.sleep(0.01)
    return file.read_text().split()


@pytest.mark.parametrize("preparation", [prepare, fail, None])
def test_the_process_prepares_itself_before_the_study_begins(
    tmp_path: Path, preparation: Callable[[str], None] | None
) -> None:
    """The tracker is made when the study begins, even if the preparation fails."""
    file = tmp_path / "calls"
    tracker = BackgroundTracker("Listed", Listed, str(file), str(tmp_path / "scratch"), bool, preparation)
    tracker.open()
    before = [] if preparation is None else ["prepare"]
    if before:
        assert calls_once(file, 1) == before
    tracker.log_trial(STATES[0])
    tracker.start_study(STUDY)
    tracker.finish_study(STATES[:1], None)
    assert tracker.close(30) is None
    assert file.read_text().split() == [*before, "start_study", "log_trial", "finish_study", "close"]


def test_the_process_of_a_study_that_never_begins_ends(tmp_path: Path) -> None:
    """Without having made the tracker."""
    file, before = tmp_path / "calls", set(multiprocessing.active_children())
    tracker = BackgroundTracker("Listed", Listed, str(file), str(tmp_path / "scratch"), bool, prepare)
    tracker.open()
    calls_once(file, 1)
    assert set(multiprocessing.active_children()) - before
    assert tracker.close(30) is None
    assert file.read_text().split() == ["prepare"] and set(multiprocessing.active_children()) == before


def test_a_process_that_cannot_start_ends_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one line about the shortage."""

    def no_process(_self: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    tracker = BackgroundTracker("Listed", Listed, str(tmp_path / "calls"), str(tmp_path / "scratch"), bool)
    monkeypatch.setattr(type(tracker._process), "start", no_process)
    tracker.open()
    with pytest.raises(ResourceExhausted, match="the process for Listed cannot be started: "):
        tracker.start_study(STUDY)
    assert tracker.close(30) is None


def test_imports_open_no_store(tmp_path: Path) -> None:
    """What MLflow needs is imported before the study's data are read; no file is made."""
    PREPARATIONS["mlflow"](f"sqlite:///{tmp_path}/a/mlflow.db")
    assert {"mlflow", "mlflow.store.tracking.sqlalchemy_store"} <= sys.modules.keys()
    assert list(tmp_path.iterdir()) == [] and PREPARATIONS.keys() == TRACKERS.keys()


SHORT: dict[str, Any] = {"train.epochs": 2, "stages.0.trials": 3, "stages.1.trials": 1}


def unusable(folder: Path, how: str) -> Path:
    """Return a path where MLflow cannot store anything."""
    path = folder / "place" / "mlflow.db"
    if how == "a file for a folder":
        path.parent.write_text("in the way")
        return path
    path.parent.mkdir()
    if how == "text":
        path.write_text("This is no database, but it is longer than a header. " * 99)
    elif how == "another program's":
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
            connection.execute("INSERT INTO alembic_version VALUES ('none of yours')")
            connection.commit()
    elif how == "a folder for a file":
        path.mkdir()
    return path


@pytest.mark.crash
@pytest.mark.parametrize(
    "how",
    [
        "another program's",
        *(pytest.param(how, marks=pytest.mark.soak) for how in ("text", "a file for a folder", "a folder for a file")),
    ],
)
def test_broken_tracking_fails_no_study(tmp_path: Path, how: str) -> None:
    """A study gives a warning, exit code 0 and all its trials; the next run uploads what is missing."""
    study, place = cases.write(tmp_path, **SHORT), unusable(tmp_path, how)
    command = ("run", study, "--quiet", "--tracking-uri", f"sqlite:///{place}")
    process = hpsearch(tmp_path, *command, timeout=100)  # MLflow alone retries for hundreds of seconds
    assert process.returncode == 0, process
    assert "warning: " in process.stderr and "Traceback" not in process.stderr
    assert "4 of 4 trials not uploaded (" in process.stderr and "small.db --tracking-uri" in process.stderr
    shown = json.loads(hpsearch(tmp_path, "show", "small.db", "--json").stdout)
    assert [t["state"] for t in shown["trials"]] == ["complete"] * 4
    if how == "text":
        place.unlink()
        process = hpsearch(tmp_path, "run", study, "--quiet", "--tracking-uri", f"sqlite:///{place}")
        assert process.returncode == 0 and "warning" not in process.stderr, process
        assert counts(place)["runs"] == 4


@pytest.mark.crash
def test_settings_of_a_user_s_own_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another store, run and backend of plots, and warnings as errors: the study is in its own store, and complete."""
    settings = {
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        "MLFLOW_REGISTRY_URI": "http://127.0.0.1:9",
        "MLFLOW_RUN_ID": "0" * 32,
        "MLFLOW_EXPERIMENT_NAME": "another",
        "MLFLOW_ENABLE_ASYNC_LOGGING": "true",
        "MPLBACKEND": "no backend",
        "PYTHONWARNINGS": "error::UserWarning",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    place = tmp_path / "mlflow.db"
    process = hpsearch(tmp_path, "run", cases.write(tmp_path, **SHORT), "--tracking-uri", f"sqlite:///{place}")
    assert process.returncode == 0 and "warning" not in process.stderr, process
    assert counts(place)["runs"] == 4
    for name in settings:
        monkeypatch.delenv(name)
    assert [(v.name, v.alias) for v in versions(place)] == [("small", "champion")]

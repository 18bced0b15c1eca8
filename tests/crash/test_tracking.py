"""Whatever fails in MLflow during a study, the study ends normally and `sync` completes its runs."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlparse

import cases
import pytest

from hpsearch.admin.sync import sync
from hpsearch.core.files import file_lock
from hpsearch.data.dataset import prepare
from hpsearch.errors import Interrupted, StorageError, TrackingError
from hpsearch.storage.study_tables import StudyTable
from hpsearch.tracking.mlflow.tracker import MlflowTracker

pytestmark = [
    pytest.mark.crash,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc"),
]

SECRET = "hunter-22"
COMMAND = [sys.executable, "-m", "hpsearch"]
# with trials that diverge
SHORT: dict[str, Any] = {
    "train.epochs": 3,
    "stages.0.trials": 7,
    "stages.1.trials": 3,
    "parameters.learning_rate.max": 1e16,
}
TRIALS = 10
LONG: dict[str, Any] = {**SHORT, "stages.0.trials": 24}  # long enough to interrupt between two runs


def uri_of(database: Path) -> str:
    return f"sqlite:///{database}"


def start(folder: Path, *arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def begin(folder: Path, uri: str, changes: dict[str, Any] = SHORT, **environment: str) -> subprocess.Popen[str]:
    return start(folder, "run", cases.write(folder, **changes), "--tracking-uri", uri, **environment)


def ended(process: subprocess.Popen[str]) -> str:
    """Wait for a study and return its warnings; the limit is for a study that hangs."""
    out, errors = process.communicate(timeout=110)
    assert process.returncode == 0, errors
    assert "Best: " in out and "Database: " in out and SECRET not in out + errors
    lines = [line for line in errors.splitlines() if not line.startswith("note: ")]
    assert len(lines) <= 1, errors
    return "".join(lines)


def projection(database: Path) -> dict[str, Any]:
    """Return everything that MLflow has of a study but times and ids, by trial; no run may be open or exist twice."""
    result: dict[str, Any] = {}
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        query = "SELECT run_uuid, name, status, start_time, end_time, artifact_uri FROM runs WHERE lifecycle_stage = ?"
        for run, name, status, first, last, place in connection.execute(query, ["active"]):

            def rows(query: str, run: str = run) -> list[Any]:
                return sorted(connection.execute(query, [run]).fetchall())

            tags = dict(rows("SELECT key, value FROM tags WHERE run_uuid = ?"))
            label = tags["hpsearch.trial"]
            assert label == name and label not in result and status != "RUNNING"
            times = [t for (t,) in rows("SELECT timestamp FROM metrics WHERE run_uuid = ?")]
            assert all(first <= t <= last for t in times)
            folder = Path(unquote(urlparse(place).path))
            result[label] = {
                "status": status,
                "tags": tags,
                "params": rows("SELECT key, value FROM params WHERE run_uuid = ?"),
                "metrics": rows("SELECT key, step, is_nan, value FROM metrics WHERE run_uuid = ? AND key != 'seconds'"),
                "latest": rows("SELECT key, step, value FROM latest_metrics WHERE run_uuid = ? AND key != 'seconds'"),
                "artifacts": sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()),
                "history": (folder / "history.json").read_text("utf-8"),
                "registered": cases.registered(connection, run),
            }
        (versions,) = connection.execute("SELECT count(*) FROM model_versions").fetchone()
        assert versions == sum(len(run["registered"]) for run in result.values()) <= 1
        for (value,) in connection.execute("SELECT value FROM experiment_tags UNION ALL SELECT value FROM tags"):
            assert SECRET not in value
    return result


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a new database, whose migrations take seconds."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    assert MlflowTracker(uri_of(path)).close(9) is None
    return path


@pytest.fixture
def place(template: Path, tmp_path: Path) -> Path:
    (tmp_path / "mlruns").mkdir()
    return Path(shutil.copy(template, tmp_path / "mlruns" / "mlflow.db"))


class Reference(NamedTuple):
    """A study that was not interrupted, and its runs."""

    folder: Path
    runs: dict[str, Any]


def run_reference(template: Path, folder: Path, changes: dict[str, Any]) -> Reference:
    (folder / "mlruns").mkdir()
    database = Path(shutil.copy(template, folder / "mlruns" / "mlflow.db"))
    assert ended(begin(folder, uri_of(database), changes)) == ""
    return Reference(folder, projection(database))


@pytest.fixture(scope="module")
def short(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    found = run_reference(template, tmp_path_factory.mktemp("short"), SHORT)
    assert len(found.runs) == TRIALS
    assert {run["status"] for run in found.runs.values()} == {"FINISHED", "FAILED"}
    ((label, registered),) = [(label, run["registered"]) for label, run in found.runs.items() if run["registered"]]
    assert {"model/weights.npz", "model/MLmodel"} <= set(found.runs[label]["artifacts"])
    ((name, version, tags, aliases),) = registered
    assert (name, version, tags["hpsearch.trial"], aliases) == ("small", 1, label, ["champion"])
    return found


@pytest.fixture(scope="module")
def long(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return run_reference(template, tmp_path_factory.mktemp("long"), LONG)


# ── faults of the tracking store ──────────────────────────────────────────────────────────────────────────────────
@contextlib.contextmanager
def locked(place: Path) -> Iterator[str]:
    """Lock the database from another process, without the write-ahead log, which would allow reading."""
    with closing(sqlite3.connect(place, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("BEGIN EXCLUSIVE")
        yield uri_of(place)


@contextlib.contextmanager
def locked_to_writers(place: Path) -> Iterator[str]:
    with closing(sqlite3.connect(place, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield uri_of(place)


@contextlib.contextmanager
def random_bytes(place: Path) -> Iterator[str]:
    place.write_bytes(os.urandom(50_000))
    yield from unchanged(place)


@contextlib.contextmanager
def truncated(place: Path) -> Iterator[str]:
    os.truncate(place, place.stat().st_size // 2)
    yield from unchanged(place)


@contextlib.contextmanager
def of_another_program(place: Path) -> Iterator[str]:
    place.unlink()
    with closing(sqlite3.connect(place)) as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
        connection.commit()
    yield from unchanged(place)


def unchanged(place: Path) -> Iterator[str]:
    """Yield the URI of the database; then check that the file is not overwritten."""
    before = place.read_bytes()
    yield uri_of(place)
    assert place.read_bytes() == before
    place.rename(place.with_suffix(".away"))


@contextlib.contextmanager
def unwritable(place: Path) -> Iterator[str]:
    yield "sqlite:////proc/hpsearch/mlflow.db"


@contextlib.contextmanager
def no_server(place: Path) -> Iterator[str]:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"http://user:{SECRET}@127.0.0.1:{reserved.getsockname()[1]}"


@contextlib.contextmanager
def never_answers(place: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    held.append(server.accept()[0])

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"http://user:{SECRET}@127.0.0.1:{server.getsockname()[1]}"
        assert held
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in held:
            connection.close()


FAULTS: dict[Callable[[Path], contextlib.AbstractContextManager[str]], str] = {
    locked: "locked",
    locked_to_writers: "locked",
    random_bytes: "is not a database",
    truncated: "is damaged",
    of_another_program: "of another program",
    unwritable: "/proc/hpsearch",
    no_server: "refused",
    never_answers: "does not answer",
}


QUICK = (locked, random_bytes, truncated, never_answers)


@pytest.mark.parametrize(
    "fault",
    [pytest.param(f, marks=[] if f in QUICK else pytest.mark.soak, id=f.__name__) for f in FAULTS],  # type: ignore[attr-defined]
)
def test_fails_no_study(
    fault: Callable[[Path], contextlib.AbstractContextManager[str]], tmp_path: Path, place: Path, short: Reference
) -> None:
    """Exit code 0, the usual output, and one warning: what is missing, why, and the command that uploads it."""
    database = tmp_path / "small.db"
    with fault(place) as uri:
        line = ended(begin(tmp_path, uri, MLFLOW_HTTP_REQUEST_TIMEOUT="1"))
        assert line.startswith(f"warning: MLflow: {TRIALS} of {TRIALS} trials not uploaded (")
        assert FAULTS[fault] in line
        command = shlex.split(line[line.index("hpsearch sync") :])
        assert command == ["hpsearch", "sync", str(database), "--tracking-uri", uri.replace(SECRET, "***")]
        if fault is random_bytes:
            with pytest.raises(TrackingError, match=r"10 of 10 trials not uploaded \(.*is not a database"):
                sync(uri_of(database), uri)
    report = sync(uri_of(database), uri_of(place))
    assert report == ((TRIALS, 0, 0), ())
    assert projection(place) == short.runs


def await_runs(process: subprocess.Popen[str], place: Path, count: int) -> None:
    """Wait until MLflow has `count` runs."""
    while process.poll() is None:
        with contextlib.suppress(sqlite3.OperationalError), closing(sqlite3.connect(place)) as connection:
            if connection.execute("SELECT count(*) FROM runs").fetchone()[0] >= count:
                return
        time.sleep(0.002)
    raise AssertionError(f"the study ended too early: {process.communicate()}")


def process_with_open(place: Path) -> int:
    """Return the id of the one process that has a file open."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(link) == str(place) and int(link.parts[2]) != os.getpid():
                found.add(int(link.parts[2]))
    (pid,) = found
    return pid


def test_deleted_during_a_study(tmp_path: Path, place: Path, long: Reference) -> None:
    """SQLite keeps writing to a deleted file; the trials uploaded before are missing too."""
    process = begin(tmp_path, uri_of(place), LONG)
    await_runs(process, place, 2)
    tracker = process_with_open(place)
    os.kill(tracker, signal.SIGSTOP)
    for file in (
        place,
        place.with_name("mlflow.db-shm"),
    ):  # the log stays and must not be replayed into another database
        file.unlink()
    os.kill(tracker, signal.SIGCONT)
    line = ended(process)
    assert "27 of 27 trials not uploaded" in line and "deleted" in line and not place.exists()
    assert ended(start(tmp_path, "resume", "small.db", "--tracking-uri", uri_of(place))) == ""  # uploads them
    assert projection(place) == long.runs


def test_tracker_killed(tmp_path: Path, place: Path, long: Reference) -> None:
    process = begin(tmp_path, uri_of(place), LONG)
    await_runs(process, place, 3)
    os.kill(process_with_open(place), signal.SIGKILL)
    line = ended(process)
    sent = 27 - int(re.findall(r"(\d+) of 27 trials not uploaded", line)[0])
    assert 2 <= sent < 27 and "-9" in line
    report = sync(uri_of(tmp_path / "small.db"), uri_of(place))
    uploaded, closed, unchanged = report.runs
    assert (unchanged, uploaded + closed) in [(sent, 27 - sent), (sent + 1, 26 - sent)]
    assert closed <= 1  # the run that was being uploaded
    assert projection(place) == long.runs
    assert sync(uri_of(tmp_path / "small.db"), uri_of(place)) == ((0, 0, 27), ())


def test_coordinator_killed(tmp_path: Path, place: Path, long: Reference) -> None:
    process = begin(tmp_path, uri_of(place), LONG)
    for count in (1, 9):
        await_runs(process, place, count)
        process.kill()
        process.communicate()
        process = start(tmp_path, "resume", "small.db", "--tracking-uri", uri_of(place))
    assert ended(process) == ""
    assert projection(place) == long.runs


def test_unfinished_study_is_synced(tmp_path: Path, place: Path) -> None:
    """Its finished trials are uploaded, without a champion; a running study is refused."""
    spec, database = cases.small(**SHORT), tmp_path / "small.db"
    dataset, _ = prepare(spec.data, spec.seed, tmp_path)
    limit = cases.LimitTracker(4)
    with pytest.raises(Interrupted):
        cases.run(spec, dataset, database, tracker=limit, stop=limit.stop)
    report = sync(uri_of(database), uri_of(place))
    runs = projection(place)
    assert report == ((len(runs), 0, 0), ()) and 4 <= len(runs) < TRIALS
    assert not any("hpsearch.champion" in run["tags"] for run in runs.values())
    with file_lock.locked(database), pytest.raises(StorageError, match="run"):
        sync(uri_of(database), uri_of(place))


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "not stored"])
def test_unreadable_data(stored: bool, tmp_path: Path, place: Path, short: Reference, monkeypatch: Any) -> None:
    """The model is made from the study database; without the stored data the runs are uploaded without it."""
    if not stored:
        monkeypatch.setattr(StudyTable, "prepared", lambda self: [])
    report = sync(uri_of(short.folder / "small.db"), uri_of(place))
    runs = projection(place)
    if stored:
        assert report == ((TRIALS, 0, 0), ()) and runs == short.runs
        return
    assert report.runs == (TRIALS, 0, 0) and "contains no preprocessing, which the model needs" in report.notices[0]
    (best,) = [label for label, run in runs.items() if "hpsearch.champion" in run["tags"]]
    assert not runs[best]["registered"] and not any(name.startswith("model/") for name in runs[best]["artifacts"])
    want = {**short.runs[best], "registered": []}
    want["artifacts"] = [name for name in want["artifacts"] if not name.startswith("model/")]
    assert runs == {**short.runs, best: want}


def test_command(tmp_path: Path, place: Path, short: Reference) -> None:
    def run_sync(*arguments: str | Path) -> tuple[int, str, str]:
        process = start(tmp_path, "sync", short.folder / "small.db", *arguments)
        out, errors = process.communicate(timeout=100)
        return process.returncode, out, errors

    assert run_sync() == (
        0,
        f"{TRIALS} runs uploaded, 0 unfinished runs closed, 0 runs unchanged\n",
        "",
    )  # the default place
    place.write_bytes(os.urandom(5000))
    code, out, errors = run_sync("--tracking-uri", uri_of(place))
    assert (code, out) == (2, "") and errors.startswith("error: MLflow: 10 of 10 trials not uploaded (its database")
    assert errors.count("\n") == 1


def labels(database: Path, query: str) -> set[str]:
    """Return the labels in a database; none while it is being created."""
    with contextlib.suppress(sqlite3.OperationalError), closing(sqlite3.connect(database)) as connection:
        return {label for (label,) in connection.execute(query)}
    return set()


LIVE: dict[str, Any] = {"train.epochs": 400, "train.early_stopping": None, "stages.0.trials": 60, "stages.1.trials": 12}


def test_live(tmp_path: Path, place: Path) -> None:
    """While a study runs, a finished trial appears in MLflow within five seconds."""
    process = begin(tmp_path, uri_of(place), LIVE)
    stored: dict[str, float] = {}
    sent: dict[str, float] = {}
    stages = "substr(s.study_name, instr(s.study_name, '/') + 1)"
    finished = f"""SELECT {stages} || '/' || t.number FROM trials t JOIN studies s USING (study_id)
        WHERE t.state != 'RUNNING' AND t.state != 'WAITING'"""
    ended_runs = "SELECT name FROM runs WHERE status != 'RUNNING'"
    while process.poll() is None:
        now = time.monotonic()
        for label in labels(tmp_path / "small.db", finished):
            stored.setdefault(label, now)
        for label in labels(place, ended_runs):
            sent.setdefault(label, time.monotonic())
        time.sleep(0.02)
    assert ended(process) == ""
    during = {label for label, when in sent.items() if label in stored}
    assert len(during) > 40
    delays = {label: sent[label] - stored[label] for label in during}
    late = max(delays, key=lambda label: delays[label])
    print(f"largest delay of {len(during)}: {delays[late]:.2f} s, of {late}")
    assert delays[late] < 5

"""What the doctor finds: each check on something sound and on something broken, and nothing it looks at is changed."""

import contextlib
import gc
import os
import shlex
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import cases
import numpy as np
import optuna.cli
import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement

from engine.training.state import State
from hpsearch import cli
from hpsearch.admin import doctor
from hpsearch.admin.doctor import Finding, machine
from hpsearch.data import dataset
from hpsearch.errors import Interrupted, StorageError
from hpsearch.storage.connection import Connection
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.storage.tables import spec_hash
from hpsearch.training.task import TrialResult

DATA = {"source": "formula", "name": "moons", "rows": 60}  # without importing sklearn
SHORT = {"data": DATA, "train.epochs": 2, "stages.0.trials": 5, "stages.1.trials": 3}
GONE = 2**22 + 1  # above any process number of Linux


class Made(NamedTuple):
    """A finished study, one stopped in the middle, to be copied."""

    done: Path
    half: Path


class Tracked(NamedTuple):
    """MLflow's database, to be copied, and its newest schema."""

    database: Path
    head: str


@pytest.fixture(scope="module")
def making(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """MLflow's database, still being made while other tests run."""
    folder = tmp_path_factory.mktemp("mlflow")
    script = (
        "import sys\n"
        "from mlflow import MlflowClient\n"
        "from sqlalchemy import Engine, event\n"
        "event.listen(Engine, 'connect', lambda c, _: c.execute('PRAGMA synchronous=OFF'))\n"  # halves its time
        "client = MlflowClient(sys.argv[1])\n"
        "tags = {'hpsearch.study': '', 'hpsearch.database': 'half.db'}\n"
        "client.create_run(client.create_experiment('small', artifact_location='file:///none', tags=tags))\n"
        "from mlflow.store.db.utils import _get_latest_schema_revision\n"
        "print(_get_latest_schema_revision())\n"
    )
    command = [sys.executable, "-c", script, f"sqlite:///{folder}/mlflow.db"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder, text=True) as process:
        yield folder / "mlflow.db", process


@pytest.fixture(scope="module")
def made(making: object, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    spec = cases.small(**SHORT)
    data, _ = dataset.prepare(spec.data, spec.seed, folder)
    cases.run(spec, data, folder / "done.db")
    tracker, executor = cases.Limit(1), cases.Held(lambda waiting: 0, single=True)
    with (
        pytest.raises(Interrupted),
        cases.opened(spec, data, folder / "half.db", executor, tracker=tracker, stop=tracker.stop) as unfinished,
    ):
        cases.drive(unfinished, executor)
    _checkpoint(folder / "half.db")
    return Made(folder / "done.db", folder / "half.db")


@pytest.fixture(scope="module")
def tracked(making: tuple[Path, subprocess.Popen[str]], made: Made) -> Tracked:
    database, process = making
    head = process.communicate()[0].strip()
    identity = ask(made.half, "SELECT identity FROM hpsearch_study")[0][0]
    ask(database, f"UPDATE experiment_tags SET value = '{identity}' WHERE key = 'hpsearch.study'")
    return Tracked(database, head)


def _checkpoint(database: Path) -> None:
    """Of the first trial that is still to train."""
    ones, counts = np.ones(1), np.zeros(1, dtype=np.int64)
    state = State(ones[None], {}, [np.random.default_rng(0)], 1, 1, ones[None], ones, counts, ones, counts)
    (stage, number), *_ = ask(database, "SELECT stage, number FROM hpsearch_trial WHERE state = 'running'")
    storage = StudyDatabase.open(url_of(str(database)), create=False)
    stands = TrialResult(int(number), "running", None, 1, 0, {"val/loss": [1.0]}, 0.1, state.to_bytes())
    storage.trials.save(stage, [stands])
    storage.close()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def done(made: Made, here: Path) -> Path:
    return Path(shutil.copy(made.done, here))


@pytest.fixture
def half(made: Made, here: Path) -> Path:
    return Path(shutil.copy(made.half, here))


@pytest.fixture
def mlflow(tracked: Tracked, here: Path) -> Path:
    (here / "mlruns").mkdir()
    return Path(shutil.copy(tracked.database, here / "mlruns"))


def ask(database: Path, *queries: str) -> list[tuple[str, ...]]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = [row for query in queries for row in connection.execute(query).fetchall()]
        connection.commit()
        return rows


def examined(*databases: str | Path, tracking: str = "none") -> list[Finding]:
    return list(doctor.examine([str(d) for d in databases], tracking))


def bad(findings: list[Finding]) -> list[Finding]:
    return [f for f in findings if f.level != "ok"]


def only(findings: list[Finding], level: str, *fragments: str) -> Finding:
    """All is well but for one thing, which says how to mend it."""
    (found,) = bad(findings)
    assert found.level == level and found.remedy, found
    for fragment in fragments:
        assert fragment in str(found), found
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# Studies.


def test_no_study_here(here: Path) -> None:
    found = examined()
    assert bad(found) == [] and any("no database of one" in f.what for f in found)
    assert list(here.iterdir()) == []


def test_not_a_study(here: Path) -> None:
    only(examined("none.db"), "FAIL", "none.db: there is no such database", "hpsearch run")
    only(examined("none/a.db"), "FAIL", "none/a.db: there is no such database")
    (here / "folder.db").mkdir()
    only(examined("folder.db"), "FAIL", "is a folder")
    (here / "text.db").write_text("This is no database, but it is longer than a header. " * 9)
    only(examined("text.db"), "FAIL", "text.db: is not a database")
    ask(here / "other.db", "CREATE TABLE birds (name TEXT)")
    only(examined("other.db"), "FAIL", "not of an hpsearch study")
    only(examined("nonsense://x/y"), "FAIL", "nonsense")
    assert "\x1b" not in str(only(examined("a\x1b[31m.db"), "FAIL", r"a\x1b[31m.db"))
    (here / "other.db").rename(here / "o\x1b[31m\u202e.db")
    shown = str(only(examined("o\x1b[31m\u202e.db"), "FAIL", "not of an hpsearch study"))
    assert r"o\x1b[31m\u202e.db" in shown and shown.isprintable()
    assert "secret" not in str(only(examined(tracking="databricks://me:secret@x"), "FAIL", "databricks://me:"))
    assert "secret" not in str(only(examined("postgresql+nodriver://me:secret@127.0.0.1:1/x"), "FAIL", "me"))
    only(examined("mysql+aiomysql://me:secret@127.0.0.1:1/x"), "FAIL", "aiomysql", "pip install aiomysql")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated(done: Path, share: float) -> None:
    data = done.read_bytes()
    done.write_bytes(data[: int(len(data) * share)])
    before = contents(done.parent)
    only(examined(done), "FAIL", "done.db: is damaged", "restore a copy")
    assert any("done.db: is damaged" in f.what for f in examined()), "found without being named too"
    assert contents(done.parent) == before


def test_damaged_inside(done: Path) -> None:
    """What only `integrity_check` sees: an index that lacks a row."""
    ((root,), (size,)) = ask(
        done, "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_hpsearch_trial_1'", "PRAGMA page_size"
    )
    data = bytearray(done.read_bytes())
    place = (int(root) - 1) * int(size) + 3  # number of cells in the page
    data[place : place + 2] = (int.from_bytes(data[place : place + 2], "big") - 1).to_bytes(2, "big")
    done.write_bytes(data)
    assert len(ask(done, "SELECT * FROM hpsearch_trial")) == 8
    only(examined(done), "FAIL", "is damaged (", "restore a copy")


def test_settings(done: Path) -> None:
    ask(done, "UPDATE hpsearch_study SET hash = 'f00'")
    only(examined(done), "FAIL", "hash differs", "restore a copy")
    change_spec(done, "replace(spec, '\"wave\": 3', '\"wave\": 0')")
    only(examined(done), "FAIL", "settings cannot be read (wave: ", "version that began it, test")
    change_spec(done, "'{'")
    only(examined(done), "FAIL", "settings cannot be read")
    ask(done, "DELETE FROM hpsearch_study", "DELETE FROM hpsearch_trial")
    only(examined(done), "warn", "holds no study yet", "hpsearch run")


def change_spec(database: Path, expression: str) -> None:
    """Store another spec, with its hash."""
    ask(database, f"UPDATE hpsearch_study SET spec = {expression}")
    ((text,),) = ask(database, "SELECT spec FROM hpsearch_study")
    ask(database, f"UPDATE hpsearch_study SET hash = '{spec_hash(text)}'")


def test_trials(done: Path) -> None:
    ask(done, "UPDATE hpsearch_trial SET history = x'00ff' WHERE stage = 'coarse' AND number = 3")
    only(examined(done), "FAIL", "trial coarse/3 cannot be read")
    ask(done, "UPDATE hpsearch_trial SET history = NULL WHERE stage = 'coarse' AND number = 3")
    only(examined(done), "FAIL", "trial coarse/3 cannot be read")


def test_checkpoints(made: Made, half: Path) -> None:
    (stage, number), *_ = ask(half, "SELECT stage, number FROM hpsearch_checkpoint")
    of_it = f"WHERE stage = '{stage}' AND number = {number}"
    assert any("1 checkpoint readable" in f.what for f in examined(half))
    ask(half, f"UPDATE hpsearch_checkpoint SET state = substr(state, 1, 99) {of_it}")
    only(examined(half), "warn", f"checkpoint of {stage}/{number} cannot be read", "hpsearch resume")
    ask(half, f"UPDATE hpsearch_checkpoint SET history = x'00' {of_it}")
    only(examined(half), "warn", "checkpoint")
    ask(
        half,
        f"ATTACH '{made.half}' AS a",
        f"UPDATE hpsearch_checkpoint SET state = (SELECT state FROM a.hpsearch_checkpoint) {of_it}",
    )
    only(examined(half), "warn", f"the checkpoint of {stage}/{number} cannot be read")


def test_optuna_is_ahead(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of ours lost; and the remedy mends what it says it does."""
    ask(done, "DELETE FROM hpsearch_trial WHERE stage = 'fine' AND number = 2")
    found = only(examined(done), "FAIL", "3 trials of 'small/fine'", "of which 2 are finished", "optuna delete-study")
    command = next(part for part in found.remedy.split("; ") if "optuna" in part).partition(": ")[2]
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with warnings.catch_warnings():  # of connections that Optuna leaves to the garbage collector
        warnings.simplefilter("ignore")
        assert not optuna.cli.main()
        gc.collect()
    assert bad(examined(done)) == []


def leave(database: Path, pid: int, host: str = "", beat: float = 0.0) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        row = ("coordinator", "x", host or socket.gethostname()[:255], pid, 1.0, beat)
        connection.execute("DELETE FROM hpsearch_lease")
        connection.execute(
            "INSERT INTO hpsearch_lease (name, token, host, pid, since, heartbeat) VALUES (?,?,?,?,?,?)", row
        )
        connection.commit()


def test_stale_lease(half: Path) -> None:
    leave(half, GONE)
    only(examined(half), "warn", f"process {GONE} on", "ended", "hpsearch resume")
    (half.parent / "half.db.lock").touch()
    leave(half, os.getpid())  # by chance ours: the lock is free
    for name in (half, "half.db", f"sqlite:///{half}"):
        only(examined(name), "warn", f"process {os.getpid()} on", "ended")
    leave(half, 7, "elsewhere", time.time() - 1e4)
    only(examined(half), "warn", "process 7 on elsewhere")
    leave(half, 7, "elsewhere", time.time())
    assert bad(examined(half)) == []


def test_live_lease(half: Path) -> None:
    """Of a study that runs: it is not disturbed, and what is in its log only is seen."""
    storage = StudyDatabase.open(url_of(str(half)), create=False)
    with storage.lease.hold():
        found = examined(half)
        assert bad(found) == [] and any(f"is run by process {os.getpid()}" in f.what for f in found)
        storage.stages.end("coarse", None)
    storage.close()
    assert any("is not running" in f.what for f in examined(half))


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_left_by_a_kill(done: Path, mode: str) -> None:
    """A log, or a journal amid a commit: read as the next run will."""
    script = (
        "import os, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1])\n"
        "connection.execute(f'PRAGMA journal_mode={sys.argv[2]}')\n"
        "connection.execute('PRAGMA cache_size=1')\n"
        "connection.execute('UPDATE hpsearch_trial SET stage = stage || 1, history = randomblob(50000)')\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", script, done, mode], check=True)
    assert Path(f"{done}-{'wal' if mode == 'wal' else 'journal'}").stat().st_size
    before = done.read_bytes()
    found = examined(done)
    assert bad(found) == [] and any("8 trials: 8 complete" in f.what for f in found)
    assert done.read_bytes() == before


def test_written_meanwhile(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that fails during a write is repeated."""
    original, seen = Connection.check, []

    def check(connection: Connection, *, thorough: bool = False) -> None:
        seen.append(1)
        if len(seen) == 1:
            os.utime(done, (1, 1))
            raise StorageError("out of order")
        original(connection, thorough=thorough)

    monkeypatch.setattr(Connection, "check", check)
    assert bad(examined(done)) == [] and len(seen) == 2


# The installation and the machine.


def test_python(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [f.level for f in machine.python()] == ["ok"]
    monkeypatch.setattr(sys, "version_info", (3, 10, 9))
    only(list(machine.python()), "FAIL", "Python 3.10.9", ">=3.11", "venv")


def test_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = metadata.distributions
    needed = {r.name: str(r.specifier) for r in map(Requirement, metadata.requires("hpsearch") or ())}

    def distributions(name: str) -> Iterable[Any]:
        return [SimpleNamespace(version=others[name])] if name in others else [] if name in absent else sound(name=name)

    monkeypatch.setattr(metadata, "distributions", distributions)
    absent, others = set[str](), {"torch": "2.13.1"}
    assert bad(list(machine.packages())) == []
    absent, others = {"torch"}, {"optuna": "4.1.0"}
    only(
        list(machine.packages()), "FAIL", "optuna 4.1.0", needed["optuna"], f"-m pip install 'optuna{needed['optuna']}'"
    )
    assert any("torch is not installed" in f.what for f in machine.packages())
    absent, others = {"mlflow"}, {"torch": "1.0"}
    assert {(f.level, f.what.split()[0]) for f in bad(list(machine.packages()))} == {
        ("FAIL", "mlflow"),
        ("warn", "torch"),
    }
    assert not any("pytest" in f.what for f in machine.packages())


def test_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    import threadpoolctl

    before = threadpoolctl.threadpool_info()
    found = list(machine.blas())
    assert found and bad(found) == [] and "in a worker" in found[0].what
    assert threadpoolctl.threadpool_info() == before
    monkeypatch.setattr(threadpoolctl, "threadpool_limits", lambda count: contextlib.nullcontext())
    pool = {"user_api": "blas", "internal_api": "openblas", "version": "1", "num_threads": 8, "architecture": "Zen"}
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: [pool])
    only(list(machine.blas()), "warn", "kernels Zen", "8 threads", "OMP_NUM_THREADS=1")
    monkeypatch.setattr(threadpoolctl, "threadpool_info", list)
    only(list(machine.blas()), "warn", "OMP_NUM_THREADS=1")


def test_processors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "quota", lambda: None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert bad(list(machine.processors())) == []
    monkeypatch.setattr(machine, "quota", lambda: 2.5)
    only(list(machine.processors()), "warn", "8", "2.5", "--workers 2")
    monkeypatch.setattr(machine, "quota", lambda: 0.5)
    only(list(machine.processors()), "warn", "--workers 1")


def test_quota(tmp_path: Path) -> None:
    """Of both kinds of control groups; the least of the way up counts."""
    root, mine = tmp_path / "cgroup", tmp_path / "mine"
    assert machine.quota(root, mine) is None
    (root / "a/b").mkdir(parents=True)
    mine.write_text("0::/a/b\n")
    assert machine.quota(root, mine) is None
    (root / "a/b/cpu.max").write_text("max 100000\n")
    assert machine.quota(root, mine) is None
    (root / "a/cpu.max").write_text("150000 100000\n")
    assert machine.quota(root, mine) == 1.5
    (root / "a/b/cpu.max").write_text("50000 100000\n")
    assert machine.quota(root, mine) == 0.5
    (root / "cpu,cpuacct").mkdir()
    mine.write_text("2:cpu,cpuacct:/docker/x\n")
    (root / "cpu,cpuacct/cpu.cfs_quota_us").write_text("-1\n")
    (root / "cpu,cpuacct/cpu.cfs_period_us").write_text("100000\n")
    assert machine.quota(root, mine) is None
    (root / "cpu,cpuacct/cpu.cfs_quota_us").write_text("300000\n")
    assert machine.quota(root, mine) == 3.0


@pytest.mark.parametrize(("free", "level"), [(2e9, "ok"), (9.9e8, "warn"), (4e7, "FAIL")])
def test_room(here: Path, monkeypatch: pytest.MonkeyPatch, free: float, level: str) -> None:
    class Usage(NamedTuple):
        free: float

    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(free))
    found = list(machine.disk(["a.db", "postgresql://x/y"], "none"))
    assert {f.level for f in found} == {level}
    assert all("MB free" in f.what and f.remedy for f in bad(found))
    assert any(str(here) in f.what for f in found)


def test_folder_that_cannot_be_written(here: Path) -> None:
    """Root may write anywhere but in /proc."""
    assert bad(list(machine.disk(["a.db"], f"sqlite:///{here}/mlruns/mlflow.db"))) == []
    if Path("/proc/self").exists():
        for database, tracking in (("/proc/a.db", "none"), ("a.db", "sqlite:////proc/mlflow.db")):
            only(list(machine.disk([database], tracking)), "FAIL", "/proc", "cannot be written")
    assert list(here.iterdir()) == []


def test_database_that_cannot_be_written(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "done.db")
    only(examined(done), "FAIL", "done.db: cannot be written", "chmod u+w")


def test_a_check_that_breaks(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is a line, and the others go on."""

    def breaks() -> Iterator[Finding]:
        yield Finding("ok", "so far")
        raise LookupError("no such thing\nmore")

    monkeypatch.setattr(machine, "blas", breaks)
    found = examined()
    only(found, "warn", "BLAS", "LookupError: no such thing")
    assert "more" not in str(bad(found)[0]) and any("so far" in f.what for f in found) and "MLflow" in found[-1].what


# MLflow.


def test_no_mlflow_yet(here: Path) -> None:
    found = examined(tracking=f"sqlite:///{here}/mlruns/mlflow.db")
    assert bad(found) == [] and "not there yet" in found[-1].what and not (here / "mlruns").exists()


def test_revisions(tracked: Tracked) -> None:
    """As MLflow itself says."""
    head, older = doctor.mlflow.revisions()
    assert head == tracked.head and len(older) > 30 and head not in older


def test_mlflow(mlflow: Path, here: Path) -> None:
    tracking = f"sqlite:///{mlflow}"
    ask(mlflow, "UPDATE runs SET status = 'FINISHED'")
    before = mlflow.read_bytes()
    assert bad(examined(tracking=tracking)) == [] and mlflow.read_bytes() == before
    ask(mlflow, f"UPDATE alembic_version SET version_num = '{sorted(doctor.mlflow.revisions()[1])[0]}'")
    only(examined(tracking=tracking), "FAIL", "expects the newer", "→ hpsearch db upgrade")
    ask(mlflow, "UPDATE alembic_version SET version_num = 'fedcba987654'")
    only(examined(tracking=tracking), "FAIL", "does not know", "pip install --upgrade mlflow")
    data = mlflow.read_bytes()
    mlflow.write_bytes(data[: len(data) // 2])
    only(examined(tracking=tracking), "FAIL", "mlflow.db", "damaged")
    mlflow.write_bytes(b"no database" * 99)
    only(examined(tracking=tracking), "FAIL", "not a database")


def test_mlflow_somewhere_else(done: Path) -> None:
    only(examined(done, tracking=f"sqlite:///{done}"), "FAIL", "not MLflow's")
    only(examined(tracking="file:./mlruns"), "FAIL", "file:./mlruns", "--tracking-uri")
    only(examined(tracking="./mlruns"), "FAIL", "--tracking-uri")


def test_runs_left_running(mlflow: Path, half: Path) -> None:
    tracking = f"sqlite:///{mlflow}"
    found = only(examined(half, tracking=tracking), "warn", "1 run of", "RUNNING", f"hpsearch sync {half}")
    assert "--tracking-uri" not in found.remedy
    only(examined("half.db", tracking=tracking), "warn", "hpsearch sync half.db")
    ask(half, "UPDATE hpsearch_study SET identity = 'another'")
    only(examined(half, tracking=tracking), "warn", "hpsearch sync half.db")  # as MLflow has it stored
    moved = mlflow.rename(mlflow.with_name("else.db"))
    only(examined(half, tracking=f"sqlite:///{moved}"), "warn", f"--tracking-uri sqlite:///{moved}")
    ask(moved, "UPDATE runs SET lifecycle_stage = 'deleted'")
    assert bad(examined(half, tracking=f"sqlite:///{moved}")) == []


def test_runs_of_a_study_that_runs(mlflow: Path, half: Path) -> None:
    storage = StudyDatabase.open(url_of(str(half)), create=False)
    with storage.lease.hold():
        assert bad(examined(half, tracking=f"sqlite:///{mlflow}")) == []
        assert bad(examined(tracking=f"sqlite:///{mlflow}")) == []
    storage.close()
    half.with_name("half.db.lock").touch()
    leave(half, os.getpid())  # is ours by chance
    assert [f.level for f in bad(examined(f"sqlite:///{half}", tracking=f"sqlite:///{mlflow}"))] == ["warn", "warn"]


@pytest.mark.parametrize("stray", ["mlruns/meta.yaml", "mlruns/0/meta.yaml"])
def test_stray_file_store(here: Path, stray: str) -> None:
    (here / stray).parent.mkdir(parents=True)
    (here / stray).touch()
    only(examined(), "warn", stray, "file store", f"mv {stray}")


Server = Callable[[int, bytes], str]


@pytest.fixture
def server() -> Iterator[Server]:
    """Starts a server that answers so, and gives host:port."""
    with contextlib.ExitStack() as stack:

        def start(code: int, body: bytes) -> str:
            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    right = self.path == "/deep/health" and self.headers.get("Authorization", "").startswith("Basic ")
                    self.send_response(code if right else 404)
                    self.end_headers()
                    self.wfile.write(body)

                def log_message(self, *_: object) -> None:
                    return

            running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            stack.callback(running.server_close)
            stack.callback(thread.join)
            stack.callback(running.shutdown)
            return f"127.0.0.1:{running.server_port}"

        yield start


def test_server(here: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for code, body, fragment in ((200, b"OK", ""), (200, b"<html>", "no MLflow server"), (503, b"", "answers 503")):
        found = examined(tracking=f"http://me:secret@{server(code, body)}/deep/")
        assert "secret" not in "".join(map(str, found))
        if fragment:
            only(found, "FAIL", fragment, "hpsearch sync")
        else:
            assert bad(found) == [] and "answers" in found[-1].what
    only(examined(tracking="http://127.0.0.1:1"), "FAIL", "does not answer")
    monkeypatch.setattr(doctor.mlflow, "PATIENCE", 0.2)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        only(
            examined(tracking=f"http://me:secret@127.0.0.1:{mute.getsockname()[1]}"), "FAIL", "does not answer", "timed"
        )


# All of it, and the command.


def test_sound_studies(done: Path, half: Path, mlflow: Path, here: Path) -> None:
    """Found without being named; nothing is changed, not even by a file beside them."""
    ask(mlflow, "UPDATE runs SET status = 'FINISHED'")
    (here / "studies").mkdir()
    half.rename(here / "studies/half.db")
    ask(here / "other.db", "CREATE TABLE birds (name TEXT)")
    (here / "text.db").write_text("This is no database.")
    (here / "empty.db").touch()
    before = contents(here)
    found = examined(tracking=f"sqlite:///{mlflow}")
    assert bad(found) == []
    assert contents(here) == before
    text = "\n".join(map(str, found))
    for fragment in (
        "done.db: study 'small', whole and readable",
        "done.db: 8 trials: 8 complete",
        "done.db: Optuna's tables agree, 8 trials mirrored",
        "done.db: is not running",
        "studies/half.db: study 'small'",
        "running",
        "resume with: hpsearch resume studies/half.db",
        "schema",
    ):
        assert fragment in text
    assert "other.db" not in text and "text.db" not in text and "empty.db" not in text


def test_command(done: Path, half: Path) -> None:
    before = contents(done.parent)
    said = CliRunner().invoke(cli.commands, ["doctor"])
    assert said.exit_code == 0, said
    lines = said.stdout.splitlines()
    assert lines[0].startswith("ok    Python 3.") and all(line.startswith("ok    ") for line in lines)
    assert any("half.db" in line for line in lines) and "mlruns/mlflow.db is not there yet" in lines[-1]
    said = CliRunner().invoke(cli.commands, ["doctor", "done.db", "none.db", "--tracking-uri", "none"])
    assert said.exit_code == 1
    (line,) = [line for line in said.stdout.splitlines() if not line.startswith("ok    ")]
    assert line.startswith("FAIL  none.db: there is no such database → ")
    assert "half.db" not in said.stdout and "Traceback" not in said.output
    leave(half, GONE)
    said = CliRunner().invoke(cli.commands, ["doctor", "half.db"])
    assert said.exit_code == 0 and "\nwarn  half.db" in said.stdout, "a warning fails nothing"
    half.write_bytes(before["half.db"])
    assert contents(done.parent) == before


def test_nothing_heavy_is_imported(done: Path) -> None:
    script = (
        "import sys\nfrom hpsearch.cli import commands\n"
        "commands(['doctor'], standalone_mode=False)\n"
        "print([m for m in ('mlflow', 'optuna', 'torch', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.splitlines()[-1] == "[]"


def test_packages_that_cannot_be_imported(done: Path) -> None:
    """A broken installation is what the doctor is asked about."""
    script = (
        "import sys\nfor name in ('sqlalchemy', 'numpy', 'filelock', 'threadpoolctl', 'pydantic', 'packaging'):\n"
        "    sys.modules[name] = None\n"
        "from hpsearch.cli import main\nmain()\n"
    )
    for names in ((), ("done.db",)):
        arguments = [sys.executable, "-c", script, "doctor", *names]
        process = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert process.stderr == "" and process.stdout.count("could not be checked: ModuleNotFoundError") > 4

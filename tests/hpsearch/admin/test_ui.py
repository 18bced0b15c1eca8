"""MLflow's page: which database and study it shows, how it ends, and an older database brought up to date."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from hpsearch.admin import supervisor as keeper
from hpsearch.admin import ui
from hpsearch.admin.doctor.mlflow import revisions
from hpsearch.storage.study_db import StudyDatabase
from tests.hpsearch.test_cli import Call, call, refused  # noqa: F401

OLD = "f5a4f2784254"  # of MLflow 2.18
# An MLflow database of an older schema, made by MLflow's own steps as far as that.
MAKE = """
import sys
import sqlalchemy as sa
from alembic import command
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base

engine = sa.create_engine(sys.argv[1])
sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
Base.metadata.create_all(engine)
config = _get_alembic_config(sys.argv[1])
with engine.begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, sys.argv[2])
"""
ROWS = """
INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time)
    VALUES (1, 'small', 'file:///none', 'active', 1000, 1000), (2, 'later', 'file:///none', 'active', 2000, 2000);
INSERT INTO experiment_tags VALUES ('hpsearch.study', 'first', 1), ('hpsearch.study', 'second', 2);
INSERT INTO runs (run_uuid, name, experiment_id, status, lifecycle_stage, start_time, end_time, source_type,
    entry_point_name, source_name, user_id, source_version, artifact_uri)
    VALUES ('r', 'coarse/0', 1, 'FINISHED', 'active', 5, 1500, 'LOCAL', '', '', 'me', '', 'file:///none/r');
INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES ('objective', 0.5, 7, 'r', 0, 0);
INSERT INTO params VALUES ('beta', '0.9', 'r');
INSERT INTO tags VALUES ('hpsearch.trial', 'coarse/0', 'r');
"""


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of an older MLflow, with two studies in it; to be copied."""
    path = tmp_path_factory.mktemp("old") / "mlflow.db"
    subprocess.run([sys.executable, "-c", MAKE, f"sqlite:///{path}", OLD], check=True, capture_output=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(ROWS)
    return path


@pytest.fixture
def older(old: Path, tmp_path: Path) -> Path:
    """The same, where the commands look for it."""
    path = tmp_path / "mlruns" / "mlflow.db"
    path.parent.mkdir()
    shutil.copy(old, path)
    return path


# What is read of one before a server starts.
TABLES = """
CREATE TABLE alembic_version (version_num TEXT);
CREATE TABLE experiments (experiment_id INTEGER, name TEXT, artifact_location TEXT, lifecycle_stage TEXT,
    creation_time INTEGER, last_update_time INTEGER);
CREATE TABLE experiment_tags (key TEXT, value TEXT, experiment_id INTEGER);
CREATE TABLE runs (run_uuid TEXT, name TEXT, experiment_id INTEGER, status TEXT, lifecycle_stage TEXT,
    start_time INTEGER, end_time INTEGER, source_type TEXT, entry_point_name TEXT, source_name TEXT, user_id TEXT,
    source_version TEXT, artifact_uri TEXT);
CREATE TABLE metrics (key TEXT, value REAL, timestamp INTEGER, run_uuid TEXT, step INTEGER, is_nan INTEGER);
CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """One of the schema that is expected, as far as its tables are read here, where the commands look for it."""
    path = tmp_path / "mlruns" / "mlflow.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"{TABLES}{ROWS}INSERT INTO alembic_version VALUES ('{revisions()[0]}');")
    return path


def ask(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(query).fetchall()
        connection.commit()
        return found


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a Python program in the place of MLflow's server; {port} is its port."""

    def stand_in(program: str) -> None:
        monkeypatch.setattr(
            ui, "_command", lambda path, port: [sys.executable, "-c", program.replace("PORT", str(port))]
        )

    return stand_in


HEALTHY = """
from http.server import *
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"OK")
HTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
"""


def lines(tracking: Path | str, study: str | None = None, port: int | None = 0, opens: bool = False) -> list[str]:
    """All that is said until the link is there; then it is stopped."""
    said: list[str] = []
    for line in ui.shown(str(tracking), study, port, opens, lambda: any("Ctrl-C" in text for text in said)):
        said.append(line)
    return said


@pytest.mark.parametrize("command", [("ui", "--no-open"), ("db", "upgrade")])
def test_no_database(call: Call, command: tuple[str, ...], tmp_path: Path) -> None:  # noqa: F811
    refused(call(*command), "mlruns/mlflow.db", "hpsearch run STUDY.yaml")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mlruns").mkdir()
    file = tmp_path / "mlruns" / "mlflow.db"
    file.write_bytes(b"no database" * 99)
    refused(call(*command), "mlflow.db", "is not a database")
    file.unlink()
    ask(file, "CREATE TABLE something (else_ INTEGER)")
    refused(call(*command), "mlflow.db", "not MLflow's")
    refused(call(*command, "--tracking-uri", "none"), "'none'", "sqlite:///")
    refused(call(*command, "--tracking-uri", "postgresql://me:secret@host/db"), "***", "sqlite:///")
    for address in ("http://me:secret@[::1", "http://me:secret@[a]:5000", "postgresql://me:secret@[::1"):
        refused(call(*command, "--tracking-uri", address), "***", "; write ")


def test_other_schema(call: Call, store: Path) -> None:  # noqa: F811
    before = store.read_bytes()
    ask(store, f"UPDATE alembic_version SET version_num = '{OLD}'")
    refused(call("ui"), OLD, "expects the newer", "hpsearch db upgrade")
    ask(store, "UPDATE alembic_version SET version_num = 'fedcba987654'")
    for command in (("ui",), ("db", "upgrade")):
        refused(call(*command), "fedcba987654", "is a newer one's", "pip install --upgrade mlflow")
    ask(store, f"UPDATE alembic_version SET version_num = '{revisions()[0]}'")
    assert "nothing to do" in call("db", "upgrade").out
    assert ask(store, "SELECT count(*) FROM runs") == [(1,)] and len(before) == store.stat().st_size
    assert {p.name for p in store.parent.iterdir()} == {"mlflow.db", "mlflow.db.lock"}


def test_latest_study(store: Path, server: Callable[[str], None]) -> None:
    """The one begun last, or whose trials ended last, with its view when it has one."""
    server(HEALTHY)
    assert "/#/experiments/2/runs?workflowType=machine_learning" in lines(store)[0]
    ask(store, "UPDATE runs SET end_time = 3000")
    link = lines(store)[0]
    assert link.endswith("/#/experiments/1/runs?workflowType=machine_learning")
    ask(store, f"INSERT INTO experiment_tags VALUES ('{ui.VIEW_TAG}', '', 1)")
    link = lines(store)[0]
    assert link.startswith("MLflow: http://127.0.0.1:") and link.endswith("&viewStateShareKey=hpsearch")
    ask(store, "UPDATE experiments SET lifecycle_stage = 'deleted' WHERE experiment_id = 1")
    assert "/#/experiments/2/runs" in lines(store)[0]


def test_given_study(call: Call, store: Path, tmp_path: Path, server: Callable[[str], None]) -> None:  # noqa: F811
    server(HEALTHY)
    study = tmp_path / "study.db"
    database = StudyDatabase.open(f"sqlite:///{study}", create=True)
    refused(call("ui", study), "study.db", "no study")
    database.begin("small", {}, "none", "test")
    database.close()
    ask(study, "UPDATE hpsearch_study SET identity = 'first'")
    assert "/#/experiments/1/" in lines(store, f"sqlite:///{study}")[0]
    ask(study, "UPDATE hpsearch_study SET identity = 'elsewhere'")
    refused(call("ui", study), "mlflow.db", "not in it", "hpsearch sync")
    ask(store, "DELETE FROM experiment_tags")
    refused(call("ui"), "mlflow.db", "no study", "hpsearch run")


def test_ports(call: Call, store: Path, server: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    server(HEALTHY)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(call("ui", "--no-open", "--port", str(port)), f"--port {port}", "taken")
        monkeypatch.setattr(ui, "PORT", port)
        said = lines(store, port=None)
        assert said[0].startswith(f"Port {port} is taken") and f"127.0.0.1:{port}/" not in said[1]
    assert f"http://127.0.0.1:{port}/" in lines(store, port=None)[0]
    assert call("ui", "--port", "65536").code == 2


def test_opens(store: Path, server: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser, where there is a display."""
    opened: list[str] = []
    server(HEALTHY)
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    lines(store, opens=True)
    assert opened == []
    monkeypatch.setenv("DISPLAY", ":0")
    lines(store, opens=False)
    assert opened == []
    said = lines(store, opens=True)
    assert opened == [said[0].removeprefix("MLflow: ")]


def test_server_that_fails(call: Call, store: Path, server: Callable[[str], None]) -> None:  # noqa: F811
    """Its reason in one line."""
    server("print('starting'); raise OSError('no room for it')")
    said = call("ui", "--no-open", "--port", "0")
    assert said.code == 1 and said.out == ""
    assert said.err == "error: MLflow's server has ended: OSError: no room for it\n"


def gone(number: int) -> bool:
    """Whether nobody of a group is left, within a few seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            os.killpg(number, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


# A server of two processes, which waits; it says so in a file, and in another that it was asked to end.
PAIR = """
import os, pathlib, signal, subprocess, sys, time
file = pathlib.Path(sys.argv[1])
def asked(*_):
    file.with_name("asked").touch()
    sys.exit()
signal.signal(signal.SIGTERM, asked)
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'])
file.write_text(str(os.getpgid(0)))
time.sleep(99)
"""
DEAF = PAIR.replace("sys.exit()", "time.sleep(99)")


@pytest.mark.parametrize(
    ("end", "program"),
    [
        (signal.SIGTERM, PAIR),
        (signal.SIGKILL, PAIR),
        pytest.param(signal.SIGKILL, DEAF, marks=pytest.mark.crash),
    ],
)
def test_nobody_is_left(tmp_path: Path, end: signal.Signals, program: str) -> None:
    """However who started a command ends; the command is asked first."""
    file = tmp_path / "group"
    command = [sys.executable, "-c", program, str(file)]
    code = f"import time\nfrom hpsearch.admin.supervisor import kept\nwith kept({command!r}, {{}}):\n"
    with subprocess.Popen([sys.executable, "-c", f"{code}    time.sleep(99)"]) as starter:
        while not (file.exists() and file.read_text()):
            assert starter.poll() is None
            time.sleep(0.02)
        starter.send_signal(end)
    assert gone(int(file.read_text())) and (tmp_path / "asked").exists()


@pytest.mark.crash
@pytest.mark.parametrize("harm", [False, True])
def test_deaf_server(tmp_path: Path, harm: bool) -> None:
    """One that does not end when it is asked, and one whose keeper was killed."""
    file = tmp_path / "group"
    with keeper.kept([sys.executable, "-c", PAIR if harm else DEAF, str(file)], {}) as command:
        while not (file.exists() and file.read_text()):
            assert not command.ended(0.02)
        if harm:
            command.process.kill()
    assert gone(command.process.pid)


def test_an_earlier_copy_stays(call: Call, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Of the same second: nothing is upgraded, and it is not taken away with what is left of the attempt."""
    ask(store, f"UPDATE alembic_version SET version_num = '{OLD}'")
    monkeypatch.setattr("hpsearch.admin.mlflow_upgrade.time.strftime", lambda _: "now")
    earlier, before = store.with_name("mlflow-now.db"), store.read_bytes()
    earlier.write_bytes(b"an earlier copy")
    refused(call("db", "upgrade"), "mlflow-now.db", "exists", "is as it was")
    assert earlier.read_bytes() == b"an earlier copy" and store.read_bytes() == before
    assert {p.name for p in store.parent.iterdir()} == {"mlflow.db", "mlflow.db.lock", earlier.name}


@pytest.mark.crash
def test_upgrade(call: Call, older: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """A checked copy stays; what was there is there, and MLflow itself finds the schema that it expects."""
    older.chmod(0o640)
    with closing(sqlite3.connect(older)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr("hpsearch.admin.mlflow_upgrade.BUSY", 0.1)
        refused(call("db", "upgrade"), "has it open")
    said = call("db", "upgrade")
    assert said.code == 0 and said.err == ""
    assert f"{OLD} to {revisions()[0]}" in said.out
    (backup,) = older.parent.glob("mlflow-*.db")
    assert str(backup) in said.out
    for path, version in ((older, revisions()[0]), (backup, OLD)):
        assert ask(path, "SELECT version_num FROM alembic_version") == [(version,)]
        assert ask(path, "SELECT key, value FROM metrics") == [("objective", 0.5)]
        assert ask(path, "SELECT key, value FROM params") == [("beta", "0.9")]
        assert ask(path, "SELECT value FROM tags WHERE key = 'hpsearch.trial'") == [("coarse/0",)]
        assert ask(path, "PRAGMA integrity_check") == [("ok",)] and path.stat().st_mode & 0o777 == 0o640
    assert ask(older, "PRAGMA journal_mode") == [("wal",)]
    assert {p.name for p in older.parent.iterdir()} == {"mlflow.db", "mlflow.db.lock", backup.name}
    assert "nothing to do" in call("db", "upgrade").out


@pytest.mark.crash
def test_upgrade_that_fails(call: Call, older: Path) -> None:  # noqa: F811
    """What was there stays, and nothing else is left."""
    ask(older, "DROP TABLE metrics")
    before = older.read_bytes()
    refused(call("db", "upgrade"), "could not upgrade a copy", "as it was", "Error")
    assert older.read_bytes() == before
    assert {p.name for p in older.parent.iterdir()} == {"mlflow.db", "mlflow.db.lock"}

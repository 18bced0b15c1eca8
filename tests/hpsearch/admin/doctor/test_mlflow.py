"""Checks of MLflow's database or server."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hpsearch.admin import doctor
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.tracking.mlflow.database import installed_revisions
from tests.hpsearch.admin.doctor.doctor_cases import Tracked, ask, bad, check, only, set_holder


def test_no_mlflow_yet(here: Path) -> None:
    found = check(tracking=f"sqlite:///{here}/mlruns/mlflow.db")
    assert bad(found) == [] and "does not exist yet" in found[-1].text and not (here / "mlruns").exists()


def test_revisions(tracked: Tracked) -> None:
    """They agree with MLflow."""
    head, older = installed_revisions()
    assert head == tracked.head and len(older) > 20 and head not in older


def test_mlflow(mlflow: Path, here: Path) -> None:
    tracking = f"sqlite:///{mlflow}"
    ask(mlflow, "UPDATE runs SET status = 'FINISHED'")
    before = mlflow.read_bytes()
    assert bad(check(tracking=tracking)) == [] and mlflow.read_bytes() == before
    ask(mlflow, f"UPDATE alembic_version SET version_num = '{sorted(installed_revisions()[1])[0]}'")
    only(check(tracking=tracking), "FAIL", "expects the newer", "→ hpsearch db upgrade")
    ask(mlflow, "UPDATE alembic_version SET version_num = 'fedcba987654'")
    only(check(tracking=tracking), "FAIL", "does not know", "pip install --upgrade mlflow")
    data = mlflow.read_bytes()
    mlflow.write_bytes(data[: len(data) // 2])
    only(check(tracking=tracking), "FAIL", "mlflow.db", "damaged")
    mlflow.write_bytes(b"no database" * 99)
    only(check(tracking=tracking), "FAIL", "not a database")


def test_mlflow_somewhere_else(done: Path) -> None:
    only(check(done, tracking=f"sqlite:///{done}"), "FAIL", "not MLflow's")
    only(check(tracking="file:./mlruns"), "FAIL", "file:./mlruns", "--tracking-uri")
    only(check(tracking="./mlruns"), "FAIL", "--tracking-uri")


def test_runs_left_running(mlflow: Path, half: Path) -> None:
    tracking = f"sqlite:///{mlflow}"
    found = only(check(half, tracking=tracking), "warn", "1 run of", "RUNNING", f"hpsearch sync {half}")
    assert "--tracking-uri" not in found.remedy
    only(check("half.db", tracking=tracking), "warn", "hpsearch sync half.db")
    ask(half, "UPDATE hpsearch_study SET identity = 'another'")
    only(check(half, tracking=tracking), "warn", "hpsearch sync half.db")  # the database stored in MLflow
    moved = mlflow.rename(mlflow.with_name("else.db"))
    only(check(half, tracking=f"sqlite:///{moved}"), "warn", f"--tracking-uri sqlite:///{moved}")
    ask(moved, "UPDATE runs SET lifecycle_stage = 'deleted'")
    assert bad(check(half, tracking=f"sqlite:///{moved}")) == []


def test_runs_of_a_study_that_runs(mlflow: Path, half: Path) -> None:
    storage = StudyDatabase.open(url_of(str(half)), create=False)
    with storage.lease.hold():
        assert bad(check(half, tracking=f"sqlite:///{mlflow}")) == []
        assert bad(check(tracking=f"sqlite:///{mlflow}")) == []
    storage.close()
    half.with_name("half.db.lock").touch()
    set_holder(half, os.getpid())  # another process with this id
    assert [f.level for f in bad(check(f"sqlite:///{half}", tracking=f"sqlite:///{mlflow}"))] == ["warn", "warn"]


def test_moved_folder(mlflow: Path, done: Path) -> None:
    """The artifacts are expected where the database was; a deleted experiment does not count."""
    ask(mlflow, "UPDATE runs SET status = 'FINISHED'")
    ask(mlflow, "UPDATE experiment_tags SET value = 'x/done.db' WHERE value = 'half.db'")
    assert bad(check(done, tracking=f"sqlite:///{mlflow}")) == []
    moved = done.parent / "there"
    moved.mkdir()
    (moved / "link").symlink_to(mlflow.parent)
    assert bad(check(done, tracking=f"sqlite:///{moved}/link/mlflow.db")) == []
    tracking = f"sqlite:///{mlflow.rename(moved / 'mlflow.db')}"
    said = "done.db are expected in file:///", f"not beside {moved}/mlflow.db", f"hpsearch sync {done} --tracking-uri"
    only(check(done, tracking=tracking), "warn", *said)
    ask(moved / "mlflow.db", "UPDATE experiments SET lifecycle_stage = 'deleted'")
    assert bad(check(done, tracking=tracking)) == []


@pytest.mark.parametrize("stray", ["mlruns/meta.yaml", "mlruns/0/meta.yaml"])
def test_stray_file_store(here: Path, stray: str) -> None:
    (here / stray).parent.mkdir(parents=True)
    (here / stray).touch()
    only(check(), "warn", stray, "file store", f"mv {stray}")


Server = Callable[[int, bytes], str]


@pytest.fixture
def server() -> Iterator[Server]:
    """Start a server with a fixed answer, and return host:port."""
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
    for code, body, fragment in ((200, b"OK", ""), (200, b"<html>", "not an MLflow server"), (503, b"", "answers 503")):
        found = check(tracking=f"http://me:secret@{server(code, body)}/deep/")
        assert "secret" not in "".join(map(str, found))
        if fragment:
            only(found, "FAIL", fragment, "hpsearch sync")
        else:
            assert bad(found) == [] and "answers" in found[-1].text
    only(check(tracking="http://127.0.0.1:1"), "FAIL", "does not answer")
    monkeypatch.setattr(doctor.mlflow, "CHECK_TIMEOUT", 0.2)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        only(check(tracking=f"http://me:secret@127.0.0.1:{mute.getsockname()[1]}"), "FAIL", "does not answer", "timed")

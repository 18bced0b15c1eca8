"""MLflow's page: the database and study it shows, the port, and errors of the server."""

import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hpsearch.admin import ui
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.tracking.mlflow.database import installed_revisions
from tests.hpsearch.admin.mlflow_stores import OLD, ask
from tests.hpsearch.test_cli import Call, call, refused  # noqa: F401


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replace MLflow's server by a Python program, in which PORT is the port."""

    def replace_server(program: str) -> None:
        monkeypatch.setattr(
            ui, "_command", lambda path, port: [sys.executable, "-c", program.replace("PORT", str(port))]
        )

    return replace_server


HEALTHY = """
from http.server import *
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"OK")
HTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
"""


def lines(tracking: Path | str, study: str | None = None, port: int | None = 0, opens: bool = False) -> list[str]:
    """Return all messages until the link; then stop the server."""
    messages: list[str] = []
    for line in ui.show_study(str(tracking), study, port, opens, lambda: any("Ctrl-C" in text for text in messages)):
        messages.append(line)
    return messages


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
        refused(call(*command), "fedcba987654", "a newer MLflow made it", "pip install --upgrade mlflow")
    ask(store, f"UPDATE alembic_version SET version_num = '{installed_revisions()[0]}'")
    assert "nothing to do" in call("db", "upgrade").out
    assert ask(store, "SELECT count(*) FROM runs") == [(1,)] and len(before) == store.stat().st_size
    assert {p.name for p in store.parent.iterdir()} == {"mlflow.db", "mlflow.db.lock"}


def test_latest_study(store: Path, server: Callable[[str], None]) -> None:
    """It is the study started last or whose trials ended last; the link has its view if it has one."""
    server(HEALTHY)
    assert "/#/experiments/2/runs?workflowType=machine_learning" in lines(store)[0]
    ask(store, "UPDATE runs SET end_time = 3000")
    link = lines(store)[0]
    assert link.endswith("/#/experiments/1/runs?workflowType=machine_learning")
    ask(store, "INSERT INTO experiment_tags VALUES ('mlflow.sharedViewState.hpsearch', '', 1)")
    link = lines(store)[0]
    assert link.startswith("MLflow: http://127.0.0.1:") and link.endswith("&viewStateShareKey=hpsearch")
    ask(store, "UPDATE experiments SET lifecycle_stage = 'deleted' WHERE experiment_id = 1")
    assert "/#/experiments/2/runs" in lines(store)[0]


def test_given_study(call: Call, store: Path, tmp_path: Path, server: Callable[[str], None]) -> None:  # noqa: F811
    server(HEALTHY)
    study = tmp_path / "study.db"
    ask(study, "CREATE TABLE something (else_ INTEGER)")
    refused(call("ui", study), "study.db", "not of an hpsearch study")
    study.unlink()
    database = StudyDatabase.open(f"sqlite:///{study}", create=True)
    refused(call("ui", study), "study.db", "no study")
    database.begin("small", {}, "fingerprint", "test")
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
        refused(call("ui", "--no-open", "--port", str(port)), f"--port {port}", "in use")
        monkeypatch.setattr(ui, "PORT", port)
        said = lines(store, port=None)
        assert said[0].startswith(f"Port {port} is in use") and f"127.0.0.1:{port}/" not in said[1]
    assert f"http://127.0.0.1:{port}/" in lines(store, port=None)[0]
    assert call("ui", "--port", "65536").code == 2


def test_opens(store: Path, server: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser opens if there is a display."""
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
    """The message has its error in one line."""
    server("print('starting'); raise OSError('no room for it')")
    said = call("ui", "--no-open", "--port", "0")
    assert said.code == 1 and said.out == ""
    assert said.err == "error: MLflow's server has ended: OSError: no room for it\n"

"""Tracking over HTTP: MLflow's server behind a proxy that requires credentials."""

import base64
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import cases
import pytest

pytestmark = pytest.mark.crash

USER, SECRET = "user", "hunter-22"
CHANGES: dict[str, Any] = {"train.epochs": 40, "stages.0.trials": 7, "stages.1.trials": 3}
TRIALS = 10
PER_TRIAL = 4  # requests: create, batch, artifact, end
PER_STUDY = 45  # requests: experiment, champion, plots and model
FORWARDED = ("Content-Type", "Accept")  # headers


def free() -> int:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        return int(reserved.getsockname()[1])


class Proxy(NamedTuple):
    """A proxy that requires credentials, and the requests it passed on and refused."""

    uri: str
    passed: list[str]
    refused: list[str]
    database: Path


class Handler(BaseHTTPRequestHandler):
    """Passes on requests with the right credentials."""

    protocol_version = "HTTP/1.1"
    behind = 0
    passed: list[str]
    refused: list[str]
    answers: dict[str, str]

    def _any(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        line = f"{self.command} {self.path.partition('?')[0]}"
        want = "Basic " + base64.b64encode(f"{USER}:{SECRET}".encode()).decode()
        if self.headers.get("Authorization") != want:
            self.refused.append(line)
            self._answer(401, b"no", {"WWW-Authenticate": "Basic"})
            return
        self.passed.append(line)
        connection = HTTPConnection("127.0.0.1", self.behind, timeout=60)
        with closing(connection):
            connection.request(
                self.command, self.path, body, {k: self.headers[k] for k in FORWARDED if k in self.headers}
            )
            answer = connection.getresponse()
            kind = answer.headers.get("Content-Type", "application/json")
            self._answer(answer.status, answer.read(), {"Content-Type": kind})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *_: Any) -> None:
        return


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    """A server with one worker, and a proxy in front of it."""
    database, port = tmp_path / "server" / "mlflow.db", free()
    database.parent.mkdir()
    environment = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    command += [
        "--backend-store-uri",
        f"sqlite:///{database}",
        "--artifacts-destination",
        str(database.parent / "files"),
    ]
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(
            command,
            cwd=database.parent,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        await_server(server, port, tmp_path / "server.log")
        passed, refused = list[str](), list[str]()
        handler = type("Bound", (Handler,), {"behind": port, "passed": passed, "refused": refused})
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server_proxy:
            thread = threading.Thread(target=server_proxy.serve_forever)
            thread.start()
            yield Proxy(f"http://127.0.0.1:{server_proxy.server_address[1]}", passed, refused, database)
            server_proxy.shutdown()
            thread.join()
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def await_server(server: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    end = time.monotonic() + 100
    while time.monotonic() < end and server.poll() is None:
        try:
            with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(log.read_text())


def run(folder: Path, uri: str, **environment: str) -> str:
    """Run a study and return its warnings."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "hpsearch", "run", cases.write(folder, **CHANGES), "--tracking-uri", uri]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_TRACKING_")}
    done = subprocess.run(command, cwd=folder, env=clean | environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done
    assert SECRET not in done.stdout + done.stderr and "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    return "\n".join(lines)


def contents(database: Path, artifacts: Path) -> Any:
    """Return everything that MLflow has of the study but times, ids and paths."""
    tables = {
        "tags": "key, value",
        "params": "key, value",
        "metrics": "key, step, value",
        "latest_metrics": "key, step, value, is_nan",
    }
    found: dict[str, Any] = {}
    with closing(sqlite3.connect(database)) as connection:
        for run_, name, status in connection.execute("SELECT run_uuid, name, status FROM runs").fetchall():
            rows = {
                table: sorted(connection.execute(f"SELECT {keys} FROM {table} WHERE run_uuid = ?", [run_]).fetchall())
                for table, keys in tables.items()
            }
            rows = {table: [r for r in content if r[0] not in cases.VOLATILE] for table, content in rows.items()}
            inputs = connection.execute(
                "SELECT d.name, d.digest FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id"
                " WHERE i.destination_id = ?",
                [run_],
            ).fetchall()
            (folder,) = [p for p in artifacts.rglob(run_) if p.is_dir()]
            files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
            history = (folder / "artifacts" / "history.json").read_text("utf-8")
            found[name] = (status, rows, inputs, files, history, cases.registered(connection, run_))
        query = "SELECT key, value FROM experiment_tags ORDER BY key"
        shown = {
            k: v for k, v in connection.execute(query) if k.startswith(("mlflow.", "hpsearch.data", "hpsearch.seed"))
        }
        for (text,) in connection.execute("SELECT value FROM experiment_tags UNION ALL SELECT value FROM tags"):
            assert SECRET not in text
    return found, shown


def test_with_credentials_and_without(proxy: Proxy, tmp_path: Path) -> None:
    """Without credentials one warning, with them the same contents as in a file, in a few requests per trial."""
    refused = run(tmp_path / "study", proxy.uri)
    assert refused.startswith(f"warning: MLflow: {TRIALS} of {TRIALS} trials not uploaded (") and "401" in refused
    assert refused.count("\n") == 0 and proxy.passed == [] and proxy.refused
    wrong = run(tmp_path / "study", proxy.uri, MLFLOW_TRACKING_USERNAME=USER, MLFLOW_TRACKING_PASSWORD="other-33")
    assert "401" in wrong and "other-33" not in wrong and proxy.passed == []
    credentials = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": SECRET}
    assert run(tmp_path / "study", proxy.uri, **credentials) == ""  # uploads what was missing
    requests = len(proxy.passed)
    assert sum(line.endswith("/runs/create") for line in proxy.passed) == TRIALS
    assert sum(line.endswith("/runs/log-batch") for line in proxy.passed) == TRIALS + 1  # the champion's scores
    print(f"{requests} requests of {TRIALS} trials")
    assert requests <= TRIALS * PER_TRIAL + PER_STUDY, proxy.passed
    (tmp_path / "file").mkdir()
    assert run(tmp_path / "study", f"sqlite:///{tmp_path}/file/mlflow.db") == ""
    remote = contents(proxy.database, proxy.database.parent / "files")
    assert remote == contents(tmp_path / "file" / "mlflow.db", tmp_path / "file" / "artifacts")
    assert len(remote[0]) == TRIALS and {"mlflow.note.content", "mlflow.sharedViewState.hpsearch"} <= set(remote[1])

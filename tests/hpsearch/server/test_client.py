"""The client: against a server, and against what is none."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import cases
import pytest

import hpsearch
from hpsearch.errors import ServerError, SpecError
from hpsearch.server import client as module
from hpsearch.server.client import Client
from tests.hpsearch.server.conftest import STUDY, TOKENS, TestServer, serving


def connect(server: TestServer, token: str = "ann") -> Client:
    return hpsearch.connect(server.url, TOKENS.known[token][0])


def test_the_whole_way(server: TestServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table is uploaded with its study, which is followed to its end; then its products are fetched."""
    monkeypatch.chdir(tmp_path)
    Path("my table.csv").write_text("x,y,label\n" + "".join(f"{n},{n % 7},{'ab'[n % 2]}\n" for n in range(80)))
    data = {"source": "csv", "path": "my table.csv", "target": "label"}
    study, client = cases.write(tmp_path, **STUDY, data=data), connect(server)
    submission = client.submit(study, key="once")
    assert client.submit(study, key="once")["id"] == submission["id"]
    kinds = [kind for kind, _ in client.events(submission["id"])]
    assert kinds.count("trial") == 8 and kinds[-1] == "done" and client.study(submission["id"])["state"] == "done"
    assert submission["id"] in [s["id"] for s in client.studies()]
    (prediction,) = client.predict(submission["id"], [{"x": 1, "y": 2}])
    assert prediction["prediction"] in ("a", "b")
    client.fetch(submission["id"], "report", tmp_path / "report.html")
    client.fetch(submission["id"], "trials?format=csv", tmp_path / "trials.csv")
    assert (tmp_path / "report.html").stat().st_size > 100_000
    assert (tmp_path / "trials.csv").read_text().count("\n") == 9
    with pytest.raises(ServerError, match="is done"):
        client.cancel(submission["id"])


def test_refusals(server: TestServer, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="the token is missing or unknown; use the variable HPSEARCH_TOKEN"):
        Client(server.url, "wrong").studies()
    with pytest.raises(ServerError, match="may not do this"):
        connect(server, "eve").submit(cases.write(tmp_path))
    with pytest.raises(SpecError, match=r"small\.yaml"):
        connect(server).submit(cases.write(tmp_path, seed="x"))
    sql = {"source": "sql", "url": "sqlite:///x.db", "query": "SELECT 1", "target": "y"}
    with pytest.raises(SpecError, match="source sql is not allowed on this server"):
        connect(server).submit(cases.write(tmp_path, data=sql))
    with pytest.raises(ServerError, match=r"none\.csv: cannot be read"):
        connect(server).submit(cases.write(tmp_path, data={"source": "csv", "path": "none.csv", "target": "y"}))
    with pytest.raises(ServerError, match="not found"):
        connect(server).study("0" * 16)


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://a", "http://", "http://me:secret@127.0.0.1:1"])
def test_addresses_that_are_not_valid(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HPSEARCH_SERVER", raising=False)
    monkeypatch.setattr(module, "CONFIG", Path("/nothing"))
    with pytest.raises(ServerError) as caught:
        Client(url)
    assert "secret" not in str(caught.value)


def test_where_address_and_token_come_from(server: TestServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The link that the server prints, variables, and a file that only its user may read."""
    token = TOKENS.known["ann"][0]
    monkeypatch.delenv("HPSEARCH_SERVER", raising=False)
    monkeypatch.delenv("HPSEARCH_TOKEN", raising=False)
    assert Client(f"{server.url}/#token={token}").studies() is not None
    file = tmp_path / "server.json"
    monkeypatch.setattr(module, "CONFIG", file)
    file.write_text(json.dumps({"server": server.url, "token": token}))
    file.chmod(0o600)
    assert Client().studies() is not None
    if os.name == "posix":
        file.chmod(0o644)
        with pytest.raises(ServerError, match="chmod 600"):
            Client()
    file.unlink()
    with pytest.raises(ServerError, match="no server is named"):
        Client()
    monkeypatch.setenv("HPSEARCH_SERVER", server.url)
    monkeypatch.setenv("HPSEARCH_TOKEN", token)
    assert Client().studies() is not None


@contextmanager
def other_server(status: int, headers: dict[str, str], body: bytes) -> Iterator[tuple[str, list[Any]]]:
    """Serve the same answer to all requests; yield the address, and the requests."""
    seen: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers.get("Authorization")))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
        server.shutdown()


def test_servers_of_others() -> None:
    """No token follows a redirect, and what is no JSON is one line."""
    with other_server(302, {"Location": "/elsewhere"}, b"") as (url, seen):
        with pytest.raises(ServerError, match="HTTP status 302"):
            Client(url, "a" * 20).studies()
        assert len(seen) == 1
    for body in (b"<html>", b"[1]", b"\xff"):
        with other_server(200, {}, body) as (url, _), pytest.raises(ServerError, match="the answer cannot be read"):
            Client(url, "a" * 20).study("0" * 16)


def test_a_stream_that_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the server is killed, or a proxy has none to ask: it is opened again after the last event."""
    monkeypatch.setattr(module, "PAUSES", (0.01,))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    events = [b'id: %d\nevent: trial\ndata: {"number": %d}\n\n' % (n, n) for n in range(1, 5)]
    end = b'event: done\ndata: {"state": "done"}\n\n'
    cut = [head + events[0] + events[1][:30], b"", b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"]
    answers = [*cut, head + b": still here\n\n" + b"".join(events[1:3]), head + events[3] + end]
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for answer in answers:
                connection, _ = listening.accept()
                with connection:
                    asked.append(connection.recv(65536).lower().partition(b"last-event-id: ")[2].split(b"\r")[0])
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        client = Client(f"http://127.0.0.1:{listening.getsockname()[1]}", "a" * 20)
        found = list(client.events("0" * 16))
        thread.join()
    assert [content["number"] for kind, content in found if kind == "trial"] == [1, 2, 3, 4]
    assert asked == [b"0", b"1", b"1", b"1", b"3"]
    assert [kind for kind, _ in found] == ["trial", "waiting", "trial", "trial", "waiting", "trial", "done"]


def test_a_server_that_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.01,))
    monkeypatch.setattr(module, "OUTAGE_SECONDS", 0.05)
    with other_server(200, {}, b"id: 1\nevent: trial\ndata: {}\n\n") as (url, _):
        events = Client(url, "a" * 20).events("0" * 16)
        assert next(events) == ("trial", {})
    with pytest.raises(ServerError, match="does not answer"):
        list(events)


def test_no_server() -> None:
    with pytest.raises(ServerError, match=r"^http://127\.0\.0\.1:1: does not answer: .*refused"):
        Client("http://127.0.0.1:1", "a" * 20).studies()


@pytest.mark.crash
def test_training_code_is_uploaded(tmp_path: Path) -> None:
    """A study with a function of its own runs where the operator allows code."""
    (tmp_path / "valley.py").write_text("def valley(params):\n    return (params['x'] - 1) ** 2\n")
    content = {
        "name": "own",
        "train": {"function": "valley.py:valley"},
        "metric": {"name": "depth", "goal": "minimize"},
        "parameters": {"x": {"min": 0.0, "max": 2.0}},
        "stages": [{"name": "a", "trials": 6}],
    }
    (tmp_path / "own.yaml").write_text(json.dumps(content))
    with serving(tmp_path / "server", any_source=True) as running:
        client = connect(running)
        id = client.submit(tmp_path / "own.yaml")["id"]
        assert [kind for kind, _ in client.events(id)][-1] == "done"
        assert client.study(id)["best"]["value"] < 1

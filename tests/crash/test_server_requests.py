"""Hostile requests to a real server: none gets through, and none slows a normal client."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
from hostile_requests import hostile_requests, request, zip_bomb
from test_server import server

from hpsearch.server.client import Client

pytestmark = pytest.mark.crash
STUDY: dict[str, Any] = {
    "train": {"optimizer": "momentum", "epochs": 3, "early_stopping": None},
    "stages": [{"name": "coarse", "trials": 3}],
    "pruning": "none",
}
CANARY = "a secret beside the server"
SLOW_CONNECTIONS, P95 = 120, 0.5  # seconds, also on a busy machine


def status(address: tuple[str, int], sent: bytes, seconds: float = 60) -> tuple[int, bytes]:
    """Send bytes; return the status and all that was answered; 0 for no answer, as to a half of a request."""
    answer = b""
    with socket.create_connection(address, seconds) as connection, suppress(OSError):
        with suppress(OSError):  # the server may close before it has read all
            connection.sendall(sent)
        while block := connection.recv(65536):
            answer += block
    first = answer[:12]
    return (int(first[9:12]) if first.startswith(b"HTTP/1.") and first[9:12].isdigit() else 0), answer


def listing(folder: Path) -> dict[str, int]:
    """Return path → size of all files but those that a running server writes."""
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(("server.db", "study.db-")))
    return {str(p.relative_to(folder)): p.stat().st_size for p in files}


def poll(client: Client, id: str, waits: list[float], failed: list[str], stop: threading.Event) -> None:
    """Ask for a study again and again, as a normal client."""
    while not stop.wait(0.03):
        begun = time.perf_counter()
        try:
            client.study(id)
        except Exception as error:
            failed.append(repr(error))
        waits.append(time.perf_counter() - begun)


def crawl(address: tuple[str, int], stack: ExitStack, stop: threading.Event) -> None:
    """Hold connections that send a byte now and then."""
    head = b"GET /api/v1/studies HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "
    held = [stack.enter_context(socket.create_connection(address, 30)) for _ in range(SLOW_CONNECTIONS)]
    place = 0
    while not stop.wait(0.5):
        for connection in held:
            with suppress(OSError):
                connection.sendall(head[place : place + 1] or b"a")
        place += 1


def bombs(client: Client, address: tuple[str, int], fill: Any, sizes: list[int]) -> Counter[int]:
    """Upload files that expand, and ask for a study of them; return statuses and their numbers."""
    found: Counter[int] = Counter()
    for size in sizes:
        content = zip_bomb(size)
        digest = hashlib.sha256(content).hexdigest()
        head = "Content-Type: application/octet-stream"
        assert status(address, fill(request("PUT", f"/api/v1/data/{digest}", head, content)))[0] == 201
        for name in ("a.csv", "a.parquet"):
            body = json.dumps({"name": name, "digest": digest}).encode()
            found[
                status(address, fill(request("POST", "/api/v1/init", "Content-Type: application/json", body)))[0]
            ] += 1
    return found


@pytest.mark.parametrize("part", [9, pytest.param(1, marks=pytest.mark.soak)], ids=["short", "all"])
def test_hostile_requests(tmp_path: Path, part: int) -> None:
    root = tmp_path / "root"
    (tmp_path / "canary").write_text(CANARY)
    every = hostile_requests()
    assert len(every) >= 1000
    kinds = {hostile.kind: hostile for hostile in every}
    chosen = [*every[::part], *([] if part == 1 else kinds.values())]
    with ExitStack() as stack:
        process, client = stack.enter_context(server(root))
        id = client.submit(cases.write(tmp_path, **STUDY))["id"]
        assert [kind for kind, _ in client.events(id)][-1] == "done"
        client.predict(id, [dict.fromkeys(_columns(client, id), 1.0)])
        host = client.url.removeprefix("http://")
        address = "127.0.0.1", int(host.rpartition(":")[2])
        words = {b"HOST": host, b"PORT": str(address[1]), b"TOKEN": client._token, b"ID": id}

        def fill(sent: bytes) -> bytes:
            for word, value in words.items():
                sent = sent.replace(word, value.encode())
            return sent

        before, files, study = listing(tmp_path), sorted(p.name for p in root.iterdir()), client.study(id)
        waits: list[float] = []
        failed: list[str] = []
        stop = threading.Event()
        threads = [threading.Thread(target=poll, args=(client, id, waits, failed, stop))]
        threads += [threading.Thread(target=crawl, args=(address, stack, stop))]
        for thread in threads:
            thread.start()
        begun, got, wrong = time.monotonic(), Counter[int](), []
        try:
            for hostile in chosen:
                code, answer = status(address, fill(hostile.sent), 1.0 if hostile.partial else 20.0)
                got[code] += 1
                if (
                    code not in hostile.fine
                    or b'token": ' in answer
                    or CANARY.encode() in answer
                    or b"root:x" in answer
                ):
                    wrong.append((hostile.kind, code, hostile.sent[:150], answer[-150:]))
            took = time.monotonic() - begun
            expanded = bombs(client, address, fill, [8 << 20] if part > 1 else [8 << 20, 1 << 30])
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        p95 = float(np.quantile(waits, 0.95))
        print(f"{len(chosen)} hostile requests in {took:.1f} s: {dict(sorted(got.items()))}; bombs: {dict(expanded)}")
        print(f"{len(waits)} normal ones meanwhile: median {np.median(waits) * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms")
        assert wrong[:9] == [] and failed[:3] == [] and set(expanded) <= {422, 413} and p95 <= P95
        assert process.poll() is None
        assert client.study(id) == study and [s["id"] for s in client.studies()] == [id]
        after = {path: size for path, size in listing(tmp_path).items() if not path.startswith("root/data/")}
        assert after == before and sorted(p.name for p in root.iterdir()) == files


def _columns(client: Client, id: str) -> list[str]:
    return [column["name"] for column in client._json("GET", f"/studies/{id}/columns")["columns"]]


@pytest.mark.soak
@pytest.mark.parametrize("token", [True, False], ids=["with token", "without"])
def test_schemathesis(tmp_path: Path, token: bool) -> None:
    """Requests that are generated from the description of the interface: no 5xx, and no status that is not in it."""
    command = os.environ.get("HPSEARCH_TEST_SCHEMATHESIS") or shutil.which("schemathesis")
    if command is None:
        pytest.skip("schemathesis is not installed; install it elsewhere, and name it in HPSEARCH_TEST_SCHEMATHESIS")
    with server(tmp_path / "root") as (_, client):
        id = client.submit(cases.write(tmp_path, **STUDY))["id"]
        list(client.events(id))
        hook = "if path_parameters and 'id' in path_parameters and len(str(path_parameters)) % 3: path_parameters['id']"
        lines = ["import schemathesis", "@schemathesis.hook", "def map_path_parameters(context, path_parameters):"]
        (tmp_path / "hooks.py").write_text("\n".join([*lines, f"    {hook} = '{id}'", "    return path_parameters"]))
        checks = "not_a_server_error,status_code_conformance,content_type_conformance,unsupported_method"
        arguments = ["run", f"{client.url}/api/v1/openapi.json", "-n", "30", "--seed", "1", "--request-timeout", "30"]
        arguments += ["--checks", checks + ",ignored_auth" * token, "--exclude-path-regex", "events"]  # it has no end
        arguments += ["-H", f"Authorization: Bearer {client._token}", "--exclude-method", "DELETE"] if token else []
        environment = {"PATH": os.environ["PATH"], "SCHEMATHESIS_HOOKS": str(tmp_path / "hooks.py")}
        run = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
        done = subprocess.run([command, *arguments], **run)  # type: ignore[call-overload]
        print(done.stdout[-600:])
        assert done.returncode == 0, done.stdout[-5000:]

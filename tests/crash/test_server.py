"""A server that is killed again and again: all studies end, with the tables that the command gives."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cases
import pytest

import hpsearch
from hpsearch.server.client import Client

pytestmark = [pytest.mark.crash, pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc")]
STUDY: dict[str, Any] = {
    "data": {"source": "sklearn", "name": "digits"},
    "train": {"optimizer": "momentum", "epochs": 12, "early_stopping": None},
    "stages": [{"name": "coarse", "trials": 8}, {"name": "confirm", "top": 1, "seeds": 2}],
    "pruning": "none",
}


@contextmanager
def server(root: Path, port: int = 0, allowed: str = "localhost") -> "Iterator[tuple[subprocess.Popen[str], Client]]":
    command = [sys.executable, "-m", "hpsearch", "serve", "--root", str(root), "--port", str(port), "--jobs", "2"]
    command += ["--tracking-uri", "none", "--allow-host", allowed]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONUNBUFFERED": "1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, env=environment, **pipes)
    try:
        line = process.stdout.readline().strip()  # type: ignore[union-attr]
        assert line.startswith("http://"), line
        yield process, Client(line)
    finally:
        process.kill()
        process.communicate()


def processes(root: Path) -> list[int]:
    """Return the processes of studies: those whose current folder is in that of the server."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if Path(os.readlink(entry / "cwd")).is_relative_to(root):
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize(
    ("studies", "kills"), [(3, 5), pytest.param(20, 50, marks=pytest.mark.soak)], ids=["short", "long"]
)
def test_killed_again_and_again(tmp_path: Path, studies: int, kills: int) -> None:
    """The server, or a process of a study; after the last start all studies are done."""
    root, choose, files = tmp_path / "root", random.Random(3), []
    for seed in range(studies):
        (tmp_path / str(seed)).mkdir()
        files.append(cases.write(tmp_path / str(seed), **STUDY, seed=seed))
    with server(root) as (_, client):
        ids = [client.submit(file)["id"] for file in files]
    killed = 0
    while killed < kills:
        with server(root) as (process, _):
            while killed < kills and process.poll() is None:
                time.sleep(choose.uniform(0.1, 1.5))
                target = choose.choice([process.pid, *processes(root)])
                with suppress(ProcessLookupError):
                    os.kill(target, signal.SIGKILL)
                killed += 1
                if target == process.pid:
                    process.wait()
    with server(root) as (_, client):
        end = time.monotonic() + 300
        while {s["state"] for s in client.studies()} != {"done"}:
            assert time.monotonic() < end, client.studies()
            time.sleep(0.2)
    end = time.monotonic() + 20
    while left := processes(root):
        assert time.monotonic() < end, left
        time.sleep(0.1)
    for id, file in zip(ids, files, strict=True):
        hpsearch.run(file, storage=tmp_path / f"{id}.db", tracking_uri="none")
        assert cases.table(root / "studies" / id / "study.db") == cases.table(tmp_path / f"{id}.db")


def test_killed_after_an_answer(tmp_path: Path) -> None:
    """A study stays cancelled if its user was told so; clients that follow another one do not notice the kill."""
    root, long = tmp_path / "root", {**STUDY, "train": {**STUDY["train"], "epochs": 300}}
    for name, content in (("long", long), ("short", STUDY)):
        (tmp_path / name).mkdir()
        cases.write(tmp_path / name, **content)
    with server(root) as (process, client):
        port = int(client.url.rpartition(":")[2])
        cancelled, followed = (
            client.submit(next((tmp_path / name).glob("*.yaml")))["id"] for name in ("long", "short")
        )
        while client.study(cancelled)["state"] != "running":
            time.sleep(0.02)
        events = client.events(followed)
        seen = [next(events)]
        assert client.cancel(cancelled)["cancelling"]
        process.kill()
    with server(root, port) as (_, client):
        seen += events
        assert client.study(cancelled)["state"] == "cancelled"
    kinds = [kind for kind, _ in seen]
    labels = [content["label"] for kind, content in seen if kind == "trial"]
    assert "waiting" in kinds and kinds[-1] == "done" and len(labels) == len(set(labels)) == 10

"""The runner: studies end as their processes do, and a killed one continues."""

import hashlib
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import cases
import pytest

import hpsearch
from hpsearch.server import runner
from hpsearch.server.runner import MAX_ATTEMPTS
from tests.hpsearch.server.conftest import STUDY, TestServer, serving, study_text

LONG = {"train.epochs": 400, "stages": [{"name": "coarse", "trials": 200}]}


def processes(folder: Path) -> list[int]:
    """Return the processes whose current folder is that of a study."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if Path(os.readlink(entry / "cwd")) == folder:
                found.append(int(entry.name))
    return found


def test_the_table_is_that_of_the_command(server: TestServer, done: str, tmp_path: Path) -> None:
    spec = cases.content(**STUDY)
    hpsearch.run(spec, storage=tmp_path / "study.db", tracking_uri="none")
    assert cases.table(server.service.places.study(done) / "study.db") == cases.table(tmp_path / "study.db")
    study = server.ask("GET", f"studies/{done}").json
    assert study["started"] >= study["created"] and study["ended"] > study["started"] and study["error"] is None


@pytest.mark.crash
def test_failed(server: TestServer) -> None:
    """With the last line of the process as its reason; resuming tries again."""
    data = {"source": "csv", "path": "table.csv", "target": "y"}
    content, digest = b"x,y\n1,2\n", hashlib.sha256(b"x,y\n1,2\n").hexdigest()
    assert server.ask("PUT", f"data/{digest}", content, media="application/octet-stream").status in (200, 201)
    body = {"study": study_text(data=data), "files": {"table.csv": digest}}
    id = server.ask("POST", "studies", body).json["id"]
    error = server.wait(id, "failed")["error"]
    assert error and "\n" not in error and error in server.ask("GET", f"studies/{id}/log").body.decode()
    assert server.ask("POST", f"studies/{id}/resume").json["state"] == "queued"
    server.wait(id, "failed")


@pytest.mark.crash
def test_cancelled_and_resumed(server: TestServer) -> None:
    """Finished trials are kept."""
    id = server.submit(**LONG)
    while server.ask("GET", f"studies/{id}").json["finished"] < 2:
        time.sleep(0.05)
    assert server.ask("POST", f"studies/{id}/cancel").status == 200
    study = server.wait(id, "cancelled")
    assert 2 <= study["finished"] < 200 and not processes(server.service.places.study(id))
    assert server.ask("POST", f"studies/{id}/cancel").status == 409
    assert server.ask("DELETE", f"studies/{id}").status == 204 and not server.service.places.study(id).exists()
    assert server.ask("GET", f"studies/{id}").status == 404


@pytest.mark.crash
@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc")
def test_a_killed_process_continues(server: TestServer) -> None:
    """A study whose processes are killed is queued again, with what it has."""
    id = server.submit(**{**LONG, "stages": [{"name": "coarse", "trials": 12}]})
    folder = server.service.places.study(id)
    while server.ask("GET", f"studies/{id}").json["finished"] < 2:
        time.sleep(0.02)
    for pid in processes(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    study = server.wait(id, "done", "failed", "interrupted")
    assert study["state"] == "done" and study["finished"] == 12
    assert server.service.queue.get(id).attempts == 1 < MAX_ATTEMPTS


@pytest.mark.crash
def test_another_server_takes_over(tmp_path: Path) -> None:
    """When a server stops, its studies are queued again."""
    with serving(tmp_path / "root") as first:
        id = first.submit(**{**LONG, "stages": [{"name": "coarse", "trials": 10}]})
        while first.ask("GET", f"studies/{id}").json["finished"] < 2:
            time.sleep(0.02)
    with serving(tmp_path / "root") as second:
        assert second.wait(id, "done", "failed")["finished"] == 10


def test_a_cancelled_study_of_an_earlier_server(tmp_path: Path) -> None:
    """The server was killed before it had ended the process: the study is cancelled, and does not run again."""
    with serving(tmp_path / "root", run=False) as first:
        ids = [first.submit() for _ in range(2)]
        for id in ids:
            first.service.queue.change(id, "running", "queued")
        answer = first.ask("POST", f"studies/{ids[0]}/cancel")
        assert (answer.status, answer.json["state"], answer.json["cancelling"]) == (200, "running", True)
    with serving(tmp_path / "root") as second:
        assert second.ask("GET", f"studies/{ids[0]}").json["state"] == "cancelled"
        assert second.ask("GET", f"studies/{ids[1]}").json["state"] in ("queued", "running", "done")


def test_a_deletion_that_was_broken_off(tmp_path: Path) -> None:
    """The server was killed before the folder was deleted."""
    with serving(tmp_path / "root", run=False) as first:
        id = first.submit()
        first.service.queue.hold(id)
        folder = first.service.places.study(id)
        assert folder.exists() and first.ask("GET", f"studies/{id}").status == 404
    with serving(tmp_path / "root"):
        assert not folder.exists()


@pytest.mark.crash
def test_the_disk_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study that grows beyond it is interrupted, others wait, and all continue when there is room."""
    monkeypatch.setattr(runner, "DISK_SECONDS", 0.1)
    with serving(tmp_path / "root", jobs=1) as server:
        places = server.service.places
        running, waiting = server.submit(**LONG), server.submit()
        while server.ask("GET", f"studies/{running}").json["finished"] < 1:
            time.sleep(0.02)
        places.quota = places.measure() - 1
        study = server.wait(running, "interrupted", "done")
        assert study["state"] == "interrupted" and "the disk quota of this server" in study["error"]
        while server.ask("GET", f"studies/{waiting}").json["error"] is None:
            time.sleep(0.02)
        assert server.ask("GET", f"studies/{waiting}").json["state"] == "queued"
        assert server.ask("POST", "studies", {"study": study_text()}).status == 413
        digest = hashlib.sha256(b"a").hexdigest()
        assert server.ask("PUT", f"data/{digest}", b"a", media="application/octet-stream").status == 413
        places.quota = 1 << 30
        assert server.wait(waiting, "done", "failed")["error"] is None
        assert server.ask("POST", f"studies/{running}/resume").json["error"] is None
        server.wait(running, "running")

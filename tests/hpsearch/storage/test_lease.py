"""The lease: held by one coordinator, taken over from one that has ended (killed in tests/crash/test_lease.py)."""

import os
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from hpsearch.errors import StorageError
from hpsearch.storage import lease
from hpsearch.storage.lease import EXPIRY, Holder, study_lock
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase

HOST = socket.gethostname()[:255]


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def put(file: Path, host: str, pid: int, heartbeat: float) -> None:
    """Store a lease of another process."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("DELETE FROM hpsearch_lease")
        row = ("coordinator", "other", host, pid, heartbeat, heartbeat)
        connection.execute(
            "INSERT INTO hpsearch_lease (name, token, host, pid, since, heartbeat) VALUES (?,?,?,?,?,?)", row
        )
        connection.commit()


def test_a_holder_is_gone_with_its_process_or_its_heartbeat() -> None:
    now = time.time()
    assert not Holder(HOST, os.getpid(), now, 0.0).has_ended
    assert Holder(HOST, ended_process(), now, now).has_ended
    assert not Holder("elsewhere", 1, now, now - EXPIRY + 5).has_ended
    assert Holder("elsewhere", 1, now, now - EXPIRY - 5).has_ended


def test_held_and_released(database: StudyDatabase) -> None:
    assert database.lease.holder() is None and not database.lease.is_running()
    with database.lease.hold():
        holder = database.lease.holder()
        assert holder is not None and (holder.host, holder.pid) == (HOST, os.getpid())
        assert database.lease.is_running()
    assert database.lease.holder() is None


def test_a_second_coordinator_is_refused(database: StudyDatabase, file: Path) -> None:
    other = StudyDatabase.open(url_of(str(file)), create=False)
    said = f"is run by process {os.getpid()} on"
    with database.lease.hold(), pytest.raises(StorageError, match=said), other.lease.hold():
        pass
    with other.lease.hold():
        pass
    other.close()


def test_a_lease_on_another_host_is_respected_until_it_expires(database: StudyDatabase, file: Path) -> None:
    put(file, "elsewhere", 7, time.time())
    with pytest.raises(StorageError, match="is run by process 7 on elsewhere"), database.lease.hold():
        pass
    put(file, "elsewhere", 7, time.time() - EXPIRY - 5)
    with database.lease.hold():
        assert database.lease.is_running()


def test_a_reused_process_id_does_not_run_the_study(database: StudyDatabase, file: Path) -> None:
    """The lock file is free, so the process of that id is another program's."""
    with study_lock(database.url, database.lease.holder):
        pass
    put(file, HOST, os.getppid(), time.time())
    assert database.lease.holder() is not None and not database.lease.is_running()


def test_a_lost_lease_stops_every_write(database: StudyDatabase, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.lease.hold():
        database.stages.begin("coarse", {})
        put(file, "elsewhere", 7, time.time())
        with pytest.raises(StorageError, match="this study was taken over by process 7 on elsewhere"):
            database.stages.begin("fine", {})
        database.lease.heartbeat()  # the last renewal is recent
        monkeypatch.setattr(lease, "HEARTBEAT", 0.0)
        with pytest.raises(StorageError, match="taken over"):
            database.lease.heartbeat()
    assert list(database.stages.load()) == ["coarse"]
    assert database.lease.holder() is not None, "the other process keeps its lease"


def test_a_heartbeat_renews_the_lease(database: StudyDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT", 0.0)
    with database.lease.hold():
        before = database.lease.holder()
        time.sleep(0.01)
        database.lease.heartbeat()
        after = database.lease.holder()
    assert before is not None and after is not None and after.heartbeat > before.heartbeat

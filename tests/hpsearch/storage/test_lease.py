"""The lease: held by one coordinator, taken over from one that has ended (killed in tests/crash/test_lease.py)."""

import errno
import fcntl
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from hpsearch.core.files.file_lock import LockTakenError, locked
from hpsearch.errors import StorageError
from hpsearch.storage import lease
from hpsearch.storage.lease import EXPIRY, Holder
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
        row = ("small", "other", host, pid, heartbeat, heartbeat, 0)
        connection.execute(
            "INSERT INTO hpsearch_lease (study, token, host, pid, since, heartbeat, writes) VALUES (?,?,?,?,?,?,?)", row
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
    """A process that started after the lease was taken is another program's."""
    put(file, HOST, os.getppid(), 1e6)
    assert database.lease.holder() is not None and not database.lease.is_running()
    with database.lease.hold():
        pass


def test_a_living_process_of_this_host_is_believed(database: StudyDatabase, file: Path) -> None:
    """Whatever its lock: an earlier version locks a file beside the database."""
    put(file, HOST, os.getppid(), time.time())
    with pytest.raises(StorageError, match=f"is run by process {os.getppid()} on"), database.lease.hold():
        pass


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
def test_a_process_that_waits_for_its_parent_has_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert Holder(HOST, process.pid, time.time(), time.time()).has_ended
    process.wait()


def test_the_lease_in_a_copy_is_free(database: StudyDatabase, file: Path) -> None:
    """A copy made while the study runs can be resumed, and read as a study that is not running."""
    copy = file.with_name("copy.db")
    with database.lease.hold():
        for end in ("", "-wal"):
            shutil.copy(f"{file}{end}", f"{copy}{end}")
        other = StudyDatabase.open(url_of(str(copy)), create=False)
        assert other.lease.holder() is None and not other.lease.is_running()
        with other.lease.hold():
            assert other.lease.is_running()
        other.close()


# ── one lock for all names, and without locks ─────────────────────────────────────────────────────────────────────────
def without_lock_files(names: list[str]) -> list[str]:
    return sorted(name for name in names if not name.endswith(".lock"))


def test_the_lock_is_on_the_file(database: StudyDatabase, file: Path) -> None:
    """A second name that appears while the study runs, such as a mount in a container."""
    with database.lease.hold():
        os.link(file, file.with_name("b.db"))
        with pytest.raises(LockTakenError), locked(file.with_name("b.db")):
            pass
        with pytest.raises(StorageError, match=r"b\.db: has 2 names \(hard links\)"):
            StudyDatabase.open(url_of(str(file.with_name("b.db"))), create=False)
    assert without_lock_files([p.name for p in file.parent.iterdir()]) == ["a.db", "a.db-shm", "a.db-wal", "b.db"]


def test_another_process_by_another_lock_file(database: StudyDatabase, file: Path) -> None:
    """The lock file is a stray of another name; the lock on the database counts."""
    database.close()
    with locked(file), pytest.raises(StorageError, match="this study is run by another process"):
        other = StudyDatabase.open(url_of(str(file)), create=False)
        try:
            with other.lease.hold():
                pass
        finally:
            other.close()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_without_locks_a_living_coordinator_keeps_its_lease(
    database: StudyDatabase, file: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It is believed by its process id; one that has ended is not."""

    def missing(_number: int, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", missing)
    with database.lease.hold():
        before = sorted(p.name for p in file.parent.iterdir())
        other = StudyDatabase.open(url_of(str(file)), create=False)
        with pytest.raises(StorageError, match=f"is run by process {os.getpid()} on"), other.lease.hold():
            pass
        database.lease.renew()
        other.close()
        assert sorted(p.name for p in file.parent.iterdir()) == before
    put(file, HOST, ended_process(), time.time())
    with database.lease.hold():
        assert database.lease.is_running()


# ── a database that is moved while the study runs ─────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("how", ["moved", "deleted", "replaced"])
def test_a_database_that_is_gone_is_noticed(database: StudyDatabase, file: Path, how: str) -> None:
    """No write is lost in a file without a name, and no stray file is left; a moved file is complete."""
    place = file.parent / "else where"
    place.mkdir()
    with pytest.raises(StorageError) as caught, database.lease.hold():
        database.stages.begin("coarse", {})
        if how == "deleted":
            file.unlink()
        else:
            file.rename(place / "b.db")
        if how == "replaced":
            (place / "b.db").unlink()
            file.write_bytes(b"another")
        database.stages.begin("fine", {})
    database.close()
    said = str(caught.value)
    expected = {
        "moved": f"was moved to {place}/b.db while the study ran; everything finished is in it; "
        f"resume with: hpsearch resume '{place}/b.db'",
        "deleted": "was deleted, or moved to another disk, while the study ran; restore a copy",
        "replaced": "was replaced by another file while the study ran; restore a copy",
    }
    assert said.startswith(f"{file}: {expected[how]}")
    left = [p.name for p in file.parent.iterdir() if p.is_file() and not p.name.endswith(".lock")]
    if how == "replaced":
        assert file.read_bytes() == b"another" and set(left) <= {"a.db", "a.db-wal", "a.db-shm"}
        assert not any(Path(f"{file}-wal").stat().st_size for _ in left[1:])
        return
    assert left == []
    if how == "moved":
        for end in ("-wal", "-shm"):
            assert not Path(f"{place}/b.db{end}").exists()
        moved = StudyDatabase.open(url_of(f"{place}/b.db"), create=False)
        assert list(moved.stages.load()) == ["coarse"] and moved.lease.holder() is None
        moved.close()


def test_a_moved_database_keeps_what_was_written_last(database: StudyDatabase, file: Path) -> None:
    """Also without a further write: SQLite merges the log only into a file in its place."""
    with database.lease.hold():
        database.stages.begin("coarse", {})
        file.rename(file.with_name("b.db"))
    database.close()
    assert without_lock_files([p.name for p in file.parent.iterdir()]) == ["b.db"]
    moved = StudyDatabase.open(url_of(str(file.with_name("b.db"))), create=False)
    assert list(moved.stages.load()) == ["coarse"]
    moved.close()


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

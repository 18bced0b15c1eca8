"""SQLite files without a write-ahead log on a network file system; a list of mounts takes the place of the system's."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import pytest

from hpsearch.admin.doctor.machine import check_network
from hpsearch.core.files import mounts
from hpsearch.core.files.file_lock import descriptor
from hpsearch.errors import StorageError
from hpsearch.storage.access.rollback import check_locks
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from tests.hpsearch.test_cli import call, refused  # noqa: F401 (call is a fixture)

TINY = {"train.epochs": 1, "stages.0.trials": 2, "stages.1.trials": 1}


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that lets the folder of the test seem to be of a network file system."""
    lines = tmp_path / "mounts"
    monkeypatch.setattr(mounts, "MOUNTS", lines)

    def mount(kind: str, options: str = "rw") -> None:
        lines.write_text(f"1 0 8:0 / / rw - ext4 /dev/a rw\n2 1 0:9 / {tmp_path} rw - {kind} host:/home {options}\n")

    return mount


def test_a_study_without_a_log(call: Callable[..., Any], mounted: Callable[[str], None], tmp_path: Path) -> None:  # noqa: F811
    """It is refused before anything is written; with sound locks it runs, and is resumed, without a log."""
    study, file = cases.write(tmp_path, **TINY), tmp_path / "small.db"
    command = ("run", study, "--tracking-uri", "none")
    mounted("nfs4")
    said = call(*command)
    refused(said, "network file system (nfs4", "or a PostgreSQL server", "--storage-mode rollback")
    assert not file.exists() and not Path(f"{file}.lock").exists()
    assert call(*command, "--storage-mode", "rollback").code == 0
    table, head = cases.table(file), file.read_bytes()[18:20]
    assert head == b"\1\1" and not Path(f"{file}-wal").exists()
    assert call("resume", file, "--tracking-uri", "none").code == 0, "the file stays as it is"
    assert file.read_bytes()[18:20] == b"\1\1" and cases.table(file) == table
    (found,) = check_network([str(file)], "none")
    assert found.level == "ok" and "locks work" in found.text
    mounted("nfs4", "rw,nolock")  # type: ignore[call-arg]
    refused(call("resume", file, "--tracking-uri", "none"), "needs locks that all machines see", "without")
    (found,) = check_network([str(file)], "none")
    assert found.level == "FAIL" and "PostgreSQL" in found.remedy


def test_sqlite_can_lock_beside_the_coordinator(mounted: Callable[[str], None], tmp_path: Path) -> None:
    """On NFS, a lock on the whole file by `flock` would be one of SQLite's own: only the file beside it is locked."""
    mounted("nfs4")
    file = tmp_path / "a.db"
    database = StudyDatabase.open(url_of(str(file)), "small", create=True, rollback=True)
    with database.lease.hold(), descriptor(file, os.O_RDWR) as number:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(number, fcntl.LOCK_UN)
        other = StudyDatabase.open(url_of(str(file)), "small", create=True)
        with pytest.raises(StorageError, match="is run by process"), other.lease.hold():
            pass
        other.close()
    database.close()


@pytest.mark.parametrize(("kind", "options"), [("fuse.sshfs", "rw"), ("lustre", "rw"), ("cifs", "rw,nobrl")])
def test_locks_that_are_not_sound(mounted: Any, tmp_path: Path, kind: str, options: str) -> None:
    mounted(kind, options)
    with pytest.raises(StorageError, match=f"locks that all machines see, which {kind} at .* PostgreSQL server"):
        check_locks(tmp_path / "a.db")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mounts"]


def test_a_lock_is_tried(mounted: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that the system grants twice excludes no process."""
    mounted("nfs4")
    check_locks(tmp_path / "a.db")
    monkeypatch.setattr(fcntl, "lockf", lambda *_: None)
    with pytest.raises(StorageError, match="does not keep another process out"):
        check_locks(tmp_path / "a.db")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mounts"]


def test_a_file_of_this_machine_and_a_server(call: Callable[..., Any], tmp_path: Path) -> None:  # noqa: F811
    study = cases.write(tmp_path, **TINY)
    file = tmp_path / "small.db"
    assert call("run", study, "--tracking-uri", "none", "--storage-mode", "rollback").code == 0
    assert file.read_bytes()[18:20] == b"\1\1", "also on a disk of this machine"
    assert call("resume", file, "--tracking-uri", "none").code == 0
    assert file.read_bytes()[18:20] == b"\2\2"
    command = (
        "run",
        study,
        "--tracking-uri",
        "none",
        "--storage",
        "postgresql://host/db",
        "--storage-mode",
        "rollback",
    )
    refused(call(*command), "is for a file, not for a server")

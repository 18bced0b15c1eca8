"""Locks: one holder for all names of a file, free once it has ended; descriptors that keep SQLite's locks."""

import errno
import fcntl
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from hpsearch.core.files import file_lock
from hpsearch.core.files.file_lock import FileId, LockTakenError, begin_use, descriptor, end_use, locked


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a"
    path.touch()
    return path


def test_the_identity_is_that_of_the_file(file: Path) -> None:
    link, other = file.with_name("link"), file.with_name("other")
    link.symlink_to(file)
    os.link(file, other)
    assert FileId.of(file) == FileId.of(link) == FileId.of(other) is not None
    assert FileId.of(file.with_name("none")) is FileId.of(Path("a\0b")) is None


@pytest.mark.parametrize("name", ["a", "hard", "soft"])
def test_one_holder_for_all_names(file: Path, name: str) -> None:
    os.link(file, file.with_name("hard"))
    file.with_name("soft").symlink_to(file)
    with locked(file) as held:
        assert held
        with pytest.raises(LockTakenError), locked(file.with_name(name)):
            pass
    with locked(file.with_name(name)) as held:
        assert held


def test_a_lock_ends_with_its_process(file: Path) -> None:
    code = f"from hpsearch.core.files.file_lock import *; x = locked(Path({str(file)!r})); x.__enter__()"
    command = [sys.executable, "-c", f"{code}; print(1, flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline()
        with pytest.raises(LockTakenError), locked(file):
            pass
        process.kill()
        process.wait()
    with locked(file) as held:
        assert held


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks(file: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The file stays as it is: it may be what another process has locked."""
    with locked(file):

        def missing(_number: int, _operation: int) -> None:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(fcntl, "flock", missing)
            with locked(file) as held:
                assert not held
        assert [p.name for p in file.parent.iterdir()] == ["a"]
        with pytest.raises(LockTakenError), locked(file):
            pass


def test_a_link_is_not_followed_when_a_lock_file_is_created(file: Path) -> None:
    link = file.with_name("link")
    link.symlink_to(file.with_name("elsewhere"))
    with pytest.raises(OSError), locked(link, create=True):
        pass
    assert not file.with_name("elsewhere").exists()


def test_descriptors_keep_the_locks_of_sqlite(tmp_path: Path) -> None:
    """Closing one would release SQLite's locks, and another process would write at the same time."""
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE made (x)")
        file = FileId.of(path)
        assert file is not None
        begin_use(file)
        connection.execute("BEGIN IMMEDIATE")
        with descriptor(path) as number:
            assert os.read(number, 6) == b"SQLite"
        assert writes_elsewhere(path) == "database is locked"
        connection.execute("COMMIT")
        end_use(file)
    with pytest.raises(OSError):
        os.fstat(number)
    assert writes_elsewhere(path) == "" and not file_lock._deferred and not file_lock._in_use


def writes_elsewhere(path: Path) -> str:
    """Return the error of another process that writes to a database."""
    code = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0).execute('BEGIN IMMEDIATE')"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return process.stderr.rpartition("OperationalError: ")[2].strip()

"""SQLite files: URLs of paths, checks, the meaning of errors, and the write-ahead log."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from hpsearch.core.files import mounts
from hpsearch.errors import StorageError
from hpsearch.storage import sqlite_file
from hpsearch.storage.database import display_name, file_of
from hpsearch.storage.sqlite_file import (
    ALLOW_NETWORK,
    check_file,
    check_local,
    connect_existing,
    create_private,
    default_tracking_uri,
    default_url,
    file_stamp,
    integrity_error,
    readable,
    set_pragmas,
    sqlite_problem,
    url_of,
)


@pytest.mark.parametrize("name", ["a%20b", "%2e%2E", "%", "100%", "%%41", "%zz", "a #1 ü+%3F{0}", "a%252520b"])
def test_a_path_is_the_file_of_that_name(name: str) -> None:
    file = Path("/somewhere") / name / "small.db"
    url = url_of(str(file))
    assert file_of(url) == file and display_name(url) == str(file) and url_of(url) == url


def test_a_plain_path_is_a_plain_url(tmp_path: Path) -> None:
    """A path that SQLAlchemy decodes names the driver: of `sqlite:///…` MLflow makes the folder without decoding."""
    assert url_of(f"{tmp_path}/100%/a b.db") == f"sqlite:///{tmp_path}/100%/a b.db"
    url = url_of(f"{tmp_path}/a%20b/mlflow.db")
    decodes = sa.make_url("sqlite:///a%20b").database == "a b"  # since SQLAlchemy 2.1
    assert url.startswith("sqlite+") == decodes and sa.make_url(url).database == f"{tmp_path}/a%20b/mlflow.db"


def test_a_path_with_a_question_mark_is_refused() -> None:
    with pytest.raises(StorageError, match="question mark"):
        url_of("a?b.db")


def test_default_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_url(Path("studies/a.yaml"), "small") == "sqlite:///studies/small.db"
    assert file_of(default_tracking_uri()) == tmp_path / "mlruns/mlflow.db"


def made(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE made (x)")
        connection.execute("CREATE INDEX by_x ON made (x)")
        connection.executemany("INSERT INTO made VALUES (?)", [(n,) for n in range(2000)])
        connection.commit()
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such database"),
        (b"", "is empty; restore a copy"),
        (b"This is text and no database.", "is not a database"),
        ("folder", "is a folder"),
        ("pipe", "is a device or a pipe"),
        ("cut", "is damaged"),
    ],
)
def test_check_file(tmp_path: Path, content: bytes | str | None, message: str) -> None:
    path = tmp_path / "a.db"
    if content == "folder":
        path.mkdir()
    elif content == "pipe":
        os.mkfifo(path)
    elif content == "cut":
        path.write_bytes(made(tmp_path / "whole.db").read_bytes()[:-100])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(StorageError, match=f"a.db: {message}"):
        check_file(path, create=False)


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal", ".lock"])
def test_names_of_the_files_beside_a_database_are_refused(tmp_path: Path, end: str) -> None:
    """A database `a.db-wal` would become the log of `a.db`."""
    with pytest.raises(StorageError, match="belong to another database"):
        check_file(tmp_path / f"a.db{end}", create=True)
    check_file(tmp_path / "wal.db", create=True)


def test_a_log_without_its_file_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "a.db-wal"
    log.write_bytes(b"data")
    with pytest.raises(StorageError, match=r"empty or missing, but its log a\.db-wal is not"):
        check_file(tmp_path / "a.db", create=True)
    assert log.read_bytes() == b"data"


def test_a_new_file_needs_a_folder(tmp_path: Path) -> None:
    check_file(tmp_path / "a.db", create=True)
    with pytest.raises(StorageError, match="there is no folder"):
        check_file(tmp_path / "none" / "a.db", create=True)


def test_integrity_error(tmp_path: Path) -> None:
    """Only the thorough check compares an index with its table."""
    path = made(tmp_path / "a.db")
    with closing(sqlite3.connect(path)) as connection:
        assert integrity_error(connection.execute, thorough=True) is None
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = 'CREATE INDEX by_x ON made (x DESC)' WHERE name = 'by_x'")
        connection.commit()
    with closing(sqlite3.connect(path)) as connection:
        assert integrity_error(connection.execute) is None
        assert integrity_error(connection.execute, thorough=True) is not None


@pytest.mark.parametrize(
    ("message", "problem", "remedy"),
    [
        ("database or disk is full", "the disk is full", "free some space"),
        ("attempt to write a readonly database", "read-only", "permissions"),
        ("database is locked", "another process is writing to it", "wait"),
        ("file is not a database", "is not a database", "another file"),
        ("database disk image is malformed", "is damaged", "restore a copy"),
    ],
)
def test_sqlite_problem(message: str, problem: str, remedy: str) -> None:
    found = sqlite_problem(message)
    assert found is not None and problem in found.problem and remedy in found.remedy


def test_an_unknown_message_has_no_meaning() -> None:
    assert sqlite_problem("no such table: made") is None


def test_readable_uses_locks_only_for_a_file_in_use(tmp_path: Path) -> None:
    path = made(tmp_path / "a #1.db")
    with closing(sqlite3.connect(path)) as connection:
        set_pragmas(connection, None)
    with readable(path) as address:
        assert address.endswith("?immutable=1") and "%20%231" in address
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("SELECT count(*) FROM made").fetchone()
        with readable(path) as address:
            assert address.endswith("?mode=ro")


def test_file_stamp_changes_with_the_log(tmp_path: Path) -> None:
    path = made(tmp_path / "a.db")
    before = file_stamp(path)
    os.utime(path, (1, 1))
    moved = file_stamp(path)
    Path(f"{path}-wal").write_bytes(b"data")
    assert len({tuple(stamp) for stamp in (before, moved, file_stamp(path))}) == 3
    assert file_stamp(tmp_path / "none.db") == []


def test_the_log_is_turned_on_after_another_writer_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite itself does not wait here, whatever its timeout."""
    with beside_a_writer(tmp_path / "a.db") as (other, _), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("PRAGMA journal_mode=WAL")
    waits: list[float] = []
    with beside_a_writer(tmp_path / "b.db") as (other, writer):

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                writer.execute("COMMIT")

        monkeypatch.setattr(sqlite_file.time, "sleep", sleep)
        set_pragmas(other, None)
    assert len(waits) == 3


def test_the_log_is_not_waited_for_forever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT", 0.05)
    with beside_a_writer(tmp_path / "a.db") as (other, _), pytest.raises(sqlite3.OperationalError, match="locked"):
        set_pragmas(other, None)


@contextmanager
def beside_a_writer(file: Path) -> Iterator[tuple[sqlite3.Connection, sqlite3.Connection]]:
    """Yield a connection, and another one that makes a table and has not committed it."""
    with (
        closing(sqlite3.connect(file, isolation_level=None)) as writer,
        closing(sqlite3.connect(file, timeout=5)) as other,
    ):
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("CREATE TABLE made (x)")
        yield other, writer


# ── names ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("create", [False, True])
def test_a_file_with_two_names_is_refused(tmp_path: Path, create: bool) -> None:
    path = made(tmp_path / "a b.db")
    os.link(path, tmp_path / "c.db")
    for name in ("a b.db", "c.db"):
        with pytest.raises(StorageError, match=rf"{name}: has 2 names \(hard links\), .*; make a copy .*: cp '?/"):
            check_file(tmp_path / name, create)
    (tmp_path / "c.db").unlink()
    check_file(path, create)


def test_a_mounted_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, lines = made(tmp_path / "a.db"), ["1 0 8:0 / / rw - ext4 /dev/a rw"]
    (tmp_path / "mounts").write_text("\n".join(lines))
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "mounts")
    check_file(path, create=False)
    lines.append(f"2 1 8:0 /b.db {path} rw - ext4 /dev/a rw")
    (tmp_path / "mounts").write_text("\n".join(lines))
    with pytest.raises(StorageError, match=r"is a file mounted under a second name, .*; mount its folder"):
        check_file(path, create=False)


def test_a_symbolic_link_leads_to_the_file_and_its_log(tmp_path: Path) -> None:
    """A log left by a kill, and one in use, both beside the file that the link leads to."""
    (tmp_path / "deep").mkdir()
    path, link = made(tmp_path / "deep" / "a.db"), tmp_path / "link.db"
    link.symlink_to("deep/a.db")
    with closing(sqlite3.connect(path)) as connection:
        set_pragmas(connection, None)
        connection.execute("DELETE FROM made")
        connection.commit()
        killed = {end: Path(f"{path}{end}").read_bytes() for end in ("", "-wal")}
        assert rows(link) == 0
        before = file_stamp(link)
        connection.execute("INSERT INTO made VALUES (1)")
        connection.commit()
        assert rows(link) == 1 and file_stamp(link) != before
    for end, content in killed.items():
        Path(f"{path}{end}").write_bytes(content)
    assert rows(link) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep", "link.db"]


def rows(path: Path) -> int:
    with readable(path) as address, closing(sqlite3.connect(address, uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM made").fetchone()[0])


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a.db").symlink_to("a.db")
    with pytest.raises(StorageError, match=r"a\.db: "):
        check_file(tmp_path / "a.db", create=True)


# ── files that are created ────────────────────────────────────────────────────────────────────────────────────────────
def test_a_new_file_is_private_with_its_log(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    create_private(path)
    with closing(connect_existing(path)) as connection:
        set_pragmas(connection, None)
        connection.execute("CREATE TABLE made (x)")
        assert {p.name: p.stat().st_mode & 0o777 for p in tmp_path.iterdir()} == dict.fromkeys(
            ("a.db", "a.db-wal", "a.db-shm"), 0o600
        )
    path.chmod(0o640)
    create_private(path)
    assert path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(StorageError, match="cannot be opened or created; check that its folder exists"):
        create_private(tmp_path / "none" / "a.db")


def test_a_missing_file_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        connect_existing(tmp_path / "a.db")
    assert list(tmp_path.iterdir()) == []


# ── network file systems ──────────────────────────────────────────────────────────────────────────────────────────────
def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mounts").write_text(f"1 0 8:0 / / rw - ext4 /dev/a rw\n2 1 0:9 / {tmp_path} rw - nfs4 host:/home rw\n")
    check_local(tmp_path / "a.db")
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "mounts")
    said = rf"a\.db: is on a network file system \(nfs4 at {tmp_path}\), .* with --storage .* set {ALLOW_NETWORK}=1"
    with pytest.raises(StorageError, match=said):
        check_local(tmp_path / "a.db")
    check_local(tmp_path.parent / "a.db")
    monkeypatch.setenv(ALLOW_NETWORK, "1")
    check_local(tmp_path / "a.db")

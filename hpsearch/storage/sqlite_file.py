"""SQLite files: their URLs, checks before they are opened, reading without writing, and the meaning of errors."""

import contextlib
import os
import re
import shlex
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hpsearch.core.files.file_lock import descriptor
from hpsearch.core.files.mounts import is_mounted_file, mount_of
from hpsearch.core.files.temporary import private_folder
from hpsearch.core.reading.references import is_reference
from hpsearch.errors import StorageError

BUSY_TIMEOUT = 75.0  # seconds to wait for another process that writes
RESTORE = "restore a copy of it, or start in another file"
DAMAGED = f"is damaged; {RESTORE}"
ALLOW_NETWORK = "HPSEARCH_ALLOW_NETWORK_FILES"  # environment variable
ELSEWHERE = "name a file on a disk of this machine, or a PostgreSQL server, with --storage"


_COMPANIONS = ("-wal", "-shm", "-journal", ".db.lock")  # ends of the names of the files beside a database


class SqliteProblem(NamedTuple):
    """The meaning of an error: `problem` continues a sentence that begins with the file's name."""

    problem: str
    remedy: str


_PROBLEMS = {  # part of SQLite's message → meaning
    "disk is full": SqliteProblem(
        "cannot be written: the disk is full", "finished trials are stored: free some space and run again"
    ),
    "disk I/O error": SqliteProblem(
        "cannot be read or written: disk I/O error", "finished trials are stored: check the disk and run again"
    ),
    "readonly": SqliteProblem("cannot be written: the file or its folder is read-only", "change its permissions"),
    "unable to open": SqliteProblem(
        "cannot be opened or created", "check that its folder exists and is not read-only for you"
    ),
    "locked": SqliteProblem("is locked: another process is writing to it", "wait for that process, or stop it"),
    "not a database": SqliteProblem("is not a database", "choose another file"),
    "malformed": SqliteProblem("is damaged", RESTORE),
    "Could not decode": SqliteProblem("is damaged", RESTORE),
}


def sqlite_problem(message: str) -> SqliteProblem | None:
    """Return the meaning of a message of SQLite or its driver; None for an unknown message."""
    return next((problem for part, problem in _PROBLEMS.items() if part in message), None)


def integrity_error(execute: Callable[[str], Any], *, thorough: bool = False) -> str | None:
    """Return the first error that SQLite finds in its file; None for an intact file.

    Args:
        execute: runs a statement on an open connection and returns a cursor.
        thorough: also check that indexes match their tables, which takes longer.
    """
    verdict = str(execute(f"PRAGMA {'integrity' if thorough else 'quick'}_check(1)").fetchone()[0])
    return None if verdict == "ok" else verdict.splitlines()[-1]


def real_path(path: Path) -> Path:
    """Return the file that a path leads to: SQLite keeps the log beside it, not beside a symbolic link.

    Raises:
        StorageError: the symbolic links form a circle.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise StorageError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except ValueError:  # no file can have such a name
        return path


def check_file(path: Path, create: bool) -> None:
    """Check that a path is a SQLite file, or with `create` that it can become one; reads only.

    Raises:
        StorageError: the path is neither, the file is damaged or has a second name, or only its log remains.
    """
    given, path = path, real_path(path)
    log = Path(f"{path}-wal")
    try:
        check_single_name(given)
        if path.is_dir():
            raise StorageError(f"{given}: is a folder, not a database")
        if path.exists() and not path.is_file():
            raise StorageError(f"{given}: is a device or a pipe, not a database")
        if path.name.endswith(_COMPANIONS):
            raise StorageError(f"{given}: such names are those of files that belong to another database")
        has_log = _size(log) > 0
        if _size(path) == 0:
            if has_log:  # SQLite would delete the log and the data in it
                raise StorageError(
                    f"{given}: is empty or missing, but its log {log.name} is not; restore a copy of both"
                )
            _check_new_file(given, path, create)
            return
        with descriptor(path) as number:
            head, size = os.read(number, 18), os.fstat(number).st_size
    except OSError as error:
        raise StorageError(f"{given}: cannot be read: {error.strerror}") from None
    if head[:16] != b"SQLite format 3\0":
        raise StorageError(f"{given}: is not a database")
    if has_log:
        _check_with_log(given, path)
    elif size % max(512, int.from_bytes(head[16:18], "big")):  # a page of 65536 bytes is written as 1
        raise StorageError(f"{given}: {DAMAGED}")


def check_single_name(path: Path) -> None:
    """Check that a file has one name: SQLite keeps a log for each, and two logs would destroy the file.

    Raises:
        StorageError: the file has hard links, or is mounted under a second name.
    """
    file = real_path(path)
    try:
        links = file.stat().st_nlink if file.is_file() else 1
    except (OSError, ValueError):
        return
    if links > 1:
        raise StorageError(
            f"{path}: has {links} names (hard links), which would destroy a SQLite database; make a copy that has one: "
            f"cp {shlex.quote(str(path))} COPY.db"
        )
    if is_mounted_file(file):
        raise StorageError(
            f"{path}: is a file mounted under a second name, which would destroy a SQLite database; "
            "mount its folder in place of the file"
        )


def check_local(path: Path) -> None:
    """Check that a file is on a disk of this machine, unless the environment allows another.

    Raises:
        StorageError: the file is on a network file system.
    """
    if advice := network_advice(path):
        raise StorageError(f"{path}: {advice}")


def network_advice(path: Path) -> str | None:
    """Return why a file should not be used, and what to do; None if it is on a disk of this machine, or allowed."""
    mount = None if os.environ.get(ALLOW_NETWORK) == "1" else mount_of(path)
    if mount is None or not mount.is_network:
        return None
    rollback = " or run the study with --storage-mode rollback," if mount.has_shared_locks else ""
    return (
        f"is on a network file system ({mount.kind} at {mount.point}), where SQLite may lose or damage a database; "
        f"{ELSEWHERE} and --tracking-uri,{rollback} or, if no other machine opens it, set {ALLOW_NETWORK}=1"
    )


def _check_new_file(given: Path, path: Path, create: bool) -> None:
    if path.exists() and (not create or Path(f"{path}.lock").exists()):
        raise StorageError(f"{given}: is empty; restore a copy of it, or delete it to start a new study")
    if not create:
        raise StorageError(f"{given}: there is no such database")
    if not path.parent.is_dir():
        folder = path.parent if given.is_symlink() else given.parent
        raise StorageError(f"{given}: there is no folder {folder}")


def _check_with_log(given: Path, path: Path) -> None:
    """Check a file together with its log, reading only: closing a normal connection writes the log into the file."""
    try:
        with (
            readable(path) as address,
            contextlib.closing(sqlite3.connect(address, timeout=BUSY_TIMEOUT, uri=True)) as connection,
        ):
            damage = integrity_error(connection.execute)
    except sqlite3.Error as error:
        problem = sqlite_problem(str(error))
        raise StorageError(f"{given}: {'; '.join(problem) if problem else error}") from None
    if damage:
        raise StorageError(f"{given}: {DAMAGED}")


@contextlib.contextmanager
def readable(path: Path) -> Iterator[str]:
    """Yield SQLite's URI of a file for reading only; no file in its folder is created, changed or removed.

    A file that no process has open is read without locks (`immutable=1`). After an interrupted write, a copy of the
    file is read, because SQLite would complete or undo the write.

    Raises:
        StorageError: the file cannot be read.
    """
    path = real_path(path)
    log, index, journal = (Path(f"{path}{end}") for end in ("-wal", "-shm", "-journal"))
    with contextlib.ExitStack() as stack:
        try:
            pending = [f for f in (log, journal) if _size(f)]
            with descriptor(path) as number:
                wal_mode = os.read(number, 20)[18:] == b"\2\2"
            mode = "immutable=1" if wal_mode and not (log.exists() and index.exists()) else "mode=ro"
            if pending and (mode == "immutable=1" or not wal_mode):
                copy = stack.enter_context(private_folder()) / "copy.db"
                for file_to_copy in (path, *pending):
                    shutil.copyfile(file_to_copy, f"{copy}{file_to_copy.name.removeprefix(path.name)}")
                path, mode = copy, "mode=rw"
        except OSError as error:
            raise StorageError(f"{path}: cannot be read: {error.strerror}") from None
        yield f"{path.absolute().as_uri()}?{mode}"


def file_stamp(path: Path) -> list[tuple[int, int]]:
    """Return modification times (ns) and sizes (bytes) of a SQLite file and its log, which differ after a write."""
    stamps, path = [], real_path(path)
    for end in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            status = Path(f"{path}{end}").stat()
            stamps.append((status.st_mtime_ns, status.st_size))
    return stamps


def create_private(path: Path) -> None:
    """Create an empty file that only its user can read, unless it exists; SQLite gives its log the same permissions.

    Raises:
        StorageError: the file cannot be created.
    """
    try:
        with contextlib.suppress(FileExistsError), descriptor(real_path(path), os.O_RDWR | os.O_CREAT | os.O_EXCL):
            pass
    except OSError as error:
        problem = "; ".join(_PROBLEMS["unable to open"])
        raise StorageError(f"{path}: {problem} ({error.strerror})") from None


def connect_existing(path: Path) -> sqlite3.Connection:
    """Connect to an existing file for writing; a file that is missing is not created.

    Raises:
        sqlite3.OperationalError: the file does not exist or cannot be opened.
    """
    address = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(address, timeout=BUSY_TIMEOUT, uri=True, check_same_thread=False)


def set_pragmas(connection: Any, _record: Any) -> None:
    """Turn on the write-ahead log: readers never wait, and a commit takes a third of the time.

    A killed process loses nothing. A power failure may lose the last commits but leaves the file intact.
    """
    retry_while_locked(lambda: connection.execute("PRAGMA journal_mode=WAL"))
    connection.execute("PRAGMA synchronous=NORMAL")


def retry_while_locked(step: Callable[[], object]) -> None:
    """Execute a statement that SQLite's own timeout does not apply to, and repeat it while the file is locked."""
    end = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            step()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)


def checkpoint_log(connection: sqlite3.Connection) -> None:
    """Merge the write-ahead log into the file, so that a copy of the file alone is complete."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def exclusive_connection(path: Path, timeout: float) -> sqlite3.Connection:
    """Connect to an existing file that no other process can read or write until the connection is closed.

    Args:
        timeout: seconds to wait for other processes.

    Raises:
        sqlite3.OperationalError: another process has the file open ("database is locked"), or it cannot be opened.
    """
    address = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(address, timeout=timeout, uri=True, isolation_level=None)
    try:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("ROLLBACK")  # the lock stays; a backup during a transaction would never end
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no file can have such a name
        return 0


def url_of(database: str) -> str:
    """Return the URL of a path; a URL, or `${NAME}` for one, is returned unchanged.

    Raises:
        StorageError: the path contains a question mark.
    """
    if "://" in database or is_reference(database):
        return database
    if "?" in database:
        raise StorageError(f"{database}: a path with a question mark cannot be used; rename the file or its folder")
    path = str(Path(database))
    if re.search("%[0-9A-Fa-f]{2}", path):
        import sqlalchemy as sa

        if sa.make_url("sqlite:///%25").database == "%":  # since SQLAlchemy 2.1
            return f"sqlite+pysqlite:///{path.replace('%', '%25')}"  # MLflow decodes it if the URL names a driver
    return f"sqlite:///{path}"


def default_url(study_file: Path, name: str) -> str:
    """Return the URL of `<name>.db` in the folder of the study file."""
    return url_of(str(study_file.parent / f"{name}.db"))


def default_tracking_uri() -> str:
    """Return the URI of `mlruns/mlflow.db` in the current folder; absolute, so that it stays valid elsewhere."""
    return url_of(str(Path("mlruns/mlflow.db").absolute()))

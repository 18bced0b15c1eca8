"""Any database: its URL, its file, how it is opened, and what it refuses in words that say what to do."""

import contextlib
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from hpsearch.core.text import redacted
from hpsearch.errors import StorageError

BUSY = 75.0  # seconds to wait for another process that writes
DAMAGED = "is damaged; restore a copy of it, or start in another file"


def url_of(database: str) -> str:
    """A path or a URL → a URL.

    Raises:
        StorageError: a path that a URL cannot hold.
    """
    if "://" in database:
        return database
    if "?" in database:
        raise StorageError(f"{database}: a path with a question mark cannot be used; rename the file or its folder")
    path = str(Path(database))
    if re.search("%[0-9A-Fa-f]{2}", path):  # the driver is named, or MLflow would make the folder as it is written here
        return f"sqlite+pysqlite:///{path.replace('%', '%25')}"
    return f"sqlite:///{path}"


def file_of(url: str) -> Path | None:
    """The file of a SQLite URL; None for a server or memory.

    Raises:
        StorageError: it is no URL.
    """
    try:
        parsed = sa.make_url(url)
    except (SQLAlchemyError, ValueError):  # the latter of a port that is no number
        raise StorageError(f"'{url}' is no database URL; write sqlite:///FILE, for example") from None
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))


def shown(url: str) -> str:
    """A database as messages name it: its file, or its URL without the password."""
    path = file_of(url)
    return str(path) if path else redacted(sa.make_url(url).render_as_string(hide_password=True))


@contextlib.contextmanager
def guard(url: str) -> Iterator[None]:
    """What a database refuses, in words that say what to do.

    Raises:
        StorageError: for every error of the database or its driver.
    """
    try:
        yield
    except (SQLAlchemyError, ImportError, UnicodeError) as error:  # the last of host names
        raise StorageError(f"{shown(url)}: {_scrubbed(_reason(error), url)}") from error
    except Exception as error:
        if type(error).__module__.startswith("optuna."):  # its StorageInternalError wraps ours
            raise StorageError(f"{shown(url)}: {_reason(error.__cause__ or error)}") from error
        raise


def _scrubbed(text: str, url: str) -> str:
    """What a driver says, without what stands between the user's name and the host: a password may be cut anywhere."""
    secret = url.rpartition("@")[0].partition("://")[2].partition(":")[2]
    for part in sorted({secret, *re.split(r"[:@/]", secret)}, key=len, reverse=True):
        if len(part) > 2:
            text = text.replace(part, "***")
    return text


def _reason(error: BaseException) -> str:
    original = error.orig if isinstance(error, DBAPIError) and error.orig else error
    text = str(original).splitlines()[0] if str(original) else type(original).__name__
    kept = "everything finished until then is kept"
    for sign, words in {
        "disk is full": f"the disk is full; {kept}: free some space and run again",
        "disk I/O error": f"the disk cannot be written ({text}); {kept}: run again when it can",
        "readonly": "cannot be written: the file or its folder is read-only",
        "unable to open": "cannot be opened or created: is its folder there, and not read-only for you?",
        "locked": "another process is writing to it; wait for it, or stop it",
        "not a database": "is not a database",
        "malformed": DAMAGED,
        "Could not decode": DAMAGED,
    }.items():
        if sign in text:
            return words
    return text


def check_file(path: Path, create: bool) -> None:
    log = Path(f"{path}-wal")
    try:
        if path.is_dir():
            raise StorageError(f"{path}: is a folder, not a database")
        logged = log.exists() and log.stat().st_size > 0
        if not path.exists() or path.stat().st_size == 0:
            if logged:  # SQLite would delete it, and all that is in it
                raise StorageError(f"{path}: is empty or gone, but not its log {log.name}; restore a copy of both")
            if path.exists() and (not create or Path(f"{path}.lock").exists()):
                raise StorageError(f"{path}: is empty; restore a copy of it, or delete it to begin anew")
            if not create:
                raise StorageError(f"{path}: there is no such database")
            if not path.parent.is_dir():
                raise StorageError(f"{path}: there is no folder {path.parent}")
            return
        with path.open("rb") as file:
            head, size = file.read(18), path.stat().st_size
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from None
    if head[:16] != b"SQLite format 3\0":
        raise StorageError(f"{path}: is not a database")
    if logged:
        _check_logged(path)
    elif size % max(512, int.from_bytes(head[16:18], "big")):  # a page of 65536 bytes is written as 1
        raise StorageError(f"{path}: {DAMAGED}")


@contextlib.contextmanager
def readable(path: Path) -> Iterator[str]:
    """SQLite's address of a file that is only read: nothing beside it is made, and what is there is left.

    A file that nobody has open is read as it is, without locks; together with what an interrupted write has left
    beside it in a copy, for SQLite would settle that first.
    """
    log, index, journal = (Path(f"{path}{end}") for end in ("-wal", "-shm", "-journal"))
    with contextlib.ExitStack() as stack:
        try:
            beside = [f for f in (log, journal) if _size(f)]
            with path.open("rb") as file:
                logs = file.read(20)[18:] == b"\2\2"
            mode = "immutable=1" if logs and not (log.exists() and index.exists()) else "mode=ro"
            if beside and (mode == "immutable=1" or not logs):
                copy = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hpsearch-"))) / "copy.db"
                for one in (path, *beside):
                    shutil.copyfile(one, f"{copy}{one.name.removeprefix(path.name)}")
                path, mode = copy, "mode=rw"
        except OSError as error:
            raise StorageError(f"{path}: cannot be read: {error.strerror}") from None
        yield f"{path.absolute().as_uri()}?{mode}"


def stamp(path: Path) -> list[tuple[int, int]]:
    """What changes when a SQLite file or its log does."""
    found = []
    for end in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            status = Path(f"{path}{end}").stat()
            found.append((status.st_mtime_ns, status.st_size))
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _check_logged(path: Path) -> None:
    """Whether a file is whole together with its log, reading only: else closing it would write the log into it."""
    try:
        with (
            readable(path) as address,
            contextlib.closing(sqlite3.connect(address, timeout=BUSY, uri=True)) as connection,
        ):
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise StorageError(f"{path}: {_reason(error)}") from None
    if verdict != "ok":
        raise StorageError(f"{path}: {DAMAGED}")


def tables_of(url: str) -> set[str]:
    with guard(url):
        engine = sa.create_engine(url, **options(url))
        try:
            return set(sa.inspect(engine).get_table_names())
        finally:
            engine.dispose()


def options(url: str) -> dict[str, Any]:
    return {"connect_args": {"timeout": BUSY}} if sa.make_url(url).get_backend_name() == "sqlite" else {}


def pragmas(connection: Any, _record: Any) -> None:
    """Write-ahead log: readers never wait, and a commit costs a third. A kill loses nothing; the file stays whole."""
    end = time.monotonic() + BUSY
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:  # of several that make a file SQLite lets one, and none wait
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)
    connection.execute("PRAGMA synchronous=NORMAL")


def default_url(study_file: Path, name: str) -> str:
    """`<name>.db` beside the study file."""
    return url_of(str(study_file.parent / f"{name}.db"))


def forked_url(url: str, name: str) -> str:
    """`<name>.db` beside the database of the study that is forked.

    Raises:
        StorageError: that is no file.
    """
    path = file_of(url)
    if path is None:
        raise StorageError(f"{shown(url)}: only a study in a SQLite file can be forked by name")
    return url_of(str(path.with_name(f"{name}.db")))


def default_tracking() -> str:
    """`mlruns/mlflow.db` under the current folder, as an absolute URI: MLflow's defaults move with the folder."""
    return url_of(str(Path("mlruns/mlflow.db").absolute()))

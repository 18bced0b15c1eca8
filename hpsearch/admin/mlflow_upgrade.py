"""MLflow's database brought to the schema of the installed MLflow: a copy is upgraded, then takes its place."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from filelock import FileLock, Timeout

from hpsearch.admin.doctor.base import reading
from hpsearch.admin.doctor.mlflow import revision, revisions, schema
from hpsearch.admin.supervisor import reason
from hpsearch.admin.ui import check, tracking_file
from hpsearch.errors import TrackingError
from hpsearch.storage.sqlite_file import url_of

BUSY = 5.0  # seconds to wait for whoever has the database open


class Upgraded(NamedTuple):
    """What was done; `before` is `after` and there is no backup when there was nothing to do."""

    path: Path
    before: str
    after: str
    backup: Path | None


def upgrade(tracking: str) -> Upgraded:
    """Upgrades a tracking database, which stays as it was if that fails.

    Args:
        tracking: MLflow's SQLite file, a path or a URI.

    Raises:
        TrackingError: there is none, it is damaged, a newer MLflow's or open, or MLflow cannot upgrade it.
        StorageError: it cannot be read.
    """
    path = tracking_file(tracking).resolve()  # a link stays one
    try:
        with FileLock(f"{path}.lock", timeout=BUSY):  # the tracker's own
            before = _version(path)
            if before == revisions()[0]:
                return Upgraded(path, before, before, None)
            return Upgraded(path, before, revisions()[0], _replaced(path))
    except Timeout:
        raise TrackingError(f"{path}: another process is opening it; try again") from None
    except (OSError, sqlite3.Error) as error:
        raise TrackingError(f"{path}: could not be upgraded, and is as it was: {error}") from None


def _version(path: Path) -> str:
    """Of its schema.

    Raises:
        TrackingError: it is neither the installed MLflow's nor an older one.
    """
    with reading(url_of(str(path))) as database:
        found = "" if database.damage() else revision(database)
        if found not in revisions()[1]:
            check(path, database)
        return found


def _replaced(path: Path) -> Path:
    """Puts an upgraded copy in the place of a database that nobody has open meanwhile.

    Returns:
        The copy of what it was.
    """
    backup = path.with_name(f"{path.stem}-{time.strftime('%Y%m%dT%H%M%S')}{path.suffix}")
    draft = path.with_name(f"{path.name}.draft")
    with _discarded(draft), contextlib.ExitStack() as undo:
        with _alone(path) as database:
            for copy in (backup, draft):
                copy.touch(0o600, exist_ok=copy is draft)
                undo.callback(copy.unlink, missing_ok=True)
                shutil.copymode(path, copy)
                with contextlib.closing(sqlite3.connect(copy)) as target:
                    database.backup(target)
                _whole(copy)
            _upgrade(draft)
        if Path(f"{path}-wal").exists():  # SQLite would take the log of another file for this one's
            raise TrackingError(f"{path}: another process has just opened it; end it first")
        draft.replace(path)
        undo.pop_all()
    return backup


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[sqlite3.Connection]:
    """The database, while nobody else can read or write it.

    Raises:
        TrackingError: somebody has it open.
    """
    address = f"file:{quote(str(path))}?mode=rw"
    with contextlib.closing(sqlite3.connect(address, timeout=BUSY, uri=True, isolation_level=None)) as database:
        database.execute("PRAGMA locking_mode=EXCLUSIVE")
        try:
            database.execute("BEGIN EXCLUSIVE")
            database.execute("ROLLBACK")  # the lock stays; a backup of what is being written would wait for ever
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            raise TrackingError(f"{path}: another process has it open; end it (a server? a study?) first") from None
        yield database


@contextlib.contextmanager
def _discarded(draft: Path) -> Iterator[None]:
    """Nothing is left of a draft, neither before nor after."""
    files = [draft.with_name(f"{draft.name}{end}") for end in ("", "-wal", "-shm", "-journal")]
    try:
        for file in files:
            file.unlink(missing_ok=True)
        yield
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def _whole(copy: Path) -> None:
    """Whether SQLite finds a copy sound, all of it in one file.

    Raises:
        TrackingError: it does not.
    """
    with contextlib.closing(sqlite3.connect(copy)) as database:
        verdict = database.execute("PRAGMA quick_check(1)").fetchone()[0]
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if verdict != "ok":
        raise TrackingError(f"{copy.name}: the copy is damaged ({verdict}); the database is as it was")


def _upgrade(draft: Path) -> None:
    """By MLflow's own command.

    Raises:
        TrackingError: it failed.
    """
    command = [sys.executable, "-m", "mlflow", "db", "upgrade", url_of(str(draft))]
    env = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONSAFEPATH": "1"}
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        said = reason(done.stderr.splitlines())
        raise TrackingError(f"MLflow could not upgrade a copy, and the database is as it was: {said}")
    with contextlib.closing(sqlite3.connect(draft)) as database:
        database.execute("PRAGMA journal_mode=WAL")  # as the tracker makes it
    _whole(draft)
    with reading(url_of(str(draft))) as upgraded:
        found = schema(str(draft), url_of(str(draft)), upgraded)
    if found.level != "ok":
        raise TrackingError(f"{found.what}; the database is as it was")

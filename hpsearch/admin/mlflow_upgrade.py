"""Upgrade MLflow's database to the schema of the installed MLflow: a copy is upgraded and replaces the database."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hpsearch.admin.doctor.mlflow import check_schema
from hpsearch.admin.supervisor import error_line
from hpsearch.admin.ui import tracking_file
from hpsearch.core.files.file_lock import LockTakenError, locked
from hpsearch.errors import TrackingError
from hpsearch.storage.sqlite_file import (
    checkpoint_log,
    exclusive_connection,
    integrity_error,
    real_path,
    set_pragmas,
    url_of,
)
from hpsearch.tracking.mlflow.database import damage, installed_revisions, open_readonly, schema_revision

if TYPE_CHECKING:
    import sqlalchemy as sa

OPEN_TIMEOUT = 5.0  # seconds to wait for another process that has the database open
_UNCHANGED = "the database was not changed"


class UpgradeResult(NamedTuple):
    """The result of an upgrade.

    Attributes:
        path: the database file.
        before, after: schema revisions; equal if no upgrade was necessary.
        backup: copy of the database before the upgrade; None if no upgrade was necessary.
    """

    path: Path
    before: str
    after: str
    backup: Path | None


def upgrade(tracking_uri: str) -> UpgradeResult:
    """Upgrade a tracking database; if the upgrade fails, the database is not changed.

    Args:
        tracking_uri: MLflow's SQLite file, a path or a URI.

    Raises:
        TrackingError: the database does not exist, is damaged, is in use, has the schema of a newer MLflow, or MLflow
            cannot upgrade it.
        StorageError: the database cannot be read.
    """
    path = real_path(tracking_file(tracking_uri))  # a symbolic link remains one
    try:
        with locked(Path(f"{path}.lock"), OPEN_TIMEOUT, create=True):  # the tracker's lock
            before, after = _upgradable_revision(path), installed_revisions()[0]
            return UpgradeResult(path, before, after, None if before == after else _replace(path))
    except LockTakenError:
        raise TrackingError(f"{path}: another process is opening it; try again") from None
    except (OSError, sqlite3.Error) as error:
        raise TrackingError(f"{path}: could not be upgraded ({error}); {_UNCHANGED}") from None


def _upgradable_revision(path: Path) -> str:
    """Return the revision of a database's schema.

    Raises:
        TrackingError: the database is damaged, or its schema is that of a newer MLflow.
    """
    uri = url_of(str(path))
    with open_readonly(uri) as connection:
        current = "" if damage(connection) else schema_revision(connection)
        if current not in installed_revisions()[1]:
            _require_schema(str(path), uri, connection)
        return current


def _require_schema(where: str, uri: str, connection: "sa.Connection", note: str = "") -> None:
    schema = check_schema(where, uri, connection)
    if schema.level != "ok":
        raise TrackingError(f"{schema.text}; {note or schema.remedy}")


def _replace(path: Path) -> Path:
    """Replace a database that no other process has open by an upgraded copy; return the backup."""
    backup = path.with_name(f"{path.stem}-{time.strftime('%Y%m%dT%H%M%S')}{path.suffix}")
    draft = path.with_name(f"{path.name}.draft")
    with _temporary(draft), contextlib.ExitStack() as undo:
        with _locked(path) as database:
            for copy in (backup, draft):
                copy.touch(0o600, exist_ok=False)  # follows no symbolic link
                undo.callback(copy.unlink, missing_ok=True)
                shutil.copymode(path, copy)
                with contextlib.closing(sqlite3.connect(copy)) as target:
                    database.backup(target)
                _check_copy(copy)
            _upgrade_copy(draft)
        if Path(f"{path}-wal").exists():  # SQLite would replay the log of another file
            raise TrackingError(f"{path}: another process has just opened it; end that process first")
        draft.replace(path)
        undo.pop_all()
    return backup


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database that no other process can read or write until the block ends.

    Raises:
        TrackingError: another process has the database open.
    """
    try:
        database = exclusive_connection(path, OPEN_TIMEOUT)
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        raise TrackingError(f"{path}: another process has it open (a server, a study?); end it first") from None
    with contextlib.closing(database):
        yield database


@contextlib.contextmanager
def _temporary(draft: Path) -> Iterator[None]:
    """Remove a file and its logs before and after the block."""
    files = [draft.with_name(f"{draft.name}{end}") for end in ("", "-wal", "-shm", "-journal")]
    try:
        for file in files:
            file.unlink(missing_ok=True)
        yield
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def _check_copy(copy: Path) -> None:
    """Check that a copy is not damaged, and merge its log into it.

    Raises:
        TrackingError: the copy is damaged.
    """
    with contextlib.closing(sqlite3.connect(copy)) as database:
        problem = integrity_error(database.execute)
        checkpoint_log(database)
    if problem:
        raise TrackingError(f"{copy.name}: the copy is damaged ({problem}); {_UNCHANGED}")


def _upgrade_copy(draft: Path) -> None:
    """Upgrade a copy with MLflow's own command.

    Raises:
        TrackingError: the command failed.
    """
    command = [sys.executable, "-m", "mlflow", "db", "upgrade", url_of(str(draft))]
    env = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONSAFEPATH": "1"}
    result = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode:
        raise TrackingError(f"MLflow could not upgrade a copy ({error_line(result.stderr.splitlines())}); {_UNCHANGED}")
    with contextlib.closing(sqlite3.connect(draft)) as database:
        set_pragmas(database, None)  # as in a database that the tracker creates
    _check_copy(draft)
    uri = url_of(str(draft))
    with open_readonly(uri) as connection:
        _require_schema(str(draft), uri, connection, _UNCHANGED)

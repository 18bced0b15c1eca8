"""MLflow's database: opened through MLflow's client, and read without it. All SQL about MLflow's tables is here."""

import contextlib
import gc
import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, util
from pathlib import Path
from typing import Any, NamedTuple, Self, final
from urllib.parse import urlsplit
from urllib.request import url2pathname

import sqlalchemy as sa

from hpsearch.core.files.file_lock import locked
from hpsearch.core.loggers import quiet_logging
from hpsearch.core.reading.urls import parse_database_url
from hpsearch.storage.connection import sqlite_engine
from hpsearch.storage.database import engine_options, file_of, translate_errors
from hpsearch.storage.sqlite_file import (
    check_file,
    check_local,
    check_single_name,
    checkpoint_log,
    create_private,
    integrity_error,
    readable,
    real_path,
    set_pragmas,
    url_of,
)
from hpsearch.tracking.base import StoreReplacedError
from hpsearch.tracking.mlflow.tags import DATABASE_TAG, STUDY_TAG, VIEW_TAG_PREFIX

LOCK_TIMEOUT = 5.0  # seconds to wait for another process that writes; MLflow itself waits 20
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # errors that MLflow logs are also raised, and reported in one line
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # with a server that is down: seconds instead of minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_SERVERS = ("postgresql", "mysql", "mssql")  # databases on servers that MLflow can use
# Replaced even if the user has set them: for notebooks and training scripts, not for this process.
_FIXED_ENVIRONMENT = {
    "MPLBACKEND": "agg",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",  # a run would be closed before its metrics are written
}


# ── opened through the client ─────────────────────────────────────────────────────────────────────────────────────────
@final
@dataclass(frozen=True)
class DatabaseFile:
    """The SQLite file that MLflow's client has open."""

    path: Path
    inode: int

    @classmethod
    def of(cls, path: Path) -> Self:
        return cls(path, path.stat().st_ino)

    def check_writable(self) -> None:
        """Check that the file still exists under its path and that no other process holds a lock on it.

        Raises:
            StoreReplacedError: the file was deleted or replaced.
            sqlite3.OperationalError: the file stays locked for `LOCK_TIMEOUT`, or cannot be written.
        """
        self.check_present()
        with contextlib.closing(_connect(self.path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()

    def check_present(self) -> None:
        """Check that the file still exists under its path: SQLite writes to a deleted file without an error.

        Raises:
            StoreReplacedError: the file was deleted or replaced.
        """
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_ino == self.inode:
                return
        raise StoreReplacedError(f"{self.path} was deleted or replaced during the study")

    def checkpoint(self, seconds: float) -> None:
        """Move the write-ahead log into the file, so that a copy of the file alone is complete."""
        with contextlib.closing(_connect(self.path, seconds)) as connection:
            checkpoint_log(connection)


def open_client(uri: str) -> tuple[Any, DatabaseFile | None]:
    """Import MLflow and open a tracking store, which is created if it is a SQLite file that does not exist.

    Returns:
        MLflow's client, and the SQLite file if there is one.

    Raises:
        RuntimeError: the file is a database of another program.
        StorageError: the file has a second name, or is on a network file system; or a server does not answer.
    """
    import_client(uri)
    if not sa.event.contains(sa.engine.Engine, "connect", _sync_rarely):
        sa.event.listen(sa.engine.Engine, "connect", _sync_rarely)
    with _uncollected():
        from mlflow import MlflowClient

        path = file_of(uri) if uri.startswith("sqlite") else None
        if path is None:
            if uri.startswith(_SERVERS):
                _check_answer(uri)
            return MlflowClient(uri), None
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_single_name(path)
        check_local(path)
        # Processes that open a new file together leave it unusable.
        with locked(Path(f"{real_path(path)}.lock"), timeout=60, create=True):
            if path.exists() and (path.is_dir() or path.stat().st_size):
                _check_tables(path)
            else:
                _create(path)
            return MlflowClient(uri, uri), DatabaseFile.of(path)  # the registry too, whatever MLFLOW_REGISTRY_URI names


def import_client(uri: str) -> None:
    """Import what MLflow's client needs for a tracking store, without opening the store."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ.update(_FIXED_ENVIRONMENT)
    _silence_loggers()
    with _uncollected():
        import_module("mlflow")
        if uri.startswith("sqlite"):
            import_module("mlflow.store.tracking.sqlalchemy_store")


def _check_answer(uri: str) -> None:
    """Check that a database server answers; MLflow would try for minutes.

    Raises:
        StorageError: it does not, or refuses the connection.
    """
    with translate_errors(uri):
        engine = sa.create_engine(uri, **engine_options(uri))
        try:
            engine.connect().close()
        finally:
            engine.dispose()


def _silence_loggers() -> None:
    for name in ("alembic", "sqlalchemy", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Older MLflow runs its migrations whenever it opens a file, and sets the level again; a filter stays.
    logging.getLogger("alembic.runtime.migration").addFilter(_nothing)


def _nothing(_record: logging.LogRecord) -> bool:
    return False


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Turn garbage collection off: during MLflow's imports and migrations it takes a fifth of the time, for nothing."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _sync_rarely(connection: Any, _record: Any) -> None:
    """Let SQLite write a commit to disk later, as in a study database: runs that a power failure loses come again."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=NORMAL")


def _never_sync(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")


def artifact_root(path: Path) -> Path:
    """Return the folder of all artifacts: `artifacts` in the folder of the database."""
    return path.parent.absolute() / "artifacts"


def is_beside(location: str, artifacts: Path) -> bool:
    """Return whether a folder of artifacts is in the folder of all artifacts; True for a location that is no folder."""
    parts = urlsplit(location)
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        return True
    return os.path.realpath(Path(url2pathname(parts.path)).parent) == os.path.realpath(artifacts)


def _connect(path: Path, seconds: float = LOCK_TIMEOUT) -> sqlite3.Connection:
    """Connect to an existing file; `mode=rw` does not create one."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", timeout=seconds, uri=True)


def _check_tables(path: Path) -> None:
    """Check that MLflow may open the file: it retries damaged files for minutes and adds its tables to any database.

    Raises:
        RuntimeError: the file is a database of another program.
    """
    with contextlib.closing(_connect(path)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if names and "experiments" not in names:
        raise RuntimeError(f"{path} is a database of another program; choose another file")


def _create(path: Path) -> None:
    """Create a database under a temporary name and rename it: a kill during MLflow's migrations leaves it unusable."""
    from mlflow.store.tracking import sqlalchemy_store

    draft = path.with_name(f"{path.name}.draft")
    logs = [f.with_name(f"{f.name}{end}") for f in (draft, path) for end in ("-wal", "-shm", "-journal")]
    for leftover in (draft, *logs):  # SQLite would replay the log of a deleted database
        leftover.unlink(missing_ok=True)
    create_private(draft)
    root = artifact_root(path).as_uri()
    sa.event.listen(sa.engine.Engine, "connect", _never_sync)  # 400 statements, each of which would wait for the disk
    try:
        with quiet_logging():  # of the migrations
            store: Any = sqlalchemy_store.SqlAlchemyStore(url_of(str(draft)), root)  # type: ignore[no-untyped-call]
        store.engine.dispose()
    except BaseException:
        draft.unlink(missing_ok=True)  # on a full disk it would take the space that was left
        raise
    finally:
        sa.event.remove(sa.engine.Engine, "connect", _never_sync)
    with contextlib.closing(_connect(draft)) as connection:
        set_pragmas(connection, None)  # the write-ahead log, which MLflow does not turn on
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)


# ── read without the client ───────────────────────────────────────────────────────────────────────────────────────────
class StudyExperiment(NamedTuple):
    """An experiment of a study: its id, the identity of the study, and the ids of its saved views."""

    id: str
    identity: str
    views: frozenset[str]


class UnfinishedRuns(NamedTuple):
    """The number of a study's runs with status RUNNING; `database` is None if the experiment does not name it."""

    identity: str
    database: str | None
    number: int


@contextlib.contextmanager
def open_readonly(uri: str, timeout: float = LOCK_TIMEOUT) -> Iterator[sa.Connection]:
    """Open a tracking database for reading only; no file is created or changed.

    Args:
        uri: path or URI.
        timeout: seconds to wait for a process that writes.

    Raises:
        StorageError: the database does not exist or cannot be read.
    """
    url = url_of(uri)
    path = file_of(url)
    with contextlib.ExitStack() as stack:
        if path:
            check_file(path, create=False)
        address = stack.enter_context(readable(path)) if path else None
        stack.enter_context(translate_errors(url))
        engine = (
            sqlite_engine(address, timeout)
            if address
            else sa.create_engine(parse_database_url(url), **engine_options(url))
        )
        stack.callback(engine.dispose)
        yield stack.enter_context(engine.connect())


def is_tracking_database(connection: sa.Connection) -> bool:
    """Return whether a database is MLflow's."""
    return {"alembic_version", "experiments", "runs"} <= set(sa.inspect(connection).get_table_names())


def damage(connection: sa.Connection) -> str | None:
    """Return the first error that a thorough check of a SQLite file finds; None for an intact file or a server."""
    sqlite = connection.dialect.name == "sqlite"
    return integrity_error(connection.exec_driver_sql, thorough=True) if sqlite else None


def schema_revision(connection: sa.Connection) -> str:
    """Return the revision of a tracking database's schema; "none" if it has none."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return "none"
    return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() or "none")


def installed_revisions() -> tuple[str, set[str]]:
    """Return the schema revision that the installed MLflow expects and all earlier ones, without importing MLflow."""
    spec = util.find_spec("mlflow")
    assert spec is not None and spec.origin is not None
    files = (Path(spec.origin).parent / "store/db_migrations/versions").glob("*.py")
    text = "\n".join(file.read_text("utf-8") for file in files)
    lines = {start: " ".join(re.findall(rf"^{start}\b.*=.*$", text, re.M)) for start in ("revision", "down_revision")}
    names, older = (set(re.findall(r"[\"'](\w+)[\"']", line)) for line in lines.values())
    (head,) = names - older
    return head, older


def study_experiments(connection: sa.Connection) -> list[StudyExperiment]:
    """Return the active experiments of studies, the one with the latest change first."""
    query = f"""
        SELECT e.experiment_id, t.value FROM experiments e
        JOIN experiment_tags t ON t.experiment_id = e.experiment_id AND t.key = '{STUDY_TAG}'
        LEFT JOIN runs r ON r.experiment_id = e.experiment_id
        WHERE e.lifecycle_stage = 'active' GROUP BY e.experiment_id, t.value, e.last_update_time
        ORDER BY max(e.last_update_time, coalesce(max(r.end_time), 0)) DESC"""
    experiments = connection.exec_driver_sql(query).all()
    tags = connection.exec_driver_sql("SELECT experiment_id, key FROM experiment_tags").all()
    views = [(number, key.removeprefix(VIEW_TAG_PREFIX)) for number, key in tags if key.startswith(VIEW_TAG_PREFIX)]
    return [
        StudyExperiment(str(number), identity, frozenset(view for other, view in views if other == number))
        for number, identity in experiments
    ]


def unfinished_runs(connection: sa.Connection) -> list[UnfinishedRuns]:
    """Return the active runs of studies that have not ended, counted by study."""
    query = f"""
        SELECT t.value, max(d.value), count(*) FROM runs r
        JOIN experiment_tags t ON t.experiment_id = r.experiment_id AND t.key = '{STUDY_TAG}'
        LEFT JOIN experiment_tags d ON d.experiment_id = r.experiment_id AND d.key = '{DATABASE_TAG}'
        WHERE r.status = 'RUNNING' AND r.lifecycle_stage = 'active' GROUP BY t.value"""
    return [UnfinishedRuns(*row) for row in connection.exec_driver_sql(query)]


def moved_experiments(connection: sa.Connection, artifacts: Path) -> list[tuple[str | None, str]]:
    """Return study database and artifact location of active experiments whose artifacts are not beside the database."""
    query = f"""
        SELECT d.value, e.artifact_location FROM experiments e
        JOIN experiment_tags t ON t.experiment_id = e.experiment_id AND t.key = '{STUDY_TAG}'
        LEFT JOIN experiment_tags d ON d.experiment_id = e.experiment_id AND d.key = '{DATABASE_TAG}'
        WHERE e.lifecycle_stage = 'active' ORDER BY e.experiment_id"""
    rows = connection.exec_driver_sql(query).all()
    return [(database, location) for database, location in rows if location and not is_beside(location, artifacts)]

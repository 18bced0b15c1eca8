"""MLflow's database as it is opened: made once and whole, and looked at first."""

import contextlib
import gc
import logging
import os
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from filelock import FileLock

from hpsearch.storage.sqlite_file import url_of

BUSY = 5.0  # seconds to wait for another process that writes


def opened(uri: str, file: Path | None, artifacts: Path | None) -> Any:
    """MLflow, imported and opened. A file under a lock: processes that open a fresh one together leave it unusable."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")  # what it logs it raises too, and we say it in one line
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # a server that is down: seconds, not minutes
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # of each run that ends, on our stdout
    for name in ("alembic", "sqlalchemy", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    gc.disable()  # imports make objects that stay: collecting among them takes a quarter of their time
    try:
        return _client(uri, file, artifacts)
    finally:
        gc.freeze()
        gc.enable()


def _client(uri: str, file: Path | None, artifacts: Path | None) -> Any:
    from matplotlib import figure  # noqa: F401 (for later: now there is time)
    from mlflow import MlflowClient, pyfunc  # noqa: F401

    if file is None or artifacts is None:
        return MlflowClient(uri)
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock", timeout=60):
        if file.exists() and (file.is_dir() or file.stat().st_size):
            _look(file)
        else:
            _create(file, artifacts)
        return MlflowClient(uri)


def connected(path: Path, seconds: float) -> sqlite3.Connection:
    """A connection to a file that is there; it makes none."""
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=rw", timeout=seconds, uri=True)


def _look(path: Path) -> None:
    """MLflow would try a damaged file for minutes before it says so, and move into another program's."""
    with contextlib.closing(connected(path, BUSY)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if names and "experiments" not in names:
        raise RuntimeError(f"{path} is a database, but not MLflow's; name another one")


def _create(path: Path, artifacts: Path) -> None:
    """A fresh database under another name, renamed when it is whole: a kill amid its migrations would spoil it."""
    from mlflow.store.tracking import sqlalchemy_store

    draft = path.with_name(f"{path.name}.draft")
    logs = [f.with_name(f"{f.name}{end}") for f in (draft, path) for end in ("-wal", "-shm", "-journal")]
    for left in (draft, *logs):  # SQLite would play the log of a deleted database into the new one
        left.unlink(missing_ok=True)
    store: Any = sqlalchemy_store.SqlAlchemyStore(url_of(str(draft)), artifacts.as_uri())  # type: ignore[no-untyped-call]
    store.engine.dispose()
    engine = sa.create_engine(url_of(str(draft)))
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")  # stays; MLflow does not set it
    engine.dispose()
    draft.replace(path)

"""MLflow's database as it is opened: made once and whole, looked at first, and written to without detours.

Its tables are MLflow's own affair, so what is written past its client is only what has stood there since its first
versions, the numbers of a run; where they are not as expected it is the client that writes.
"""

import contextlib
import gc
import logging
import os
import sqlite3
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from filelock import FileLock

from hpsearch.database import url_of

BUSY = 5.0  # seconds to wait for another process that writes
Number = tuple[str, float, int, int]  # key, value, milliseconds, step


def opened(uri: str, file: Path | None, artifacts: Path | None) -> Any:
    """MLflow, imported and opened. A file under a lock: processes that open a fresh one together leave it unusable."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")  # what it logs it raises too, and we say it in one line
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # a server that is down: seconds, not minutes
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # of each run that ends, on our stdout
    for name in ("alembic", "sqlalchemy", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    gc.disable()  # an import makes objects that stay: collecting among them takes a quarter of its time
    from matplotlib import figure  # noqa: F401 (for later: now there is time)
    from mlflow import MlflowClient

    gc.freeze()
    gc.enable()
    if file is None or artifacts is None:
        return MlflowClient(uri)
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock", timeout=60):
        if file.exists() and (file.is_dir() or file.stat().st_size):
            _look(file)
        else:
            _create(file, artifacts)
        return MlflowClient(uri)


def engine_of(client: Any) -> sa.Engine | None:
    """Of a client of a file, as far as MLflow lets it be seen; its commits no longer wait for the disk: six of them
    make a run, and what a power cut takes is sent again."""
    engine = getattr(getattr(getattr(client, "_tracking_client", None), "store", None), "engine", None)
    if not isinstance(engine, sa.Engine):
        return None

    @sa.event.listens_for(engine, "connect")
    def _(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")

    engine.dispose()  # connections that are there already
    return engine


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


def poured(engine: sa.Engine | None, run: str, metrics: list[Number], params: dict[str, str]) -> bool:
    """Numbers of a run that has none, in one statement a table: the client makes an object of each, which takes
    half of all the time that a run does. False where that cannot be: it is the client's turn then."""
    if engine is None or not all(isfinite(value) for _, value, _, _ in metrics):
        return False
    with contextlib.suppress(ImportError, AttributeError, sa.exc.SQLAlchemyError):
        from mlflow.store.tracking.dbmodels import models

        names = ("key", "value", "timestamp", "step")
        rows = [{"run_uuid": run, "is_nan": False, **dict(zip(names, m, strict=True))} for m in metrics]
        latest = {r["key"]: r for r in sorted(rows, key=lambda r: (r["step"], r["timestamp"], r["value"]))}
        texts = [{"run_uuid": run, "key": key, "value": value} for key, value in params.items()]
        with engine.begin() as connection:
            for table, content in (
                (models.SqlMetric, rows),
                (models.SqlLatestMetric, list(latest.values())),
                (models.SqlParam, texts),
            ):
                if content:
                    connection.execute(table.__table__.insert(), content)
        return True
    return False

"""Whole runs as rows of MLflow's tables: its client makes an object of each number, which takes most of a run's time.

The tables are MLflow's own affair. What is written here has stood in them since its first versions, and their columns
are looked at first: where they are not as expected, it is the client that writes.
"""

import contextlib
import uuid
from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple, final

import sqlalchemy as sa

from hpsearch.tracking.mlflow.database import BUSY, connected
from hpsearch.tracking.mlflow.run import Content, Data

COLUMNS = {
    "runs": "run_uuid name source_type source_name entry_point_name user_id status start_time end_time deleted_time"
    " source_version lifecycle_stage artifact_uri experiment_id",
    "tags": "run_uuid key value",
    "params": "run_uuid key value",
    "metrics": "run_uuid key value timestamp step is_nan",
    "latest_metrics": "run_uuid key value timestamp step is_nan",
    "datasets": "dataset_uuid experiment_id name digest dataset_source_type dataset_source dataset_schema"
    " dataset_profile",
    "inputs": "input_uuid source_type source_id destination_type destination_id step",
    "input_tags": "input_uuid name value",
}
LONGEST = 5000  # characters of a text: of longer ones the client knows which it takes, and which it cuts


class Placed(NamedTuple):
    """A run that stands there, unfinished."""

    id: str
    artifacts: str


@final
class Rows:
    """A connection to the file of an MLflow database.

    Commits do not wait for the disk: what a power cut takes is sent again.

    Args:
        file: that is there; none is made.

    Raises:
        sqlalchemy.exc.OperationalError: by all that writes: it is locked, or the disk is full.
    """

    def __init__(self, file: Path) -> None:
        self._engine = sa.create_engine("sqlite://", creator=lambda: connected(file, BUSY), poolclass=sa.StaticPool)
        with self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA synchronous=NORMAL")
            self._known = all(_columns(connection, table) == set(COLUMNS[table].split()) for table in COLUMNS)

    def writable(self) -> None:
        """Asks whether it can be written to: MLflow by itself waits 20 s for a file that is locked."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            connection.rollback()

    def insert(self, experiment: str, run: Content, data: Data | None) -> Placed | None:
        """A run and all its numbers, or nothing at all: None where that is for the client to do, or to refuse."""
        texts = [run.name, *run.tags.values(), *run.params.values(), *(data or ())]
        finite = all(isfinite(metric.value) for metric in run.metrics)
        if not self._known or not finite or max(map(len, texts)) > LONGEST:
            return None
        with contextlib.suppress(sa.exc.IntegrityError), self._engine.begin() as connection:
            query = "SELECT artifact_location FROM experiments WHERE experiment_id = ? AND lifecycle_stage = 'active'"
            location = connection.exec_driver_sql(query, (int(experiment),)).scalar()
            if location is None or not location.startswith("file:///") or location.endswith("/"):
                return None
            key = uuid.uuid4().hex
            placed = Placed(key, f"{location}/{key}/artifacts")
            _insert(connection, "runs", [_run(placed, int(experiment), run)])
            _insert(connection, "tags", [(key, *tag) for tag in (run.tags | {"mlflow.runName": run.name}).items()])
            _insert(connection, "params", [(key, *param) for param in run.params.items()])
            _insert(connection, "metrics", [(key, *metric, False) for metric in run.metrics])
            latest = {m.key: m for m in sorted(run.metrics, key=lambda m: (m.step, m.timestamp, m.value))}
            _insert(connection, "latest_metrics", [(key, *metric, False) for metric in latest.values()])
            if data is not None:
                edge = uuid.uuid4().hex
                source = _dataset(connection, int(experiment), data)
                _insert(connection, "inputs", [(edge, "DATASET", source, "RUN", key, 0)])
                _insert(connection, "input_tags", [(edge, "mlflow.data.context", data.context)])
            return placed
        return None

    def end(self, run: str, status: str, end: int) -> bool:
        """A run is finished; False where that is for the client to say."""
        if not self._known:
            return False
        with self._engine.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE runs SET status = ?, end_time = ? WHERE run_uuid = ?", (status, end, run)
            )
        return True

    def close(self, seconds: float) -> None:
        """The file is whole by itself when copied."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={round(seconds * 1000)}")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        self._engine.dispose()


def _columns(connection: sa.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.exec_driver_sql(f"PRAGMA table_info({table})")}


def _insert(connection: sa.Connection, table: str, rows: Iterable[Sequence[Any]]) -> None:
    names = COLUMNS[table].split()
    places = ", ".join("?" * len(names))
    if content := [tuple(row) for row in rows]:
        connection.exec_driver_sql(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})", content)


def _run(placed: Placed, experiment: int, run: Content) -> tuple[Any, ...]:
    """As the client begins one."""
    who = ("UNKNOWN", "", "", "unknown")
    times = (run.start, None, None)
    return (placed.id, run.name, *who, "RUNNING", *times, "", "active", placed.artifacts, experiment)


def _dataset(connection: sa.Connection, experiment: int, data: Data) -> str:
    """Its key in the table, where it stands once an experiment."""
    query = "SELECT dataset_uuid FROM datasets WHERE experiment_id = ? AND name = ? AND digest = ?"
    found = connection.exec_driver_sql(query, (experiment, data.name, data.digest)).scalar()
    if found is None:
        found = uuid.uuid4().hex
        row = (found, experiment, data.name, data.digest, data.kind, data.source, None, data.profile)
        _insert(connection, "datasets", [row])
    return str(found)

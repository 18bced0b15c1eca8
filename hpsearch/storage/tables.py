"""The tables of a study database, which holds the rows of one or several studies."""

import hashlib
import math
from typing import Any

import sqlalchemy as sa

from hpsearch.errors import StorageError
from hpsearch.storage.database import display_name
from hpsearch.storage.sqlite_file import DAMAGED

METADATA = sa.MetaData()


def _study() -> "sa.Column[str]":
    """Return the column that says which study a row belongs to."""
    return sa.Column("study", sa.String(100), primary_key=True)


STUDY = sa.Table(
    "hpsearch_study",
    METADATA,
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("identity", sa.String(32), nullable=False),  # of this search, for trackers
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),  # of the data
    sa.Column("version", sa.String(200), nullable=False),
    sa.Column("created", sa.Float, nullable=False),  # Unix time
    sa.Column("hash", sa.String(64), nullable=False),  # of the spec
    sa.Column("forked", sa.Text),  # name of the study it was forked from
)
STAGE = sa.Table(
    "hpsearch_stage",
    METADATA,
    _study(),
    sa.Column("stage", sa.String(50), primary_key=True),
    sa.Column("box", sa.Text, nullable=False),  # internal values
    sa.Column("seconds", sa.Float, nullable=False),  # running time, over all sessions
    sa.Column("ended", sa.Integer),  # number of trials at which its budget or timeout ended the stage
)
TRIAL = sa.Table(
    "hpsearch_trial",
    METADATA,
    _study(),
    sa.Column("stage", sa.String(50), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("internal_params", sa.Text, nullable=False),  # the point, as internal values
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("value", sa.Float(53)),
    sa.Column("epochs", sa.Integer, nullable=False),
    sa.Column("best_epoch", sa.Integer, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("finished", sa.Float),  # Unix time
    sa.Column("history", sa.LargeBinary),
    sa.Column("error", sa.Text),
    sa.Column("box", sa.Text),  # that it was sampled in, as internal values; NULL for the box of its stage
    sa.Column("copied_from", sa.Text),  # label of the trial whose outcome it copies; NULL for a trained trial
    sa.Column("machine", sa.Text),  # how a machine that trained it computes differently from the coordinator's
)
CHECKPOINT = sa.Table(
    "hpsearch_checkpoint",
    METADATA,
    _study(),
    sa.Column("stage", sa.String(50), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("epochs", sa.Integer, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("history", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.LargeBinary, nullable=False),  # `engine.state.State.to_bytes`
    sa.Column("machine", sa.Text),  # as in the table of trials
)
CHAMPION = sa.Table(
    "hpsearch_champion",
    METADATA,
    _study(),
    sa.Column("stage", sa.String(50), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("weights", sa.LargeBinary, nullable=False),
    sa.Column("test", sa.Text),  # scores, of the champion of a finished study
    sa.Column("diagnostics", sa.LargeBinary),  # `Diagnostics.to_bytes`, of the champion of a finished study
)
ENSEMBLE = sa.Table(
    "hpsearch_ensemble",
    METADATA,
    _study(),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),  # 0: a study has at most one
    sa.Column("ensemble", sa.Text, nullable=False),  # `StoredEnsemble` as JSON
)
PREPARED = sa.Table(
    "hpsearch_prepared",
    METADATA,
    _study(),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),  # of the preprocessing variant
    sa.Column("content", sa.LargeBinary, nullable=False),  # `PreparedData.to_bytes`
)
CODE = sa.Table(
    "hpsearch_code",
    METADATA,
    _study(),
    sa.Column("name", sa.String(1000), primary_key=True),  # path of the file, relative to the folder of the study file
    sa.Column("digest", sa.String(64), nullable=False),  # SHA-256 of the content
    sa.Column("content", sa.LargeBinary),  # NULL for a large or binary file
)
BASELINE = sa.Table(
    "hpsearch_baseline",
    METADATA,
    _study(),
    sa.Column("name", sa.String(20), primary_key=True),
    sa.Column("variant", sa.Integer, nullable=False),  # of the preprocessing
    sa.Column("rows", sa.Integer, nullable=False),  # training rows that it was fitted to, in each fold
    sa.Column("scores", sa.Text, nullable=False),
    sa.Column("error", sa.Text),  # why there are no scores
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("finished", sa.Float, nullable=False),  # Unix time
)
LEASE = sa.Table(
    "hpsearch_lease",
    METADATA,
    _study(),
    sa.Column("token", sa.String(32), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("since", sa.Float, nullable=False),  # Unix times
    sa.Column("heartbeat", sa.Float, nullable=False),
    sa.Column("writes", sa.Integer, nullable=False),  # transactions of the holder that were committed
    sa.Column("file", sa.String(40)),  # identity of the database file, which a copy does not share; NULL on a server
)


SCHEMA_LOCK = 0x6870736561726368  # "hpsearch"
MAX_COUNT, MAX_SECONDS, MAX_TIME = 1 << 31, 1e9, 1e11  # of integers; of a duration; of Unix times
MAX_LINE, MAX_CELL = 1000, 1 << 26  # characters of a name, and of other text
_TIMES = ("created", "finished", "since", "heartbeat")
_DOCUMENTS = ("spec", "internal_params", "box", "test", "scores", "error", "ensemble")  # text of any characters


def is_valid(column: sa.Column[Any], cell: object) -> bool:
    """Return whether a cell, as the driver returns it, has the type of its column and is within bounds.

    SQLite stores a value of any type in any column, and the file may come from anywhere.
    """
    if cell is None:
        return bool(column.nullable)
    if isinstance(column.type, sa.Integer):
        return type(cell) is int and 0 <= cell < MAX_COUNT
    if isinstance(column.type, sa.Float):
        most = MAX_TIME if column.name in _TIMES else MAX_SECONDS if column.name == "seconds" else math.inf
        least = -math.inf if column.name == "value" else 0
        return type(cell) in (int, float) and least <= cell <= most  # type: ignore[operator]  # NaN compares false
    if isinstance(column.type, sa.LargeBinary):
        return isinstance(cell, bytes)
    if not isinstance(cell, str) or "\0" in cell:
        return False
    if column.name in _DOCUMENTS:
        return len(cell) <= MAX_CELL
    return len(cell) <= (getattr(column.type, "length", None) or MAX_LINE) and cell.isprintable()


def study_column(table: sa.Table) -> "sa.Column[str]":
    """Return the column of a table that holds the name of the study."""
    return table.c.name if table is STUDY else table.c.study


def study_names(url: str, connection: sa.Connection) -> list[str]:
    """Return the names of all studies of a database, sorted.

    Raises:
        StorageError: a name is damaged.
    """
    names = list[Any](connection.execute(sa.select(sa.type_coerce(STUDY.c.name, sa.types.NullType()))).scalars())
    if not all(is_valid(STUDY.c.name, name) for name in names):
        raise StorageError(f"{display_name(url)}: column name of table {STUDY.name} {DAMAGED}")
    return sorted(names)


def check_tables(url: str, inspector: sa.Inspector) -> bool:
    """Return whether a database holds the tables of studies; False for one without tables.

    Raises:
        StorageError: the database holds other tables or other columns.
    """
    names = set(inspector.get_table_names())
    if not names:
        return False
    if STUDY.name not in names:
        raise StorageError(f"{display_name(url)}: a database, but not of an hpsearch study; choose another")
    for table in METADATA.sorted_tables:
        columns = {column["name"] for column in inspector.get_columns(table.name)} if table.name in names else set()
        missing = sorted(set(table.columns.keys()) - columns)
        if missing:
            what = f"table {table.name} has no column {missing[0]}" if columns else f"there is no table {table.name}"
            raise StorageError(
                f"{display_name(url)}: made by another version of hpsearch ({what}); "
                "continue with that version, or start in another database"
            )
    return True


def create_tables(engine: sa.Engine) -> None:
    """Create all tables in one transaction; a concurrent process that creates them waits."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        lock_server(connection)
        METADATA.create_all(connection)


def lock_server(connection: sa.Connection) -> None:
    """Let one process at a time create tables on a server, ours or Optuna's, until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(SCHEMA_LOCK)))


def spec_hash(text: str) -> str:
    """Return the hash of a stored spec."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

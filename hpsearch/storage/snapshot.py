"""Snapshots: read-only connections that see a study database at one moment."""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import sqlalchemy as sa

from hpsearch.core.files.file_lock import FileId, begin_use, end_use
from hpsearch.errors import StorageError
from hpsearch.storage.connection import NO_STUDY, Connection, sqlite_engine
from hpsearch.storage.database import connect_engine, display_name, file_of, translate_errors
from hpsearch.storage.sqlite_file import BUSY_TIMEOUT, readable, real_path
from hpsearch.storage.tables import check_tables


class Snapshot(NamedTuple):
    """A connection whose reads all see the database at the same moment.

    Attributes:
        locking: False for a file that no process had open: it is read without locks, so a later write goes unnoticed.
    """

    connection: Connection
    locking: bool


@contextlib.contextmanager
def open_snapshot(url: str, study: str | None = None, timeout: float = BUSY_TIMEOUT) -> Iterator[Snapshot]:
    """Open an existing database for reading only; no file is written or created.

    Args:
        study: the study that is meant; None for the only one.
        timeout: seconds to wait for a process that writes.

    Raises:
        StorageError: the database cannot be read, or is not a study database; it holds no such study, or several.
    """
    path = file_of(url)
    with contextlib.ExitStack() as stack:
        address = None if path is None else stack.enter_context(readable(path))
        if path is not None and (file := FileId.of(real_path(path))) is not None:
            begin_use(file)
            stack.callback(end_use, file)
        with translate_errors(url):
            engine = connect_engine(url) if address is None else sqlite_engine(address, timeout)
            stack.callback(engine.dispose)
            connection = stack.enter_context(engine.connect())
            _begin_transaction(connection)
            if not check_tables(url, sa.inspect(connection)):
                raise StorageError(f"{display_name(url)}: {NO_STUDY}")
        opened = Connection(url, engine, study, snapshot=connection)
        yield Snapshot(opened, address is None or address.endswith("?mode=ro"))


def _begin_transaction(connection: sa.Connection) -> None:
    """Begin the one transaction of all reads."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN")
    elif connection.dialect.name == "postgresql":
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

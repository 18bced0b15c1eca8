"""The connection to a study database: opened, read in transactions, closed."""

import contextlib
import sqlite3
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self, final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from hpsearch.errors import StorageError
from hpsearch.storage.database import display_name, engine_options, file_of, translate_errors
from hpsearch.storage.sqlite_file import BUSY_TIMEOUT, DAMAGED, RESTORE, check_file, integrity_error, set_pragmas
from hpsearch.storage.tables import check_tables, create_tables

if TYPE_CHECKING:
    from pathlib import Path

NO_STUDY = "holds no study yet; start one with: hpsearch run STUDY.yaml"


@final
class Connection:
    """An open study database.

    Args:
        url: SQLAlchemy URL of the database.
        engine: connects to the database.
        snapshot: the read-only connection that all reads share; None if each read opens a connection.

    Attributes:
        url: SQLAlchemy URL of the database.
        engine: engine for transactions that write.
    """

    def __init__(self, url: str, engine: sa.Engine, snapshot: sa.Connection | None = None) -> None:
        self.url = url
        self.engine = engine
        self._snapshot = snapshot

    @classmethod
    def open(cls, url: str, *, create: bool) -> Self:
        """Open an existing database or, with `create`, a new one.

        Raises:
            StorageError: the database does not exist, is not a study database, is damaged, or cannot be written.
        """
        path = checked_file(url, create=create)
        has_study = (path is None or path.exists()) and _has_study(url)  # before anything is written
        if not has_study and not create:
            raise StorageError(f"{display_name(url)}: {NO_STUDY}")
        with translate_errors(url):
            engine = sa.create_engine(url, **engine_options(url))
            if engine.dialect.name == "sqlite":
                sa.event.listen(engine, "connect", set_pragmas)
            if not has_study:
                try:
                    create_tables(engine)
                except BaseException:
                    engine.dispose()
                    raise
        return cls(url, engine)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Yield a connection to read from.

        Raises:
            StorageError: the database cannot be read.
        """
        with translate_errors(self.url):
            if self._snapshot is not None:
                yield self._snapshot
            else:
                with self.engine.connect() as connection:
                    yield connection

    def rows(self, table: sa.Table, *where: sa.ColumnElement[bool]) -> "list[sa.Row[Any]]":
        """Return rows of a table in the order of its keys."""
        with self.reading() as connection:
            return list(connection.execute(table.select().where(*where).order_by(*table.primary_key.columns)))

    @contextlib.contextmanager
    def validated(self, what: str) -> Iterator[None]:
        """Translate the errors of decoding stored content.

        Args:
            what: the content, as the message names it.

        Raises:
            StorageError: the content is damaged.
        """
        try:
            yield
        except (AttributeError, LookupError, TypeError, ValueError, zlib.error):
            raise StorageError(f"{display_name(self.url)}: {what} {DAMAGED}") from None

    def check(self, *, thorough: bool = False) -> None:
        """Check every page of a SQLite file; databases on a server are not checked.

        Args:
            thorough: also check indexes, and name the damage in the message.

        Raises:
            StorageError: the file is damaged.
        """
        if self.engine.dialect.name == "sqlite":
            with self.reading() as connection:
                damage = integrity_error(connection.exec_driver_sql, thorough=thorough)
            if damage:
                damaged = f"is damaged ({damage}); {RESTORE}" if thorough else DAMAGED
                raise StorageError(f"{display_name(self.url)}: {damaged}")

    def close(self) -> None:
        """Close every connection, which merges SQLite's write-ahead log into the file."""
        with contextlib.suppress(SQLAlchemyError):
            self.engine.dispose()


def checked_file(url: str, *, create: bool) -> "Path | None":
    """Return the file of a URL, checked; None for a server.

    Raises:
        StorageError: the file is not a SQLite database, or the URL is that of an in-memory database.
    """
    path = file_of(url)
    if path is not None:
        check_file(path, create)
    elif sa.make_url(url).get_backend_name() == "sqlite":
        raise StorageError(f"{url}: a study needs a database file; an in-memory database is lost when the process ends")
    return path


def _has_study(url: str) -> bool:
    """Return whether a database holds the tables of a study; False for one without tables.

    Raises:
        StorageError: the database holds other tables.
    """
    with translate_errors(url):
        engine = sa.create_engine(url, **engine_options(url))
        try:
            return check_tables(url, sa.inspect(engine))
        finally:
            engine.dispose()


def sqlite_engine(address: str, timeout: float = BUSY_TIMEOUT) -> sa.Engine:
    """Return an engine for a SQLite file.

    Args:
        address: SQLite's URI of the file.
        timeout: seconds to wait for a process that writes.
    """
    return sa.create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(address, timeout=timeout, uri=True), poolclass=sa.NullPool
    )

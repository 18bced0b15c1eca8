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
        engine: connects to the database.
        snapshot: the connection that all reads share, of a database that is only read.

    Attributes:
        url: SQLAlchemy's.
        engine: for transactions that write.
    """

    def __init__(self, url: str, engine: sa.Engine, snapshot: sa.Connection | None = None) -> None:
        self.url = url
        self.engine = engine
        self._snapshot = snapshot

    @classmethod
    def open(cls, url: str, *, create: bool) -> Self:
        """Open an existing database or, with `create`, a new one.

        Raises:
            StorageError: it does not exist, is not a study database, is damaged, or cannot be written.
        """
        path = checked_file(url, create=create)
        begun = (path is None or path.exists()) and _has_study(url)  # before anything is written
        if not begun and not create:
            raise StorageError(f"{display_name(url)}: {NO_STUDY}")
        with translate_errors(url):
            engine = sa.create_engine(url, **engine_options(url))
            if engine.dialect.name == "sqlite":
                sa.event.listen(engine, "connect", set_pragmas)
            if not begun:
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

        Raises:
            StorageError: the content is damaged.
        """
        try:
            yield
        except (AttributeError, LookupError, TypeError, ValueError, zlib.error):
            raise StorageError(f"{display_name(self.url)}: {what} {DAMAGED}") from None

    def check(self, *, thorough: bool = False) -> None:
        """Check every page of a SQLite file; other databases check themselves.

        Args:
            thorough: also check indexes, and name the damage in the message.

        Raises:
            StorageError: it is damaged.
        """
        if self.engine.dialect.name == "sqlite":
            with self.reading() as connection:
                complaint = integrity_error(connection.exec_driver_sql, thorough=thorough)
            if complaint:
                damaged = f"is damaged ({complaint}); {RESTORE}" if thorough else DAMAGED
                raise StorageError(f"{display_name(self.url)}: {damaged}")

    def close(self) -> None:
        """Close every connection, which merges SQLite's write-ahead log into the file."""
        with contextlib.suppress(SQLAlchemyError):
            self.engine.dispose()


def checked_file(url: str, *, create: bool) -> "Path | None":
    """Return the file of a URL, checked; None for a server.

    Raises:
        StorageError: it is not a SQLite file, or an in-memory database.
    """
    path = file_of(url)
    if path is not None:
        check_file(path, create)
    elif sa.make_url(url).get_backend_name() == "sqlite":
        raise StorageError(f"{url}: a study needs a database file; an in-memory database is lost")
    return path


def _has_study(url: str) -> bool:
    """Return whether a database holds the tables of a study; False for one without tables.

    Raises:
        StorageError: it holds other tables.
    """
    with translate_errors(url):
        engine = sa.create_engine(url, **engine_options(url))
        try:
            return check_tables(url, sa.inspect(engine))
        finally:
            engine.dispose()


def sqlite_engine(address: str, timeout: float = BUSY_TIMEOUT) -> sa.Engine:
    """Return an engine on SQLite's address of a file.

    Args:
        timeout: seconds to wait for a process that writes.
    """
    return sa.create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(address, timeout=timeout, uri=True), poolclass=sa.NullPool
    )

"""The connection to a study database: opened, read in transactions, closed."""

import contextlib
import os
import shlex
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self, final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from hpsearch.core.files.file_lock import FileId, begin_use, descriptor, end_use
from hpsearch.core.reading.urls import parse_database_url
from hpsearch.errors import StorageError
from hpsearch.storage.database import display_name, engine_options, file_of, translate_errors
from hpsearch.storage.sqlite_file import (
    BUSY_TIMEOUT,
    DAMAGED,
    RESTORE,
    check_file,
    check_local,
    connect_existing,
    create_private,
    integrity_error,
    real_path,
    set_pragmas,
)
from hpsearch.storage.tables import check_tables, create_tables, is_valid

_RAW = sa.types.NullType()
NO_STUDY = "holds no study yet; start one with: hpsearch run STUDY.yaml"


@final
class OpenFile:
    """The SQLite file of an open database, which keeps its identity under whatever name it has.

    Args:
        path: an existing file.

    Attributes:
        path: the file that `path` leads to.
        id: its identity.

    Raises:
        StorageError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = real_path(path)
        self._given = path
        self._exit = contextlib.ExitStack()
        try:
            self._number = self._exit.enter_context(descriptor(self.path))
        except OSError as error:
            raise StorageError(f"{path}: cannot be read: {error.strerror}") from None
        status = os.fstat(self._number)
        self.id = FileId(status.st_dev, status.st_ino)
        begin_use(self.id)
        self._exit.callback(end_use, self.id)

    @property
    def is_present(self) -> bool:
        """True while the path leads to this file."""
        return FileId.of(self.path) == self.id

    def check_present(self) -> None:
        """Check that the path still leads to this file: SQLite writes to a deleted or moved file without an error.

        Raises:
            StorageError: the file was moved, deleted or replaced.
        """
        if self.is_present:
            return
        if (place := self._new_place()) is not None:
            resume = f"hpsearch resume {shlex.quote(str(place))}"
            raise StorageError(
                f"{self._given}: was moved to {place} while the study ran; everything finished is in it; "
                f"resume with: {resume}"
            )
        what = "replaced by another file" if self.path.exists() else "deleted, or moved to another disk,"
        raise StorageError(f"{self._given}: was {what} while the study ran; {RESTORE}")

    def connect(self) -> sqlite3.Connection:
        """Connect to the file for writing.

        Raises:
            StorageError: the file was moved, deleted or replaced.
            sqlite3.OperationalError: the file cannot be opened.
        """
        self.check_present()
        try:
            return connect_existing(self._given)
        except sqlite3.OperationalError:
            self.check_present()  # moved since
            raise

    def close(self) -> None:
        """Close the file after all connections to it; a log that is of no more use is removed with it."""
        log, index = (Path(f"{self.path}{end}") for end in ("-wal", "-shm"))
        with contextlib.suppress(OSError):
            deleted = os.fstat(self._number).st_nlink == 0
            if not self.path.exists() and (deleted or log.stat().st_size == 0):
                log.unlink()
                index.unlink()
        self._exit.close()

    def _new_place(self) -> Path | None:
        """Return the present path of a file that was moved; None if it has none, or the system does not tell."""
        with contextlib.suppress(OSError):
            place = Path(os.readlink(f"/proc/self/fd/{self._number}"))
            return place if FileId.of(place) == self.id else None
        return None


@final
class Connection:
    """An open study database.

    Args:
        url: SQLAlchemy URL of the database.
        engine: connects to the database.
        snapshot: the read-only connection that all reads share; None if each read opens a connection.
        file: the file of a SQLite database that is open for writing.

    Attributes:
        url: SQLAlchemy URL of the database.
        engine: engine for transactions that write.
        file: the file of a SQLite database that is open for writing, else None.
    """

    def __init__(
        self, url: str, engine: sa.Engine, snapshot: sa.Connection | None = None, file: OpenFile | None = None
    ) -> None:
        self.url = url
        self.engine = engine
        self.file = file
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
        if path is not None:
            check_local(path)
            create_private(path)
        file = None if path is None else OpenFile(path)
        with contextlib.ExitStack() as undo, translate_errors(url):
            if file is not None:
                undo.callback(file.close)
            options = engine_options(url) if file is None else {"creator": file.connect}
            engine = sa.create_engine(parse_database_url(url), **options)
            undo.callback(engine.dispose)
            if engine.dialect.name == "sqlite":
                sa.event.listen(engine, "connect", set_pragmas)
            if not has_study:
                create_tables(engine)
            undo.pop_all()
        return cls(url, engine, file=file)

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

    def rows(
        self,
        table: sa.Table,
        *where: sa.ColumnElement[bool],
        columns: "Sequence[sa.Column[Any]]" = (),
        skip: bool = False,
    ) -> "list[sa.Row[Any]]":
        """Return rows of a table in the order of its keys.

        Args:
            columns: the columns to read; all by default.
            skip: leave out rows with invalid cells.

        Raises:
            StorageError: without `skip`, a cell has another type than its column, or is out of bounds.
        """
        read = list(columns or table.columns)
        raw = (sa.type_coerce(column, _RAW).label(column.name) for column in read)  # as the driver returns them
        query = sa.select(*raw).where(*where).order_by(*table.primary_key.columns)
        with self.reading() as connection:
            rows = list[Any](connection.execute(query))
        if skip:
            return [row for row in rows if all(map(is_valid, read, row))]
        for place, column in enumerate(read):
            if not all(is_valid(column, row[place]) for row in rows):
                raise StorageError(f"{display_name(self.url)}: column {column.name} of table {table.name} {DAMAGED}")
        return rows

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
        with contextlib.suppress(SQLAlchemyError, sqlite3.Error, StorageError):
            if self.file is not None and not self.file.is_present:  # SQLite merges only into a file in its place
                with self.engine.connect() as connection:
                    connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        with contextlib.suppress(SQLAlchemyError):
            self.engine.dispose()
        if self.file is not None:
            self.file.close()


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
        engine = sa.create_engine(parse_database_url(url), **engine_options(url))
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

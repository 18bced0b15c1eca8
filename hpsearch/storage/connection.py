"""The connection to a study database: opened, read in transactions, closed."""

import contextlib
import copy
import os
import shlex
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from hpsearch.core.files.file_lock import FileId, begin_use, descriptor, end_use
from hpsearch.errors import StorageError
from hpsearch.storage.access.names import chosen_study, command_arguments
from hpsearch.storage.access.rollback import check_locks, keeps_rollback, set_rollback_pragmas
from hpsearch.storage.access.server import Answer, Waiting, retrying
from hpsearch.storage.database import (
    connect_engine,
    connection_url,
    display_name,
    engine_options,
    file_of,
    translate_errors,
)
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
from hpsearch.storage.tables import check_tables, create_tables, is_valid, study_column, study_names

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
        study: the study that is meant; None for the only one, an empty text for none.
        create: the study may be new.
        snapshot: the read-only connection that all reads share; None if each read opens a connection.
        file: the file of a SQLite database that is open for writing.
        rollback: its file has no write-ahead log.
        waiting: how to wait for a server that does not answer.

    Attributes:
        url: SQLAlchemy URL of the database.
        engine: engine for transactions that write.
        study: name of the study whose rows are read and written; empty if the database holds none.
        names: names of all studies of the database when it was opened.
        file: the file of a SQLite database that is open for writing, else None.
        set_pragmas: listens to new connections of an engine of SQLite.

    Raises:
        StorageError: there is no such study, or there are several.
    """

    def __init__(
        self,
        url: str,
        engine: sa.Engine,
        study: str | None = None,
        *,
        create: bool = False,
        snapshot: sa.Connection | None = None,
        file: OpenFile | None = None,
        rollback: bool = False,
        waiting: Waiting = Waiting(),  # noqa: B008 (immutable)
    ) -> None:
        self.url = url
        self.engine = engine
        self.file = file
        self._snapshot = snapshot
        self.set_pragmas = set_rollback_pragmas if rollback else set_pragmas
        self._waiting = waiting
        self.names = self.ask(lambda connection: study_names(url, connection))
        self.study = chosen_study(url, self.names, study, create=create)

    @classmethod
    def open(
        cls,
        url: str,
        study: str | None = None,
        *,
        create: bool,
        rollback: bool = False,
        waiting: Waiting = Waiting(),  # noqa: B008
    ) -> Self:
        """Open an existing database or, with `create`, a new one.

        Args:
            study: the study that is meant; None for the only one.
            create: the database and the study may be new.
            rollback: use a file without a write-ahead log, which may be on a network file system with sound locks.
            waiting: how to wait for a server that does not answer.

        Raises:
            StorageError: the database does not exist, is not a study database, is damaged, or cannot be written; it
                holds no such study, or several.
        """
        path = checked_file(url, create=create)
        if path is None and rollback:
            raise StorageError(f"{display_name(url)}: --storage-mode rollback is for a file, not for a server")
        has_study = (path is None or path.exists()) and _has_study(url)  # before anything is written
        if not has_study and not create:
            raise StorageError(f"{display_name(url)}: {NO_STUDY}")
        if path is not None:
            rollback = rollback or keeps_rollback(path)
            check_locks(path) if rollback else check_local(path)
            create_private(path)
        file = None if path is None else OpenFile(path)
        with contextlib.ExitStack() as undo, translate_errors(url):
            if file is not None:
                undo.callback(file.close)
            options = engine_options(url) if file is None else {"creator": file.connect}
            engine = connect_engine(url, **options)
            undo.callback(engine.dispose)
            if engine.dialect.name == "sqlite":
                sa.event.listen(engine, "connect", set_rollback_pragmas if rollback else set_pragmas)
            if not has_study:
                create_tables(engine)
            opened = cls(url, engine, study, create=create, file=file, rollback=rollback, waiting=waiting)
            undo.pop_all()
        return opened

    def bound_to(self, study: str) -> Self:
        """Return the same connection for another study."""
        bound = copy.copy(self)
        bound.study = chosen_study(self.url, self.names, study)
        return bound

    @property
    def arguments(self) -> str:
        """The database and, if needed, the study as arguments of a command."""
        return command_arguments(display_name(self.url), self.study if self.is_shared else None)

    @property
    def is_shared(self) -> bool:
        """True if a command must name the study: the database holds others, or may hold others soon."""
        return file_of(self.url) is None or bool(set(self.names) - {self.study})

    def ask(self, question: Callable[[sa.Connection], Answer]) -> Answer:
        """Return the answer to a question that only reads; it is asked again if the connection to a server is lost.

        Raises:
            StorageError: the database cannot be read.
        """
        if (snapshot := self._snapshot) is not None:
            with translate_errors(self.url):
                return question(snapshot)

        def attempt() -> Answer:
            with self.engine.connect() as connection:
                return question(connection)

        return self.retrying(attempt)

    def retrying(self, attempt: Callable[[], Answer]) -> Answer:
        """Return the result of an attempt, which is repeated while the connection to a server is lost.

        Raises:
            StorageError: the attempt failed.
        """
        with translate_errors(self.url):
            return retrying(display_name(self.url), attempt, self._waiting)

    def count(self, table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
        """Return the number of rows of the study in a table.

        Raises:
            StorageError: the database cannot be read.
        """
        query = sa.select(sa.func.count()).select_from(table).where(study_column(table) == self.study, *where)
        return self.ask(lambda connection: int(connection.execute(query).scalar_one()))

    def rows(
        self,
        table: sa.Table,
        *where: sa.ColumnElement[bool],
        columns: "Sequence[sa.Column[Any]]" = (),
        skip: bool = False,
        all_studies: bool = False,
    ) -> "list[sa.Row[Any]]":
        """Return rows of the study in a table, in the order of its keys.

        Args:
            columns: the columns to read; by default all but the one that names the study.
            skip: leave out rows with invalid cells.
            all_studies: return the rows of all studies, with the column that names the study.

        Raises:
            StorageError: without `skip`, a cell has another type than its column, or is out of bounds.
        """
        read = list(columns or (column for column in table.columns if all_studies or column.name != "study"))
        raw = (sa.type_coerce(column, _RAW).label(column.name) for column in read)  # as the driver returns them
        own = sa.true() if all_studies else study_column(table) == self.study
        query = sa.select(*raw).where(own, *where).order_by(*table.primary_key.columns)
        rows = self.ask(lambda connection: list[Any](connection.execute(query)))
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
            damage = self.ask(lambda connection: integrity_error(connection.exec_driver_sql, thorough=thorough))
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
    elif connection_url(url).get_backend_name() == "sqlite":
        raise StorageError(f"{url}: a study needs a database file; an in-memory database is lost when the process ends")
    return path


def _has_study(url: str) -> bool:
    """Return whether a database holds the tables of a study; False for one without tables.

    Raises:
        StorageError: the database holds other tables.
    """
    with translate_errors(url):
        engine = connect_engine(url)
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

"""Tables returned by a query to a database."""

import contextlib
import re
import sqlite3
from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, Self, final

from pydantic import ConfigDict, Field, field_validator

from engine.registry import nearest
from hpsearch.core.reading.deadline import Deadline
from hpsearch.core.reading.interruption import is_interrupted
from hpsearch.core.reading.references import check_no_secret, expand_url
from hpsearch.core.text import without_secrets
from hpsearch.data.frame import CHUNK_ROWS
from hpsearch.data.sources.tables import Chunk, ColumnName, TableSource, resolve_columns
from hpsearch.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    import sqlalchemy as sa

SQLITE_STEPS = 50_000  # of its virtual machine between two looks at the time
_ORDER = re.compile(r"\border\s+by\b", re.IGNORECASE)
_NO_TABLE = re.compile(r"no such table: (\S+)|relation \"(.+)\" does not exist")
_DRIVERS = {"psycopg": "'hpsearch[postgres]'", "MySQLdb": "mysqlclient"}  # module → package to install


@final
class SqlSource(TableSource):
    """`{source: sql, url: 'postgresql://me:${PGPASSWORD}@host/database', query: …, target: income}`.

    The database is opened read-only, the query is sent unchanged, and the order of its rows is kept. `${NAME}` stands
    for the user, the password or the whole URL. It is replaced by an environment variable only when the rows are read,
    so no password is stored, and its value is never printed.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    source: Literal["sql"] = Field("sql", description="Source.")
    url: Annotated[
        str,
        Field(
            min_length=1,
            description="Database URL of SQLAlchemy: sqlite:///FILE, postgresql://…; ${NAME} reads the environment and"
            " stands for the user, the password or the whole URL.",
        ),
    ]
    query: Annotated[str, Field(min_length=1, description="Query of the rows, with ORDER BY.")]
    test_query: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="Query of the test rows. Default: they are part of the rows of `query`."
    )
    connect_timeout: Annotated[float, Field(gt=0, le=3600)] = Field(
        10, description="Seconds to wait for a connection to the database."
    )
    query_timeout: Annotated[float, Field(gt=0, le=7 * 86400)] = Field(
        600, description="Seconds that a query may take until all of its rows are read."
    )

    @field_validator("url")
    @classmethod
    def _no_password(cls, url: str) -> str:
        check_no_secret(url, "a file")
        return url

    def notices(self) -> Iterator[str]:
        for query in (self.query, self.test_query):
            if query is not None and not _ORDER.search(query):
                yield (
                    "a query without ORDER BY may return its rows in a different order each time, and then the study"
                    f" cannot be resumed: {query:.60}"
                )

    def chunks(self, text: frozenset[ColumnName]) -> Iterator[Chunk]:
        try:
            database = _Database.of(self.url, (self.connect_timeout, self.query_timeout))
            with database.connect() as connection:
                first: list[str] | None = None
                for query, test in ((self.query, False), (self.test_query, True)):
                    if query is not None:
                        with database.limited(connection):
                            for cells in _chunks(connection, query, text, first):
                                cells = self.align_columns(cells, first, "test_query")
                                yield Chunk(cells, test)
                        first = list(cells.columns)
        except DataError as error:
            raise self.error(str(error)) from None


@final
class _Database:
    """A database opened read-only, whose errors are raised as `DataError` without its password.

    Args:
        secrets: parts of the URL that are never printed.
        name: how messages name the database; None for its file, or its server and name.
        timeouts: seconds to wait for a connection, and for all rows of a query.
    """

    def __init__(self, url: "sa.URL", secrets: Sequence[str], name: str | None, timeouts: tuple[float, float]) -> None:
        self.url = url
        self._connect_timeout, self._deadline = timeouts[0], Deadline(timeouts[1])
        self._hidden = secrets
        self._name = name

    @classmethod
    def of(cls, url: str, timeouts: tuple[float, float]) -> Self:
        """Return the database of a URL in a study file.

        Args:
            timeouts: seconds to wait for a connection, and for all rows of a query.

        Raises:
            DataError: an environment variable is not set, or the URL is invalid.
        """
        try:
            expanded = expand_url(url)
        except ValueError as error:
            raise DataError(f"url: {error}") from None
        return cls(expanded.url, expanded.secrets, expanded.reference, timeouts)

    @contextlib.contextmanager
    def connect(self) -> Iterator["sa.Connection"]:
        """Open a read-only connection that streams its results.

        Raises:
            DataError: the database or its driver reports an error while the connection is open.
        """
        import sqlalchemy as sa

        try:
            engine = self._engine()
            try:
                options = {"stream_results": True, "no_parameters": True, "postgresql_readonly": True}
                with engine.connect().execution_options(**options) as connection:
                    sa.event.listen(engine, "handle_error", _close_cursor)
                    yield connection
            finally:
                engine.dispose()
        except ImportError as error:
            missing = error.name or ""
            raise DataError(
                f"{self._location}: needs {missing}: pip install {_DRIVERS.get(missing, missing)}"
            ) from None
        except sa.exc.NoSuchModuleError:
            types, given = ["postgresql", "sqlite", "mysql", "mariadb", "oracle", "mssql"], self.url.drivername
            wrong = f"'{given}'" if self._name is None else f"as in {self._name}"
            raise DataError(f"there is no database type {wrong}{nearest(given, types)}") from None
        except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError, ValueError, TypeError) as error:
            self._raise_data_error(error)

    @contextlib.contextmanager
    def limited(self, connection: "sa.Connection") -> Iterator[None]:
        """Limit the time that a query may take until all of its rows are read."""
        driver = connection.connection.dbapi_connection
        fileno = getattr(driver, "fileno", None) or getattr(getattr(driver, "_sock", None), "fileno", None)
        with self._deadline.limit(fileno() if fileno is not None else None):
            yield

    def _engine(self) -> "sa.Engine":
        import sqlalchemy as sa

        if self.url.get_backend_name() != "sqlite":
            timeout = {} if "connect_timeout" in self.url.query else {"connect_timeout": ceil(self._connect_timeout)}
            known = self.url.get_backend_name() in ("postgresql", "mysql", "mariadb")
            return sa.create_engine(self.url, connect_args=timeout if known else {}, poolclass=sa.NullPool)
        if self.url.database in (None, "", ":memory:"):
            raise DataError("url: must name a file, such as sqlite:///FILE")
        path = Path(str(self.url.database))
        if not path.is_file():
            raise DataError(f"{self._location}: there is no such file; a relative path starts at the current folder")
        return sa.create_engine("sqlite://", creator=lambda: self._read_only(path), poolclass=sa.NullPool)

    def _read_only(self, path: Path) -> sqlite3.Connection:
        """Open a SQLite file read-only; ATTACH is denied, so that SQLite creates or writes no other file."""

        def allowed(action: int, *_: str | None) -> int:
            return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK

        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=self._connect_timeout, uri=True)
        connection.set_authorizer(allowed)
        connection.set_progress_handler(self._deadline.check, SQLITE_STEPS)
        return connection

    def _raise_data_error(self, error: Exception) -> NoReturn:
        """Raise a DataError with the first line of an error, whose text may contain the password."""
        if self._deadline.passed:
            raise DataError(
                f"{self._location}: the query has taken longer than {self._deadline.seconds:,g} s; to wait longer, set"
                " query_timeout"
            ) from None
        text = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
        reason = text.splitlines()[0]
        if is_interrupted() or reason == "interrupted":  # SQLite's callback has swallowed the exception
            raise KeyboardInterrupt from None
        no_table = _NO_TABLE.search(text)
        if no_table:
            reason += self._nearest_table(no_table[1] or no_table[2])
        raise DataError(f"{self._location}: {without_secrets(reason, self._hidden)}") from None

    def _nearest_table(self, table: str) -> str:
        import sqlalchemy as sa

        with contextlib.suppress(sa.exc.SQLAlchemyError):
            engine = self._engine()
            try:
                tables = sa.inspect(engine)
                names = [*tables.get_table_names(), *tables.get_view_names()]
            finally:
                engine.dispose()
            return nearest(table, names) if names else "; there are no tables"
        return ""

    @property
    def _location(self) -> str:
        """The file, or the server and the name of the database."""
        if self._name is not None:
            return self._name
        if self.url.get_backend_name() == "sqlite":
            return str(self.url.database)
        port = f":{self.url.port}" if self.url.port else ""
        host = self.url.host or self.url.query.get("host") or "localhost"
        return f"{host}{port}/{self.url.database or ''}"


def _close_cursor(context: "sa.engine.ExceptionContext") -> None:
    """Close the cursor of a statement that failed; SQLAlchemy leaves that of a cut connection open."""
    with contextlib.suppress(Exception):
        context.execution_context.cursor.close()  # type: ignore[union-attr]


def _chunks(
    connection: "sa.Connection", query: str, text: frozenset[ColumnName], first: list[str] | None
) -> Iterator["pd.DataFrame"]:
    """Yield the rows of a query.

    Args:
        text: columns whose cells are not converted to numbers.
        first: the columns that positions in `text` refer to; None for those of the query.

    Raises:
        DataError: the query returns no rows.
    """
    result = connection.exec_driver_sql(query)
    if not result.returns_rows:
        raise DataError(f"the query must return rows, as SELECT does: {query:.60}")
    with result:
        names, has_rows = list(result.keys()), False
        as_objects = resolve_columns(text, first or names)
        for rows in result.partitions(CHUNK_ROWS):
            has_rows = True
            yield _to_pandas([tuple(row) for row in rows], names, as_objects)
    if not has_rows:
        raise DataError(f"the query returns no rows: {query:.60}")


def _to_pandas(rows: Sequence[tuple[Any, ...]], names: list[str], as_objects: set[str]) -> "pd.DataFrame":
    import pandas as pd

    cells = pd.DataFrame.from_records(rows, columns=names, coerce_float=True)
    for position, name in enumerate(names):
        if name in as_objects:
            cells.isetitem(position, pd.Series([row[position] for row in rows], dtype=object))
    return cells

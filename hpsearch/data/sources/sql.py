"""Tables that a database gives for a query."""

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, Self, final
from urllib.parse import quote, quote_plus

from pydantic import ConfigDict, Field, field_validator

from engine.registry import nearest
from hpsearch.data.sources.tables import CHUNK_ROWS, ColumnName, Piece, TableSource, as_written
from hpsearch.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    import sqlalchemy as sa

CONNECT = 10  # seconds until a server counts as unreachable
_NAME = re.compile(r"\$\{(\w+)\}")
_SECRET = re.compile(r"pass|pwd|secret|token|api_?key|odbc_connect", re.IGNORECASE)  # settings of a URL
_ORDER = re.compile(r"\border\s+by\b", re.IGNORECASE)
_NO_TABLE = re.compile(r"no such table: (\S+)|relation \"(.+)\" does not exist")
_DRIVERS = {"psycopg": "'hpsearch[postgres]'", "MySQLdb": "mysqlclient"}  # what to install for a module


@final
class SqlSource(TableSource):
    """`{source: sql, url: 'postgresql://me:${PGPASSWORD}@host/database', query: SELECT * FROM people ORDER BY id, …}`.

    The database is opened for reading only, the query is sent as it is, and rows come in its order. `${NAME}` is taken
    from the environment when the rows are read, and only then, so that no password is ever stored.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    source: Literal["sql"] = Field("sql", description="Source.")
    url: Annotated[
        str,
        Field(
            min_length=1,
            description="Database URL of SQLAlchemy: sqlite:///FILE, postgresql://…; ${NAME} reads the environment.",
        ),
    ]
    query: Annotated[str, Field(min_length=1, description="Query of the rows, with ORDER BY.")]
    test_query: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="Query of the test rows. Default: they are a part of `query`."
    )

    @field_validator("url")
    @classmethod
    def _no_password(cls, url: str) -> str:
        if not _NAME.fullmatch(url):
            literal = [value for value in _secrets(_parsed(url)) if not _NAME.fullmatch(value)]
            if literal:
                raise ValueError(
                    "a password must not be written into a file: write ${NAME} in its place, the URL in quotes,"
                    " and set the environment variable NAME"
                )
        return url

    def notices(self) -> Iterator[str]:
        for query in (self.query, self.test_query):
            if query is not None and not _ORDER.search(query):
                yield (
                    "a query without ORDER BY may give its rows in another order each time,"
                    f" and the study could not go on: {query:.60}"
                )

    def chunks(self, text: frozenset[ColumnName]) -> Iterator[Piece]:
        try:
            with _Database.of(self.url).connect() as connection:
                first: list[str] | None = None
                for query, test in ((self.query, False), (self.test_query, True)):
                    if query is not None:
                        for cells in _chunks(connection, query, text, first):
                            cells = self.align_columns(cells, first, "test_query")
                            yield Piece(cells, test)
                        first = list(cells.columns)
        except DataError as error:
            raise self.error(str(error)) from None


@final
class _Database:
    """One that is opened for reading; what it refuses comes as a `DataError` without its password."""

    def __init__(self, url: "sa.URL") -> None:
        self.url = url

    @classmethod
    def of(cls, url: str) -> Self:
        """What a URL of a study file means.

        Raises:
            DataError: a variable is not set, or it makes no URL.
        """
        try:
            if _NAME.fullmatch(url):
                return cls(_parsed(_expanded(url)))
            parsed = _parsed(url)
        except ValueError as error:
            raise DataError(f"url: {error}") from None
        parts = {part: _expanded(getattr(parsed, part) or "") or None for part in ("username", "host", "database")}
        query = {
            key: _expanded(v) if isinstance(v, str) else tuple(map(_expanded, v)) for key, v in parsed.query.items()
        }
        password = None if parsed.password is None else _expanded(str(parsed.password))
        return cls(parsed.set(**parts, password=password, query=query))  # type: ignore[arg-type]

    @contextlib.contextmanager
    def connect(self) -> Iterator["sa.Connection"]:
        """A connection that streams and does not write.

        Raises:
            DataError: whatever it or its driver refuses while it is used.
        """
        import sqlalchemy as sa

        try:
            engine = self._engine()
            try:
                options = {"stream_results": True, "no_parameters": True, "postgresql_readonly": True}
                with engine.connect().execution_options(**options) as connection:
                    yield connection
            finally:
                engine.dispose()
        except ImportError as error:
            missing = error.name or ""
            raise DataError(f"{self._shown}: needs {missing}: pip install {_DRIVERS.get(missing, missing)}") from None
        except sa.exc.NoSuchModuleError:
            kinds = ["postgresql", "sqlite", "mysql", "mariadb", "oracle", "mssql"]
            raise DataError(
                f"there is no kind of database '{self.url.drivername}'{nearest(self.url.drivername, kinds)}"
            ) from None
        except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError, ValueError, TypeError) as error:
            self._refuse(error)

    def _engine(self) -> "sa.Engine":
        import sqlalchemy as sa

        if self.url.get_backend_name() != "sqlite":
            timeout = {} if "connect_timeout" in self.url.query else {"connect_timeout": CONNECT}
            known = self.url.get_backend_name() in ("postgresql", "mysql", "mariadb")
            return sa.create_engine(self.url, connect_args=timeout if known else {}, poolclass=sa.NullPool)
        if self.url.database in (None, "", ":memory:"):
            raise DataError("url: must name a file, as sqlite:///FILE")
        path = Path(str(self.url.database))
        if not path.is_file():
            raise DataError(f"{path}: there is no such file; a relative path starts at the current folder")
        return sa.create_engine("sqlite://", creator=lambda: _read_only(path), poolclass=sa.NullPool)

    def _refuse(self, error: Exception) -> NoReturn:
        """In one line, with no password in it: a driver's own words may hold it."""
        text = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
        reason = text.splitlines()[0]
        no_table = _NO_TABLE.search(text)
        if no_table:
            reason += self._nearest(no_table[1] or no_table[2])
        for secret in _secrets(self.url):
            quoted = {quote(secret, safe=safe) for safe in ("", "/", " +")}
            for form in {secret, *quoted, quote_plus(secret), repr(secret)[1:-1]}:
                reason = reason.replace(form, "***")
        raise DataError(f"{self._shown}: {reason}") from None

    def _nearest(self, table: str) -> str:
        import sqlalchemy as sa

        with contextlib.suppress(sa.exc.SQLAlchemyError):
            engine = self._engine()
            try:
                tables = sa.inspect(engine)
                names = [*tables.get_table_names(), *tables.get_view_names()]
            finally:
                engine.dispose()
            return nearest(table, names) if names else "; there is none"
        return ""

    @property
    def _shown(self) -> str:
        """Its file, or its server and name."""
        if self.url.get_backend_name() == "sqlite":
            return str(self.url.database)
        port = f":{self.url.port}" if self.url.port else ""
        host = self.url.host or self.url.query.get("host") or "localhost"
        return f"{host}{port}/{self.url.database or ''}"


def _read_only(path: Path) -> sqlite3.Connection:
    """A file that SQLite neither creates nor writes, nor others beside it."""

    def allowed(action: int, *_: str | None) -> int:
        return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK

    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=CONNECT, uri=True)
    connection.set_authorizer(allowed)
    return connection


def _chunks(
    connection: "sa.Connection", query: str, text: frozenset[ColumnName], first: list[str] | None
) -> Iterator["pd.DataFrame"]:
    """Rows, some at a time.

    Args:
        text: columns whose cells come as they are, also where all of them are numbers.
        first: the columns by which places are counted; those of the query itself when not given.

    Raises:
        DataError: there are none.
    """
    result = connection.exec_driver_sql(query)
    if not result.returns_rows:
        raise DataError(f"the query must give rows, as SELECT does: {query:.60}")
    with result:
        names, some = list(result.keys()), False
        words = as_written(text, first or names)
        for rows in result.partitions(CHUNK_ROWS):
            some = True
            yield _cells([tuple(row) for row in rows], names, words)
    if not some:
        raise DataError(f"the query gives no rows: {query:.60}")


def _cells(rows: Sequence[tuple[Any, ...]], names: list[str], words: set[str]) -> "pd.DataFrame":
    import pandas as pd

    cells = pd.DataFrame.from_records(rows, columns=names, coerce_float=True)
    for place, name in enumerate(names):
        if name in words:
            cells.isetitem(place, pd.Series([row[place] for row in rows], dtype=object))
    return cells


def _parsed(url: str) -> "sa.URL":
    """A URL in its parts.

    Raises:
        ValueError: it is none; without a word of it, for it may hold a password.
    """
    import sqlalchemy as sa

    try:
        return sa.make_url(url)
    except (sa.exc.SQLAlchemyError, ValueError):  # the latter of a port that is no number
        raise ValueError("must be a database URL, as sqlite:///FILE or postgresql://HOST/DATABASE") from None


def _secrets(url: "sa.URL") -> list[str]:
    """What must not be seen of a URL."""
    found = [] if url.password is None else [str(url.password)]
    for key, value in url.query.items():
        if _SECRET.search(key):
            found += [value] if isinstance(value, str) else value
    return [secret for secret in found if secret]


def _expanded(text: str) -> str:
    """`${NAME}` as the environment has it.

    Raises:
        DataError: it has not.
    """

    def value(name: "re.Match[str]") -> str:
        if name[1] not in os.environ:
            raise DataError(f"url: the environment variable {name[1]} is not set")
        return os.environ[name[1]]

    return _NAME.sub(value, text)

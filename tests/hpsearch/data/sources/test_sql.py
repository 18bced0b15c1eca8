"""SQL source: rows of a query, read-only access, and passwords that appear nowhere."""

import contextlib
import json
import logging
import os
import signal
import sqlite3
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import pytest
import sqlalchemy as sa
from pydantic import ValidationError
from table_cases import cells, column, people, refusal, table, targets, written

from hpsearch.config.load import restore_spec
from hpsearch.core.reading.interruption import interrupted_at_once
from hpsearch.data.sources import sql as module
from hpsearch.data.sources.sql import SqlSource
from hpsearch.errors import DataError, SpecError

SECRET = "hunter2 p@ss/w%rd:'x"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Create a database with a table of mixed types and an empty table."""
    path = tmp_path / "t.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE people (a, b TEXT, c REAL, y)")
        rows = [(1, "1.5", 1.5, 1), (2.0, "2", None, 0), (None, "x", 3, 1), (4, None, 4.25, 0)]
        connection.executemany("INSERT INTO people VALUES (?, ?, ?, ?)", rows)
        connection.execute("CREATE TABLE empty (a, y)")
        connection.commit()
    return path


def read(path: Path, query: str, **settings: Any) -> Any:
    return table("sql", url=f"sqlite:///{path}", query=query, **settings)


def refused(path: Path, query: str, **settings: Any) -> str:
    return refusal("sql", url=f"sqlite:///{path}", query=query, **settings)


# --- rows


def test_rows_in_the_order_of_the_query(database: Path) -> None:
    found = read(database, "SELECT a, c, y FROM people ORDER BY rowid DESC")
    assert cells(found, "a") == [4, None, 2, 1] and cells(found, "c") == [4.25, 3, None, 1.5]
    assert targets(found) == ["0", "1", "0", "1"] and not [n for n in found.notices if "ORDER BY" in n]
    found = read(database, "SELECT a, y FROM people")
    assert found.notices[0].startswith("a query without ORDER BY may return its rows in a different order each time")


def test_chunks_do_not_matter(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column with integers, floats and text is read as a whole."""
    query = "SELECT b, c, y FROM people UNION ALL SELECT 7, 'u', 1 UNION ALL SELECT 7.0, 5, 0"
    whole = read(database, query, categorical=["b", "c"])
    for rows in (1, 2, 3):
        monkeypatch.setattr(module, "CHUNK_ROWS", rows)
        part = read(database, query, categorical=["b", "c"])
        assert [cells(part, name) for name in "bc"] == [cells(whole, name) for name in "bc"]
        assert targets(part) == targets(whole)
    assert cells(whole, "b")[-2:] == ["7", "7"] and cells(whole, "c")[:5] == ["1.5", None, "3", "4.25", "u"]


def test_mixed_columns(database: Path) -> None:
    message = refused(database, "SELECT b, y FROM people ORDER BY rowid")
    assert "column 'b' holds numbers, and text in 1 of 4 rows: 'x' in row 3" in message
    found = read(database, "SELECT b, y FROM people ORDER BY rowid", missing=["x"])
    assert cells(found, "b") == [1.5, 2, None, None]
    found = read(database, "SELECT b, y FROM people ORDER BY rowid", categorical=["b"])
    assert cells(found, "b") == ["1.5", "2", "x", None]


def test_classes_keep_their_spelling(database: Path) -> None:
    assert read(database, "SELECT c, b AS y FROM people WHERE b IS NOT NULL").classes == ("1.5", "2", "x")
    assert read(database, "SELECT a, '01' AS y FROM people").classes == ("01",)
    assert read(database, "SELECT y, a FROM people", target="y").classes == ("0", "1")


def test_test_query(database: Path) -> None:
    test = "SELECT y, 5 AS more, a FROM people WHERE rowid = 4"
    found = read(database, "SELECT a, y FROM people WHERE rowid < 4 ORDER BY rowid", test_query=test)
    assert cells(found, "a") == [1, 2, None, 4] and found.parts["test"].tolist() == [3] and found.features == ("a",)
    assert sum("ORDER BY" in notice for notice in found.notices) == 1
    message = refused(
        database, "SELECT a, y FROM people", test_query="SELECT aa, y FROM (SELECT a AS aa, y FROM people)"
    )
    assert message.endswith("test_query: there is no column 'a'; did you mean 'aa'?")
    assert "returns no rows" in refused(database, "SELECT a, y FROM people", test_query="SELECT a, y FROM empty")


def test_the_query_is_sent_unchanged(database: Path) -> None:
    """Colons and percent signs are not placeholders."""
    found = read(database, "SELECT ':a' AS p, '10:30' AS q, '%s %(x)s' AS r, y FROM people WHERE b LIKE '%' -- end;")
    assert cells(found, "p")[0] == ":a" and cells(found, "q")[0] == "10:30" and cells(found, "r")[0] == "%s %(x)s"


def test_a_table_of_pandas(tmp_path: Path) -> None:
    """A table written by pandas gives the same cells."""
    data = people()
    found = table(**written(tmp_path, "sql", data))
    assert column(found, "size").values.tobytes() == data["size"].to_numpy().tobytes()
    assert cells(found, "word") == [None if pd.isna(word) else word for word in data["word"]]


# --- queries that cannot be used


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELEC 1", 'near "SELEC": syntax error'),
        ("SELECT * FROM peple", "no such table: peple; did you mean 'people'?"),
        ("SELECT zz FROM people", "no such column: zz"),
        ("SELECT a, a, y FROM people", "two columns are named 'a'"),
        ("SELECT * FROM empty", "the query returns no rows: SELECT * FROM empty"),
        ("SELECT x'00ff' AS a, 1 AS y", "column 'a' holds bytes (b'\\x00\\xff'); it must hold numbers or text"),
        ("SELECT 1; SELECT 2", "You can only execute one statement at a time"),
        ("SELECT a FROM people WHERE a = ?", "Incorrect number of bindings"),
        ("PRAGMA user_version = 7", "readonly database"),
        ("DROP TABLE people", "readonly database"),
        ("DELETE FROM people RETURNING a, y", "readonly database"),
        ("CREATE TABLE new (a)", "readonly database"),
        ("ATTACH 'new.db' AS new", "not authorized"),
        ("VACUUM INTO 'new.db'", ""),
    ],
    ids=lambda value: value.split(" ")[0] if value.isupper() else None,
)
def test_invalid_queries(
    query: str, words: str, database: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The database and other files stay unchanged."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = database.read_bytes()
    assert words in refused(database, query)
    assert database.read_bytes() == before and not list((tmp_path / "here").iterdir())


def test_invalid_files(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    assert "none.db: there is no such file; a relative path starts at" in refused(path, "SELECT 1")
    assert not path.exists()
    path.write_bytes(b"no database at all, but long enough to be one" * 40)
    assert "file is not a database" in refused(path, "SELECT * FROM people")
    for url in ("sqlite://", "sqlite:///:memory:"):
        assert "url: must name a file, such as sqlite:///FILE" in refusal("sql", url=url, query="SELECT 1")
    strange = tmp_path / "a b#c?d%20.db"
    with contextlib.closing(sqlite3.connect(strange)) as connection:
        connection.execute("CREATE TABLE t (a, y)")
        connection.execute("INSERT INTO t VALUES (1, 2)")
        connection.commit()
    assert "a b#c: there is no such file" in refused(strange, "SELECT * FROM t")
    if sa.make_url("sqlite:///%25").database == "%":  # since SQLAlchemy 2.1
        assert len(read(Path(quote(str(strange))), "SELECT * FROM t").y) == 1


def test_connections_are_closed(database: Path) -> None:
    """Connections are closed after an error or an incomplete read; a ResourceWarning would be an error here."""
    source = SqlSource.model_validate({"url": f"sqlite:///{database}", "query": "SELECT * FROM people", "target": 0})
    pieces = source.chunks(frozenset())
    next(pieces)
    del pieces
    refused(database, "SELECT * FROM people", target="zz")
    database.unlink()


# --- passwords


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@host/db",
        "postgresql://me:hunter2@host/db",
        "postgresql+psycopg://:hunter2@/db",
        "postgresql://me:hunter2${MORE}@host/db",
        "postgresql://me@host/db?password=hunter2",
        "postgresql://host/db?sslpassword=hunter2",
        "mssql+pyodbc:///?odbc_connect=PWD%3Dhunter2",
        "postgresql://me:hunter2@host:port/db",
        "hunter2",
    ],
)
def test_passwords_in_a_url_are_rejected(url: str) -> None:
    """The error says how to write the URL and does not contain the password."""
    with pytest.raises(ValidationError) as caught:
        SqlSource.model_validate({"url": url, "query": "SELECT 1", "target": 0})
    said = str(caught.value) + repr(caught.value)
    assert "must " in said and "hunter2" not in said


def test_study_files_with_a_password_are_rejected() -> None:
    from cases import content

    data = {"source": "sql", "url": "postgresql://me:hunter2@host/db", "query": "SELECT 1", "target": 0}
    with pytest.raises(SpecError) as caught:
        restore_spec(content(data=data), "small.yaml")
    assert str(caught.value) == (
        "small.yaml: data.url: a password must not be written into a file: write ${NAME} instead,"
        " with the URL in single quotes, and set the environment variable NAME"
    )


def test_names_of_variables_are_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checking a file needs no environment variable, and values of variables are not stored."""
    from cases import content

    monkeypatch.setenv("HPSEARCH_SECRET", SECRET)
    for url in ("postgresql://me:${HPSEARCH_SECRET}@host/db", "postgresql://h/d?password=${UNSET_ONE}", "${UNSET_TWO}"):
        data = {"source": "sql", "url": url, "query": "SELECT 1", "target": 0}
        stored = json.dumps(restore_spec(content(data=data), "x").model_dump(mode="json"))
        assert url in stored and "hunter2" not in stored


def test_environment_variables(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HPSEARCH_NONE", raising=False)
    for url in ("postgresql://me:${HPSEARCH_NONE}@host/db", "${HPSEARCH_NONE}", "postgresql://${HPSEARCH_NONE}@host/d"):
        message = refusal("sql", url=url, query="SELECT 1")
        assert message == "data: sql: url: the environment variable HPSEARCH_NONE is not set"
    monkeypatch.setenv("HPSEARCH_URL", f"sqlite:///{database}")
    assert len(table("sql", url="${HPSEARCH_URL}", query="SELECT a, y FROM people").y) == 4
    monkeypatch.setenv("HPSEARCH_URL", SECRET)
    assert "hunter2" not in refusal("sql", url="${HPSEARCH_URL}", query="SELECT 1")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me@${HPSEARCH_SECRET}/db",
        "postgresql://me@a.${HPSEARCH_SECRET}.example.org/db",
        "sqlite:///${HPSEARCH_SECRET}/t.db",
        "postgresql://h/${HPSEARCH_SECRET}",
        "postgresql://h/d?application_name=${HPSEARCH_SECRET}",
        "postgresql://h/d?${HPSEARCH_SECRET}=1",
        "postgresql://h/d?host=a&host=${HPSEARCH_SECRET}",
    ],
)
def test_variables_elsewhere_are_rejected(url: str) -> None:
    """A study file of unknown origin cannot send a variable to a server of its choice, or print it."""
    with pytest.raises(ValidationError, match="must stand for the user, the password or the whole URL"):
        SqlSource.model_validate({"url": url, "query": "SELECT 1", "target": 0})


@pytest.mark.parametrize(
    ("url", "value"),
    [
        ("postgresql://${HPSEARCH_SECRET}@127.0.0.1:1/d", "the-user"),
        ("postgresql://127.0.0.1:1/d?user=${HPSEARCH_SECRET}", "the-user"),
        ("${HPSEARCH_SECRET}", "sqlite:////the-user/t.db"),
        ("${HPSEARCH_SECRET}", "postgresql://127.0.0.1:1/the-user"),
        ("${HPSEARCH_SECRET}", "the-user://127.0.0.1:1/d"),
        ("${HPSEARCH_SECRET}", "postgresql://the-user.invalid/d"),
    ],
)
def test_values_of_variables_are_never_printed(url: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPSEARCH_SECRET", value)

    class Engine:
        def connect(self) -> None:
            raise sa.exc.OperationalError("SELECT 1", {}, Exception(f"no access with {value}"))

        def dispose(self) -> None:
            pass

    create = sa.create_engine
    monkeypatch.setattr("sqlalchemy.create_engine", lambda u, **o: create(u) if "the" in u.drivername else Engine())
    assert "the-user" not in refusal("sql", url=url, query="SELECT 1")


def test_passwords_with_special_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPSEARCH_SECRET", SECRET)
    made: list[sa.URL] = []

    def create(url: sa.URL, **_: Any) -> sa.Engine:
        made.append(url)
        raise sa.exc.ArgumentError("as far as this")

    monkeypatch.setattr("sqlalchemy.create_engine", create)
    for url in ("postgresql://me:${HPSEARCH_SECRET}@h/d", "postgresql://me@h/d?password=${HPSEARCH_SECRET}"):
        refusal("sql", url=url, query="SELECT 1")
    assert made[0].password == SECRET and made[0].host == "h" and made[1].query["password"] == SECRET


@pytest.mark.parametrize("form", ["{}", "dsn='{}'", "postgresql://me:{}@h/d", "first line {}\nsecond"])
@pytest.mark.parametrize("place", ["me:${HPSEARCH_SECRET}@h/d", "h/d?password=${HPSEARCH_SECRET}", ""], ids=str)
def test_driver_errors_are_redacted(
    place: str, form: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No spelling of the password appears in the message, the traceback or the logs."""
    caplog.set_level(logging.DEBUG)
    quoted = sa.URL.create("postgresql", "me", SECRET, "h").render_as_string(hide_password=False)
    quoted = quoted.removeprefix("postgresql://me:").removesuffix("@h")
    monkeypatch.setenv("HPSEARCH_SECRET", SECRET)
    monkeypatch.setenv("HPSEARCH_URL", f"postgresql://me:{quoted}@h/d")
    for shown in (SECRET, quoted, repr(SECRET)[1:-1]):

        class Engine:
            def connect(self, said: str = form.format(shown)) -> None:
                raise sa.exc.OperationalError("SELECT 1", {}, Exception(said))

            def dispose(self) -> None:
                pass

        monkeypatch.setattr("sqlalchemy.create_engine", lambda url, made=Engine, **_: made())
        source = {"url": f"postgresql://{place}" if place else "${HPSEARCH_URL}", "query": "SELECT 1", "target": 0}
        with pytest.raises(DataError) as caught:
            SqlSource.model_validate(source).load()
        seen = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caplog.text
        assert quoted != SECRET and "hunter2" not in seen and "w%25rd" not in seen and "***" in str(caught.value)
        assert caught.value.__cause__ is None and caught.value.__suppress_context__
        assert str(caught.value).startswith("data: sql: h/d: " if place else "data: sql: ${HPSEARCH_URL}: ")


def test_unreachable_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the host and the reason."""
    pytest.importorskip("psycopg", reason="needs the postgres extra")
    monkeypatch.setenv("HPSEARCH_SECRET", SECRET)
    message = refusal("sql", url="postgresql://me:${HPSEARCH_SECRET}@127.0.0.1:1/d", query="SELECT 1")
    assert message.startswith("data: sql: 127.0.0.1:1/d: connection failed") and "refused" in message


def test_missing_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal("sql", url="postgres://h/d", query="SELECT 1")
    assert message == "data: sql: there is no database type 'postgres'; did you mean 'postgresql'?"
    monkeypatch.setitem(sys.modules, "psycopg", None)
    message = refusal("sql", url="postgresql+psycopg://h/d", query="SELECT 1")
    assert message == "data: sql: h/d: needs psycopg: pip install 'hpsearch[postgres]'"


# --- time


@pytest.mark.parametrize("what", ["max(k), 1 AS y", "k, k AS y"], ids=["rowless", "endless"])
def test_endless_queries_end(what: str, database: Path) -> None:
    start, query = (
        time.monotonic(),
        f"WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n) SELECT {what} FROM n",
    )
    message = refused(database, query, query_timeout=0.2)
    assert message.endswith("the query has taken longer than 0.2 s; to wait longer, set query_timeout")
    assert time.monotonic() - start < 10 and read(database, "SELECT a, y FROM people", query_timeout=0.2)


def test_a_signal_ends_a_query(database: Path) -> None:
    """Also where SQLite swallows the exception of the handler."""
    query = "WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n) SELECT max(k), 1 AS y FROM n"
    caught: list[int] = []
    handlers = {signal.SIGTERM: lambda number, _: caught.append(number), signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        for context in (interrupted_at_once, contextlib.nullcontext):
            number = signal.SIGTERM if context is interrupted_at_once else signal.SIGINT
            threading.Timer(0.1, os.kill, [os.getpid(), number]).start()
            with pytest.raises(KeyboardInterrupt), context():
                read(database, query, query_timeout=20)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert caught == [signal.SIGTERM]

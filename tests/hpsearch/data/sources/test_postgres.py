"""A real PostgreSQL server: types, streaming, and its password.

`HPSEARCH_TEST_POSTGRES` holds a URL of an empty database, its password as `${NAME}` of another variable.
"""

import gc
import os
import socket
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from table_cases import cells, people, refusal, table, targets, written

from hpsearch.core.reading.urls import parse_database_url
from hpsearch.data.dataset import fingerprint
from hpsearch.data.sources import sql as module
from hpsearch.data.sources.sql import SqlSource

URL = os.environ.get("HPSEARCH_TEST_POSTGRES", "")
pytestmark = pytest.mark.skipif(not URL, reason="HPSEARCH_TEST_POSTGRES holds no URL of a server")


@pytest.fixture
def engine() -> Iterator[sa.Engine]:
    """Yield an engine that may write."""
    made = parse_database_url(URL)  # SQLAlchemy 2.0 takes psycopg2 for a URL that names no driver
    made = made.set(password=os.environ[str(made.password)[2:-1]])
    engine = sa.create_engine(made, poolclass=sa.NullPool)
    yield engine
    with engine.begin() as connection:
        connection.execute(sa.text("DROP FUNCTION IF EXISTS gone; DROP TABLE IF EXISTS people"))


def read(query: str, **settings: Any) -> Any:
    return table("sql", url=URL, query=query, **settings)


def test_types() -> None:
    found = read(
        """SELECT g AS whole, g::bigint AS big, g * 1.5 AS number, g::real / 4 AS short, g % 2 = 0 AS switch,
        CASE WHEN g <> 3 THEN 'w' || g % 2 END AS word, CASE WHEN g <> 4 THEN g END AS gap, '10:30' AS clock,
        NULL AS nothing, gen.id AS id, '7'::char(3) AS padded, g % 3 = 0 AS y
        FROM generate_series(1, 6) g, (SELECT '00000000-0000-0000-0000-000000000001'::uuid AS id) gen ORDER BY g"""
    )
    assert cells(found, "whole") == cells(found, "big") == [1, 2, 3, 4, 5, 6]
    assert cells(found, "number") == [float(Decimal("1.5") * k) for k in range(1, 7)]
    assert cells(found, "short") == [k / 4 for k in range(1, 7)]
    assert cells(found, "switch") == ["False", "True"] * 3 and targets(found) == ["False", "False", "True"] * 2
    assert cells(found, "word") == ["w1", "w0", None, "w0", "w1", "w0"] and cells(found, "gap")[2:4] == [3, None]
    assert cells(found, "nothing") == [None] * 6 and cells(found, "clock") == ["10:30"] * 6
    assert cells(found, "id")[0].endswith("0001") and cells(found, "padded") == [7] * 6


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("now()", "holds times"),
        ("current_date", "holds date"),
        ("interval '1 day'", "holds times"),
        ("ARRAY[1, 2]", "holds lists"),
        ("'{\"a\": 1}'::jsonb", "holds lists or mappings"),
        ("'x'::bytea", "holds bytes"),
    ],
)
def test_unsupported_types(value: str, words: str) -> None:
    message = refusal("sql", url=URL, query=f"SELECT {value} AS a, 2 AS b, 1 AS y")
    assert f"column 'a' {words}" in message
    assert read(f"SELECT {value} AS a, 2 AS b, 1 AS y", drop=["a"]).features == ("b",)


def test_rows_equal_those_of_other_sources(engine: sa.Engine, tmp_path: Path) -> None:
    data = people(200)
    data.to_sql("people", engine, index=False)
    ours = read("SELECT * FROM people ORDER BY ctid")
    assert fingerprint(ours) == fingerprint(table(**written(tmp_path, "parquet", data)))
    later = read("SELECT * FROM people WHERE count > 500", test_query="SELECT * FROM people WHERE count <= 500")
    assert len(later.parts["test"]) == (data["count"] <= 500).sum()


def test_the_query_is_sent_unchanged() -> None:
    found = read("SELECT '%s %(x)s :y' AS a, 'ab' LIKE 'a%' AS b, '10:30' AS c, 1 AS y")
    assert [cells(found, name) for name in "abc"] == [["%s %(x)s :y"], ["True"], ["10:30"]]


def test_rows_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first rows arrive at once, although the whole query would take minutes and gigabytes."""
    monkeypatch.setattr(module, "CHUNK_ROWS", 1000)
    query = "SELECT generate_series(1, 1000000000) AS a, repeat('x', 1000) AS b, 1 AS y"
    start = time.monotonic()
    pieces = SqlSource.model_validate({"url": URL, "query": query, "target": "y"}).chunks(frozenset())
    assert len(next(pieces).cells) == len(next(pieces).cells) == 1000
    del pieces
    assert time.monotonic() - start < 10


def test_nothing_is_written(engine: sa.Engine) -> None:
    people(5).to_sql("people", engine, index=False)
    with engine.begin() as connection:
        connection.execute(
            sa.text("CREATE OR REPLACE FUNCTION gone() RETURNS int AS 'DELETE FROM people; SELECT 1' LANGUAGE sql")
        )
    assert "read-only transaction" in refusal("sql", url=URL, query="SELECT gone() AS a, 1 AS y")
    for query in ("DELETE FROM people RETURNING *", "DROP TABLE people", "SELECT 1 AS a; DELETE FROM people"):
        assert refusal("sql", url=URL, query=query).startswith("data: sql: ")
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM people")).scalar() == 5


def test_invalid_queries(engine: sa.Engine) -> None:
    people(5).to_sql("people", engine, index=False)
    for query, words in (
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT * FROM peple", "relation \"peple\" does not exist; did you mean 'people'?"),
        ("SELECT * FROM people WHERE false", "the query returns no rows"),
        ("SELECT 1 AS a, 2 AS a, 3 AS y", "two columns are named 'a'"),
        ("SELECT 1 / 0 AS a, 1 AS y", "division by zero"),
    ):
        assert words in refusal("sql", url=URL, query=query)


def test_wrong_password(monkeypatch: pytest.MonkeyPatch) -> None:
    name = str(sa.make_url(URL).password)[2:-1]
    monkeypatch.setenv(name, "hunter2")
    message = refusal("sql", url=URL, query="SELECT 1 AS a, 2 AS y")
    assert "password authentication failed" in message and "hunter2" not in message


def test_server_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        start = time.monotonic()
        url = f"postgresql://me@127.0.0.1:{server.getsockname()[1]}/d"
        message = refusal("sql", url=url, query="SELECT 1", connect_timeout=2)
        assert message.startswith("data: sql: 127.0.0.1:") and "timeout" in message and time.monotonic() - start < 6


def test_a_query_that_takes_too_long() -> None:
    """The connection is cut, and its cursor is closed; psycopg would warn when an open one is deleted."""
    start = time.monotonic()
    message = refusal("sql", url=URL, query="SELECT pg_sleep(60), 1 AS y", query_timeout=0.5)
    assert "taken longer than 0.5 s; to wait longer, set query_timeout" in message and time.monotonic() - start < 10
    gc.collect()  # here, not later

"""The tables: all made in one transaction, and refused when they are those of another version."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hpsearch.errors import StorageError
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.storage.tables import LEASE, METADATA, STUDY, TRIAL, check_tables, create_tables, is_valid, spec_hash


def test_check_tables(tmp_path: Path) -> None:
    url = url_of(str(tmp_path / "a.db"))
    engine = sa.create_engine(url)
    assert not check_tables(url, sa.inspect(engine))
    create_tables(engine)
    assert check_tables(url, sa.inspect(engine))
    assert set(sa.inspect(engine).get_table_names()) == set(METADATA.tables)
    engine.dispose()


def test_tables_of_another_program(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE birds (name TEXT)")
        connection.commit()
    before = file.read_bytes()
    with pytest.raises(StorageError, match="a database, but not of an hpsearch study"):
        StudyDatabase.open(url_of(str(file)), create=True)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("DROP TABLE hpsearch_prepared", "there is no table hpsearch_prepared"),
        ("ALTER TABLE hpsearch_stage DROP COLUMN ended", "table hpsearch_stage has no column ended"),
        ("ALTER TABLE hpsearch_trial RENAME COLUMN internal_params TO raws", "table hpsearch_trial has no column"),
    ],
)
def test_tables_of_another_version(database: StudyDatabase, file: Path, change: str, what: str) -> None:
    """One message, whether the database is only read or also written, and the file is not changed."""
    database.close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(change)
        connection.commit()
    before, url = file.read_bytes(), url_of(str(file))
    with pytest.raises(StorageError, match=f"made by another version of hpsearch .{what}"), StudyDatabase.snapshot(url):
        pass
    with pytest.raises(StorageError, match=f"made by another version of hpsearch .{what}"):
        StudyDatabase.open(url, create=True)
    assert file.read_bytes() == before


def test_two_processes_create_the_tables(tmp_path: Path) -> None:
    """Both find no tables; the second waits for the first, and neither fails."""
    url, errors = url_of(str(tmp_path / "a.db")), []

    def create() -> None:
        try:
            StudyDatabase.open(url, create=True).close()
        except StorageError as error:
            errors.append(error)

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    StudyDatabase.open(url, create=False).close()


def test_spec_hash() -> None:
    assert spec_hash("{}") == spec_hash("{}") != spec_hash("{ }")


@pytest.mark.parametrize(
    ("column", "good", "bad"),
    [
        (TRIAL.c.number, [0, 7], [None, -1, "1", 1.5, 2**31, b"1", True]),
        (TRIAL.c.seconds, [0, 0.5], [None, "1", -1.0, 1e300, float("nan"), b""]),
        (TRIAL.c.value, [None, -3.5, float("inf")], ["low", b"", float("nan")]),
        (TRIAL.c.history, [None, b"", b"x"], ["text", 3, 0.5]),
        (TRIAL.c.state, ["complete"], [None, "x" * 21, "\x1b[31m", "a\nb", "\u202e", 1, b"complete"]),
        (TRIAL.c.error, [None, "two\nlines\t\x1b[31m"], [3, b"", "zero \0 byte"]),
        (TRIAL.c.internal_params, ["{}"], [None, 1, b"{}"]),
        (STUDY.c.created, [1.7e9], [None, -1.0, 1e300, "now"]),
        (LEASE.c.heartbeat, [0.0], [1e12, "1"]),
        (LEASE.c.pid, [1], [-1, 2**40, "1"]),
    ],
    ids=str,
)
def test_cells_have_the_types_of_their_columns(column: Any, good: list[Any], bad: list[Any]) -> None:
    """SQLite stores anything in any column."""
    assert all(is_valid(column, cell) for cell in good)
    assert [cell for cell in bad if is_valid(column, cell)] == []

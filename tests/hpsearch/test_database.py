"""A database file that several open while it is being made."""

import sqlite3
import threading
import time
from pathlib import Path

import pytest

from hpsearch import database
from hpsearch.database import pragmas


def test_the_log_begins_when_the_other_is_done(tmp_path: Path) -> None:
    """SQLite itself does not wait here, whatever its timeout."""
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        begun_beside_a_writer(tmp_path / "a.db", lambda c: c.execute("PRAGMA journal_mode=WAL"))
    assert begun_beside_a_writer(tmp_path / "b.db", lambda c: pragmas(c, None)) >= 0.2


def test_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY", 0.05)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        begun_beside_a_writer(tmp_path / "a.db", lambda c: pragmas(c, None))


def begun_beside_a_writer(file: Path, begin: object) -> float:
    """Seconds that a second connection takes while the first one makes a table, for a quarter of a second."""
    writer = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("CREATE TABLE made (x)")
    timer = threading.Timer(0.25, lambda: writer.execute("COMMIT"))
    timer.start()
    other = sqlite3.connect(file, timeout=5)
    start = time.monotonic()
    try:
        begin(other)  # type: ignore[operator]
        return time.monotonic() - start
    finally:
        timer.join()
        other.close()
        writer.close()

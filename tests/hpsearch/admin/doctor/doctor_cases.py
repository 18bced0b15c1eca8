"""Studies to check, and what the checks say."""

import contextlib
import socket
import sqlite3
from pathlib import Path
from typing import NamedTuple

from hpsearch.admin import doctor
from hpsearch.admin.doctor import CheckResult

DATA = {"source": "formula", "name": "moons", "rows": 60}  # without importing sklearn


SHORT = {"data": DATA, "train.epochs": 2, "stages.0.trials": 5, "stages.1.trials": 3}


GONE = 2**22 + 1  # above any process number of Linux


class Made(NamedTuple):
    """A finished study and an interrupted one, to be copied."""

    done: Path
    half: Path


class Tracked(NamedTuple):
    """MLflow's database, to be copied, and its schema revision."""

    database: Path
    head: str


def ask(database: Path, *queries: str) -> list[tuple[str, ...]]:
    """Execute statements and return the rows."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = [row for query in queries for row in connection.execute(query).fetchall()]
        connection.commit()
        return rows


def check(*databases: str | Path, tracking: str = "none") -> list[CheckResult]:
    return list(doctor.examine([str(d) for d in databases], tracking))


def bad(findings: list[CheckResult]) -> list[CheckResult]:
    return [f for f in findings if f.level != "ok"]


def only(findings: list[CheckResult], level: str, *fragments: str) -> CheckResult:
    """Check that one result is not `ok`, and return it."""
    (found,) = bad(findings)
    assert found.level == level and found.remedy, found
    for fragment in fragments:
        assert fragment in str(found), found
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def set_holder(database: Path, pid: int, host: str = "", heartbeat: float = 0.0) -> None:
    """Store a holder of the lease."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        row = ("small", "x", host or socket.gethostname()[:255], pid, 1.0, heartbeat)
        connection.execute("DELETE FROM hpsearch_lease")
        connection.execute(
            "INSERT INTO hpsearch_lease (study, token, host, pid, since, heartbeat, writes) VALUES (?,?,?,?,?,?,0)", row
        )
        connection.commit()

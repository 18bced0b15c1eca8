"""Checks that fail, and checks of files that are written meanwhile."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpsearch.admin.doctor import CheckResult, machine
from hpsearch.errors import StorageError
from hpsearch.storage.connection import Connection
from tests.hpsearch.admin.doctor.doctor_cases import bad, check, only


def test_written_meanwhile(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that fails during a write is repeated."""
    original, seen = Connection.check, []

    def check_once(connection: Connection, *, thorough: bool = False) -> None:
        seen.append(1)
        if len(seen) == 1:
            os.utime(done, (1, 1))
            raise StorageError("out of order")
        original(connection, thorough=thorough)

    monkeypatch.setattr(Connection, "check", check_once)
    assert bad(check(done)) == [] and len(seen) == 2


def test_check_that_fails(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It becomes a result, and the other checks run."""

    def failing() -> Iterator[CheckResult]:
        yield CheckResult("ok", "so far")
        raise LookupError("no such thing\nmore")

    monkeypatch.setattr(machine, "check_blas", failing)
    found = check()
    only(found, "warn", "BLAS", "LookupError: no such thing")
    assert "more" not in str(bad(found)[0]) and any("so far" in f.text for f in found) and "MLflow" in found[-1].text

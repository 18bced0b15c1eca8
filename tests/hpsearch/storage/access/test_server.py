"""Lost connections: which errors are such, and how long they are waited for (on a server: ../test_postgres.py)."""

import time

import pytest
import sqlalchemy as sa

from hpsearch.errors import Interrupted, StorageError
from hpsearch.storage.access import server
from hpsearch.storage.access.server import Waiting, is_lost, retrying

psycopg = pytest.importorskip("psycopg")


def wrapped(error: Exception, *, invalidated: bool = False) -> sa.exc.DBAPIError:
    kind = sa.exc.OperationalError if isinstance(error, psycopg.OperationalError) else sa.exc.ProgrammingError
    return kind("", {}, error, connection_invalidated=invalidated)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (psycopg.OperationalError("connection failed: Connection refused"), True),
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.errors.CannotConnectNow(), True),
        (psycopg.errors.ConnectionTimeout("timeout"), True),
        (psycopg.errors.DiskFull(), False),
        (psycopg.errors.InsufficientPrivilege(), False),
        (psycopg.errors.UniqueViolation(), False),
        (Exception("of another driver"), False),
    ],
)
def test_lost_connections(error: Exception, lost: bool) -> None:
    assert is_lost(wrapped(error)) == lost
    assert is_lost(wrapped(error, invalidated=True))
    outer = RuntimeError("as Optuna's")
    outer.__cause__ = wrapped(error)
    assert is_lost(outer) == lost and not is_lost(RuntimeError())


def test_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first repetition is at once, then ever later; one note; at the end the error itself."""
    slept, notes, now = list[float](), list[str](), [0.0]
    monkeypatch.setattr(time, "sleep", lambda seconds: (slept.append(seconds), now.__setitem__(0, now[0] + seconds)))
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(server, "PATIENCE", 20.0)
    error = wrapped(psycopg.OperationalError("refused"))

    def fail() -> None:
        raise error

    with pytest.raises(StorageError, match="db: the server has not answered for 0 min; everything finished is stored"):
        retrying("db", fail, Waiting(notes.append))
    assert (
        slept[:6] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2] and set(slept[6:]) == {5.0} and sum(slept) >= 20 and len(notes) == 1
    )
    with pytest.raises(Interrupted):
        retrying("db", fail, Waiting(stop=lambda: True))
    with pytest.raises(ZeroDivisionError):
        retrying("db", lambda: 1 // 0, Waiting())

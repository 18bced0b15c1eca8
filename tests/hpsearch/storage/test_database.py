"""Databases in general: URLs in messages, and translated errors without passwords."""

import sqlite3

import pytest
import sqlalchemy as sa

from hpsearch.errors import StorageError
from hpsearch.storage.database import display_name, engine_options, file_of, forked_url, translate_errors

SERVER = "postgresql://me:sec/ret@part@host:5432/studies"


def test_a_server_has_no_file() -> None:
    assert file_of("postgresql://me:pw@host/studies") is None
    assert file_of("sqlite:///:memory:") is None
    assert "pw" not in display_name("postgresql://me:pw@host/studies")


@pytest.mark.parametrize("text", ["no url", "postgresql://host:port/x"])
def test_an_invalid_url(text: str) -> None:
    with pytest.raises(StorageError, match="is not a database URL"):
        file_of(text)


def test_a_study_on_a_server_is_not_forked_by_name() -> None:
    assert forked_url("sqlite:///studies/a.db", "b") == "sqlite:///studies/b.db"
    with pytest.raises(StorageError, match="only a study in a SQLite file"):
        forked_url("postgresql://host/studies", "b")


def test_only_sqlite_gets_our_timeout() -> None:
    assert list(engine_options("sqlite:///a.db")) == ["creator"]
    assert engine_options("postgresql://host/studies") == {}


def test_errors_of_sqlite_have_a_remedy() -> None:
    locked = sa.exc.OperationalError("", {}, sqlite3.OperationalError("database is locked"))
    said = r"a\.db: is locked: another process is writing to it; wait"
    with pytest.raises(StorageError, match=said), translate_errors("sqlite:///a.db"):
        raise locked


@pytest.mark.parametrize("said", ["cannot reach sec/ret@part@host", "no user 'part'? sec/", "password ret@part"])
def test_a_driver_s_message_loses_every_part_of_the_password(said: str) -> None:
    error = sa.exc.OperationalError("", {}, Exception(said))
    with pytest.raises(StorageError) as caught, translate_errors(SERVER):
        raise error
    assert not any(part in str(caught.value) for part in ("sec", "ret", "part"))


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), translate_errors("sqlite:///a.db"):
        raise ZeroDivisionError

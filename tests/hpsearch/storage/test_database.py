"""Databases in general: URLs in messages, and translated errors without passwords."""

import socket
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from hpsearch.errors import StorageError
from hpsearch.storage import database
from hpsearch.storage.database import (
    check_separate,
    connection_url,
    display_name,
    engine_options,
    file_of,
    forked_url,
    named_url,
    translate_errors,
)
from hpsearch.storage.study_db import StudyDatabase

SERVER = "postgresql://me:sec/ret@part@host:5432/studies"


def test_a_server_has_no_file() -> None:
    assert file_of("postgresql://me:pw@host/studies") is None
    assert file_of("sqlite:///:memory:") is None
    assert "pw" not in display_name("postgresql://me:pw@host/studies")


@pytest.mark.parametrize("text", ["no url", "postgresql://host:port/x", "postgresql://\udcff@host/x"])
def test_an_invalid_url(text: str) -> None:
    with pytest.raises(StorageError, match="is not a database URL"):
        file_of(text)


def test_a_reference_in_a_url_is_kept_and_its_value_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command in a message can be copied, and no message of a driver shows the password."""
    url = "postgresql://me:${SECRET_OF_TEST}@host/db"
    assert display_name(url) == url and display_name("${SECRET_OF_TEST}") == "${SECRET_OF_TEST}"
    with pytest.raises(StorageError, match="the environment variable SECRET_OF_TEST is not set"):
        engine_options(url)
    monkeypatch.setenv("SECRET_OF_TEST", "hunt@r/22")
    assert connection_url(url).password == "hunt@r/22" and file_of(url) is None
    error = sa.exc.OperationalError("", {}, Exception("cannot use hunt@r/22 or hunt%40r%2F22"))
    with pytest.raises(StorageError) as caught, translate_errors(url):
        raise error
    assert str(caught.value) == f"{url}: cannot use *** or ***"
    monkeypatch.setenv("SECRET_OF_TEST", "sqlite:///a.db")
    assert file_of("${SECRET_OF_TEST}") == Path("a.db") and display_name("${SECRET_OF_TEST}") == "${SECRET_OF_TEST}"


@pytest.mark.parametrize(
    ("database", "said"),
    [
        ("postgresql://me:hunter@host/db", "a password must not be written into a command or a program"),
        ("postgresql://host/db?password=hunter", "a password must not be written"),
        ("postgresql://me@${HOST}/db", "must stand for the user, the password or the whole URL"),
    ],
)
def test_a_password_in_a_url_is_refused(database: str, said: str) -> None:
    with pytest.raises(StorageError, match=said) as caught:
        named_url(database)
    assert "hunter" not in str(caught.value)
    assert named_url("postgresql://me:${A}@host/db") == "postgresql://me:${A}@host/db"
    assert named_url("a b.db") == "sqlite:///a b.db" and named_url("sqlite:///b.db") == "sqlite:///b.db"


def test_a_fork_has_a_file_of_its_own_or_the_same_server() -> None:
    assert forked_url("sqlite:///studies/a.db", "b") == "sqlite:///studies/b.db"
    assert forked_url("postgresql://host/studies", "b") == "postgresql://host/studies"


def test_every_database_gets_a_timeout_unless_its_url_has_one() -> None:
    assert list(engine_options("sqlite:///a.db")) == ["creator"]
    ping = {"pool_pre_ping": True}
    assert engine_options("postgresql://host/studies") == ping | {"connect_args": {"connect_timeout": 10}}
    assert engine_options("postgresql://host/studies?connect_timeout=60") == ping
    assert engine_options("mssql://host/studies") == engine_options("mysql+mysqlconnector://host/studies") == ping


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setattr(database, "CONNECT_TIMEOUT", 2)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"postgresql://127.0.0.1:{mute.getsockname()[1]}/studies"
        with pytest.raises(StorageError, match="timeout"), StudyDatabase.snapshot(url):
            pass


def test_a_study_and_mlflow_have_databases_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one file each would wait for the other's lock; on a server both have a table of one name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.db").symlink_to("new.db")
    same = [
        *((f"sqlite:///{name}", f"sqlite:///{tmp_path}/new.db") for name in ("new.db", "./new.db", "link.db")),
        ("postgresql://me:a@host:1/x", "postgresql+psycopg://you:b@host:1/x?connect_timeout=3"),
    ]
    for url, tracking in same:
        with pytest.raises(StorageError, match="name two databases"):
            check_separate(url, tracking)
    (tmp_path / "new.db").touch()
    with pytest.raises(StorageError, match="name two databases"):
        check_separate("sqlite:///link.db", "sqlite:///new.db")
    for tracking in ("http://host", "mlruns", "sqlite:///other.db", "postgresql://host/x", "databricks"):
        check_separate("sqlite:///new.db", tracking)
    check_separate("postgresql://host/x", "postgresql://host/y")


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

"""The connection: opened and created, checked, and damaged content."""

import shutil
from pathlib import Path

import pytest

from hpsearch.errors import StorageError
from hpsearch.storage.connection import Connection, checked_file
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.storage.tables import STUDY


def test_open_does_not_create(file: Path) -> None:
    with pytest.raises(StorageError, match="there is no such database"):
        Connection.open(url_of(str(file)), create=False)
    assert not file.exists()
    connection = Connection.open(url_of(str(file)), create=True)
    assert connection.rows(STUDY) == []
    connection.close()


def test_an_in_memory_database_is_refused() -> None:
    with pytest.raises(StorageError, match="needs a database file"):
        checked_file("sqlite:///:memory:", create=True)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_new_connection_to_a_moved_file(database: StudyDatabase, file: Path, replaced: bool) -> None:
    """Every connection of the pool is opened by name, which may no longer lead to the file."""
    moved = file.rename(file.with_name("moved.db"))
    if replaced:
        shutil.copyfile(moved, file)
    with (
        pytest.raises(StorageError, match=f"{file}: was moved to {moved} while the study ran"),
        database.connection.engine.connect(),  # the pool's only connection
        database.connection.engine.connect(),
    ):
        pass


def test_closing_merges_the_log_into_the_file(database: StudyDatabase, file: Path) -> None:
    assert Path(f"{file}-wal").exists()
    database.close()
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("error", [KeyError("a"), TypeError("a"), ValueError("a"), AttributeError("a")])
def test_content_that_cannot_be_decoded(database: StudyDatabase, file: Path, error: Exception) -> None:
    said = "its study is damaged; restore a copy"
    with pytest.raises(StorageError, match=said), database.connection.validated("its study"):
        raise error


@pytest.mark.parametrize("thorough", [False, True])
def test_check(database: StudyDatabase, file: Path, thorough: bool) -> None:
    database.connection.check(thorough=thorough)
    size = file.stat().st_size
    database.close()
    content = bytearray(file.read_bytes())
    content[size // 2 :] = bytes(len(content) - size // 2)
    file.write_bytes(content)
    with pytest.raises(StorageError, match="damaged"):
        again = StudyDatabase.open(url_of(str(file)), create=False)
        try:
            again.connection.check(thorough=thorough)
        finally:
            again.close()

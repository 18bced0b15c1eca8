"""Snapshots: reading a study writes nothing, works on a read-only disk, and shows one moment."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import cases
import pytest

import hpsearch
from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.errors import Interrupted, StorageError
from hpsearch.storage.sqlite_file import readable, url_of
from hpsearch.storage.study_db import StudyDatabase, read
from hpsearch.study.fork import read_parent
from hpsearch.study.summary import StudyPoller, status_line, summary
from tests.hpsearch.test_cli import call, strict  # noqa: F401 (a fixture)

SHORT = {"train.epochs": 2, "stages.0.trials": 5, "stages.1.trials": 3, "parallel": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Spec, Dataset, Path]:
    """Return a finished study; no test may change its database."""
    folder, spec = tmp_path_factory.mktemp("made"), cases.small(**SHORT)
    dataset, _ = prepare(spec.data, spec.seed, folder)
    cases.run(spec, dataset, folder / "small.db")
    return spec, dataset, folder / "small.db"


@pytest.fixture
def database(made: tuple[Spec, Dataset, Path], tmp_path: Path) -> Path:
    """Return a copy, alone in a folder whose name must be quoted in SQLite's URIs."""
    folder = tmp_path / "a #1 100% file:ü"
    folder.mkdir()
    return Path(shutil.copy(made[2], folder / "small.db"))


def seen(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()}


def looked(database: Path) -> list[Any]:
    """Return the results of everything that only reads."""
    url = url_of(str(database))
    found = summary(url)
    return [
        found,
        status_line(url, found),
        read_parent(url),
        StudyPoller(url).poll(),
        hpsearch.load_study(database).trials.size,
    ]


def test_show_writes_nothing(call: Callable[..., Any], database: Path) -> None:  # noqa: F811
    before = seen(database.parent)
    for options in ([], ["--json"], ["--csv"], ["--all"], ["--watch"]):
        said = call("show", database, *options)
        assert said.code == 0 and said.err == "" and said.out
    looked(database)
    assert seen(database.parent) == before


@contextmanager
def unprivileged() -> Iterator[None]:
    """Run as a user to whom file permissions apply."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("left", [(), ("-wal",), ("-wal", "-shm")], ids=["alone", "log", "log and index"])
def test_a_folder_that_cannot_be_written(made: tuple[Spec, Dataset, Path], left: tuple[str, ...]) -> None:
    """A finished study, and a killed one with its log, with and without the index of the log."""
    done = looked(made[2])
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        database = Path(shutil.copy(made[2], folder / "small.db"))
        expected = [r.number for r in done[0].trials[0]]
        if left:
            expected = killed(database, left)
        for path in folder.iterdir():
            path.chmod(0o444)
        folder.chmod(0o555)
        try:
            before = seen(folder)
            with unprivileged():
                with pytest.raises(PermissionError):
                    (folder / "new").touch()
                with pytest.raises(PermissionError):
                    database.open("r+b")
                found = looked(database)
            assert seen(folder) == before
            assert [r.number for r in found[0].trials[0]] == expected
            if not left:
                assert found == done
        finally:
            folder.chmod(0o755)


def killed(database: Path, left: tuple[str, ...]) -> list[int]:
    """Leave a log as a kill would, with one more trial; return the numbers of the first stage's trials."""
    copies = {}
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(
            "INSERT INTO hpsearch_trial SELECT study, stage, 5, internal_params, state, value, epochs, best_epoch, "
            "seconds, finished, history, error, box, copied_from, machine FROM hpsearch_trial "
            "WHERE stage = 'coarse' AND number = 4"
        )
        connection.commit()
        for end in ("", *left):
            copies[end] = Path(f"{database}{end}").read_bytes()
        assert len(copies["-wal"]) > 0
    for end, content in copies.items():
        Path(f"{database}{end}").write_bytes(content)
    return list(range(6))


@pytest.mark.parametrize("left", [("-wal",), ("-wal", "-shm")], ids=["log", "log and index"])
def test_the_log_of_a_killed_process_stays(database: Path, left: tuple[str, ...]) -> None:
    """It is read, and not merged into the file."""
    expected = killed(database, left)
    before = seen(database.parent)
    assert [r.number for r in looked(database)[0].trials[0]] == expected
    after = seen(database.parent)
    assert set(after) == set(before)
    for name in ("small.db", "small.db-wal"):
        assert after[name] == before[name]


def test_an_interrupted_write_is_not_rolled_back(database: Path) -> None:
    """A rollback journal, as a copied database may have it: rolled back in a copy, not in the file."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("PRAGMA cache_size=1")
        connection.execute("BEGIN")
        connection.execute(
            "UPDATE hpsearch_trial SET internal_params = internal_params || ' ', history = zeroblob(20000)"
        )
        torn = {end: Path(f"{database}{end}").read_bytes() for end in ("", "-journal")}
        connection.rollback()
    expected = looked(database)
    for end, content in torn.items():
        Path(f"{database}{end}").write_bytes(content)
    before = seen(database.parent)
    assert looked(database) == expected
    assert seen(database.parent) == before


def test_nothing_can_be_written(database: Path) -> None:
    """SQLite itself refuses to write."""
    url = url_of(str(database))
    with StudyDatabase.snapshot(url) as storage, pytest.raises(StorageError, match="read-only"):
        storage.stages.begin("more", {})
    with readable(database) as address:
        assert address.endswith("?immutable=1")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("SELECT COUNT(*) FROM hpsearch_trial").fetchone()
        with readable(database) as address:
            assert address.endswith("?mode=ro"), "another process has it open"


def test_one_moment(made: tuple[Spec, Dataset, Path], tmp_path: Path) -> None:
    """All reads of a snapshot are of one moment, also while the study runs."""
    spec, dataset, _ = made
    space = search_space(spec)
    url = url_of(str(tmp_path / "small.db"))
    limit = cases.LimitTracker(3)
    with (
        cases.opened(spec, dataset, tmp_path / "small.db", tracker=limit, stop=limit.stop) as study,
        pytest.raises(Interrupted),
    ):
        for _ in study.run():
            with StudyDatabase.snapshot(url) as storage:
                before = storage.change_token(), storage.trials.load("coarse", space)
                number = len(before[1])
                with closing(sqlite3.connect(tmp_path / "small.db")) as other:
                    other.execute(
                        "INSERT INTO hpsearch_trial SELECT study, 'else', number, internal_params, state, value, "
                        "epochs, best_epoch, seconds, finished, history, error, box, copied_from, machine"
                        " FROM hpsearch_trial"
                    )
                    other.commit()
                    assert (storage.change_token(), storage.trials.load("coarse", space)) == before
                    assert storage.trials.count("else") == 0
                    assert read(url, lambda s: s.trials.count("else")) == number
                    other.execute("DELETE FROM hpsearch_trial WHERE stage = 'else'")
                    other.commit()
            found = summary(url)
            assert found.holder is not None and found.holder.pid == os.getpid()
            assert status_line(url, found) == f"Run by {found.holder}."
    assert sorted(p.name for p in tmp_path.glob("small.db*")) == ["small.db", "small.db.lock"]
    after = summary(url)
    assert after.holder is None and "Unfinished and not running" in str(status_line(url, after))


def test_a_failed_read_is_repeated_after_a_write(database: Path) -> None:
    """The file was read without locks, so the read may have mixed two states."""
    url, asked = url_of(str(database)), []

    def ask(storage: StudyDatabase) -> int:
        asked.append(storage.locking)
        if len(asked) == 1:
            with closing(sqlite3.connect(database)) as other:
                other.execute("DELETE FROM hpsearch_trial WHERE stage = 'fine'")
                other.commit()
            raise StorageError("torn")
        return storage.trials.count("fine")

    assert read(url, ask) == 0
    assert asked == [False, False]
    with pytest.raises(StorageError, match="torn"):
        read(url, lambda storage: asked.clear() or ask(storage))


def test_an_answer_is_discarded_after_a_write(database: Path) -> None:
    asked: list[int] = []

    def ask(storage: StudyDatabase) -> int:
        asked.append(storage.trials.count("fine"))
        if len(asked) == 1:
            with closing(sqlite3.connect(database)) as other:
                other.execute("DELETE FROM hpsearch_trial WHERE stage = 'fine'")
                other.commit()
        return asked[-1]

    assert read(url_of(str(database)), ask) == 0 and asked == [3, 0]


def test_an_index_without_a_log(database: Path) -> None:
    """A kill may leave it; no log is created beside it."""
    Path(f"{database}-shm").write_bytes(bytes(32768))
    before = seen(database.parent)
    assert looked(database)[0].trained
    assert seen(database.parent) == before


def test_the_temporary_copy_is_removed(database: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    killed(database, ("-wal",))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with StudyDatabase.snapshot(url_of(str(database))) as storage:
        assert list((tmp_path / "temporary").iterdir()) != []
        assert storage.trials.count("coarse") == 6
    assert list((tmp_path / "temporary").iterdir()) == []

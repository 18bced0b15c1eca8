"""A database file: whatever its name, damaged inside, and opened by several while it is being made."""

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import cases
import pytest
import sqlalchemy as sa

from hpsearch.storage import sqlite_file
from hpsearch.storage.database import display_name, file_of
from hpsearch.storage.sqlite_file import set_pragmas, url_of
from hpsearch.storage.study_db import StudyDatabase
from tests.hpsearch.test_cli import Call, call, refused, strict  # noqa: F401

FEW = {"train.epochs": 1, "stages.0.trials": 2, "stages.1.trials": 1}


@pytest.mark.parametrize("name", ["a%20b", "%2e%2E", "%", "100%", "%%41", "%zz", "a #1 ü+%3F{0}", "a%252520b"])
def test_names(name: str) -> None:
    """A path is the file of that name and nothing else."""
    file = Path("/somewhere") / name / "small.db"
    url = url_of(str(file))
    assert file_of(url) == file and display_name(url) == str(file) and url_of(url) == url


def test_optuna_means_the_same_file(tmp_path: Path) -> None:
    """It formats its URL."""
    file = tmp_path / "a%20b{0}" / "small.db"
    file.parent.mkdir()
    storage = StudyDatabase.open(url_of(str(file)), create=True)
    storage.mirror.storage()
    storage.close()
    with closing(sqlite3.connect(file)) as connection:
        tables = {table for (table,) in connection.execute("SELECT name FROM sqlite_master")}
    assert {"hpsearch_study", "studies"} <= tables and list(tmp_path.iterdir()) == [file.parent]


def test_a_plain_path_is_a_plain_url(tmp_path: Path) -> None:
    """And one that SQLAlchemy decodes names the driver: of `sqlite:///…` MLflow makes the folder undecoded."""
    assert url_of(f"{tmp_path}/100%/a b.db") == f"sqlite:///{tmp_path}/100%/a b.db"
    url = url_of(f"{tmp_path}/a%20b/mlflow.db")
    assert url.startswith("sqlite+") and sa.make_url(url).database == f"{tmp_path}/a%20b/mlflow.db"


def test_commands_in_a_folder_that_looks_encoded(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """All of them mean the same file, and nothing is made in another folder."""
    folder, other = tmp_path / "a%20b", tmp_path / "a b"
    folder.mkdir()
    other.mkdir()
    monkeypatch.chdir(folder)
    study = cases.write(folder, **FEW)
    assert call("run", study.name, "--tracking-uri", "none").code == 0
    for where in ("small.db", folder / "small.db"):
        assert strict(call("show", where, "--json").out)["best"]["params"]
    assert call("resume", "small.db", "--tracking-uri", "none").code == 0
    assert call("export", folder / "small.db", "--to", "model").code == 0
    refused(call("ui", "small.db", "--no-open"), str(folder / "mlruns/mlflow.db"), "there is no MLflow database")
    assert str(folder / "mlruns/mlflow.db") in call("doctor", "small.db").out
    assert list(other.iterdir()) == [] and set(tmp_path.iterdir()) == {folder, other}


DAMAGES = {
    "a box of nothing": "UPDATE hpsearch_stage SET box = '{}' WHERE stage = 'fine'",
    "a box of words": """UPDATE hpsearch_stage SET box = json_set(box, '$.learning_rate', json('["a", "b"]'))""",
    "a box inside out": "UPDATE hpsearch_stage SET box = json_set(box, '$.learning_rate', json('[2, 1]'))",
    "a box beyond the values": "UPDATE hpsearch_stage SET box = json_set(box, '$.batch_size_index', json('[0, 9]'))",
    "beyond the values": "UPDATE hpsearch_trial "
    "SET internal_params = json_set(internal_params, '$.batch_size_index', 9) WHERE number = 1",
    "before the values": "UPDATE hpsearch_trial "
    "SET internal_params = json_set(internal_params, '$.batch_size_index', -1) WHERE number = 1",
    "a text": "UPDATE hpsearch_trial "
    "SET internal_params = json_set(internal_params, '$.learning_rate', '0.5') WHERE number = 1",
}


def test_damaged_inside(call: Call, tmp_path: Path) -> None:  # noqa: F811
    """A box or a point that the study cannot have: one message, and nothing goes on."""
    study, file = cases.write(tmp_path, **FEW), tmp_path / "small.db"
    assert call("run", study, "--tracking-uri", "none").code == 0
    whole = file.read_bytes()
    for name, damage in DAMAGES.items():
        file.write_bytes(whole)
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute(damage).rowcount > 0
            connection.commit()
        what = "the box of a stage" if "box" in name else "trial coarse/1"
        for command in (["show"], ["show", "--json"], ["report"], ["resume", "--tracking-uri", "none"]):
            refused(call(*command, file), f"{file}: {what} is damaged")


def test_the_log_begins_when_the_other_is_done(tmp_path: Path) -> None:
    """SQLite itself does not wait here, whatever its timeout."""
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        begun_beside_a_writer(tmp_path / "a.db", lambda c: c.execute("PRAGMA journal_mode=WAL"))
    assert begun_beside_a_writer(tmp_path / "b.db", lambda c: set_pragmas(c, None)) >= 0.2


def test_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT", 0.05)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        begun_beside_a_writer(tmp_path / "a.db", lambda c: set_pragmas(c, None))


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

"""Checks of valid and damaged study databases; none is changed."""

import gc
import os
import shlex
import subprocess
import sys
import time
import warnings
from pathlib import Path

import optuna.cli
import pytest

from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.storage.tables import spec_hash
from tests.hpsearch.admin.doctor.doctor_cases import GONE, Made, ask, bad, check, contents, only, set_holder


def test_no_study_here(here: Path) -> None:
    found = check()
    assert bad(found) == [] and any("no study database" in f.text for f in found)
    assert list(here.iterdir()) == []


def test_not_a_study(here: Path) -> None:
    only(check("none.db"), "FAIL", "none.db: there is no such database", "hpsearch run")
    only(check("none/a.db"), "FAIL", "none/a.db: there is no such database")
    (here / "folder.db").mkdir()
    only(check("folder.db"), "FAIL", "is a folder")
    (here / "text.db").write_text("This is no database, but it is longer than a header. " * 9)
    only(check("text.db"), "FAIL", "text.db: is not a database")
    ask(here / "other.db", "CREATE TABLE birds (name TEXT)")
    only(check("other.db"), "FAIL", "not of an hpsearch study")
    only(check("nonsense://x/y"), "FAIL", "nonsense")
    assert "\x1b" not in str(only(check("a\x1b[31m.db"), "FAIL", r"a\x1b[31m.db"))
    (here / "other.db").rename(here / "o\x1b[31m\u202e.db")
    shown = str(only(check("o\x1b[31m\u202e.db"), "FAIL", "not of an hpsearch study"))
    assert r"o\x1b[31m\u202e.db" in shown and shown.isprintable()
    assert "secret" not in str(only(check(tracking="databricks://me:secret@x"), "FAIL", "databricks://me:"))
    assert "secret" not in str(only(check("postgresql+nodriver://me:secret@127.0.0.1:1/x"), "FAIL", "me"))
    only(check("mysql+aiomysql://me:secret@127.0.0.1:1/x"), "FAIL", "aiomysql", "pip install aiomysql")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated(done: Path, share: float) -> None:
    data = done.read_bytes()
    done.write_bytes(data[: int(len(data) * share)])
    before = contents(done.parent)
    only(check(done), "FAIL", "done.db: is damaged", "restore a copy")
    assert any("done.db: is damaged" in f.text for f in check()), "found without being named"
    assert contents(done.parent) == before


def test_damaged_inside(done: Path) -> None:
    """An index without a row is only found by a thorough check."""
    ((root,), (size,)) = ask(
        done, "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_hpsearch_trial_1'", "PRAGMA page_size"
    )
    data = bytearray(done.read_bytes())
    place = (int(root) - 1) * int(size) + 3  # number of cells in the page
    data[place : place + 2] = (int.from_bytes(data[place : place + 2], "big") - 1).to_bytes(2, "big")
    done.write_bytes(data)
    assert len(ask(done, "SELECT * FROM hpsearch_trial")) == 8
    only(check(done), "FAIL", "is damaged (", "restore a copy")


def test_settings(done: Path) -> None:
    ask(done, "UPDATE hpsearch_study SET hash = 'f00'")
    only(check(done), "FAIL", "hash differs", "restore a copy")
    change_spec(done, "replace(spec, '\"parallel\": 3', '\"parallel\": 0')")
    only(check(done), "FAIL", "settings cannot be read (parallel: ", "resume with test")
    change_spec(done, "'{'")
    only(check(done), "FAIL", "settings cannot be read")
    ask(done, "DELETE FROM hpsearch_study", "DELETE FROM hpsearch_trial")
    only(check(done), "warn", "contains no study yet", "hpsearch run")


def change_spec(database: Path, expression: str) -> None:
    """Store another spec, with its hash."""
    ask(database, f"UPDATE hpsearch_study SET spec = {expression}")
    ((text,),) = ask(database, "SELECT spec FROM hpsearch_study")
    ask(database, f"UPDATE hpsearch_study SET hash = '{spec_hash(text)}'")


def test_trials(done: Path) -> None:
    ask(done, "UPDATE hpsearch_trial SET history = x'00ff' WHERE stage = 'coarse' AND number = 3")
    only(check(done), "FAIL", "trial coarse/3 cannot be read")
    ask(done, "UPDATE hpsearch_trial SET history = NULL WHERE stage = 'coarse' AND number = 3")
    only(check(done), "FAIL", "trial coarse/3 cannot be read")


def test_checkpoints(made: Made, half: Path) -> None:
    (stage, number), *_ = ask(half, "SELECT stage, number FROM hpsearch_checkpoint")
    of_it = f"WHERE stage = '{stage}' AND number = {number}"
    assert any("1 checkpoint readable" in f.text for f in check(half))
    ask(half, f"UPDATE hpsearch_checkpoint SET state = substr(state, 1, 99) {of_it}")
    only(check(half), "warn", f"checkpoint of {stage}/{number} cannot be read", "hpsearch resume")
    ask(half, f"UPDATE hpsearch_checkpoint SET history = x'00' {of_it}")
    only(check(half), "warn", "checkpoint")
    ask(
        half,
        f"ATTACH '{made.half}' AS a",
        f"UPDATE hpsearch_checkpoint SET state = (SELECT state FROM a.hpsearch_checkpoint) {of_it}",
    )
    only(check(half), "warn", f"the checkpoint of {stage}/{number} cannot be read")


def test_optuna_is_ahead(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of our table is missing; the command in the remedy repairs it."""
    ask(done, "DELETE FROM hpsearch_trial WHERE stage = 'fine' AND number = 2")
    found = only(check(done), "FAIL", "3 trials of 'small/fine'", "but 2 are finished", "optuna delete-study")
    command = next(part for part in found.remedy.split("; ") if "optuna" in part).partition("run: ")[2]
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with warnings.catch_warnings():  # connections that Optuna does not close
        warnings.simplefilter("ignore")
        assert not optuna.cli.main()
        gc.collect()
    assert bad(check(done)) == []


def test_stale_lease(half: Path) -> None:
    set_holder(half, GONE)
    only(check(half), "warn", f"process {GONE} on", "has ended", "hpsearch resume")
    (half.parent / "half.db.lock").touch()
    set_holder(half, os.getpid())  # another process with this id: the lock is free
    for name in (half, "half.db", f"sqlite:///{half}"):
        only(check(name), "warn", f"process {os.getpid()} on", "has ended")
    set_holder(half, 7, "elsewhere", time.time() - 1e4)
    only(check(half), "warn", "process 7 on elsewhere")
    set_holder(half, 7, "elsewhere", time.time())
    assert bad(check(half)) == []


def test_live_lease(half: Path) -> None:
    """A running study is not disturbed, and its write-ahead log is read."""
    storage = StudyDatabase.open(url_of(str(half)), create=False)
    with storage.lease.hold():
        found = check(half)
        assert bad(found) == [] and any(f"running in process {os.getpid()}" in f.text for f in found)
        storage.stages.end("coarse", None)
    storage.close()
    assert any("not running" in f.text for f in check(half))


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_left_by_a_kill(done: Path, mode: str) -> None:
    """A write-ahead log, or a journal during a commit: read as the next run will read it."""
    script = (
        "import os, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1])\n"
        "connection.execute(f'PRAGMA journal_mode={sys.argv[2]}')\n"
        "connection.execute('PRAGMA cache_size=1')\n"
        "connection.execute('UPDATE hpsearch_trial SET stage = stage || 1, history = randomblob(50000)')\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", script, done, mode], check=True)
    assert Path(f"{done}-{'wal' if mode == 'wal' else 'journal'}").stat().st_size
    before = done.read_bytes()
    found = check(done)
    assert bad(found) == [] and any("8 trials: 8 complete" in f.text for f in found)
    assert done.read_bytes() == before

"""A study whose coordinator is killed while baselines are fitted has the baselines of an uninterrupted one."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import cases
import pytest

from tests.crash.test_crash import descendants

pytestmark = [pytest.mark.crash, pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")]
CHANGES: dict[str, Any] = {
    "data": {"source": "sklearn", "name": "breast_cancer"},
    "train.epochs": 1,
    "stages": [{"name": "a", "trials": 2}],
    "baselines": True,
}


def start(folder: Path) -> "subprocess.Popen[bytes]":
    command = ("run", str(cases.write(folder, **CHANGES)), "--tracking-uri", "none", "--quiet")
    with (folder / "stderr").open("wb") as file:
        return subprocess.Popen([sys.executable, "-m", "hpsearch", *command], cwd=folder, stderr=file)


def stored(database: Path) -> list[tuple[Any, ...]]:
    """Return the baselines of a database without times; none while there is no table."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'hpsearch_baseline'").fetchall():
            return []
        return connection.execute("SELECT name, rows, scores, error FROM hpsearch_baseline ORDER BY 1").fetchall()


def test_killed_while_baselines_are_fitted(tmp_path: Path) -> None:
    """Its process ends with the coordinator; what was stored is kept, and what was not is fitted again."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    process = start(whole)
    assert process.wait(120) == 0, (whole / "stderr").read_text()
    expected = stored(whole / "small.db")
    assert [name for name, _, _, error in expected if error is None] == ["boosting", "constant", "linear"]
    process, database = start(killed), killed / "small.db"
    while process.poll() is None and not (database.exists() and stored(database)):
        time.sleep(0.005)
    below = descendants(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    partial = stored(database)
    assert 0 < len(partial) < len(expected) and below, "killed too late"
    end = time.monotonic() + 30
    while any(Path(f"/proc/{pid}/cmdline").exists() and is_alive(pid) for pid in below):
        assert time.monotonic() < end, "a process outlived its coordinator"
        time.sleep(0.05)
    process = start(killed)
    assert process.wait(120) == 0, (killed / "stderr").read_text()
    assert stored(database) == expected


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended may be waiting for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False

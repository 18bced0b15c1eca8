"""Commands whose data have no end: they are refused, or end at once by a signal, and use little memory."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import cases
import pytest

COMMAND = [sys.executable, "-m", "hpsearch"]
ENDLESS = "WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n) SELECT max(k), 1 AS y FROM n ORDER BY 1"


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


@pytest.mark.crash
def test_a_signal_ends_an_endless_query(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "t.db")):
        pass
    data = {"source": "sql", "url": f"sqlite:///{tmp_path}/t.db", "query": ENDLESS, "target": "y"}
    study = cases.write(tmp_path, **{"data": data})
    command = [*COMMAND, "run", str(study), "--tracking-uri", "none", "--workers", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("*.db-wal")):  # the study's database is open: the rows are read next
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(2)
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped; everything finished is saved" in errors and "Traceback" not in errors
    assert time.monotonic() - start < 10


@pytest.mark.crash
def test_a_line_without_end_uses_little_memory(tmp_path: Path) -> None:
    """A sparse file of 20 GB without a line break, and a quote that is never closed."""
    with (tmp_path / "zeros.csv").open("wb") as file:
        file.truncate(20 << 30)
    (tmp_path / "quote.csv").write_bytes(b'a,y\n1,"x\n' + b"1,2\n" * (20 << 20))
    for name, words in (
        ("zeros.csv", "a line is longer than 64 MB"),
        ("quote.csv", "a quoted cell is longer than 64 MB"),
    ):
        command = [*COMMAND, "init", name, "--target", "-1"]
        ended = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120)
        assert ended.returncode == 2 and words in ended.stderr, ended.stderr
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 1 << 20  # kB

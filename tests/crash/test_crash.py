"""A study killed at any of its database commits, or stopped, resumes to the table of an uninterrupted one."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cases
import pytest

from hpsearch.errors import StorageError
from hpsearch.storage.sqlite_file import url_of
from hpsearch.study.summary import summary

COMMAND = [sys.executable, "-m", "hpsearch"]
COMMITS = 100  # the least number of commits of the first study of killed.py


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder in memory if there is one, so that thousands of commits do not wait for a disk."""
    with contextlib.ExitStack() as stack:
        shared = Path("/dev/shm")
        usable = shared.is_dir() and os.access(shared, os.W_OK)
        yield Path(stack.enter_context(tempfile.TemporaryDirectory(dir=shared))) if usable else tmp_path


def exits(memory: Path, step: int, *study: str) -> int:
    """Resume from every `step`-th commit in two processes; check that all outcomes are equal; return their number."""
    children = []
    for first in (1, 1 + step):
        folder = memory / str(first)
        folder.mkdir()
        killed = str(Path(__file__).with_name("killed.py"))
        script = [sys.executable, killed, str(folder), str(first), str(2 * step), *study]
        children.append(subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    outputs = [child.communicate() for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    counts = []
    for first, (output, errors) in zip((1, 1 + step), outputs, strict=True):
        *verdicts, last = [line.split(" ", 1) for line in output.splitlines()]
        assert last == ["none", "same"], errors
        assert [v for v in verdicts if v[1] != "same"] == [], errors
        assert [int(n) for n, _ in verdicts] == list(range(first, first + 2 * step * len(verdicts), 2 * step))
        counts.append(int(verdicts[-1][0]))
    return min(counts)


@pytest.mark.crash
@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.soak)], ids=["third", "single"])
def test_exits_at_every_commit(memory: Path, step: int) -> None:
    assert exits(memory, step, "full") >= COMMITS


@pytest.mark.crash
@pytest.mark.parametrize("step", [41, pytest.param(1, marks=pytest.mark.soak)], ids=["some", "every"])
def test_exits_with_mlflow(memory: Path, step: int) -> None:
    """The commits of MLflow's client count too, about ten per run, and the runs are compared too."""
    assert exits(memory, step, "mlflow") >= 2 * COMMITS


@pytest.mark.crash
def test_exits_of_a_study_with_conditional_parameters(memory: Path) -> None:
    assert exits(memory, 5, "rich") >= COMMITS / 2


def start(*arguments: str | Path, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(database: Path) -> int:
    """Return the number of finished trials in a database, read by another connection."""
    with contextlib.suppress(StorageError):
        return sum(r.state != "running" for records in summary(url_of(str(database))).trials for r in records)
    return 0


def await_trials(process: subprocess.Popen[str], database: Path, count: int) -> bool:
    """Wait for this number of finished trials; return False if the study ended before."""
    while process.poll() is None:
        if database.exists() and finished(database) >= count:
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.002)
    return False


def descendants(pid: int) -> set[int]:
    """Return the processes below a process, including those of its fork server."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                children = {int(p) for p in task.read_text().split()}
                waiting += children - found
                found |= children
    return found


def gone(pids: set[int], seconds: float = 60) -> bool:
    """Return True if all of them end; the timeout is for a failing test."""
    with contextlib.ExitStack() as stack:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                handle = os.pidfd_open(pid)  # readable once the process has ended
                stack.callback(os.close, handle)
                if not select.select([handle], [], [], seconds)[0]:
                    return False
    return True


@pytest.mark.crash
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_stopped_by_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    train = {"optimizer": "momentum", "epochs": 3000}  # seconds after the first trials
    study, database = cases.write(tmp_path, train=train, workers=2), tmp_path / "small.db"
    process = start("run", study, "--tracking-uri", "none", folder=tmp_path)
    assert await_trials(process, database, 3)
    count, workers = finished(database), descendants(process.pid)
    for pid in (process.pid, *(workers if number == signal.SIGHUP else ())):  # a terminal that closes tells all
        os.kill(pid, number)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert f"hpsearch resume {database}" in errors
    assert "Traceback" not in errors
    assert workers and gone(workers)
    assert finished(database) >= count
    trials = json.loads(subprocess.run([*COMMAND, "show", database, "--json"], capture_output=True).stdout)["trials"]
    assert sum(t["state"] != "running" for t in trials) == finished(database)

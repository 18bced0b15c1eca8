"""A study that is killed, at every database commit and at any moment, ends with the table of an unbroken one."""

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cases
import pytest

from hpsearch.database import url_of
from hpsearch.errors import StorageError
from hpsearch.service import summary

COMMAND = [sys.executable, "-m", "hpsearch.cli"]
COMMITS = 60  # at least so many does the study of killed.py make


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: thousands of commits need not wait for a disk."""
    with contextlib.ExitStack() as stack:
        shared = Path("/dev/shm")
        usable = shared.is_dir() and os.access(shared, os.W_OK)
        yield Path(stack.enter_context(tempfile.TemporaryDirectory(dir=shared))) if usable else tmp_path


def exits(memory: Path, step: int, *study: str) -> list[int]:
    """Exits at every `step`-th commit, shared by two processes: which they were, none of which left a trace."""
    children = []
    for first in (1, 1 + step):
        folder = memory / str(first)
        folder.mkdir()
        script = [sys.executable, Path(__file__).with_name("killed.py"), folder, str(first), str(2 * step), *study]
        children.append(subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    outputs = [child.communicate() for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    verdicts = dict(line.split(" ", 1) for output, _ in outputs for line in output.splitlines())
    assert {n: v for n, v in verdicts.items() if v != "same"} == {}, [errors for _, errors in outputs]
    return sorted(map(int, verdicts))


def test_exits_at_every_commit(memory: Path) -> None:
    commits = exits(memory, 1, "full")
    assert commits == list(range(1, len(commits) + 1)) and len(commits) >= COMMITS


@pytest.mark.parametrize("step", [23, pytest.param(1, marks=pytest.mark.soak)], ids=["some", "every"])
def test_exits_with_mlflow(memory: Path, step: int) -> None:
    """Its commits count as well, and its runs are compared as well."""
    commits = exits(memory, step, "mlflow")
    assert commits == list(range(1, step * len(commits), step)) and commits[-1] >= 3 * COMMITS


def test_exits_of_a_study_with_conditional_parameters(memory: Path) -> None:
    commits = exits(memory, 11, "rich")
    assert commits == list(range(1, 11 * len(commits), 11)) and commits[-1] >= COMMITS / 2


def start(*arguments: str | Path, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def shown(database: Path) -> dict[str, Any]:
    """`show --json`, but for seconds."""
    output = subprocess.run([*COMMAND, "show", database, "--json"], capture_output=True, text=True, check=True).stdout
    content: dict[str, Any] = json.loads(output)
    for trial in [*content["trials"], content["best"]]:
        del trial["seconds"]
    return content


def finished(database: Path) -> int:
    """How many trials a database holds the outcome of, asked from beside."""
    with contextlib.suppress(StorageError):
        return sum(r.state != "running" for records in summary(url_of(str(database))).records for r in records)
    return 0


def await_trials(process: subprocess.Popen[str], database: Path, count: int) -> bool:
    """Until so many trials are finished; False when the study ended before."""
    while process.poll() is None:
        if database.exists() and finished(database) >= count:
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.002)
    return False


def descendants(pid: int) -> set[int]:
    """Processes below a process, those of its fork server too."""
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
    """Whether all of them end; the limit is for a test that fails."""
    with contextlib.ExitStack() as stack:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                handle = os.pidfd_open(pid)  # readable once the process has ended
                stack.callback(os.close, handle)
                if not select.select([handle], [], [], seconds)[0]:
                    return False
    return True


# As in killed.py, with enough epochs for a moment to fall into training.
CHANGES: dict[str, Any] = {"train.epochs": 12, "stages.0.trials": 16, "stages.1.trials": 12, "workers": 2}


def unbroken(folder: Path) -> dict[str, Any]:
    folder.mkdir()
    process = start("run", cases.write(folder, **CHANGES), "--tracking-uri", "none", "--quiet", folder=folder)
    assert process.wait() == 0, process.communicate()
    process.communicate()
    return shown(folder / "small.db")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=pytest.mark.soak)], ids=["a few", "many"])
def test_killed_at_any_moment(tmp_path: Path, kills: int) -> None:
    want = unbroken(tmp_path / "unbroken")
    draw = random.Random(kills)
    total = sum(stage["trials"] for stage in cases.content(**CHANGES)["stages"])
    study, database = cases.write(tmp_path, **CHANGES), tmp_path / "small.db"
    killed, seen = 0, set[int]()
    while killed < kills:
        begun = database.exists()
        process = (
            start("resume", database, "--tracking-uri", "none", folder=tmp_path)
            if begun
            else start("run", study, "--tracking-uri", "none", folder=tmp_path)
        )
        count = finished(database) if begun else 0
        if await_trials(process, database, min(count + draw.randint(1, 6), total)):
            workers = descendants(process.pid)
            process.kill()
            killed += 1
            seen |= workers  # none when it was on its way out
            assert gone(workers), "workers outlive the coordinator"
        process.communicate()
        if process.returncode == 0 and killed < kills:  # it was done before the kill: from the start
            for file in tmp_path.glob("small.db*"):
                file.unlink()
    process = start("resume", database, "--tracking-uri", "none", folder=tmp_path)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert shown(database) == want
    assert seen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    study, database = cases.write(tmp_path, **{**CHANGES, "train.epochs": 300}), tmp_path / "small.db"
    process = start("run", study, "--tracking-uri", "none", folder=tmp_path)
    assert await_trials(process, database, 3)
    count, workers = finished(database), descendants(process.pid)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert f"hpsearch resume {database}" in errors
    assert "Traceback" not in errors
    assert workers and gone(workers)
    assert finished(database) >= count
    trials = json.loads(subprocess.run([*COMMAND, "show", database, "--json"], capture_output=True).stdout)["trials"]
    assert sum(t["state"] != "running" for t in trials) == finished(database)

"""Training code that hangs, crashes, fills memory or starts processes: one trial fails, and others train."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cases
import pytest
from code_cases import SEED, task_of
from executor_cases import exception_of, needs_proc, result_of, wait_until

from hpsearch.core.processes import start_time
from hpsearch.data.dataset import prepare
from hpsearch.training.executors.base import LimitExceeded, WorkerDied
from hpsearch.training.executors.processes import Processes
from hpsearch.training.task import Task, TrialTask

pytestmark = [pytest.mark.crash, needs_proc]

SLEEP = f"1001.{os.getpid()}"  # seconds, by which other runs of this test are told apart
CODE = """
import ctypes, multiprocessing, os, subprocess, sys, threading, time

def train(params):
    kind = params["kind"]
    if kind == "hang":
        while True: time.sleep(0.01)  # line 6
    if kind == "hang in C":
        time.sleep(1000)  # line 8
    if kind == "memory":
        kept = []
        while True: kept.append(bytes(bytearray(10**7)))  # line 11
    if kind == "segfault":
        ctypes.string_at(0)  # line 13
    if kind == "exit":
        os._exit(3)
    if kind == "prints":
        for _ in range(1000): print("x" * 10_000, flush=True); print("y", file=sys.stderr)
    if kind == "output":
        os.write(1, b"from below\\n")
    if kind == "processes":
        for n in range(5):
            if os.fork() == 0:
                for _ in range(5): os.fork()
                time.sleep(1000)
        subprocess.Popen(["sleep", "SLEEP"], start_new_session=True)
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    if kind == "loader":
        context = multiprocessing.get_context("fork")
        reader, writer = context.Pipe(False)
        context.Process(target=writer.send, args=(1.0,), daemon=True).start()
        return reader.recv()
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind == "chdir":
        os.chdir("/"); os.environ["PATH"] = ""
    return 1.0
"""


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Processes, Path]]:
    folder = tmp_path_factory.mktemp("pool")
    executor = Processes(1, str(folder))
    yield executor, folder
    executor.close()


def bad_task(folder: Path, kind: str, **train: Any) -> Task:
    parameters = {"kind": {"values": list(dict.fromkeys([kind, "good", "other"]))}}
    train = {"epochs": 1, "timeout": 1.0, "memory": "600MB", **train}
    task = task_of(folder, CODE.replace("SLEEP", SLEEP), train=train, parameters=parameters)
    return Task(task.spec, task.dataset, (TrialTask(0, {"kind": kind}, SEED),), 1, code=task.code)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("hang", "took longer than train.timeout, 1 s at train.py:6"),
        ("hang in C", "took longer than train.timeout, 1 s at train.py:8"),
        ("memory", " of memory, more than train.memory, 600 MB at train.py:11"),
    ],
)
def test_limits_end_a_trial(pool: tuple[Processes, Path], kind: str, error: str) -> None:
    executor, folder = pool
    failed = exception_of(executor.submit(bad_task(folder, kind)))
    assert isinstance(failed, LimitExceeded) and error in str(failed)
    (good,) = result_of(executor.submit(bad_task(folder, "good")))
    assert good.value == 1.0


@pytest.mark.parametrize(("kind", "how"), [("segfault", "signal 11 (SIGSEGV) at train.py:13"), ("exit", "exit code 3")])
def test_crashes_end_a_worker(pool: tuple[Processes, Path], kind: str, how: str) -> None:
    executor, folder = pool
    died = exception_of(executor.submit(bad_task(folder, kind)))
    assert isinstance(died, WorkerDied) and how in str(died)
    (good,) = result_of(executor.submit(bad_task(folder, "good")))
    assert good.value == 1.0


@pytest.mark.parametrize("kind", ["prints", "output", "processes", "loader", "chdir"])
def test_harmless_habits(pool: tuple[Processes, Path], kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    executor, folder = pool
    for each in (kind, "good"):
        (result,) = result_of(executor.submit(bad_task(folder, each, timeout=20)))
        assert (result.value, result.error) == (1.0, None)
    wait_until(lambda: not sleeping())
    assert "x" * 100 not in capfd.readouterr().out


def sleeping() -> list[int]:
    """Return the processes that the code above has left."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            content = Path(f"/proc/{pid}/cmdline").read_bytes()
            found += [int(pid)] if content == f"sleep\0{SLEEP}\0".encode() and start_time(int(pid)) is not None else []
    return found


def test_an_interrupt_of_the_code_itself(pool: tuple[Processes, Path]) -> None:
    executor, folder = pool
    (result,) = result_of(executor.submit(bad_task(folder, "interrupt")))
    assert result.error == "train.py:33: KeyboardInterrupt"


def test_limits_of_the_engine(tmp_path: Path) -> None:
    """A batch is ended together; the scheduler then trains each alone."""
    spec = cases.small(**{"train.epochs": 10**6, "train.early_stopping": None, "train.timeout": 0.3})
    dataset, _ = prepare(spec.data, spec.seed, tmp_path)
    point = {"learning_rate": 1e-9, "beta": 0.9, "hidden_units": 8, "batch_size": 16, "l2": 1e-4}
    executor = Processes(1, str(tmp_path))
    try:
        task = Task(spec, dataset, tuple(TrialTask(n, point, n) for n in range(2)), 10**6)
        results = result_of(executor.submit(task))
        assert [r.error for r in results] == ["took longer than train.timeout, 0.3 s"] * 2
    finally:
        executor.close()


GROUP = """
import sys, time
from hpsearch.training.objectives.stepping.process_group import ProcessGroup
group = ProcessGroup(["sh", "-c", "sleep 1002 & (sleep 1003 &) ; echo $$; sleep 1004"], "", {"PATH": "/usr/bin:/bin"})
print(group.process.stdout.readline().decode().strip(), flush=True)
time.sleep(1000)
"""


def test_a_group_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    starter = subprocess.Popen([sys.executable, "-c", GROUP], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    group = int(starter.stdout.readline())
    time.sleep(0.05)  # its children begin
    members = [int(p) for p in filter(str.isdigit, os.listdir("/proc")) if group_of(int(p)) == group]
    assert len(members) == 4
    starter.send_signal(signal.SIGKILL)
    starter.communicate()
    wait_until(lambda: all(start_time(p) is None for p in members))


def group_of(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        return os.getpgid(pid)
    return None

"""Worker processes: a worker that dies costs its own task only, and close leaves nothing behind."""

import gc
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from pathlib import Path
from typing import Any

import pytest
from executor_cases import (
    ExitsWhenRead,
    OpenExecutor,
    UnreadableValue,
    children_of,
    exception_of,
    needs_proc,
    result_of,
    run_order,
    spec_of,
    wait_for_end,
    wait_for_workers,
    wait_until,
    without_seconds,
    workers_of,
)

from hpsearch.core import processes
from hpsearch.core.own_forkserver import SERVER
from hpsearch.core.resources import EXIT_EXHAUSTED, ResourceExhausted
from hpsearch.data.dataset import Dataset
from hpsearch.training.executors import Processes, WorkerDied, WorkerKilled
from hpsearch.training.task import Task, TrialResult


@pytest.mark.parametrize(
    ("order", "text"),
    [
        (("exit", 3), "exit code 3"),
        (("leave", 4), "exit code 4"),
        (("exit", 0), "exit code 0"),
        (("kill", 9), "killed by signal 9 (SIGKILL)"),
        (("kill", 11), "killed by signal 11 (SIGSEGV)"),
        (("give", ExitsWhenRead()), "exit code 7"),
        (("send", 10, 9), "killed by signal 9 (SIGKILL)"),
        (("send", 2, 9), "killed by signal 9 (SIGKILL)"),
        (("send", 0, 9), "killed by signal 9 (SIGKILL)"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_death_costs_one_task(open_executor: OpenExecutor, order: Any, text: str) -> None:
    """With a single worker, which must be replaced; tasks before and after have their outcomes."""
    executor = open_executor("processes", 1, run_order)
    futures = [executor.submit(("give", 1)), executor.submit(order), executor.submit(("give", 2))]
    assert result_of(futures[0]) == 1 and result_of(futures[2]) == 2
    error = exception_of(futures[1])
    assert type(error) is (WorkerKilled if "SIGKILL" in text else WorkerDied) and str(error) == text


@needs_proc
def test_answer_sent_before_death_counts(open_executor: OpenExecutor) -> None:
    executor = open_executor("processes", 1, run_order)
    pids = wait_for_workers(1)
    assert result_of(executor.submit(("send", 10**6, 9))) == b"x" * 10_000
    wait_for_end(pids)  # a task that is handed to a dying worker would die with it
    assert result_of(executor.submit(("give", 3))) == 3


@needs_proc
def test_killed_while_idle(open_executor: OpenExecutor, tmp_path: Path) -> None:
    """An idle worker is replaced at once, without a new task, and no task is lost."""
    executor = open_executor("processes", 2, run_order)
    one, other = tmp_path / "one", tmp_path / "other"
    for number in range(3):
        pair = [executor.submit(("wait for", *p)) for p in [(one, other), (other, one)]]
        pids = {result_of(f) for f in pair}
        assert len(pids) == 2  # at the same time
        victim = random.Random(number).choice(sorted(pids))
        os.kill(victim, signal.SIGKILL)
        wait_for_end({victim})
        wait_until(lambda victim=victim: len(workers_of(os.getpid()) - {victim}) == 2)
        one.unlink()
        other.unlink()


@needs_proc
def test_killed_while_training(
    open_executor: OpenExecutor, dataset: Dataset, tasks: list[Task], expected: list[list[TrialResult]]
) -> None:
    executor = open_executor("processes", 2)
    before = wait_for_workers(2)
    (start, *_) = tasks[0].trials
    endless = executor.submit(Task(spec_of(10**6), dataset, (start,), 10**6))
    futures = [executor.submit(t) for t in tasks[:4]]
    assert isinstance(executor, Processes)
    result_of(futures[0])  # by the other worker
    (victim,) = [w._pid for w in executor._workers if w.future is endless]
    assert not endless.done()
    more = [executor.submit(t) for t in tasks[4:8]]
    os.kill(victim, signal.SIGKILL)
    error = exception_of(endless)
    assert type(error) is WorkerKilled and str(error) == "killed by signal 9 (SIGKILL)"
    assert [without_seconds(result_of(f)) for f in futures + more] == expected[:8]
    assert before - wait_for_workers(2) == {victim}


def test_killed_again_and_again(
    open_executor: OpenExecutor, tasks: list[Task], expected: list[list[TrialResult]]
) -> None:
    """At random moments; lost tasks are submitted again. The outcomes are those without kills."""
    executor, draw = open_executor("processes", 2), random.Random(4)
    assert isinstance(executor, Processes)
    waiting = {executor.submit(task): number for number, task in enumerate(tasks)}
    found: dict[int, list[TrialResult]] = {}
    died = killed = 0
    while waiting:
        done, _ = wait(waiting, timeout=draw.uniform(0, 0.3), return_when=FIRST_COMPLETED)
        for future in done:
            number = waiting.pop(future)
            try:
                found[number] = without_seconds(future.result())
            except WorkerDied:
                died += 1
                waiting[executor.submit(tasks[number])] = number
        ready = [w for w in executor._workers if w.started]  # three that die before they are would be the end
        if killed < 12 and ready and draw.random() < 0.7:
            draw.choice(ready).kill()
            killed += 1
    assert [found[n] for n in range(len(tasks))] == expected
    assert killed >= 6 and died >= 3


def test_large_messages(open_executor: OpenExecutor) -> None:
    executor = open_executor("processes", 2, run_order)
    contents = [bytes([n]) * 12_000_000 + b"end" for n in range(4)]
    futures = [executor.submit(("size", c)) for c in contents]
    assert [result_of(f) == (len(c), c[::-1]) for f, c in zip(futures, contents, strict=True)] == [True] * 4


@pytest.mark.parametrize("order", [("raise by name", "unreadable"), ("raise by name", "unpicklable")], ids=str)
def test_exceptions_that_cannot_be_sent(open_executor: OpenExecutor, order: Any) -> None:
    executor = open_executor("processes", 1, run_order)
    error = exception_of(executor.submit(order))
    assert type(error) is RuntimeError and str(error) in ("UnreadableError: a b", "UnpicklableError: c")
    assert result_of(executor.submit(("give", 5))) == 5


@pytest.mark.parametrize(
    "order", [("give", lambda: 0), ("give", UnreadableValue("there")), ("odd outcome", "here")], ids=lambda o: o[0]
)
def test_messages_that_cannot_be_sent(open_executor: OpenExecutor, order: Any) -> None:
    """No worker dies of a message that cannot be pickled or unpickled."""
    executor = open_executor("processes", 1, run_order)
    error = exception_of(executor.submit(order))
    assert error is not None and not isinstance(error, WorkerDied)
    assert result_of(executor.submit(("give", 5))) == 5


@pytest.mark.parametrize(
    ("order", "text"),
    [
        (("exit", EXIT_EXHAUSTED), "a worker process ran out of memory, open files or threads"),
        (("short of memory",), "a worker process ran out of memory, open files or threads"),
        (("odd outcome", "memory"), "out of memory"),
    ],
    ids=["exit code", "cannot send", "cannot receive"],
)
def test_shortages_of_memory(
    open_executor: OpenExecutor, order: Any, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """In a worker that cannot even answer, and in the coordinator that cannot read the answer; no traceback."""
    executor = open_executor("processes", 1, run_order)
    error = exception_of(executor.submit(order))
    assert type(error) is ResourceExhausted and str(error) == text
    assert result_of(executor.submit(("give", 5))) == 5
    executor.close()
    assert capfd.readouterr().err == ""


def test_cancelled(open_executor: OpenExecutor, tmp_path: Path) -> None:
    executor, log, go = open_executor("processes", 1, run_order), tmp_path / "log", tmp_path / "go"
    first = executor.submit(("wait for", tmp_path / "begun", go))
    wait_until((tmp_path / "begun").exists)
    second, third = [executor.submit(("log", log, letter)) for letter in "ab"]
    assert second.cancel() and not first.cancel()
    go.touch()
    assert exception_of(third) is None and log.read_text() == "b"


@needs_proc
def test_ctrl_c_is_ignored(open_executor: OpenExecutor) -> None:
    """From the start on, idle and busy workers ignore Ctrl-C."""
    executor = open_executor("processes", 2, run_order)
    pids = wait_for_workers(2)
    for _ in range(20):
        for pid in pids:
            os.kill(pid, signal.SIGINT)
        time.sleep(0.01)
    assert result_of(executor.submit(("sigint",))) == "ignored"
    assert wait_for_workers(2) == pids


# Pools that cannot start workers, and closing.


def test_workers_that_cannot_start(open_executor: OpenExecutor) -> None:
    executor = open_executor("processes", 2, ExitsWhenRead())
    with pytest.raises(BrokenExecutor, match=r"cannot be started.*exit code 7"):
        while True:  # wait_until it is known
            futures = [executor.submit(("give", n)) for n in range(3)]
            error = exception_of(futures[0])
            assert all(type(exception_of(f)) is BrokenExecutor and str(exception_of(f)) == str(error) for f in futures)
    executor.close()


@needs_proc
def test_fork_server_killed(open_executor: OpenExecutor, tmp_path: Path) -> None:
    """Workers keep running, and a new fork server starts replacements."""
    executor, go = open_executor("processes", 2, run_order), tmp_path / "go"
    future = executor.submit(("wait for", tmp_path / "begun", go))
    wait_until((tmp_path / "begun").exists)
    pids = wait_for_workers(2)
    os.kill(server(), signal.SIGKILL)
    assert str(exception_of(executor.submit(("exit", 3)))).startswith("exit code")
    assert result_of(executor.submit(("give", 5))) == 5
    go.touch()
    assert result_of(future) in pids
    executor.close()
    wait_for_end(pids)
    assert not workers_of(os.getpid())


def server() -> int:
    pid = SERVER._forkserver_pid  # type: ignore[attr-defined]
    assert isinstance(pid, int)
    return pid


def test_fork_server_cannot_be_started(open_executor: OpenExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = open_executor("processes", 1, run_order)
    assert result_of(executor.submit(("give", 5))) == 5

    def ensure_running() -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(SERVER, "ensure_running", ensure_running)
    futures = [executor.submit(("exit", 3)), executor.submit(("give", 5))]
    assert type(exception_of(futures[0])) is WorkerDied
    assert type(exception_of(futures[1])) is BrokenExecutor and "no more processes" in str(exception_of(futures[1]))
    with pytest.raises(BrokenExecutor, match="no more processes"):
        executor.submit(("give", 5))


@needs_proc
@pytest.mark.parametrize("how", ["starting", "idle", "busy", "stopped amid a message"])
def test_close_leaves_nothing(tmp_path: Path, how: str) -> None:
    processes.start_forkserver()
    gc.collect()
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    executor = Processes(2, str(tmp_path / "scratch"), run_order)
    futures: list[Future[Any]] = []
    if how != "starting":
        assert result_of(executor.submit(("give", 5))) == 5
        pids = wait_for_workers(2)
    if how == "busy":
        futures = [executor.submit(("wait for", tmp_path / str(n), tmp_path / "never")) for n in range(4)]
        wait_until(lambda: (tmp_path / "0").exists() and (tmp_path / "1").exists())
    if how == "stopped amid a message":
        futures = [executor.submit(("send", 100, signal.SIGSTOP)) for _ in range(3)]
        wait_until(lambda: any(Path(f"/proc/{p}/stat").read_text().split()[2] == "T" for p in pids))
        time.sleep(0.05)
    begun = time.monotonic()
    executor.close()
    assert time.monotonic() - begun < 2
    assert all(f.cancelled() or type(f.exception(0)) is BrokenExecutor for f in futures)
    assert how == "starting" or not any(Path(f"/proc/{p}").exists() for p in pids)
    assert not workers_of(os.getpid())
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before
    with pytest.raises(BrokenExecutor, match="closed"):
        executor.submit(("give", 5))
    executor.close()
    assert not workers_of(os.getpid())


COORDINATOR = """
    import sys, time
    from hpsearch.training.executors import Processes

    if __name__ == "__main__":
        executor = Processes(2, sys.argv[1], time.sleep)
        executor.submit(0.0).result()
        futures = [executor.submit(60.0) for _ in range(3) if sys.argv[2] != "killed while idle"]
        print("ready", flush=True)
        if sys.argv[2] != "left":
            time.sleep(60)
"""


@needs_proc
@pytest.mark.parametrize("how", ["killed", "killed while idle", "left"])
def test_coordinator_ends(tmp_path: Path, how: str) -> None:
    """No child outlives the coordinator; if it was killed, a child removes its temporary folder."""
    script, scratch = tmp_path / "coordinator.py", tmp_path / "scratch"
    script.write_text(textwrap.dedent(COORDINATOR))
    scratch.mkdir()
    for number in range(1000):  # so that it takes a while
        (scratch / str(number)).touch()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(
        [sys.executable, script, scratch, how], stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        below = children_of(process.pid) | workers_of(process.pid)
        if how != "left":
            assert len(below) >= 4  # a server, its tracker, two workers
            process.kill()
        wait_until(lambda: process.poll() is not None)
        assert process.returncode == (0 if how == "left" else -9)
    wait_for_end(below)
    assert scratch.exists() == (how == "left")

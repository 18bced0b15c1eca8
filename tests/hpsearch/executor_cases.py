"""Helpers of the executor tests. Worker processes import this module, so it imports neither Optuna nor fixtures."""

import contextlib
import itertools
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing import connection
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_info

from hpsearch.config.spec import Spec
from hpsearch.core.processes import start_time
from hpsearch.training.task import Outcome, TrialResult

EPOCHS = 200
SECONDS = 20  # after which a test fails, counted while all of its processes are asleep
STEP, STEPS = 0.002, 50  # seconds between two looks at what is waited for, and looks between two at the processes
needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
OpenExecutor = Callable[..., Any]


def spec_of(epochs: int) -> Spec:
    import cases  # imports Optuna, which workers must not

    return cases.small(**{"train.early_stopping": None, "train.epochs": epochs})


def without_seconds(outcome: Outcome) -> list[TrialResult]:
    return [r._replace(seconds=0.0) for r in outcome]


class UnreadableError(Exception):
    """An exception that can be pickled but not unpickled."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}\nand more")


class UnpicklableError(Exception):
    """An exception that cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("mine")


class ExitsWhenRead:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> Any:
        return os._exit, (7,)


class UnreadableValue:
    """Cannot be unpickled by the worker ("there") or by the coordinator ("here", or "memory" for lack of memory)."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __reduce__(self) -> Any:
        return fail_to_read, (self._where, os.getpid())


def fail_to_read(where: str, writer: int) -> None:
    raise MemoryError if where == "memory" else OSError(f"not {where}")


def run_order(order: Any) -> Any:
    """Run an order: a name and its arguments. The task function of these tests."""
    match order:
        case ("give", what):
            return what
        case ("raise", error):
            raise error
        case ("raise by name", name):
            raise {"unreadable": UnreadableError("a", "b"), "unpicklable": UnpicklableError("c\nd")}[name]
        case ("exit", code):
            os._exit(code)
        case ("leave", code):
            sys.exit(code)
        case ("kill", number):
            os.kill(os.getpid(), number)
        case ("log", path, what):
            with open(path, "a") as file:
                file.write(what)
        case ("wait for", mine, other):  # ends only while another order runs
            Path(mine).touch()
            while not Path(other).exists():
                time.sleep(0.001)
            return os.getpid()
        case ("size", content):
            return len(content), content[::-1]
        case ("threads",):
            return [pool["num_threads"] for pool in threadpool_info()]
        case ("sigint",):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            return "ignored"
        case ("send", count, then):  # sends `count` bytes of the answer, then a signal
            whole = connection.Connection._send

            def cut(self: Any, content: Any, *_: Any) -> None:
                whole(self, bytes(content)[:count])
                os.kill(os.getpid(), then)

            connection.Connection._send = cut  # type: ignore[method-assign]
            return b"x" * 10_000  # small enough to be sent together with its length
        case ("short of memory",):

            def fail(*_: Any) -> None:
                raise MemoryError

            connection.Connection._send = fail  # type: ignore[method-assign]
            return "an answer"
        case ("odd outcome", where):
            return UnreadableValue(where)
        case _:
            raise ValueError(order)
    return None


def result_of(future: "Future[Any]") -> Any:
    wait_until(future.done)
    return future.result(0)


def exception_of(future: "Future[Any]") -> BaseException | None:
    wait_until(future.done)
    return future.exception(0)


def children_of(pid: int) -> set[int]:
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found |= {int(p) for p in task.read_text().split()}
    return found


def workers_of(pid: int) -> set[int]:
    """Return the living children of the fork server of a process; those that it has not reaped yet are not counted."""
    return {w for child in children_of(pid) for w in children_of(child) if start_time(w) is not None}


def wait_for_workers(count: int) -> set[int]:
    """Wait until this process has `count` workers, and return their pids."""
    wait_until(lambda: len(workers_of(os.getpid())) == count)
    return workers_of(os.getpid())


def wait_until(true: Callable[[], object]) -> None:
    """Wait until something is true.

    Time in which a process works, or waits for a CPU or a disk of a busy machine, counts a twentieth.

    Raises:
        AssertionError: the test waited too long.
    """
    waited = 0.0
    for step in itertools.count(1):
        if true():
            return
        time.sleep(STEP)
        if step % STEPS == 0:
            waited += STEP * STEPS * (1 / 20 if works() else 1)
        assert waited < SECONDS, "waited too long"


def works() -> bool:
    """Return whether a thread of this process's descendants, or another thread of its own, runs or could run."""
    pids, states, own = [os.getpid()], list[str](), str(threading.get_native_id())
    for pid in pids:
        pids += children_of(pid)
        for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
            with contextlib.suppress(OSError):
                states += [thread.read_text().rpartition(")")[2].split()[0]] * (thread.parent.name != own)
    return not {"R", "D"}.isdisjoint(states)


def wait_for_end(pids: set[int]) -> None:
    """Wait until all processes have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)  # readable once the process has ended
            try:
                wait_until(lambda handle=handle: select.select([handle], [], [], 0)[0])
            finally:
                os.close(handle)

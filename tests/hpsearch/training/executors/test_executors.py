"""Executors: the contract of the family, and what real kills of real workers do to the others' tasks: nothing."""

import contextlib
import gc
import os
import random
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_info

from hpsearch.config.spec import Spec
from hpsearch.core import processes
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.training.executors import EXECUTORS, Executor, Inline, Processes, WorkerDied
from hpsearch.training.task import Outcome, Task, TrialResult, TrialTask
from hpsearch.training.trial import advance

EPOCHS = 200
SECONDS = 20  # for a test that fails
needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
Opened = Callable[..., Any]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """Makes executors, and closes them."""
    with contextlib.ExitStack() as stack:

        def make(name: str, workers: int, *work: Any) -> Executor:
            executor = EXECUTORS[name](workers, str(tmp_path / "scratch"), *work)
            stack.callback(executor.close)
            return executor

        yield make


def trained(epochs: int) -> Spec:
    import cases  # not when workers import this file: it imports Optuna

    return cases.small(**{"train.early_stopping": None, "train.epochs": epochs})


@pytest.fixture(scope="module")
def spec() -> Spec:
    return trained(EPOCHS)


@pytest.fixture(scope="module")
def dataset(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare(spec.data, spec.seed, tmp_path_factory.mktemp("data"))[0]


@pytest.fixture(scope="module")
def tasks(spec: Spec, dataset: Dataset) -> list[Task]:
    """Different in all that they give; about a tenth of a second each."""
    point = {"learning_rate": 0.01, "beta": 0.9, "hidden_units": 8, "batch_size": 16, "l2": 1e-4}
    return [
        Task(spec, dataset, (TrialTask(n, point, n), TrialTask(n + 100, point, n + 100)), EPOCHS) for n in range(16)
    ]


def timeless(outcome: Outcome) -> list[TrialResult]:
    return [r._replace(seconds=0.0) for r in outcome]


@pytest.fixture(scope="module")
def expected(tasks: list[Task]) -> list[list[TrialResult]]:
    executor = Inline()
    found = [timeless(executor.submit(t).result()) for t in tasks]
    assert len({tuple(r.history["train/loss"]) for outcome in found for r in outcome}) == 2 * len(tasks)
    assert {r.state for outcome in found for r in outcome} == {"complete"}
    return found


class Stubborn(Exception):
    """Pickled, but never read again."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}\nand more")


class Private(Exception):
    """Never pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("mine")


class Lethal:
    """Kills who reads it."""

    def __reduce__(self) -> Any:
        return os._exit, (7,)


class Odd:
    """Cannot be read, there or here."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __reduce__(self) -> Any:
        return odd, (self._where, os.getpid())


def odd(where: str, writer: int) -> None:
    raise OSError(f"not {where}")


def act(order: Any) -> Any:
    """What workers do here: what they are told."""
    match order:
        case ("give", what):
            return what
        case ("raise", error):
            raise error
        case ("raise by name", name):
            raise {"stubborn": Stubborn("a", "b"), "private": Private("c\nd")}[name]
        case ("exit", code):
            os._exit(code)
        case ("leave", code):
            sys.exit(code)
        case ("kill", number):
            os.kill(os.getpid(), number)
        case ("log", path, what):
            with open(path, "a") as file:
                file.write(what)
        case ("wait for", mine, other):  # one that can only end while another one runs
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
            return "deaf"
        case ("send", count, then):  # the answer is cut off after `count` bytes
            whole = connection.Connection._send

            def cut(self: Any, content: Any, *_: Any) -> None:
                whole(self, bytes(content)[:count])
                os.kill(os.getpid(), then)

            connection.Connection._send = cut  # type: ignore[method-assign]
            return b"x" * 10_000  # small enough to be sent with its length in one go
        case ("odd outcome",):
            return Odd("here")
        case _:
            raise ValueError(order)
    return None


def ended(future: "Future[Any]") -> BaseException | None:
    return future.exception(SECONDS)


def children_of(pid: int) -> set[int]:
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found |= {int(p) for p in task.read_text().split()}
    return found


def workers_of(pid: int) -> set[int]:
    """Children of the server, of which there is one."""
    return {worker for child in children_of(pid) for worker in children_of(child)}


def team(count: int) -> set[int]:
    """The workers of this process, once there are so many."""
    until(lambda: len(workers_of(os.getpid())) == count)
    return workers_of(os.getpid())


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.002)


def gone(pids: set[int]) -> bool:
    """Whether all of them end."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)  # readable once the process has ended
            ready = select.select([handle], [], [], SECONDS)[0]
            os.close(handle)
            if not ready:
                return False
    return True


# The contract, of all of the menu.


@pytest.mark.parametrize("name", EXECUTORS)
def test_outcomes(opened: Opened, tasks: list[Task], expected: list[list[TrialResult]], name: str) -> None:
    executor = opened(name, 2)
    assert executor.workers == 2
    futures = [executor.submit(t) for t in tasks[:6]]
    assert [timeless(f.result(SECONDS)) for f in futures] == expected[:6]


@pytest.mark.parametrize("name", EXECUTORS)
def test_order_of_submission(opened: Opened, tmp_path: Path, name: str) -> None:
    executor, log = opened(name, 1, act), tmp_path / "log"
    futures = [executor.submit(("log", log, letter)) for letter in "executor"]
    assert [ended(f) for f in futures] == [None] * 8 and log.read_text() == "executor"


@pytest.mark.parametrize("name", EXECUTORS)
def test_exceptions_pass_through(opened: Opened, name: str) -> None:
    """As they are, and whoever raised goes on."""
    executor = opened(name, 1, act)
    error = ended(executor.submit(("raise", FileNotFoundError(2, "no such file", "rows.npy"))))
    assert type(error) is FileNotFoundError and (error.errno, error.filename) == (2, "rows.npy")
    assert str(ended(executor.submit(("raise", MemoryError("much"))))) == "much"
    assert executor.submit(("give", 5)).result(SECONDS) == 5


@pytest.mark.parametrize("name", EXECUTORS)
def test_rows_that_cannot_be_read(opened: Opened, spec: Spec, tmp_path: Path, name: str) -> None:
    """What `advance` raises of its own."""
    data = prepare(spec.data, spec.seed, tmp_path)[0]
    point = {"learning_rate": 0.01, "beta": 0.9, "hidden_units": 8, "batch_size": 16, "l2": 1e-4}
    for path in tmp_path.rglob("*.np*"):
        path.unlink()
    executor = opened(name, 1)
    assert isinstance(ended(executor.submit(Task(spec, data, (TrialTask(0, point, 0),), 1))), OSError)


@pytest.mark.parametrize("name", EXECUTORS)
def test_one_thread(opened: Opened, name: str) -> None:
    assert set(opened(name, 1, act).submit(("threads",)).result(SECONDS)) == {1}


@pytest.mark.parametrize("name", EXECUTORS)
def test_closing_twice(opened: Opened, name: str) -> None:
    executor = opened(name, 1, act)
    executor.close()
    executor.close()


# Processes.


@pytest.mark.parametrize(
    ("order", "text"),
    [
        (("exit", 3), "exit code 3"),
        (("leave", 4), "exit code 4"),
        (("exit", 0), "exit code 0"),
        (("kill", 9), "killed by signal 9 (SIGKILL)"),
        (("kill", 11), "killed by signal 11 (SIGSEGV)"),
        (("give", Lethal()), "exit code 7"),
        (("send", 10, 9), "killed by signal 9 (SIGKILL)"),
        (("send", 2, 9), "killed by signal 9 (SIGKILL)"),
        (("send", 0, 9), "killed by signal 9 (SIGKILL)"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_death_is_one_task_s(opened: Opened, order: Any, text: str) -> None:
    """Of one worker, so that it is replaced or nothing goes on; those before and after have their outcomes."""
    executor = opened("processes", 1, act)
    futures = [executor.submit(("give", 1)), executor.submit(order), executor.submit(("give", 2))]
    assert futures[0].result(SECONDS) == 1 and futures[2].result(SECONDS) == 2
    error = ended(futures[1])
    assert type(error) is WorkerDied and str(error) == text


@needs_proc
def test_what_was_sent_counts(opened: Opened) -> None:
    executor = opened("processes", 1, act)
    pids = team(1)
    assert executor.submit(("send", 10**6, 9)).result(SECONDS) == b"x" * 10_000
    assert gone(pids)  # a task that is handed to a dying worker would die with it
    assert executor.submit(("give", 3)).result(SECONDS) == 3


@needs_proc
def test_killed_while_idle(opened: Opened, tmp_path: Path) -> None:
    """Replaced, without a task to wake anybody; nobody's task is lost."""
    executor = opened("processes", 2, act)
    one, other = tmp_path / "one", tmp_path / "other"
    for number in range(3):
        pair = [executor.submit(("wait for", *p)) for p in [(one, other), (other, one)]]
        pids = {f.result(SECONDS) for f in pair}
        assert len(pids) == 2  # at the same time
        victim = random.Random(number).choice(sorted(pids))
        os.kill(victim, signal.SIGKILL)
        assert gone({victim})
        until(lambda victim=victim: len(workers_of(os.getpid()) - {victim}) == 2)
        one.unlink()
        other.unlink()


@needs_proc
def test_killed_while_training(
    opened: Opened, dataset: Dataset, tasks: list[Task], expected: list[list[TrialResult]]
) -> None:
    executor = opened("processes", 2)
    before = team(2)
    (start, *_) = tasks[0].trials
    endless = executor.submit(Task(trained(10**6), dataset, (start,), 10**6))
    futures = [executor.submit(t) for t in tasks[:4]]
    assert isinstance(executor, Processes)
    futures[0].result(SECONDS)  # by the other worker
    (victim,) = [w._pid for w in executor._team if w.future is endless]
    assert not endless.done()
    more = [executor.submit(t) for t in tasks[4:8]]
    os.kill(victim, signal.SIGKILL)
    error = ended(endless)
    assert type(error) is WorkerDied and str(error) == "killed by signal 9 (SIGKILL)"
    assert [timeless(f.result(SECONDS)) for f in futures + more] == expected[:8]
    assert before - team(2) == {victim}


def test_killed_again_and_again(opened: Opened, tasks: list[Task], expected: list[list[TrialResult]]) -> None:
    """At random moments; what died is submitted again. The outcomes are those of a life in peace."""
    executor, draw = opened("processes", 2), random.Random(4)
    assert isinstance(executor, Processes)
    waiting = {executor.submit(task): number for number, task in enumerate(tasks)}
    found: dict[int, list[TrialResult]] = {}
    died = killed = 0
    while waiting:
        done, _ = wait(waiting, timeout=draw.uniform(0, 0.3), return_when=FIRST_COMPLETED)
        for future in done:
            number = waiting.pop(future)
            try:
                found[number] = timeless(future.result())
            except WorkerDied:
                died += 1
                waiting[executor.submit(tasks[number])] = number
        ready = [w for w in executor._team if w.ready]  # three that die before they are would be the end
        if killed < 12 and ready and draw.random() < 0.7:
            draw.choice(ready).kill()
            killed += 1
    assert [found[n] for n in range(len(tasks))] == expected
    assert killed >= 6 and died >= 3


def test_large_messages(opened: Opened) -> None:
    executor = opened("processes", 2, act)
    contents = [bytes([n]) * 12_000_000 + b"end" for n in range(4)]
    futures = [executor.submit(("size", c)) for c in contents]
    assert [f.result(SECONDS) == (len(c), c[::-1]) for f, c in zip(futures, contents, strict=True)] == [True] * 4


@pytest.mark.parametrize("order", [("raise by name", "stubborn"), ("raise by name", "private")], ids=str)
def test_exceptions_that_cannot_be_sent(opened: Opened, order: Any) -> None:
    executor = opened("processes", 1, act)
    error = ended(executor.submit(order))
    assert type(error) is RuntimeError and str(error) in ("Stubborn: a b", "Private: c")
    assert executor.submit(("give", 5)).result(SECONDS) == 5


@pytest.mark.parametrize("order", [("give", lambda: 0), ("give", Odd("there")), ("odd outcome",)], ids=lambda o: o[0])
def test_messages_that_cannot_be_sent(opened: Opened, order: Any) -> None:
    """Nobody dies of them."""
    executor = opened("processes", 1, act)
    error = ended(executor.submit(order))
    assert error is not None and not isinstance(error, WorkerDied)
    assert executor.submit(("give", 5)).result(SECONDS) == 5


def test_cancelled(opened: Opened, tmp_path: Path) -> None:
    executor, log, go = opened("processes", 1, act), tmp_path / "log", tmp_path / "go"
    first = executor.submit(("wait for", tmp_path / "begun", go))
    until((tmp_path / "begun").exists)
    second, third = [executor.submit(("log", log, letter)) for letter in "ab"]
    assert second.cancel() and not first.cancel()
    go.touch()
    assert ended(third) is None and log.read_text() == "b"


@needs_proc
def test_deaf_to_ctrl_c(opened: Opened) -> None:
    """From the start on, idle and at work."""
    executor = opened("processes", 2, act)
    pids = team(2)
    for _ in range(20):
        for pid in pids:
            os.kill(pid, signal.SIGINT)
        time.sleep(0.01)
    assert executor.submit(("sigint",)).result(SECONDS) == "deaf"
    assert team(2) == pids


# When nothing can be done any more.


def test_workers_that_cannot_start(opened: Opened) -> None:
    executor = opened("processes", 2, Lethal())
    with pytest.raises(BrokenExecutor, match=r"cannot be started.*exit code 7"):
        while True:  # until it is known
            futures = [executor.submit(("give", n)) for n in range(3)]
            error = ended(futures[0])
            assert all(type(ended(f)) is BrokenExecutor and str(ended(f)) == str(error) for f in futures)
    executor.close()


@needs_proc
def test_the_server_is_gone(opened: Opened, tmp_path: Path) -> None:
    """Workers do without; who is missing comes from a new server."""
    executor, go = opened("processes", 2, act), tmp_path / "go"
    future = executor.submit(("wait for", tmp_path / "begun", go))
    until((tmp_path / "begun").exists)
    pids = team(2)
    os.kill(server(), signal.SIGKILL)
    assert str(ended(executor.submit(("exit", 3)))).startswith("exit code")
    assert executor.submit(("give", 5)).result(SECONDS) == 5
    go.touch()
    assert future.result(SECONDS) in pids
    executor.close()
    assert gone(pids) and not workers_of(os.getpid())


def server() -> int:
    pid = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    assert isinstance(pid, int)
    return pid


def test_the_server_cannot_be_started(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = opened("processes", 1, act)
    assert executor.submit(("give", 5)).result(SECONDS) == 5

    def ensure_running() -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(forkserver._forkserver, "ensure_running", ensure_running)  # type: ignore[attr-defined]
    futures = [executor.submit(("exit", 3)), executor.submit(("give", 5))]
    assert type(ended(futures[0])) is WorkerDied
    assert type(ended(futures[1])) is BrokenExecutor and "no more processes" in str(ended(futures[1]))
    with pytest.raises(BrokenExecutor, match="no more processes"):
        executor.submit(("give", 5))


@needs_proc
@pytest.mark.parametrize("how", ["starting", "idle", "busy", "stopped amid a message"])
def test_close_leaves_nothing(tmp_path: Path, how: str) -> None:
    processes.start_forkserver()
    gc.collect()
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    executor = Processes(2, str(tmp_path / "scratch"), act)
    futures: list[Future[Any]] = []
    if how != "starting":
        assert executor.submit(("give", 5)).result(SECONDS) == 5
        pids = team(2)
    if how == "busy":
        futures = [executor.submit(("wait for", tmp_path / str(n), tmp_path / "never")) for n in range(4)]
        until(lambda: (tmp_path / "0").exists() and (tmp_path / "1").exists())
    if how == "stopped amid a message":
        futures = [executor.submit(("send", 100, signal.SIGSTOP)) for _ in range(3)]
        until(lambda: any(Path(f"/proc/{p}/stat").read_text().split()[2] == "T" for p in pids))
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
def test_the_coordinator_ends(tmp_path: Path, how: str) -> None:
    """However it does, nobody outlives it, and when it was killed they put its folder away."""
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
        assert process.wait(SECONDS) == (0 if how == "left" else -9)
    assert gone(below)
    assert scratch.exists() == (how == "left")


def test_inline_is_the_same_work() -> None:
    """What is compared with is `advance` itself."""
    assert Inline().work is advance

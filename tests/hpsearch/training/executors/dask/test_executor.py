"""A cluster on this machine: a worker that ends costs its own task only, and a scheduler that ends costs none."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from executor_cases import exception_of, needs_proc, result_of, run_order, wait_until

from hpsearch.errors import ClusterError
from hpsearch.training.executors import WorkerDied, open_cluster
from hpsearch.training.executors.dask import connection, remote, serving
from hpsearch.training.executors.dask.address import ClusterAddress
from hpsearch.training.executors.dask.executor import Dask
from hpsearch.training.task import TrialResult


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Any]:
    """Yield a function that starts a cluster."""
    with ExitStack() as stack:

        def start(workers: int) -> Dask:
            executor = Dask(ClusterAddress(None, workers), str(tmp_path / "scratch"), run_order)
            stack.callback(executor.close)
            return executor

        yield start


def pid_of(executor: Dask, name: str) -> int:
    assert executor._local is not None
    return int(executor._local._processes[name].pid)


def test_death_costs_one_task(cluster: Any) -> None:
    """Tasks that are queued beside it have their outcomes, and the worker is replaced."""
    executor = cluster(2)
    futures = [executor.submit(order) for order in (("give", 1), ("exit", 3), *(("give", n) for n in range(2, 7)))]
    assert [result_of(futures[n]) for n in (0, 2, 3, 4, 5, 6)] == [1, 2, 3, 4, 5, 6]
    error = exception_of(futures[1])
    assert type(error) is WorkerDied and str(error).startswith("worker tcp://127.0.0.1:")
    assert exception_of(executor.submit(("kill", 9))).__class__ is WorkerDied
    assert result_of(executor.submit(("give", 7))) == 7 and executor.notes() == []


def test_messages_are_sent_soon(cluster: Any) -> None:
    """The next task does not wait for the 10 ms for which Dask collects messages; the library has not renamed it."""
    executor = cluster(1)
    assert result_of(executor.submit(("give", 1))) == 1
    assert executor._serving._client.scheduler_comm.interval == connection.SEND_INTERVAL < 0.01


@needs_proc
def test_scheduler_killed(cluster: Any, tmp_path: Path) -> None:
    """Its tasks are sent again, which no trial is blamed for."""
    executor, go = cluster(2), tmp_path / "go"
    futures = [executor.submit(("wait for", tmp_path / f"begun{n}", go)) for n in range(2)]
    wait_until(lambda: all((tmp_path / f"begun{n}").exists() for n in range(2)))
    queued = executor.submit(("give", 5))
    os.kill(pid_of(executor, "scheduler"), signal.SIGKILL)
    go.touch()
    assert result_of(queued) == 5 and all(isinstance(result_of(future), int) for future in futures)
    assert [note.partition("; ")[0] for note in executor.notes()] == [
        "cluster: the scheduler does not answer",
        "cluster: the scheduler answers again",
    ]


def test_closed(cluster: Any, tmp_path: Path) -> None:
    """Pending futures have an exception, and processes and threads have ended."""
    executor = cluster(1)
    before, queued = executor.submit(("wait for", tmp_path / "begun", tmp_path / "never")), executor.submit(("give", 1))
    wait_until((tmp_path / "begun").exists)
    executor.close()
    assert all(isinstance(exception_of(future), BrokenExecutor) for future in (before, queued))
    with pytest.raises(BrokenExecutor, match="is closed"):
        executor.submit(("give", 1))
    assert not executor._thread.is_alive()


def test_cancelled(cluster: Any, tmp_path: Path) -> None:
    executor, log, go = cluster(1), tmp_path / "log", tmp_path / "go"
    first = executor.submit(("wait for", tmp_path / "begun", go))
    wait_until((tmp_path / "begun").exists)
    second, third = [executor.submit(("log", log, letter)) for letter in "ab"]
    assert second.cancel() and not first.cancel()
    go.touch()
    assert exception_of(third) is None and log.read_text() == "b"


def test_workers_that_cannot_start(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpsearch.training.executors.dask import local

    monkeypatch.setattr(local, "_worker_main", os._exit)
    executor = cluster(1)
    future = executor.submit(("give", 1))
    assert type(exception_of(future)) is BrokenExecutor
    assert str(exception_of(future)) == "local:1: workers end when they start, 3 times in a row"


def test_another_version(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its workers are not used, and the study ends with the reason when it stays so."""
    describe = remote.describe
    monkeypatch.setattr(remote, "describe", Described(describe()._replace(hpsearch="9.9")))
    monkeypatch.setattr(serving, "CLUSTER_PATIENCE", 1.0)
    executor = cluster(1)
    future = executor.submit(("give", 1))
    assert str(exception_of(future)).startswith("local:1: no worker that can be used has joined for")
    (note,) = executor.notes()
    assert note.startswith("cluster: worker tcp://127.0.0.1:") and "this machine 9.9; install there: pip" in note


class Described:
    """Describes the coordinator, but on a worker the worker."""

    def __init__(self, machine: remote.Machine) -> None:
        self._machine = machine

    def __call__(self) -> remote.Machine:
        return self._machine

    def __reduce__(self) -> Any:
        return getattr, (remote, "describe")


def test_another_blas_kernel(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It trains, the user is told, and its trials say so."""
    monkeypatch.setattr(remote, "describe", Described(remote.describe()._replace(kernels=("openblas Made-up",))))
    executor = cluster(2)
    result = TrialResult(0, "running", None, 1, 0, {}, checkpoint=b"state")
    (recorded,) = result_of(executor.submit(("give", (result,))))
    (note,) = executor.notes()
    assert note.endswith(f": {recorded.machine}: the last bits of results may differ")
    assert recorded.machine.startswith("BLAS is ") and recorded.machine.endswith(", on this machine openblas Made-up")
    assert recorded == result._replace(machine=recorded.machine)


def test_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.5)
    before = threading.active_count()
    with pytest.raises(ClusterError, match=r"^tcp://127\.0\.0\.1:1: the scheduler does not answer: the connection is"):
        open_cluster(ClusterAddress.parse("tcp://127.0.0.1:1"), "", run_order)
    assert threading.active_count() <= before + 1


def test_dask_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"pip install 'hpsearch\[cluster\]'"):
        open_cluster(ClusterAddress(None, 1), "")

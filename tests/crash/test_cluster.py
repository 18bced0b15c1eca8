"""Studies on Dask clusters, of this machine's processes and of Dask's own commands: the table is always the same.

Workers and schedulers are killed, join late and come back while a study runs.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cases
import pytest
from clusters import Commands

from hpsearch.config.spec import Spec
from hpsearch.core.version import __version__
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.errors import ClusterError, Halted
from hpsearch.study.stages import training
from hpsearch.training.executors import Executor, Inline, open_cluster
from hpsearch.training.executors.dask.address import Certificates, ClusterAddress
from hpsearch.training.executors.dask.executor import Dask
from hpsearch.training.scheduler import TaskScheduler
from hpsearch.training.task import Outcome, Task, TrialTask
from hpsearch.training.trial import advance

pytestmark = [pytest.mark.crash, pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")]
DIGITS: dict[str, Any] = {"data": {"source": "sklearn", "name": "digits"}}


@pytest.fixture(scope="module")
def spec() -> Spec:
    """Return a study with pruning, a confirming stage and an ensemble."""
    return cases.small(**cases.FULL, **DIGITS)


@pytest.fixture(scope="module")
def dataset(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare(spec.data, spec.seed, tmp_path_factory.mktemp("data"))[0]


@pytest.fixture(scope="module")
def table(spec: Spec, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
    database = tmp_path_factory.mktemp("reference") / "small.db"
    cases.run(spec, dataset, database, Inline())
    return cases.table(database)


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Callable[..., Commands]]:
    with contextlib.ExitStack() as stack:

        def start(*options: str) -> Commands:
            folder = tmp_path / "cluster"
            folder.mkdir()
            cluster = Commands(folder, *options)
            stack.callback(cluster.close)
            return cluster

        yield start


@contextlib.contextmanager
def connected(address: ClusterAddress, folder: Path, **others: Any) -> Iterator[Any]:
    executor = open_cluster(address, str(folder), **others)
    try:
        yield executor
    finally:
        executor.close()


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_same_table(spec: Spec, dataset: Dataset, table: str, tmp_path: Path, workers: int) -> None:
    with connected(ClusterAddress(None, workers), tmp_path) as executor:
        cases.run(spec, dataset, tmp_path / "small.db", executor)
    assert cases.table(tmp_path / "small.db") == table


def test_everything_happens(
    spec: Spec,
    dataset: Dataset,
    table: str,
    tmp_path: Path,
    commands: Callable[..., Commands],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Workers are killed, a worker joins late, and the scheduler is killed and started again, in the middle."""
    monkeypatch.setattr(training, "TIME_SLICE", 0.0)  # a task after every epoch
    cluster = commands()
    cluster.add_worker("--nthreads", "1")
    events = [cluster.kill_worker, lambda: cluster.add_worker("--nthreads", "2"), cluster.restart, cluster.kill_worker]
    due = iter(enumerate(events, 1))
    following: Any = next(due)
    with connected(ClusterAddress.parse(cluster.address), tmp_path) as executor:
        counted = Counted(executor)

        def stop() -> bool:
            nonlocal following
            if following is not None and counted.ended > 25 * following[0]:
                following[1]()
                following = next(due, None)
            return False

        cases.run(spec, dataset, tmp_path / "small.db", counted, stop=stop)
        assert following is None, "the study ended before everything had happened"
        assert executor.workers >= 2 and any("answers again" in note for note in counted.seen)
    assert cases.table(tmp_path / "small.db") == table


class Counted:
    """Counts the tasks of an executor that have ended."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.ended = 0
        self.seen: list[str] = []

    @property
    def workers(self) -> int:
        return self._executor.workers

    def submit(self, task: Task) -> Any:
        future = self._executor.submit(task)
        future.add_done_callback(self._count)
        return future

    def notes(self) -> list[str]:
        notes = self._executor.notes()
        self.seen += notes
        return notes

    def close(self) -> None:
        self._executor.close()

    def _count(self, _: object) -> None:
        self.ended += 1


LETHAL = 3


def killed_by_one_trial(task: Task) -> Outcome:
    """Train, but end the process of the worker with trial 3."""
    if any(trial.number == LETHAL for trial in task.trials):
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    return advance(task)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_trial_that_kills_its_worker(
    spec: Spec, dataset: Dataset, tmp_path: Path, commands: Callable[..., Commands], threads: int
) -> None:
    """It fails after three times, and no other trial does, not even one in another thread of the same worker."""
    cluster = commands()
    cluster.add_worker("--nthreads", str(threads))
    point = {"learning_rate": 0.01, "beta": 0.9, "hidden_units": 8, "batch_size": 16, "l2": 1e-4}
    with connected(ClusterAddress.parse(cluster.address), tmp_path, run_task=killed_by_one_trial) as executor:
        scheduler = TaskScheduler(executor)
        scheduler.add(0, [Task(spec, dataset, (TrialTask(n, point, n),), spec.train.epochs) for n in range(8)])
        results = {}
        while len(results) < 8:
            scheduler.dispatch()
            outcomes, error = scheduler.collect(0.2)
            assert error is None
            results |= {result.number: result for outcome in outcomes for result in outcome}
    assert results[LETHAL].state == "failed"
    assert (results[LETHAL].error or "").startswith("its worker process ended 3 times: worker tcp://127.0.0.1:")
    assert {result.state for number, result in results.items() if number != LETHAL} == {"complete"}


def test_a_worker_without_hpsearch(
    spec: Spec, dataset: Dataset, table: str, tmp_path: Path, commands: Callable[..., Commands]
) -> None:
    """It is not used, and stays in the cluster; the user is told once."""
    cluster = commands()
    cluster.add_worker_without_hpsearch()
    with connected(ClusterAddress.parse(cluster.address), tmp_path) as executor:
        counted = Counted(executor)
        started = False

        def stop() -> bool:
            nonlocal started
            if counted.seen and not started:
                started = True
                cluster.add_worker("--nthreads", "1")
            return False

        cases.run(spec, dataset, tmp_path / "small.db", counted, stop=stop)
        (note,) = (note for note in counted.seen if "is not used" in note)
        wanted = f"pip install 'hpsearch[cluster]=={__version__}'"
        assert note.endswith(f"it has no hpsearch, or another version; install there: {wanted}")
    assert cases.table(tmp_path / "small.db") == table


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Certificates]:
    """Return the certificates of two authorities."""
    from distributed.security import Security

    made = {}
    for name in ("ours", "theirs"):
        security, folder = Security.temporary(), tmp_path_factory.mktemp(name)
        texts = (security.tls_ca_file, security.tls_client_cert, security.tls_client_key)
        for file, text in zip(("ca", "cert", "key"), texts, strict=True):
            (folder / f"{file}.pem").write_text(text)
        made[name] = Certificates(*(folder / f"{file}.pem" for file in ("ca", "cert", "key")))
    return made


def test_tls(
    spec: Spec,
    dataset: Dataset,
    table: str,
    tmp_path: Path,
    commands: Callable[..., Commands],
    certificates: dict[str, Certificates],
) -> None:
    """A study with encrypted connections; certificates of another authority are refused in one line."""
    ours = certificates["ours"]
    options = (("--tls-ca-file", ours.ca), ("--tls-cert", ours.cert), ("--tls-key", ours.key))
    cluster = commands(*(str(part) for option in options for part in option))
    cluster.add_worker("--nthreads", "1")
    with connected(ClusterAddress.parse(cluster.address, ours), tmp_path) as executor:
        cases.run(spec, dataset, tmp_path / "small.db", executor)
    assert cases.table(tmp_path / "small.db") == table
    for wrong in (certificates["theirs"], Certificates(ca=ours.ca)):
        with pytest.raises(ClusterError) as caught:
            Dask(ClusterAddress.parse(cluster.address, wrong), str(tmp_path))
        assert str(caught.value).startswith(f"{cluster.address}: ") and "\n" not in str(caught.value)


def test_the_cluster_stays_away(
    spec: Spec, dataset: Dataset, table: str, tmp_path: Path, commands: Callable[..., Commands], monkeypatch: Any
) -> None:
    """The study ends with a reason, and is resumed elsewhere."""
    from hpsearch.training.executors.dask import connection
    from hpsearch.training.executors.dask import executor as dask_executor

    monkeypatch.setattr(dask_executor, "CLUSTER_PATIENCE", 2.0)
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 1.0)
    cluster = commands()
    cluster.add_worker("--nthreads", "1")
    with connected(ClusterAddress.parse(cluster.address), tmp_path) as executor:
        counted = Counted(executor)

        def stop() -> bool:
            if counted.ended > 4 and cluster.scheduler.poll() is None:
                cluster.scheduler.kill()
                cluster.scheduler.wait()
            return False

        with pytest.raises(Halted, match="the scheduler has not answered for"):
            cases.run(spec, dataset, tmp_path / "small.db", counted, stop=stop)
    cases.run(spec, dataset, tmp_path / "small.db", Inline())
    assert cases.table(tmp_path / "small.db") == table

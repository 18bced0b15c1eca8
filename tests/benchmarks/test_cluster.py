"""The cost of a Dask cluster, and how many workers one coordinator keeps busy. Trials wait in place of training.

python -m pytest -n 0 -m bench -s tests/benchmarks/test_cluster.py
"""

import heapq
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import cases
import pytest
from clusters import Commands
from simulated_task import simulated

from hpsearch.data.dataset import Dataset, prepare
from hpsearch.training.executors import Executor, Inline, open_cluster
from hpsearch.training.executors.dask.address import ClusterAddress
from hpsearch.training.task import Task, TrialTask

pytestmark = pytest.mark.bench
MAX_OVERHEAD, MIN_BUSY = 0.015, 0.9  # seconds a group; share of the time
FIXED: dict[str, Any] = {"parameters.hidden_units": 8, "train.early_stopping": None, "train.epochs": 20}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    spec = cases.small(**FIXED)
    return prepare(spec.data, spec.seed, tmp_path_factory.mktemp("data"))[0]


def search(trials: int, sampler: str, parallel: int) -> Any:
    stage = {"name": "search", "trials": trials, "sampler": sampler}
    return cases.small(**FIXED, stages=[stage], parallel=parallel)


@contextmanager
def connected(address: ClusterAddress, folder: Path) -> Iterator[Executor]:
    executor = open_cluster(address, str(folder), simulated)
    try:
        yield executor
    finally:
        executor.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_overhead(dataset: Dataset, tmp_path: Path, workers: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Time from one trivial task to the next, with a task in flight for each worker."""
    spec = cases.small(**FIXED)
    point = {"learning_rate": 0.01, "beta": 0.9, "hidden_units": 8, "batch_size": 16, "l2": 1e-4}
    alone, wall, cpu = list[float](), list[float](), list[float]()
    with connected(ClusterAddress(None, workers), tmp_path) as executor:
        tasks = [Task(spec, dataset, (TrialTask(n, point, n),), spec.train.epochs) for n in range(100)]
        for _ in range(6):  # the first one also starts the workers and sends the rows
            start, used = time.perf_counter(), time.process_time()
            for future in [executor.submit(task) for task in tasks]:
                future.result()
            wall.append((time.perf_counter() - start) / len(tasks))
            cpu.append((time.process_time() - used) / len(tasks))
            start = time.perf_counter()
            for task in tasks:
                simulated(task)
            alone.append((time.perf_counter() - start) / len(tasks))
    overhead = [a - b for a, b in zip(wall[1:], alone[1:], strict=True)]
    with capsys.disabled():
        text = f"local:{workers}: {median(overhead) * 1e3:.1f} ms a task (least {min(overhead) * 1e3:.1f}; goal 15)"
        print(f"\n{text}, {median(cpu[1:]) * 1e3:.1f} ms of it CPU of the coordinator; load {os.getloadavg()[0]:.1f}")
    assert min(overhead) <= MAX_OVERHEAD


class Measured(NamedTuple):
    """A study, measured.

    Attributes:
        busy: share of the time from the first to the last trial in which workers train.
        steady: the same without the first and last tenth of the trials, at least one for each worker.
        cpu: seconds of CPU of the coordinator for a trial.
        scheduler: seconds of CPU of Dask's scheduler for a trial.
    """

    busy: float
    steady: float
    cpu: float
    scheduler: float


def measure(dataset: Dataset, cluster: Commands, folder: Path, spec: Any, workers: int) -> Measured:
    """Run a study on a cluster."""
    seconds, trials = float(os.environ["TRIAL_SECONDS"]), spec.stages[0].trials
    with connected(ClusterAddress.parse(cluster.address), folder) as executor:
        while executor.workers < workers:
            time.sleep(0.1)
        warm = [executor.submit(task) for task in warm_up(spec, dataset, workers)]
        for future in warm:
            future.result()
        start, used, theirs = time.time(), time.process_time(), cpu_of(cluster.scheduler.pid)
        study = cases.run(spec, dataset, folder / "small.db", executor)
        used, theirs = time.process_time() - used, cpu_of(cluster.scheduler.pid) - theirs
    ends = sorted(trial.finished for trial in study.trials[0])
    edge = max(trials // 10, workers)
    steady = (trials - 2 * edge) * seconds / workers / (ends[-edge - 1] - ends[edge - 1])
    return Measured(trials * seconds / workers / (ends[-1] - start), steady, used / trials, theirs / trials)


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def share_busy(workers: int, seconds: list[float], cost: float) -> float:
    """Return the share of the time in which workers train, if one coordinator takes `cost` seconds for each trial.

    A worker that has trained waits until the coordinator has dealt with all trials before it and with its own.
    """
    draw = random.Random(1)
    ends = [draw.choice(seconds) for _ in range(workers)]
    heapq.heapify(ends)
    trained, free = sum(ends), 0.0
    for _ in range(100 * workers):
        free = max(free, heapq.heappop(ends)) + cost
        trained += (following := draw.choice(seconds))
        heapq.heappush(ends, free + following)
    return (trained - sum(max(0.0, end - free) for end in ends)) / (workers * free)


def warm_up(spec: Any, dataset: Dataset, workers: int) -> list[Task]:
    """Return a task for each worker, with which it receives the rows."""
    point = {"learning_rate": 0.01, "beta": 0.9, "hidden_units": 8, "batch_size": 16, "l2": 1e-4}
    return [Task(spec, dataset, (TrialTask(n, point, n),), spec.train.epochs) for n in range(workers)]


@pytest.mark.parametrize(
    ("sampler", "workers", "processes", "seconds", "trials", "goal"),
    [
        ("random", 64, 1, 1, 1280, MIN_BUSY),
        ("random", 64, 4, 1, 1280, MIN_BUSY),
        ("random", 512, 4, 8, 2048, 0.8),
        ("tpe", 64, 1, 1, 640, 0.0),
        ("tpe", 64, 1, 4, 640, MIN_BUSY),
    ],
)
def test_busy_workers(
    dataset: Dataset,
    tmp_path: Path,
    sampler: str,
    workers: int,
    processes: int,
    seconds: int,
    trials: int,
    goal: float,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Workers are threads of Dask's own worker processes, with trials of some seconds, through the whole loop."""
    monkeypatch.setenv("TRIAL_SECONDS", str(seconds))
    folder = tmp_path / "cluster"
    folder.mkdir()
    cluster = Commands(folder)
    try:
        for _ in range(processes):
            cluster.add_worker("--nthreads", str(workers // processes), "--memory-limit", "0")
        measured = measure(dataset, cluster, tmp_path, search(trials, sampler, 2 * workers), workers)
    finally:
        cluster.close()
    with capsys.disabled():
        print(
            f"\n{sampler}, trials of {seconds} s, {workers} workers in {processes} processes: {measured.busy:.1%} busy,"
            f" {measured.steady:.1%} without the start and the end (goal {goal:.0%}); CPU for a trial:"
            f" coordinator {measured.cpu * 1e3:.1f} ms, Dask's scheduler {measured.scheduler * 1e3:.1f} ms;"
            f" load {os.getloadavg()[0]:.1f}"
        )
    assert measured.steady >= goal


def test_saturation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Simulated, with the training times of trials of digits, which early stopping makes unequal."""
    changes = {"data": {"source": "sklearn", "name": "digits"}, "train.epochs": 30}
    spec = cases.small(**changes, stages=[{"name": "search", "trials": 100, "sampler": "random"}])
    dataset = prepare(spec.data, spec.seed, tmp_path)[0]
    trained = cases.run(spec, dataset, tmp_path / "small.db", Inline()).trials[0]
    scale = len(trained) / sum(trial.seconds for trial in trained)
    seconds = [trial.seconds * scale for trial in trained]  # their mean is 1
    shares = {}
    for used in (0.5, 0.7, 0.8, 0.9, 1.0, 1.5):  # trials that the workers want, of those that the coordinator can do
        shares[used] = share_busy(int(used * 100), seconds, 0.01)
    with capsys.disabled():
        print(f"\ntrials take {min(seconds):.2f} to {max(seconds):.2f} of their mean; busy workers, simulated, when")
        print("\n".join(f"they need {used:.0%} of the coordinator: {share:.1%}" for used, share in shares.items()))
    assert shares[0.8] >= MIN_BUSY > shares[1.5]

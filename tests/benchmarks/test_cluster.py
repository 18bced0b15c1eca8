"""What a Dask cluster costs, and how many workers one coordinator keeps busy. Trials wait in place of training.

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
WORKERS = 64
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
        steady: the same between the first and the last tenth of the trials.
        cpu: seconds of CPU of the coordinator for a trial.
    """

    busy: float
    steady: float
    cpu: float


def measure(dataset: Dataset, cluster: Commands, folder: Path, trials: int, sampler: str) -> Measured:
    """Run a study with trials of one second on a cluster."""
    seconds = float(os.environ["TRIAL_SECONDS"])
    with connected(ClusterAddress.parse(cluster.address), folder) as executor:
        while executor.workers < WORKERS:
            time.sleep(0.1)
        spec = search(trials, sampler, WORKERS)
        warm = [executor.submit(task) for task in warm_up(spec, dataset)]
        for future in warm:
            future.result()
        start, used = time.time(), time.process_time()
        study = cases.run(spec, dataset, folder / f"{sampler}.db", executor)
        used = time.process_time() - used
    ends = sorted(trial.finished for trial in study.trials[0])
    tenth = trials // 10
    steady = (trials - 2 * tenth) * seconds / WORKERS / (ends[-tenth] - ends[tenth])
    return Measured(trials * seconds / WORKERS / (ends[-1] - start), steady, used / trials)


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


def warm_up(spec: Any, dataset: Dataset) -> list[Task]:
    """Return a task for each worker, with which it receives the rows."""
    point = {"learning_rate": 0.01, "beta": 0.9, "hidden_units": 8, "batch_size": 16, "l2": 1e-4}
    return [Task(spec, dataset, (TrialTask(n, point, n),), spec.train.epochs) for n in range(WORKERS)]


@pytest.mark.parametrize(("sampler", "processes"), [("random", 1), ("random", 4), ("tpe", 1)])
def test_busy_workers(
    dataset: Dataset,
    tmp_path: Path,
    sampler: str,
    processes: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """64 workers, threads of Dask's own worker processes, with trials of one second, through the whole loop."""
    monkeypatch.setenv("TRIAL_SECONDS", "1")
    folder = tmp_path / "cluster"
    folder.mkdir()
    cluster = Commands(folder)
    try:
        for _ in range(processes):
            cluster.add_worker("--nthreads", str(WORKERS // processes), "--memory-limit", "0")
        measured = measure(dataset, cluster, tmp_path, 1280 if sampler == "random" else 640, sampler)
    finally:
        cluster.close()
    with capsys.disabled():
        print(
            f"\n{sampler}, {WORKERS} workers in {processes} processes: {measured.busy:.1%} busy,"
            f" {measured.steady:.1%} without the first and last tenth of the trials (goal 90 % for random),"
            f" {measured.cpu * 1e3:.1f} ms of the coordinator's CPU for a trial; load {os.getloadavg()[0]:.1f}"
        )
    if sampler == "random":
        assert measured.steady >= MIN_BUSY


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

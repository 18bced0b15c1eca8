"""Fixtures of the executor tests."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from executor_cases import EPOCHS, OpenExecutor, spec_of, without_seconds

from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.training.executors import EXECUTORS, Executor, Inline
from hpsearch.training.task import Task, TrialResult, TrialTask


@pytest.fixture
def open_executor(tmp_path: Path) -> Iterator[OpenExecutor]:
    """Yield a function that opens executors; close them at the end."""
    with contextlib.ExitStack() as stack:

        def make(name: str, workers: int, *work: Any) -> Executor:
            executor = EXECUTORS[name](workers, str(tmp_path / "scratch"), *work)
            stack.callback(executor.close)
            return executor

        yield make


@pytest.fixture(scope="module")
def spec() -> Spec:
    return spec_of(EPOCHS)


@pytest.fixture(scope="module")
def dataset(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare(spec.data, spec.seed, tmp_path_factory.mktemp("data"))[0]


@pytest.fixture(scope="module")
def tasks(spec: Spec, dataset: Dataset) -> list[Task]:
    """Return tasks with 32 different results; each takes about 0.1 s."""
    point = {"learning_rate": 0.01, "beta": 0.9, "hidden_units": 8, "batch_size": 16, "l2": 1e-4}
    return [
        Task(spec, dataset, (TrialTask(n, point, n), TrialTask(n + 100, point, n + 100)), EPOCHS) for n in range(16)
    ]


@pytest.fixture(scope="module")
def expected(tasks: list[Task]) -> list[list[TrialResult]]:
    executor = Inline()
    found = [without_seconds(executor.submit(t).result()) for t in tasks]
    assert len({tuple(r.history["train/loss"]) for outcome in found for r in outcome}) == 2 * len(tasks)
    assert {r.state for outcome in found for r in outcome} == {"complete"}
    return found

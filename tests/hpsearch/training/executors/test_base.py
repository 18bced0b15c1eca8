"""The executor contract, for every executor in the registry."""

from pathlib import Path

import pytest
from executor_cases import (
    OpenExecutor,
    exception_of,
    result_of,
    run_order,
    without_seconds,
)

from hpsearch.config.spec import Spec
from hpsearch.data.dataset import prepare
from hpsearch.training.executors import EXECUTORS
from hpsearch.training.task import Task, TrialResult, TrialTask


@pytest.mark.parametrize("name", EXECUTORS)
def test_outcomes(open_executor: OpenExecutor, tasks: list[Task], expected: list[list[TrialResult]], name: str) -> None:
    executor = open_executor(name, 2)
    assert executor.workers == 2
    futures = [executor.submit(t) for t in tasks[:6]]
    assert [without_seconds(result_of(f)) for f in futures] == expected[:6]


@pytest.mark.parametrize("name", EXECUTORS)
def test_order_of_submission(open_executor: OpenExecutor, tmp_path: Path, name: str) -> None:
    executor, log = open_executor(name, 1, run_order), tmp_path / "log"
    futures = [executor.submit(("log", log, letter)) for letter in "executor"]
    assert [exception_of(f) for f in futures] == [None] * 8 and log.read_text() == "executor"


@pytest.mark.parametrize("name", EXECUTORS)
def test_exceptions_pass_through(open_executor: OpenExecutor, name: str) -> None:
    """Exceptions keep type and attributes, and the worker continues."""
    executor = open_executor(name, 1, run_order)
    error = exception_of(executor.submit(("raise", FileNotFoundError(2, "no such file", "rows.npy"))))
    assert type(error) is FileNotFoundError and (error.errno, error.filename) == (2, "rows.npy")
    assert str(exception_of(executor.submit(("raise", MemoryError("much"))))) == "much"
    assert result_of(executor.submit(("give", 5))) == 5


@pytest.mark.parametrize("name", EXECUTORS)
def test_rows_that_cannot_be_read(open_executor: OpenExecutor, spec: Spec, tmp_path: Path, name: str) -> None:
    """`advance` raises OSError, which is no trial's fault."""
    data = prepare(spec.data, spec.seed, tmp_path)[0]
    point = {"learning_rate": 0.01, "beta": 0.9, "hidden_units": 8, "batch_size": 16, "l2": 1e-4}
    for path in tmp_path.rglob("*.np*"):
        path.unlink()
    executor = open_executor(name, 1)
    assert isinstance(exception_of(executor.submit(Task(spec, data, (TrialTask(0, point, 0),), 1))), OSError)


@pytest.mark.parametrize("name", EXECUTORS)
def test_one_thread(open_executor: OpenExecutor, name: str) -> None:
    assert set(result_of(open_executor(name, 1, run_order).submit(("threads",)))) == {1}


@pytest.mark.parametrize("name", EXECUTORS)
def test_closing_twice(open_executor: OpenExecutor, name: str) -> None:
    executor = open_executor(name, 1, run_order)
    executor.close()
    executor.close()

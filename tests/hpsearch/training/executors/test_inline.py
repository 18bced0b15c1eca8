"""Training in this process."""

from concurrent.futures import Future
from typing import Any

import pytest

from hpsearch.training.executors import Inline
from hpsearch.training.trial import advance


def test_tasks_are_trained_by_advance() -> None:
    assert Inline().run_task is advance


def test_submit_runs_the_task() -> None:
    """The future is done on return, also when the task raises."""

    def run_task(task: Any) -> Any:
        if task == "raise":
            raise ValueError(task)
        return task

    future: Future[Any] = Inline(run_task=run_task).submit("give")  # type: ignore[arg-type]
    assert future.done() and future.result() == "give"
    future = Inline(run_task=run_task).submit("raise")  # type: ignore[arg-type]
    assert future.done() and isinstance(future.exception(), ValueError)


def test_interrupts_are_raised() -> None:
    """Ctrl-C in the task reaches the caller."""

    def run_task(task: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Inline(run_task=run_task).submit("give")  # type: ignore[arg-type]

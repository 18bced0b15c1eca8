"""The dispatcher: outcomes of tasks, and failures of the executor as exceptions of the study."""

from concurrent.futures import BrokenExecutor, Future
from typing import Any

import pytest

from hpsearch.errors import Halted, Interrupted
from hpsearch.study.dispatcher import Dispatcher
from hpsearch.training.task import Outcome, Task, TrialResult, TrialTask


class ImmediateExecutor:
    """An executor whose tasks are done when they are submitted; with `broken` it has no workers."""

    workers = 1

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken
        self.submitted: list[int] = []  # numbers of the first trials

    def submit(self, task: Task) -> "Future[Outcome]":
        if self.broken:
            raise BrokenExecutor("workers cannot be started")
        self.submitted.append(task.trials[0].number)
        future: Future[Outcome] = Future()
        future.set_result(tuple(TrialResult(t.number, "complete", 0.5, task.epochs, 1, {}) for t in task.trials))
        return future

    def notes(self) -> list[str]:
        return []

    def close(self) -> None:
        return


def task_of(*numbers: int) -> Task:
    spec: Any = None  # the dispatcher does not read it
    return Task(spec, spec, tuple(TrialTask(n, {}, n) for n in numbers), 4)


def test_tasks_and_outcomes() -> None:
    """Tasks of the lowest priority number start first; trials are in flight until their outcome is collected."""
    executor = ImmediateExecutor()
    dispatcher = Dispatcher(executor, lambda: False)
    dispatcher.queue(1, [task_of(7)])
    dispatcher.queue(0, [task_of(1, 2)])
    assert executor.submitted == []
    dispatcher.submit()
    assert executor.submitted == [1, 7]
    assert [dispatcher.in_flight(n) for n in (1, 2, 7, 8)] == [True, True, True, False]
    outcomes, error = dispatcher.collect(1.0)
    assert sorted(r.number for outcome in outcomes for r in outcome) == [1, 2, 7] and error is None
    assert not any(dispatcher.in_flight(n) for n in (1, 2, 7))


def test_stop_prevents_submission() -> None:
    executor = ImmediateExecutor()
    dispatcher = Dispatcher(executor, lambda: True)
    dispatcher.queue(0, [task_of(1)])
    with pytest.raises(Interrupted):
        dispatcher.submit()
    with pytest.raises(Interrupted):
        dispatcher.check_stop()
    assert executor.submitted == [] and dispatcher.in_flight(1)


def test_a_broken_executor_halts_the_study() -> None:
    dispatcher = Dispatcher(ImmediateExecutor(broken=True), lambda: False)
    dispatcher.queue(0, [task_of(1)])
    with pytest.raises(Halted, match=r"^workers cannot be started$"):
        dispatcher.submit()


def test_a_broken_executor_of_a_stopped_study_is_an_interruption() -> None:
    """A signal that stops the study also stops its workers, possibly after `stop` was checked."""
    answers = iter([False, True])
    dispatcher = Dispatcher(ImmediateExecutor(broken=True), lambda: next(answers))
    dispatcher.queue(0, [task_of(1)])
    with pytest.raises(Interrupted):
        dispatcher.submit()

"""The executor protocol: where tasks run. An executor only maps `advance` over tasks."""

from concurrent.futures import Future
from typing import Protocol

from hpsearch.training.task import Outcome, Task


class WorkerDied(Exception):
    """The worker that ran a task ended without returning an outcome; no other task is affected.

    The message says how it ended: "killed by signal 9 (SIGKILL)" or "exit code 3".
    """


class WorkerKilled(WorkerDied):
    """The worker was ended by SIGKILL, which no process sends to itself: by the system when memory ran out, or by hand.

    So the task is not to blame.
    """


class LimitExceeded(Exception):
    """Raised for a task whose worker was ended because a trial exceeded `train.timeout` or `train.memory`."""


class Executor(Protocol):
    """Runs tasks and returns outcomes, in any order."""

    @property
    def workers(self) -> int:
        """The number of tasks that run at the same time."""
        ...

    def submit(self, task: Task) -> Future[Outcome]:
        """Queue a task. Tasks start in the order of submission, each as soon as a worker is free.

        The future holds the outcome, or the exception that `advance` raised (a `RuntimeError` with its first line if
        it cannot be pickled), `WorkerDied`, `LimitExceeded`, `ResourceExhausted` if the machine has not enough memory
        for the task, or `BrokenExecutor` if workers cannot be started or the executor is closed first. Callbacks of the
        future may run in a thread of the executor; they must be short and must not close it.

        Raises:
            concurrent.futures.BrokenExecutor: workers cannot be started, or the executor is closed.
        """
        ...

    def notes(self) -> list[str]:
        """Return messages for the user that were not returned before."""
        ...

    def close(self) -> None:
        """End the workers at once, without waiting for tasks; pending futures get `BrokenExecutor`."""
        ...

"""Where trials train. An executor only maps `advance` over tasks."""

from concurrent.futures import Future
from typing import Protocol

from hpsearch.training.task import Outcome, Task


class WorkerDied(Exception):
    """The worker that trained a task is gone and gave nothing back; other tasks and later ones are not touched.

    Its text is how it ended: "killed by signal 9 (SIGKILL)", as when memory runs out, or "exit code 3".
    """


class Executor(Protocol):
    """Takes tasks, gives outcomes, in any order."""

    @property
    def workers(self) -> int:
        """How many tasks it can train at once."""
        ...

    def submit(self, task: Task) -> Future[Outcome]:
        """Starts a task as soon as a worker is free, in the order of submission.

        The future has the outcome, or what `advance` raised (`RuntimeError` with its first line where that cannot be
        sent), or `WorkerDied`, or `BrokenExecutor` as below. Its callbacks may run in a thread of the executor: they
        must be short, and must not close it.

        Raises:
            concurrent.futures.BrokenExecutor: workers cannot be started, or the executor is closed.
        """
        ...

    def close(self) -> None:
        """Ends the workers at once, whatever they do; futures that are not done get `BrokenExecutor`."""
        ...

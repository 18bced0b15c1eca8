"""Where trials train. An executor only maps `advance` over tasks."""

from concurrent.futures import Future
from typing import Protocol

from hpsearch.trial import Outcome, Task


class WorkerDied(Exception):
    """A worker gave nothing back for its task: killed, out of memory, or the rows could not be read."""


class Executor(Protocol):
    """Takes tasks, gives outcomes, in any order."""

    @property
    def workers(self) -> int:
        """How many tasks it can train at once."""
        ...

    def submit(self, task: Task) -> Future[Outcome]:
        """Starts a task as soon as a worker is free, in the order of submission.

        Raises:
            concurrent.futures.BrokenExecutor: from here or from the future, when a worker died.
        """
        ...

    def close(self) -> None:
        """Ends the workers at once, whatever they do; what they had not returned is lost."""
        ...

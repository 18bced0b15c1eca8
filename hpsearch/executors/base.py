"""Where trials train. An executor only maps `advance` over tasks."""

from concurrent.futures import Future
from typing import Protocol

from hpsearch.trial import Outcome, Task


class Executor(Protocol):
    """Takes tasks, gives outcomes, in any order."""

    @property
    def workers(self) -> int:
        """How many tasks it can train at once."""
        ...

    def submit(self, task: Task) -> Future[Outcome]:
        """Starts a task as soon as a worker is free, in the order of submission."""
        ...

    def close(self) -> None:
        """Ends the workers at once, whatever they do; what they had not returned is lost."""
        ...

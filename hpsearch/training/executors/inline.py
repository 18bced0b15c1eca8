"""Training in this process, when the task is submitted: for tests, debuggers and profilers."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import final

from threadpoolctl import threadpool_limits

from hpsearch.training.task import Outcome, Task
from hpsearch.training.trial import advance


@final
@dataclass(frozen=True)
class Inline:
    """One task after another."""

    workers: int = 1
    scratch: str = ""
    work: Callable[[Task], Outcome] = advance

    def submit(self, task: Task) -> Future[Outcome]:
        """Trains a task; what goes wrong is the future's exception."""
        future: Future[Outcome] = Future()
        try:
            with threadpool_limits(1):
                future.set_result(self.work(task))
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Does nothing: what was submitted is done."""

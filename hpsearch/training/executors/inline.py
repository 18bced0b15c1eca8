"""Training in this process while the task is submitted: for tests, debuggers and profilers."""

from concurrent.futures import Future
from dataclasses import dataclass
from typing import final

from threadpoolctl import threadpool_limits

from hpsearch.training.task import Outcome, Task, TaskFunction
from hpsearch.training.trial import advance


@final
@dataclass(frozen=True)
class Inline:
    """Runs one task after another, each within `submit`."""

    workers: int = 1
    scratch: str = ""
    run_task: TaskFunction = advance

    def submit(self, task: Task) -> Future[Outcome]:
        """Run a task; an exception becomes the future's exception."""
        future: Future[Outcome] = Future()
        try:
            with threadpool_limits(1):
                future.set_result(self.run_task(task))
        except Exception as error:
            future.set_exception(error)
        return future

    def notes(self) -> list[str]:
        """Return no messages."""
        return []

    def close(self) -> None:
        """Do nothing: all submitted tasks have ended."""

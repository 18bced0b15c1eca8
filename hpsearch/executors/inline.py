"""Training in this process, when the task is submitted: for tests, debuggers and profilers."""

from concurrent.futures import Future
from dataclasses import dataclass
from typing import final

from threadpoolctl import threadpool_limits

from hpsearch.trial import Outcome, Task, advance


@final
@dataclass(frozen=True)
class Inline:
    """One task after another."""

    workers: int = 1
    scratch: str = ""

    def submit(self, task: Task) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        with threadpool_limits(1):
            future.set_result(advance(task))
        return future

    def close(self) -> None:
        return

"""The dispatcher: passes tasks to the executor, collects outcomes, and raises the executor's failures."""

from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from typing import final

from hpsearch.errors import Halted, Interrupted
from hpsearch.training.executors.base import Executor
from hpsearch.training.scheduler import TaskScheduler
from hpsearch.training.task import Outcome, Task

COLLECT_TIMEOUT = 0.2  # seconds to wait for outcomes before `stop` is called again


@final
class Dispatcher:
    """Passes the tasks of one stage to the executor and collects their outcomes.

    Args:
        stop: called before tasks are submitted; when it returns True, `Interrupted` is raised.
    """

    def __init__(self, executor: Executor, stop: Callable[[], bool]) -> None:
        self._scheduler = TaskScheduler(executor)
        self._stop = stop

    def in_flight(self, number: int) -> bool:
        """Return whether a trial is queued or training."""
        return self._scheduler.in_flight(number)

    def queue(self, priority: int, tasks: Sequence[Task]) -> None:
        """Queue tasks; those with the lowest `priority` are submitted first."""
        self._scheduler.add(priority, tasks)

    def submit(self) -> None:
        """Submit queued tasks, as many as the workers need.

        Raises:
            Interrupted: `stop` returned True.
            Halted: the executor has no workers.
        """
        self.check_stop()
        try:
            self._scheduler.dispatch()
        except BrokenExecutor as error:
            raise self.halted(error) from None

    def collect(self, seconds: float) -> tuple[list[Outcome], BaseException | None]:
        """Wait up to `seconds` for outcomes; return them and the error that ends the study, if there is one."""
        return self._scheduler.collect(seconds)

    def check_stop(self) -> None:
        """Raise `Interrupted` if `stop` returns True."""
        if self._stop():
            raise Interrupted

    def halted(self, error: BaseException) -> BaseException:
        """Return the exception that ends the study; a signal to stop the study also ends its workers."""
        return Interrupted() if self._stop() else Halted(str(error))

"""Tasks on their way: what waits for a worker, what is being trained, what came of it, and who died of it."""

import dataclasses
import heapq
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import count
from typing import final

from hpsearch.training.executors import Executor, WorkerDied
from hpsearch.training.task import Outcome, Task, failed_result, resumed

AHEAD = 2  # tasks a worker is given before they are needed, so that it never waits
DEATHS = 3  # workers a trial may cost, without coming further, before it has failed


@final
class TaskScheduler:
    """The tasks of one stage. Those of an older wave go first; else they go as they came."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._queue: list[tuple[int, int, Task]] = []
        self._order = count()
        self._trains: dict[Future[Outcome], tuple[int, Task]] = {}
        self._in_flight: set[int] = set()
        self._deaths: Counter[int] = Counter()

    def in_flight(self, number: int) -> bool:
        """Whether a trial is on its way."""
        return number in self._in_flight

    def add(self, wave: int, tasks: Sequence[Task]) -> None:
        """Queues tasks; `feed` hands them out."""
        for task in tasks:
            self._in_flight |= {t.number for t in task.trials}
            heapq.heappush(self._queue, (wave, next(self._order), task))

    def dispatch(self) -> None:
        """Gives the workers what they need next.

        Raises:
            concurrent.futures.BrokenExecutor: there are none.
        """
        while self._queue and len(self._trains) < AHEAD * self._executor.workers:
            wave, _, task = heapq.heappop(self._queue)
            self._trains[self._executor.submit(task)] = wave, task

    def collect(self, seconds: float) -> tuple[list[Outcome], BaseException | None]:
        """What has come, within so many seconds: outcomes, and what ends the study, if anything does.

        A group that ran out of time before its rung is queued again from where it stands. When a worker died its trials
        are queued again alone, so that it shows whose fault it was; one that has cost too many has failed.
        """
        done, _ = wait(self._trains, timeout=seconds, return_when=FIRST_COMPLETED)
        found: list[Outcome] = []
        error: BaseException | None = None
        for future in done:
            wave, task = self._trains.pop(future)
            self._in_flight -= {t.number for t in task.trials}
            problem = future.exception()
            if isinstance(problem, WorkerDied):
                lost = self._died(wave, task, problem)
                found += [lost] if lost else []
            elif problem is not None:
                error = problem
            else:
                found.append(future.result())
                self._onwards(wave, task, found[-1])
        return found, error

    def _onwards(self, wave: int, task: Task, outcome: Outcome) -> None:
        stands = {r.number: r for r in outcome if r.state == "running" and r.epochs < task.epochs}
        for r in outcome:
            del self._deaths[r.number]
        trials = tuple(resumed(t, stands[t.number]) for t in task.trials if t.number in stands)
        self.add(wave, [dataclasses.replace(task, trials=trials)] if trials else [])

    def _died(self, wave: int, task: Task, problem: WorkerDied) -> Outcome:
        self._deaths.update(t.number for t in task.trials)
        lost = [t for t in task.trials if self._deaths[t.number] >= DEATHS]
        self.add(wave, [dataclasses.replace(task, trials=(t,)) for t in task.trials if t not in lost])
        return tuple(failed_result(t, f"its worker process ended {DEATHS} times: {problem}") for t in lost)

"""The task scheduler: queued tasks, tasks in flight, their outcomes, and retries after a worker has died."""

import dataclasses
import heapq
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import count
from typing import final

from hpsearch.training.executors.base import Executor, WorkerDied
from hpsearch.training.task import Outcome, Task, failed_result, resumed

PREFETCH = 2  # tasks in flight per worker, so that a worker has its next task when it finishes one
MAX_DEATHS = 3  # worker deaths without progress of a trial, after which the trial has failed


@final
class TaskScheduler:
    """The tasks of one stage. Tasks of earlier waves start first; tasks of one wave start in the order of `add`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._queue: list[tuple[int, int, Task]] = []  # a heap of (wave, order, task)
        self._order = count()
        self._submitted: dict[Future[Outcome], tuple[int, Task]] = {}
        self._in_flight: set[int] = set()  # numbers of trials, queued or submitted
        self._deaths: Counter[int] = Counter()  # trial number → deaths since its last progress

    def in_flight(self, number: int) -> bool:
        """Return whether a trial is queued or in training."""
        return number in self._in_flight

    def add(self, wave: int, tasks: Sequence[Task]) -> None:
        """Queue tasks; `dispatch` submits them."""
        for task in tasks:
            self._in_flight |= {t.number for t in task.trials}
            heapq.heappush(self._queue, (wave, next(self._order), task))

    def dispatch(self) -> None:
        """Submit queued tasks, as many as the workers need next.

        Raises:
            concurrent.futures.BrokenExecutor: the executor has no workers.
        """
        while self._queue and len(self._submitted) < PREFETCH * self._executor.workers:
            wave, _, task = heapq.heappop(self._queue)
            self._submitted[self._executor.submit(task)] = wave, task

    def collect(self, seconds: float) -> tuple[list[Outcome], BaseException | None]:
        """Wait at most `seconds` for tasks to end; return their outcomes, and an exception that must end the study.

        Trials that reached their time limit before their rung are queued again from their checkpoints. When a worker
        has died, the trials of its task are queued again one by one, which identifies the trial at fault. A trial whose
        workers have died `MAX_DEATHS` times without progress has failed.
        """
        done, _ = wait(self._submitted, timeout=seconds, return_when=FIRST_COMPLETED)
        outcomes: list[Outcome] = []
        error: BaseException | None = None
        for future in done:
            wave, task = self._submitted.pop(future)
            self._in_flight -= {t.number for t in task.trials}
            exception = future.exception()
            if isinstance(exception, WorkerDied):
                failed = self._retry(wave, task, exception)
                outcomes += [failed] if failed else []
            elif exception is not None:
                error = exception
            else:
                outcomes.append(future.result())
                self._resume(wave, task, outcomes[-1])
        return outcomes, error

    def _resume(self, wave: int, task: Task, outcome: Outcome) -> None:
        """Queue again the trials that have not reached the task's epoch."""
        unfinished = {r.number: r for r in outcome if r.state == "running" and r.epochs < task.epochs}
        for r in outcome:
            del self._deaths[r.number]
        trials = tuple(resumed(t, unfinished[t.number]) for t in task.trials if t.number in unfinished)
        self.add(wave, [dataclasses.replace(task, trials=trials)] if trials else [])

    def _retry(self, wave: int, task: Task, died: WorkerDied) -> Outcome:
        """Queue the trials of a dead worker again, each alone; return the results of those that have failed."""
        self._deaths.update(t.number for t in task.trials)
        failed = [t for t in task.trials if self._deaths[t.number] >= MAX_DEATHS]
        self.add(wave, [dataclasses.replace(task, trials=(t,)) for t in task.trials if t not in failed])
        return tuple(failed_result(t, f"its worker process ended {MAX_DEATHS} times: {died}") for t in failed)

"""The task scheduler: queued tasks, tasks in flight, their outcomes, and retries after a worker has died.

A worker that ends by itself counts against the trial that it trained. A shortage of the machine (memory, open files,
disk space) does not: it ends the study when it persists, and never becomes the outcome of a trial.
"""

import dataclasses
import heapq
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import count
from typing import final

from hpsearch.core.resources import ResourceExhausted, exhausted_resource
from hpsearch.training.executors.base import Executor, LimitExceeded, WorkerDied, WorkerKilled
from hpsearch.training.task import Outcome, Task, failed_result, resumed

PREFETCH = 2  # tasks in flight per worker, so that a worker has its next task when it finishes one
MAX_DEATHS = 3  # worker deaths without progress of a trial, after which the trial has failed
MAX_SHORTAGES = 3  # shortages without progress of a trial, after which the study ends
SHORTAGE_PAUSE = 0.5  # seconds without new tasks after a trial's first shortage; twice as long after the second
RETRY_PRIORITY = -1  # of trials that are trained again after a shortage: before all others


@final
class TaskScheduler:
    """The tasks of one stage. Those with the lowest `priority` start first, equal ones in the order of `add`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._queue: list[tuple[int, int, Task]] = []  # a heap of (priority, order, task)
        self._order = count()
        self._submitted: dict[Future[Outcome], tuple[int, Task]] = {}
        self._in_flight: set[int] = set()  # numbers of trials, queued or submitted
        self._deaths: Counter[int] = Counter()  # trial number → deaths since its last progress
        self._shortages: Counter[int] = Counter()  # trial number → shortages since its last progress
        self._pause_end = 0.0  # monotonic time

    def in_flight(self, number: int) -> bool:
        """Return whether a trial is queued or in training."""
        return number in self._in_flight

    def add(self, priority: int, tasks: Sequence[Task]) -> None:
        """Queue tasks; `dispatch` submits them."""
        for task in tasks:
            self._in_flight |= {t.number for t in task.trials}
            heapq.heappush(self._queue, (priority, next(self._order), task))

    def dispatch(self) -> None:
        """Submit queued tasks, as many as the workers need next.

        After a shortage one task runs at a time, so that it has the whole machine, until its trials have progressed.

        Raises:
            concurrent.futures.BrokenExecutor: the executor has no workers.
        """
        if time.monotonic() < self._pause_end:
            return
        most = 1 if self._shortages else PREFETCH * self._executor.workers
        while self._queue and len(self._submitted) < most:
            priority, _, task = heapq.heappop(self._queue)
            self._submitted[self._executor.submit(task)] = priority, task

    def collect(self, seconds: float) -> tuple[list[Outcome], BaseException | None]:
        """Wait at most `seconds` for tasks to end; return their outcomes, and an exception that must end the study.

        Trials that reached their time limit before their rung are queued again from their checkpoints. When a worker
        has died, the trials of its task are queued again one by one, which identifies the trial at fault. A trial whose
        workers have died `MAX_DEATHS` times without progress has failed. After a shortage the trials are queued again
        in the same way; after `MAX_SHORTAGES` of them, the exception is `ResourceExhausted`.
        """
        if not self._submitted:
            time.sleep(max(0.0, min(seconds, self._pause_end - time.monotonic())))
        done, _ = wait(self._submitted, timeout=seconds, return_when=FIRST_COMPLETED)
        outcomes: list[Outcome] = []
        error: BaseException | None = None
        for future in done:
            priority, task = self._submitted.pop(future)
            self._in_flight -= {t.number for t in task.trials}
            exception = future.exception()
            if (shortage := _shortage(exception)) is not None:
                error = self._wait_for_resources(task, shortage) or error
            elif isinstance(exception, WorkerDied):
                failed = self._retry(priority, task, exception)
                outcomes += [failed] if failed else []
            elif isinstance(exception, LimitExceeded) and len(task.trials) > 1:  # each alone, to find the one at fault
                self.add(priority, [dataclasses.replace(task, trials=(t,)) for t in task.trials])
            elif isinstance(exception, LimitExceeded):
                outcomes.append((failed_result(task.trials[0], str(exception)),))
            elif exception is not None:
                error = exception
            else:
                outcomes.append(future.result())
                self._resume(priority, task, outcomes[-1])
        return outcomes, error

    def _resume(self, priority: int, task: Task, outcome: Outcome) -> None:
        """Queue again the trials that have not reached the task's epoch."""
        unfinished = {r.number: r for r in outcome if r.state == "running" and r.epochs < task.epochs}
        for r in outcome:
            del self._deaths[r.number], self._shortages[r.number]
        trials = tuple(resumed(t, unfinished[t.number]) for t in task.trials if t.number in unfinished)
        self.add(priority, [dataclasses.replace(task, trials=trials)] if trials else [])

    def _retry(self, priority: int, task: Task, died: WorkerDied) -> Outcome:
        """Queue the trials of a dead worker again, each alone; return the results of those that have failed."""
        self._deaths.update(t.number for t in task.trials)
        failed = [t for t in task.trials if self._deaths[t.number] >= MAX_DEATHS]
        self.add(priority, [dataclasses.replace(task, trials=(t,)) for t in task.trials if t not in failed])
        for t in failed:
            del self._shortages[t.number]
        return tuple(failed_result(t, f"its worker process ended {MAX_DEATHS} times: {died}") for t in failed)

    def _wait_for_resources(self, task: Task, shortage: str) -> ResourceExhausted | None:
        """Queue the trials again, each alone, after a pause; return an exception when the shortage persists."""
        self._shortages.update(t.number for t in task.trials)
        self.add(RETRY_PRIORITY, [dataclasses.replace(task, trials=(t,)) for t in task.trials])
        count = max(self._shortages[t.number] for t in task.trials)
        self._pause_end = time.monotonic() + SHORTAGE_PAUSE * count
        return ResourceExhausted(f"{shortage}, {count} times in a row") if count >= MAX_SHORTAGES else None


def _shortage(error: BaseException | None) -> str | None:
    """Return which resource of the machine has run out, when an executor returns this exception."""
    if isinstance(error, WorkerKilled):
        return f"a worker process was {error}, as when memory runs out"
    return exhausted_resource(error)

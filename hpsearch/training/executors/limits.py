"""The limits of a task on time and memory, for executors that can end a worker."""

import math
import time
from typing import NamedTuple, final

from hpsearch.core.processes import memory_of
from hpsearch.core.text import format_bytes
from hpsearch.training.task import Task

WATCH_SECONDS = 0.2  # between two looks at the time and the memory of tasks that have limits
GRACE = 2.0  # seconds after a trial's time limit, which trials that reach their next step notice themselves


@final
class TaskLimits(NamedTuple):
    """Limits of a task that has begun.

    Attributes:
        end: monotonic time.
        timeout: as in the study file, in seconds.
        memory: bytes.
    """

    end: float
    timeout: float
    memory: float

    @classmethod
    def of(cls, task: object) -> "TaskLimits":
        """Return the limits of a task that begins now; none for one of another kind."""
        if not isinstance(task, Task):
            return NO_LIMITS
        timeout, memory = task.spec.train.timeout, task.spec.train.memory
        if timeout is None:
            return cls(math.inf, math.inf, memory or math.inf)
        left = sum(max(0.0, timeout - trial.seconds) for trial in task.trials)
        return cls(time.monotonic() + left + GRACE, timeout, memory or math.inf)

    def exceeded(self, pid: int) -> str | None:
        """Return which limit the task exceeds in a process, in one line; None if it exceeds none."""
        if time.monotonic() > self.end:
            return f"took longer than train.timeout, {self.timeout:g} s"
        if self.memory < math.inf and (used := memory_of(pid)) > self.memory:
            return f"used {format_bytes(used)} of memory, more than train.memory, {format_bytes(int(self.memory))}"
        return None


NO_LIMITS = TaskLimits(math.inf, math.inf, math.inf)

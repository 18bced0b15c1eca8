"""The workers of a cluster as the executor sees them."""

import asyncio
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import final

from hpsearch.training.task import Outcome, Task


@final
@dataclass(eq=False)
class QueuedTask:
    """A task, its future, and whether it must run on a worker of its own.

    Attributes:
        alone: it was on a worker that ended while other tasks ran there too, so that it is a suspect.
    """

    future: Future[Outcome]
    task: Task
    alone: bool = False


@final
@dataclass(eq=False)
class ClusterWorker:
    """A worker of the cluster.

    Attributes:
        address: Dask's address of the worker.
        threads: how many tasks it runs at the same time.
        ready: it was compared with this machine, and can train.
        difference: how it computes differently from this machine; None if it does not.
        running: the coroutines of its tasks.
        sent: the tasks that Dask has received for it.
        admission: its comparison with this machine.
        shipping: the transfer of the rows to it, which all its tasks wait for; None before the first task.
    """

    address: str
    threads: int
    ready: bool = False
    difference: str | None = None
    running: dict[QueuedTask, "asyncio.Task[None]"] = field(default_factory=dict)
    sent: set[QueuedTask] = field(default_factory=set)
    shipping: "asyncio.Task[None] | None" = None
    admission: "asyncio.Task[None] | None" = None

    def accepts(self, queued: QueuedTask) -> bool:
        """Return whether it can start a task now."""
        if not self.ready or any(other.alone for other in self.running):
            return False
        return not self.running if queued.alone else len(self.running) < self.threads

"""Which worker may start a task."""

import asyncio
from concurrent.futures import Future
from typing import Any

from hpsearch.training.executors.dask.workers import ClusterWorker, QueuedTask


def test_accepts() -> None:
    """A task for each thread; a suspect only on a worker that does nothing else."""
    task: Any = None
    worker, coroutine = ClusterWorker("tcp://a:1", 2), asyncio.Future[None](loop=asyncio.new_event_loop())
    running: Any = coroutine
    plain, suspect = QueuedTask(Future(), task), QueuedTask(Future(), task, alone=True)
    assert not worker.accepts(plain)
    worker.ready = True
    assert worker.accepts(plain) and worker.accepts(suspect)
    worker.running[plain] = running
    assert worker.accepts(QueuedTask(Future(), task)) and not worker.accepts(suspect)
    worker.running[QueuedTask(Future(), task)] = running
    assert not worker.accepts(plain)
    worker.running.clear()
    worker.running[suspect] = running
    assert not worker.accepts(plain)
    coroutine.get_loop().close()

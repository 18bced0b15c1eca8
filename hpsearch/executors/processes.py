"""Training in a pool of processes, one BLAS thread each: two are up to 3 times slower on small nets."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import final

from threadpoolctl import threadpool_limits

from hpsearch.trial import Outcome, Task, advance


@final
class Processes:
    """A pool of workers that end when their coordinator does, however it ends."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        if context.get_start_method() == "forkserver":
            context.set_forkserver_preload(["hpsearch.trial"])  # imported once, inherited by every worker
        self._pool = ProcessPoolExecutor(workers, context, _begin)

    def submit(self, task: Task) -> Future[Outcome]:
        return self._pool.submit(advance, task)

    def close(self) -> None:
        workers = list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in workers:
            process.terminate()
        for process in workers:
            process.join()


Broken = BrokenProcessPool


def _begin() -> None:
    """A worker's first call: Ctrl-C is the coordinator's business, and so is this process' life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

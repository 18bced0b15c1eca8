"""A Dask cluster on this machine: a scheduler and workers as child processes, restarted when they end.

`distributed.LocalCluster` imports the main script in each worker, so a script without an `if __name__ == "__main__"`
guard would start a study in each; and its workers stay away when its scheduler has ended.
"""

import asyncio
import contextlib
import time
from multiprocessing.connection import Connection
from typing import Any, final

from hpsearch.core.processes import init_worker, kill_process, process_context, starting_children
from hpsearch.errors import ClusterError

MAX_QUICK_ENDS = 3  # in a row
START_SECONDS = 60.0
QUICK_END = 5.0  # seconds; a process that ends sooner has failed to start


@final
class LocalCluster:
    """Processes of this machine, which `keep_running` starts and restarts.

    Args:
        workers: number of workers, each with one thread.
        scratch: a temporary folder that is removed with the coordinator.
    """

    def __init__(self, workers: int, scratch: str) -> None:
        self.workers = workers
        self.address = ""
        self._scratch = scratch
        self._processes: dict[str, Any] = {}  # name → process
        self._started: dict[str, float] = {}  # name → monotonic time
        self._failures = 0  # in a row
        self._tasks = 0

    async def start(self) -> str:
        """Start the cluster; return the address of its scheduler.

        Raises:
            OSError, EOFError: the processes cannot be started.
        """
        await self._start_scheduler("tcp://127.0.0.1:0")
        self.keep_running()
        return self.address

    async def restart(self) -> None:
        """Start the scheduler again at its address after its connection has ended; its workers are lost with it.

        Raises:
            OSError, EOFError: it cannot be started.
        """
        for process in self._processes.values():
            kill_process(process.pid)
            process.join()
        await self._start_scheduler(self.address)

    def keep_running(self, tasks: int = 0) -> None:
        """Start workers that do not run.

        Args:
            tasks: number of tasks that workers have received; one that ends after that did not fail to start.

        Raises:
            ClusterError: the workers end again and again when they start.
        """
        if tasks != self._tasks:
            self._failures, self._tasks = 0, tasks
        for number in range(self.workers):
            name = f"worker-{number}"
            process = self._processes.get(name)
            if process is not None and process.is_alive():
                continue
            if process is not None:
                quick = time.monotonic() - self._started[name] < QUICK_END
                self._failures = self._failures + 1 if quick else 0
                if self._failures >= MAX_QUICK_ENDS * self.workers:
                    raise ClusterError(f"workers end when they start, {self._failures} times in a row")
                process.close()
            self._start(name, _worker_main, self.address, name)

    def close(self) -> None:
        """End all processes."""
        for process in self._processes.values():
            with contextlib.suppress(ValueError):
                kill_process(process.pid)
        for process in self._processes.values():
            with contextlib.suppress(ValueError):
                process.join()
                process.close()

    async def _start_scheduler(self, address: str) -> None:
        context = process_context()
        reader, writer = context.Pipe(duplex=False)
        with reader, writer:
            self._start("scheduler", _scheduler_main, address, writer)
            deadline = time.monotonic() + START_SECONDS
            while not reader.poll():
                if not self._processes["scheduler"].is_alive() or time.monotonic() > deadline:
                    raise OSError("the scheduler of the local cluster has not started")
                await asyncio.sleep(0.01)
            self.address = reader.recv()

    def _start(self, name: str, target: Any, *arguments: object) -> None:
        process = process_context().Process(target=target, args=(self._scratch, *arguments), name=name, daemon=True)
        with starting_children():
            process.start()
        self._processes[name] = process
        self._started[name] = time.monotonic()


def _scheduler_main(scratch: str, address: str, ready: Connection) -> None:
    init_worker(scratch)
    asyncio.run(_run_scheduler(address, ready))


async def _run_scheduler(address: str, ready: Connection) -> None:
    from distributed import Scheduler

    _configure()
    host, _, port = address.rpartition("://")[2].rpartition(":")
    async with Scheduler(host=host, port=int(port), dashboard=False) as scheduler:
        ready.send(scheduler.address)
        ready.close()
        await scheduler.finished()


def _worker_main(scratch: str, address: str, name: str) -> None:
    init_worker(scratch)
    asyncio.run(_run_worker(scratch, address))


async def _run_worker(scratch: str, address: str) -> None:
    from distributed import Worker

    _configure()
    options: dict[str, Any] = {"local_directory": scratch, "memory_limit": 0, "dashboard": False}
    async with Worker(address, nthreads=1, host="127.0.0.1", death_timeout=START_SECONDS, **options) as worker:
        await worker.finished()


def _configure() -> None:
    """Set the defaults of processes that only train."""
    import logging

    import dask

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    dask.config.set({"distributed.worker.profile.enabled": False, "distributed.admin.log-format": "%(message)s"})

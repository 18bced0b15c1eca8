"""Training on a Dask cluster, which runs tasks and survives the loss of workers and of its scheduler.

Each task is sent to a worker that is free, one for each of its threads, so that nothing waits on a worker that ends:
only a task that was there counts as its cause. Dask is asked for no retries and holds no data; a task that is lost is
sent again under a new key. Workers are compared with this machine when they join, and receive the rows once, with
`Client.run`: every later worker of the cluster would set up a `WorkerPlugin`, and those without hpsearch would end.
"""

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import BrokenExecutor, Future
from typing import TYPE_CHECKING, final

from hpsearch.core.loggers import quiet_family
from hpsearch.core.text import first_line
from hpsearch.errors import ClusterError, HpsearchError
from hpsearch.training.executors.dask.address import ClusterAddress
from hpsearch.training.executors.dask.connection import connected_client
from hpsearch.training.executors.dask.local import LocalCluster
from hpsearch.training.executors.dask.serving import CLUSTER_PATIENCE, Serving
from hpsearch.training.executors.dask.workers import QueuedTask
from hpsearch.training.task import Outcome, Task, TaskFunction
from hpsearch.training.trial import advance

if TYPE_CHECKING:
    from distributed import Client

RETRY_DELAY = 1.0  # seconds between two attempts to connect


@final
class Dask:
    """A pool of the workers of a Dask cluster.

    Args:
        address: the cluster.
        scratch: a temporary folder that is removed with the coordinator.
        run_task: function that workers call with each task; must be importable by name.

    Raises:
        ClusterError: the scheduler does not answer, or refuses the connection.
    """

    def __init__(self, address: ClusterAddress, scratch: str, run_task: TaskFunction = advance) -> None:
        self._address = address
        self._run_task = run_task
        self._local = LocalCluster(address.local, scratch) if address.scheduler is None else None
        self._queue: deque[QueuedTask] = deque()  # changed in the loop only
        self._serving: Serving | None = None
        self._notes: deque[str] = deque()
        self._noted: set[str] = set()
        self._closed: str | None = None  # why no more tasks are accepted
        self._lock = threading.Lock()  # guards `_closed` against `submit`
        self._loop = asyncio.new_event_loop()
        self._wake = asyncio.Event()
        connected: Future[None] = Future()
        self._main = self._loop.create_task(self._serve(connected))
        self._thread = threading.Thread(target=self._run, args=(connected,), name="executor", daemon=True)
        self._thread.start()
        try:
            connected.result()
        except BaseException:
            self.close()
            raise

    @property
    def workers(self) -> int:
        """The number of threads of all workers that can train now, at least 1."""
        serving, local = self._serving, 0 if self._local is None else self._local.workers
        return max(1, local or (0 if serving is None else serving.threads))

    def submit(self, task: Task) -> Future[Outcome]:
        """Queue a task, as described in `Executor.submit`. Futures are set in a thread of the executor.

        Raises:
            BrokenExecutor: the cluster cannot be used any more, or the executor is closed.
        """
        queued = QueuedTask(Future(), task)
        with self._lock:
            if self._closed is not None:
                raise BrokenExecutor(self._closed)
            self._loop.call_soon_threadsafe(self._enqueue, queued)
        return queued.future

    def notes(self) -> list[str]:
        """Return new messages for the user: of workers that cannot train, or a scheduler that does not answer."""
        return [self._notes.popleft() for _ in range(len(self._notes))]

    def close(self) -> None:
        """End the executor at once; a task that runs on another machine runs to its time limit, and is ignored."""
        with self._lock:
            self._closed = self._closed or "the executor is closed"
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._main.cancel)
        self._thread.join()

    # What follows runs in the thread of the executor.

    def _run(self, connected: "Future[None]") -> None:
        reason = "the executor is closed"
        try:
            import distributed  # noqa: F401  # its loggers exist now; the notes say what they would

            with quiet_family("distributed"):
                self._loop.run_until_complete(self._main)
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # a defect must not leave futures pending forever
            reason = str(error) if isinstance(error, HpsearchError) else f"{self._name}: {first_line(error)}"
            if not connected.done():
                connected.set_exception(error)
        finally:
            if self._local is not None:
                self._local.close()
            with self._lock:
                self._closed = self._closed or reason
                self._loop.run_until_complete(asyncio.sleep(0))  # runs what `submit` has added
                self._loop.close()
            for queued in self._queue:
                if not queued.future.done():
                    queued.future.set_exception(BrokenExecutor(self._closed))

    async def _serve(self, connected: "Future[None]") -> None:
        """Serve the cluster until this is canceled; connect again when the scheduler was lost.

        Raises:
            ClusterError: the scheduler does not answer, or the cluster has no worker that can be used.
        """
        lost = 0.0  # monotonic time
        while not self._is_closed():
            try:
                client = await self._connect()
            except (OSError, EOFError) as error:
                waited = f"has not answered for {CLUSTER_PATIENCE / 60:.0f} minutes" if lost else "does not answer"
                if not connected.done() or time.monotonic() - lost > CLUSTER_PATIENCE:
                    raise ClusterError(f"{self._name}: the scheduler {waited}: {error}") from None
                await asyncio.sleep(RETRY_DELAY)
                continue
            if not connected.done():
                connected.set_result(None)
            if lost:
                self._note("the scheduler answers again", repeated=True)
            self._serving = Serving(client, self._queue, self._wake, self._note, self._run_task)
            try:
                await self._serving.run(self._is_closed, self._keep_running)
            except ClusterError as error:
                raise ClusterError(f"{self._name}: {error}") from None
            finally:
                self._serving = None
            lost = time.monotonic()
            self._note("the scheduler does not answer; tasks are sent again when it does", repeated=True)

    async def _connect(self) -> "Client":
        certificates = self._address.certificates
        if self._local is None:
            assert self._address.scheduler is not None
            return await connected_client(self._address.scheduler, certificates)
        if self._local.address:
            await self._local.restart()
        else:
            await self._local.start()
        return await connected_client(self._local.address, certificates)

    def _is_closed(self) -> bool:
        return self._closed is not None

    def _keep_running(self, tasks: int) -> None:
        if self._local is not None:
            self._local.keep_running(tasks)

    def _enqueue(self, queued: QueuedTask) -> None:
        self._queue.append(queued)
        self._wake.set()

    def _note(self, text: str, *, repeated: bool = False) -> None:
        """Add a message for the user; an equal one is not added again unless it is `repeated`."""
        if repeated or text not in self._noted:
            self._noted.add(text)
            self._notes.append(f"cluster: {text}")

    @property
    def _name(self) -> str:
        return self._address.scheduler or f"local:{self._address.local}"

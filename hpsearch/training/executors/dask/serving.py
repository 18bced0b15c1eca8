"""One connection to a scheduler: its workers, the tasks that run there, and what happens when a worker is lost."""

import asyncio
import contextlib
import re
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any, final

from hpsearch.core.text import first_line
from hpsearch.core.version import __version__
from hpsearch.errors import ClusterError
from hpsearch.training.executors.answers import outcome_of
from hpsearch.training.executors.base import WorkerDied
from hpsearch.training.executors.dask import remote
from hpsearch.training.executors.dask.connection import close, version_note
from hpsearch.training.executors.dask.rows import RowFiles, RowsUnreadable, WorkerDiskError
from hpsearch.training.executors.dask.workers import ClusterWorker, QueuedTask
from hpsearch.training.task import NO_CODE, Outcome, Task, TaskFunction

if TYPE_CHECKING:
    from distributed import Client

POLL = 0.25  # seconds between two looks at which workers there are
CLUSTER_PATIENCE = 600.0  # seconds without a scheduler or a usable worker after which the study ends
SILENCE = 30.0  # seconds without an answer after which the scheduler counts as lost
NOTE_DELAY = 5.0  # seconds without a usable worker after which the user is told


@final
class Serving:
    """Runs queued tasks on the workers of one scheduler. All methods run in the loop of its client.

    Args:
        queue: the tasks to run, which `run` takes from its left end.
        wake: set when there is something to do before the next look at the workers.
        note: called with messages for the user.
        run_task: function that workers call with each task.
    """

    def __init__(
        self,
        client: "Client",
        queue: "deque[QueuedTask]",
        wake: asyncio.Event,
        note: Callable[[str], None],
        run_task: TaskFunction,
    ) -> None:
        self._client = client
        self._queue = queue
        self._wake = wake
        self._note = note
        self._run_task = run_task
        self._machine = remote.describe()
        self._workers: dict[str, ClusterWorker] = {}  # by address
        self._refused: set[str] = set()  # addresses of workers that cannot train
        self._rows: RowFiles | None = None
        self._tasks = 0  # sent so far
        self._usable = time.monotonic()  # when a worker could last be used

    @property
    def threads(self) -> int:
        """The number of threads of all workers that can train."""
        return sum(worker.threads for worker in list(self._workers.values()) if worker.ready)

    async def run(self, closed: Callable[[], bool], keep_running: Callable[[int], None]) -> None:
        """Run tasks until the scheduler is lost; queue unfinished tasks again then, and when this is canceled.

        Args:
            closed: returns whether the executor is closed, because Python may lose a cancellation.
            keep_running: called often, with the number of tasks that workers have received; starts the workers of a
                local cluster that have ended.

        Raises:
            ClusterError: no worker that can be used has joined for `CLUSTER_PATIENCE`, or workers cannot be started.
        """
        try:
            if note := await version_note(self._client):
                self._note(note)
            while self._client.status == "running" and not closed():
                keep_running(self._tasks)
                await self._update()
                self._assign()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), POLL)
                self._wake.clear()
        except OSError:  # the connection has ended, or there was no answer
            pass
        finally:
            for worker in list(self._workers.values()):
                self._forget(worker)
            await close(self._client)

    async def _update(self) -> None:
        """Take note of the workers that have joined and left."""
        threads = await asyncio.wait_for(self._client.nthreads(), SILENCE)
        for address in self._workers.keys() - threads.keys():
            await self._lose(self._workers.pop(address))
        for address in self._refused - threads.keys():
            self._refused.discard(address)
        for address in threads.keys() - self._workers.keys() - self._refused:
            worker = self._workers[address] = ClusterWorker(address, threads[address])
            worker.admission = asyncio.create_task(self._admit(worker))
        if any(worker.ready for worker in self._workers.values()):
            self._usable = time.monotonic()
        elif time.monotonic() - self._usable > CLUSTER_PATIENCE:
            raise ClusterError(f"no worker that can be used has joined for {CLUSTER_PATIENCE / 60:.0f} minutes")
        elif time.monotonic() - self._usable > NOTE_DELAY and self._queue:
            self._note("no worker that can be used has joined yet; waiting")

    async def _admit(self, worker: ClusterWorker) -> None:
        """Compare a worker with this machine, and use it if it can train."""
        try:
            machine = await _call(self._client, worker)(remote.describe)
        except Exception as error:
            if worker.address in self._workers:
                self._refuse(worker, _refusal(error))
            return
        if reason := self._machine.refusal(machine):
            self._refuse(worker, reason)
            return
        worker.difference = self._machine.difference(machine)
        if worker.difference is not None:
            self._note(f"worker on {machine.host}: {worker.difference}: the last bits of results may differ")
        worker.ready = True
        self._wake.set()

    def _refuse(self, worker: ClusterWorker, reason: str) -> None:
        """Do without a worker."""
        self._note(f"worker {worker.address} is not used: it {reason}")
        if self._workers.pop(worker.address, None) is not None:
            self._refused.add(worker.address)
            self._forget(worker)

    def _assign(self) -> None:
        """Send queued tasks to free workers."""
        while self._queue:
            free = [worker for worker in self._workers.values() if worker.accepts(self._queue[0])]
            if not free:
                return
            queued, worker = self._queue.popleft(), min(free, key=lambda m: len(m.running))
            if queued.future.running() or queued.future.set_running_or_notify_cancel():
                worker.running[queued] = asyncio.create_task(self._perform(worker, queued))

    async def _perform(self, worker: ClusterWorker, queued: QueuedTask) -> None:
        """Run a task on a worker, and set its future; an outcome that is lost is not an outcome."""
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        try:
            remote_task = await self._job(worker, queued.task)
            content = await self._result(worker, queued, remote_task)
        except (FutureCancelledError, KilledWorker):
            return  # the worker or the scheduler is gone, which `_update` or `run` finds out
        except (OSError, remote.RowsMissing):  # the connection has ended; a worker that is still there is sent the rows
            self._forget(worker)
        except WorkerDiskError as error:
            self._refuse(worker, f"cannot store the rows: {error}")
        except RowsUnreadable as error:
            self._leave(worker, queued)
            queued.future.set_exception(error.__cause__)
        except Exception as error:
            self._leave(worker, queued)
            queued.future.set_exception(_explained(error))
        else:
            self._leave(worker, queued)
            try:
                queued.future.set_result(_recorded(outcome_of(content), worker.difference))
            except Exception as error:
                queued.future.set_exception(error)

    async def _job(self, worker: ClusterWorker, task: Task) -> remote.RemoteTask:
        """Return a task for a worker that has its rows."""
        dataset = getattr(task, "dataset", None)
        if dataset is not None:
            if self._rows is None:
                self._rows = RowFiles.of(dataset, getattr(task, "code", NO_CODE))
            if worker.shipping is None:
                worker.shipping = asyncio.create_task(self._rows.send(_call(self._client, worker)))
            await asyncio.shield(worker.shipping)
        content = bytes(ForkingPickler.dumps((self._run_task, task)))
        return remote.RemoteTask(content, "" if self._rows is None or dataset is None else self._rows.digest)

    async def _result(self, worker: ClusterWorker, queued: QueuedTask, remote_task: remote.RemoteTask) -> bytes:
        import dask

        options: dict[str, Any] = {"pure": False, "workers": [worker.address], "allow_other_workers": False}
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):  # a checkpoint may be large
            future = self._client.submit(
                remote.run_remote, remote_task, key=f"hpsearch-{uuid.uuid4().hex}", retries=0, **options
            )
        worker.sent.add(queued)
        self._tasks += 1
        try:
            return await future  # type: ignore[no-any-return]
        finally:
            future.release()

    async def _lose(self, worker: ClusterWorker) -> None:
        """Handle the end of a worker: the task that ran there alone is its cause; several are tried one by one."""
        expected = await _left_by_itself(self._client, worker.address)
        running, sent = list(worker.running), set(worker.sent)
        for task in worker.running.values():
            task.cancel()
        worker.running.clear()
        for queued in reversed(running):
            if expected or queued not in sent:
                self._requeue(queued)
            elif len(running) > 1:
                queued.alone = True
                self._requeue(queued)
            else:
                queued.future.set_exception(WorkerDied(f"worker {worker.address} has ended"))

    def _forget(self, worker: ClusterWorker) -> None:
        """Send the tasks of a worker again, which is not their fault."""
        self._workers.pop(worker.address, None)
        for task in worker.running.values():
            task.cancel()
        for queued in reversed(list(worker.running)):
            self._requeue(queued)
        worker.running.clear()

    def _leave(self, worker: ClusterWorker, queued: QueuedTask) -> None:
        worker.running.pop(queued, None)
        worker.sent.discard(queued)
        self._wake.set()

    def _requeue(self, queued: QueuedTask) -> None:
        self._queue.appendleft(queued)
        self._wake.set()


def _call(client: "Client", worker: ClusterWorker) -> Callable[..., Awaitable[Any]]:
    """Return a function that calls another one on a worker, and raises its exception."""

    async def call(function: Callable[..., Any], *args: Any) -> Any:
        answers = await client.run(function, *args, workers=[worker.address])
        return answers[worker.address]

    return call


async def _left_by_itself(client: "Client", address: str) -> bool:
    """Return whether a worker has left in good order, as when it is told to close."""
    with contextlib.suppress(Exception):
        events = await client.get_events(address)
        last = [event for _, event in events if event.get("action") == "remove-worker"][-1]
        return bool(last.get("expected"))
    return False


def _recorded(outcome: Outcome, difference: str | None) -> Outcome:
    """Return an outcome that says how the machine that trained it computes differently."""
    return outcome if difference is None else tuple(result._replace(machine=difference) for result in outcome)


def _explained(error: Exception) -> Exception:
    """Return what a user can do about an error of Dask's scheduler, which reads tasks too; other errors as they are."""
    if "deserialization of the task graph" not in str(error):
        return error
    wanted = f"pip install 'hpsearch[cluster]=={__version__}'"
    return ClusterError(f"cluster: the scheduler cannot read tasks; install on its machine what workers have: {wanted}")


def _refusal(error: Exception) -> str:
    """Return why a worker that cannot be asked is not used; Dask sends a failed import as text."""
    if missing := re.search(r"No module named '(\w+)", first_line(error)):
        return f"has no {missing[1]}, or another version; install there: pip install 'hpsearch[cluster]=={__version__}'"
    return f"does not answer: {first_line(error)}"

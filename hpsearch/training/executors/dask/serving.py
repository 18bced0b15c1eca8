"""One connection to a scheduler: its workers, the tasks that run there, and what happens when a worker is lost."""

import asyncio
import contextlib
import pickle
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, final

from hpsearch.core.text import first_line
from hpsearch.errors import ClusterError
from hpsearch.training.executors.answers import outcome_of
from hpsearch.training.executors.base import WorkerDied
from hpsearch.training.executors.dask import remote
from hpsearch.training.executors.dask.connection import version_note
from hpsearch.training.executors.dask.members import Member, QueuedTask
from hpsearch.training.executors.dask.rows import RowFiles, RowsUnreadable, WorkerDiskError
from hpsearch.training.task import Task, TaskFunction

if TYPE_CHECKING:
    from distributed import Client

POLL = 0.25  # seconds between two looks at which workers there are
PATIENCE = 600.0  # seconds without a scheduler or a usable worker after which the study ends
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
        self._members: dict[str, Member] = {}  # by address
        self._refused: set[str] = set()  # addresses of workers that cannot train
        self._rows: RowFiles | None = None
        self._usable = time.monotonic()  # when a worker could last be used

    @property
    def threads(self) -> int:
        """The number of threads of all workers that can train."""
        return sum(member.threads for member in list(self._members.values()) if member.ready)

    async def run(self, closed: Callable[[], bool], keep_running: Callable[[], None]) -> None:
        """Run tasks until the scheduler is lost; queue unfinished tasks again then, and when this is canceled.

        Args:
            closed: returns whether the executor is closed, because Python may lose a cancellation.
            keep_running: called often; starts the workers of a local cluster that have ended.

        Raises:
            ClusterError: no worker that can be used has joined for `PATIENCE`, or workers cannot be started.
        """
        try:
            if note := await version_note(self._client):
                self._note(note)
            while self._client.status == "running" and not closed():
                keep_running()
                await self._update()
                self._assign()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), POLL)
                self._wake.clear()
        except OSError:  # the connection has ended, or there was no answer
            pass
        finally:
            for member in list(self._members.values()):
                self._forget(member)
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._client._close(fast=True), 5)

    async def _update(self) -> None:
        """Take note of the workers that have joined and left."""
        threads = await asyncio.wait_for(self._client.nthreads(), SILENCE)
        for address in self._members.keys() - threads.keys():
            await self._lose(self._members.pop(address))
        for address in self._refused - threads.keys():
            self._refused.discard(address)
        for address in threads.keys() - self._members.keys() - self._refused:
            member = self._members[address] = Member(address, threads[address])
            member.admission = asyncio.create_task(self._admit(member))
        if any(member.ready for member in self._members.values()):
            self._usable = time.monotonic()
        elif time.monotonic() - self._usable > PATIENCE:
            raise ClusterError(f"no worker that can be used has joined for {PATIENCE / 60:.0f} minutes")
        elif time.monotonic() - self._usable > NOTE_DELAY and self._queue:
            self._note("no worker that can be used has joined yet; waiting")

    async def _admit(self, member: Member) -> None:
        """Compare a worker with this machine, and use it if it can train."""
        try:
            machine = await _call(self._client, member)(remote.describe)
        except Exception as error:
            if member.address in self._members:
                self._refuse(member, _refusal(error))
            return
        if reason := self._machine.refusal(machine):
            self._refuse(member, reason)
            return
        if difference := self._machine.difference(machine):
            self._note(f"worker on {machine.host}: {difference}: the last bits of results may differ")
        member.ready = True
        self._wake.set()

    def _refuse(self, member: Member, reason: str) -> None:
        """Do without a worker."""
        self._note(f"worker {member.address} is not used: it {reason}")
        if self._members.pop(member.address, None) is not None:
            self._refused.add(member.address)
            self._forget(member)

    def _assign(self) -> None:
        """Send queued tasks to free workers."""
        while self._queue:
            free = [member for member in self._members.values() if member.accepts(self._queue[0])]
            if not free:
                return
            queued, member = self._queue.popleft(), min(free, key=lambda m: len(m.running))
            if queued.future.running() or queued.future.set_running_or_notify_cancel():
                member.running[queued] = asyncio.create_task(self._perform(member, queued))

    async def _perform(self, member: Member, queued: QueuedTask) -> None:
        """Run a task on a worker, and set its future; an outcome that is lost is not an outcome."""
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        try:
            job = await self._job(member, queued.task)
            content = await self._result(member, queued, job)
        except (FutureCancelledError, KilledWorker):
            return  # the worker or the scheduler is gone, which `_update` or `run` finds out
        except (OSError, remote.RowsMissing):  # the connection has ended; a worker that is still there is sent the rows
            self._forget(member)
        except WorkerDiskError as error:
            self._refuse(member, f"cannot store the rows: {error}")
        except RowsUnreadable as error:
            self._leave(member, queued)
            queued.future.set_exception(error.__cause__)
        except Exception as error:
            self._leave(member, queued)
            queued.future.set_exception(error)
        else:
            self._leave(member, queued)
            try:
                queued.future.set_result(outcome_of(content))
            except Exception as error:
                queued.future.set_exception(error)

    async def _job(self, member: Member, task: Task) -> remote.Job:
        """Return a task for a worker that has its rows."""
        dataset = getattr(task, "dataset", None)
        if dataset is not None:
            if self._rows is None:
                self._rows = RowFiles.of(dataset)
            if member.shipping is None:
                member.shipping = asyncio.create_task(self._rows.send(_call(self._client, member)))
            await asyncio.shield(member.shipping)
        content = pickle.dumps((self._run_task, task), pickle.HIGHEST_PROTOCOL)
        return remote.Job(content, "" if self._rows is None or dataset is None else self._rows.digest)

    async def _result(self, member: Member, queued: QueuedTask, job: remote.Job) -> bytes:
        import dask

        options: dict[str, Any] = {"pure": False, "workers": [member.address], "allow_other_workers": False}
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):  # a checkpoint may be large
            future = self._client.submit(remote.run_job, job, key=f"hpsearch-{uuid.uuid4().hex}", retries=0, **options)
        member.sent.add(queued)
        try:
            return await future  # type: ignore[no-any-return]
        finally:
            future.release()

    async def _lose(self, member: Member) -> None:
        """Handle the end of a worker: the task that ran there alone is its cause; several are tried one by one."""
        expected = await _left_by_itself(self._client, member.address)
        running, sent = list(member.running), set(member.sent)
        for task in member.running.values():
            task.cancel()
        member.running.clear()
        for queued in reversed(running):
            if expected or queued not in sent:
                self._requeue(queued)
            elif len(running) > 1:
                queued.alone = True
                self._requeue(queued)
            else:
                queued.future.set_exception(WorkerDied(f"worker {member.address} has ended"))

    def _forget(self, member: Member) -> None:
        """Send the tasks of a worker again, which is not their fault."""
        self._members.pop(member.address, None)
        for task in member.running.values():
            task.cancel()
        for queued in reversed(list(member.running)):
            self._requeue(queued)
        member.running.clear()

    def _leave(self, member: Member, queued: QueuedTask) -> None:
        member.running.pop(queued, None)
        member.sent.discard(queued)
        self._wake.set()

    def _requeue(self, queued: QueuedTask) -> None:
        self._queue.appendleft(queued)
        self._wake.set()


def _call(client: "Client", member: Member) -> Callable[..., Awaitable[Any]]:
    """Return a function that calls another one on a worker, and raises its exception."""

    async def call(function: Callable[..., Any], *args: Any) -> Any:
        answers = await client.run(function, *args, workers=[member.address])
        return answers[member.address]

    return call


async def _left_by_itself(client: "Client", address: str) -> bool:
    """Return whether a worker has left in good order, as when it is told to close."""
    with contextlib.suppress(Exception):
        events = await client.get_events(address)
        last = [event for _, event in events if event.get("action") == "remove-worker"][-1]
        return bool(last.get("expected"))
    return False


def _refusal(error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"has no {error.name or 'hpsearch'}; install there: pip install 'hpsearch[cluster]'"
    return f"does not answer: {first_line(error)}"

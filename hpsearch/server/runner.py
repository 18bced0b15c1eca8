"""Runs the queue: each study is a child process, `hpsearch run`, in a process group of its own.

A child ends with the server, even if the server is killed, and has stored all that is finished. Studies that ran then
are queued again when the server is back. If a child has survived, its lease shows it: it is left to finish, and then
its study is run once more, which finds nothing to do.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from typing import NamedTuple, final

from hpsearch.admin.supervisor import ManagedProcess, error_line, exit_code, managed_process
from hpsearch.core.resources import limit_memory
from hpsearch.core.text import printable
from hpsearch.errors import HpsearchError, ServerError
from hpsearch.server.archive import finish_archiving
from hpsearch.server.places import Places
from hpsearch.server.queue import Queue, Submission
from hpsearch.storage.lease import RUN_ELSEWHERE, Holder
from hpsearch.storage.study_db import read

INTERVAL = 0.1  # seconds between two looks at the children
MAX_ATTEMPTS = 20  # early ends of a study's process, after which it waits for a user
DISK_SECONDS, DISK_SHARE = 5.0, 0.05  # between two looks at the disk, at least; part of the time that they may take
STOP_SECONDS = 15.0  # for all children to end when the server ends
USER_ERROR, HALTED = 2, 1  # exit codes of `hpsearch run` that have a reason


class Share(NamedTuple):
    """How many studies run at once, and with what.

    Attributes:
        jobs: studies at once.
        workers: worker processes of each.
        cluster: address of a Dask cluster that trains in their place; None without one.
        tracking: MLflow tracking URI.
        memory: bytes that each process of a study may allocate; None for no limit.
    """

    jobs: int
    workers: int
    cluster: str | None
    tracking: str
    memory: int | None = None


class _Child(NamedTuple):
    process: ManagedProcess
    end: ExitStack  # ends all its processes


@final
class Runner:
    """Starts studies and follows them, in a thread of its own between `start` and `stop`."""

    def __init__(self, queue: Queue, places: Places, share: Share) -> None:
        self._queue = queue
        self._places = places
        self._share = share
        self._children: dict[str, _Child] = {}
        self._survivors: set[str] = set()  # ids of studies that a child of an earlier server still runs
        self._changed = threading.Event()
        self._cancelling: set[str] = set()
        self._version = -1  # of the queue, when this was read
        self._stopping = False
        self._next_look = 0.0  # at the disk, as monotonic time
        self._is_full = False
        self._thread = threading.Thread(target=self._run, name="runner", daemon=True)
        self.failure: str | None = None  # why nothing is run any more

    def start(self) -> None:
        """Take over the studies of an earlier server, and begin to run the queue."""
        finish_archiving(self._queue, self._places)
        for id in self._queue.held():
            self._places.delete_study(id)
            self._queue.delete(id)
        for submission in self._queue.listed("running"):
            if self._holder(submission.id) is None:
                self._queue.leave(submission.id, "queued")
            else:
                self._survivors.add(submission.id)
        self._thread.start()

    def stop(self) -> None:
        """End all children, whose studies are queued again."""
        self._stopping = True
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def wake(self) -> None:
        """Look at the queue now."""
        self._changed.set()

    def cancel(self, id: str) -> Submission:
        """Cancel a study that is queued or runs; what is trained is kept.

        A server that is killed now knows it when it is back.

        Raises:
            ServerError: it has ended.
        """
        submission = self._queue.cancel(id)
        self.wake()
        return submission

    def resume(self, id: str) -> Submission:
        """Queue a study again that has ended.

        Raises:
            ServerError: it is queued or runs.
        """
        again = ("failed", "cancelled", "interrupted", "done")
        submission = self._queue.change(id, "queued", *again, error=None, ended=None, attempts=0)
        self.wake()
        return submission

    # What follows runs in the thread.

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._step()
                self._changed.wait(INTERVAL)
                self._changed.clear()
        except Exception as error:  # told by /healthz; the children end with the server
            self.failure = printable(str(error))
            raise
        finally:
            for id in list(self._children):
                self._end(id)
                with contextlib.suppress(HpsearchError):
                    self._queue.leave(id, "queued")

    def _step(self) -> None:
        if time.monotonic() >= self._next_look:
            self._look_at_disk()
        if self._version != self._queue.version:  # a write, as of a user who cancels
            self._version = self._queue.version
            self._cancelling = {s.id for s in self._queue.listed("running") if s.cancelling}
        for id, child in list(self._children.items()):
            if id in self._cancelling:
                self._end(id)
                self._queue.leave(id, "queued", ended=time.time())
            elif child.process.ended(0):
                self._finish(id, child)
        for id in list(self._survivors):
            self._follow_survivor(id)
        while len(self._children) + len(self._survivors) < self._share.jobs and not self._is_full:
            if not self._start_next():
                break

    def _look_at_disk(self) -> None:
        """Interrupt the largest study that runs if the disk quota is used up; then none starts until there is room."""
        begun = time.monotonic()
        self._is_full = self._places.measure() > self._places.quota
        if self._is_full and self._children:
            largest = max(self._children, key=self._places.size)
            self._end(largest)
            error = f"{self._places.full}, then resume this one"
            self._queue.leave(largest, "interrupted", ended=time.time(), error=error)
        self._queue.set_waiting(self._places.full if self._is_full else None)
        self._next_look = time.monotonic() + max(DISK_SECONDS, (time.monotonic() - begun) / DISK_SHARE)

    def _start_next(self) -> bool:
        """Start the next study; return whether there was one."""
        submission = self._queue.next()
        if submission is None:
            return False
        with contextlib.suppress(ServerError):  # it was cancelled or deleted meanwhile
            self._queue.change(submission.id, "running", "queued", started=time.time(), ended=None, error=None)
            folder = self._places.study(submission.id)
            command = [sys.executable, "-m", "hpsearch", "run", "study.yaml", "--storage", "study.db", "--quiet"]
            command += ["--tracking-uri", self._share.tracking, "--workers", str(self._share.workers)]
            command += ["--cluster", self._share.cluster] if self._share.cluster else []
            end = ExitStack()
            process = end.enter_context(managed_process(command, {}, folder, folder / "log"))
            if self._share.memory is not None:
                limit_memory(process.supervisor.pid, self._share.memory)
            self._children[submission.id] = _Child(process, end)
        return True

    def _finish(self, id: str, child: _Child) -> None:
        """Store how a child has ended."""
        lines = child.process.log()
        self._end(id)
        code = exit_code(lines)
        if code == 0:
            self._queue.leave(id, "done", ended=time.time(), error=None)
        elif code == USER_ERROR and any(text in error_line(lines) for text in RUN_ELSEWHERE):
            self._survivors.add(id)  # a child of an earlier server took the lease after this server had begun
        elif code in (USER_ERROR, HALTED):
            self._queue.leave(id, "failed", ended=time.time(), error=error_line(lines).removeprefix("error: "))
        else:  # it was killed, or stopped by a signal
            attempts = self._queue.get(id).attempts + 1
            if attempts < MAX_ATTEMPTS:
                self._queue.leave(id, "queued", attempts=attempts)
            else:
                reason = f"its process has ended early {attempts} times"
                self._queue.leave(id, "interrupted", ended=time.time(), error=reason)

    def _follow_survivor(self, id: str) -> None:
        """Wait for a child of an earlier server to end; end it if its study is cancelled."""
        holder = self._holder(id)
        if holder is None:
            self._survivors.discard(id)
            self._queue.leave(id, "queued")
        elif id in self._cancelling or self._stopping:
            with contextlib.suppress(OSError):
                os.kill(holder.pid, signal.SIGTERM)

    def _holder(self, id: str) -> Holder | None:
        """Return the process that runs a study; None if no process does."""
        holder = None
        with contextlib.suppress(HpsearchError):
            holder = read(self._places.database(id), lambda database: database.lease.holder(), check=False)
        return None if holder is None or holder.has_ended else holder

    def _end(self, id: str) -> None:
        self._children.pop(id).end.close()

"""Training in processes of our own, one BLAS thread each: two are up to 3 times slower on small nets.

A thread of the coordinator hands tasks to workers, a pipe for each, and sets the futures. A worker lives as long as
its end of the pipe is open. Nobody else holds that end, so however it dies the end comes, after all that it had sent,
in the middle of a message too; another worker takes its place.
"""

import atexit
import contextlib
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import final

from threadpoolctl import threadpool_limits

from hpsearch.core import processes
from hpsearch.training.executors.base import WorkerDied
from hpsearch.training.task import Outcome, Task
from hpsearch.training.trial import advance

STARTS = 3  # so many starts in a row that fail are no accident
PAUSE = 0.1  # seconds after one that failed: a server that is gone needs a moment to be known as gone
LEAVING = 5.0  # seconds a worker gets from closing its pipe to its end

Work = Callable[[Task], Outcome]


@final
class Processes:
    """A pool of workers, started at once; a worker that dies is replaced. Futures are set in a thread of the pool.

    Args:
        scratch: a temporary folder that goes when the coordinator does.
        work: what workers do with a task; importable by name.
    """

    def __init__(self, workers: int, scratch: str, work: Work = advance) -> None:
        self._workers = workers
        self._scratch = scratch
        self._work = work
        self._team: list[_Worker] = []
        self._failed = 0  # starts in a row
        self._lock = threading.Lock()  # for all below
        self._waiting: deque[tuple[Future[Outcome], Task]] = deque()
        self._over: str | None = None  # why nothing is trained any more
        self._bell, self._ring = processes.process_context().Pipe(duplex=False)  # wakes the thread
        self._thread = threading.Thread(target=self._run, name="executor", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    @property
    def workers(self) -> int:
        return self._workers

    def submit(self, task: Task) -> Future[Outcome]:
        """As `Executor.submit`.

        Raises:
            BrokenExecutor: workers cannot be started, or the pool is closed.
        """
        future: Future[Outcome] = Future()
        with self._lock:
            if self._over is not None:
                raise BrokenExecutor(self._over)
            self._waiting.append((future, task))
            if len(self._waiting) == 1:  # else the thread knows, and waits for a worker
                self._ring.send_bytes(b"")
        return future

    def close(self) -> None:
        """Kills the workers (they have nothing to put in order) and waits until they are gone."""
        atexit.unregister(self.close)
        with self._lock:
            if self._over is None:
                self._over = "the executor is closed"
                self._ring.send_bytes(b"")
        for worker in list(self._team):  # not by the thread: it may be amid a message from or to one that is stopped
            worker.kill()
        self._thread.join()

    def _run(self) -> None:
        """The thread: while nobody closes it, keeps the team complete and busy."""
        reason = ""
        try:
            while self._over is None:
                if len(self._team) < self._workers:
                    self._start()
                else:
                    self._give()
                    self._take()
        except BrokenExecutor as error:
            reason = str(error)
        except Exception as error:  # of ours: nobody may wait for ever because of it
            reason = _line(error)
        finally:
            self._finish(reason)

    def _start(self) -> None:
        try:
            self._team.append(_Worker(self._work, self._scratch))
        except (EOFError, OSError) as error:
            self._not_started(_line(error))
            time.sleep(PAUSE)

    def _not_started(self, reason: str) -> None:
        self._failed += 1
        if self._failed == STARTS:
            raise BrokenExecutor(f"workers cannot be started, {STARTS} times in a row: {reason}")

    def _give(self) -> None:
        """A task to everyone who is free."""
        for worker in self._team:
            while worker.free and self._waiting:
                future, task = self._waiting.popleft()
                if future.set_running_or_notify_cancel():
                    worker.give(future, task)

    def _take(self) -> None:
        """Waits until somebody says something, or can no longer."""
        ready = wait([self._bell, *(w.pipe for w in self._team)])
        while self._bell.poll():
            self._bell.recv_bytes()
        for worker in [w for w in self._team if w.pipe in ready]:
            try:
                message = worker.pipe.recv_bytes()
            except (EOFError, OSError):
                if self._over is None:  # else it is closing that killed it
                    self._replace(worker)
            else:
                self._failed = self._failed if worker.ready else 0
                worker.receive(message)

    def _replace(self, worker: "_Worker") -> None:
        self._team.remove(worker)
        reason = worker.end()
        if worker.future is not None:
            worker.future.set_exception(WorkerDied(reason))
        if not worker.ready:
            self._not_started(reason)

    def _finish(self, reason: str) -> None:
        with self._lock:
            self._over = self._over or reason
            self._bell.close()
            self._ring.close()
            waiting = [future for future, _ in self._waiting if future.set_running_or_notify_cancel()]
            self._waiting.clear()
        for worker in self._team:
            worker.kill()
        for worker in self._team:
            worker.drain()
            worker.end()
        for future in [*(w.future for w in self._team if w.future is not None), *waiting]:
            future.set_exception(BrokenExecutor(self._over))
        self._team.clear()


@final
class _Worker:
    """A process, our end of its pipe, and the task it has.

    Raises:
        EOFError, OSError: it cannot be started.
    """

    def __init__(self, work: Work, scratch: str) -> None:
        self.ready = False
        self.future: Future[Outcome] | None = None
        context = processes.process_context()
        self.pipe, theirs = context.Pipe()
        with theirs:  # ours is closed: only then does the pipe end when the worker does
            self._process = context.Process(target=_begin, args=(work, scratch, theirs), name="worker", daemon=True)
            with processes.starting_children():
                self._process.start()
        pid = self._process.pid
        assert pid is not None
        self._pid = pid

    @property
    def free(self) -> bool:
        return self.ready and self.future is None

    def give(self, future: Future[Outcome], task: Task) -> None:
        try:
            message = ForkingPickler.dumps(task)
        except Exception as error:
            future.set_exception(error)
            return
        self.future = future
        with contextlib.suppress(OSError):  # it is dead, as its pipe is about to say
            self.pipe.send_bytes(message)

    def receive(self, message: bytes) -> None:
        """Its first message, which is empty, or the answer to its task."""
        self.ready = True
        future, self.future = self.future, None
        if future is None:
            return
        try:
            outcome, error = ForkingPickler.loads(message)
        except Exception as reason:
            outcome, error = None, RuntimeError(_line(reason))
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(outcome)

    def kill(self) -> None:
        """May be called by any thread."""
        processes.kill_process(self._pid)

    def drain(self) -> None:
        """Waits until nobody is at the other end."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                self.pipe.recv_bytes()

    def end(self) -> str:
        """Waits until it is gone, and says how it went."""
        self._process.join(LEAVING)
        if self._process.exitcode is None:
            self.kill()
            self._process.join()
        code = self._process.exitcode or 0
        self._process.close()
        self.pipe.close()
        names = {s.value: f" ({s.name})" for s in signal.Signals}
        return f"killed by signal {-code}{names.get(-code, '')}" if code < 0 else f"exit code {code}"


def _begin(work: Work, scratch: str, pipe: Connection) -> None:
    """A worker's life."""
    watch = processes.init_worker(scratch)
    with threadpool_limits(1), contextlib.suppress(EOFError, ConnectionError):
        pipe.send_bytes(b"")
        while True:
            pipe.send_bytes(_answer(work, pipe.recv_bytes()))
    watch.join()  # the coordinator is gone; this ends us


def _answer(work: Work, message: bytes) -> memoryview:
    """An outcome, or what was raised, in a form that the coordinator can read."""
    try:
        return ForkingPickler.dumps((work(ForkingPickler.loads(message)), None))
    except Exception as error:
        error.add_note("".join(traceback.format_exception(error)))
        try:
            answer = ForkingPickler.dumps((None, error))
            ForkingPickler.loads(answer)
        except Exception:
            answer = ForkingPickler.dumps((None, RuntimeError(_line(error))))
        return answer


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]

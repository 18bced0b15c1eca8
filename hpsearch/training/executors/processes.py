"""Training in worker processes with one BLAS thread each, because two are up to 3 times slower on small networks.

One `ProcessPoolExecutor` per worker was tried in place of this pool and fails four of its tests: it has no exit code
or signal to report, waits forever for an answer that a dying worker sent in part, and breaks on tasks or exceptions
that cannot be unpickled. Here a thread of the coordinator exchanges messages with each worker over a pipe whose other
end only that worker holds, so that the pipe ends with the worker, even in the middle of a message.
"""

import atexit
import contextlib
import signal
import threading
import time
from collections import deque
from concurrent.futures import BrokenExecutor, Future
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import final

from threadpoolctl import threadpool_limits

from hpsearch.core import processes
from hpsearch.core.resources import EXIT_EXHAUSTED, ResourceExhausted, exhausted_resource, exiting_on_shortage
from hpsearch.core.text import first_line
from hpsearch.training.executors.answers import answer, outcome_of
from hpsearch.training.executors.base import LimitExceeded, WorkerDied, WorkerKilled
from hpsearch.training.executors.faults import dump_location, fault_location, record_faults
from hpsearch.training.executors.limits import NO_LIMITS, WATCH_SECONDS, TaskLimits
from hpsearch.training.task import Outcome, Task, TaskFunction
from hpsearch.training.trial import advance

MAX_FAILED_STARTS = 3  # in a row
RESTART_DELAY = 0.1  # seconds after a failed start: the end of a fork server is noticed with a delay
KILLED = -9  # exit code of a process ended by SIGKILL
EXIT_TIMEOUT = 5.0  # seconds between the end of a worker's pipe and of its process


@final
class Processes:
    """A pool of worker processes, started at once; a worker that dies is replaced.

    Args:
        workers: number of processes.
        scratch: a temporary folder that is removed with the coordinator.
        run_task: function that workers call with each task; must be importable by name.
    """

    def __init__(self, workers: int, scratch: str, run_task: TaskFunction = advance) -> None:
        self._size = workers
        self._scratch = scratch
        self._run_task = run_task
        self._workers: list[_Worker] = []
        self._failed_starts = 0  # in a row
        self._lock = threading.Lock()  # guards the queue, the closed reason and the wakeup pipe
        self._queue: deque[tuple[Future[Outcome], Task]] = deque()
        self._closed: str | None = None  # why no more tasks are accepted
        self._wakeup_reader, self._wakeup_writer = processes.process_context().Pipe(duplex=False)
        self._thread = threading.Thread(target=self._manage, name="executor", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    @property
    def workers(self) -> int:
        return self._size

    def submit(self, task: Task) -> Future[Outcome]:
        """Queue a task, as described in `Executor.submit`. Futures are set in a thread of the pool.

        Raises:
            BrokenExecutor: workers cannot be started, or the pool is closed.
        """
        future: Future[Outcome] = Future()
        with self._lock:
            if self._closed is not None:
                raise BrokenExecutor(self._closed)
            self._queue.append((future, task))
            if len(self._queue) == 1:  # a longer queue already waits for a free worker
                self._wakeup_writer.send_bytes(b"")
        return future

    def notes(self) -> list[str]:
        """Return no messages."""
        return []

    def close(self) -> None:
        """Kill the workers, which hold nothing to save, and wait until they have ended."""
        atexit.unregister(self.close)
        with self._lock:
            if self._closed is None:
                self._closed = "the executor is closed"
                self._wakeup_writer.send_bytes(b"")
        for worker in list(self._workers):  # here, because the thread may wait for a message of a stopped worker
            worker.kill()
        self._thread.join()

    def _manage(self) -> None:
        """Start workers and exchange messages with them, in the pool's thread, until the pool is closed."""
        reason = ""
        try:
            while self._closed is None:
                if len(self._workers) < self._size:
                    self._start_worker()
                else:
                    self._assign()
                    self._receive()
        except BrokenExecutor as error:
            reason = str(error)
        except Exception as error:  # a defect of the pool must not leave futures pending forever
            reason = exhausted_resource(error) or first_line(error)
        finally:
            self._shut_down(reason)

    def _start_worker(self) -> None:
        try:
            self._workers.append(_Worker(self._run_task, self._scratch))
        except (EOFError, OSError, MemoryError) as error:
            self._count_failed_start(exhausted_resource(error) or first_line(error))
            time.sleep(RESTART_DELAY)

    def _count_failed_start(self, reason: str) -> None:
        self._failed_starts += 1
        if self._failed_starts == MAX_FAILED_STARTS:
            raise BrokenExecutor(f"workers cannot be started, {MAX_FAILED_STARTS} times in a row: {reason}")

    def _assign(self) -> None:
        """Send a task to each idle worker."""
        for worker in self._workers:
            while worker.idle and self._queue:
                future, task = self._queue.popleft()
                if future.set_running_or_notify_cancel():
                    worker.send(future, task)

    def _receive(self) -> None:
        """Wait for messages of workers, their deaths, or a wakeup by `submit` or `close`, and handle them."""
        limited = any(worker.limited for worker in self._workers)
        ready = wait([self._wakeup_reader, *(w.pipe for w in self._workers)], WATCH_SECONDS if limited else None)
        for worker in self._workers:
            if worker.limited and worker.pipe not in ready:
                worker.enforce_limits()
        while self._wakeup_reader.poll():
            self._wakeup_reader.recv_bytes()
        for worker in [w for w in self._workers if w.pipe in ready]:
            try:
                message = worker.pipe.recv_bytes()
            except (EOFError, OSError):
                if self._closed is None:  # `close` kills workers, which need no replacement
                    self._remove_dead(worker)
            else:
                if not worker.started:
                    self._failed_starts = 0
                worker.handle(message)

    def _remove_dead(self, worker: "_Worker") -> None:
        self._workers.remove(worker)
        died = worker.join()
        if worker.future is not None:
            worker.future.set_exception(worker.exceeded or died)
        if not worker.started:
            self._count_failed_start(str(died))

    def _shut_down(self, reason: str) -> None:
        with self._lock:
            self._closed = self._closed or reason
            self._wakeup_reader.close()
            self._wakeup_writer.close()
            queued = [future for future, _ in self._queue if future.set_running_or_notify_cancel()]
            self._queue.clear()
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.drain()
            worker.join()
        for future in [*(w.future for w in self._workers if w.future is not None), *queued]:
            future.set_exception(BrokenExecutor(self._closed))
        self._workers.clear()


@final
class _Worker:
    """A process, the coordinator's end of its pipe, and the future of its task.

    Raises:
        EOFError, OSError: the process cannot be started.
    """

    def __init__(self, run_task: TaskFunction, scratch: str) -> None:
        self.started = False
        self.future: Future[Outcome] | None = None
        self.exceeded: LimitExceeded | None = None  # why it was ended
        self._limits = NO_LIMITS
        self._scratch = scratch
        context = processes.process_context()
        self.pipe, worker_pipe = context.Pipe()
        with worker_pipe:  # closed on this side, so that the pipe ends with the worker
            args = (run_task, scratch, worker_pipe)
            self._process = context.Process(target=_worker_main, args=args, name="worker", daemon=True)
            with processes.starting_children():
                self._process.start()
        pid = self._process.pid
        assert pid is not None
        self._pid = pid

    @property
    def idle(self) -> bool:
        return self.started and self.future is None

    def send(self, future: Future[Outcome], task: Task) -> None:
        try:
            message = ForkingPickler.dumps(task)
        except Exception as error:
            future.set_exception(error)
            return
        self.future = future
        self._limits = TaskLimits.of(task)
        with contextlib.suppress(OSError):  # the worker has died, which `_receive` handles
            self.pipe.send_bytes(message)

    def handle(self, message: bytes) -> None:
        """Handle the first message, which is empty, or the answer to the task."""
        self.started = True
        future, self.future = self.future, None
        if future is None:
            return
        try:
            future.set_result(outcome_of(message))
        except Exception as error:
            future.set_exception(error)

    @property
    def limited(self) -> bool:
        """Return whether its task has a limit on time or memory."""
        return self.future is not None and self.exceeded is None and self._limits != NO_LIMITS

    def enforce_limits(self) -> None:
        """End the process, and those below it, if its task exceeds a limit."""
        if (reason := self._limits.exceeded(self._pid)) is not None:
            dump_location(self._scratch, self._pid)
            self.exceeded = LimitExceeded(reason + fault_location(self._scratch, self._pid))
            processes.end_descendants(self._pid)
            self.kill()

    def kill(self) -> None:
        """Kill the process; callable from any thread."""
        processes.kill_process(self._pid)

    def drain(self) -> None:
        """Read the pipe to its end, so that no process holds the other end."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                self.pipe.recv_bytes()

    def join(self) -> WorkerDied | ResourceExhausted:
        """Wait until the process has ended, and return how: its exit code or signal, or that memory ran out."""
        self._process.join(EXIT_TIMEOUT)
        if self._process.exitcode is None:
            self.kill()
            self._process.join()
        code = self._process.exitcode or 0
        self._process.close()
        self.pipe.close()
        if code == EXIT_EXHAUSTED:
            return ResourceExhausted("a worker process ran out of memory, open files or threads")
        names = {s.value: f" ({s.name})" for s in signal.Signals}
        died = WorkerKilled if code == KILLED else WorkerDied
        where = fault_location(self._scratch, self._pid)
        return died(f"killed by signal {-code}{names.get(-code, '')}{where}" if code < 0 else f"exit code {code}")


def _worker_main(run_task: TaskFunction, scratch: str, pipe: Connection) -> None:
    """Run tasks until the coordinator has ended."""
    with exiting_on_shortage():
        watch = processes.init_worker(scratch)
        record_faults(scratch)
        with threadpool_limits(1), contextlib.suppress(EOFError, ConnectionError):
            pipe.send_bytes(b"")
            while True:
                pipe.send_bytes(answer(run_task, pipe.recv_bytes()))
        watch.join()  # this thread ends the process

"""A tracker in a child process, so that tracking neither delays training nor makes it fail."""

import contextlib
import shlex
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, final

from hpsearch.core.files.temporary import private_umask
from hpsearch.core.processes import init_worker, process_context, starting_children
from hpsearch.core.resources import ResourceExhausted, exhausted_resource, exiting_on_shortage
from hpsearch.core.text import first_line, masked
from hpsearch.tracking.base import StudyInfo
from hpsearch.tracking.sender import Message, Preparation, RetryingSender, TrackerFactory, UploadProgress

if TYPE_CHECKING:
    from hpsearch.storage.records import Baseline, Trial

REPORT_INTERVAL = 0.2  # seconds to wait for a report while closing
STOP_TIMEOUT = 3.0  # seconds for the child process to end


@final
class BackgroundTracker:
    """Passes all calls to a tracker in a child process; calls before `start_study` wait for it.

    Args:
        name: name of the tracker in messages.
        factory: creates the tracker in the child process; must be importable by name.
        uri: tracking URI.
        scratch: the coordinator's temporary folder.
        stop: checked while `close` waits; True shortens the wait to `STOP_TIMEOUT`.
        prepare: called in the child process before `start_study`; imports what the tracker needs and writes nothing.

    Raises:
        ResourceExhausted: in `start_study`: the child process cannot be started.
    """

    def __init__(
        self,
        name: str,
        factory: TrackerFactory,
        uri: str,
        scratch: str,
        stop: Callable[[], bool],
        prepare: Preparation | None = None,
    ) -> None:
        self._stop = stop
        self._name = name
        self._uri = uri
        self._closed = False
        self._labels: set[str] = set()  # labels of all trials passed on
        self._finished = False
        self._study: StudyInfo | None = None
        self._early: list[Message] = []  # messages before `start_study`
        self.progress = UploadProgress()
        context = process_context()
        # A pipe and a thread, because multiprocessing's queue has semaphores that outlive a killed process group.
        self._messages: SimpleQueue[Message | None] = SimpleQueue()
        receiver, sender = context.Pipe(duplex=False)
        self._reports, reports = context.Pipe(duplex=False)
        arguments = (factory, prepare, uri, scratch, receiver, reports)
        self._process = context.Process(target=_run_sender, args=arguments, name=name, daemon=True)
        self._child_ends = receiver, reports
        self._sender = sender
        self._thread: threading.Thread | None = None
        self._started = threading.Event()  # the child process is started, or cannot be started
        self._failure: Exception | None = None  # why it cannot be started

    @property
    def note(self) -> str | None:
        """The tracker's message for the user, once it has arrived."""
        return masked(self.progress.note, self._uri) or None

    def open(self) -> None:
        """Start the child process, which prepares itself; a thread does it, because the fork server may be busy."""
        self._thread = threading.Thread(target=self._start, name=self._name, daemon=True)
        self._thread.start()

    def start_study(self, study: StudyInfo) -> None:
        self._study = study
        if self._thread is None:
            self.open()
        self._started.wait()
        if (error := self._failure) is not None:
            self._closed = True
            if not isinstance(error, (EOFError, OSError, MemoryError)):
                raise error
            reason = exhausted_resource(error) or first_line(error)
            raise ResourceExhausted(f"the process for {self._name} cannot be started: {reason}") from error
        for message in (Message("start_study", (study,)), *self._early):
            self._messages.put(message)

    def log_trial(self, trial: "Trial") -> None:
        self._labels.add(trial.label)
        self._send(Message("log_trial", (trial,)))

    def finish_study(
        self,
        ranking: "list[Trial]",
        model: Path | None,
        baselines: "Sequence[Baseline]" = (),
        ensemble: Path | None = None,
    ) -> None:
        self._finished = True
        self._send(Message("finish_study", (ranking, model, baselines, ensemble)))

    def close(self, seconds: float) -> str | None:
        if self._closed:
            return None
        self._closed = True
        if self._study is None:
            self._discard()
            return None
        self._messages.put(None)
        end = time.monotonic() + seconds
        while self._poll(REPORT_INTERVAL) and time.monotonic() < end:
            if self._stop():
                end = min(end, time.monotonic() + STOP_TIMEOUT)
        reason = self.progress.reason
        if self._poll(0):
            self._process.kill()
            reason = reason or f"it took longer than {seconds:.0f} s"
        self._process.join(STOP_TIMEOUT)
        self._reports.close()
        if self._process.exitcode and not reason:
            reason = f"its process ended with code {self._process.exitcode}"
        return self._warning(reason)

    def _start(self) -> None:
        """Start the child process, then pass messages on to it; runs in a thread."""
        try:
            with starting_children():
                self._process.start()
        except Exception as error:
            self._failure = error
            return
        finally:
            for end in self._child_ends:
                end.close()  # the child process has its own copies
            self._started.set()
        _pass_on(self._messages, self._sender)

    def _discard(self) -> None:
        """End the child process of a study that never started."""
        if self._thread is None:
            return
        self._started.wait()
        if self._failure is None:
            self._messages.put(None)
            self._process.kill()
            self._process.join(STOP_TIMEOUT)
        self._reports.close()

    def _send(self, message: Message) -> None:
        if self._study is None:
            self._early.append(message)
        else:
            self._messages.put(message)
            self._poll(0)

    def _poll(self, seconds: float) -> bool:
        """Receive reports, waiting at most `seconds` for the first; return False after the last one."""
        if self._reports.closed:
            return False
        while wait([self._reports], seconds):
            try:
                self.progress = self._reports.recv()
            except (EOFError, OSError):
                return False
            seconds = 0
        return True

    def _warning(self, reason: str) -> str | None:
        """Return a warning with missing data, reason and the command that uploads them; None if nothing is missing."""
        missing = missing_part(len(self._labels), self.progress, self._finished)
        if missing is None:
            return None
        database = self._study.properties.get("database", "DATABASE") if self._study else "DATABASE"
        command = f"hpsearch sync {shlex.quote(database)} --tracking-uri {shlex.quote(masked(self._uri, self._uri))}"
        masked_reason = masked(reason, self._uri)
        return f"{self._name}: {missing} ({masked_reason}); the next run uploads what is missing, or run: {command}"


def missing_part(trials: int, progress: UploadProgress, finished: bool) -> str | None:
    """Return the data that a tracker did not accept: `3 of 10 trials not uploaded`; None if nothing is missing.

    Args:
        trials: number of finished trials.
        finished: the study is finished, so it has a champion.
    """
    if trials > progress.trials:
        return f"{trials - progress.trials} of {trials} trials not uploaded"
    return "the champion not uploaded" if finished and not progress.finished else None


def _pass_on(messages: "SimpleQueue[Message | None]", pipe: Connection) -> None:
    """Write messages to a pipe until None, or until its other end is closed."""
    with contextlib.suppress(OSError), pipe:
        while (message := messages.get()) is not None:
            pipe.send(message)


def _run_sender(
    factory: TrackerFactory,
    prepare: Preparation | None,
    uri: str,
    scratch: str,
    messages: Connection,
    reports: Connection,
) -> None:
    """Run the sender in the child process until no message can follow."""
    with exiting_on_shortage(), private_umask():
        init_worker(scratch)
        if prepare is not None:
            with contextlib.suppress(Exception):  # the tracker fails in the same way, which is then reported
                prepare(uri)
        sender = RetryingSender(factory, uri, reports.send)
        with contextlib.suppress(EOFError):
            while True:
                if messages.poll(sender.pause):
                    sender.add(messages.recv())
                sender.send_next()
        sender.flush()
        reports.close()

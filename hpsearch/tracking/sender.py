"""A queue of messages to a tracker, with retries."""

import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, final

from hpsearch.core.text import masked
from hpsearch.storage.sqlite_file import sqlite_problem
from hpsearch.tracking.base import StoreReplacedError, Tracker

CLOSE_TIMEOUT = 5.0  # seconds for `Tracker.close` after the last message
MAX_RETRY_WAIT = 2.0  # longest wait before a retry during `flush`, in seconds; all waits together: five times that
MAX_REASON = 900  # characters
TrackerFactory = Callable[[str], Tracker]  # tracking URI → tracker
Preparation = Callable[[str], None]  # takes the tracking URI


def no_preparation(_uri: str) -> None:
    """Do nothing."""


class Message(NamedTuple):
    """A call of a tracker's method."""

    method: Literal["start_study", "log_trial", "finish_study"]
    arguments: tuple[Any, ...]


class UploadProgress(NamedTuple):
    """The messages that the tracker has accepted so far.

    Attributes:
        trials: number of trials.
        finished: `finish_study` succeeded.
        reason: reason of the last failure, in one line.
        note: message for the user, in one line.
    """

    trials: int = 0
    finished: bool = False
    reason: str = ""
    note: str = ""


@final
class RetryingSender:
    """Sends messages to a tracker until it accepts them.

    A failed message is retried after a pause of twice the time that the attempt took, so that at most a third of the
    time is spent on failing attempts.

    Args:
        factory: creates the tracker.
        uri: tracking URI.
        report: called with the progress after each change.
    """

    def __init__(
        self, factory: TrackerFactory, uri: str, report: Callable[[UploadProgress], None] = lambda progress: None
    ) -> None:
        self._factory = factory
        self._uri = uri
        self._report = report
        self._tracker: Tracker | None = None
        self._start: Message | None = None
        self._started = False
        self._trials: deque[Message] = deque()
        self._finish: Message | None = None
        self.progress = UploadProgress()
        self._next_attempt = 0.0  # monotonic time
        self._replaced = False

    @property
    def pause(self) -> float | None:
        """Seconds until `send_next` has a message to send; None if there is none."""
        return max(0.0, self._next_attempt - time.monotonic()) if self._pending and not self._replaced else None

    @property
    def _pending(self) -> bool:
        return bool(self._trials) or not (self._started or self._start is None)

    def add(self, message: Message) -> None:
        """Queue a message."""
        if message.method == "start_study":
            self._start = message
        elif message.method == "log_trial":
            self._trials.append(message)
        else:
            self._finish = message

    def send_next(self) -> None:
        """Send one message, unless the pause after a failure has not ended."""
        if self._pending and not self._replaced and time.monotonic() >= self._next_attempt:
            if self._trials:
                self._send_trial()
            else:
                self._attempt(self._prepare)

    def flush(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Send all remaining messages: up to two attempts per trial, then `finish_study`, then `close`.

        Args:
            stop: checked between messages; True ends the flush.
        """
        limit = time.monotonic() + 5 * MAX_RETRY_WAIT
        for _ in range(2 * len(self._trials)):
            if stop() or not self._trials or not self._wait(limit):
                break
            limit = max(limit, time.monotonic() + 5 * MAX_RETRY_WAIT) if self._send_trial() else limit
        finish = self._finish
        if finish is not None and not stop() and self._wait(limit) and self._attempt(lambda: self._call(finish)):
            self._update(finished=True)
        if self._tracker is not None and not self._replaced:
            try:
                self._tracker.close(CLOSE_TIMEOUT)
            except Exception as error:
                self._fail(error)

    def _wait(self, limit: float) -> bool:
        """Wait until the next attempt is due; return False if it is due after the limit."""
        left = self._next_attempt - time.monotonic()
        if self._replaced or left > MAX_RETRY_WAIT or time.monotonic() > limit:
            return False
        time.sleep(max(0.0, left))
        return True

    def _send_trial(self) -> bool:
        """Send the next trial; a trial that fails moves to the end of the queue, because others may succeed."""
        message = self._trials.popleft()
        if self._attempt(lambda: self._call(message)):
            self._update(trials=self.progress.trials + 1, reason=self.progress.reason if self._trials else "")
            return True
        self._trials.append(message)
        return False

    def _attempt(self, step: Callable[[], None]) -> bool:
        start = time.monotonic()
        try:
            step()
        except Exception as error:
            now = time.monotonic()
            self._next_attempt = now + 2 * (now - start)
            self._fail(error)
            return False
        self._next_attempt = 0.0
        return True

    def _prepare(self) -> None:
        if self._tracker is None:
            self._tracker = self._factory(self._uri)
        if not self._started and self._start is not None:
            note = self._tracker.start_study(*self._start.arguments)
            self._started = True
            if note is not None:
                self._update(note=note)

    def _call(self, message: Message) -> None:
        self._prepare()
        getattr(self._tracker, message.method)(*message.arguments)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, StoreReplacedError):
            self._replaced = True
            self.progress = UploadProgress()
        self._update(reason=failure_reason(error, self._uri))

    def _update(self, **changes: Any) -> None:
        self.progress = self.progress._replace(**changes)
        with contextlib.suppress(OSError):  # the receiver has closed its end
            self._report(self.progress)


_SERVER_PROBLEMS = {  # part of an error message → text for the user
    "timed out": "its server does not answer",
    "Connection refused": "its server cannot be reached: connection refused",
}


def failure_reason(error: BaseException, uri: str) -> str:
    """Return one line, without passwords, that says why an upload failed and, if known, what to do."""
    text = masked((str(error).splitlines() or [""])[0], uri).strip()
    if sqlite := sqlite_problem(text):
        return f"its database {sqlite.problem}; {sqlite.remedy}"
    for part, problem in _SERVER_PROBLEMS.items():
        if part in text:
            return problem
    return f"{type(error).__name__}: {text[:MAX_REASON]}" if text else type(error).__name__

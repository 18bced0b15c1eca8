"""A tracker in a process of its own: it takes no time from the training, and what goes wrong in it stays in it."""

import contextlib
import time
from collections.abc import Callable
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from typing import Any, NamedTuple, final

from hpsearch import children
from hpsearch.record import Record
from hpsearch.trackers.base import Subject, Tracker

POLL, STOPPED = 0.2, 3.0
CLOSING = 5.0  # seconds the tracker itself gets, when all is sent
Factory = Callable[[str], Tracker]


class _Call(NamedTuple):
    """What the coordinator says; `method` is a tracker's."""

    method: str
    arguments: tuple[Any, ...]


@final
class Beside:
    """Passes everything on to a tracker in another process.

    Args:
        name: of whom is told, for messages.
        factory: makes the tracker there; importable by name.
        uri: where it writes.
        scratch: a temporary folder that goes when the coordinator does.
        stop: asked while it is waited for; once it says True, little more time is given.
    """

    def __init__(self, name: str, factory: Factory, uri: str, scratch: str, stop: Callable[[], bool]) -> None:
        self._stop = stop
        self._name = name
        self._closed = False
        context = children.context()
        self._calls: Queue[_Call | None] = context.Queue()
        self._answer: Queue[str | None] = context.Queue()
        self._process = context.Process(
            target=_work, args=(factory, uri, scratch, self._calls, self._answer), name=name, daemon=True
        )
        with children.undisturbed():
            self._process.start()

    def begin(self, subject: Subject) -> None:
        self._calls.put(_Call("begin", (subject,)))

    def tell(self, record: Record) -> None:
        self._calls.put(_Call("tell", (record,)))

    def finish(self, ranking: list[Record], model: Path | None) -> None:
        self._calls.put(_Call("finish", (ranking, model)))

    def close(self, seconds: float) -> str | None:
        if self._closed:
            return None
        self._closed = True
        self._calls.put(None)
        end = time.monotonic() + seconds
        while self._process.is_alive() and time.monotonic() < end:
            self._process.join(POLL)
            if self._stop():
                end = min(end, time.monotonic() + STOPPED)
        late = "what it has not got is sent when the study is run again"
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
            self._calls.cancel_join_thread()
            return f"{self._name} is slow; {late}"
        with contextlib.suppress(Empty):
            answer = self._answer.get(timeout=1)
            return answer and f"{self._name}: {answer}"
        self._calls.cancel_join_thread()
        return f"{self._name}: its process ended with code {self._process.exitcode}; {late}"


def _work(
    factory: Factory,
    uri: str,
    scratch: str,
    calls: "Queue[_Call | None]",
    answer: "Queue[str | None]",
) -> None:
    """The other process. A call that fails does not keep the next one from being tried."""
    children.begin(scratch)
    unsent, reason = 0, ""
    tracker: Tracker | None = None
    try:
        tracker = factory(uri)
    except Exception as error:
        reason = _line(error)
    begun = False
    while (call := calls.get()) is not None:
        try:
            if tracker is not None and (begun or call.method == "begin"):
                getattr(tracker, call.method)(*call.arguments)
                begun = True
            else:  # what could not be opened took its time: it is not tried again in this run
                unsent += 1
        except Exception as error:
            unsent += 1
            reason = reason or _line(error)
    with contextlib.suppress(Exception):
        if tracker is not None:
            tracker.close(CLOSING)
    what = f"{unsent} record{'s' * (unsent > 1)}"
    answer.put(f"{what} not sent ({reason}); run the study again to send" if unsent else None)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]

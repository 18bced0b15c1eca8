"""A tracker in a process of its own: it takes no time from the training, and what goes wrong in it stays in it."""

import contextlib
import os
import shlex
import time
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from typing import Any, NamedTuple, final

from hpsearch.core import processes
from hpsearch.core.text import masked
from hpsearch.storage.records import Trial
from hpsearch.tracking.base import StoreReplacedError, StudyInfo, Tracker

POLL, STOPPED = 0.2, 3.0
CLOSING = 5.0  # seconds the tracker itself gets, when all is sent
PATIENCE = 2.0  # seconds a failure may make us pause, at the end, before we give up; and at most five times as many
Factory = Callable[[str], Tracker]


class Call(NamedTuple):
    """What the coordinator says; `method` is a tracker's."""

    method: str
    arguments: tuple[Any, ...]


class Sent(NamedTuple):
    """What the other process has done so far: how many records, whether the end, and why it is not more."""

    records: int = 0
    finished: bool = False
    reason: str = ""


@final
class BackgroundTracker:
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
        self._uri = uri
        self._closed = False
        self._told: set[str] = set()
        self._finished = False
        self._subject: StudyInfo | None = None
        self.sent = Sent()
        context = processes.process_context()
        self._calls: Queue[Call | None] = context.Queue()
        self._answers, answers = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_work, args=(factory, uri, scratch, self._calls, answers), name=name, daemon=True
        )
        with processes.starting_children():
            self._process.start()
        answers.close()  # the process has its own

    def begin(self, subject: StudyInfo) -> None:
        self._subject = subject
        self._calls.put(Call("begin", (subject,)))

    def tell(self, record: Trial) -> None:
        self._told.add(record.label)
        self._calls.put(Call("tell", (record,)))
        self._hear(0)

    def finish(self, ranking: list[Trial], model: Path | None) -> None:
        self._finished = True
        self._calls.put(Call("finish", (ranking, model)))

    def close(self, seconds: float) -> str | None:
        if self._closed:
            return None
        self._closed = True
        self._calls.put(None)
        end = time.monotonic() + seconds
        while self._hear(POLL) and time.monotonic() < end:
            if self._stop():
                end = min(end, time.monotonic() + STOPPED)
        reason = self.sent.reason
        if self._hear(0):
            self._process.kill()
            reason = reason or f"it took longer than {seconds:.0f} s"
        self._process.join(STOPPED)
        self._answers.close()
        self._calls.cancel_join_thread()
        if self._process.exitcode and not reason:
            reason = f"its process ended with code {self._process.exitcode}"
        return self._missing(reason)

    def _hear(self, seconds: float) -> bool:
        """Takes in what the process says, waiting at most so long; False once it has said everything."""
        if self._answers.closed:
            return False
        while wait([self._answers], seconds):
            try:
                self.sent = self._answers.recv()
            except (EOFError, OSError):
                return False
            seconds = 0
        return True

    def _missing(self, reason: str) -> str | None:
        """What was not sent, why, and how to send it; None when nothing is missing."""
        records = len(self._told) - self.sent.records
        if records > 0:
            what = f"{records} of {len(self._told)} records not sent"
        elif self._finished and not self.sent.finished:
            what = "the champion not sent"
        else:
            return None
        database = self._subject.facts.get("database", "DATABASE") if self._subject else "DATABASE"
        command = f"hpsearch sync {shlex.quote(database)} --tracking-uri {shlex.quote(masked(self._uri, self._uri))}"
        why = masked(reason, self._uri)
        return f"{self._name}: {what} ({why}); the next run sends what is missing, as does: {command}"


def _work(factory: Factory, uri: str, scratch: str, calls: "Queue[Call | None]", answers: Connection) -> None:
    """The other process."""
    processes.init_worker(scratch)
    sender = Sender(factory, uri, answers.send)
    sender.open()
    call: Call | None = Call("", ())
    while call is not None:
        with contextlib.suppress(Empty):
            call = calls.get(timeout=sender.pause)
            if call is not None:
                sender.add(call)
        sender.work()
    sender.end()
    answers.close()
    os._exit(0)  # nothing is left to tidy, which takes half a second with so much imported


@final
class Sender:
    """Calls a tracker until it succeeds: what fails is tried again, but most of the time is not spent on failing.

    Args:
        say: is told how far it is.
    """

    def __init__(self, factory: Factory, uri: str, say: Callable[[Sent], None] = lambda sent: None) -> None:
        self._factory = factory
        self._uri = uri
        self._say = say
        self._tracker: Tracker | None = None
        self._begin: Call | None = None
        self._begun = False
        self._tells: deque[Call] = deque()
        self._finish: Call | None = None
        self.sent = Sent()
        self._again = 0.0  # when the next try may be
        self._lost = False

    @property
    def pause(self) -> float | None:
        """How long to wait for news before something should be tried; None when all is done."""
        return max(0.0, self._again - time.monotonic()) if self._due and not self._lost else None

    @property
    def _due(self) -> bool:
        return bool(self._tells) or not (self._begun or self._begin is None)

    def add(self, call: Call) -> None:
        """What is to be sent."""
        if call.method == "begin":
            self._begin = call
        elif call.method == "tell":
            self._tells.append(call)
        else:
            self._finish = call

    def open(self) -> None:
        """While the coordinator still reads its data."""
        self._try(self._ready)

    def work(self) -> None:
        """Sends one record, unless it is too early after a failure."""
        if self._due and not self._lost and time.monotonic() >= self._again:
            if self._tells:
                self._tell()
            else:
                self._try(self._ready)

    def end(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Tries everything that is left once or, when it fails, twice, then the end, when nothing stands in the way.

        Args:
            stop: asked between records.
        """
        limit = time.monotonic() + 5 * PATIENCE
        for _ in range(2 * len(self._tells)):
            if stop() or not self._tells or not self._patient(limit):
                break
            limit = max(limit, time.monotonic() + 5 * PATIENCE) if self._tell() else limit
        finish = self._finish
        if finish is not None and not stop() and self._patient(limit) and self._try(lambda: self._call(finish)):
            self._say_so(finished=True)
        if self._tracker is not None and not self._lost:
            try:
                self._tracker.close(CLOSING)
            except StoreReplacedError as error:
                self._fail(error)
            except Exception as error:
                self._fail(error)  # only tidying failed: it is not said when all is sent

    def _patient(self, limit: float) -> bool:
        """Waits as long as the last failure asks for; False when that is too long."""
        left = self._again - time.monotonic()
        if self._lost or left > PATIENCE or time.monotonic() > limit:
            return False
        time.sleep(max(0.0, left))
        return True

    def _tell(self) -> bool:
        """The next record; one that fails goes to the end of the queue, as it may be the only one."""
        call = self._tells.popleft()
        if self._try(lambda: self._call(call)):
            self._say_so(records=self.sent.records + 1, reason=self.sent.reason if self._tells else "")
            return True
        self._tells.append(call)
        return False

    def _try(self, step: Callable[[], None]) -> bool:
        began = time.monotonic()
        try:
            step()
        except Exception as error:
            now = time.monotonic()
            self._again = now + 2 * (now - began)
            self._fail(error)
            return False
        self._again = 0.0
        return True

    def _ready(self) -> None:
        if self._tracker is None:
            self._tracker = self._factory(self._uri)
        if not self._begun and self._begin is not None:
            self._tracker.begin(*self._begin.arguments)
            self._begun = True

    def _call(self, call: Call) -> None:
        self._ready()
        getattr(self._tracker, call.method)(*call.arguments)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, StoreReplacedError):
            self._lost = True
            self.sent = Sent()
        self._say_so(reason=reason_of(error, self._uri))

    def _say_so(self, **news: Any) -> None:
        self.sent = self.sent._replace(**news)
        with contextlib.suppress(OSError):  # nobody listens any more
            self._say(self.sent)


def reason_of(error: BaseException, uri: str) -> str:
    """Why something could not be sent, in a line without passwords that says what to do where that is known."""
    text = masked((str(error).splitlines() or [""])[0], uri).strip()
    for sign, words in {
        "locked": "its database is locked: another process writes to it",
        "malformed": "its database is damaged: move it away or restore it",
        "not a database": "its database is no database: move it away or restore it",
        "readonly": "its database cannot be written: the file or its folder is read-only",
        "unable to open": "its database cannot be opened: is the folder there, and may you write in it?",
        "disk is full": "the disk is full",
        "timed out": "its server does not answer",
        "Connection refused": "its server cannot be reached: the connection was refused",
    }.items():
        if sign in text:
            return words
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__

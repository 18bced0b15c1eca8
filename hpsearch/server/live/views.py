"""The state of the studies of a server, as it is shown: read from their databases and kept until they change."""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, final

from hpsearch.config.spec import Spec
from hpsearch.errors import HpsearchError
from hpsearch.server.archive import archived_content
from hpsearch.server.live.content import encoded, event, shortened, study_content, submission_content, trial_content
from hpsearch.server.live.journal import Journal
from hpsearch.server.live.reader import LiveStudy, StudyReader
from hpsearch.server.places import Places
from hpsearch.server.queue import Queue, Submission
from hpsearch.storage.records import Trial, TrialKey

REFRESH = 0.5  # seconds between two looks at a database, at least
READING = 0.05  # largest part of one CPU that is spent on reading one study
STALE = 5.0  # seconds after which a reader waits for a new look
READERS = 2  # threads
KEPT, KEPT_TRIALS = 64, 50_000  # studies whose state is kept in memory, and their trials
CURVE = 120  # entries of the curve in an event


class View(NamedTuple):
    """A study at one moment.

    Attributes:
        submission: its row of the queue.
        study: its state; None before its process has begun.
        content: its state as JSON.
        journal: the events of its finished trials.
    """

    submission: Submission
    study: LiveStudy | None
    content: bytes
    journal: Journal


class _Entry:
    """The reader of one study, and what it last returned."""

    def __init__(self, url: str, journal: Journal) -> None:
        self.lock = threading.Lock()
        self.reader = StudyReader(url, _curve)
        self.journal = journal
        self.order: list[TrialKey] = []  # of the journal
        self.stage, self.best = "", float("inf")  # after its last trial
        self.looked, self.pause = 0.0, 0.0  # when, as monotonic time; seconds until the next look
        self.settled = ""  # state of the submission when its database was last read
        self.view: View | None = None  # as last returned
        self.version = -1  # of the queue, then
        self.task: asyncio.Task[View] | None = None  # that reads it now


@final
class Views:
    """Reads each study at most once in `REFRESH`, for however many clients."""

    def __init__(self, queue: Queue, places: Places) -> None:
        self._queue = queue
        self._places = places
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(READERS, "views")

    async def current(self, id: str) -> View:
        """Return a study. Clients that ask at the same time share one look at the database.

        Raises:
            ServerError: there is none of this id.
        """
        entry = self._entry(id)
        view, age = entry.view, time.monotonic() - entry.looked
        if view is None or entry.version != self._queue.version:
            return await asyncio.shield(self._begin(id, entry))
        if age <= entry.pause or self._is_settled(entry, view.submission):
            return view
        task = self._begin(id, entry)
        return view if age < STALE + entry.pause else await asyncio.shield(task)

    def get(self, id: str) -> View:
        """Return a study, read again if its time has come.

        Raises:
            ServerError: there is none of this id.
        """
        version = self._queue.version
        submission = self._queue.get(id)
        entry = self._entry(id)
        with entry.lock:
            changed = submission.state != entry.settled
            if changed or (time.monotonic() - entry.looked > entry.pause and not self._is_settled(entry, submission)):
                _refresh(entry)
                entry.settled = submission.state
            if entry.view is None or entry.view.submission != submission or entry.view.study is not entry.reader.study:
                study, known = entry.reader.study, {}
                if submission.archived is not None:
                    study, known = None, archived_content(self._places, id)
                content = encoded({**study_content(submission, study), **known, **submission_content(submission)})
                entry.view = View(submission, study, content, entry.journal)
            entry.version = version
        self._shrink()
        return entry.view

    def finished(self, id: str, after: int, most: int) -> list[Trial]:
        """Return finished trials in the order of their events, without the first `after` and without curves."""
        entry = self._entry(id)
        with entry.lock:
            trials = entry.reader.trials
            return [trials[key] for key in entry.order[after : after + most] if key in trials]

    def forget(self, id: str) -> None:
        """Forget a study that was deleted."""
        with self._lock:
            self._entries.pop(id, None)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)

    def _begin(self, id: str, entry: _Entry) -> "asyncio.Task[View]":
        """Return the task that reads a study, which is begun if there is none."""
        if entry.task is None or entry.task.done():
            entry.task = asyncio.create_task(self._read(id))
            entry.task.add_done_callback(lambda task: task.cancelled() or task.exception())  # may have no reader
        return entry.task

    async def _read(self, id: str) -> View:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.get, id)

    def _is_settled(self, entry: _Entry, submission: Submission) -> bool:
        """Return whether the database of a study was read after its process had ended."""
        return submission.state not in ("running", "queued") and submission.state == entry.settled

    def _entry(self, id: str) -> _Entry:
        with self._lock:
            if id not in self._entries:
                self._entries[id] = _Entry(self._places.database(id), Journal(self._places.root))
            self._entries.move_to_end(id)
            return self._entries[id]

    def _shrink(self) -> None:
        """Forget the studies that were not asked for longest."""
        with self._lock:
            count = sum(len(entry.order) for entry in self._entries.values())
            while len(self._entries) > 1 and (len(self._entries) > KEPT or count > KEPT_TRIALS):
                count -= len(self._entries.popitem(last=False)[1].order)


def _refresh(entry: _Entry) -> None:
    begun = time.thread_time()
    try:
        told = entry.reader.poll()
    except HpsearchError:  # the database does not exist yet, or holds no study yet
        told = None
    if told is not None and entry.reader.study is not None:
        for trial, curve in told:
            _tell(entry, trial, curve, entry.reader.study.spec)
    entry.looked = time.monotonic()
    entry.pause = max(REFRESH, (time.thread_time() - begun) / READING)


def _tell(entry: _Entry, trial: Trial, curve: bytes, spec: Spec) -> None:
    """Add a finished trial to the journal.

    The ids count finished trials, so that a client who names the last one it has seen misses nothing.
    """
    number, events = len(entry.journal), b""
    if trial.stage != entry.stage:
        entry.stage = trial.stage
        events += event("stage", {"stage": trial.stage}, number)
    value = None if trial.value is None or trial.state != "complete" else spec.metric.sign * trial.value
    if value is not None and value < entry.best:
        entry.best = value
        best = {"label": trial.label, "value": trial.value, "params": dict(trial.point)}
        events += event("best", best, number)
    content = encoded(trial_content(trial))
    events += b"id: %d\nevent: trial\ndata: " % (number + 1) + content[:-1] + b"," + curve + b"}\n\n"
    entry.order.append(trial.key)
    entry.journal.append(events)


def _curve(spec: Spec, trial: Trial) -> bytes:
    """Return the curve of a trial for its event: the members of a JSON object."""
    values, step = shortened(trial.history.get(spec.metric.monitored, []), CURVE)
    return encoded({"curve": values, "step": step})[1:-1]


def joined(views: Sequence[View]) -> bytes:
    """Return several studies as JSON."""
    return b'{"studies":[' + b",".join(view.content for view in views) + b"]}"

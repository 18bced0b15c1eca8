"""The state of the studies of a server, as it is shown: read from their databases and kept until they change."""

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple, final

from hpsearch.core.space import value_bounds
from hpsearch.errors import HpsearchError
from hpsearch.server.places import Places
from hpsearch.server.queue import Queue, Submission
from hpsearch.storage.records import FINISHED, Trial
from hpsearch.study.summary import StudyPoller, Summary

REFRESH = 0.5  # seconds between two looks at a database
KEPT = 64  # studies whose state is kept in memory


class View(NamedTuple):
    """A study at one moment.

    Attributes:
        submission: its row of the queue.
        study: its state; None before its process has begun.
        finished: its finished trials in the order in which they finished; their number never decreases.
    """

    submission: Submission
    study: Summary | None
    finished: tuple[Trial, ...]


class _Entry:
    """The poller of one study, and what it last returned."""

    def __init__(self, url: str) -> None:
        self.lock = threading.Lock()
        self.poller = StudyPoller(url)
        self.looked = 0.0  # monotonic time
        self.state = ""  # of the submission, when last looked at
        self.view: View | None = None  # as last returned
        self.seen = 0.0  # when, as monotonic time
        self.study: Summary | None = None
        self.finished: tuple[Trial, ...] = ()


@final
class Views:
    """Reads each study at most once in `REFRESH`, for however many readers."""

    def __init__(self, queue: Queue, places: Places) -> None:
        self._queue = queue
        self._places = places
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def recent(self, id: str) -> View | None:
        """Return a study as it was seen within `REFRESH`; None if it was not. Nothing is read."""
        entry = self._entries.get(id)
        if entry is None or entry.view is None or time.monotonic() - entry.seen > REFRESH:
            return None
        return entry.view

    def get(self, id: str) -> View:
        """Return a study.

        Raises:
            ServerError: there is none of this id.
        """
        submission = self._queue.get(id)
        entry = self._entry(id)
        with entry.lock:
            settled = submission.state not in ("running", "queued") and submission.state == entry.state
            if not settled and (submission.state != entry.state or time.monotonic() - entry.looked > REFRESH):
                self._refresh(entry)
                entry.state = submission.state
            entry.view, entry.seen = View(submission, entry.study, entry.finished), time.monotonic()
            return entry.view

    def forget(self, id: str) -> None:
        """Forget a study that was deleted."""
        with self._lock:
            self._entries.pop(id, None)

    def _entry(self, id: str) -> _Entry:
        with self._lock:
            if id not in self._entries:
                self._entries[id] = _Entry(self._places.database(id))
                if len(self._entries) > KEPT:
                    self._entries.popitem(last=False)
            self._entries.move_to_end(id)
            return self._entries[id]

    def _refresh(self, entry: _Entry) -> None:
        entry.looked = time.monotonic()
        try:
            changed = entry.poller.poll()
        except HpsearchError:  # the database does not exist yet, or holds no study yet
            return
        if changed is not None:
            entry.study = changed
            trials = [t for stage in changed.trials for t in stage if t.state in FINISHED]
            names = changed.spec.stage_names
            entry.finished = tuple(sorted(trials, key=lambda t: (t.finished, names.index(t.stage), t.number)))


def submission_content(submission: Submission) -> dict[str, Any]:
    """Return a submission as JSON."""
    names = ("id", "name", "owner", "state", "priority", "created", "started", "ended", "error")
    return {name: getattr(submission, name) for name in names}


def study_content(view: View) -> dict[str, Any]:
    """Return the state of a study as JSON: without trials, so that it stays small."""
    content = submission_content(view.submission)
    study = view.study
    if study is None:
        unknown: dict[str, Any] = dict.fromkeys(("metric", "direction", "planned", "best"))
        return content | unknown | {"stages": [], "finished": 0, "parameters": []}
    axes = study.space.axes
    stages = []
    for number, stage in enumerate(study.spec.stages):
        begun = number < len(study.boxes)
        trials = study.trials[number] if begun else []
        states: dict[str, int] = {state: sum(t.state == state for t in trials) for state in FINISHED}
        box = {axis.name: list(value_bounds(axis, study.boxes[number])) for axis in axes} if begun else None
        stages.append({"name": stage.name, "planned": study.totals[number], "begun": begun, **states, "box": box})
    return content | {
        "metric": study.spec.metric.name,
        "direction": "minimize" if study.spec.metric.sign > 0 else "maximize",
        "stages": stages,
        "finished": len(view.finished),
        "planned": sum(study.totals),
        "best": trial_content(study.champion) if study.champion else None,
        "parameters": [axis.name for axis in axes],
    }


def trial_content(trial: Trial, *, curve: str | None = None) -> dict[str, Any]:
    """Return a trial as JSON, with numbers that are not finite as null.

    Args:
        curve: the curve to include; None for none.
    """
    content: dict[str, Any] = {
        "label": trial.label,
        "stage": trial.stage,
        "number": trial.number,
        "state": trial.state,
        "value": _finite(trial.value),
        "epochs": trial.epochs,
        "seconds": round(trial.seconds, 3),
        "params": dict(trial.point),
        "metrics": _finite_values(trial.metrics),
        "error": trial.error,
    }
    if curve is not None:
        content["curve"] = [_finite(value) for value in trial.history.get(curve, [])]
    return content


def events(view: View, after: int) -> list[tuple[int, str, dict[str, Any]]]:
    """Return what has happened to a study as (id, kind, content), from the trial with index `after` on.

    The ids count finished trials, so that a reader who names the last one it has seen misses nothing.
    """
    found: list[tuple[int, str, dict[str, Any]]] = []
    study = view.study
    if study is None or after >= len(view.finished):
        return found
    best: float | None = None
    stage = view.finished[after - 1].stage if 0 < after <= len(view.finished) else None
    for number, trial in enumerate(view.finished, 1):
        is_best = trial.state == "complete" and trial.value is not None
        is_best = is_best and (best is None or study.spec.metric.sign * (trial.value or 0.0) < best)
        if is_best:
            best = study.spec.metric.sign * (trial.value or 0.0)
        if number <= after:
            continue
        if trial.stage != stage:
            stage = trial.stage
            found.append((number - 1, "stage", {"stage": stage}))
        found.append((number, "trial", trial_content(trial, curve=study.spec.metric.monitored)))
        if is_best:
            found.append((number, "best", {"label": trial.label, "value": trial.value, "params": dict(trial.point)}))
    return found


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < float("inf") else None


def _finite_values(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in values.items()}

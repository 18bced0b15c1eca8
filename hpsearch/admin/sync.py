"""Sends MLflow what it has not got of a study, from the study's database alone; nothing is trained, nothing written."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from hpsearch.errors import DataError, Interrupted, OutputError, TrackingError
from hpsearch.models.export import champion_model
from hpsearch.models.prepared import PreparedData
from hpsearch.storage.lease import study_lock
from hpsearch.storage.records import FINISHED, Trial
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.study.summary import Summary, summary
from hpsearch.tracking import MlflowTracker, StudyInfo
from hpsearch.tracking.background import Call, Sender


class SyncReport(NamedTuple):
    """What `sync` did.

    Attributes:
        sent: runs made.
        settled: runs that had been left unfinished, and are no more.
        there: runs that were whole already.
        notices: what else is worth a line.
    """

    sent: int
    settled: int
    there: int
    notices: tuple[str, ...]

    @property
    def line(self) -> str:
        """`12 runs sent, 1 settled, 68 there already`."""
        return f"{self.sent} run{'s' * (self.sent != 1)} sent, {self.settled} settled, {self.there} there already"


def sync(url: str, tracking: str, stop: Callable[[], bool] = lambda: False) -> SyncReport:
    """Makes MLflow's runs those of the study's finished trials.

    Args:
        tracking: MLflow's URI.
        stop: asked between records.

    Raises:
        StorageError: the database holds no study, or the study is being run.
        TrackingError: MLflow cannot be used; what was sent stays.
        Interrupted: somebody asked to stop; what was sent stays.
    """
    if tracking == "none":
        raise TrackingError("--tracking-uri: 'none' is nowhere to send to")
    made: list[MlflowTracker] = []

    def tracker(uri: str) -> MlflowTracker:
        made.append(MlflowTracker(uri))
        return made[-1]

    with tempfile.TemporaryDirectory(prefix="hpsearch-") as folder, _held(url) as storage:
        found = summary(url)
        records = [r for stage in found.records for r in stage if r.state in FINISHED]
        ranking, model, notices = _ending(found, storage, Path(folder))
        sender = Sender(tracker, tracking)
        sender.add(Call("begin", (_subject(found, storage),)))
        for record in records:
            sender.add(Call("tell", (record,)))
        sender.add(Call("finish", (ranking, model)))
        sender.end(stop)
    if stop():
        raise Interrupted
    sent = sender.sent
    if not made or not sent.finished or sent.records < len(records):
        left = len(records) - sent.records
        what = f"{left} of {len(records)} records not sent" if left else "the champion not sent"
        raise TrackingError(f"MLflow: {what} ({sent.reason})")
    return SyncReport(made[0].sent, made[0].settled, made[0].there, tuple(notices))


@contextmanager
def _held(url: str) -> Iterator[StudyDatabase]:
    """The study database, while nobody runs the study: two that send would send twice."""
    storage = StudyDatabase.open(url, create=False)
    try:
        with study_lock(url, storage.lease.holder):
            yield storage
    finally:
        storage.close()


def _subject(found: Summary, storage: StudyDatabase) -> StudyInfo:
    study = storage.study.load()
    dataset = None
    with contextlib.suppress(DataError):  # of an earlier version: only what it says of the rows is missing
        dataset = next((PreparedData.from_bytes(content).dataset for content in storage.study.prepared()), None)
    return StudyInfo.of(found.spec, study, storage.url, study.version, dataset)


def _ending(found: Summary, storage: StudyDatabase, folder: Path) -> tuple[list[Trial], Path | None, list[str]]:
    """The ranking when the study is done, else none; the champion's model, when the data can be read; what to say."""
    best = found.champion
    stored = storage.weights.find(best)
    if best is None or stored is None or stored.test is None:  # these are read at the very end
        return [], None, []
    try:
        champion_model(found.spec, storage, best, stored).save(folder / "model", example=True)
    except (DataError, OutputError) as error:
        return found.ranking, None, [f"sent without the champion's model: {error}"]
    return found.ranking, folder / "model", []

"""Upload the trials that are missing from MLflow from a study's database, without training or changing the study."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from hpsearch.core.files.temporary import private_folder, private_umask
from hpsearch.core.text import format_count
from hpsearch.errors import DataError, Interrupted, OutputError, StorageError, TrackingError
from hpsearch.models.export import champion_model, ensemble_model
from hpsearch.models.prepared import PreparedData
from hpsearch.storage.database import check_separate
from hpsearch.storage.lease import study_lock
from hpsearch.storage.records import FINISHED, Trial
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.study.summary import Summary, summary
from hpsearch.tracking import StudyInfo
from hpsearch.tracking.background import missing_part
from hpsearch.tracking.mlflow.tracker import MlflowTracker, UploadCounts
from hpsearch.tracking.sender import Message, RetryingSender


class SyncReport(NamedTuple):
    """The result of `sync`.

    Attributes:
        runs: numbers of runs uploaded, closed and unchanged.
        notices: further messages, one line each.
    """

    runs: UploadCounts
    notices: tuple[str, ...]

    @property
    def line(self) -> str:
        """The numbers as text: `12 runs uploaded, 1 unfinished run closed, 68 runs unchanged`."""
        uploaded, closed, unchanged = self.runs
        parts = (format_count(uploaded, "run"), format_count(closed, "unfinished run"), format_count(unchanged, "run"))
        return "{} uploaded, {} closed, {} unchanged".format(*parts)


def sync(url: str, tracking_uri: str, stop: Callable[[], bool] = lambda: False, name: str | None = None) -> SyncReport:
    """Make MLflow's runs agree with the finished trials of a study.

    Args:
        url: URL of the study's database.
        tracking_uri: MLflow's tracking URI.
        stop: checked between trials; True ends the upload.
        name: name of the study; None for the only one of the database.

    Raises:
        StorageError: the database contains no study, the study is running, or MLflow has the same database.
        TrackingError: not all runs could be uploaded; uploaded runs remain.
        Interrupted: `stop` returned True; uploaded runs remain.
    """
    if tracking_uri == "none":
        raise TrackingError("--tracking-uri: 'none' disables tracking; name the store to upload to")
    check_separate(url, tracking_uri)
    trackers: list[MlflowTracker] = []

    def factory(uri: str) -> MlflowTracker:
        trackers.append(MlflowTracker(uri))
        return trackers[-1]

    with private_umask(), private_folder() as folder, _locked(url, name) as storage:
        study = summary(url, name)
        trials = [trial for stage in study.trials for trial in stage if trial.state in FINISHED]
        ranking, model, notices = _outcome(study, storage, folder)
        ensemble, more = _ensemble(study, storage, folder) if ranking else (None, [])
        notices += more
        sender = RetryingSender(factory, tracking_uri)
        sender.add(Message("start_study", (_study_info(study, storage),)))
        for trial in trials:
            sender.add(Message("log_trial", (trial,)))
        sender.add(Message("finish_study", (ranking, model, study.baselines if ranking else (), ensemble)))
        sender.flush(stop)
    if stop():
        raise Interrupted
    missing = missing_part(len(trials), sender.progress, finished=True)
    if missing is not None:
        raise TrackingError(f"MLflow: {missing} ({sender.progress.reason})")
    if sender.progress.note:
        notices.append(f"MLflow: {sender.progress.note}")
    return SyncReport(trackers[0].counts, tuple(notices))


@contextlib.contextmanager
def _locked(url: str, name: str | None) -> Iterator[StudyDatabase]:
    """Open the study database while no other process runs or uploads the study."""
    storage = StudyDatabase.open(url, name, create=False)
    try:
        with study_lock(storage.lease):
            yield storage
    finally:
        storage.close()


def _study_info(study: Summary, storage: StudyDatabase) -> StudyInfo:
    stored = storage.study.load()
    dataset = None
    with contextlib.suppress(DataError):  # the runs are complete without the numbers of rows
        dataset = next((PreparedData.from_bytes(content).dataset for content in storage.study.prepared()), None)
    return StudyInfo.from_stored(study.spec, stored, storage.url, stored.version, dataset, shared=study.shared)


def _outcome(study: Summary, storage: StudyDatabase, folder: Path) -> tuple[list[Trial], Path | None, list[str]]:
    """Return the ranking of a finished study, the folder of the champion's model, and messages.

    The ranking is empty for an unfinished study. The folder is None if the model cannot be saved; a message says why.
    """
    best = study.champion
    stored = storage.weights.find(best)
    if best is None or stored is None or stored.test is None:  # test scores are stored when the study finishes
        return [], None, []
    try:
        champion_model(study.spec, storage, best, stored).save(folder / "model", example=True)
    except (DataError, OutputError) as error:
        return study.ranking, None, [f"uploaded without the champion's model: {error}"]
    return study.ranking, folder / "model", []


def _ensemble(study: Summary, storage: StudyDatabase, folder: Path) -> tuple[Path | None, list[str]]:
    """Return the folder of the ensemble's model, and messages; None without one, or if it cannot be saved."""
    if study.ensemble is None:
        return None, []
    try:
        ensemble_model(study.spec, storage, study.ensemble, study.trials).save(folder / "ensemble", example=True)
    except (DataError, OutputError, StorageError) as error:
        return None, [f"uploaded without the ensemble: {error}"]
    return folder / "ensemble", []

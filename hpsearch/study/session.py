"""What the commands do: a spec and a database → a study that runs; a database → what it holds."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, final

from hpsearch.config.diff import changed_sections, compare_specs
from hpsearch.config.load import restore_spec
from hpsearch.config.references import preprocessing_values
from hpsearch.config.spec import Spec
from hpsearch.core.version import versions
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.errors import OutputError, StorageError
from hpsearch.models.diagnostics import Diagnostics, diagnose
from hpsearch.models.export import champion_model
from hpsearch.models.prepared import PreparedData
from hpsearch.search.zoom import reused
from hpsearch.storage.database import display_name
from hpsearch.storage.records import PRIOR, StoredStudy
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.study.fork import prior
from hpsearch.study.loop import Study
from hpsearch.study.progress import Progress
from hpsearch.study.summary import Summary, stored_spec
from hpsearch.tracking import TRACKERS, BackgroundTracker, NullTracker, StudyInfo, Tracker
from hpsearch.training.executors import EXECUTORS
from hpsearch.training.network import check_fit

FLUSH, FLUSH_STOPPED = 120.0, 3.0  # seconds a tracker gets at the end, and when somebody waits for us to stop


class Options(NamedTuple):
    """How a study is run, which changes no result.

    Attributes:
        workers: processes that train; as the study file says when None.
        tracking: MLflow's URI, or "none".
        stop: asked between steps.
        retry_failed: failed trials are trained again.
        parent: URL of the study this one is forked from.
    """

    workers: int | None
    tracking: str
    stop: Callable[[], bool] = lambda: False
    retry_failed: bool = False
    parent: str | None = None


@final
class Session:
    """A study about to run: everything opened, nothing trained yet; `run` once, and leave the context.

    Args:
        spec: from a study file; None to take what the database holds.
        url: of its database.

    Raises:
        StorageError: the database cannot be used for this study.
        DataError: nor can the data.
    """

    def __init__(self, spec: Spec | None, url: str, options: Options) -> None:
        self._exit = ExitStack()
        try:
            self._open(spec, url, options)
        except BaseException:
            self._exit.close()
            raise

    def _open(self, spec: Spec | None, url: str, options: Options) -> None:
        self.url = url
        source = url if spec is None else options.parent
        if source is not None:
            stored_spec(source)  # before anything is written beside it
        self._storage = StudyDatabase.open(url, create=spec is not None)
        self._exit.callback(self._storage.close)
        self._exit.enter_context(self._storage.lease.hold())
        stored = self._storage.study.find()
        self.spec = spec or restore_spec(stored.spec if stored else {}, display_name(url))
        if stored is not None:
            _changes(self._storage, stored, self.spec)  # before anything is started
        try:
            folder = Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="hpsearch-")))
        except OSError as error:
            raise OutputError(f"{tempfile.gettempdir()}: cannot be written: {error.strerror}") from None
        self._folder = folder
        executor = EXECUTORS["processes"](options.workers or _workers(self.spec), str(folder))
        self._exit.callback(executor.close)
        self._tracker: Tracker = NullTracker()
        if options.tracking != "none":  # while it is imported and opened, the data are read
            self._tracker = BackgroundTracker("MLflow", TRACKERS["mlflow"], options.tracking, str(folder), options.stop)
            self._exit.callback(self._tracker.close, FLUSH_STOPPED)
        self.dataset, self.prepared = prepare(self.spec.data, self.spec.seed, folder, preprocessing_values(self.spec))
        check_fit(self.spec, self.dataset)
        stored, notices = _begun(self._storage, self.spec, self.dataset, options.parent)
        self.notices = [*self.dataset.notices, *notices]
        _keep_prepared(self._storage, self.spec, PreparedData.of_variants(self.dataset, self.prepared))
        if options.retry_failed:
            self.notices += _retried(self._storage, self.spec)
        if options.tracking != "none":
            self._tracker.start_study(StudyInfo.from_stored(self.spec, stored, url, versions(), self.dataset))
        self.study = Study(self.spec, self.dataset, self._storage, executor, self._tracker, options.stop)
        self._executor = executor
        self.untracked: str | None = None

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def run(self) -> Iterator[Progress]:
        """Trains what is missing; afterwards `summary` tells of all of it.

        Raises:
            Interrupted: somebody asked to stop; what was finished is stored.
        """
        patience = FLUSH_STOPPED
        try:
            yield from self.study.run()
            self._executor.close()
            self._portray()
            self._tracker.finish_study(self.summary().ranking, self._model())
            patience = FLUSH
        finally:
            self.untracked = self._tracker.close(patience)

    def summary(self) -> Summary:
        """The study as it stands."""
        study = self.study
        earlier = [len(reused(study.space, b, [study.prior, *study.records[:i]])) for i, b in enumerate(study.boxes)]
        return Summary(self.spec, study.records, study.boxes, earlier, study.totals, study.best)

    def _portray(self) -> None:
        """The champion seen from its rows, which a report's reader may not have."""
        best = self.study.best
        stored = self._storage.weights.find(best)
        if best is None or stored is None or stored.test is None or Diagnostics.from_bytes(stored.diagnostics):
            return
        dataset = self.dataset.at(best.point)
        seen = diagnose(self.spec, dataset, self.prepared[dataset.number], best.point, stored.weights)
        self._storage.weights.save_diagnostics(best, seen.to_bytes())

    def _model(self) -> Path | None:
        best = self.study.best
        stored = self._storage.weights.find(best)
        if best is None or stored is None:
            return None
        folder = self._folder / "model"
        champion_model(self.spec, self._storage, best, stored).save(folder, example=True)
        return folder


def _workers(spec: Spec) -> int:
    if spec.workers != "auto":
        return spec.workers
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return available or 1


def _changes(storage: StudyDatabase, stored: StoredStudy, spec: Spec) -> list[str]:
    """What of the file has changed since the study began, a line each.

    Raises:
        StorageError: something that the study cannot go on with.
    """
    where = display_name(storage.url)
    if stored.name != spec.name:
        raise StorageError(f"{where}: holds study '{stored.name}', not '{spec.name}'; name another file with --storage")
    begun = storage.stages.load()
    old = restore_spec(stored.spec, where)
    asked = {s.name: storage.trials.count(s.name) for s in old.stages}
    asked = {name: count for name, count in asked.items() if count or name in begun}
    changes = compare_specs(old, spec, asked)
    if not asked and storage.trials.count(PRIOR) and (differing := changed_sections(old, spec)):
        raise StorageError(f"{where}: was forked with another {', '.join(differing)}, which its trials depend on")
    if changes.refused:
        raise StorageError(
            f"{where}: holds study '{stored.name}', made from another file, and cannot go on with what differs:\n"
            + "\n".join(f"  {change}" for change in changes.refused)
            + "\nStart a new study that uses again what it can: hpsearch run STUDY.yaml --fork NEWNAME"
        )
    return [f"changed since the study began: {change}" for change in changes.changes]


def _keep_prepared(storage: StudyDatabase, spec: Spec, blueprints: list[PreparedData]) -> None:
    """Of a study that has asked no trial everything may have changed, and how rows are prepared with it."""
    contents, stored = [b.to_bytes() for b in blueprints], storage.study.prepared()
    if not stored or (stored != contents and not any(storage.trials.count(stage.name) for stage in spec.stages)):
        storage.study.save_prepared(contents)


def _begun(storage: StudyDatabase, spec: Spec, dataset: Dataset, parent: str | None) -> tuple[StoredStudy, list[str]]:
    """The study as it is stored, begun if it is not there, and what a person should know.

    Raises:
        StorageError: it is there and cannot go on with this file or these data.
    """
    stored, content = storage.study.find(), spec.model_dump(mode="json")
    if stored is None and parent is not None:
        trials, name, note = prior(parent, spec, dataset.fingerprint, versions())
        return storage.begin(spec.name, content, dataset.fingerprint, versions(), trials, name), [note]
    if stored is None:
        return storage.begin(spec.name, content, dataset.fingerprint, versions()), []
    if parent is not None:
        raise StorageError(
            f"{display_name(storage.url)}: is there already; go on with: hpsearch resume {display_name(storage.url)}"
        )
    if stored.fingerprint != dataset.fingerprint:
        raise StorageError(
            f"{display_name(storage.url)}: the data have changed since the study began "
            f"(fingerprint {stored.fingerprint}, now {dataset.fingerprint}); "
            "start a new study: hpsearch run STUDY.yaml --fork NEWNAME"
        )
    notices = _changes(storage, stored, spec)
    if notices:
        storage.study.change_spec(content)
    if stored.version != versions():
        notices.append(f"begun with {stored.version}, now {versions()}: trials may come out differently")
    return stored, notices


def _retried(storage: StudyDatabase, spec: Spec) -> list[str]:
    """Failed trials are to train again; what a person should know."""
    count = sum(storage.retry_failed(stage.name) for stage in spec.stages)
    return [f"{count} failed trial{'s' * (count != 1)} to train again"]

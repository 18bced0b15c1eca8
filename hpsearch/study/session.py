"""Sessions: open the database, data, executor and tracker of a study from its spec and the options of a command."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, final

from hpsearch.config.load import restore_spec
from hpsearch.config.references import preprocessing_values, search_space
from hpsearch.config.spec import Spec
from hpsearch.core.files.temporary import private_folder, remove_abandoned
from hpsearch.core.reading.interruption import interrupted_at_once
from hpsearch.core.version import versions
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.data.preprocessing import Preprocessing
from hpsearch.errors import OutputError, StorageError
from hpsearch.models.evidence import Evidence
from hpsearch.models.prepared import PreparedData
from hpsearch.search.schedule.ahead import idle_notice, worker_count
from hpsearch.storage.access.server import Waiting
from hpsearch.storage.connection import NO_STUDY
from hpsearch.storage.database import check_separate, display_name, file_of
from hpsearch.storage.records import StoredStudy
from hpsearch.storage.study_db import StudyDatabase, read
from hpsearch.study.baselines import missing_baselines, reduced_rows, store_baselines
from hpsearch.study.champion import save_ensemble, save_model, store_diagnostics
from hpsearch.study.context import StudyContext
from hpsearch.study.fork import ParentStudy, read_parent
from hpsearch.study.loop import Study
from hpsearch.study.progress import StudyProgress, halting_on_shortage
from hpsearch.study.start import check_changes, resume_study, retry_failed, start_study, store_prepared
from hpsearch.study.summary import RestoredStudy, Summary, count_reused, load_baselines, restore_study
from hpsearch.tracking import PREPARATIONS, TRACKERS, BackgroundTracker, NullTracker, StudyInfo, TrackerFactory
from hpsearch.training.executors import EXECUTORS, Executor, open_cluster
from hpsearch.training.executors.dask.address import NO_CERTIFICATES, Certificates, ClusterAddress
from hpsearch.training.kernel import keep_kernel
from hpsearch.training.objectives import objective_of
from hpsearch.training.objectives.code import find_code

FLUSH_SECONDS = 120.0  # time for a tracker to send the remaining trials after a study has ended
FLUSH_SECONDS_STOPPED = 3.0  # the same after a study was interrupted

ExecutorFactory = Callable[[int, str], Executor]  # number of workers, folder for temporary files → executor


class Options(NamedTuple):
    """Options for running a study; none affects the result of a trial.

    Attributes:
        workers: number of workers; None for the number in the study file.
        tracking: MLflow tracking URI; "none" disables tracking.
        stop: called between steps; when it returns True, the study stops.
        retry_failed: train failed trials again.
        parent: URL of the database of the study to fork.
        parent_study: name of the study to fork; None for the only one of its database.
        study: name of the study to resume; None for the name in the study file, or for the only one of the database.
        rollback: use a database file without a write-ahead log.
        notify: tells the user that a server does not answer.
        executor: name of an executor, or a function that returns one.
        cluster: address of a Dask cluster, which trains in place of the executor; None for that in the study file.
        certificates: files for a connection to the cluster with TLS.
        tracker: name of a tracker, or a function that returns one.
        folder: folder of the study file, in which training code is found; None for that of the database.
    """

    workers: int | None
    tracking: str
    stop: Callable[[], bool] = lambda: False
    retry_failed: bool = False
    parent: str | None = None
    parent_study: str | None = None
    study: str | None = None
    rollback: bool = False
    notify: Callable[[str], None] = lambda _: None
    executor: str | ExecutorFactory = "processes"
    tracker: str | TrackerFactory = "mlflow"
    cluster: str | None = None
    certificates: Certificates = NO_CERTIFICATES
    folder: Path | None = None


@final
class Session:
    """A study that is ready to run: its resources are open, and no trial has been trained in this session.

    It is a context manager that closes the resources; `run` may be called once.

    Args:
        spec: from a study file; None to use the spec in the database.
        url: URL of the study database.

    Raises:
        StorageError: the database cannot be used for this study.
        DataError: the data cannot be read, or the model does not fit them.
        KernelError: the kernel that the study trains with cannot be loaded.
        Halted: the machine has not enough memory, open files or disk space.
    """

    def __init__(self, spec: Spec | None, url: str, options: Options) -> None:
        self._exit = ExitStack()
        try:
            with halting_on_shortage():
                self._open(spec, url, options)
        except BaseException:
            self._exit.close()
            raise

    def _open(self, file_spec: Spec | None, url: str, options: Options) -> None:
        if options.tracking != "none":
            check_separate(url, options.tracking)
        # Read first: opening the database for writing creates files in its folder.
        parent = None if options.parent is None else read_parent(options.parent, options.parent_study)
        restored = read(url, restore_study, options.study) if file_spec is None else None
        name = restored.spec.name if restored else file_spec.name if file_spec else None
        waiting = Waiting(options.notify, options.stop)
        create, rollback = file_spec is not None, options.rollback
        self._storage = StudyDatabase.open(url, name, create=create, rollback=rollback, waiting=waiting)
        self._exit.callback(self._storage.close)
        self._exit.enter_context(self._storage.lease.hold())
        stored = self._storage.study.find()
        old = None if stored is None else _spec_of(stored, restored, url)
        spec = keep_kernel(file_spec or _required_spec(old, url), old or (parent.spec if parent else None))
        changes = [] if stored is None or old is None else check_changes(self._storage, stored, old, spec)
        self._folder = self._temporary_folder()
        self._executor = self._open_executor(spec, options)
        self._tracker = self._open_tracker(options)
        dataset = self._load_data(spec)
        code = find_code(spec, options.folder or _folder_of(url))
        spec, training_notices = objective_of(spec).settle(spec, dataset, code)
        self.spec = spec
        idle = idle_notice(spec, self._executor.workers)
        self.notices = [*dataset.notices, *training_notices, *([idle] if idle else [])]
        space = search_space(spec)
        if stored is None:
            stored, notices = start_study(self._storage, spec, space, dataset, code, parent)
        else:
            _check_not_forked(parent, self._storage)
            notices = resume_study(self._storage, stored, spec, dataset, code, changes)
        self.notices += notices
        if spec.data is not None:
            store_prepared(self._storage, spec, PreparedData.of_variants(dataset, self._prepared))
        if options.retry_failed:
            self.notices += retry_failed(self._storage, spec)
        self._stored = stored
        parts = spec, space, dataset, self._storage, self._executor, self._tracker
        self._context = StudyContext(*parts, options.stop, code)
        self.study = Study(self._context)
        self._evidence: Evidence | None = None
        self._baselines = load_baselines(self._storage)  # kept, because a summary may be made when all is closed
        self.untracked: str | None = None
        self.tracking_note: str | None = None

    def _load_data(self, spec: Spec) -> Dataset:
        self._prepared: tuple[tuple[Preprocessing, ...], ...] = ()
        if spec.data is None:
            return Dataset.empty(str(self._folder))
        with interrupted_at_once():
            dataset, self._prepared = prepare(spec.data, spec.seed, self._folder, preprocessing_values(spec))
        return dataset

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def run(self) -> Iterator[StudyProgress]:
        """Train all missing trials, yielding progress; `summary` then returns the result.

        Raises:
            Interrupted: `stop` returned True; finished trials are stored.
            Halted: the study cannot continue; finished trials are stored.
        """
        timeout = FLUSH_SECONDS_STOPPED
        progress = self.study.run()
        try:
            with halting_on_shortage():
                first = next(progress)  # the first trials train: the tracker starts while the workers train
                self._start_tracking()
                yield first
                yield from progress
                self._executor.close()
                yield from self._fit_baselines()
                store_diagnostics(self._context, self.study.best, self._prepared)
                weights = self._storage.weights.find(self.study.best)
                self._evidence = Evidence.from_diagnostics(weights.diagnostics) if weights else None
                model = save_model(self._context, self.study.best, self._folder / "model")
                study, folder = self.study, self._folder / "ensemble"
                ensemble = save_ensemble(self._context, study.ensemble, study.trials, folder)
                self._tracker.finish_study(self.summary().ranking, model, self._baselines, ensemble)
            timeout = FLUSH_SECONDS
        finally:
            self.untracked = self._tracker.close(timeout)
            self.tracking_note = self._tracker.note

    def _fit_baselines(self) -> Iterator[StudyProgress]:
        """Fit and store the baselines that are missing; yield a report if some are fitted to a part of the rows."""
        missing = missing_baselines(self._context, self.study.best)
        if notes := tuple(reduced_rows(missing)):
            yield self.study.progress(notes)
        store_baselines(self._context, missing, str(self._folder))
        self._baselines = load_baselines(self._storage)

    def _start_tracking(self) -> None:
        if not isinstance(self._tracker, NullTracker):
            context = self._context
            url, shared = self._storage.url, self._storage.connection.is_shared
            data = context.dataset
            info = StudyInfo.from_stored(context.spec, self._stored, url, versions(), data, shared=shared)
            self._tracker.start_study(info)

    def summary(self) -> Summary:
        """Return the current state of the study."""
        study = self.study
        reused = count_reused(study.space, study.boxes, [study.transferred, *study.trials])
        parts = (study.spec, study.space, study.trials, study.boxes, reused, study.totals, study.best)
        shared, evidence = self._storage.connection.is_shared, self._evidence
        return Summary(*parts, baselines=self._baselines, ensemble=study.ensemble, shared=shared, evidence=evidence)

    @property
    def arguments(self) -> str:
        """The database and, if needed, the study as arguments of a command."""
        return self._storage.connection.arguments

    def _temporary_folder(self) -> Path:
        try:
            folder = self._exit.enter_context(private_folder())
            remove_abandoned()
            return folder
        except OSError as error:
            raise OutputError(f"{tempfile.gettempdir()}: cannot be written: {error.strerror}") from None

    def _open_executor(self, spec: Spec, options: Options) -> Executor:
        cluster, folder = options.cluster or spec.cluster, str(self._folder)
        if cluster is not None:
            executor = open_cluster(ClusterAddress.parse(cluster, options.certificates), folder)
        else:
            factory = EXECUTORS[options.executor] if isinstance(options.executor, str) else options.executor
            executor = factory(options.workers or worker_count(spec), folder)
        self._exit.callback(executor.close)
        return executor

    def _open_tracker(self, options: Options) -> BackgroundTracker | NullTracker:
        if options.tracking == "none":
            return NullTracker()
        chosen = options.tracker
        factory = TRACKERS[chosen] if isinstance(chosen, str) else chosen
        prepare = PREPARATIONS.get(chosen) if isinstance(chosen, str) else None
        tracker = BackgroundTracker("MLflow", factory, options.tracking, str(self._folder), options.stop, prepare)
        self._exit.callback(tracker.close, FLUSH_SECONDS_STOPPED)
        tracker.open()
        return tracker


def _spec_of(stored: StoredStudy, restored: RestoredStudy | None, url: str) -> Spec:
    """Return the spec of a stored study; a spec that was restored before the lease is reused if it has not changed."""
    if restored is not None and restored.stored.spec == stored.spec:
        return restored.spec
    return restore_spec(stored.spec, display_name(url))


def _folder_of(url: str) -> Path:
    """Return the folder of a database file; the current folder for a server."""
    file = file_of(url)
    return Path() if file is None else file.parent


def _required_spec(spec: Spec | None, url: str) -> Spec:
    if spec is None:
        raise StorageError(f"{display_name(url)}: {NO_STUDY}")
    return spec


def _check_not_forked(parent: ParentStudy | None, storage: StudyDatabase) -> None:
    """Raise `StorageError` for a fork whose study exists already."""
    if parent is not None:
        resume = f"hpsearch resume {storage.connection.arguments}"
        raise StorageError(f"{display_name(storage.url)}: already exists; resume it with: {resume}")

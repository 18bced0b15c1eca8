"""What the commands do: a spec and a database → a study that runs; a database → what it holds."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, final

from hpsearch import __version__, checking
from hpsearch.build import check_fit
from hpsearch.dataset import Dataset, prepare
from hpsearch.errors import OutputError, StorageError
from hpsearch.executors import EXECUTORS
from hpsearch.models import champion
from hpsearch.record import FINISHED, Record, ranked
from hpsearch.space import Box
from hpsearch.spec import Spec
from hpsearch.stages import box, reused
from hpsearch.storage import Storage, StoredStudy, shown, url_of
from hpsearch.study import Progress, Study, load
from hpsearch.trackers import TRACKERS, Beside, Silent, Subject, Tracker
from hpsearch.uses import searched

FLUSH, FLUSH_STOPPED = 120.0, 3.0  # seconds a tracker gets at the end, and when somebody waits for us to stop


class Summary(NamedTuple):
    """A study as its database tells it.

    Attributes:
        boxes: what each stage searches, as far as that is settled.
        reused: how many earlier trials each stage began with.
    """

    spec: Spec
    records: list[list[Record]]
    boxes: list[Box]
    reused: list[int]

    @property
    def ranking(self) -> list[Record]:
        """Complete trials, best first."""
        names = [s.name for s in self.spec.stages]
        return ranked((r for records in self.records for r in records), self.spec.metric.sign, names)


@final
class Session:
    """A study about to run: everything opened, nothing trained yet; `run` once, and leave the context.

    Args:
        spec: from a study file; None to take what the database holds.
        tracking: MLflow's URI, or "none".
        stop: asked between steps.

    Raises:
        StorageError: the database cannot be used for this study.
        DataError: nor can the data.
    """

    def __init__(
        self, spec: Spec | None, url: str, workers: int | None, tracking: str, stop: Callable[[], bool]
    ) -> None:
        self._exit = ExitStack()
        try:
            self._open(spec, url, workers, tracking, stop)
        except BaseException:
            self._exit.close()
            raise

    def _open(self, spec: Spec | None, url: str, workers: int | None, tracking: str, stop: Callable[[], bool]) -> None:
        self.url = url
        self.notices: list[str] = []
        if spec is None:
            stored_spec(url)  # before anything is written beside it
        self._storage = Storage.open(url, create=spec is not None)
        self._exit.callback(self._storage.close)
        self._exit.enter_context(self._storage.lock())
        stored = self._storage.study()
        self.spec = spec or checking.restore(stored.spec if stored else {}, shown(url))
        if stored is not None:
            _same(stored, self.spec, url)
        try:
            folder = Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="hpsearch-")))
        except OSError as error:
            raise OutputError(f"{tempfile.gettempdir()}: cannot be written: {error.strerror}") from None
        self._folder = folder
        executor = EXECUTORS["processes"](workers or _workers(self.spec), str(folder))
        self._exit.callback(executor.close)
        self._tracker: Tracker = Silent()
        if tracking != "none":  # while it is imported and opened, the data are read
            self._tracker = Beside("MLflow", TRACKERS["mlflow"], tracking, str(folder), stop)
            self._exit.callback(self._tracker.close, FLUSH_STOPPED)
        self.dataset, self.scaling = prepare(self.spec.data, self.spec.seed, folder)
        check_fit(self.spec, self.dataset)
        stored = _begun(self._storage, stored, self.spec, self.dataset)
        if stored.version != versions():
            self.notices.append(f"begun with {stored.version}, now {versions()}: trials may come out differently")
        facts = {"version": versions(), "data": self.dataset.fingerprint, "database": shown(url)}
        self._tracker.begin(Subject(self.spec, stored.identity, stored.created, facts))
        self.study = Study(self.spec, self.dataset, self._storage, executor, self._tracker, stop)
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
            self._tracker.finish(self.summary().ranking, self._model())
            patience = FLUSH
        finally:
            self.untracked = self._tracker.close(patience)

    def summary(self) -> Summary:
        """The study as it stands."""
        boxes = self.study.boxes
        earlier = [len(reused(self.study.space, b, self.study.records[:i])) for i, b in enumerate(boxes)]
        return Summary(self.spec, self.study.records, boxes, earlier)

    def _model(self) -> Path | None:
        best, stored = self.study.best, self._storage.champion()
        if best is None or stored is None:
            return None
        folder = self._folder / "model"
        champion(self.spec, self.dataset, self.scaling, best, stored.weights).save(folder)
        return folder


def summary(url: str) -> Summary:
    """What a database holds, reading only.

    Raises:
        StorageError: it is no database of a study.
    """
    spec = stored_spec(url)
    storage = Storage.open(url, create=False)
    try:
        axes = searched(spec)
        records: list[list[Record]] = []
        boxes: list[Box] = []
        for number in range(len(spec.stages)):
            settled = all(
                len(r) == s.trials and all(t.state in FINISHED for t in r)
                for r, s in zip(records, spec.stages, strict=False)
            )
            if not settled or len(records) < number:
                break
            boxes.append(box(spec, axes, number, records))
            records.append(load(spec, axes, storage, number))
        earlier = [len(reused(axes, b, records[:i])) for i, b in enumerate(boxes)]
        result = Summary(spec, records, boxes, earlier)
        best, stored = result.ranking[:1], storage.champion()
        if best and stored and stored.test and (stored.stage, stored.number) == (best[0].stage, best[0].number):
            place = [s.name for s in spec.stages].index(stored.stage)
            records[place][stored.number] = best[0]._replace(metrics={**best[0].metrics, **stored.test})
        return result
    finally:
        storage.close()


def stored_spec(url: str) -> Spec:
    """The spec in a database.

    Raises:
        StorageError: there is none.
    """
    storage = Storage.open(url, create=False)
    try:
        stored = storage.study()
    finally:
        storage.close()
    if stored is None:
        raise StorageError(f"{shown(url)}: holds no study yet; start one with: hpsearch run STUDY.yaml")
    return checking.restore(stored.spec, shown(url))


def default_url(study_file: Path, name: str) -> str:
    """`<name>.db` beside the study file."""
    return url_of(str(study_file.parent / f"{name}.db"))


def default_tracking() -> str:
    """`mlruns/mlflow.db` under the current folder, as an absolute URI: MLflow's defaults move with the folder."""
    return f"sqlite:///{Path('mlruns/mlflow.db').absolute()}"


def versions() -> str:
    """What decides the numbers of a study."""
    return ", ".join([f"hpsearch {__version__}", *(f"{name} {version(name)}" for name in ("numpy", "optuna"))])


def _workers(spec: Spec) -> int:
    if spec.workers != "auto":
        return spec.workers
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return available or 1


def _same(stored: StoredStudy, spec: Spec, url: str) -> None:
    """The database's study must be the file's, but for what cannot change a result.

    Raises:
        StorageError: saying what differs.
    """
    if stored.name != spec.name:
        raise StorageError(
            f"{shown(url)}: holds study '{stored.name}', not '{spec.name}'; name another file with --storage"
        )
    old = checking.restore(stored.spec, shown(url)).model_dump(mode="json")  # with what later versions have added
    differing = list(_differences(old, spec.model_dump(mode="json"), ""))
    if differing:
        raise StorageError(
            f"{shown(url)}: holds study '{stored.name}' made from another file; what differs:\n"
            + "\n".join(f"  {line}" for line in differing)
            + "\nGive the study another name, or name another file with --storage"
        )


def _differences(old: Any, new: Any, path: str) -> Iterator[str]:
    if path == "workers" or old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(k for k in new if k not in old)]:
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from _differences(a, b, f"{path}.{number}")
    else:
        yield f"{path}: {old} in the database, {new} in the file"


def _begun(storage: Storage, stored: StoredStudy | None, spec: Spec, dataset: Dataset) -> StoredStudy:
    if stored is None:
        return storage.begin(spec.name, spec.model_dump(mode="json"), dataset.fingerprint, versions())
    if stored.fingerprint != dataset.fingerprint:
        raise StorageError(
            f"{shown(storage.url)}: the data have changed since the study began "
            f"(fingerprint {stored.fingerprint}, now {dataset.fingerprint}); start a study of another name"
        )
    return stored

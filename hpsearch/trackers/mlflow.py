"""MLflow: one experiment a study, one flat run a trial, one batch each.

What stands there is made to follow the records: a run that is missing is sent, one that a kill left unfinished is
finished, one that tells of an earlier outcome is replaced (MLflow cannot take numbers back), and one that is there
twice is deleted once.
"""

import contextlib
import gc
import json
import logging
import os
import re
import sqlite3
import tempfile
from math import isfinite, log10
from pathlib import Path
from typing import Any, NamedTuple, Self, final
from urllib.parse import quote

import numpy as np
import sqlalchemy as sa
from filelock import FileLock

from hpsearch.database import file_of
from hpsearch.record import Record, checked_every
from hpsearch.space import Axis
from hpsearch.trackers.base import Lost, Subject, masked
from hpsearch.trackers.registry import FOLDER, register
from hpsearch.uses import searched

BUSY = 5.0  # seconds to wait for another process that writes
FINAL = ("test/", "fit/")  # scores of the champion alone
POINTS = 25  # of a curve: every one costs 75 µs and 80 bytes for ever; the whole history is an artifact
PICTURES = 3  # best trials that get a loss-curve picture
STATUS = {"complete": "FINISHED", "pruned": "KILLED", "diverged": "FAILED", "failed": "FAILED"}
TAG, STATE, CHAMPION, SETTLED = "hpsearch.trial", "hpsearch.state", "hpsearch.champion", "hpsearch.settled"


class _Run(NamedTuple):
    """A run as MLflow has it; times in milliseconds."""

    id: str
    status: str
    state: str
    start: int
    end: int | None
    champion: bool = False
    settled: bool = False  # ended by us, though nobody knows its outcome

    @classmethod
    def of(cls, run: Any) -> Self:
        info, tags = run.info, run.data.tags
        state = tags.get(STATE, "")
        return cls(info.run_id, info.status, state, info.start_time, info.end_time, CHAMPION in tags, SETTLED in tags)

    def tells_of(self, record: Record) -> bool:
        """Whether it was made for this outcome of the trial, and not for an earlier one."""
        return (self.state, self.start) == (record.state, _times(record)[0])

    def whole(self, record: Record) -> bool:
        """Whether it tells of this outcome, and all of it."""
        ended = (self.status, self.end) == (STATUS[record.state], _times(record)[1])
        return ended and not self.settled and self.tells_of(record)


@final
class MlflowTracker:
    """Sends finished trials to a tracking server or database.

    A trial is found again by its tag, and everything sent derives from its record, so that sending it again adds
    nothing: what could not be sent is sent when the study is run again.

    Args:
        uri: of MLflow's tracking store.

    Attributes:
        sent: runs made.
        settled: runs that had been left unfinished, and are no more.
        there: runs that were whole already.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._file = file_of(uri) if uri.startswith("sqlite") else None
        self._artifacts = self._file.parent.absolute() / "artifacts" if self._file else None
        self._client = _client(uri, self._file, self._artifacts)
        self._inode = self._file.stat().st_ino if self._file else 0
        self._axes: tuple[Axis, ...] = ()
        self._experiment = self._name = self._identity = ""
        self._runs: dict[str, list[_Run]] = {}  # by trial; one each, once it is told
        self._told: set[str] = set()
        self.sent = self.settled = self.there = 0

    def begin(self, subject: Subject) -> None:
        from mlflow.entities import ViewType

        self._usable()
        self._axes = searched(subject.spec).axes
        self._experiment, self._name = self._experiment_of(subject)
        self._identity = subject.identity
        self._runs = {}
        token = None
        while True:
            page = self._client.search_runs([self._experiment], "", ViewType.ACTIVE_ONLY, 1000, page_token=token)
            for run in page:
                if TAG in run.data.tags:
                    self._runs.setdefault(run.data.tags[TAG], []).append(_Run.of(run))
            token = page.token
            if not token:
                return

    def tell(self, record: Record) -> None:
        self._usable()
        self._told.add(record.label)
        runs = self._runs.get(record.label, [])
        kept = next((r for r in runs if r.whole(record)), None)
        if kept is not None:
            self.there += 1
        else:
            kept = self._send(record, next((r for r in runs if r.tells_of(record)), None))
        for run in runs:
            if run.id != kept.id:
                self._client.delete_run(run.id)
        self._runs[record.label] = [kept]

    def finish(self, ranking: list[Record], model: Path | None) -> None:
        self._usable()
        self._settle()
        if ranking:
            self._dethrone(ranking)
        for record in ranking[:PICTURES]:
            if record.label in self._runs:
                with tempfile.TemporaryDirectory() as folder:
                    curves(record, Path(folder) / "loss.png")
                    self._client.log_artifact(self._runs[record.label][0].id, f"{folder}/loss.png")
        if ranking and ranking[0].label in self._runs:
            self._crown(ranking[0], model)

    def close(self, seconds: float) -> str | None:
        self._present()
        if self._file is not None:
            with contextlib.closing(_connected(self._file, seconds)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the file is whole by itself when copied
        return None

    def _experiment_of(self, subject: Subject) -> tuple[str, str]:
        """The study's experiment and what it is called: as the study, with a part of its identity when another study
        has the name."""
        facts = {f"hpsearch.{name}": masked(value) for name, value in subject.facts.items()}
        for name in (subject.spec.name, f"{subject.spec.name} {subject.identity[:8]}"):
            found = self._client.get_experiment_by_name(name)
            if found is None:
                folder = self._artifacts and self._artifacts / re.sub(r"[^A-Za-z0-9._-]+", "-", name)
                location = folder.as_uri() if folder else None
                tags = {"hpsearch.study": subject.identity, **facts}
                return str(self._client.create_experiment(name, artifact_location=location, tags=tags)), name
            if found.tags.get("hpsearch.study") == subject.identity:
                if found.lifecycle_stage == "active":
                    return str(found.experiment_id), name
                raise RuntimeError(
                    f"its experiment was deleted; restore it: mlflow experiments restore -x {found.experiment_id}"
                )
        raise RuntimeError(f"two other studies have the experiments '{subject.spec.name}' and '{name}'")

    def _present(self) -> None:
        """SQLite writes on into a file that was deleted, and says nothing.

        Raises:
            Lost: it was.
        """
        if self._file is None:
            return
        with contextlib.suppress(FileNotFoundError):
            if self._file.stat().st_ino == self._inode:
                return
        raise Lost(f"{self._file} was deleted or replaced meanwhile")

    def _usable(self) -> None:
        """Asks first whether a file can be written: MLflow by itself waits 20 s for one that is locked."""
        self._present()
        if self._file is not None:
            with contextlib.closing(_connected(self._file, BUSY)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")

    def _send(self, record: Record, begun: _Run | None) -> _Run:
        """A run of its own, or the rest of one that was begun."""
        from mlflow.entities import Metric, Param
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        start, end = _times(record)
        metrics, dropped = self._metrics(record, start, end)
        if begun is not None:
            run = self._client.get_run(begun.id)
        else:
            run = self._client.create_run(self._experiment, start, _tags(record, dropped), record.label)
            self._runs.setdefault(record.label, []).append(_Run(run.info.run_id, "RUNNING", record.state, start, None))
        run_id = run.info.run_id
        params = self._params(record)
        self._client.log_batch(run_id, [Metric(*m) for m in metrics], [Param(k, v) for k, v in params.items()])
        finite = {name: [v if isfinite(v) else None for v in values] for name, values in record.history.items()}
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "history.json").write_text(json.dumps(finite), "utf-8")
            # by the run's own address: the client would read the whole run again to find it
            artifacts: Any = get_artifact_repository(run.info.artifact_uri, self._uri)
            artifacts.log_artifact(f"{folder}/history.json")
        if begun is not None and begun.settled:
            self._client.delete_tag(run_id, SETTLED)
        self._client.set_terminated(run_id, STATUS[record.state], end)
        self.sent += begun is None
        self.settled += begun is not None
        return _Run(run_id, STATUS[record.state], record.state, start, end, begun is not None and begun.champion)

    def _settle(self) -> None:
        """Runs left RUNNING of trials that the study database does not know as finished: it may be an older copy."""
        for label in self._runs.keys() - self._told:
            runs = sorted(self._runs[label], key=lambda r: r.status == "RUNNING")
            for number, run in enumerate(runs):
                if run.status == "RUNNING" and number:
                    self._client.delete_run(run.id)
                elif run.status == "RUNNING":
                    self._client.set_tag(run.id, SETTLED, "the study database does not know its trial as finished")
                    self._client.set_terminated(run.id, "KILLED", run.start)
                    self.settled += 1

    def _params(self, record: Record) -> dict[str, str]:
        """Plain numbers; MLflow's charts have no log axis, so log-scaled parameters are there as log10 too."""
        params = {name: str(value) for name, value in record.point.items()}
        for axis in self._axes:
            if axis.log and axis.key in record.raws:
                params[f"log10_{axis.key}"] = f"{log10(float(record.raws[axis.key])):.6g}"
        return params

    def _metrics(self, record: Record, start: int, end: int) -> tuple[list[tuple[str, float, int, int]], int]:
        """(key, value, timestamp, step) of what is worth a chart, and how many numbers were not finite."""
        single = {f"best/{name}": value for name, value in record.metrics.items() if not name.startswith(FINAL)}
        single |= {"epochs": record.epochs, "seconds": record.seconds}
        if record.state == "complete" and record.value is not None:
            single |= {"objective": record.value, "best_epoch": record.best_epoch}
        rows = [(name, float(value), end, 0) for name, value in single.items()]
        dropped, every = 0, checked_every(record.epochs, record.history)
        for name, values in record.history.items():
            for i in thinned(len(values), record.best_epoch // every - 1):
                if isfinite(values[i]):
                    rows.append((name, values[i], start + (end - start) * (i + 1) // len(values), (i + 1) * every))
            dropped += sum(not isfinite(v) for v in values)
        return rows, dropped

    def _dethrone(self, ranking: list[Record]) -> None:
        """Whoever was champion before: its run goes, as its test scores cannot, and it gets another without them."""
        records = {r.label: r for r in ranking[1:]}
        for label, runs in list(self._runs.items()):
            for run in [r for r in runs if r.champion and label != ranking[0].label]:
                if label in records:
                    self._runs[label] = [self._send(records[label], None)]
                    self._client.delete_run(run.id)
                else:
                    self._client.delete_tag(run.id, CHAMPION)

    def _crown(self, record: Record, model: Path | None) -> None:
        """The champion: its test scores and its model, which is registered."""
        from mlflow.entities import Metric, RunTag

        run, end = self._runs[record.label][0].id, _times(record)[1]
        scores = [Metric(k, v, end, 0) for k, v in record.metrics.items() if k.startswith(FINAL) and isfinite(v)]
        self._client.log_batch(run, metrics=scores, tags=[RunTag(CHAMPION, "true")])
        if model is not None:
            self._client.log_artifacts(run, str(model), FOLDER)
            study = (self._name.replace(" ", "-"), self._identity)  # no space: it is typed in a shell
            register(self._client, run, record.label, model, study)


def _times(record: Record) -> tuple[int, int]:
    """Start and end in milliseconds: the record's, so that what is sent again is the same."""
    end = round(record.finished * 1000)
    return end - round(record.seconds * 1000), end


def _tags(record: Record, dropped: int) -> dict[str, str]:
    tags = {TAG: record.label, "hpsearch.stage": record.stage, STATE: record.state, "mlflow.source.name": "hpsearch"}
    tags |= {"hpsearch.dropped": f"{dropped} values were not finite"} if dropped else {}
    tags |= {"hpsearch.error": masked(record.error)} if record.error else {}
    tags |= {"hpsearch.origin": record.origin} if record.origin else {}
    return tags


def _client(uri: str, file: Path | None, artifacts: Path | None) -> Any:
    """MLflow, imported and opened. A file under a lock: processes that open a fresh one together leave it unusable."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")  # what it logs it raises too, and we say it in one line
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # a server that is down: seconds, not minutes
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # of each run that ends, on our stdout
    for name in ("alembic", "sqlalchemy", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    gc.disable()  # an import makes objects that stay: collecting among them takes a quarter of its time
    from matplotlib import figure  # noqa: F401 (for later: now there is time)
    from mlflow import MlflowClient

    gc.freeze()
    gc.enable()
    if file is None or artifacts is None:
        return MlflowClient(uri)
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock", timeout=60):
        if file.exists() and (file.is_dir() or file.stat().st_size):
            _look(file)
        else:
            _create(file, artifacts)
        return MlflowClient(uri)


def _connected(path: Path, seconds: float) -> sqlite3.Connection:
    """A connection to a file that is there; it makes none."""
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=rw", timeout=seconds, uri=True)


def _look(path: Path) -> None:
    """MLflow would try a damaged file for minutes before it says so, and move into another program's."""
    with contextlib.closing(_connected(path, BUSY)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if names and "experiments" not in names:
        raise RuntimeError(f"{path} is a database, but not MLflow's; name another one")


def _create(path: Path, artifacts: Path) -> None:
    """A fresh database under another name, renamed when it is whole: a kill amid its migrations would spoil it."""
    from mlflow.store.tracking import sqlalchemy_store

    draft = path.with_name(f"{path.name}.draft")
    logs = [f.with_name(f"{f.name}{end}") for f in (draft, path) for end in ("-wal", "-shm", "-journal")]
    for left in (draft, *logs):  # SQLite would play the log of a deleted database into the new one
        left.unlink(missing_ok=True)
    store: Any = sqlalchemy_store.SqlAlchemyStore(f"sqlite:///{draft}", artifacts.as_uri())  # type: ignore[no-untyped-call]
    store.engine.dispose()
    engine = sa.create_engine(f"sqlite:///{draft}")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")  # stays; MLflow does not set it
    engine.dispose()
    draft.replace(path)


def thinned(length: int, best: int) -> list[int]:
    """At most `POINTS` places of a curve: the first, the last and the best among them."""
    places = {round(i) for i in np.linspace(0, length - 1, min(length, POINTS))} if length else set()
    if 0 <= best < length and best not in places:
        places -= {min(places - {0, length - 1}, key=lambda i: abs(i - best))}
        places |= {best}
    return sorted(places)


def curves(record: Record, file: Path) -> None:
    """The trial's losses by epoch as PNG, its best epoch marked."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4))
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0.17, right=0.97, top=0.92, bottom=0.12)
    axes = figure.add_subplot()
    every = checked_every(record.epochs, record.history)
    for name, color in (("train/loss", "tab:blue"), ("val/loss", "tab:orange")):
        if name in record.history:
            values = record.history[name]
            axes.plot(range(every, record.epochs + 1, every), values, color=color, label=name)
    axes.axvline(record.best_epoch, color="tab:green", linestyle=":", label=f"best, epoch {record.best_epoch}")
    axes.set(title=record.label, xlabel="epoch", ylabel="loss", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right")
    figure.savefig(file)

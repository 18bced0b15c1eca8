"""MLflow: one experiment a study, one flat run a trial, one batch each."""

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
from typing import Any, final

import numpy as np
import sqlalchemy as sa
from filelock import FileLock

from hpsearch.database import file_of
from hpsearch.record import Record, checked_every
from hpsearch.space import Axis
from hpsearch.trackers.base import Subject
from hpsearch.uses import searched

FINAL = ("test/", "fit/")  # scores of the champion alone
POINTS = 25  # of a curve: every one costs 75 µs and 80 bytes for ever; the whole history is an artifact
PICTURES = 3  # best trials that get a loss-curve picture
STATUS = {"complete": "FINISHED", "diverged": "FAILED", "failed": "FAILED"}
TAG = "hpsearch.trial"


@final
class MlflowTracker:
    """Sends finished trials to a tracking server or database.

    A trial is found again by its tag, and everything sent derives from its record, so that sending it again adds
    nothing: what could not be sent is sent when the study is run again.

    Args:
        uri: of MLflow's tracking store.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._file = file_of(uri) if uri.startswith("sqlite") else None
        self._artifacts = self._file.parent.absolute() / "artifacts" if self._file else None
        self._client = _client(uri, self._file, self._artifacts)
        self._axes: tuple[Axis, ...] = ()
        self._experiment = ""
        self._runs: dict[str, tuple[str, str]] = {}  # trial → run id, status

    def begin(self, subject: Subject) -> None:
        from mlflow.entities import ViewType

        self._axes = searched(subject.spec).axes
        self._experiment = self._experiment_of(subject)
        token = None
        while True:
            page = self._client.search_runs([self._experiment], "", ViewType.ACTIVE_ONLY, 1000, page_token=token)
            self._runs |= {r.data.tags[TAG]: (r.info.run_id, r.info.status) for r in page if TAG in r.data.tags}
            token = page.token
            if not token:
                return

    def finish(self, ranking: list[Record], model: Path | None) -> None:
        for record in ranking[:PICTURES]:
            run, _ = self._runs.get(record.label, ("", ""))
            if not run:
                continue
            with tempfile.TemporaryDirectory() as folder:
                curves(record, Path(folder) / "loss.png")
                self._client.log_artifact(run, f"{folder}/loss.png")
        if ranking and ranking[0].label in self._runs:
            self._crown(ranking[0], model)

    def close(self, seconds: float) -> str | None:
        if self._file is not None:
            with contextlib.closing(sqlite3.connect(self._file, timeout=seconds)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the file is whole by itself when copied
        return None

    def _experiment_of(self, subject: Subject) -> str:
        """The study's experiment; under its name and a part of its identity, when another study has the name."""
        tags = {"hpsearch.study": subject.identity, **{f"hpsearch.{k}": v for k, v in subject.facts.items()}}
        for name in (subject.spec.name, f"{subject.spec.name} {subject.identity[:8]}"):
            found = self._client.get_experiment_by_name(name)
            if found is None:
                folder = self._artifacts and self._artifacts / re.sub(r"[^A-Za-z0-9._-]+", "-", name)
                location = folder.as_uri() if folder else None
                return str(self._client.create_experiment(name, artifact_location=location, tags=tags))
            if found.tags.get("hpsearch.study") == subject.identity and found.lifecycle_stage == "active":
                return str(found.experiment_id)
        raise RuntimeError(f"the experiment of study {subject.identity} was deleted")

    def tell(self, record: Record) -> None:
        from mlflow.entities import Metric, Param
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        run_id, status = self._runs.get(record.label, ("", ""))
        if status in STATUS.values():
            return
        end = round(record.finished * 1000)
        start = end - round(record.seconds * 1000)
        metrics, dropped = self._metrics(record, start, end)
        tags = {TAG: record.label, "hpsearch.stage": record.stage, "hpsearch.state": record.state}
        tags |= {"mlflow.source.name": "hpsearch"}
        tags |= {"hpsearch.dropped": f"{dropped} values were not finite"} if dropped else {}
        tags |= {"hpsearch.error": record.error} if record.error else {}
        if run_id:
            run = self._client.get_run(run_id)
        else:
            run = self._client.create_run(self._experiment, start, tags, record.label)
            run_id = run.info.run_id
            self._runs[record.label] = (run_id, "RUNNING")
        params = self._params(record)
        self._client.log_batch(run_id, [Metric(*m) for m in metrics], [Param(k, v) for k, v in params.items()])
        finite = {name: [v if isfinite(v) else None for v in values] for name, values in record.history.items()}
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "history.json").write_text(json.dumps(finite), "utf-8")
            # by the run's own address: the client would read the whole run again to find it
            artifacts: Any = get_artifact_repository(run.info.artifact_uri)
            artifacts.log_artifact(f"{folder}/history.json")
        self._client.set_terminated(run_id, STATUS[record.state], end)
        self._runs[record.label] = (run_id, STATUS[record.state])

    def _params(self, record: Record) -> dict[str, str]:
        """Plain numbers; MLflow's charts have no log axis, so log-scaled parameters are there as log10 too."""
        params = {name: str(value) for name, value in record.point.items()}
        for axis in self._axes:
            if axis.log and axis.key in record.raws:
                params[f"log10_{axis.key}"] = f"{log10(float(record.raws[axis.key])):.6g}"
        return params

    def _metrics(self, record: Record, start: int, end: int) -> tuple[list[tuple[str, float, int, int]], int]:
        """(key, value, timestamp, step) of what is worth a chart, and how many numbers were not finite."""
        single = {f"best/{name}": value for name, value in record.metrics.items()}
        single |= {"epochs": record.epochs, "seconds": record.seconds}
        if record.value is not None:
            single |= {"objective": record.value, "best_epoch": record.best_epoch}
        rows = [(name, float(value), end, 0) for name, value in single.items()]
        dropped, every = 0, checked_every(record.epochs, record.history)
        for name, values in record.history.items():
            for i in thinned(len(values), record.best_epoch // every - 1):
                if isfinite(values[i]):
                    rows.append((name, values[i], start + (end - start) * (i + 1) // len(values), (i + 1) * every))
            dropped += sum(not isfinite(v) for v in values)
        return rows, dropped

    def _crown(self, record: Record, model: Path | None) -> None:
        """The champion: its test scores, its model, and nobody else's tag."""
        from mlflow.entities import Metric, RunTag

        run, _ = self._runs[record.label]
        end = round(record.finished * 1000)
        scores = [Metric(k, v, end, 0) for k, v in record.metrics.items() if k.startswith(FINAL) and isfinite(v)]
        for other in self._client.search_runs([self._experiment], "tags.`hpsearch.champion` = 'true'"):
            if other.info.run_id != run:
                self._client.delete_tag(other.info.run_id, "hpsearch.champion")
        self._client.log_batch(run, metrics=scores, tags=[RunTag("hpsearch.champion", "true")])
        if model is not None:
            self._client.log_artifacts(run, str(model), "model")


def _client(uri: str, file: Path | None, artifacts: Path | None) -> Any:
    """MLflow, imported and opened. A file under a lock: processes that open a fresh one together leave it unusable."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # a server that is down: seconds, not minutes
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    logging.getLogger("alembic").setLevel(logging.ERROR)
    gc.disable()  # an import makes objects that stay: collecting among them takes a quarter of its time
    from matplotlib import figure  # noqa: F401 (for later: now there is time)
    from mlflow import MlflowClient

    gc.freeze()
    gc.enable()
    if file is None or artifacts is None:
        return MlflowClient(uri)
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock", timeout=120):
        if file.exists():
            _look(file)
        else:
            _create(file, artifacts)
        return MlflowClient(uri)


def _look(path: Path) -> None:
    """MLflow would try a damaged file for minutes before it says so."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _create(path: Path, artifacts: Path) -> None:
    """A fresh database under another name, renamed when it is whole: a kill amid its migrations would spoil it."""
    from mlflow.store.tracking import sqlalchemy_store

    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
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

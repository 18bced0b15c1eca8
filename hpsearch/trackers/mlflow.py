"""MLflow: one experiment a study, one flat run a trial, one batch each.

What stands there is made to follow the records: a run that is missing is sent, one that a kill left unfinished is
finished, one that tells of an earlier outcome is replaced (MLflow cannot take numbers back), and one that is there
twice is deleted once.
"""

import contextlib
import json
import re
import tempfile
import time
from collections.abc import Iterable
from itertools import accumulate
from math import isfinite, log10
from pathlib import Path
from typing import Any, NamedTuple, Self, final
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np

from hpsearch.database import file_of
from hpsearch.record import Record, best_of, checked_every
from hpsearch.space import Axis
from hpsearch.spec import Spec
from hpsearch.trackers.base import Lost, Subject, masked
from hpsearch.trackers.description import SIGNED, data_name, description
from hpsearch.trackers.registry import FOLDER, NotRegistered, register
from hpsearch.trackers.store import BUSY, Number, connected, engine_of, opened, poured
from hpsearch.trackers.view import METRIC, ORDINAL, SCATTERS, knows_views, logarithm, views
from hpsearch.uses import searched

FINAL = ("test/", "fit/")  # scores of the champion alone
PAUSE = 5.0  # seconds at least between two descriptions while a study runs
POINTS = 20  # of a curve: every one costs 270 bytes for ever; the whole history is an artifact
PICTURES = 3  # best trials that get a loss-curve picture
STATUS = {"complete": "FINISHED", "pruned": "KILLED", "diverged": "FAILED", "failed": "FAILED"}
TAG, STATE, CHAMPION, SETTLED = "hpsearch.trial", "hpsearch.state", "hpsearch.champion", "hpsearch.settled"
NOTE = "mlflow.note.content"  # the description
SOURCE = {"mlflow.source.name": "hpsearch", "mlflow.source.type": "LOCAL"}


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
        self._client = opened(uri, self._file, self._artifacts)
        self._engine = engine_of(self._client) if self._file else None
        self._inode = self._file.stat().st_ino if self._file else 0
        self._axes: tuple[Axis, ...] = ()
        self._subject: Subject | None = None
        self._experiment = self._name = ""
        self._tags: dict[str, str] = {}  # of the experiment and of each run
        self._inputs: list[Any] = []  # the data as MLflow knows them
        self._before: dict[str, int] = {}  # stage → trials of the stages before it
        self._runs: dict[str, list[_Run]] = {}  # by trial; one each, once it is told
        self._told: dict[str, Record] = {}  # without histories
        self._best: Record | None = None
        self._dressed = 0.0  # when
        self.sent = self.settled = self.there = 0

    def begin(self, subject: Subject) -> None:
        from mlflow.entities import ViewType

        self._usable()
        stages = subject.spec.stages
        self._subject, self._axes = subject, searched(subject.spec).axes
        self._tags, self._inputs = _common(subject), _inputs(subject)
        self._before = dict(
            zip((s.name for s in stages), accumulate((s.trials for s in stages), initial=0), strict=False)
        )
        self._experiment, self._name = self._experiment_of(subject)
        self._dress(None)
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
        self._told[record.label] = record._replace(history={})
        self._remember(record)

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
        failed: NotRegistered | None = None
        if ranking and ranking[0].label in self._runs:
            try:
                self._crown(ranking[0], model)
            except NotRegistered as error:
                failed = error
        self._dress(ranking[0] if ranking else self._best, ended=True)
        if failed is not None:
            raise failed

    def close(self, seconds: float) -> str | None:
        self._present()
        if self._file is not None:
            with contextlib.closing(connected(self._file, seconds)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the file is whole by itself when copied
        return None

    def _experiment_of(self, subject: Subject) -> tuple[str, str]:
        """The study's experiment and what it is called: as the study, with a part of its identity when another study
        has the name."""
        facts = {f"hpsearch.{name}": masked(value) for name, value in subject.facts.items()} | self._tags
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

    def _remember(self, record: Record) -> None:
        """The best so far, which the description tells now and then."""
        assert self._subject is not None
        spec = self._subject.spec
        best = best_of(
            [r for r in (self._best, record) if r is not None], spec.metric.sign, [s.name for s in spec.stages]
        )
        if best is record:
            self._best = record._replace(history={})
            if time.monotonic() - self._dressed >= PAUSE:
                self._dress(self._best)

    def _dress(self, best: Record | None, *, ended: bool = False) -> None:
        """What a person sees first of the experiment: views, description, tags; written where it is not there yet.

        It is nothing that a study needs, so it may fail.
        """
        with contextlib.suppress(Exception):
            import mlflow

            assert self._subject is not None
            has = self._client.get_experiment(self._experiment).tags
            wanted = {f"hpsearch.{name}": masked(value) for name, value in self._subject.facts.items()} | self._tags
            note = has.get(NOTE)
            if note is None or (SIGNED in note and (best is not None or ended)):  # else it is a person's, or tells more
                model = self._registered(best) if ended else None
                wanted[NOTE] = description(self._subject, self._experiment, best, model)
            if knows_views(mlflow.__version__):
                important = self._important() if ended else ()
                wanted |= views(
                    self._subject.spec,
                    self._subject.created,
                    important,
                    _scores(self._subject.spec, best, self._told.values()),
                )
            for key, value in wanted.items():
                if has.get(key) != value:
                    self._client.set_experiment_tag(self._experiment, key, value)
        self._dressed = time.monotonic()

    def _important(self) -> Iterable[str]:
        """Parameters, the most important first; none when that cannot be told, or all are drawn anyway."""
        if len(self._axes) <= SCATTERS:  # what says it takes a second to import
            return ()
        with contextlib.suppress(Exception):
            from hpsearch.importance import importance

            assert self._subject is not None
            return importance(self._subject.spec, self._told.values())
        return ()

    def _registered(self, best: Record | None) -> str | None:
        """The name under which the champion's model is."""
        if best is None or best.label not in self._runs:
            return None
        with contextlib.suppress(Exception):
            found = self._client.search_model_versions(f"run_id = '{self._runs[best.label][0].id}'")
            return next((str(version.name) for version in found), None)
        return None

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
            with contextlib.closing(connected(self._file, BUSY)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")

    def _send(self, record: Record, begun: _Run | None) -> _Run:
        """A run of its own, or the rest of one that was begun."""
        from mlflow.entities import Metric, Param

        start, end = _times(record)
        metrics, dropped = self._metrics(record, start, end)
        if begun is not None:
            run = self._client.get_run(begun.id)
        else:
            run = self._client.create_run(self._experiment, start, self._tags | _tags(record, dropped), record.label)
            self._runs.setdefault(record.label, []).append(_Run(run.info.run_id, "RUNNING", record.state, start, None))
        run_id = run.info.run_id
        params = self._params(record)
        if begun is not None or not poured(self._engine, run_id, metrics, params):
            self._client.log_batch(run_id, [Metric(*m) for m in metrics], [Param(k, v) for k, v in params.items()])
        if self._inputs:
            self._client.log_inputs(run_id, self._inputs)
        finite = {name: [v if isfinite(v) else None for v in values] for name, values in record.history.items()}
        self._keep(run.info.artifact_uri, "history.json", json.dumps(finite))
        if begun is not None and begun.settled:
            self._client.delete_tag(run_id, SETTLED)
        self._client.set_terminated(run_id, STATUS[record.state], end)
        self.sent += begun is None
        self.settled += begun is not None
        return _Run(run_id, STATUS[record.state], record.state, start, end, begun is not None and begun.champion)

    def _keep(self, place: str, name: str, text: str) -> None:
        """A file among a run's artifacts, by their own address: the client would read the whole run to find it."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        if self._file is not None and place.startswith("file:///"):
            folder = Path(url2pathname(urlsplit(place).path))
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, "utf-8")
            return
        with tempfile.TemporaryDirectory() as scratch:
            (Path(scratch) / name).write_text(text, "utf-8")
            artifacts: Any = get_artifact_repository(place, self._uri)
            artifacts.log_artifact(f"{scratch}/{name}")

    def _settle(self) -> None:
        """Runs left RUNNING of trials that the study database does not know as finished: it may be an older copy."""
        for label in self._runs.keys() - self._told.keys():
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
                params[logarithm(axis)] = f"{log10(float(record.raws[axis.key])):.6g}"
        return params

    def _metrics(self, record: Record, start: int, end: int) -> tuple[list[Number], int]:
        """(key, value, timestamp, step) of what is worth a chart, and how many numbers were not finite."""
        single = {f"best/{name}": value for name, value in record.metrics.items() if not name.startswith(FINAL)}
        single |= {"epochs": record.epochs, "seconds": record.seconds}
        if record.state == "complete" and record.value is not None:
            single |= {METRIC: record.value, "best_epoch": record.best_epoch}
        if record.stage in self._before:
            single[ORDINAL] = self._before[record.stage] + record.number + 1
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
            assert self._subject is not None
            study = (self._name.replace(" ", "-"), self._subject.identity)  # no space: it is typed in a shell
            register(self._client, run, record.label, model, study)


def _times(record: Record) -> tuple[int, int]:
    """Start and end in milliseconds: the record's, so that what is sent again is the same."""
    end = round(record.finished * 1000)
    return end - round(record.seconds * 1000), end


def _tags(record: Record, dropped: int) -> dict[str, str]:
    tags = {TAG: record.label, "hpsearch.stage": record.stage, STATE: record.state}
    tags |= {"hpsearch.dropped": f"{dropped} values were not finite"} if dropped else {}
    tags |= {"hpsearch.error": masked(record.error)} if record.error else {}
    tags |= {"hpsearch.origin": record.origin} if record.origin else {}
    return tags


def _common(subject: Subject) -> dict[str, str]:
    """What the page says of the experiment and of each run: whence it came."""
    import mlflow

    version = subject.facts.get("version")
    tags = {"hpsearch.version": f"{masked(version)}, mlflow {mlflow.__version__}"} if version else {}
    return SOURCE | tags | ({"mlflow.source.git.commit": subject.commit} if subject.commit else {})


def _inputs(subject: Subject) -> list[Any]:
    """The data as MLflow's data set, which it has once for all runs; nothing where no fingerprint is known."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    digest, spec = subject.facts.get("data"), subject.spec
    if not digest:
        return []
    name, known = data_name(spec), {f"num_{what}": count for what, count in subject.known.items()}
    source = json.dumps({"source": spec.data.source, "name": name})
    dataset = Dataset(name[:500], digest[:36], spec.data.source, source, profile=json.dumps(known))
    return [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])]


def _scores(spec: Spec, best: Record | None, told: Iterable[Record]) -> list[str]:
    """Metrics of the runs that are scores of val and, of the champion, the same of test rows; but for the objective."""
    names = dict.fromkeys(name for record in told for name in record.metrics if name.startswith("val/"))
    tests = [f"test/{name.removeprefix('val/')}" for name in names]
    tests = [name for name in tests if best is not None and name in best.metrics]
    return [*(f"best/{name}" for name in names if name != spec.metric.name), *tests]


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
    from matplotlib.ticker import LogFormatter

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
    axes.yaxis.set_major_formatter(LogFormatter())  # the usual one sets formulas, which takes half of the time
    axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right")
    figure.savefig(file)

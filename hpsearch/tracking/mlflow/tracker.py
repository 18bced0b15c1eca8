"""MLflow: one experiment a study, one flat run a trial, one batch each.

What stands there is made to follow the records: a run that is missing is sent, one that a kill left unfinished is
finished, one that tells of an earlier outcome is replaced (MLflow cannot take numbers back), and one that is there
twice is deleted once.
"""

import contextlib
import re
import tempfile
import time
from collections.abc import Iterable
from itertools import accumulate
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple, Self, final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.core.space import Axis
from hpsearch.core.text import masked
from hpsearch.storage.database import file_of
from hpsearch.storage.records import Trial, best_of
from hpsearch.tracking.base import StoreReplacedError, StudyInfo
from hpsearch.tracking.mlflow.database import opened
from hpsearch.tracking.mlflow.description import SIGNED, description
from hpsearch.tracking.mlflow.model_registry import FOLDER, NotRegistered, register
from hpsearch.tracking.mlflow.rows import Placed, Rows
from hpsearch.tracking.mlflow.run import FINAL, STATE, STATUS, TAG, Content, Data, Picture, history, times
from hpsearch.tracking.mlflow.saved_view import SCATTERS, knows_views, views

PAUSE = 5.0  # seconds at least between two descriptions while a study runs
PICTURES = 3  # best trials that get a loss-curve picture
CHAMPION, SETTLED = "hpsearch.champion", "hpsearch.settled"
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

    def tells_of(self, record: Trial) -> bool:
        """Whether it was made for this outcome of the trial, and not for an earlier one."""
        return (self.state, self.start) == (record.state, times(record)[0])

    def whole(self, record: Trial) -> bool:
        """Whether it tells of this outcome, and all of it."""
        ended = (self.status, self.end) == (STATUS[record.state], times(record)[1])
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
        self._rows = Rows(self._file) if self._file else None
        self._inode = self._file.stat().st_ino if self._file else 0
        self._axes: tuple[Axis, ...] = ()
        self._subject: StudyInfo | None = None
        self._experiment = self._name = ""
        self._tags: dict[str, str] = {}  # of the experiment and of each run
        self._data: Data | None = None
        self._before: dict[str, int] = {}  # stage → trials of the stages before it
        self._runs: dict[str, list[_Run]] = {}  # by trial; one each, once it is told
        self._told: dict[str, Trial] = {}  # without histories
        self._best: Trial | None = None
        self._dressed = 0.0  # when
        self.sent = self.settled = self.there = 0

    def begin(self, subject: StudyInfo) -> None:
        from mlflow.entities import ViewType

        self._usable()
        stages = subject.spec.stages
        self._subject, self._axes = subject, search_space(subject.spec).axes
        self._tags, self._data = _common(subject), Data.of(subject)
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

    def tell(self, record: Trial) -> None:
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

    def finish(self, ranking: list[Trial], model: Path | None) -> None:
        self._usable()
        self._settle()
        if ranking:
            self._dethrone(ranking)
        self._draw([record for record in ranking[:PICTURES] if record.label in self._runs])
        failed: NotRegistered | None = None
        if ranking and ranking[0].label in self._runs:
            try:
                self._crown(ranking[0], model)
            except NotRegistered as error:
                failed = error
        self._dress(ranking[0] if ranking else self._best, ended=True)
        if failed is not None:
            raise failed

    def _draw(self, best: list[Trial]) -> None:
        """Their loss curves."""
        with tempfile.TemporaryDirectory() as folder:
            picture, file = Picture(), Path(folder) / "loss.png"
            for record in best:
                picture.draw(record, file)
                self._client.log_artifact(self._runs[record.label][0].id, str(file))

    def close(self, seconds: float) -> str | None:
        self._present()
        if self._rows is not None:
            self._rows.close(seconds)
        return None

    def _experiment_of(self, subject: StudyInfo) -> tuple[str, str]:
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

    def _remember(self, record: Trial) -> None:
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

    def _dress(self, best: Trial | None, *, ended: bool = False) -> None:
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
            from hpsearch.search.importance import importance

            assert self._subject is not None
            return importance(self._subject.spec, self._told.values())
        return ()

    def _registered(self, best: Trial | None) -> str | None:
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
        raise StoreReplacedError(f"{self._file} was deleted or replaced meanwhile")

    def _usable(self) -> None:
        """Before anything is written."""
        self._present()
        if self._rows is not None:
            self._rows.writable()

    def _send(self, record: Trial, begun: _Run | None) -> _Run:
        """A run of its own, or the rest of one that was begun."""
        content = Content.of(record, self._axes, self._before, self._tags)
        placed = self._rows.insert(self._experiment, content, self._data) if self._rows and begun is None else None
        if placed is None:
            placed = self._fill(content, begun)
        else:
            self._remain(content, placed.id)
        self._keep(placed.artifacts, "history.json", history(record))
        if begun is not None and begun.settled:
            self._client.delete_tag(placed.id, SETTLED)
        if self._rows is None or not self._rows.end(placed.id, content.status, content.end):
            self._client.set_terminated(placed.id, content.status, content.end)
        self.sent += begun is None
        self.settled += begun is not None
        champion = begun is not None and begun.champion
        return _Run(placed.id, content.status, record.state, content.start, content.end, champion)

    def _fill(self, content: Content, begun: _Run | None) -> Placed:
        """A run as MLflow's client writes it, step by step; the steps of one that was begun may be taken again."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

        if begun is not None:
            run = self._client.get_run(begun.id)
        else:
            run = self._client.create_run(self._experiment, content.start, content.tags, content.name)
            self._remain(content, run.info.run_id)
        run_id = run.info.run_id
        params = [Param(*param) for param in content.params.items()]
        self._client.log_batch(run_id, [Metric(*metric) for metric in content.metrics], params)
        if self._data is not None:
            data = self._data
            dataset = Dataset(data.name, data.digest, data.kind, data.source, profile=data.profile)
            self._client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", data.context)])])
        return Placed(run_id, run.info.artifact_uri)

    def _remain(self, content: Content, run: str) -> None:
        """A run is there: what fails from now on is made up for in it."""
        unfinished = _Run(run, "RUNNING", content.tags[STATE], content.start, None)
        self._runs.setdefault(content.name, []).append(unfinished)

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

    def _dethrone(self, ranking: list[Trial]) -> None:
        """Whoever was champion before: its run goes, as its test scores cannot, and it gets another without them."""
        records = {r.label: r for r in ranking[1:]}
        for label, runs in list(self._runs.items()):
            for run in [r for r in runs if r.champion and label != ranking[0].label]:
                if label in records:
                    self._runs[label] = [self._send(records[label], None)]
                    self._client.delete_run(run.id)
                else:
                    self._client.delete_tag(run.id, CHAMPION)

    def _crown(self, record: Trial, model: Path | None) -> None:
        """The champion: its test scores and its model, which is registered."""
        from mlflow.entities import Metric, RunTag

        run, end = self._runs[record.label][0].id, times(record)[1]
        scores = [Metric(k, v, end, 0) for k, v in record.metrics.items() if k.startswith(FINAL) and isfinite(v)]
        self._client.log_batch(run, metrics=scores, tags=[RunTag(CHAMPION, "true")])
        if model is not None:
            self._client.log_artifacts(run, str(model), FOLDER)
            assert self._subject is not None
            study = (self._name.replace(" ", "-"), self._subject.identity)  # no space: it is typed in a shell
            register(self._client, run, record.label, model, study)


def _common(subject: StudyInfo) -> dict[str, str]:
    """What the page says of the experiment and of each run: whence it came."""
    import mlflow

    version = subject.facts.get("version")
    tags = {"hpsearch.version": f"{masked(version)}, mlflow {mlflow.__version__}"} if version else {}
    return SOURCE | tags | ({"mlflow.source.git.commit": subject.commit} if subject.commit else {})


def _scores(spec: Spec, best: Trial | None, told: Iterable[Trial]) -> list[str]:
    """Metrics of the runs that are scores of val and, of the champion, the same of test rows; but for the objective."""
    names = dict.fromkeys(name for record in told for name in record.metrics if name.startswith("val/"))
    tests = [f"test/{name.removeprefix('val/')}" for name in names]
    tests = [name for name in tests if best is not None and name in best.metrics]
    return [*(f"best/{name}" for name in names if name != spec.metric.name), *tests]

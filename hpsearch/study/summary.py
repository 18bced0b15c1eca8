"""Study summaries: the state of a study, read from its database."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NamedTuple, final, get_args

from hpsearch.config.load import restore_spec
from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec, Train
from hpsearch.core.space import Box, Space
from hpsearch.models.evidence import Evidence
from hpsearch.search.champion import find_champion, with_test_scores
from hpsearch.search.confirm import Finalist, compare_points
from hpsearch.search.earlier import reusable_trials
from hpsearch.search.range_edges import RangeEdge, supported_edges
from hpsearch.search.schedule.limits import planned_trials
from hpsearch.search.zoom import stage_box
from hpsearch.storage.access.names import command_arguments
from hpsearch.storage.database import display_name
from hpsearch.storage.lease import Holder
from hpsearch.storage.records import (
    FINISHED,
    PRIOR,
    Baseline,
    StoredEnsemble,
    StoredStudy,
    Trial,
    best_of,
    ranked,
    with_result,
)
from hpsearch.storage.study_db import StudyDatabase, read
from hpsearch.training.task import BaselineName

COLUMNS = (
    "stage",
    "number",
    "state",
    "value",
    "epochs",
    "seconds",
)  # columns of a trial; parameters and metrics follow


class Summary(NamedTuple):
    """The state of a study.

    Attributes:
        space: the search space of `spec`.
        trials: trials of each stage that has begun, by number.
        boxes: box of each stage that has begun.
        reused: for each of these stages, number of earlier trials that its sampler started with.
        totals: planned trials of each stage.
        champion: the champion so far, with its test scores once they are stored.
        holder: the process in the lease, which may have ended; None if the lease is free.
        baselines: simple models that were fitted to the same rows, the simplest first.
        ensemble: the ensemble; None before it is selected, and for a study without one.
        shared: a command must name the study, because its database holds others.
        evidence: what is known of the champion and its rows, once the study has ended.
    """

    spec: Spec
    space: Space
    trials: list[list[Trial]]
    boxes: list[Box]
    reused: list[int]
    totals: list[int]
    champion: Trial | None
    holder: Holder | None = None
    baselines: tuple[Baseline, ...] = ()
    ensemble: StoredEnsemble | None = None
    shared: bool = False
    evidence: Evidence | None = None

    def arguments(self, url: str) -> str:
        """Return the database and, if needed, the study as arguments of a command."""
        return command_arguments(display_name(url), self.spec.name if self.shared else None)

    @property
    def trained(self) -> bool:
        """True when all trials of all stages have finished."""
        return len(self.trials) == len(self.spec.stages) and all(
            sum(t.state in FINISHED for t in trials) == total
            for trials, total in zip(self.trials, self.totals, strict=True)
        )

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row for each trial, by stage and number: `COLUMNS`, its parameters (`params/…`) and its metrics."""
        return [
            {
                **{name: getattr(t, name) for name in COLUMNS},
                **{f"params/{name}": value for name, value in t.point.items()},
                **t.metrics,
            }
            for trials in self.trials
            for t in trials
        ]

    @property
    def finalists(self) -> list[Finalist]:
        """The points of the confirming stage, the winner first; empty until all of them are trained."""
        confirming = self.spec.stages[-1].confirms and len(self.trials) == len(self.spec.stages)
        return compare_points(self.spec, self.trials[-1]) if confirming else []

    @property
    def edges(self) -> list[list[RangeEdge]]:
        """For each stage that has begun, the ranges that may exclude better points."""
        names = self.spec.stage_names
        edges = []
        for number, (stage, box) in enumerate(zip(self.spec.stages, self.boxes, strict=False)):
            earlier = (t for trials in self.trials[:number] for t in trials)
            best = best_of(earlier, self.spec.metric.sign, names) if stage.zoom else None
            edges.append(supported_edges(self.spec, self.space, box, best, self.trials))
        return edges

    @property
    def ranking(self) -> list[Trial]:
        """Complete trials: the champion, then the others, best first."""
        names = self.spec.stage_names
        complete = ranked((t for trials in self.trials for t in trials), self.spec.metric.sign, names)
        first = [] if self.champion is None else [self.champion]
        return first + [t for t in complete if not first or t.label != first[0].label]


class RestoredStudy(NamedTuple):
    """A stored study and its validated spec."""

    stored: StoredStudy
    spec: Spec


def restore_study(storage: StudyDatabase) -> RestoredStudy:
    """Return the study in an open database.

    Raises:
        StorageError: the database holds no study.
    """
    stored = storage.study.load()
    return RestoredStudy(stored, restore_spec(stored.spec, display_name(storage.url)))


def summary(url: str, study: str | None = None) -> Summary:
    """Return the state of a study at one moment; nothing is written.

    Args:
        study: name of the study; None for the only one of the database.

    Raises:
        StorageError: the database does not exist, or it holds no study.
    """
    return read(url, summarize, study)


def summarize(storage: StudyDatabase, known: Sequence[Sequence[Trial]] = ()) -> Summary:
    """Return the state of the study in an open database.

    Args:
        known: the first trials of each stage, from an earlier summary; they are not read again.
    """
    spec = restore_study(storage).spec
    space = search_space(spec)
    stored_stages = storage.stages.load(space.axes)
    transferred = storage.trials.load(PRIOR, space)
    trials: list[list[Trial]] = []
    boxes: list[Box] = []
    totals = [planned_trials(spec, number) for number in range(len(spec.stages))]
    for number, stage in enumerate(spec.stages):
        stored = stored_stages.get(stage.name)
        stage_trials = _load_trials(space, storage, stage.name, known[number] if number < len(known) else ())
        if stored is None and not stage_trials:
            break
        boxes.append(stored.box if stored else stage_box(spec, space, number, trials, transferred))
        trials.append(stage_trials)
        ended = len(stage_trials) if stage.confirms else stored and stored.ended
        totals[number] = planned_trials(spec, number, len(stage_trials), ended)
    champion = find_champion(spec, trials)
    weights = storage.weights.find(champion)
    if champion and weights and weights.test:
        champion = with_test_scores(champion, weights.test)
        trials[spec.stage_names.index(champion.stage)][champion.number] = champion
    reused = count_reused(space, boxes, [transferred, *trials])
    baselines = load_baselines(storage)
    ensemble = storage.ensemble.find() if spec.ensemble else None
    parts = (spec, space, trials, boxes, reused, totals, champion, storage.lease.holder(), baselines, ensemble)
    evidence = Evidence.from_diagnostics(weights.diagnostics) if weights else None
    return Summary(*parts, shared=storage.connection.is_shared, evidence=evidence)


def load_baselines(storage: StudyDatabase) -> tuple[Baseline, ...]:
    """Return the stored baselines, the simplest first; unknown names are left out."""
    stored = storage.baselines.load()
    return tuple(stored[name] for name in get_args(BaselineName) if name in stored)


def count_reused(space: Space, boxes: Sequence[Box], trials: Sequence[Sequence[Trial]]) -> list[int]:
    """Return the number of earlier trials that each stage began with.

    Args:
        trials: the trials of the parent study, then those of each stage.
    """
    return [len(reusable_trials(space, box, trials[: number + 1])) for number, box in enumerate(boxes)]


def _load_trials(space: Space, storage: StudyDatabase, stage: str, known: Sequence[Trial]) -> list[Trial]:
    """Return the trials of a stage; running trials have their stored progress."""
    trials = [*known, *storage.trials.load(stage, space, len(known))]
    for result in storage.trials.progress(stage).values():
        if result.number < len(trials) and trials[result.number].state == "running":
            trials[result.number] = with_result(trials[result.number], result, 0.0)
    return trials


def status_line(url: str, study: Summary) -> str | None:
    """Return a line that says which process runs a study or how to resume it; None for a finished study."""
    if study.holder is not None and not study.holder.has_ended:
        return f"Run by {study.holder}."
    if study.trained:
        return None
    return f"Unfinished and not running. Resume with: hpsearch resume {study.arguments(url)}"


def missing_ensemble(study: Summary, url: str) -> str:
    """Return why a study has no ensemble, and what to do."""
    if not isinstance(study.spec.train, Train):
        return "an ensemble is selected from networks of the engine, which does not train this study"
    if study.spec.ensemble is None:
        return "the study has no ensemble; add ensemble: {size: 5} to its study file and run it again"
    complete = len(study.ranking)
    if study.trained and complete < 2:
        return f"there is no ensemble: it is selected from two or more complete trials, got {complete}"
    resume = f"hpsearch resume {study.arguments(url)}"
    return f"the ensemble is selected when the study ends; resume it with: {resume}"


@final
class StudyPoller:
    """Reads a study repeatedly, each time only the trials that may have changed.

    Args:
        url: URL of the study database.
        study: name of the study; None for the only one of the database.
    """

    def __init__(self, url: str, study: str | None = None) -> None:
        self._url = url
        self._study = study
        self._token: tuple[object, ...] = ()
        self._last: Summary | None = None

    def poll(self) -> Summary | None:
        """Return the study, or None if it has not changed since the last poll.

        The database is closed in between, because the process that runs the study should be the last to close it.

        Raises:
            StorageError: the database cannot be read.
        """
        changed = read(self._url, self._changed, self._study, check=self._last is None)
        if changed is None:
            return None
        self._token, self._last = changed
        return self._last

    def _changed(self, storage: StudyDatabase) -> tuple[tuple[object, ...], Summary] | None:
        token = storage.change_token()
        return None if token == self._token else (token, summarize(storage, self._final_trials(storage)))

    def _final_trials(self, storage: StudyDatabase) -> list[list[Trial]]:
        """Return the first finished trials of each stage, which need not be read again.

        The list is empty if another process has started to run the study, because it may train failed trials again.
        """
        holder, last = storage.lease.holder(), self._last
        if last is None or holder is None or last.holder is None or holder.process != last.holder.process:
            return []
        return [list(takewhile(lambda t: t.state in FINISHED, trials)) for trials in last.trials]

"""All studies of a database: state, progress, best value and holder of each."""

from typing import NamedTuple

from hpsearch.config.load import restore_spec
from hpsearch.config.spec import Spec
from hpsearch.errors import HpsearchError
from hpsearch.search.schedule.limits import planned_trials
from hpsearch.storage.access.catalog import CatalogEntry, StageCounts, read_catalog
from hpsearch.storage.database import display_name
from hpsearch.storage.lease import Holder
from hpsearch.storage.study_db import StudyDatabase, read


class StageProgress(NamedTuple):
    """The progress of one stage.

    Attributes:
        trials: planned trials.
    """

    name: str
    finished: int
    trials: int


class StudyOverview(NamedTuple):
    """One study of a database.

    Attributes:
        state: `running`, `finished`, `stopped`, `not begun`, or `unreadable` for one that this version cannot read.
        metric: name of its metric; empty if it is unreadable.
        best: the value of the champion of a finished study, else the best value so far; None without one.
        holder: the process that runs it; None if none does.
        created: Unix time.
    """

    name: str
    state: str
    stages: tuple[StageProgress, ...]
    metric: str
    best: float | None
    holder: Holder | None
    created: float

    @property
    def finished(self) -> int:
        """The number of finished trials."""
        return sum(stage.finished for stage in self.stages)

    @property
    def planned(self) -> int:
        """The number of planned trials."""
        return sum(stage.trials for stage in self.stages)


def list_studies(url: str) -> list[StudyOverview]:
    """Return all studies of a database, by name; nothing is written.

    Raises:
        StorageError: the database does not exist, or cannot be read.
    """
    return read(url, _overviews, "")


def _overviews(storage: StudyDatabase) -> list[StudyOverview]:
    holders = {name: holder for name, holder in storage.lease.holders().items() if not holder.has_ended}
    where = display_name(storage.url)
    return [_overview(entry, holders.get(entry.name), where) for entry in read_catalog(storage.connection)]


def _overview(entry: CatalogEntry, holder: Holder | None, where: str) -> StudyOverview:
    try:
        spec = restore_spec(entry.spec or {}, where)
    except (HpsearchError, ValueError, TypeError):
        return StudyOverview(entry.name, "unreadable", (), "", None, holder, entry.created)
    stages = tuple(_progress(spec, number, entry.stages) for number in range(len(spec.stages)))
    begun = [entry.stages[stage.name] for stage in spec.stages if stage.name in entry.stages]
    values = [value for stage in begun for value in (stage.low, stage.high) if value is not None]
    best = min(values, key=lambda value: spec.metric.sign * value, default=None)
    if holder is not None:
        state = "running"
    elif not begun:
        state = "not begun"
    else:
        trained = all(stage.finished == stage.trials for stage in stages)
        state = "finished" if trained else "stopped"
    best = best if entry.champion is None else entry.champion
    return StudyOverview(entry.name, state, stages, spec.metric.name, best, holder, entry.created)


def _progress(spec: Spec, number: int, begun: dict[str, StageCounts]) -> StageProgress:
    stage = spec.stages[number]
    counts = begun.get(stage.name)
    if counts is None:
        return StageProgress(stage.name, 0, planned_trials(spec, number))
    total = sum(counts.states.values())
    ended = total if stage.confirms else counts.ended
    finished = total - counts.states.get("running", 0)
    return StageProgress(stage.name, finished, planned_trials(spec, number, total, ended))

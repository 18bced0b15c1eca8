"""Study summaries: the state of a study as its database holds it, read without training anything."""

import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple

from hpsearch.config.load import restore_spec
from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.core.space import Box
from hpsearch.search.confirm import Finalist, compared, leader
from hpsearch.search.zoom import Edge, box, edges, reused
from hpsearch.storage.database import display_name
from hpsearch.storage.lease import Holder
from hpsearch.storage.records import FINISHED, PRIOR, Trial, best_of, ranked, with_result
from hpsearch.storage.study_db import StudyDatabase, read

COLUMNS = ("stage", "number", "state", "value", "epochs", "seconds")  # of a trial, beside parameters and metrics


class Summary(NamedTuple):
    """A study as its database tells it.

    Attributes:
        records: of the stages that have begun.
        boxes: what these search.
        reused: how many earlier trials each of them began with.
        totals: how many trials each stage has or is to have.
        champion: the best trial, with its test scores when they have been read.
        holder: who runs it, or did when it was last heard of.
    """

    spec: Spec
    records: list[list[Trial]]
    boxes: list[Box]
    reused: list[int]
    totals: list[int]
    champion: Trial | None
    holder: Holder | None = None

    @property
    def trained(self) -> bool:
        """Whether all trials of all stages have finished."""
        return len(self.records) == len(self.spec.stages) and all(
            sum(r.state in FINISHED for r in records) == total
            for records, total in zip(self.records, self.totals, strict=True)
        )

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Of each trial, in the order in which they were asked: where it stands, what came of it, its parameters
        (`params/…`) and its metrics, those that it has."""
        return [
            {
                **{name: getattr(r, name) for name in COLUMNS},
                **{f"params/{name}": value for name, value in r.point.items()},
                **r.metrics,
            }
            for records in self.records
            for r in records
        ]

    @property
    def finalists(self) -> list[Finalist]:
        """The points that were confirmed, the winner first, once all of them are."""
        confirming = self.spec.stages[-1].confirms and len(self.records) == len(self.spec.stages)
        return compared(self.spec, self.records[-1]) if confirming else []

    @property
    def edges(self) -> list[list[Edge]]:
        """Of each stage that has begun: where the range itself may keep better points out."""
        space, names = search_space(self.spec), [s.name for s in self.spec.stages]
        found = []
        for number, (stage, inside) in enumerate(zip(self.spec.stages, self.boxes, strict=False)):
            earlier = (r for records in self.records[:number] for r in records)
            best = best_of(earlier, self.spec.metric.sign, names) if stage.zoom else None
            found.append(edges(space, inside, best))
        return found

    @property
    def ranking(self) -> list[Trial]:
        """Complete trials: the champion, then the others, best first."""
        names = [s.name for s in self.spec.stages]
        found = ranked((r for records in self.records for r in records), self.spec.metric.sign, names)
        first = [] if self.champion is None else [self.champion]
        return first + [r for r in found if not first or r.label != first[0].label]


def summary(url: str) -> Summary:
    """What a database holds at one moment; nothing is written.

    Raises:
        StorageError: it is no database of a study.
    """
    return read(url, summarized)


def summarized(storage: StudyDatabase, known: Sequence[Sequence[Trial]] = ()) -> Summary:
    """The study in an open database.

    Args:
        known: of each stage its first trials, as an earlier summary had them, which are not read again.
    """
    spec = _stored_spec(storage)
    axes = search_space(spec)
    begun = storage.stages.load(axes.axes)
    records: list[list[Trial]] = []
    boxes: list[Box] = []
    before = storage.trials.load(PRIOR, axes)
    for number, stage in enumerate(spec.stages):
        there = list(known[number]) if number < len(known) else []
        found = there + storage.trials.load(stage.name, axes, len(there))
        if stage.name not in begun and not found:
            break
        for result in storage.trials.progress(stage.name).values():
            found[result.number] = with_result(found[result.number], result, 0.0)
        stage_begun = begun.get(stage.name)
        boxes.append(stage_begun.box if stage_begun else box(spec, axes, number, records, before))
        records.append(found)
    reuse = [len(reused(axes, b, [before, *records[:i]])) for i, b in enumerate(boxes)]
    totals = [s.trials for s in spec.stages]
    for number, stage in enumerate(spec.stages[: len(records)]):
        ended = begun[stage.name].ended if stage.name in begun else None
        totals[number] = len(records[number]) if stage.confirms else ended or stage.trials
    best = leader(spec, records)
    stored = storage.weights.find(best)
    if best and stored and stored.test:
        best = best._replace(metrics={**best.metrics, **stored.test})
        records[[s.name for s in spec.stages].index(best.stage)][best.number] = best
    return Summary(spec, records, boxes, reuse, totals, best, storage.lease.holder())


def standing(url: str, found: Summary) -> str | None:
    """Who runs a study, or how to go on with it; None for one that is done."""
    if found.holder is not None and not found.holder.gone:
        return f"Run by {found.holder}."
    if found.trained:
        return None
    return f"Not finished, and nobody runs it; go on with: hpsearch resume {shlex.quote(display_name(url))}"


def stored_spec(url: str) -> Spec:
    """The spec in a database.

    Raises:
        StorageError: there is none.
    """
    return read(url, _stored_spec)


def _stored_spec(storage: StudyDatabase) -> Spec:
    return restore_spec(storage.study.load().spec, display_name(storage.url))

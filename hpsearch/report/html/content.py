"""All that a report tells, out of a study's database."""

import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from math import isfinite
from typing import NamedTuple, Self

from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.core.space import Axis
from hpsearch.core.text import format_count, format_value
from hpsearch.data.dataset import Dataset
from hpsearch.errors import DataError
from hpsearch.models.diagnostics import Diagnostics
from hpsearch.models.prepared import PreparedData
from hpsearch.report.tables import diagnosis, epochs_saved, winner_line
from hpsearch.search.confirm import CONFIDENCE
from hpsearch.search.importance import importance
from hpsearch.storage.database import display_name
from hpsearch.storage.records import StoredStudy, Trial
from hpsearch.storage.study_db import StudyDatabase, read
from hpsearch.study.summary import Summary, standing, summarized


class Story(NamedTuple):
    """A study as a report tells it.

    Attributes:
        where: its database, as messages name it.
        standing: who runs it, or how to go on with it; None for one that is done.
        study: what the database says of it.
        dataset: what its rows were, without them; None where an early version did not store that.
        diagnostics: of the champion; None before the study has ended.
        importance: of the parameters that were searched, the most important first.
    """

    where: str
    standing: str | None
    study: StoredStudy
    found: Summary
    dataset: Dataset | None
    diagnostics: Diagnostics | None
    importance: dict[str, float]

    @classmethod
    def of(cls, url: str) -> Self:
        """That of a database.

        Raises:
            StorageError: it holds no study.
        """
        return read(url, cls._of)

    @classmethod
    def _of(cls, storage: StudyDatabase) -> Self:
        found, study = summarized(storage), storage.study.load()
        best, prepared = found.champion, storage.study.prepared()
        stored = storage.weights.find(best)
        try:
            dataset = PreparedData.from_bytes(prepared[0]).dataset if prepared else None
        except DataError:
            dataset = None
        weights = importance(found.spec, [r for each in found.records for r in each])
        seen = Diagnostics.from_bytes(stored.diagnostics) if stored else None
        return cls(display_name(storage.url), standing(storage.url, found), study, found, dataset, seen, weights)

    @property
    def spec(self) -> Spec:
        """The study file."""
        return self.found.spec

    @property
    def trials(self) -> list[Trial]:
        """All, stage by stage."""
        return [r for each in self.found.records for r in each]

    @property
    def axes(self) -> list[Axis]:
        """What was searched, the most important first, the others in the file's order; each as wide as any stage had
        it: a range may be changed under way."""
        order = list(self.importance)
        axes = [self._widest(axis) for axis in search_space(self.spec).axes]
        return sorted(axes, key=lambda a: order.index(a.name) if a.name in order else len(order))

    def _widest(self, axis: Axis) -> Axis:
        if axis.choices:
            return axis
        ends = [end for box in self.found.boxes for end in box[axis.key]]
        ends += [float(r.internal_params[axis.key]) for r in self.trials if axis.key in r.internal_params]
        return replace(axis, low=min([axis.low, *ends]), high=max([axis.high, *ends]))

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names; none of a regression."""
        return self.dataset.classes if self.dataset else ()

    def sure(self) -> Iterator[str]:
        """How sure the answer is, in sentences."""
        best, spec = self.found.champion, self.spec
        if best is None:
            return
        finalists = self.found.finalists
        if finalists:
            first = finalists[0]
            seeds = f"over {len(first.trials)} seeds"
            if isfinite(first.mean):
                half = f" ± {first.half:.2g} ({CONFIDENCE:.0%} interval)" if isfinite(first.half) else ""
                yield f"Trained again {seeds}: mean {spec.metric.name} {first.mean:.4g}{half}. {winner_line(finalists)}"
            else:
                yield winner_line(finalists)
        else:
            yield self._unconfirmed(best)
        spread = best.metrics.get(f"{spec.metric.name}_std")
        if spread is not None and self.dataset is not None:
            folds = self.dataset.folds
            yield f"Its {spec.metric.name} is the mean over {folds} folds; it varies by {format_value(spread)}."
        if interval := self._of_test(best):
            yield interval

    def _unconfirmed(self, best: Trial) -> str:
        stage = next((s for s in self.spec.stages if s.name == best.stage), None)
        if stage is not None and stage.seeds > 1:
            return f"The best of {stage.seeds} seeds of its point: what the point is worth is their median."
        count = len(self.found.ranking)
        if count == 1:
            return "The only complete trial, trained with one seed."
        return (
            f"The best of {count:,} complete trials, each trained with one seed: part of its lead is luck. A stage "
            "with top and seeds confirms the best with new seeds."
        )

    def _of_test(self, best: Trial) -> str:
        """Wilson 1927: what the test rows, being few or many, say of the accuracy on other rows."""
        share, rows = best.metrics.get("test/accuracy"), dict(self.dataset.rows).get("test", 0) if self.dataset else 0
        if share is None or not rows:
            return ""
        from scipy.stats import binomtest

        found = binomtest(round(share * rows), rows).proportion_ci(CONFIDENCE, method="wilson")
        return (
            f"Of {rows:,} test rows, read once, {share:.1%} are predicted right; that is {found.low:.1%} to "
            f"{found.high:.1%} of rows like them ({CONFIDENCE:.0%} interval)."
        )

    def warnings(self) -> Iterator[str]:
        """What a reader should know: ranges that end too early, trials that came to nothing."""
        for stage, edges in zip(self.spec.stages, self.found.edges, strict=False):
            yield from (f"{stage.name}: {edge}." for edge in edges)
        states = Counter(r.state for r in self.trials)
        if states["diverged"]:
            yield f"{states['diverged']:,} of {len(self.trials):,} trials diverged: their numbers grew beyond bounds."
        if self.standing is None and self.found.champion is not None and self.diagnostics is None:
            again = f"hpsearch resume {shlex.quote(self.where)}"
            yield f"What the best predicts, and its layers, are not in the database yet: {again} puts them there."
        errors = Counter(r.error for r in self.trials if r.error)
        yield from (f"{count} failed: {error}" for error, count in errors.most_common(5))

    def reading(self) -> str:
        """Bias and variance of the champion, with advice."""
        return diagnosis(self.found.champion) if self.found.champion else ""

    def epochs(self) -> Iterator[str]:
        """What early stopping and pruning saved."""
        spec, own = self.spec, [r for r in self.trials if r.copied_from is None]
        complete = [r for r in own if r.state == "complete"]
        if complete:
            early = [r for r in complete if r.epochs < spec.train.epochs]
            used, most = sum(r.epochs for r in complete), spec.train.epochs * len(complete)
            yield (
                f"{len(early):,} of {format_count(len(complete), 'complete trial')} stopped early; "
                f"used were {used:,} of "
                f"{format_count(most, 'epoch')} that were allowed ({used / most:.0%})."
            )
        ended = sum(r.state == "pruned" for r in own)
        if ended:
            left = format_count(epochs_saved(spec, own), "epoch")
            yield f"Pruned: {format_count(ended, 'trial')}, which saved at most {left}."

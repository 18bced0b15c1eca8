"""The content of a report, read from a study database: study, data, best model, and sentences about them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from math import isfinite
from typing import NamedTuple, Self

from hpsearch.config.spec import Spec, Train
from hpsearch.core.space import Axis
from hpsearch.core.text import format_count, format_value, printable
from hpsearch.data.dataset import Dataset
from hpsearch.errors import DataError
from hpsearch.models.diagnostics import Diagnostics
from hpsearch.models.prepared import PreparedData
from hpsearch.report.advice.collect import advise
from hpsearch.report.advice.errors import diagnosis_lines
from hpsearch.report.tables import epochs_saved, winner_line
from hpsearch.search.confirm import CONFIDENCE
from hpsearch.search.importance import importance
from hpsearch.storage.access.names import command_arguments
from hpsearch.storage.database import display_name
from hpsearch.storage.records import StoredStudy, Trial
from hpsearch.storage.study_db import StudyDatabase, read
from hpsearch.study.summary import Summary, status_line, summarize

MAX_ADVICE_LENGTH = 2000  # characters
MAX_ERROR_KINDS = 5  # kinds of errors of failed trials that are listed


class ReportContent(NamedTuple):
    """The content of a report.

    Attributes:
        database: the study database, as messages name it.
        status: sentence that names the process that runs the study, or how to resume it; None for a finished study.
        study: the study's row in the database.
        dataset: properties of the data without their rows; None if the database does not hold them.
        diagnostics: diagnostics of the best model; None before the study has ended.
        importance: share of each searched parameter, the most important first.
    """

    database: str
    status: str | None
    study: StoredStudy
    summary: Summary
    dataset: Dataset | None
    diagnostics: Diagnostics | None
    importance: dict[str, float]

    @classmethod
    def read(cls, url: str, study: str | None = None) -> Self:
        """Read the content from a study database.

        Args:
            study: name of the study; None for the only one.

        Raises:
            StorageError: the database holds no study.
        """
        return read(url, cls._read, study)

    @classmethod
    def _read(cls, storage: StudyDatabase) -> Self:
        summary, study = summarize(storage), storage.study.load()
        prepared, stored = storage.study.prepared(), storage.weights.find(summary.champion)
        try:
            dataset = PreparedData.from_bytes(prepared[0]).dataset if prepared else None
        except DataError:
            dataset = None
        shares = importance(summary.spec, summary.space, [t for trials in summary.trials for t in trials])
        diagnostics = Diagnostics.from_bytes(stored.diagnostics) if stored else None
        status = status_line(storage.url, summary)
        return cls(display_name(storage.url), status, study, summary, dataset, diagnostics, shares)

    @property
    def spec(self) -> Spec:
        """The spec of the study."""
        return self.summary.spec

    @property
    def arguments(self) -> str:
        """The database and, if needed, the study as arguments of a command."""
        return command_arguments(self.database, self.spec.name if self.summary.shared else None)

    @property
    def trials(self) -> list[Trial]:
        """All trials, by stage and number."""
        return [t for trials in self.summary.trials for t in trials]

    @property
    def axes(self) -> list[Axis]:
        """The searched parameters, the most important first, then the others in the study file's order.

        Bounds cover all stages: a range may have been changed between two stages.
        """
        order = list(self.importance)
        axes = [self._widened(axis) for axis in self.summary.space.axes]
        return sorted(axes, key=lambda a: order.index(a.name) if a.name in order else len(order))

    def _widened(self, axis: Axis) -> Axis:
        if axis.choices:
            return axis
        bounds = [bound for box in self.summary.boxes for bound in box[axis.key]]
        bounds += [float(t.internal_params[axis.key]) for t in self.trials if axis.key in t.internal_params]
        return replace(axis, low=min([axis.low, *bounds]), high=max([axis.high, *bounds]))

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; empty for a regression."""
        return self.dataset.classes if self.dataset else ()

    def certainty(self) -> Iterator[str]:
        """Yield sentences on how certain the result is: confidence interval, ties, folds, size of the test set."""
        best, spec = self.summary.champion, self.spec
        if best is None:
            return
        finalists = self.summary.finalists
        if finalists:
            winner = finalists[0]
            if isfinite(winner.mean):
                half = f" ± {winner.half_width:.2g} ({CONFIDENCE:.0%} interval)" if isfinite(winner.half_width) else ""
                mean = f"mean {spec.metric.name} {winner.mean:.4g}{half}"
                yield f"Confirmed with {len(winner.trials)} seeds: {mean}. {winner_line(finalists)}"
            else:
                yield winner_line(finalists)
        else:
            yield self._unconfirmed(best)
        deviation = best.metrics.get(f"{spec.metric.name}_std")
        if deviation is not None and self.dataset is not None:
            folds = f"the mean over {self.dataset.folds} folds; its standard deviation is {format_value(deviation)}"
            yield f"The {spec.metric.name} is {folds}."
        if interval := self._test_interval(best):
            yield interval
        for found in self.summary.evidence.drift if self.summary.evidence else ():
            yield f"{str(found)[0].upper()}{str(found)[1:]}."

    def _unconfirmed(self, best: Trial) -> str:
        stage = next((s for s in self.spec.stages if s.name == best.stage), None)
        if stage is not None and stage.seeds > 1:
            return f"The best of {stage.seeds} seeds at its point. The median over seeds is what the point achieves."
        count = len(self.summary.ranking)
        if count == 1:
            return "The only complete trial, trained with one seed."
        return (
            f"The best of {count:,} complete trials, each trained with one seed: part of its lead is chance. "
            "To confirm it with new seeds, add a stage with top and seeds."
        )

    def _test_interval(self, best: Trial) -> str:
        """Return a sentence on the accuracy of the population with Wilson's (1927) interval, if there is a test set."""
        accuracy = best.metrics.get("test/accuracy")
        rows = dict(self.dataset.rows).get("test", 0) if self.dataset else 0
        if accuracy is None or not rows:
            return ""
        from scipy.stats import binomtest

        interval = binomtest(round(accuracy * rows), rows).proportion_ci(CONFIDENCE, method="wilson")
        return (
            f"The test accuracy is {accuracy:.1%} on {rows:,} rows, which were used once; "
            f"the {CONFIDENCE:.0%} interval is {interval.low:.1%} to {interval.high:.1%}."
        )

    def warnings(self) -> Iterator[str]:
        """Yield warnings: results at the end of a range, diverged and failed trials, missing diagnostics."""
        for stage, edges in zip(self.spec.stages, self.summary.edges, strict=False):
            yield from (f"{stage.name}: {edge}." for edge in edges)
        states = Counter(t.state for t in self.trials)
        if states["diverged"]:
            yield f"{states['diverged']:,} of {len(self.trials):,} trials diverged: their loss was not finite."
        expected = self.summary.champion is not None and isinstance(self.spec.train, Train)
        if self.status is None and expected and self.diagnostics is None:
            command = f"hpsearch resume {self.arguments}"
            yield f"The database holds no diagnostics of the best model yet. To add them, run: {command}"
        errors = Counter(t.error for t in self.trials if t.error)
        yield from (f"{count} failed: {error}" for error, count in errors.most_common(MAX_ERROR_KINDS))

    def diagnosis(self) -> list[str]:
        """Return bias and variance of the best trial in sentences; none if it lacks the scores."""
        return diagnosis_lines(self.summary)

    def advice(self) -> list[str]:
        """Return what to change in the study file, with the numbers from which it follows."""
        return [printable(str(advice), MAX_ADVICE_LENGTH) for advice in advise(self.summary)]

    def epoch_usage(self) -> Iterator[str]:
        """Yield sentences on the epochs that early stopping and pruning saved."""
        spec, trained = self.spec, [t for t in self.trials if t.copied_from is None]
        complete = [t for t in trained if t.state == "complete"]
        if complete:
            early = sum(t.epochs < spec.train.epochs for t in complete)
            used, allowed = sum(t.epochs for t in complete), spec.train.epochs * len(complete)
            yield (
                f"{early:,} of {format_count(len(complete), 'complete trial')} stopped early; they used {used:,} of "
                f"{format_count(allowed, 'allowed epoch')} ({used / allowed:.0%})."
            )
        pruned = sum(t.state == "pruned" for t in trained)
        if pruned:
            saved = format_count(epochs_saved(spec, trained), "epoch")
            yield f"Pruning ended {format_count(pruned, 'trial')} and saved at most {saved}."

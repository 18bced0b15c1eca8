"""A learning curve by data: the metric by the number of training rows, and whether more rows would help."""

import math
from collections.abc import Iterable
from statistics import fmean, median, variance
from typing import NamedTuple

from hpsearch.config.spec import Spec
from hpsearch.core.text import format_value
from hpsearch.search.statistics.student_t import two_sided_p_value
from hpsearch.storage.records import Trial

HELPS_P = 0.05  # probability by chance below which the last increase has helped
LEAST_TRIALS = 3  # with a number of rows, for a comparison


class DataCurve(NamedTuple):
    """The metric by the number of training rows.

    Attributes:
        metric: its name.
        sign: +1 if lower is better, −1 if higher is better.
        values: number of rows → values of its complete trials, fewer rows first.
    """

    metric: str
    sign: int
    values: dict[int, list[float]]

    @property
    def medians(self) -> dict[int, float]:
        """Number of rows → median of the metric."""
        return {rows: median(values) for rows, values in self.values.items()}

    @property
    def sentence(self) -> str:
        """An answer to whether more rows would help, by a t-test of the two largest numbers of rows. Welch 1947."""
        *_, (fewer, before), (more, after) = self.values.items()
        means = format_value(fmean(before)), format_value(fmean(after))
        said = f"mean {self.metric} {means[0]} with {fewer:,} rows and {means[1]} with {more:,}"
        if min(len(before), len(after)) < LEAST_TRIALS:
            return f"Too few trials to say whether more training rows help: {said}; {LEAST_TRIALS} of each are needed."
        p = _welch_p(before, after)
        better = self.sign * (fmean(before) - fmean(after)) > 0
        if p < HELPS_P and better:
            return f"More training rows are likely to help: {said} (p = {p:.2g})."
        if p < HELPS_P:
            return f"More training rows did not help: {said} (p = {p:.2g})."
        return f"More training rows are unlikely to help much: {said} do not differ significantly (p = {p:.2g})."


def data_curve(spec: Spec, trials: Iterable[Trial]) -> DataCurve | None:
    """Return the learning curve by data of a study; None if it does not vary the training rows, or has trials of one
    number only."""
    name = None if spec.data is None else spec.data.train_rows
    if not isinstance(name, str):
        return None
    values: dict[int, list[float]] = {}
    for trial in trials:
        if trial.state == "complete" and trial.value is not None and math.isfinite(trial.value) and name in trial.point:
            values.setdefault(int(trial.point[name]), []).append(trial.value)
    return DataCurve(spec.metric.name, spec.metric.sign, dict(sorted(values.items()))) if len(values) > 1 else None


def _welch_p(one: list[float], other: list[float]) -> float:
    """Return the two-sided p value of Welch's t-test, with the degrees of freedom rounded down."""
    parts = [variance(values) / len(values) for values in (one, other)]
    spread = sum(parts)
    if spread == 0:
        return 1.0 if fmean(one) == fmean(other) else 0.0
    degrees = spread**2 / sum(part**2 / (len(v) - 1) for part, v in zip(parts, (one, other), strict=True))
    return two_sided_p_value((fmean(one) - fmean(other)) / math.sqrt(spread), max(1, int(degrees)))

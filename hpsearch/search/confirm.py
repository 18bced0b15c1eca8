"""Luck or skill: the best points trained again, each with the same new seeds, and what can be said of them then."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from hpsearch.config.spec import Spec
from hpsearch.core.space import InternalValue, Point, Space, point_key
from hpsearch.search.zoom import outcomes
from hpsearch.storage.records import FINISHED, Trial, best_of

CONFIDENCE = 0.95


class Finalist(NamedTuple):
    """A point that was trained again.

    Attributes:
        trials: of the confirming stage, by seed.
        mean: of the metric over seeds; not finite when one of them did not complete.
        half: half the width of the mean's confidence interval, Student's t.
        behind: mean of the differences to the winner, paired by seed, above 0 is worse; None for the winner.
        behind_half: half the width of that difference's interval.
    """

    point: Point
    trials: tuple[Trial, ...]
    mean: float
    half: float
    behind: float | None = None
    behind_half: float = math.nan

    @property
    def tied(self) -> bool:
        """Whether it cannot be told apart from the winner: the interval of the difference holds 0."""
        return self.behind is not None and self.behind - self.behind_half <= 0


def finalists(spec: Spec, earlier: Sequence[Sequence[Trial]], top: int) -> list[dict[str, InternalValue]]:
    """The best points before a confirming stage, by the mean over the seeds with which each completed, ties by age.

    Points that were left behind with more seeds than they completed with come last: one was luck.
    """
    values: dict[str, list[float]] = {}
    lost: Counter[str] = Counter()
    points: dict[str, dict[str, InternalValue]] = {}
    for r in outcomes(earlier):
        key = point_key(r.internal_params)
        lost[key] += r.state in ("pruned", "diverged")
        if r.state == "complete":
            values.setdefault(key, []).append(spec.metric.sign * (r.value or 0.0))
            points.setdefault(key, dict(r.internal_params))
    order = sorted(values, key=lambda k: (lost[k] > len(values[k]), fmean(values[k])))
    return [points[key] for key in order[:top]]


def points_to_confirm(
    spec: Spec, trials: Sequence[Trial], earlier: Sequence[Sequence[Trial]]
) -> list[dict[str, InternalValue]]:
    """Return the points that the confirming stage compares: those it began with, or else the best so far.

    Args:
        trials: the trials of the confirming stage.
        earlier: the trials of each stage before it.
    """
    begun = {point_key(t.internal_params): dict(t.internal_params) for t in trials}
    return list(begun.values()) or finalists(spec, earlier, spec.stages[-1].top or 0)


def trials_to_confirm(
    spec: Spec, space: Space, points: Sequence[Mapping[str, InternalValue]], numbers: Iterable[int]
) -> list[Trial]:
    """Return new trials of the confirming stage: seed by seed, all points."""
    chosen = [(number, points[number % len(points)]) for number in numbers]
    return [Trial(spec.stages[-1].name, number, p, space.point(p), "running") for number, p in chosen]


def compared(spec: Spec, records: Sequence[Trial]) -> list[Finalist]:
    """The points of a confirming stage, the best mean first; none before all of them are trained with every seed."""
    points: dict[str, list[Trial]] = {}
    for r in records:
        points.setdefault(point_key(r.internal_params), []).append(r)
    whole = all(len(trials) == spec.stages[-1].seeds for trials in points.values())
    if not whole or not all(r.state in FINISHED for r in records):
        return []
    found = [_finalist(spec, tuple(trials)) for trials in points.values()]
    order = sorted(found, key=lambda f: spec.metric.sign * f.mean if math.isfinite(f.mean) else math.inf)
    return [order[0], *(_against(spec, order[0], f) for f in order[1:])] if order else []


def winner(spec: Spec, records: Sequence[Trial]) -> Trial | None:
    """The best trial of the point with the best mean; None when no point has one."""
    first = next(iter(compared(spec, records)), None)
    if first is None or not math.isfinite(first.mean):
        return None
    return best_of(first.trials, spec.metric.sign, [s.name for s in spec.stages])


def _finalist(spec: Spec, trials: tuple[Trial, ...]) -> Finalist:
    values = [r.value if r.state == "complete" and r.value is not None else math.nan for r in trials]
    return Finalist(trials[0].point, trials, fmean(values), _half(values))


def _against(spec: Spec, best: Finalist, other: Finalist) -> Finalist:
    pairs = zip(best.trials, other.trials, strict=True)
    differences = [
        spec.metric.sign * (b.value - a.value) if a.value is not None and b.value is not None else math.nan
        for a, b in pairs
    ]
    return other._replace(behind=fmean(differences), behind_half=_half(differences))


def _half(values: Sequence[float]) -> float:
    """t · s / √n, two-sided."""
    from scipy.stats import t

    if not all(map(math.isfinite, values)) or len(values) < 2:
        return math.nan
    quantile = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return quantile * stdev(values) / math.sqrt(len(values))

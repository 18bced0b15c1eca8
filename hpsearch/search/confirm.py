"""Confirmation: the best points are trained again with paired new seeds, and compared by their means."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from hpsearch.config.spec import Spec, Stage
from hpsearch.core.seeds import derive
from hpsearch.core.space import InternalValue, Point, Space, point_key
from hpsearch.search.earlier import distinct_outcomes
from hpsearch.search.statistics.student_t import two_sided_quantile
from hpsearch.storage.records import FINISHED, Trial, best_of

CONFIDENCE = 0.95  # of all intervals


class Finalist(NamedTuple):
    """A point of the confirming stage.

    Attributes:
        trials: its trials, by seed.
        mean: mean of the metric over seeds; not finite when a trial did not complete.
        half_width: half the width of the confidence interval of the mean (Student's t).
        behind: mean difference to the winner, paired by seed; positive values are worse. None for the winner.
        behind_half_width: half the width of the confidence interval of that difference.
    """

    point: Point
    trials: tuple[Trial, ...]
    mean: float
    half_width: float
    behind: float | None = None
    behind_half_width: float = math.nan

    @property
    def tied(self) -> bool:
        """True if it does not differ significantly from the winner: the interval of the difference contains 0."""
        return self.behind is not None and self.behind - self.behind_half_width <= 0


def best_points(spec: Spec, earlier: Sequence[Sequence[Trial]], top: int) -> list[dict[str, InternalValue]]:
    """Return the best `top` points of the stages before a confirming stage.

    They are ordered by the mean over their complete trials; of equal points, the oldest is first. Points with more
    pruned and diverged than complete trials are last, because their complete trials were lucky.

    Args:
        earlier: trials of each stage before the confirming stage.
    """
    values: dict[str, list[float]] = {}
    incomplete: Counter[str] = Counter()
    points: dict[str, dict[str, InternalValue]] = {}
    for t in distinct_outcomes(earlier):
        key = point_key(t.internal_params)
        incomplete[key] += t.state in ("pruned", "diverged")
        if t.state == "complete":
            values.setdefault(key, []).append(spec.metric.sign * (t.value or 0.0))
            points.setdefault(key, dict(t.internal_params))
    order = sorted(values, key=lambda k: (incomplete[k] > len(values[k]), fmean(values[k])))
    return [points[key] for key in order[:top]]


def points_to_confirm(
    spec: Spec, trials: Sequence[Trial], earlier: Sequence[Sequence[Trial]]
) -> list[dict[str, InternalValue]]:
    """Return the points that the confirming stage compares: those of its trials or, before it begins, the best so far.

    Args:
        trials: trials of the confirming stage.
        earlier: trials of each stage before it.
    """
    begun = {point_key(t.internal_params): dict(t.internal_params) for t in trials}
    return list(begun.values()) or best_points(spec, earlier, spec.stages[-1].top or 0)


def trials_to_confirm(
    spec: Spec, space: Space, points: Sequence[Mapping[str, InternalValue]], numbers: Iterable[int]
) -> list[Trial]:
    """Return new trials of the confirming stage: all points with the first seed, then all with the second, and so on.

    Args:
        points: internal parameters of each point.
        numbers: numbers of the new trials.
    """
    chosen = [(number, points[number % len(points)]) for number in numbers]
    return [Trial(spec.stages[-1].name, number, p, space.point(p), "running") for number, p in chosen]


def train_seed(spec: Spec, stage: Stage, number: int, proposed: int) -> int:
    """Return the training seed of a trial.

    It depends on the trial's number; in a confirming stage, all points share the same seeds.

    Args:
        proposed: number of trials of the stage.
    """
    seed = number // (proposed // stage.seeds) if stage.confirms else number
    return derive(spec.seed, stage.name, seed, "train")


def compare_points(spec: Spec, trials: Sequence[Trial]) -> list[Finalist]:
    """Return the points of a confirming stage, best mean first; empty until every point is trained with every seed."""
    points: dict[str, list[Trial]] = {}
    for t in trials:
        points.setdefault(point_key(t.internal_params), []).append(t)
    all_seeds = all(len(of_point) == spec.stages[-1].seeds for of_point in points.values())
    if not all_seeds or not all(t.state in FINISHED for t in trials):
        return []
    finalists = [_finalist(tuple(of_point)) for of_point in points.values()]
    order = sorted(finalists, key=lambda f: spec.metric.sign * f.mean if math.isfinite(f.mean) else math.inf)
    return [order[0], *(_compared(spec, order[0], f) for f in order[1:])] if order else []


def find_winner(spec: Spec, trials: Sequence[Trial]) -> Trial | None:
    """Return the best trial of the point with the best mean; None when no point has a finite mean."""
    first = next(iter(compare_points(spec, trials)), None)
    if first is None or not math.isfinite(first.mean):
        return None
    return best_of(first.trials, spec.metric.sign, spec.stage_names)


def _finalist(trials: tuple[Trial, ...]) -> Finalist:
    values = [t.value if t.state == "complete" and t.value is not None else math.nan for t in trials]
    return Finalist(trials[0].point, trials, fmean(values), _half_width(values))


def _compared(spec: Spec, winner: Finalist, other: Finalist) -> Finalist:
    """Return a finalist with its mean difference to the winner, paired by seed."""
    differences = [
        spec.metric.sign * (b.value - a.value) if a.value is not None and b.value is not None else math.nan
        for a, b in zip(winner.trials, other.trials, strict=True)
    ]
    return other._replace(behind=fmean(differences), behind_half_width=_half_width(differences))


def _half_width(values: Sequence[float]) -> float:
    """Return t · s / √n, two-sided; NaN for fewer than two values, or values that are not finite."""
    if not all(map(math.isfinite, values)) or len(values) < 2:
        return math.nan
    return two_sided_quantile(CONFIDENCE, len(values) - 1) * stdev(values) / math.sqrt(len(values))

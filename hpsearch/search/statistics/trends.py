"""Trends: whether larger values of a parameter did better in the trials of a study, by rank correlation."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from hpsearch.config.spec import Spec
from hpsearch.core.space import Space, point_key
from hpsearch.search.ranking import rank_trials
from hpsearch.search.statistics.student_t import two_sided_p_value
from hpsearch.storage.records import Trial

SIGNIFICANT = 0.05
LEAST_P = 1e-10  # smaller ones are printed as such
TREND_TRIALS = 8  # distinct points from which a trend is computed


class Trend(NamedTuple):
    """Spearman's rank correlation of a parameter with success.

    Attributes:
        name: the parameter.
        rho: above 0 if larger values did better.
        p: probability of such a correlation by chance, two-sided.
        trials: number of trials.
    """

    name: str
    rho: float
    p: float
    trials: int

    @property
    def direction(self) -> int:
        """+1 if larger values did better, −1 if smaller ones did, 0 if that is not significant."""
        return 0 if self.p >= SIGNIFICANT else 1 if self.rho > 0 else -1

    def __str__(self) -> str:
        better = {1: f"larger {self.name} did better", -1: f"smaller {self.name} did better"}
        chance = f"p = {self.p:.2g}" if self.p >= LEAST_P else f"p < {LEAST_P:g}"
        said = better.get(self.direction, f"{self.name} is not related to the metric")
        return f"{said} (rank correlation {self.rho:+.2f}, {chance}, {self.trials} trials)"


def searched_trials(spec: Spec, trials: Sequence[Sequence[Trial]]) -> list[Trial]:
    """Return the complete trials of searching stages, each point once.

    Args:
        trials: the trials of each stage that has begun.
    """
    return [t for t in _distinct(spec, trials) if t.state == "complete"]


def _distinct(spec: Spec, trials: Sequence[Sequence[Trial]]) -> list[Trial]:
    """Return the finished trials of searching stages without failed ones, each point once."""
    found: dict[str, Trial] = {}
    for stage, of_stage in zip(spec.stages, trials, strict=False):
        for t in () if stage.confirms else of_stage:
            if t.state in ("pruned", "diverged") or (t.state == "complete" and math.isfinite(t.value or 0.0)):
                found.setdefault(point_key(t.internal_params), t)
    return list(found.values())


def trends(spec: Spec, space: Space, trials: Sequence[Sequence[Trial]]) -> dict[str, Trend]:
    """Return the trend of each searched numeric parameter with enough trials.

    Complete and pruned trials are ranked together, each at the last epoch that both have reached; diverged trials are
    the last.

    Args:
        trials: the trials of each stage that has begun.
    """
    distinct = _distinct(spec, trials)
    ranks = [(t, float(ahead)) for t, ahead in rank_trials(spec, distinct)]
    ranks += [(t, float(len(distinct))) for t in distinct if t.state == "diverged"]
    found = {}
    for axis in space.axes:
        pairs = [
            (float(value), -ahead)
            for t, ahead in ranks
            if isinstance(value := t.point.get(axis.name), int | float) and axis.zoomable
        ]
        if len(pairs) >= TREND_TRIALS and (rho := rank_correlation(pairs)) is not None:
            found[axis.name] = Trend(axis.name, rho, _p_value(rho, len(pairs)), len(pairs))
    return found


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return Spearman's ρ; None if all values of one side are equal."""
    a, b = (_ranks([pair[side] for pair in pairs]) for side in (0, 1))
    center = (len(pairs) + 1) / 2
    squares = [sum((r - center) ** 2 for r in ranks) for ranks in (a, b)]
    if not all(squares):
        return None
    product = sum((r - center) * (s - center) for r, s in zip(a, b, strict=True))
    return max(-1.0, min(1.0, product / math.sqrt(squares[0] * squares[1])))


def _ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value from 1; equal values share their mean rank."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks, start = [0.0] * len(values), 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for place in order[start : end + 1]:
            ranks[place] = (start + end) / 2 + 1
        start = end + 1
    return ranks


def _p_value(rho: float, count: int) -> float:
    """Return the two-sided p-value: t = ρ √((n − 2) / (1 − ρ²)) with n − 2 degrees of freedom."""
    if abs(rho) >= 1:
        return 0.0
    return two_sided_p_value(rho * math.sqrt((count - 2) / (1 - rho * rho)), count - 2)

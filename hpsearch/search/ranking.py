"""Ranking of complete and pruned trials together: two trials are compared at the last epoch that both have reached."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import final

from hpsearch.config.spec import Spec
from hpsearch.storage.records import Trial, TrialKey
from hpsearch.training.task import History


@final
class BestCurves:
    """The best values so far of trials that are ranked again and again, computed once for each curve.

    Args:
        spec: the study.
    """

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._known: dict[TrialKey, tuple[History, list[float]]] = {}

    def __call__(self, trial: Trial) -> list[float]:
        """Return the best value of the monitored curve up to each check; lower is better."""
        known = self._known.get(trial.key)
        if known is None or known[0] is not trial.history:  # it has trained on since
            self._known[trial.key] = known = trial.history, best_so_far(self._spec, trial)
        return known[1]


def rank_trials(
    spec: Spec, trials: Iterable[Trial], curves: Callable[[Trial], list[float]] | None = None
) -> list[tuple[Trial, int]]:
    """Return complete and pruned trials with the number of trials that are better, the best trials first.

    Complete trials are compared by value. A pruned trial is compared at its last epoch, by the best value until then;
    of two pruned trials, the one that was pruned earlier decides the epoch.

    Args:
        curves: returns `best_so_far` of a trial, for example `BestCurves(spec)`.
    """
    compared = [t for t in trials if t.state in ("complete", "pruned")]
    best = [curves(t) if curves else best_so_far(spec, t) for t in compared]
    ends = [len(curve) if t.state == "pruned" else math.inf for curve, t in zip(best, compared, strict=True)]
    numbers, ahead = range(len(compared)), [0] * len(compared)

    def count(targets: Iterable[int], others: Iterable[int], value: Callable[[int], float]) -> None:
        """Add to `ahead` of each target the number of others with a lower value."""
        values = sorted(map(value, others))
        for n in targets:
            ahead[n] += bisect_left(values, value(n))

    sign, complete = spec.metric.sign, [n for n in numbers if ends[n] == math.inf]
    count(complete, complete, lambda n: sign * (compared[n].value or 0.0))
    # One pass for each epoch at which trials were pruned; there are few, because rungs are few.
    for end in {len(curve) for curve, t in zip(best, compared, strict=True) if t.state == "pruned"}:
        here, beyond = [n for n in numbers if ends[n] == end], [n for n in numbers if ends[n] > end]
        values = [curve[min(end, len(curve)) - 1] if curve else math.inf for curve in best]
        count(here, [*here, *beyond], values.__getitem__)
        count(beyond, here, values.__getitem__)
    return [(compared[n], ahead[n]) for n in sorted(numbers, key=ahead.__getitem__)]


def best_so_far(spec: Spec, trial: Trial) -> list[float]:
    """Return the best value of the monitored curve up to each check; lower is better."""
    sign = spec.metric.sign
    values = (sign * v if math.isfinite(v) else math.inf for v in trial.history.get(spec.metric.monitored, []))
    return list(accumulate(values, min))

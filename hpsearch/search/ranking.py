"""Ranking of complete and pruned trials together: two trials are compared at the last epoch that both have reached."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate

from hpsearch.config.spec import Spec
from hpsearch.storage.records import Trial


def rank_trials(spec: Spec, trials: Iterable[Trial]) -> list[tuple[Trial, int]]:
    """Return complete and pruned trials with the number of trials that are better, the best trials first.

    Complete trials are compared by value. A pruned trial is compared at its last epoch, by the best value until then;
    of two pruned trials, the one that was pruned earlier decides the epoch.
    """
    compared = [t for t in trials if t.state in ("complete", "pruned")]
    curves = [best_so_far(spec, t) for t in compared]
    ends = [len(curve) if t.state == "pruned" else math.inf for curve, t in zip(curves, compared, strict=True)]
    numbers, ahead = range(len(compared)), [0] * len(compared)

    def count(targets: Iterable[int], others: Iterable[int], value: Callable[[int], float]) -> None:
        """Add to `ahead` of each target the number of others with a lower value."""
        values = sorted(map(value, others))
        for n in targets:
            ahead[n] += bisect_left(values, value(n))

    complete = [n for n in numbers if ends[n] == math.inf]
    count(complete, complete, lambda n: spec.metric.sign * (compared[n].value or 0.0))
    # One pass for each epoch at which trials were pruned; there are few, because rungs are few.
    for end in {len(curve) for curve, t in zip(curves, compared, strict=True) if t.state == "pruned"}:
        here, beyond = [n for n in numbers if ends[n] == end], [n for n in numbers if ends[n] > end]
        values = [curve[min(end, len(curve)) - 1] if curve else math.inf for curve in curves]
        count(here, [*here, *beyond], values.__getitem__)
        count(beyond, here, values.__getitem__)
    return [(compared[n], ahead[n]) for n in sorted(numbers, key=ahead.__getitem__)]


def best_so_far(spec: Spec, trial: Trial) -> list[float]:
    """Return the best value of the monitored curve up to each check; lower is better."""
    values = [spec.metric.sign * v for v in trial.history.get(spec.metric.monitored, [])]
    return list(accumulate((v if math.isfinite(v) else math.inf for v in values), min))

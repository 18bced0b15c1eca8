"""Ensembles: greedy forward selection with replacement (Caruana et al. 2004), by the validation rows alone."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from engine.types import Floats
from hpsearch.config.spec import Spec
from hpsearch.storage.records import Trial, ranked

CANDIDATES_PER_MEMBER = 4
LEAST_GAIN = 1e-6  # as a share of the loss; less may be rounding


def ensemble_candidates(spec: Spec, trials: Sequence[Sequence[Trial]]) -> list[Trial]:
    """Return the trials that an ensemble is selected from: the best complete ones, at most four for each member.

    They never depend on trials that are worse, so a candidate at the end is one from the moment it is complete, and
    its weights can be kept. A trial whose outcome is copied is left out if its original is a candidate.

    Args:
        trials: all trials of each stage that has begun.
    """
    if spec.ensemble is None:
        return []
    distinct: dict[str, Trial] = {}
    for t in ranked((t for stage in trials for t in stage), spec.metric.sign, spec.stage_names):
        distinct.setdefault(t.copied_from or t.label, t)
        if len(distinct) == CANDIDATES_PER_MEMBER * spec.ensemble.size:
            break
    return list(distinct.values())


def select_members(predicted: Sequence[Floats], loss: Callable[[Floats], float], size: int) -> dict[int, int]:
    """Return candidate → how often it is a member of the best ensemble found, in the order of selection.

    The selection begins with the best candidate and adds the one whose predictions lower the loss of the mean most,
    again and again; of the ensembles of 1 to `size` members, the first with the lowest loss is returned. So no
    ensemble is worse than its best member. Of equal candidates, the first is taken.

    Args:
        predicted: predictions of each candidate, of equal shapes.
        loss: the loss of predictions; NaN counts as infinite.
        size: number of members, with repetitions.

    Returns:
        Empty if no candidate has a finite loss.
    """
    members: list[int] = []
    best, length = math.inf, 0
    total: Floats = np.zeros_like(predicted[0], np.float64) if predicted else np.zeros(0)
    for count in range(1, size + 1):
        losses = [_finite(loss((total + outputs) / count)) for outputs in predicted]
        lowest = min(losses, default=math.inf)
        if lowest == math.inf:
            break
        members.append(losses.index(lowest))
        total = total + predicted[members[-1]]
        if count == 1 or lowest < best - LEAST_GAIN * abs(best):
            best, length = lowest, count
    return dict(Counter(members[:length]))


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.inf

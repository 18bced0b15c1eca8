"""A task function that waits in place of training; workers of a cluster import this module."""

import hashlib
import os
import time

from hpsearch.core.space import Point
from hpsearch.training.task import Outcome, Task, TrialResult
from hpsearch.training.trial import advance

_kept: list[TrialResult] = []  # a complete trial with curves and weights


def simulated(task: Task) -> Outcome:
    """Return one trained trial under the number of each trial, with a value and a time that follow from its point.

    The mean of the times is TRIAL_SECONDS; they are between a half and three halves of it.
    """
    seconds = float(os.environ.get("TRIAL_SECONDS", "0"))
    for trial in task.trials:
        time.sleep(seconds * (0.5 + _share(trial.point)))
    return [_result(_template(task), trial.number, trial.point, seconds) for trial in task.trials]


def _result(template: TrialResult, number: int, point: Point, seconds: float) -> TrialResult:
    return template._replace(number=number, value=0.1 + _share(point), seconds=seconds)


def _share(point: Point) -> float:
    """Return a number between 0 and 1 that follows from a point."""
    return int(hashlib.sha256(repr(point).encode()).hexdigest()[:8], 16) / (1 << 32)


def _template(task: Task) -> TrialResult:
    if not _kept:
        _kept.append(advance(task)[0])
        assert _kept[0].state == "complete"
    return _kept[0]

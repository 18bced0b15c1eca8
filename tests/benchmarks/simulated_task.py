"""A task function that waits in place of training; workers of a cluster import this module."""

import hashlib
import os
import time

from hpsearch.training.task import Outcome, Task, TrialResult
from hpsearch.training.trial import advance

_kept: list[TrialResult] = []  # a complete trial with curves and weights


def simulated(task: Task) -> Outcome:
    """Return one trained trial under the number of each trial, with a value that follows from its point."""
    seconds = float(os.environ.get("TRIAL_SECONDS", "0"))
    if seconds:
        time.sleep(seconds * len(task.trials))
    return [_result(_template(task), trial.number, str(trial.point), seconds) for trial in task.trials]


def _result(template: TrialResult, number: int, point: str, seconds: float) -> TrialResult:
    value = 0.1 + int(hashlib.sha256(point.encode()).hexdigest()[:8], 16) / (1 << 32)
    return template._replace(number=number, value=value, seconds=seconds)


def _template(task: Task) -> TrialResult:
    if not _kept:
        _kept.append(advance(task)[0])
        assert _kept[0].state == "complete"
    return _kept[0]

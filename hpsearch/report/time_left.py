"""The time that a study still needs, as a range: trials of unequal length, pruned, and confirmed without pruning.

The work left is counted in seconds of training: the trials left in each stage, times the mean seconds of a trial there.
It is done at the rate at which the study has trained so far; at the end of a stage, workers wait for the longest trial.
Trials that finish early are the short ones, so the mean of a stage counts what its running trials have trained.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, final

from hpsearch.storage.records import FINISHED, Trial
from hpsearch.study.progress import Workload

STANDARD_ERRORS = 2.0  # half of the range
MIN_DEVIATION = 0.3  # of a mean, while fewer than MIN_SAMPLE trials tell how much trials differ
MIN_SAMPLE = 8
OTHER_STAGE = 0.3  # relative error of a mean that comes from another stage


class Mean(NamedTuple):
    """The mean seconds of a trial.

    Attributes:
        deviation: standard deviation of a trial.
        error: standard error of the mean.
    """

    seconds: float
    deviation: float
    error: float

    @property
    def residual(self) -> float:
        """Seconds that a running trial still needs on average: (m² + s²) / 2m, as running trials are the long ones."""
        return (self.seconds**2 + self.deviation**2) / (2 * self.seconds) if self.seconds else 0.0


@final
class TimeLeft:
    """Estimates the time left from the reports of one session."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None  # time of the first report, and what was done before it

    def estimate(self, workload: Workload, now: float) -> tuple[float, float] | None:
        """Return the least and the greatest number of seconds that are likely left; None while nothing is known."""
        done = workload.done
        if self._first is None:
            self._first = now, done
        elapsed, trained = now - self._first[0], done - self._first[1]
        return None if trained <= 0 or elapsed <= 0 else time_range(workload, trained / elapsed)


def time_range(workload: Workload, rate: float) -> tuple[float, float] | None:
    """Return the least and the greatest number of seconds that a study needs; None while no trial has finished.

    Args:
        rate: seconds of training per second.
    """
    spec, seconds, variance, error = workload.spec, 0.0, 0.0, 0.0
    searched: Mean | None = None
    for number, (stage, planned) in enumerate(zip(spec.stages, workload.totals, strict=True)):
        trials = workload.trials[number] if number < len(workload.trials) else ()
        current = number == len(workload.trials) - 1
        running = sum(t.state == "running" for t in trials) - workload.paused * current
        active = min(rate, running)
        mean = _stage_mean(trials, workload.unfinished * current, active)
        if mean is None:
            prior = _whole_trials(workload.trials) if stage.confirms else searched
            mean = prior and prior._replace(error=max(prior.error, OTHER_STAGE * prior.seconds))
        searched = searched if stage.confirms else mean or searched
        left = max(0, planned - len(trials)) + running
        if left == 0:
            continue
        if mean is None:
            return None
        rest = mean.residual
        seconds += ((left - active) * mean.seconds + active * rest) / rate + rest * _idle(min(rate, left))
        variance += (left * mean.deviation**2) / rate**2 + rest**2
        error += left * mean.error / rate
    half = STANDARD_ERRORS * math.hypot(math.sqrt(variance), error)
    return max(0.0, seconds - half), seconds + half


def _idle(workers: float) -> float:
    """Return how much longer than the mean the longest of `workers` trials takes, in means: H(w) − 1 ≈ ln w."""
    return math.log(max(1.0, workers))


def _stage_mean(trials: Sequence[Trial], unfinished: float, active: float) -> Mean | None:
    """Return the mean of a stage's trials: all of its work over its finished trials and half of those that train.

    The mean of the finished trials alone is too short while longer ones train.
    """
    finished = _mean([t.seconds for t in trials if t.state in FINISHED and t.copied_from is None])
    if finished is None:
        return None
    count = sum(t.state in FINISHED and t.copied_from is None for t in trials)
    mean = (sum(t.seconds for t in trials) + unfinished) / (count + active / 2)
    scale = max(1.0, mean / finished.seconds) if finished.seconds else 1.0
    return Mean(mean, finished.deviation * scale, finished.error * scale)


def _whole_trials(trials: Sequence[Sequence[Trial]]) -> Mean | None:
    """Return the mean of the trials that were not pruned, as those of a confirming stage are."""
    return _mean([t.seconds for stage in trials for t in stage if t.state == "complete" and t.copied_from is None])


def _mean(seconds: Sequence[float]) -> Mean | None:
    if not seconds:
        return None
    mean = sum(seconds) / len(seconds)
    deviation = math.sqrt(sum((s - mean) ** 2 for s in seconds) / max(1, len(seconds) - 1))
    if len(seconds) < MIN_SAMPLE:
        deviation = max(deviation, MIN_DEVIATION * mean)
    return Mean(mean, deviation, deviation / math.sqrt(len(seconds)))


def format_span(low: float, high: float) -> str:
    """Format a range of seconds: `about 40 s`, `3 to 5 min`, `2.5 to 4 h`."""
    unit, seconds = next((u, s) for u, s, most in _UNITS if high < most)
    rounded = [_rounded(value / seconds) for value in (low, high)]
    if high - low <= 0.2 * high or rounded[0] == rounded[1]:
        return f"about {_rounded((low + high) / 2 / seconds)} {unit}"
    return f"{rounded[0]} to {rounded[1]} {unit}"


_UNITS = (("s", 1.0, 120.0), ("min", 60.0, 7200.0), ("h", 3600.0, math.inf))


def _rounded(value: float) -> str:
    """Round to two digits; below 1 to one digit after the point."""
    if value >= 10:
        digits = 10 ** (math.floor(math.log10(value)) - 1)
        return f"{round(value / digits) * digits:,.0f}"
    return f"{value:.1f}".removesuffix(".0") if value < 3 else f"{value:.0f}"

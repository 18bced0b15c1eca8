"""Who is behind: trials are judged at rungs of epochs, a whole wave at once, by their best value until then.

Values are read off the stored curves, up to the rung, so a judgment comes out the same whenever it is made. A curve
that ended earlier by itself is carried forward: a trial that stopped early stays one of those to be compared with.
"""

import math
from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

from hpsearch.config.spec import Metric, Pruning, Spec, Stage
from hpsearch.storage.records import Trial

GOLDEN = (math.sqrt(5) - 1) / 2
REPEATED = -1  # the bracket of given points with several seeds
STARTUP = 4  # trials at a rung before the median says anything


class Cohort(NamedTuple):
    """Trials that are compared with one another at each rung: those of one wave and bracket.

    Attributes:
        numbers: the trials, in order.
        peers: finished trials that they are also compared with.
    """

    wave: int
    numbers: tuple[int, ...]
    peers: tuple[Trial, ...]


def of(spec: Spec, stage: Stage) -> Pruning:
    """What prunes a stage."""
    if stage.confirms:
        return Pruning()
    return stage.pruning or spec.pruning


def rungs(spec: Spec, stage: Stage, number: int) -> tuple[int, ...]:
    """The epochs, below the last, at which a trial is judged: those of its bracket, going up."""
    pruning = of(spec, stage)
    if bracket(spec, stage, number) == REPEATED:
        return ()
    everyone = _rungs(pruning, spec.train.epochs, spec.train.check_every)
    return everyone[bracket(spec, stage, number) :] if pruning.kind == "hyperband" else everyone


def bracket(spec: Spec, stage: Stage, number: int) -> int:
    """Which bracket of Hyperband a trial is in: it skips so many of the rungs. Elsewhere there is one.

    Points that are given with several seeds are in one of their own, which is not pruned: their spread is wanted.

    The shares are Li et al. 2018's, algorithm 1: of `s` rungs to come ⌈(s_max + 1) / (s + 1) · ηˢ⌉ trials. Trials are
    dealt by the golden ratio, so that any run of numbers has about these shares.
    """
    pruning = of(spec, stage)
    if stage.seeds > 1 and number < len(stage.points) * stage.seeds:
        return REPEATED
    if pruning.kind != "hyperband":
        return 0
    most = len(_rungs(pruning, spec.train.epochs, spec.train.check_every))
    sizes = [
        math.ceil((most + 1) / (most - skipped + 1) * _factor(pruning) ** (most - skipped))
        for skipped in range(most + 1)
    ]
    place = (number * GOLDEN) % 1 * sum(sizes)
    return next(b for b in range(most + 1) if place < sum(sizes[: b + 1]))


def cohorts(spec: Spec, stage: Stage, wave: int, trials: Sequence[Trial], peers: Sequence[Trial]) -> Iterator[Cohort]:
    """Yield the cohorts of a wave, one for each bracket.

    Args:
        trials: the trials of the wave.
        peers: trials of earlier stages and waves to compare with, of any bracket.
    """
    brackets: dict[int, list[int]] = {}
    for t in trials:
        brackets.setdefault(bracket(spec, stage, t.number), []).append(t.number)
    for place, numbers in sorted(brackets.items()):
        comparable = tuple(t for t in peers if bracket(spec, stage, t.number) == place)
        yield Cohort(wave, tuple(numbers), comparable)


def behind(spec: Spec, stage: Stage, rung: int, cohort: Sequence[Trial], peers: Sequence[Trial]) -> set[int]:
    """Numbers of the trials of a cohort that end at a rung.

    Args:
        cohort: the trials of one wave and bracket, all of which have come to the rung or ended.
        peers: finished trials to compare with, which are not judged.
    """
    pruning, every = of(spec, stage), spec.train.check_every
    everyone = [*peers, *cohort]
    if pruning.kind == "median":
        values = [value(spec.metric, r, rung, every) for r in everyone]
        limit = median(values) if len(values) >= (pruning.n_startup_trials or STARTUP) else math.inf
    else:
        values = sorted(value(spec.metric, r, rung, every) for r in everyone if _came(r, rung))
        limit = values[math.ceil(len(values) / _factor(pruning)) - 1]
    return {r.number for r in cohort if r.epochs >= rung and value(spec.metric, r, rung, every) > limit}


def value(metric: Metric, record: Trial, epoch: int, every: int) -> float:
    """The best of a trial's watched curve until an epoch, lower is better; +inf for one that had diverged or failed."""
    # One that failed has the epochs that it stood at before, at which it was sound.
    lost = {"diverged": record.epochs <= epoch, "failed": record.epochs < epoch}
    if lost.get(record.state):
        return math.inf
    curve = record.history.get(metric.monitored, [])[: epoch // every]
    return min((metric.sign * v for v in curve if math.isfinite(v)), default=math.inf)


def _came(record: Trial, rung: int) -> bool:
    """Whether a trial has come to a rung, or ended before by itself."""
    return record.epochs >= rung or record.state in ("complete", "diverged", "failed")


def _rungs(pruning: Pruning, epochs: int, every: int) -> tuple[int, ...]:
    """All rungs there are, multiples of the epochs between two checks."""
    if pruning.kind == "none":
        return ()
    if pruning.kind == "median":
        first = pruning.min_epochs or max(1, round(epochs / 10))
        places = [float(e) for e in range(first, epochs, first)]
    else:
        factor = _factor(pruning)
        first = pruning.min_epochs or max(1, round(epochs / factor**3))
        places = [float(first)]
        while places[-1] * factor < epochs:
            places.append(places[-1] * factor)
    checked = {math.ceil(place / every) * every for place in places}
    return tuple(sorted(e for e in checked if e < epochs))


def _factor(pruning: Pruning) -> int:
    return pruning.reduction or 3

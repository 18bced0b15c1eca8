"""Pruning: the rungs of epochs at which trials are compared, and what the virtual clock decides by.

Values are read from the stored curves up to the rung, so a decision does not depend on when it is made. A trial
that stopped early keeps its best value at later rungs, so other trials are still compared with it.
"""

import functools
import math
from collections.abc import Sequence

from hpsearch.config.spec import Metric, Pruning, Spec, Stage
from hpsearch.search.schedule.clock import Rules, Rung
from hpsearch.storage.records import Trial

INVERSE_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
UNPRUNED = -1  # the bracket of listed points with several seeds
N_STARTUP_TRIALS = 4  # trials at a rung before the median prunes, by default


def pruning_of(spec: Spec, stage: Stage) -> Pruning:
    """Return the pruning settings of a stage; a confirming stage is not pruned."""
    if stage.confirms:
        return Pruning()
    return stage.pruning or spec.pruning


def rungs(spec: Spec, stage: Stage, number: int) -> tuple[int, ...]:
    """Return the rungs of a trial, in epochs: those of its bracket below the last epoch, ascending."""
    pruning = pruning_of(spec, stage)
    skipped = bracket(spec, stage, number)
    if skipped == UNPRUNED:
        return ()
    all_rungs = _rungs(pruning, spec.train.epochs, spec.train.check_every)
    return all_rungs[skipped:] if pruning.kind == "hyperband" else all_rungs


def bracket(spec: Spec, stage: Stage, number: int) -> int:
    """Return the bracket of a trial: the number of rungs that it skips. Only Hyperband has more than one bracket.

    Listed points with several seeds have their own bracket, which is not pruned, to measure their spread.

    Shares follow algorithm 1 of Li et al. 2018 (Hyperband, JMLR 18): ⌈(s_max + 1) / (s + 1) · ηˢ⌉ trials have `s`
    rungs ahead. Trials are distributed by the golden ratio, so every run of consecutive numbers has about these shares.
    """
    pruning = pruning_of(spec, stage)
    if stage.seeds > 1 and number < len(stage.points) * stage.seeds:
        return UNPRUNED
    if pruning.kind != "hyperband":
        return 0
    s_max = len(_rungs(pruning, spec.train.epochs, spec.train.check_every))
    ahead = [s_max - skipped for skipped in range(s_max + 1)]
    sizes = [math.ceil((s_max + 1) / (s + 1) * _reduction(pruning) ** s) for s in ahead]
    position = (number * INVERSE_GOLDEN_RATIO) % 1 * sum(sizes)
    return next(b for b in range(s_max + 1) if position < sum(sizes[: b + 1]))


def stage_rules(spec: Spec, stage: Stage, least: int = 0) -> Rules:
    """Return what the clock of a stage decides by.

    Args:
        least: complete trials that the stage ends with, if it has as many trials.
    """
    pruning = pruning_of(spec, stage)

    def rungs_of(number: int) -> tuple[int, tuple[int, ...]]:
        skipped = bracket(spec, stage, number)
        return skipped, rungs(spec, stage, number)

    return Rules(
        kind=pruning.kind,
        epochs=spec.train.epochs,
        rungs=functools.cache(rungs_of),
        reduction=_reduction(pruning),
        n_startup=pruning.n_startup_trials or N_STARTUP_TRIALS,
        parallel=spec.parallel,
        budget=math.inf if stage.budget is None else stage.budget * spec.train.epochs,
        least=least,
    )


def peer_values(spec: Spec, stage: Stage, peers: Sequence[Trial]) -> dict[Rung, list[float]]:
    """Return the values of the trials of earlier stages that those of a stage are compared with, by bracket and rung.

    Args:
        peers: finished trials. With Hyperband, each belongs to the bracket that a trial of this stage would have.
    """
    all_rungs = _rungs(pruning_of(spec, stage), spec.train.epochs, spec.train.check_every)
    values: dict[Rung, list[float]] = {}
    for t in peers:
        skipped = bracket(spec, stage, t.number)
        for rung in (r for r in all_rungs if _is_comparable(t, r)):
            value = best_value(spec.metric, t, rung, spec.train.check_every)
            values.setdefault((max(0, skipped), rung), []).append(value)
    return values


def best_value(metric: Metric, trial: Trial, epoch: int, every: int) -> float:
    """Return the best value of a trial's monitored curve up to an epoch; lower is better.

    Args:
        every: epochs between two checks.

    Returns:
        +inf for a trial that had diverged or failed by then.
    """
    # The last epoch of a failed trial is valid; that of a diverged trial is not.
    ended = {"diverged": trial.epochs <= epoch, "failed": trial.epochs < epoch}
    if ended.get(trial.state):
        return math.inf
    curve = trial.history.get(metric.monitored, [])[: epoch // every]
    return min((metric.sign * v for v in curve if math.isfinite(v)), default=math.inf)


def _is_comparable(trial: Trial, rung: int) -> bool:
    """Return whether a trial has reached a rung, or ended before it without being pruned."""
    return trial.epochs >= rung or trial.state in ("complete", "diverged", "failed")


def _rungs(pruning: Pruning, epochs: int, every: int) -> tuple[int, ...]:
    """Return all rungs below the last epoch, as multiples of the epochs between two checks."""
    if pruning.kind == "none":
        return ()
    if pruning.rungs is not None:
        epochs_of_rungs = [float(e) for e in pruning.rungs]
    elif pruning.kind == "median":
        first = pruning.min_epochs or max(1, round(epochs / 10))
        epochs_of_rungs = [float(e) for e in range(first, epochs, first)]
    else:
        reduction = _reduction(pruning)
        first = pruning.min_epochs or max(1, round(epochs / reduction**3))
        epochs_of_rungs = [float(first)]
        while epochs_of_rungs[-1] * reduction < epochs:
            epochs_of_rungs.append(epochs_of_rungs[-1] * reduction)
    checked = {math.ceil(e / every) * every for e in epochs_of_rungs}
    return tuple(sorted(e for e in checked if e < epochs))


def _reduction(pruning: Pruning) -> int:
    return pruning.reduction or 3

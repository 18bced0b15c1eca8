"""Trials as they are known at a moment of the virtual clock, whatever is stored of them already."""

import math

from hpsearch.config.spec import Spec
from hpsearch.search.schedule.clock import Arrival, Job
from hpsearch.search.schedule.pruning import best_value
from hpsearch.storage.records import Trial, with_result
from hpsearch.training.task import TrialResult, pruned_result


def arrival(spec: Spec, trial: Trial, job: Job) -> Arrival | None:
    """Return the outcome of a job; None while its trial has not trained so far.

    Args:
        trial: the trial as stored, or with its progress while it runs.
    """
    if trial.state == "running" and trial.epochs < job.last:
        return None
    value = best_value(spec.metric, trial, job.last, spec.train.check_every)
    counts = trial.copied_from is None
    if has_ended(trial, job.last):
        return Arrival(value, "ended", trial.state == "complete", trial.epochs, counts)
    pruned = trial.state == "pruned" and trial.epochs <= job.last
    return Arrival(value, "pruned" if pruned else "running", False, job.last, counts)


def has_ended(trial: Trial, epoch: int) -> bool:
    """Return whether a trial had ended by an epoch. A failed trial has the epochs of the last rung that it reached."""
    if trial.state == "failed":
        return trial.epochs < epoch
    return trial.state in ("complete", "diverged") and trial.epochs <= epoch


def as_told(spec: Spec, trial: Trial, reached: int) -> Trial:
    """Return a trial as it was when it had reached an epoch: finished, or pruned there, or running at epoch 0."""
    if reached == 0:
        return trial._replace(state="running", value=None, epochs=0, best_epoch=0, metrics={}, history={})
    if has_ended(trial, reached) or (trial.state == "pruned" and trial.epochs <= reached):
        return trial
    return with_result(trial, pruned_result(spec, cut(spec, trial, reached)), 0.0)


def cut(spec: Spec, trial: Trial, epoch: int) -> TrialResult:
    """Return a trial as a running result at an epoch, with its curves up to there."""
    checks = math.ceil(epoch / spec.train.check_every)
    history = {name: values[:checks] for name, values in trial.history.items()}
    return TrialResult(trial.number, "running", None, epoch, 0, history, trial.seconds, machine=trial.machine)

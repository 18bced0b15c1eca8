"""Training step by step: the same rules for every objective but the engine, which trains many trials at once."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from hpsearch.config.hints import hint
from hpsearch.config.spec import Spec
from hpsearch.training.objectives.stepping.progress import Progress, pack_saved
from hpsearch.training.stopping import Stopping, Verdict
from hpsearch.training.task import STATELESS, History, Task, TrialResult, TrialTask, outcome_value, over_time

Scores = Mapping[str, float]


class StepError(Exception):
    """A trial that fails for a reason that the user's code is responsible for; the message is one line."""


class Training(Protocol):
    """One fold of a trial in training."""

    @property
    def saves(self) -> bool:
        """Return whether training can be resumed after the latest step."""
        ...

    def step(self) -> Scores | None:
        """Train one step and return its scores; None when training has ended by itself."""
        ...

    def save(self) -> bytes | None:
        """Return what training is resumed from, and what the model is made of; None if nothing is saved."""
        ...

    def close(self) -> None:
        """Release what training holds."""
        ...


Begin = Callable[[int, bytes | None, Progress], Training]  # fold, what was saved, progress → its training


def advance_steps(task: Task, begin: Begin, states: Callable[[], dict[str, np.ndarray]] = dict) -> TrialResult:
    """Train the trial of a task up to the task's epoch or its time limit.

    Without a checkpoint, it trains from its seed.

    Args:
        begin: begins or resumes the training of one fold.
        states: returns the states of global generators, for a checkpoint.

    Raises:
        StepError: the code reports no valid scores.
        Exception: the code raised it.
    """
    (trial,) = task.trials
    folds = task.dataset.folds
    progress = Progress.start(folds) if trial.checkpoint is None else Progress.from_bytes(trial.checkpoint)
    if task.epochs <= progress.state.epoch:
        raise ValueError(f"epoch {task.epochs} has been reached")
    trainings: list[Training] = []
    try:
        for fold in range(folds):
            trainings.append(begin(fold, progress.last[fold], progress))
        return _train(task, trial, trainings, progress, states)
    finally:
        for training in trainings:
            training.close()


def _train(
    task: Task,
    trial: TrialTask,
    trainings: Sequence[Training],
    progress: Progress,
    states: Callable[[], dict[str, np.ndarray]],
) -> TrialResult:
    spec, state = task.spec, progress.state
    history: History = {name: list(curve) for name, curve in (trial.history or {}).items()}
    stopping, start = Stopping.of(spec, 1), time.monotonic()
    deadline = math.inf if task.seconds is None else start + task.seconds
    verdict = Verdict(*(np.array([v]) for v in (state.epoch < spec.train.epochs, False, False)))
    while True:
        scores = _mean_scores(spec, [training.step() for training in trainings])
        seconds = trial.seconds + time.monotonic() - start
        if (late := over_time(spec, seconds)) is not None:
            raise StepError(late)
        if scores is None:
            verdict = verdict._replace(continues=np.array([False]))
            if not state.epoch:
                raise StepError("reported no scores: training ended before its first step")
        else:
            state.epoch += 1
            _append(history, scores, state.epoch - 1)
            verdict = stopping.update(state, {name: np.array([value]) for name, value in scores.items()})
            if state.best_epoch[0] == state.epoch or spec.train.keep == "last":
                progress.best = tuple(training.save() for training in trainings)
        continues = bool(verdict.continues[0]) and not verdict.diverged[0]
        reached = state.epoch >= task.epochs
        paused = time.monotonic() >= deadline and all(t.saves for t in trainings)
        if not continues or reached or paused:
            so_far = TrialResult(trial.number, "running", None, state.epoch, 0, history, seconds, machine=trial.machine)
            if continues:
                return so_far._replace(checkpoint=_checkpoint(trainings, progress, states))
            return _ended(spec, so_far, progress, verdict)


def _ended(spec: Spec, so_far: TrialResult, progress: Progress, verdict: Verdict) -> TrialResult:
    state = progress.state
    if verdict.diverged[0] or not state.best_epoch[0]:
        return so_far._replace(state="diverged")
    best = so_far.epochs if spec.train.keep == "last" else int(state.best_epoch[0])
    value = outcome_value(spec, so_far, best, bool(verdict.reached[0]))
    return so_far._replace(state="complete", value=value, best_epoch=best, weights=pack_saved(progress.best))


def _checkpoint(
    trainings: Sequence[Training], progress: Progress, states: Callable[[], dict[str, np.ndarray]]
) -> bytes:
    if not all(training.saves for training in trainings):
        return STATELESS
    progress.last = tuple(training.save() for training in trainings)
    progress.generators = states()
    return progress.to_bytes()


def _mean_scores(spec: Spec, folds: Sequence[Scores | None]) -> dict[str, float] | None:
    """Return the mean scores of all folds; None if one of them has ended.

    Raises:
        StepError: the study's metric is missing.
    """
    given = [scores for scores in folds if scores is not None]
    if len(given) < len(folds):
        return None
    monitored = spec.metric.monitored
    for scores in given:
        check_monitored(scores, monitored, "reported")
    if len(given) == 1:
        return dict(given[0])
    names = [name for name in given[0] if all(name in scores for scores in given)]
    values = {name: np.array([scores[name] for scores in given]) for name in names}
    with np.errstate(invalid="ignore"):
        deviation = float(values[monitored].std(ddof=1))
        return {name: float(value.mean()) for name, value in values.items()} | {f"{monitored}_std": deviation}


def check_monitored(scores: Scores, monitored: str, what: str) -> None:
    """Check that scores have the metric of the study.

    Args:
        what: the beginning of an error message.

    Raises:
        StepError: they do not.
    """
    if monitored not in scores:
        found = hint(monitored, list(scores)) if scores else ""
        raise StepError(f"{what} no '{monitored}', the metric of the study{found}")


def _append(history: History, scores: Scores, before: int) -> None:
    """Append scores to curves; a curve that begins late or has a gap has NaN there."""
    for name in scores:
        history.setdefault(name, [math.nan] * before)
    for name, curve in history.items():
        curve.append(scores.get(name, math.nan))

"""A point and a seed → network, hyperparameters, training. `advance` is pure: the same task gives the same outcome."""

import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from engine.network import Network
from engine.training.hyperparameters import Hyperparameters
from engine.training.state import State
from engine.training.stopping import EarlyStopping, Plateau, TargetReached
from engine.training.trainer import train
from engine.types import Booleans
from hpsearch.config.instantiate import hyperparameters
from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset
from hpsearch.data.preprocessing import DTYPE
from hpsearch.errors import DataError
from hpsearch.training.network import build_network
from hpsearch.training.scores import _now, _scores, _watched
from hpsearch.training.task import History, Outcome, Task, TrialResult, TrialTask, failed_result


def advance(task: Task) -> Outcome:
    """Trains a task's trials as far as it says. What goes wrong in training is a result, never an exception.

    Raises:
        OSError: the rows cannot be read: no trial's fault, and nothing to remember.
    """
    try:
        return tuple(_train(task))
    except OSError:
        raise
    except Exception as error:
        if len(task.trials) > 1:  # whose fault it is shows when each trains alone
            return tuple(r for t in task.trials for r in advance(dataclasses.replace(task, trials=(t,))))
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        return tuple(failed_result(t, line) for t in task.trials)


def _train(task: Task) -> list[TrialResult]:
    clock = time.monotonic()
    deadline = math.inf if task.seconds is None else clock + task.seconds
    spec, dataset = task.spec, task.dataset.at(task.trials[0].point)
    rows, val, folds = dataset.part("train"), dataset.part("val"), dataset.folds
    if rows is None:
        raise DataError("data.split: there are no training rows")
    nets = [build_network(spec, dataset, t.point) for t in task.trials]
    hypers = [hyperparameters(spec.train, t.point) for t in task.trials]
    # One row for each fold of each trial, a trial's next to each other; they stop and go on together.
    state = State.join([_state(*given, folds) for given in zip(task.trials, nets, hypers, strict=True)])
    all_nets, all_hypers = [n for n in nets for _ in range(folds)], [h for h in hypers for _ in range(folds)]
    stopping = Stopping.of(spec, folds)
    going = list(range(len(task.trials)))  # those that are rows of the state
    histories = [_history(t.history or {}, spec, dataset) for t in task.trials]
    seconds = [t.seconds for t in task.trials]
    results: dict[int, TrialResult] = {}
    training = train(all_nets, all_hypers, state, rows, val, spec.train.check_every, _watched(spec, dataset))
    epoch = next(training)
    while True:
        scores = _scores(epoch, spec, dataset)
        before, clock = clock, time.monotonic()
        for row, trial in enumerate(going):
            seconds[trial] += (clock - before) / len(going)
            for name, values in scores.items():
                histories[trial].setdefault(name, []).append(float(values[row]))
        goes, reached = stopping.update(state, scores)
        finite = np.isfinite(scores["train/loss"]) & np.isfinite(scores.get("val/loss", scores["train/loss"]))
        paused = clock >= deadline or state.epoch >= task.epochs
        goes &= finite & (state.epoch < spec.train.epochs)
        for row, trial in enumerate(going):
            so_far = TrialResult(
                task.trials[trial].number, "running", None, state.epoch, 0, histories[trial], seconds[trial]
            )
            of_it = np.arange(row * folds, (row + 1) * folds)
            never = not goes[row] and state.best_epoch[of_it[0]] == 0  # its metric has not been a number in any epoch
            if not finite[row] or never:
                results[trial] = so_far._replace(state="diverged")
            elif not goes[row]:
                results[trial] = _complete(so_far, spec, state, of_it, bool(reached[row]))
            elif paused:
                results[trial] = so_far._replace(checkpoint=state.take(of_it).to_bytes())
        going = [trial for row, trial in enumerate(going) if goes[row]]
        if paused or not going:
            return [results[trial] for trial in range(len(task.trials))]
        epoch = training.send(np.repeat(goes, folds))


class Stopping(NamedTuple):
    """All that may end a trial before its last epoch."""

    spec: Spec
    folds: int
    early: EarlyStopping
    reached: TargetReached | None
    settled: Plateau | None

    @classmethod
    def of(cls, spec: Spec, folds: int) -> "Stopping":
        """What a study file asks for."""
        early, stop, every = spec.train.early_stopping, spec.train.stop, spec.train.check_every
        value = stop.value if stop else None
        return cls(
            spec,
            folds,
            EarlyStopping(early.patience * every, early.min_delta) if early else EarlyStopping(),
            None if value is None else TargetReached(spec.metric.sign * value),
            Plateau(stop.change, stop.checks) if stop and stop.change else None,
        )

    def update(self, state: State, scores: Mapping[str, np.ndarray]) -> tuple[Booleans, Booleans]:
        """Who goes on, and who has reached the value to stop at, `(trials,)` each; the best weights are in `state`.

        The folds of a trial have one value.
        """
        values = np.repeat(self.spec.metric.sign * scores[self.spec.metric.watched], self.folds)
        goes = self.early.update(state, values)
        on_the_way = self.reached.update(state, values) if self.reached else np.ones(len(state), dtype=np.bool_)
        if self.settled:
            goes &= self.settled.update(state, values)
        return (goes & on_the_way)[:: self.folds], ~on_the_way[:: self.folds]


def _state(trial: TrialTask, net: Network, hyper: Hyperparameters, folds: int) -> State:
    if trial.checkpoint is not None:
        return State.from_bytes(trial.checkpoint)
    seeds: list[Any] = [trial.seed, *([trial.seed, fold] for fold in range(1, folds))]
    return State.start(net, hyper.slots, [np.random.default_rng(seed) for seed in seeds], DTYPE)


def _history(before: History, spec: Spec, dataset: Dataset) -> History:
    """The curves that a trial goes on with, by the names they have now."""
    curves = {_now(name, dataset): list(values) for name, values in before.items()}
    legacy = spec.metric.watched if _now(spec.metric.watched, dataset) in curves else ""
    return {**curves, legacy: list(curves[_now(legacy, dataset)])} if legacy and legacy not in curves else curves


def _complete(so_far: TrialResult, spec: Spec, state: State, rows: np.ndarray, reached: bool) -> TrialResult:
    last = spec.train.keep == "last"
    best = state.epoch if last else int(state.best_epoch[rows[0]])
    if spec.metric.name == "epochs":
        value = float(state.epoch if reached else spec.train.epochs + spec.train.check_every)
    else:
        value = so_far.history[spec.metric.name][best // spec.train.check_every - 1]
    weights = (state.theta if last else state.best_theta)[rows]
    return so_far._replace(state="complete", value=value, best_epoch=best, weights=weights.tobytes())

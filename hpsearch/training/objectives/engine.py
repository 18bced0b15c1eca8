"""The engine: networks in NumPy or compiled code, trained in batches of equal shape."""

import math
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, final

import numpy as np
from threadpoolctl import threadpool_limits

from engine.kernels.choice import Kernel, is_loaded, load_kernel
from engine.network import Network
from engine.training.hyperparameters import Hyperparameters
from engine.training.state import State
from engine.training.trainer import train
from engine.types import EngineError
from hpsearch.config.instantiate import hyperparameters
from hpsearch.config.spec import Spec
from hpsearch.core.space import Point
from hpsearch.data.dataset import Dataset
from hpsearch.data.preprocessing import DTYPE
from hpsearch.errors import DataError
from hpsearch.training.grouping import group_trials
from hpsearch.training.kernel import settle_kernel
from hpsearch.training.network import build_network, check_fit
from hpsearch.training.scores import epoch_scores, extra_metrics, final_scores, positive_notice
from hpsearch.training.stopping import Stopping, Verdict
from hpsearch.training.task import (
    Outcome,
    Task,
    TrainingCode,
    TrialResult,
    TrialTask,
    failed_result,
    outcome_value,
    over_time,
)


@final
class EngineObjective:
    """The engine trains the networks that a study file describes."""

    def settle(self, spec: Spec, dataset: Dataset, code: TrainingCode) -> tuple[Spec, list[str]]:
        check_fit(spec, dataset)
        spec, notices = settle_kernel(spec, dataset)
        return spec, [*notices, *filter(None, [positive_notice(spec, dataset)])]

    def group(
        self, spec: Spec, dataset: Dataset, trials: Sequence[TrialTask], workers: int
    ) -> list[tuple[TrialTask, ...]]:
        return group_trials(spec, dataset, trials, workers)

    def advance(self, task: Task) -> Outcome:
        with _prepare_kernel(task.spec.engine.kernel):
            return tuple(_train(task))

    def check_checkpoint(self, spec: Spec, dataset: Dataset, point: Point, partial: TrialResult) -> None:
        if not partial.checkpoint:
            raise EngineError("not a checkpoint: its curves cannot be read")
        state = State.from_bytes(partial.checkpoint)
        network = build_network(spec, dataset, point)
        if (state.epoch, state.theta.shape) != (partial.epochs, (dataset.folds, network.size)):
            raise EngineError("not a checkpoint: it is that of another epoch or network")

    def is_whole(self, spec: Spec, dataset: Dataset, point: Point, weights: bytes) -> bool:
        return len(weights) == dataset.folds * build_network(spec, dataset, point).size * DTYPE.itemsize

    def final_scores(
        self, spec: Spec, dataset: Dataset, point: Point, weights: bytes, metrics: Mapping[str, float]
    ) -> dict[str, float]:
        return final_scores(spec, dataset, point, weights)


def _prepare_kernel(kernel: str) -> AbstractContextManager[object]:
    """Load what a task of this kernel needs; return a context in which the BLAS that comes with it has one thread.

    The limit is for the first task of a process that is not a worker, because an executor limits what is loaded when
    a later task begins. A worker keeps it.

    Raises:
        KernelUnavailable: the compiled kernel cannot be loaded.
    """
    if kernel != "compiled" or is_loaded():
        return nullcontext()
    load_kernel(DTYPE)
    limit = threadpool_limits(1)
    return limit if multiprocessing.parent_process() is None else nullcontext()


def _train(task: Task) -> list[TrialResult]:
    clock = time.monotonic()
    deadline = math.inf if task.seconds is None else clock + task.seconds
    spec, dataset = task.spec, task.dataset.at(task.trials[0].point)
    rows, val, folds = dataset.part("train"), dataset.part("val"), dataset.folds
    if rows is None:
        raise DataError("data.split: there are no training rows")
    kernel: Kernel = "compiled" if spec.engine.kernel == "compiled" else "numpy"
    networks, hypers, state = _batch(spec, dataset, task.trials)
    epochs = train(networks, hypers, state, rows, val, spec.train.check_every, extra_metrics(spec, dataset), kernel)
    stopping = Stopping.of(spec, folds)
    histories = [{name: list(curve) for name, curve in (t.history or {}).items()} for t in task.trials]
    seconds = [t.seconds for t in task.trials]
    results: dict[int, TrialResult] = {}
    active = list(range(len(task.trials)))  # the trials that are rows of the state
    epoch = next(epochs)
    while True:
        scores = epoch_scores(epoch, spec, dataset)
        before, clock = clock, time.monotonic()
        for row, trial in enumerate(active):
            seconds[trial] += (clock - before) / len(active)
            for name, values in scores.items():
                histories[trial].setdefault(name, []).append(float(values[row]))
        verdict = stopping.update(state, scores)
        late = np.array([over_time(spec, seconds[trial]) is not None for trial in active])
        continues = verdict.continues & ~late
        paused = clock >= deadline or state.epoch >= task.epochs
        for row, trial in enumerate(active):
            if late[row] and verdict.continues[row]:
                late_trial = task.trials[trial]._replace(seconds=seconds[trial])
                results[trial] = failed_result(late_trial, over_time(spec, seconds[trial]) or "")
            elif paused or not verdict.continues[row]:
                number, machine = task.trials[trial].number, task.trials[trial].machine
                progress = state.epoch, 0, histories[trial], seconds[trial]
                so_far = TrialResult(number, "running", None, *progress, machine=machine)
                results[trial] = _result(so_far, spec, state, verdict, row, folds)
        active = [trial for row, trial in enumerate(active) if continues[row]]
        if paused or not active:
            return [results[trial] for trial in range(len(task.trials))]
        epoch = epochs.send(np.repeat(continues, folds))


def _batch(
    spec: Spec, dataset: Dataset, trials: tuple[TrialTask, ...]
) -> tuple[list[Network], list[Hyperparameters], State]:
    """Return networks, hyperparameters and state: a row for each fold of each trial; folds of a trial are adjacent."""
    folds = dataset.folds
    networks = [build_network(spec, dataset, t.point) for t in trials]
    hypers = [hyperparameters(spec.engine, t.point) for t in trials]
    states = [_state(t, net, hyper, folds) for t, net, hyper in zip(trials, networks, hypers, strict=True)]
    per_fold = [n for n in networks for _ in range(folds)], [h for h in hypers for _ in range(folds)]
    return *per_fold, State.join(states)


def _state(trial: TrialTask, network: Network, hyper: Hyperparameters, folds: int) -> State:
    if trial.checkpoint is not None:
        return State.from_bytes(trial.checkpoint)
    seeds: list[Any] = [trial.seed, *([trial.seed, fold] for fold in range(1, folds))]
    return State.start(network, hyper.slots, [np.random.default_rng(seed) for seed in seeds], DTYPE)


def _result(so_far: TrialResult, spec: Spec, state: State, verdict: Verdict, row: int, folds: int) -> TrialResult:
    """Return the result of a trial that has ended or is paused."""
    state_rows = np.arange(row * folds, (row + 1) * folds)
    if verdict.diverged[row]:
        return so_far._replace(state="diverged")
    if verdict.continues[row]:
        return so_far._replace(checkpoint=state.take(state_rows).to_bytes())
    return _complete(so_far, spec, state, state_rows, bool(verdict.reached[row]))


def _complete(so_far: TrialResult, spec: Spec, state: State, rows: np.ndarray, reached: bool) -> TrialResult:
    last = spec.train.keep == "last"
    best = state.epoch if last else int(state.best_epoch[rows[0]])
    value = outcome_value(spec, so_far, best, reached)
    weights = (state.theta if last else state.best_theta)[rows]
    return so_far._replace(state="complete", value=value, best_epoch=best, weights=weights.tobytes())

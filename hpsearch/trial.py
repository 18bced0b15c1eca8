"""A point and a seed → network, hyperparameters, training. `advance` is pure: the same task gives the same outcome."""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, final

import numpy as np
from threadpoolctl import threadpool_limits

from engine.hyperparameters import Hyperparameters
from engine.network import Network
from engine.state import State
from engine.stopping import EarlyStopping, Reached, Settled
from engine.trainer import Epoch, evaluate, train
from engine.types import Booleans, EngineError
from hpsearch.build import hyperparameters, network
from hpsearch.dataset import DTYPE, Dataset
from hpsearch.errors import DataError
from hpsearch.sources import Part
from hpsearch.space import Point
from hpsearch.spec import Spec

History = dict[str, list[float]]  # "val/loss" → a number for each epoch
TrialState = Literal["running", "complete", "pruned", "diverged", "failed"]
LARGEST_IN_COMPANY = 10_000  # multiply-adds a row; beyond, the products outweigh what company saves


class Start(NamedTuple):
    """A trial as it goes to a worker: from its seed, or from where it stood."""

    number: int
    point: Point
    seed: int
    epochs: int = 0
    checkpoint: bytes | None = None
    history: History | None = None
    seconds: float = 0.0


@final
@dataclasses.dataclass(frozen=True)
class Task:
    """Trials of one shape, at one epoch, to train together.

    Attributes:
        epochs: to reach; those that would go on come back with `state` running.
        seconds: after so many they come back all the same; None for no limit.
    """

    spec: Spec
    dataset: Dataset
    trials: tuple[Start, ...]
    epochs: int
    seconds: float | None = None


class Result(NamedTuple):
    """A trial as it comes back.

    Attributes:
        value: the metric at its best epoch, as named, whatever the goal; None unless complete or pruned.
        epochs: how many it trained.
        best_epoch: counted from 1, 0 when there is none.
        history: a number for each epoch.
        checkpoint: to go on from, when it is running.
        weights: `(1, parameters)` of the best epoch, as bytes, when it is complete.
        seconds: of training so far, its share when it trains in company.
        error: the first line, when it failed.
    """

    number: int
    state: TrialState
    value: float | None
    epochs: int
    best_epoch: int
    history: History
    seconds: float = 0.0
    checkpoint: bytes | None = None
    weights: bytes | None = None
    error: str | None = None


Outcome = tuple[Result, ...]  # what a task gave: its trials in the order they were given


def shape(spec: Spec, dataset: Dataset, point: Point) -> tuple[Network, tuple[object, ...]]:
    """What must be equal for trials to train together.

    Raises:
        EngineError: a network or hyperparameters that cannot be.
    """
    return network(spec, dataset, point).alike, hyperparameters(spec.train, point).kind


def cost(spec: Spec, dataset: Dataset, point: Point) -> float:
    """Roughly how long an epoch takes, in units of a multiply-add: products for each row, and a toll for each step."""
    try:
        hyper, net = hyperparameters(spec.train, point), network(spec, dataset, point)
    except EngineError:
        return 0.0
    rows = dict(dataset.rows)["train"]
    return rows * net.work * 3 + (rows / min(hyper.batch_size, rows)) * (500_000 + net.size * 40)


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
        return tuple(failed(t, line) for t in task.trials)


def failed(trial: Start, error: str) -> Result:
    """A trial that went wrong. How far it was when it was last stored is a matter of time, so nothing of it is kept."""
    return Result(trial.number, "failed", None, 0, 0, {}, trial.seconds, error=error)


def pruned(spec: Spec, result: Result) -> Result:
    """A running trial that ends where it stands: its value is its best so far."""
    metric, every = spec.metric, spec.train.check_every
    curve = [metric.sign * v if math.isfinite(v) else math.inf for v in result.history[metric.watched]]
    best = curve.index(min(curve))
    if curve[best] == math.inf:
        return result._replace(state="pruned", checkpoint=None)
    value = result.history[metric.name][best] if metric.name in result.history else None
    return result._replace(state="pruned", value=value, best_epoch=(best + 1) * every, checkpoint=None)


def _train(task: Task) -> list[Result]:
    clock = time.monotonic()
    deadline = math.inf if task.seconds is None else clock + task.seconds
    spec, dataset = task.spec, task.dataset
    rows, val = dataset.part("train"), dataset.part("val")
    if rows is None:
        raise DataError("data.split: there are no training rows")
    nets = [network(spec, dataset, t.point) for t in task.trials]
    hypers = [hyperparameters(spec.train, t.point) for t in task.trials]
    state = State.join([_state(*given) for given in zip(task.trials, nets, hypers, strict=True)])
    stopping = Stopping.of(spec)
    going = list(range(len(task.trials)))  # trial of each row of the state
    histories: list[History] = [{k: list(v) for k, v in (t.history or {}).items()} for t in task.trials]
    seconds = [t.seconds for t in task.trials]
    results: dict[int, Result] = {}
    training = train(nets, hypers, state, rows, val, spec.train.check_every)
    epoch = next(training)
    while True:
        scores = _scores(epoch)
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
            so_far = Result(
                task.trials[trial].number, "running", None, state.epoch, 0, histories[trial], seconds[trial]
            )
            never = not goes[row] and state.best_epoch[row] == 0  # its metric has not been a number in any epoch
            if not finite[row] or never:
                results[trial] = so_far._replace(state="diverged")
            elif not goes[row]:
                results[trial] = _complete(so_far, spec, state, row, bool(reached[row]))
            elif paused:
                results[trial] = so_far._replace(checkpoint=state.take(np.array([row])).to_bytes())
        going = [trial for row, trial in enumerate(going) if goes[row]]
        if paused or not going:
            return [results[trial] for trial in range(len(task.trials))]
        epoch = training.send(goes)


class Stopping(NamedTuple):
    """All that may end a trial before its last epoch."""

    spec: Spec
    early: EarlyStopping
    reached: Reached | None
    settled: Settled | None

    @classmethod
    def of(cls, spec: Spec) -> "Stopping":
        """What a study file asks for."""
        early, stop, every = spec.train.early_stopping, spec.train.stop, spec.train.check_every
        value = stop.value if stop else None
        return cls(
            spec,
            EarlyStopping(early.patience * every, early.min_delta) if early else EarlyStopping(),
            None if value is None else Reached(spec.metric.sign * value),
            Settled(stop.change, stop.checks) if stop and stop.change else None,
        )

    def update(self, state: State, scores: Mapping[str, np.ndarray]) -> tuple[Booleans, Booleans]:
        """Who goes on, and who has reached the value to stop at, `(trials,)` each; the best weights are in `state`."""
        values = self.spec.metric.sign * scores[self.spec.metric.watched]
        goes = self.early.update(state, values)
        on_the_way = self.reached.update(state, values) if self.reached else np.ones(len(state), dtype=np.bool_)
        if self.settled:
            goes &= self.settled.update(state, values)
        return goes & on_the_way, ~on_the_way


def _state(trial: Start, net: Network, hyper: Hyperparameters) -> State:
    if trial.checkpoint is not None:
        return State.from_bytes(trial.checkpoint)
    return State.start(net, hyper.slots, [np.random.default_rng(trial.seed)], DTYPE)


def _scores(epoch: Epoch) -> dict[str, np.ndarray]:
    scores = {"train/loss": epoch.train.loss, "train/accuracy": epoch.train.accuracy}
    if epoch.val is not None:
        scores |= {"val/loss": epoch.val.loss, "val/accuracy": epoch.val.accuracy}
    return scores


def _complete(so_far: Result, spec: Spec, state: State, row: int, reached: bool) -> Result:
    last = spec.train.keep == "last"
    best = state.epoch if last else int(state.best_epoch[row])
    if spec.metric.name == "epochs":
        value = float(state.epoch if reached else spec.train.epochs + spec.train.check_every)
    else:
        value = so_far.history[spec.metric.name][best // spec.train.check_every - 1]
    weights = (state.theta if last else state.best_theta)[row]
    return so_far._replace(state="complete", value=value, best_epoch=best, weights=weights.tobytes())


def final_scores(spec: Spec, dataset: Dataset, point: Point, weights: bytes) -> dict[str, float]:
    """Loss and accuracy of a finished trial's weights on the test rows, if there are any, and on those it learned from.

    The latter are called `fit/…`: `train/…` was measured while the weights changed, with dropout and all.
    """
    theta = np.frombuffer(weights, DTYPE)[None]
    scores: dict[str, float] = {}
    parts: dict[str, Part] = {"test": "test", "fit": "train"}
    for name, part in parts.items():
        rows = dataset.part(part)
        if rows is not None:
            with threadpool_limits(1):  # as in training: two threads give other bits
                found = evaluate(network(spec, dataset, point), theta, rows)
            scores |= {f"{name}/loss": float(found.loss[0]), f"{name}/accuracy": float(found.accuracy[0])}
    return scores


def groups(spec: Spec, dataset: Dataset, trials: Sequence[Start], workers: int) -> list[tuple[Start, ...]]:
    """Trials of equal shape at the same epoch together, the longest groups first.

    Who trains with whom changes nothing but the time it takes, so the groups are cut for the workers at hand: small
    enough to keep all of them busy, and single trials where the matrices are so large that company does not pay.
    """
    most = -(-len(trials) // (2 * workers)) or 1
    shapes: dict[Any, list[Start]] = {}
    for t in trials:
        shapes.setdefault((_shape_or_number(spec, dataset, t), t.epochs), []).append(t)
    cut = []
    for (key, _), equal in shapes.items():
        size = most if isinstance(key, tuple) and key[0].work <= LARGEST_IN_COMPANY else 1
        cut += [tuple(equal[i : i + size]) for i in range(0, len(equal), size)]
    return sorted(cut, key=lambda g: -sum(cost(spec, dataset, t.point) for t in g))


def _shape_or_number(spec: Spec, dataset: Dataset, trial: Start) -> Any:
    """A trial whose network cannot be built goes alone, to fail in `advance` like any other."""
    try:
        return shape(spec, dataset, trial.point)
    except EngineError:
        return trial.number

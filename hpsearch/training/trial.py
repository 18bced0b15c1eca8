"""A point and a seed → network, hyperparameters, training. `advance` is pure: the same task gives the same outcome."""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, final

import numpy as np
from threadpoolctl import threadpool_limits

from engine.hyperparameters import Hyperparameters
from engine.metrics import METRICS
from engine.network import Network
from engine.rows import Rows
from engine.state import State
from engine.stopping import EarlyStopping, Reached, Settled
from engine.trainer import Epoch, evaluate, train
from engine.types import Booleans, EngineError, Floats
from hpsearch.config.instantiate import hyperparameters, network
from hpsearch.config.spec import Spec
from hpsearch.core.space import Point
from hpsearch.data.dataset import Dataset
from hpsearch.data.preprocessing import DTYPE
from hpsearch.errors import DataError

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
        weights: `(folds, parameters)` of the best epoch, as bytes, when it is complete.
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
    return network(spec, dataset, point).alike, (hyperparameters(spec.train, point).kind, dataset.at(point).number)


def cost(spec: Spec, dataset: Dataset, point: Point) -> float:
    """Roughly how long an epoch takes, in units of a multiply-add: products for each row, and a toll for each step."""
    try:
        hyper, net = hyperparameters(spec.train, point), network(spec, dataset, point)
    except EngineError:
        return 0.0
    rows = dict(dataset.rows)["train"] * dataset.folds
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
    spec, dataset = task.spec, task.dataset.at(task.trials[0].point)
    rows, val, folds = dataset.part("train"), dataset.part("val"), dataset.folds
    if rows is None:
        raise DataError("data.split: there are no training rows")
    nets = [network(spec, dataset, t.point) for t in task.trials]
    hypers = [hyperparameters(spec.train, t.point) for t in task.trials]
    # One row for each fold of each trial, a trial's next to each other; they stop and go on together.
    state = State.join([_state(*given, folds) for given in zip(task.trials, nets, hypers, strict=True)])
    all_nets, all_hypers = [n for n in nets for _ in range(folds)], [h for h in hypers for _ in range(folds)]
    stopping = Stopping.of(spec, folds)
    going = list(range(len(task.trials)))  # those that are rows of the state
    histories = [_history(t.history or {}, spec, dataset) for t in task.trials]
    seconds = [t.seconds for t in task.trials]
    results: dict[int, Result] = {}
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
            so_far = Result(
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
    reached: Reached | None
    settled: Settled | None

    @classmethod
    def of(cls, spec: Spec, folds: int) -> "Stopping":
        """What a study file asks for."""
        early, stop, every = spec.train.early_stopping, spec.train.stop, spec.train.check_every
        value = stop.value if stop else None
        return cls(
            spec,
            folds,
            EarlyStopping(early.patience * every, early.min_delta) if early else EarlyStopping(),
            None if value is None else Reached(spec.metric.sign * value),
            Settled(stop.change, stop.checks) if stop and stop.change else None,
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


def _state(trial: Start, net: Network, hyper: Hyperparameters, folds: int) -> State:
    if trial.checkpoint is not None:
        return State.from_bytes(trial.checkpoint)
    seeds: list[Any] = [trial.seed, *([trial.seed, fold] for fold in range(1, folds))]
    return State.start(net, hyper.slots, [np.random.default_rng(seed) for seed in seeds], DTYPE)


def _watched(spec: Spec, dataset: Dataset) -> dict[str, Any]:
    """What the engine is to measure beside loss and accuracy."""
    name = spec.metric.of if dataset.classes or spec.metric.of != "accuracy" else "r2"
    return {} if name not in METRICS or name == _accuracy(dataset) else {name: METRICS[name]()}


def _accuracy(dataset: Dataset) -> str:
    """What the engine's accuracy is called: it is R² for a regression."""
    return "accuracy" if dataset.classes else "r2"


def _history(before: History, spec: Spec, dataset: Dataset) -> History:
    """The curves that a trial goes on with, by the names they have now."""
    curves = {_now(name, dataset): list(values) for name, values in before.items()}
    legacy = spec.metric.watched if _now(spec.metric.watched, dataset) in curves else ""
    return {**curves, legacy: list(curves[_now(legacy, dataset)])} if legacy and legacy not in curves else curves


def _now(name: str, dataset: Dataset) -> str:
    """A curve's name in an earlier version, as it is called now."""
    return name if dataset.classes else name.replace("/accuracy", "/r2")


def _scores(epoch: Epoch, spec: Spec, dataset: Dataset) -> dict[str, np.ndarray]:
    """`(trials,)` each: means over folds, and the deviation of what is watched."""
    accuracy = _accuracy(dataset)
    each = {"train/loss": epoch.train.loss, f"train/{accuracy}": epoch.train.accuracy}
    if epoch.val is not None:
        each |= {"val/loss": epoch.val.loss, f"val/{accuracy}": epoch.val.accuracy}
    if _now(spec.metric.watched, dataset) != spec.metric.watched:
        each[spec.metric.watched] = each[_now(spec.metric.watched, dataset)]
    for name, values in epoch.others.items():
        each[f"val/{name}"] = values * np.resize([_unit(name, *unit) for unit in dataset.units], len(values))
    if dataset.folds == 1:
        return each
    folds = {name: values.reshape(-1, dataset.folds) for name, values in each.items()}
    with np.errstate(invalid="ignore"):  # inf − inf of a diverged trial
        spread = folds[spec.metric.watched].std(axis=1, ddof=1)
        return {name: values.mean(axis=1) for name, values in folds.items()} | {f"{spec.metric.watched}_std": spread}


def _unit(metric: str, _center: float, unit: float) -> float:
    """What a metric of standardized targets is multiplied by, to be one of their own units."""
    return unit if metric in ("rmse", "mae") else 1.0


def _complete(so_far: Result, spec: Spec, state: State, rows: np.ndarray, reached: bool) -> Result:
    last = spec.train.keep == "last"
    best = state.epoch if last else int(state.best_epoch[rows[0]])
    if spec.metric.name == "epochs":
        value = float(state.epoch if reached else spec.train.epochs + spec.train.check_every)
    else:
        value = so_far.history[spec.metric.name][best // spec.train.check_every - 1]
    weights = (state.theta if last else state.best_theta)[rows]
    return so_far._replace(state="complete", value=value, best_epoch=best, weights=weights.tobytes())


def final_scores(spec: Spec, dataset: Dataset, point: Point, weights: bytes) -> dict[str, float]:
    """Scores of a finished trial's weights on the test rows, if there are any, and on those it learned from.

    The latter are called `fit/…`: `train/…` was measured while the weights changed, with dropout and all. The nets of
    folds predict the test rows together, as the mean of what each says; on what it learned from each is scored alone.
    """
    dataset = dataset.at(point)
    net, theta = network(spec, dataset, point), np.frombuffer(weights, DTYPE).reshape(dataset.folds, -1)
    scores: dict[str, float] = {}
    rows, learned = dataset.part("test"), dataset.part("train")
    with threadpool_limits(1):  # as in training: two threads give other bits
        if rows is not None:
            scores |= {f"test/{name}": value for name, value in _test_scores(net, theta, rows, dataset).items()}
        if learned is not None:
            found = evaluate(net, theta, learned)
            scores["fit/loss"] = float(found.loss.mean())
            scores[f"fit/{_accuracy(dataset)}"] = float(found.accuracy.mean())
    return {name: value for name, value in scores.items() if math.isfinite(value)}


def _test_scores(net: Network, theta: Floats, rows: Rows, dataset: Dataset) -> dict[str, float]:
    """Every metric there is of such a target; the loss is without regularization, and of standardized targets."""
    said = net.predict(theta, rows.x.reshape(rows.sets, len(rows), *net.inputs))
    truth = rows.of(0).y
    if dataset.folds == 1:
        found = evaluate(net, theta, rows)
        scores = {"loss": float(found.loss[0]), _accuracy(dataset): float(found.accuracy[0])}
    elif dataset.classes:
        said = said.mean(axis=0, dtype=np.float64)[None].astype(DTYPE)
        scores = {"loss": METRICS["log_loss"]().of(said[0], truth)}
    else:  # each fold has its own units, so the mean is taken in the target's
        center, unit = (np.array(numbers)[:, None, None] for numbers in zip(*dataset.units, strict=True))
        mean = (said.astype(np.float64) * unit + center).mean(axis=0)
        said = ((mean - center[0]) / unit[0])[None]
        scores = {"loss": float(np.square(said[0] - truth).mean() / 2)}
    for name, kind in METRICS.items():
        if kind.classifies == net.loss.classifies and name not in scores:
            scores[name] = kind().of(said[0], truth) * _unit(name, *dataset.units[0])
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

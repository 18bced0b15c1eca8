"""A point and a seed → network, hyperparameters, training. `advance` is pure: the same task gives the same outcome."""

import dataclasses
import math
import time
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, final

import numpy as np
from threadpoolctl import threadpool_limits

from engine.activations import ACTIVATIONS
from engine.initializers import INITIALIZERS, HeNormal, XavierNormal
from engine.layers import Dense, Layer
from engine.network import Network
from engine.optimizers import OPTIMIZERS
from engine.registry import Menu
from engine.schedules import SCHEDULES
from engine.state import State
from engine.stopping import EarlyStopping
from engine.trainer import Epoch, Hyperparameters, evaluate, train
from engine.types import EngineError
from hpsearch.dataset import DTYPE, Dataset
from hpsearch.errors import DataError
from hpsearch.space import Point
from hpsearch.spec import Choice, Model, Spec, Train, setting

History = dict[str, list[float]]  # "val/loss" → a number for each epoch
TrialState = Literal["running", "complete", "diverged", "failed"]
LARGEST_IN_COMPANY = 10_000  # parameters; beyond, the products outweigh what company saves
RECTIFIERS = {"relu", "leaky_relu"}  # their inputs lose half their variance, which He's weights make up for


class Start(NamedTuple):
    """A trial as it goes to a worker: from its seed, or from where it stood."""

    number: int
    point: Point
    seed: int
    checkpoint: bytes | None = None
    history: History | None = None
    seconds: float = 0.0


@final
@dataclasses.dataclass(frozen=True)
class Task:
    """Trials of one shape to train together.

    Attributes:
        epochs: to reach.
        seconds: after so many, what has been done comes back with `state` running; None for no limit.
    """

    spec: Spec
    dataset: Dataset
    trials: tuple[Start, ...]
    epochs: int
    seconds: float | None = None


class Result(NamedTuple):
    """A trial as it comes back.

    Attributes:
        value: the metric at its best epoch, as named, whatever the goal; None when there is none.
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


def hidden_layers(model: Model, point: Point) -> tuple[Layer, ...]:
    """The hidden layers at a point.

    Raises:
        EngineError: units or settings that cannot be.
    """
    layers: list[Layer] = []
    for hidden in model.hidden:
        activation = named(hidden.activation, ACTIVATIONS, point)
        rectifier = setting(hidden.activation.name, "", point, "") in RECTIFIERS
        initializer = named(hidden.initializer, INITIALIZERS, point) if hidden.initializer else None
        default = HeNormal() if rectifier else XavierNormal()
        units = setting(hidden.units, "", point, 0)
        assert isinstance(units, int)
        layers += [Dense(units, initializer or default), activation]
    return tuple(layers)


def network(spec: Spec, dataset: Dataset, point: Point) -> Network:
    """The network at a point; its output layer and loss follow from the data."""
    layers = (*hidden_layers(spec.model, point), Dense(dataset.outputs, XavierNormal()))
    return Network((dataset.inputs,), layers, dataset.loss)


def hyperparameters(training: Train, point: Point) -> Hyperparameters:
    """The hyperparameters at a point.

    Raises:
        EngineError: a value outside of what the engine takes.
    """

    def number(value: Any, name: str, default: float) -> Any:
        return setting(value, name, point, default)

    return Hyperparameters(
        optimizer=named(training.optimizer, OPTIMIZERS, point),
        learning_rate=float(number(training.learning_rate, "learning_rate", 0.01)),
        batch_size=int(number(training.batch_size, "batch_size", 32)),
        l2=float(number(training.l2, "l2", 0.0)),
        schedule=named(training.schedule, SCHEDULES, point),
    )


def named(choice: Choice, menu: Menu[Any], point: Point) -> Any:
    """What a choice from a menu is at a point: each setting as given, else its parameter, else a default."""
    kind: Any = menu[choice.name if choice.name in menu else str(point[choice.name])]
    defaults: dict[str, Any] = {f.name: f.default for f in dataclasses.fields(kind)}
    return kind(**{name: setting(choice.settings.get(name), name, point, d) for name, d in defaults.items()})


def shape(spec: Spec, dataset: Dataset, point: Point) -> tuple[Any, ...]:
    """What must be equal for trials to train together."""
    hyper = hyperparameters(spec.train, point)
    optimizer: Any = hyper.optimizer
    booleans = tuple(getattr(optimizer, f.name) for f in dataclasses.fields(optimizer) if f.type is bool)
    return (network(spec, dataset, point), hyper.batch_size, type(optimizer), booleans)


def cost(spec: Spec, dataset: Dataset, point: Point) -> float:
    """Roughly how long an epoch takes, in units of a multiply-add: products for each row, and a toll for each step."""
    try:
        hyper = hyperparameters(spec.train, point)
        size = network(spec, dataset, point).size
    except EngineError:
        return 0.0
    rows = dict(dataset.rows)["train"]
    return rows * size * 3 + (rows / min(hyper.batch_size, rows)) * (500_000 + size * 40)


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
        return tuple(Result(t.number, "failed", None, 0, 0, {}, t.seconds, error=line) for t in task.trials)


def _train(task: Task) -> list[Result]:
    clock = time.monotonic()
    deadline = math.inf if task.seconds is None else clock + task.seconds
    spec, dataset = task.spec, task.dataset
    rows, val = dataset.part("train"), dataset.part("val")
    if rows is None:
        raise DataError("data.split: there are no training rows")
    net = network(spec, dataset, task.trials[0].point)
    hypers = [hyperparameters(spec.train, t.point) for t in task.trials]
    state = State.join([_state(t, net, h) for t, h in zip(task.trials, hypers, strict=True)])
    early = spec.train.early_stopping
    stopping = EarlyStopping(early.patience, early.min_delta) if early else EarlyStopping()
    going = list(range(len(task.trials)))  # trial of each row of the state
    histories: list[History] = [{k: list(v) for k, v in (t.history or {}).items()} for t in task.trials]
    seconds = [t.seconds for t in task.trials]
    results: dict[int, Result] = {}
    training = train(net, hypers, state, rows, val)
    epoch = next(training)
    while True:
        scores = _scores(epoch)
        before, clock = clock, time.monotonic()
        for row, trial in enumerate(going):
            seconds[trial] += (clock - before) / len(going)
            for name, values in scores.items():
                histories[trial].setdefault(name, []).append(float(values[row]))
        goes = stopping.update(state, spec.metric.sign * scores[spec.metric.name])
        finite = np.isfinite(scores["train/loss"]) & np.isfinite(scores.get("val/loss", scores["train/loss"]))
        timed_out = clock >= deadline
        goes &= finite & (state.epoch < task.epochs)
        for row, trial in enumerate(going):
            so_far = Result(
                task.trials[trial].number, "running", None, state.epoch, 0, histories[trial], seconds[trial]
            )
            never = not goes[row] and state.best_epoch[row] == 0  # its metric has not been a number in any epoch
            if not finite[row] or never:
                results[trial] = so_far._replace(state="diverged")
            elif not goes[row]:
                results[trial] = _complete(so_far, spec, state, row)
            elif timed_out:
                results[trial] = so_far._replace(checkpoint=state.take(np.array([row])).to_bytes())
        going = [trial for row, trial in enumerate(going) if goes[row]]
        if timed_out or not going:
            return [results[trial] for trial in range(len(task.trials))]
        epoch = training.send(goes)


def _state(trial: Start, net: Network, hyper: Hyperparameters) -> State:
    if trial.checkpoint is not None:
        return State.from_bytes(trial.checkpoint)
    return State.start(net, hyper.optimizer.slots, [np.random.default_rng(trial.seed)], DTYPE)


def _scores(epoch: Epoch) -> dict[str, np.ndarray]:
    scores = {"train/loss": epoch.train.loss, "train/accuracy": epoch.train.accuracy}
    if epoch.val is not None:
        scores |= {"val/loss": epoch.val.loss, "val/accuracy": epoch.val.accuracy}
    return scores


def _complete(so_far: Result, spec: Spec, state: State, row: int) -> Result:
    return so_far._replace(
        state="complete",
        value=spec.metric.sign * float(state.best_value[row]),
        best_epoch=int(state.best_epoch[row]),
        weights=state.best_theta[row].tobytes(),
    )


def test_scores(spec: Spec, dataset: Dataset, point: Point, weights: bytes) -> dict[str, float]:
    """Loss and accuracy of a finished trial's best weights on the test rows; nothing when there are none."""
    rows = dataset.part("test")
    if rows is None:
        return {}
    theta = np.frombuffer(weights, DTYPE)[None]
    with threadpool_limits(1):  # as in training: two threads give other bits
        scores = evaluate(network(spec, dataset, point), theta, rows)
    return {"test/loss": float(scores.loss[0]), "test/accuracy": float(scores.accuracy[0])}


def groups(spec: Spec, dataset: Dataset, trials: Sequence[Start], workers: int) -> list[tuple[Start, ...]]:
    """Trials of equal shape together, the longest groups first.

    Who trains with whom changes nothing but the time it takes, so the groups are cut for the workers at hand: small
    enough to keep all of them busy, and single trials where the matrices are so large that company does not pay.
    """
    most = -(-len(trials) // (2 * workers)) or 1
    shapes: dict[Any, list[Start]] = {}
    for t in trials:
        shapes.setdefault(_shape_or_number(spec, dataset, t), []).append(t)
    cut = []
    for key, equal in shapes.items():
        size = most if isinstance(key, tuple) and key[0].size <= LARGEST_IN_COMPANY else 1
        cut += [tuple(equal[i : i + size]) for i in range(0, len(equal), size)]
    return sorted(cut, key=lambda g: -sum(cost(spec, dataset, t.point) for t in g))


def _shape_or_number(spec: Spec, dataset: Dataset, trial: Start) -> Any:
    """A trial whose network cannot be built goes alone, to fail in `advance` like any other."""
    try:
        return shape(spec, dataset, trial.point)
    except EngineError:
        return trial.number

"""Tasks and results: what a worker gets and what it returns."""

import dataclasses
import math
from collections.abc import Callable
from typing import Literal, NamedTuple, final

from hpsearch.config.spec import Spec
from hpsearch.core.space import Point
from hpsearch.data.dataset import Dataset

History = dict[str, list[float]]  # "val/loss" → a number for each epoch


TrialState = Literal["running", "complete", "pruned", "diverged", "failed"]


class TrialTask(NamedTuple):
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
    trials: tuple[TrialTask, ...]
    epochs: int
    seconds: float | None = None


class TrialResult(NamedTuple):
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


Outcome = tuple[TrialResult, ...]  # of a task: one result for each of its trials, in their order
TaskFunction = Callable[[Task], Outcome]


def failed_result(trial: TrialTask, error: str) -> TrialResult:
    """A trial that went wrong. How far it was when it was last stored is a matter of time, so nothing of it is kept."""
    return TrialResult(trial.number, "failed", None, 0, 0, {}, trial.seconds, error=error)


def pruned_result(spec: Spec, result: TrialResult) -> TrialResult:
    """A running trial that ends where it stands: its value is its best so far."""
    metric, every = spec.metric, spec.train.check_every
    curve = [metric.sign * v if math.isfinite(v) else math.inf for v in result.history[metric.watched]]
    best = curve.index(min(curve))
    if curve[best] == math.inf:
        return result._replace(state="pruned", checkpoint=None)
    value = result.history[metric.name][best] if metric.name in result.history else None
    return result._replace(state="pruned", value=value, best_epoch=(best + 1) * every, checkpoint=None)


def resumed(start: TrialTask, stands: TrialResult) -> TrialTask:
    """A trial that goes on from where it stands."""
    return start._replace(
        epochs=stands.epochs, checkpoint=stands.checkpoint, history=stands.history, seconds=stands.seconds
    )

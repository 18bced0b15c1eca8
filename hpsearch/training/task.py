"""Tasks and results: what a worker receives and what it returns."""

import dataclasses
import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, final

from hpsearch.core.space import Point

if TYPE_CHECKING:
    from hpsearch.config.spec import Spec
    from hpsearch.data.dataset import Dataset

History = dict[str, list[float]]  # name, such as "val/loss" → curve, one value for each evaluated epoch
BaselineName = Literal["constant", "linear", "boosting"]
STATELESS = b"stateless"  # the checkpoint of a trial whose code saves nothing: it trains again from its seed
TrialState = Literal["running", "complete", "pruned", "diverged", "failed"]


class TrainingCode(NamedTuple):
    """The files that the results of a study depend on, besides its data.

    Attributes:
        folder: the folder of the study file.
        files: path, relative to the folder if it lies inside, and SHA-256 of each file.
    """

    folder: str = ""
    files: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> str:
        """A digest of all files; empty if there are none."""
        return hashlib.sha256(repr(self.files).encode()).hexdigest()[:16] if self.files else ""

    def path(self, name: str) -> Path:
        """Return the path of a file."""
        return Path(self.folder, name)


NO_CODE = TrainingCode()  # of a study that the engine trains


class TrialTask(NamedTuple):
    """A trial as a worker receives it, to be trained from its seed or from a checkpoint.

    Attributes:
        epochs: number of epochs trained before the checkpoint.
        checkpoint: `State.to_bytes` of the engine; None to start from the seed.
        history: curves up to the checkpoint.
        seconds: training time up to the checkpoint.
        machine: as in `TrialResult`, up to the checkpoint.
    """

    number: int
    point: Point
    seed: int
    epochs: int = 0
    checkpoint: bytes | None = None
    history: History | None = None
    seconds: float = 0.0
    machine: str | None = None


@final
@dataclasses.dataclass(frozen=True)
class Task:
    """Trials of equal shape at the same epoch that train together.

    Attributes:
        epochs: the epoch to reach; trials that can continue beyond it return as running.
        seconds: the time after which trials return as running, even before that epoch; None for no limit.
        code: the files that train, unless the engine does.
    """

    spec: "Spec"
    dataset: "Dataset"
    trials: tuple[TrialTask, ...]
    epochs: int
    seconds: float | None = None
    code: TrainingCode = NO_CODE


class TrialResult(NamedTuple):
    """A trial as a worker returns it.

    Attributes:
        value: the metric at the best epoch, in the metric's own direction; None unless complete or pruned.
        epochs: number of epochs trained.
        best_epoch: counted from 1; 0 when there is none.
        history: curves by name, one value for each evaluated epoch.
        seconds: training time so far; in batched training, the trial's share.
        checkpoint: the state to resume from, of a running trial; `STATELESS` if it has none.
        weights: `(folds, parameters)` of the best epoch as bytes, of a complete trial.
        error: the exception's type and first line, of a failed trial.
        machine: how a machine that trained it computes differently from the coordinator's; None if none does.
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
    machine: str | None = None


Outcome = tuple[TrialResult, ...]  # one result for each trial of a task, in the same order
TaskFunction = Callable[[Task], Outcome]


def failed_result(trial: TrialTask, error: str) -> TrialResult:
    """Return the result of a failed trial. It has no epochs and no curves: its progress depends on timing."""
    return TrialResult(trial.number, "failed", None, 0, 0, {}, trial.seconds, error=error)


def over_time(spec: "Spec", seconds: float) -> str | None:
    """Return the error of a trial that has trained longer than `train.timeout`; None if it has not."""
    limit = spec.train.timeout
    return f"took longer than train.timeout, {limit:g} s" if limit is not None and seconds > limit else None


def pruned_result(spec: "Spec", result: TrialResult) -> TrialResult:
    """Return the result of a running trial as that of a pruned trial, with its best value so far."""
    metric, every = spec.metric, spec.train.check_every
    curve = [metric.sign * v if math.isfinite(v) else math.inf for v in result.history[metric.monitored]]
    best = curve.index(min(curve))
    if curve[best] == math.inf:
        return result._replace(state="pruned", checkpoint=None)
    value = result.history[metric.name][best] if metric.name in result.history else None
    return result._replace(state="pruned", value=value, best_epoch=(best + 1) * every, checkpoint=None)


def outcome_value(spec: "Spec", result: TrialResult, best: int, reached: bool) -> float:
    """Return the value of a complete trial.

    Args:
        best: the epoch whose scores are the result, counted from 1.
        reached: the trial has reached `train.stop.value`.
    """
    every = spec.train.check_every
    if spec.metric.name == "epochs":
        return float(result.epochs if reached else spec.train.epochs + every)
    return result.history[spec.metric.name][best // every - 1]


def resumed(trial: TrialTask, result: TrialResult) -> TrialTask:
    """Return the trial with the progress of a running result, from which it is resumed."""
    return trial._replace(
        epochs=result.epochs,
        checkpoint=result.checkpoint,
        history=result.history,
        seconds=result.seconds,
        machine=result.machine,
    )

"""Stored content: the study, its stages, its trials, and the weights of its best trials."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from hpsearch.core.space import Box, InternalValue, Point, point_key
from hpsearch.training.task import History, TrialResult, TrialState

FINISHED: tuple[TrialState, ...] = ("complete", "pruned", "diverged", "failed")
PRIOR = "@prior"  # the stage that holds the trials a forked study takes from another study

TrialKey = tuple[str, int]  # stage and number


class StoredStudy(NamedTuple):
    """The study of a database.

    Attributes:
        identity: identifies this search to trackers; a new study of the same name has a different identity.
        fingerprint: fingerprint of the data.
        version: versions of the packages that it was started with.
        created: Unix time.
        hash: hash of the spec.
        forked: name of the study it was forked from.
    """

    name: str
    identity: str
    spec: dict[str, Any]
    fingerprint: str
    version: str
    created: float
    hash: str
    forked: str | None = None


class StoredFile(NamedTuple):
    """A file of the code that trains a study.

    Attributes:
        name: path, relative to the folder of the study file if it lies inside.
        digest: SHA-256 of the content.
        content: None for a large or binary file.
    """

    name: str
    digest: str
    content: bytes | None


class StoredStage(NamedTuple):
    """A stage that has begun.

    Attributes:
        seconds: how long it has run, over all restarts.
        ended: the number of trials at which its budget or timeout ended it; None before, and for other limits.
    """

    stage: str
    box: Box
    seconds: float
    ended: int | None


class StoredWeights(NamedTuple):
    """The weights of one of the best trials.

    Attributes:
        weights: `(folds, parameters)` as bytes.
        test: the champion's test scores, once they are computed.
        diagnostics: the champion's diagnostics as bytes, once the study has ended.
    """

    stage: str
    number: int
    weights: bytes
    test: dict[str, float] | None
    diagnostics: bytes | None = None


class Baseline(NamedTuple):
    """A simple model that was fitted to the rows of the study, for comparison.

    Attributes:
        name: `constant`, `linear` or `boosting`.
        variant: number of the preprocessing of its rows.
        rows: number of training rows that it was fitted to, in each fold.
        scores: `train/…`, `val/…` and `test/…`; empty without a model.
        error: why there is no model; None if there is.
        seconds: how long fitting and scoring took.
        finished: Unix time.
    """

    name: str
    variant: int
    rows: int
    scores: Mapping[str, float]
    error: str | None
    seconds: float
    finished: float


class StoredEnsemble(NamedTuple):
    """The ensemble of a study.

    Attributes:
        size: the largest number of members that was asked for.
        candidates: the trials that it was selected from.
        members: member → how often it was selected, in the order of selection; the first is the best single one.
        scores: its scores on the validation rows (`val/…`), and on the test rows (`test/…`).
        single: the same scores of its first member alone.
    """

    size: int
    candidates: tuple[TrialKey, ...]
    members: Mapping[TrialKey, int]
    scores: Mapping[str, float]
    single: Mapping[str, float]

    @property
    def described(self) -> str:
        """The members as text: `fine/6 × 2, coarse/3`."""
        members = self.members.items()
        return ", ".join(f"{stage}/{number}" + f" × {count}" * (count > 1) for (stage, number), count in members)

    @property
    def first(self) -> str:
        """The label of the first member."""
        return "{}/{}".format(*next(iter(self.members)))


class Trial(NamedTuple):
    """One trial of one stage.

    Attributes:
        number: within its stage, from 0.
        internal_params: the point as Optuna samples it; `point` holds the values of the study file.
        value: the metric at the best epoch so far; None while it runs, and for diverged and failed trials.
        metrics: train and val scores at the best epoch, and the champion's test scores.
        seconds: training time; in batched training, the trial's share.
        finished: Unix time; 0 while it runs.
        copied_from: label of the finished trial whose result it has; None for a trial that was trained.
        box: the box that it was sampled in; None for that of its stage.
        machine: how a machine that trained it computes differently from the coordinator's; None if none does.
    """

    stage: str
    number: int
    internal_params: Mapping[str, InternalValue]
    point: Point
    state: TrialState
    value: float | None = None
    epochs: int = 0
    best_epoch: int = 0
    seconds: float = 0.0
    finished: float = 0.0
    metrics: Mapping[str, float] = {}
    history: History = {}  # noqa: RUF012 (read only)
    error: str | None = None
    copied_from: str | None = None
    box: Box | None = None
    machine: str | None = None

    @property
    def label(self) -> str:
        """Stage and number: `coarse/12`."""
        return f"{self.stage}/{self.number}"

    @property
    def key(self) -> TrialKey:
        """Stage and number."""
        return self.stage, self.number


def with_result(trial: Trial, result: TrialResult, finished: float) -> Trial:
    """Return the trial with its result, or with its progress when the result is that of a running trial.

    Args:
        finished: Unix time; 0 while it runs.
    """
    every = checked_every(result.epochs, result.history)
    best = result.best_epoch // every - 1
    return trial._replace(
        state=result.state,
        value=result.value,
        epochs=result.epochs,
        best_epoch=result.best_epoch,
        seconds=result.seconds,
        finished=finished,
        metrics={name: values[best] for name, values in result.history.items()} if result.best_epoch else {},
        history=result.history,
        error=result.error,
        machine=result.machine,
    )


def checked_every(epochs: int, history: History) -> int:
    """Return the epochs between two entries of a trial's curves, which end with its last epoch."""
    checks = max((len(values) for values in history.values()), default=0)
    return epochs // checks if checks else 1


def repeats(trials: Iterable[Trial]) -> dict[str, str]:
    """Return label → label of the first trial at the same point, for each trial that repeats an earlier point."""
    first: dict[str, str] = {}
    repeated = {}
    for trial in trials:
        original = first.setdefault(point_key(trial.internal_params), trial.label)
        if original != trial.label:
            repeated[trial.label] = original
    return repeated


def ranked(trials: Iterable[Trial], sign: int, stages: Iterable[str]) -> list[Trial]:
    """Return the complete trials, best first; ties are ordered by stage and number.

    Args:
        sign: +1 where lower is better, −1 where higher is better.
        stages: their names in the study's order.
    """
    return sorted((t for t in trials if t.state == "complete"), key=_rank(sign, stages))


def best_of(trials: Iterable[Trial], sign: int, stages: Iterable[str]) -> Trial | None:
    """Return the first of `ranked`; None when no trial is complete."""
    return min((t for t in trials if t.state == "complete"), key=_rank(sign, stages), default=None)


def _rank(sign: int, stages: Iterable[str]) -> Callable[[Trial], tuple[float, int, int]]:
    order = {name: number for number, name in enumerate(stages)}
    return lambda t: (sign * (t.value or 0.0), order.get(t.stage, -1), t.number)  # −1: PRIOR

"""A trial as the whole program sees it: what the database holds of it, in the words of the study file."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from hpsearch.config.spec import Spec
from hpsearch.core.space import InternalValue, Point, Space, point_key
from hpsearch.storage.study_db import Storage
from hpsearch.training.task import History, TrialResult, TrialState

FINISHED: tuple[TrialState, ...] = ("complete", "pruned", "diverged", "failed")


class Trial(NamedTuple):
    """One trial of one stage.

    Attributes:
        number: within its stage, from 0.
        internal_params: as Optuna sampled it; `point` is the same as people see it.
        value: the metric at the best epoch so far; None while it runs, and for diverged and failed ones.
        metrics: train and val scores at the best epoch, and the champion's test scores.
        seconds: of training, its share when it trained in company.
        finished: Unix time, 0 while it runs.
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
    copied_from: str | None = None  # label of the finished trial whose outcome this one has, when it was not trained

    @property
    def label(self) -> str:
        """`coarse/12`."""
        return f"{self.stage}/{self.number}"


def with_result(record: Trial, r: TrialResult, when: float) -> Trial:
    """A record with what has come of its trial, or how far that is.

    Args:
        when: Unix time at which it finished, 0 while it runs.
    """
    every = checked_every(r.epochs, r.history)
    metrics = {name: values[r.best_epoch // every - 1] for name, values in r.history.items()} if r.best_epoch else {}
    return record._replace(
        state=r.state,
        value=r.value,
        epochs=r.epochs,
        best_epoch=r.best_epoch,
        seconds=r.seconds,
        finished=when,
        metrics=metrics,
        history=r.history,
        error=r.error,
    )


def checked_every(epochs: int, history: History) -> int:
    """Epochs between two entries of a trial's curves, which end with its last epoch."""
    checks = max((len(values) for values in history.values()), default=0)
    return epochs // checks if checks else 1


def repeats(records: Iterable[Trial]) -> dict[str, str]:
    """Label of a trial → that of the first one with the same point, for those that came later."""
    first: dict[str, str] = {}
    found = {}
    for r in records:
        before = first.setdefault(point_key(r.internal_params), r.label)
        if before != r.label:
            found[r.label] = before
    return found


def ranked(records: Iterable[Trial], sign: int, stages: Iterable[str]) -> list[Trial]:
    """The complete ones, best first; ties by stage and number, so that the order is always the same.

    Args:
        sign: +1 where lower is better, −1 where higher is.
        stages: their names in the study's order.
    """
    return sorted((r for r in records if r.state == "complete"), key=_rank(sign, stages))


def best_of(records: Iterable[Trial], sign: int, stages: Iterable[str]) -> Trial | None:
    """The first of `ranked`; None when none is complete."""
    return min((r for r in records if r.state == "complete"), key=_rank(sign, stages), default=None)


def _rank(sign: int, stages: Iterable[str]) -> Callable[[Trial], tuple[float, int, int]]:
    order = {name: number for number, name in enumerate(stages)}
    return lambda r: (sign * (r.value or 0.0), order.get(r.stage, -1), r.number)  # −1: of the study it was forked from


def load(
    spec: Spec, space: Space, storage: Storage, name: str, first: int = 0
) -> tuple[list[Trial], list[TrialResult]]:
    """What the database holds of a stage: trials that have been asked, from `first` on in the order of numbers, and how
    far those are that are not finished."""
    records, stands = [], []
    for number, (internal_params, result, finished, copied_from) in enumerate(storage.trials(name, first), first):
        with storage.sound(f"trial {name}/{number}"):
            record = Trial(
                name, number, internal_params, space.point(internal_params), "running", copied_from=copied_from
            )
        if result is not None and result.state == "running":
            stands.append(result)
        elif result is not None:
            record = with_result(record, result, finished)
        records.append(record)
    return records, stands

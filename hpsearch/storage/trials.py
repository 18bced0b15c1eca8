"""The table of trials, and the table of checkpoints of running trials."""

import json
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, final

import sqlalchemy as sa

from hpsearch.core.bounded import decode_curves, decode_mapping
from hpsearch.core.space import Box, InternalValue, Space, check_box
from hpsearch.errors import StorageError
from hpsearch.storage.access.transaction import Transaction
from hpsearch.storage.connection import Connection
from hpsearch.storage.lease import Lease
from hpsearch.storage.records import FINISHED, PRIOR, Trial, TrialKey, with_result
from hpsearch.storage.tables import CHAMPION, CHECKPOINT, STAGE, TRIAL, study_column
from hpsearch.training.task import History, TrialResult

_RESTARTED = {
    **dict.fromkeys(("error", "history", "finished", "machine")),
    **{"state": "running", "epochs": 0, "seconds": 0.0},
}


@final
class TrialTable:
    """The trials of all stages."""

    def __init__(self, connection: Connection, lease: Lease) -> None:
        self._connection = connection
        self._lease = lease

    def load(self, stage: str, space: Space, first: int = 0, most: int | None = None) -> list[Trial]:
        """Return a stage's trials from number `first` on, in the order of their numbers.

        Args:
            most: maximum number of trials; None for all.

        Raises:
            StorageError: a trial is damaged or missing, or its point is not in the space.
        """
        last = sa.true() if most is None else TRIAL.c.number < first + most
        rows = self._connection.rows(TRIAL, TRIAL.c.stage == stage, TRIAL.c.number >= first, last)
        trials = []
        for number, row in enumerate(rows, first):
            with self._connection.validated(f"trial {stage}/{number}"):
                trials.append(_trial(row, number, space))
        return trials

    def finished(self, since: float, space: Space) -> list[Trial]:
        """Return the trials of all stages that finished at or after a time, in the order of their keys.

        Args:
            since: Unix time.

        Raises:
            StorageError: a trial is damaged, or its point is not in the space.
        """
        where = TRIAL.c.finished >= since, TRIAL.c.state.in_(FINISHED), TRIAL.c.stage != PRIOR
        trials = []
        for row in self._connection.rows(TRIAL, *where):
            with self._connection.validated(f"trial {row.stage}/{row.number}"):
                trials.append(_trial(row, row.number, space))
        return trials

    def count(self, stage: str) -> int:
        """Return the number of a stage's trials, finished or not."""
        return self._connection.count(TRIAL, TRIAL.c.stage == stage)

    def numbers(self, stage: str, state: str) -> list[int]:
        """Return the numbers of a stage's trials in a state."""
        where = TRIAL.c.stage == stage, TRIAL.c.state == state
        return [row.number for row in self._connection.rows(TRIAL, *where, columns=[TRIAL.c.number])]

    def states(self) -> dict[tuple[str, str], int]:
        """Return stage and state → number of trials."""
        own = study_column(TRIAL) == self._connection.study
        query = (
            sa.select(TRIAL.c.stage, TRIAL.c.state, sa.func.count()).where(own).group_by(TRIAL.c.stage, TRIAL.c.state)
        )
        rows = self._connection.ask(lambda connection: list[Any](connection.execute(query)))
        with self._connection.validated("its trials"):
            if not all(isinstance(text, str) for row in rows for text in row[:2]):
                raise TypeError
        return {(stage, state): int(count) for stage, state, count in rows}

    def damaged(self) -> list[TrialKey]:
        """Return the trials whose parameters or curves cannot be decoded."""
        damaged = []
        for row in self._connection.rows(TRIAL):
            try:
                with self._connection.validated("a trial"):
                    _internal_params(row)
                    _ = row.state == "running" or unpacked(row.history)
            except StorageError:
                damaged.append((row.stage, row.number))
        return damaged

    def checkpoint(self, stage: str, number: int) -> TrialResult | None:
        """Return the stored checkpoint of a trial; None if there is none. One that cannot be read is empty."""
        found = self._checkpoints(
            *CHECKPOINT.columns, where=(CHECKPOINT.c.stage == stage, CHECKPOINT.c.number == number)
        )
        return found.get(number)

    def checkpoints(self, stage: str) -> dict[int, TrialResult]:
        """Return a stage's stored checkpoints, by the number of the trial.

        If a cell or the curves of a trial cannot be read, its checkpoint is empty, so that the trial starts over.
        """
        return self._checkpoints(*CHECKPOINT.columns, where=(CHECKPOINT.c.stage == stage,))

    def progress(self, stage: str) -> dict[int, TrialResult]:
        """Return the same as `checkpoints` without the checkpoints themselves, which only training needs."""
        columns = (c for c in CHECKPOINT.columns if c is not CHECKPOINT.c.state)
        return self._checkpoints(*columns, where=(CHECKPOINT.c.stage == stage,))

    def _checkpoints(
        self, *columns: sa.Column[Any], where: "tuple[sa.ColumnElement[bool], ...]"
    ) -> dict[int, TrialResult]:
        rows = self._connection.rows(CHECKPOINT, *where, columns=columns, skip=True)
        read = {row.number: _progress(row, getattr(row, "state", None)) for row in rows}
        stored = self._connection.rows(CHECKPOINT, *where, columns=[CHECKPOINT.c.number], skip=True)
        return {row.number: read.get(row.number, unreadable_result(row.number)) for row in stored}

    def add(self, trials: Sequence[Trial]) -> None:
        """Store new trials in one transaction, copied outcomes included."""
        self._lease.write(lambda transaction: insert_trials(transaction, trials))

    def save(
        self,
        stage: str,
        results: Sequence[TrialResult],
        keep: Sequence[TrialResult] = (),
        drop: Sequence[TrialKey] = (),
        seconds: float = 0.0,
    ) -> float:
        """Store results in one transaction: outcomes of finished trials, checkpoints of running trials.

        Args:
            stage: name of the stage.
            results: results of its trials.
            keep: results whose weights are stored.
            drop: trials whose weights are deleted.
            seconds: running time of the stage since its running time was last stored.

        Returns:
            The Unix time stored as the end of the finished trials.
        """
        finished = time.time()
        numbers = [r.number for r in results]
        done = [r for r in results if r.state != "running"]
        running = [r for r in results if r.state == "running"]

        def work(transaction: Transaction) -> None:
            transaction.delete(CHECKPOINT, CHECKPOINT.c.stage == stage, CHECKPOINT.c.number.in_(numbers))
            transaction.insert(CHECKPOINT, *(_checkpoint_row(stage, r) for r in running))
            if done:
                rows = [{"which": r.number, **_result_columns(r, finished)} for r in done]
                columns: dict[str, Any] = {key: sa.bindparam(key) for key in list(rows[0])[1:]}
                of_trial = TRIAL.c.stage == stage, TRIAL.c.number == sa.bindparam("which")
                transaction.update(TRIAL, columns, *of_trial, each=rows)
            for name, number in drop:
                transaction.delete(CHAMPION, CHAMPION.c.stage == name, CHAMPION.c.number == number)
            weights = [{"stage": stage, "number": r.number, "weights": r.weights} for r in keep]
            transaction.insert(CHAMPION, *weights)
            if seconds:
                transaction.update(STAGE, {"seconds": STAGE.c.seconds + seconds}, STAGE.c.stage == stage)

        self._lease.write(work)
        return finished

    def restart(self, stage: str, numbers: Sequence[int]) -> None:
        """Set failed trials back to running and delete their results."""
        of_trial = TRIAL.c.stage == stage, TRIAL.c.number.in_(numbers)
        self._lease.write(lambda transaction: transaction.update(TRIAL, _RESTARTED, *of_trial))


def insert_trials(transaction: Transaction, trials: Sequence[Trial]) -> None:
    """Insert trials in an open transaction."""
    transaction.insert(TRIAL, *map(_trial_row, trials))


def _trial_row(trial: Trial) -> dict[str, Any]:
    row = {
        "stage": trial.stage,
        "number": trial.number,
        "internal_params": json.dumps(dict(trial.internal_params)),
        "box": None if trial.box is None else json.dumps(trial.box),
        "copied_from": trial.copied_from,
    }
    if trial.state == "running":
        unknown = dict.fromkeys(("value", "finished", "history", "error", "machine"))
        return row | {"state": "running", "epochs": 0, "best_epoch": 0, "seconds": 0.0} | unknown
    return row | _result_columns(trial, trial.finished)


def _result_columns(result: Trial | TrialResult, finished: float) -> dict[str, Any]:
    return {
        "state": result.state,
        "value": result.value,
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        "seconds": result.seconds,
        "finished": finished,
        "history": _packed(result.history),
        "error": result.error,
        "machine": result.machine,
    }


def _checkpoint_row(stage: str, result: TrialResult) -> dict[str, Any]:
    history = _packed(result.history)
    row = {"stage": stage, "number": result.number, "epochs": result.epochs, "seconds": result.seconds}
    return row | {"history": history, "state": result.checkpoint, "machine": result.machine}


def _trial(row: Any, number: int, space: Space) -> Trial:
    if row.number != number:
        raise LookupError(number)
    internal_params = _internal_params(row)
    point = space.point(internal_params)
    box = _box(row, space)
    trial = Trial(row.stage, number, internal_params, point, "running", copied_from=row.copied_from, box=box)
    if row.state == "running":
        return trial
    if row.state not in FINISHED or (row.state == "complete") > (row.value is not None) or row.finished is None:
        raise ValueError(row.state)
    history, counts = unpacked(row.history), (row.value, row.epochs, row.best_epoch)
    checks = max(map(len, history.values()), default=0)
    if not max(checks, row.best_epoch) <= row.epochs:
        raise ValueError(row.epochs)
    result = TrialResult(number, row.state, *counts, history, row.seconds, error=row.error, machine=row.machine)
    return with_result(trial, result, row.finished)


def _internal_params(row: Any) -> dict[str, InternalValue]:
    internal_params = decode_mapping(row.internal_params)
    if not all(isinstance(value, int | float | str) for value in internal_params.values()):
        raise TypeError("internal values must be numbers or text")
    return internal_params


def _box(row: Any, space: Space) -> Box | None:
    if row.box is None:
        return None
    box = {key: (low, high) for key, (low, high) in decode_mapping(row.box).items()}
    check_box(space.axes, box)
    return box


def _progress(row: Any, checkpoint: bytes | None) -> TrialResult:
    try:
        history = unpacked(row.history)
        if not max(map(len, history.values()), default=0) <= row.epochs:
            raise ValueError(row.epochs)
    except ValueError:
        return unreadable_result(row.number)
    known = row.epochs, 0, history, row.seconds, checkpoint
    return TrialResult(row.number, "running", None, *known, machine=row.machine)


def unreadable_result(number: int) -> TrialResult:
    """Return the progress of a trial whose checkpoint cannot be read: nothing, with an empty checkpoint."""
    return TrialResult(number, "running", None, 0, 0, {}, 0.0, b"")


def _packed(history: Mapping[str, list[float]]) -> bytes:
    return zlib.compress(json.dumps(history, separators=(",", ":")).encode(), 1)


def unpacked(history: bytes) -> History:
    """Return curves from their stored form.

    Raises:
        ValueError: the curves are damaged.
    """
    return decode_curves(history or b"")

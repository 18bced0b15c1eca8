"""The tables of the study itself, of its stages, of the weights of its best trials, and of its ensemble."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, final

import sqlalchemy as sa
from pydantic import Field

from hpsearch.core.bounded import decode_mapping, decode_scores
from hpsearch.core.schema import Listed, StrictModel
from hpsearch.core.space import Axis, Box, check_box
from hpsearch.errors import StorageError
from hpsearch.storage.access.transaction import Transaction
from hpsearch.storage.connection import NO_STUDY, Connection
from hpsearch.storage.database import display_name
from hpsearch.storage.lease import Lease
from hpsearch.storage.records import (
    Baseline,
    StoredEnsemble,
    StoredFile,
    StoredStage,
    StoredStudy,
    StoredWeights,
    Trial,
    TrialKey,
)
from hpsearch.storage.tables import BASELINE, CHAMPION, CODE, ENSEMBLE, PREPARED, STAGE, STUDY, spec_hash
from hpsearch.storage.trials import insert_trials


@final
class StudyTable:
    """The table of studies, and the table of their prepared data."""

    def __init__(self, connection: Connection, lease: Lease) -> None:
        self._connection = connection
        self._lease = lease

    def find(self) -> StoredStudy | None:
        """Return the study; None in a new database."""
        rows = self._connection.rows(STUDY)
        with self._connection.validated("its study"):
            return StoredStudy(**{**rows[0]._mapping, "spec": decode_mapping(rows[0].spec)}) if rows else None

    def load(self) -> StoredStudy:
        """Return the study.

        Raises:
            StorageError: the database holds no study yet.
        """
        study = self.find()
        if study is None:
            raise StorageError(f"{display_name(self._connection.url)}: {NO_STUDY}")
        return study

    def is_unchanged(self) -> bool:
        """Return whether the stored spec matches its stored hash."""
        return all(row.hash == spec_hash(row.spec) for row in self._connection.rows(STUDY))

    def begin(self, study: StoredStudy, prior: Sequence[Trial] = (), code: Sequence[StoredFile] = ()) -> None:
        """Store a new study.

        Args:
            prior: finished trials of the study that it is forked from.
            code: the files that train it.
        """
        row = {**study._asdict(), "spec": json.dumps(study.spec)}

        def work(transaction: Transaction) -> None:
            transaction.insert(STUDY, row)
            transaction.insert(CODE, *(file._asdict() for file in code))
            insert_trials(transaction, prior)

        self._lease.write(work)

    def change_spec(self, spec: dict[str, Any]) -> None:
        """Replace the spec."""
        text = json.dumps(spec)
        values = {"spec": text, "hash": spec_hash(text)}
        self._lease.write(lambda transaction: transaction.update(STUDY, values))

    def code(self) -> list[StoredFile]:
        """Return the files that train the study, by name."""
        return sorted(StoredFile(row.name, row.digest, row.content) for row in self._connection.rows(CODE))

    def change_code(self, code: Sequence[StoredFile]) -> None:
        """Replace the files that train the study."""

        def work(transaction: Transaction) -> None:
            transaction.delete(CODE)
            transaction.insert(CODE, *(file._asdict() for file in code))

        self._lease.write(work)

    def prepared(self) -> list[bytes]:
        """Return the stored `PreparedData` of each preprocessing variant, as bytes."""
        return [row.content for row in self._connection.rows(PREPARED)]

    def save_prepared(self, contents: Sequence[bytes]) -> None:
        """Store the `PreparedData` of each preprocessing variant, which a model needs without the data."""

        def work(transaction: Transaction) -> None:
            transaction.delete(PREPARED)
            transaction.insert(PREPARED, *({"number": n, "content": c} for n, c in enumerate(contents)))

        self._lease.write(work)


@final
class StageTable:
    """The table of the stages that have begun."""

    def __init__(self, connection: Connection, lease: Lease) -> None:
        self._connection = connection
        self._lease = lease

    def load(self, axes: Sequence[Axis] = ()) -> dict[str, StoredStage]:
        """Return the stages by name.

        Args:
            axes: the axes that the boxes are checked against.

        Raises:
            StorageError: a box is damaged.
        """
        rows = self._connection.rows(STAGE)
        with self._connection.validated("the box of a stage"):
            stages = [StoredStage(**{**row._mapping, "box": decode_mapping(row.box)}) for row in rows]
            stages = [s._replace(box={key: (low, high) for key, (low, high) in s.box.items()}) for s in stages]
            for stage in stages:
                check_box(axes, stage.box)
            return {stage.stage: stage for stage in stages}

    def begin(self, stage: str, box: Box) -> StoredStage:
        """Store a new stage."""
        row = {"stage": stage, "box": json.dumps(box), "seconds": 0.0}
        self._lease.write(lambda transaction: transaction.insert(STAGE, row))
        return StoredStage(stage, box, 0.0, None)

    def end(self, stage: str, trials: int | None, seconds: float = 0.0) -> None:
        """Store the number of trials at which a budget or timeout ends a stage; None for a stage that continues.

        Args:
            seconds: running time of the stage since its running time was last stored.
        """
        values = {"ended": trials, "seconds": STAGE.c.seconds + seconds}
        self._lease.write(lambda transaction: transaction.update(STAGE, values, STAGE.c.stage == stage))


@final
class WeightsTable:
    """The table of the best trials' weights, with the champion's test scores and diagnostics."""

    def __init__(self, connection: Connection, lease: Lease) -> None:
        self._connection = connection
        self._lease = lease

    def load(self) -> dict[TrialKey, StoredWeights]:
        """Return all stored weights."""
        return self._read()

    def _read(self, *where: sa.ColumnElement[bool]) -> dict[TrialKey, StoredWeights]:
        rows = self._connection.rows(CHAMPION, *where)
        with self._connection.validated("its champion"):
            stored = [StoredWeights(**{**r._mapping, "test": decode_scores(r.test) if r.test else None}) for r in rows]
            return {(weights.stage, weights.number): weights for weights in stored}

    def find(self, trial: Trial | None) -> StoredWeights | None:
        """Return the weights of a trial; None if they are not stored or the trial is None."""
        return self._read(_is(*trial.key)).get(trial.key) if trial else None

    def keys(self) -> set[TrialKey]:
        """Return the trials whose weights are stored."""
        rows = self._connection.rows(CHAMPION, columns=[CHAMPION.c.stage, CHAMPION.c.number])
        return {(row.stage, row.number) for row in rows}

    def add(self, weights: StoredWeights) -> None:
        """Store the weights of a trial."""

        def work(transaction: Transaction) -> None:
            transaction.delete(CHAMPION, _is(weights.stage, weights.number))
            transaction.insert(CHAMPION, weights._asdict())

        self._lease.write(work)

    def save_champion(self, champion: StoredWeights) -> None:
        """Store the champion with its test scores, and delete those of other trials."""
        row = champion._asdict() | {"test": json.dumps(champion.test)}

        def work(transaction: Transaction) -> None:
            transaction.delete(CHAMPION, _is(champion.stage, champion.number))
            transaction.update(CHAMPION, {"test": None, "diagnostics": None})
            transaction.insert(CHAMPION, row)

        self._lease.write(work)

    def save_diagnostics(self, trial: Trial, diagnostics: bytes) -> None:
        """Store the champion's diagnostics."""
        values = {"diagnostics": diagnostics}
        self._lease.write(lambda transaction: transaction.update(CHAMPION, values, _is(*trial.key)))

    def tested(self) -> int:
        """Return the number of trials with test scores: 1 for a finished study, else 0."""
        return self._connection.count(CHAMPION, CHAMPION.c.test.is_not(None))


@final
class BaselineTable:
    """The table of the baselines."""

    def __init__(self, connection: Connection, lease: Lease) -> None:
        self._connection = connection
        self._lease = lease

    def load(self) -> dict[str, Baseline]:
        """Return the stored baselines by name."""
        rows = self._connection.rows(BASELINE)
        with self._connection.validated("a baseline"):
            baselines = [Baseline(**{**row._mapping, "scores": decode_scores(row.scores)}) for row in rows]
            return {baseline.name: baseline for baseline in baselines}

    def save(self, baseline: Baseline) -> None:
        """Store a baseline in place of an earlier one of its name."""
        row = baseline._asdict() | {"scores": json.dumps(baseline.scores)}

        def work(transaction: Transaction) -> None:
            transaction.delete(BASELINE, BASELINE.c.name == baseline.name)
            transaction.insert(BASELINE, row)

        self._lease.write(work)

    def delete_failed(self) -> int:
        """Delete the baselines without a model, so that they are fitted again; return their number."""
        failed = [baseline.name for baseline in self.load().values() if baseline.error is not None]
        if failed:
            self._lease.write(lambda transaction: transaction.delete(BASELINE, BASELINE.c.name.in_(failed)))
        return len(failed)


_Stage = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=50)]
_Count = Annotated[int, Field(ge=0)]


class _EnsembleContent(StrictModel):
    """A `StoredEnsemble` as JSON; a member has its stage, its number and its count."""

    size: Annotated[int, Field(ge=1)]
    candidates: list[Annotated[tuple[_Stage, _Count], Listed]]
    members: Annotated[list[Annotated[tuple[_Stage, _Count, Annotated[int, Field(ge=1)]], Listed]], Field(min_length=1)]
    scores: dict[str, float]
    single: dict[str, float]


@final
class EnsembleTable:
    """The table of the study's ensemble."""

    def __init__(self, connection: Connection, lease: Lease) -> None:
        self._connection = connection
        self._lease = lease

    def find(self) -> StoredEnsemble | None:
        """Return the ensemble; None before it is selected."""
        rows = self._connection.rows(ENSEMBLE)
        if not rows:
            return None
        with self._connection.validated("its ensemble"):
            content = _EnsembleContent.model_validate(decode_mapping(rows[0].ensemble))
            members = {(stage, number): count for stage, number, count in content.members}
            scores = [decode_scores(json.dumps(part)) for part in (content.scores, content.single)]
            return StoredEnsemble(content.size, tuple(content.candidates), members, *scores)

    def save(self, ensemble: StoredEnsemble | None) -> None:
        """Store the ensemble in place of an earlier one; None only deletes that."""
        rows = []
        if ensemble is not None:
            members = [(*key, count) for key, count in ensemble.members.items()]
            rows = [{"number": 0, "ensemble": json.dumps(ensemble._asdict() | {"members": members})}]

        def work(transaction: Transaction) -> None:
            transaction.delete(ENSEMBLE)
            transaction.insert(ENSEMBLE, *rows)

        self._lease.write(work)


def _is(stage: str, number: int) -> sa.ColumnElement[bool]:
    return sa.and_(CHAMPION.c.stage == stage, CHAMPION.c.number == number)

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
from hpsearch.storage.connection import NO_STUDY, Connection
from hpsearch.storage.database import display_name
from hpsearch.storage.lease import Lease
from hpsearch.storage.records import Baseline, StoredEnsemble, StoredStage, StoredStudy, StoredWeights, Trial, TrialKey
from hpsearch.storage.tables import BASELINE, CHAMPION, ENSEMBLE, PREPARED, STAGE, STUDY, spec_hash
from hpsearch.storage.trials import insert_trials


@final
class StudyTable:
    """The table of the one study of a database, and the table of its prepared data."""

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

    def begin(self, study: StoredStudy, prior: Sequence[Trial] = ()) -> None:
        """Store a new study.

        Args:
            prior: finished trials of the study that it is forked from.
        """
        with self._lease.transaction() as connection:
            connection.execute(STUDY.insert().values(**{**study._asdict(), "spec": json.dumps(study.spec)}))
            insert_trials(connection, prior)

    def change_spec(self, spec: dict[str, Any]) -> None:
        """Replace the spec."""
        text = json.dumps(spec)
        with self._lease.transaction() as connection:
            connection.execute(STUDY.update().values(spec=text, hash=spec_hash(text)))

    def prepared(self) -> list[bytes]:
        """Return the stored `PreparedData` of each preprocessing variant, as bytes."""
        return [row.content for row in self._connection.rows(PREPARED)]

    def save_prepared(self, contents: Sequence[bytes]) -> None:
        """Store the `PreparedData` of each preprocessing variant, which a model needs without the data."""
        with self._lease.transaction() as connection:
            connection.execute(PREPARED.delete())
            connection.execute(PREPARED.insert(), [{"number": n, "content": c} for n, c in enumerate(contents)])


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
        with self._lease.transaction() as connection:
            connection.execute(STAGE.insert().values(stage=stage, box=json.dumps(box), seconds=0.0))
        return StoredStage(stage, box, 0.0, None)

    def end(self, stage: str, trials: int | None, seconds: float = 0.0) -> None:
        """Store the number of trials at which a budget or timeout ends a stage; None for a stage that continues.

        Args:
            seconds: running time of the stage since its running time was last stored.
        """
        update = STAGE.update().where(STAGE.c.stage == stage)
        with self._lease.transaction() as connection:
            connection.execute(update.values(ended=trials, seconds=STAGE.c.seconds + seconds))


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
        with self._lease.transaction() as connection:
            connection.execute(CHAMPION.delete().where(_is(weights.stage, weights.number)))
            connection.execute(CHAMPION.insert().values(weights._asdict()))

    def save_champion(self, champion: StoredWeights) -> None:
        """Store the champion with its test scores, and delete those of other trials."""
        row = champion._asdict() | {"test": json.dumps(champion.test)}
        with self._lease.transaction() as connection:
            connection.execute(CHAMPION.delete().where(_is(champion.stage, champion.number)))
            connection.execute(CHAMPION.update().values(test=None, diagnostics=None))
            connection.execute(CHAMPION.insert().values(row))

    def save_diagnostics(self, trial: Trial, diagnostics: bytes) -> None:
        """Store the champion's diagnostics."""
        with self._lease.transaction() as connection:
            update = CHAMPION.update().where(_is(trial.stage, trial.number))
            connection.execute(update.values(diagnostics=diagnostics))

    def tested(self) -> int:
        """Return the number of trials with test scores: 1 for a finished study, else 0."""
        with self._connection.reading() as connection:
            return int(connection.execute(sa.select(sa.func.count(CHAMPION.c.test))).scalar_one())


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
        with self._lease.transaction() as connection:
            connection.execute(BASELINE.delete().where(BASELINE.c.name == baseline.name))
            connection.execute(BASELINE.insert().values(row))

    def delete_failed(self) -> int:
        """Delete the baselines without a model, so that they are fitted again; return their number."""
        failed = [baseline.name for baseline in self.load().values() if baseline.error is not None]
        if failed:
            with self._lease.transaction() as connection:
                connection.execute(BASELINE.delete().where(BASELINE.c.name.in_(failed)))
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
        with self._lease.transaction() as connection:
            connection.execute(ENSEMBLE.delete())
            if ensemble is not None:
                members = [(*key, count) for key, count in ensemble.members.items()]
                text = json.dumps(ensemble._asdict() | {"members": members})
                connection.execute(ENSEMBLE.insert().values(number=0, ensemble=text))


def _is(stage: str, number: int) -> sa.ColumnElement[bool]:
    return sa.and_(CHAMPION.c.stage == stage, CHAMPION.c.number == number)

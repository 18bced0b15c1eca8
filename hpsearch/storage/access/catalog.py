"""The studies of a database at a glance: a few queries for all of them, without learning curves."""

from typing import Any, NamedTuple

import sqlalchemy as sa

from hpsearch.core.bounded import decode_mapping
from hpsearch.errors import StorageError
from hpsearch.storage.connection import Connection
from hpsearch.storage.records import PRIOR
from hpsearch.storage.tables import CHAMPION, STAGE, STUDY, TRIAL


class StageCounts(NamedTuple):
    """The trials of one stage.

    Attributes:
        states: state → number of trials.
        ended: the number of trials at which a budget or timeout ended the stage; None for others.
        low: the lowest value of a complete trial; None without one.
        high: the highest.
    """

    states: dict[str, int]
    ended: int | None
    low: float | None
    high: float | None


class CatalogEntry(NamedTuple):
    """One study of a database.

    Attributes:
        spec: the stored spec; None if it is damaged.
        created: Unix time.
        stages: the stages with trials or a running time, by name.
        champion: the value of the champion, once its test scores are stored; None before.
    """

    name: str
    spec: dict[str, Any] | None
    created: float
    stages: dict[str, StageCounts]
    champion: float | None


def read_catalog(connection: Connection) -> list[CatalogEntry]:
    """Return all studies of a database, by name.

    Raises:
        StorageError: the database is damaged.
    """
    rows = connection.rows(STUDY, columns=[STUDY.c.name, STUDY.c.spec, STUDY.c.created], all_studies=True)
    ended = {
        (row.study, row.stage): row.ended
        for row in connection.rows(STAGE, columns=[STAGE.c.study, STAGE.c.stage, STAGE.c.ended], all_studies=True)
    }
    stages: dict[str, dict[str, StageCounts]] = {row.name: {} for row in rows}
    with connection.validated("its trials"):
        for study, stage, state, count, low, high in connection.ask(_counts):
            limits = [None if value is None else float(value) for value in (low, high)]
            before = stages.get(study, {}).get(stage)
            states = {**(before.states if before else {}), str(state): int(count)}
            if state != "complete" and before is not None:
                limits = [before.low, before.high]
            stages.setdefault(study, {})[stage] = StageCounts(states, ended.get((study, stage)), *limits)
        champions = {str(study): float(value) for study, value in connection.ask(_champions)}
    return [
        CatalogEntry(row.name, _spec(row.spec), row.created, stages[row.name], champions.get(row.name)) for row in rows
    ]


def _counts(connection: sa.Connection) -> list[Any]:
    key = TRIAL.c.study, TRIAL.c.stage, TRIAL.c.state
    value = sa.case((TRIAL.c.state == "complete", TRIAL.c.value))
    query = sa.select(*key, sa.func.count(), sa.func.min(value), sa.func.max(value)).where(TRIAL.c.stage != PRIOR)
    return list(connection.execute(query.group_by(*key)))


def _champions(connection: sa.Connection) -> list[Any]:
    same = [TRIAL.c[name] == CHAMPION.c[name] for name in ("study", "stage", "number")]
    query = sa.select(TRIAL.c.study, TRIAL.c.value).join(CHAMPION, sa.and_(*same))
    return list(connection.execute(query.where(CHAMPION.c.test.is_not(None), TRIAL.c.value.is_not(None))))


def _spec(text: str) -> dict[str, Any] | None:
    try:
        return decode_mapping(text)
    except (ValueError, StorageError):
        return None

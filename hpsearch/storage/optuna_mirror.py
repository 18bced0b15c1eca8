"""The mirror in Optuna's own tables: a study `<name>/<stage>` for each stage, which any Optuna tool can read.

It holds finished trials in the order of their numbers and is written after our own tables, at the end of each stage.
`Study.add_trial` would take 9 ms of CPU a trial, because it reads back what it writes; so the rows are built from
Optuna's own classes and stored in one transaction. A test compares them with those of `Study.add_trial`.
"""

import contextlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from hpsearch.core.interpreter import BackgroundImports
from hpsearch.core.loggers import quiet_logger, quiet_logging
from hpsearch.core.reading.references import is_reference
from hpsearch.storage.access.transaction import Transaction
from hpsearch.storage.connection import Connection
from hpsearch.storage.database import connection_url, engine_options, translate_errors
from hpsearch.storage.lease import Lease
from hpsearch.storage.tables import lock_server

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

_MODULES = ("sqlalchemy.orm", "alembic.command", "optuna.storages._rdb.models")
_WHAT = "its copy for Optuna"
_STUDIES = sa.table("studies", sa.column("study_id"), sa.column("study_name"))
_TRIALS = sa.table("trials", sa.column("study_id"), sa.column("trial_id"))


@final
class OptunaMirror:
    """Optuna's tables in a study database. Optuna does not check the lease, so each write renews it first.

    Attributes:
        imports: modules that the first write imports, in 0.15 s.
    """

    def __init__(self, connection: Connection, lease: Lease) -> None:
        self._connection = connection
        self._url = connection.url
        self._lease = lease
        self.imports = BackgroundImports(*_MODULES)
        self._storage: optuna.storages.RDBStorage | None = None
        self._studies: dict[str, optuna.Study] = {}  # by stage

    def count(self, stage: str, sign: int) -> int:
        """Return the number of mirrored trials of a stage, whose study is created if it does not exist.

        Args:
            sign: +1 to minimize, −1 to maximize.

        Raises:
            StorageError: another process has taken over the study, or the database cannot be written.
        """
        import optuna

        if stage not in self._studies:
            self._lease.renew()  # waits for the write lock; Optuna makes only five attempts
            name = self._name(stage)

            def create() -> optuna.Study:
                return optuna.create_study(
                    storage=self.storage(),
                    study_name=name,
                    direction="minimize" if sign > 0 else "maximize",
                    load_if_exists=True,
                )

            with quiet_logger("optuna"), self._connection.validated(_WHAT):
                self._studies[stage] = self._connection.retrying(create)
        return (self.counts() or {}).get(stage, 0)

    def add(self, stage: str, trials: "Sequence[FrozenTrial]") -> None:
        """Add finished trials to a stage's study in one transaction, after `count`.

        Raises:
            StorageError: another process has taken over the study, or the database cannot be written.
        """
        from sqlalchemy.orm import Session

        first, study_id = (self.counts() or {})[stage], self._study_id(stage)

        def rows() -> list[Any]:
            return [trial_row(trial, study_id, number) for number, trial in enumerate(trials, first)]

        try:
            rows()
        except (ImportError, AttributeError, TypeError):  # a version of Optuna with other classes
            self._lease.renew()
            with quiet_logger("optuna"), translate_errors(self._url):
                self._studies[stage].add_trials(trials)
            return

        def work(transaction: Transaction) -> None:
            with Session(transaction.connection) as session:
                session.add_all(rows())  # new objects: those of a failed transaction belong to its session
                session.flush()  # the transaction commits

        self._lease.write(work)

    def delete(self, stage: str) -> None:
        """Delete a stage's study, if it exists.

        Raises:
            StorageError: the database cannot be written.
        """
        import optuna

        name = self._name(stage)

        def delete() -> None:
            with contextlib.suppress(KeyError):
                optuna.delete_study(study_name=name, storage=self.storage())

        with quiet_logger("optuna"):
            self._connection.retrying(delete)
        self._studies.pop(stage, None)

    def counts(self) -> dict[str, int] | None:
        """Return the number of mirrored trials by stage; None before the first stage is mirrored.

        The tables are read without Optuna, which would write to them.
        """
        prefix = self._name("")
        joined = _STUDIES.outerjoin(_TRIALS, _STUDIES.c.study_id == _TRIALS.c.study_id)
        query = sa.select(_STUDIES.c.study_name, sa.func.count(_TRIALS.c.trial_id)).select_from(joined)
        own = _STUDIES.c.study_name.startswith(prefix, autoescape=True)

        def question(connection: sa.Connection) -> "list[Any] | None":
            if not {"studies", "trials"} <= set(sa.inspect(connection).get_table_names()):
                return None
            return list(connection.execute(query.where(own).group_by(_STUDIES.c.study_name)))

        rows = self._connection.ask(question)
        if rows is None:
            return None
        return {str(name).removeprefix(prefix): count for name, count in rows if str(name).startswith(prefix)}

    def close(self) -> None:
        """Close Optuna's connections."""
        with contextlib.suppress(SQLAlchemyError):
            if self._storage is not None:
                self._storage.remove_session()
                self._storage.engine.dispose()

    def storage(self) -> "optuna.storages.RDBStorage":
        """Return Optuna's storage on the same database, with our settings for SQLite."""
        import optuna

        if self._storage is None:
            parsed = connection_url(self._url)
            is_file = parsed.get_backend_name() == "sqlite" and not is_reference(self._url)
            named = self._url if is_file else parsed.render_as_string(hide_password=False)
            url = named.replace("{", "{{").replace("}", "}}")  # Optuna applies str.format to it
            with quiet_logging(), self._connection.engine.connect() as connection:  # of the migrations
                lock_server(connection)  # two processes would create the same tables
                self._storage = optuna.storages.RDBStorage(url, engine_kwargs=engine_options(self._url))
            if self._connection.engine.dialect.name == "sqlite":
                sa.event.listen(self._storage.engine, "connect", self._connection.set_pragmas)
                self._storage.engine.dispose()  # its first connection was made before the listener
        return self._storage

    def _name(self, stage: str) -> str:
        return f"{self._connection.study}/{stage}"

    def _study_id(self, stage: str) -> int:
        query = sa.select(_STUDIES.c.study_id).where(_STUDIES.c.study_name == self._name(stage))
        return self._connection.ask(lambda connection: int(connection.execute(query).scalar_one()))


def trial_row(trial: "FrozenTrial", study_id: int, number: int) -> Any:
    """Return a finished trial as a row of Optuna's tables, with its parameters, value, reports and attributes."""
    from optuna.distributions import distribution_to_json
    from optuna.storages._rdb import models

    row: Any = models.TrialModel(
        study_id=study_id,
        number=number,
        state=trial.state,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
    )
    for name, distribution in trial.distributions.items():
        internal, stored = distribution.to_internal_repr(trial.params[name]), distribution_to_json(distribution)
        models.TrialParamModel(trial=row, param_name=name, param_value=internal, distribution_json=stored)
    if trial.value is not None:
        value, finite = models.TrialValueModel.value_to_stored_repr(trial.value)
        models.TrialValueModel(trial=row, objective=0, value=value, value_type=finite)
    for step, report in trial.intermediate_values.items():
        value, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(report)
        models.TrialIntermediateValueModel(trial=row, step=step, intermediate_value=value, intermediate_value_type=kind)
    for key, attribute in trial.user_attrs.items():
        models.TrialUserAttributeModel(trial=row, key=key, value_json=json.dumps(attribute))
    return row

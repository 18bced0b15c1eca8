"""The study database: opened once, checked, written whole.

One database holds one study. Ours are the study, how its rows are prepared, its stages, its trials, the checkpoints
of those that train, and the weights of its best: a wave's points are written in one transaction when they are asked,
and what a worker brings in one the moment it arrives. A coordinator writes as long as it holds the lease. Beside them
stand Optuna's tables with a study `<name>/<stage>` for each stage, which any Optuna tool reads: finished trials,
whole, in the order of their numbers, added wave by wave.
"""

import contextlib
import hashlib
import json
import sqlite3
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar, final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from hpsearch.core.space import Axis, Box, InternalValue, check_box
from hpsearch.errors import StorageError
from hpsearch.storage.database import (
    BUSY,
    DAMAGED,
    check_file,
    file_of,
    guard,
    options,
    pragmas,
    readable,
    shown,
    stamp,
    tables_of,
)
from hpsearch.storage.lease import BEAT, Holder, held
from hpsearch.training.task import History, TrialResult

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

PRIOR = "@prior"  # the stage of trials that a forked study has from another one

_TABLES = sa.MetaData()
_STUDY = sa.Table(
    "hpsearch_study",
    _TABLES,
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("identity", sa.String(32), nullable=False),  # of this search, for trackers
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),  # of the data
    sa.Column("version", sa.String(200), nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("hash", sa.String(64)),  # of the spec
    sa.Column("forked", sa.Text),  # the study it was forked from
)
_STAGE = sa.Table(
    "hpsearch_stage",
    _TABLES,
    sa.Column("stage", sa.String(50), primary_key=True),
    sa.Column("box", sa.Text, nullable=False),  # what it searches, in internal values
    sa.Column("seconds", sa.Float, nullable=False),  # it has run, over all restarts
    sa.Column("ended", sa.Integer),  # after so many trials, when its time was over
)
_TRIAL = sa.Table(
    "hpsearch_trial",
    _TABLES,
    sa.Column("stage", sa.String(50), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("internal_params", sa.Text, nullable=False),  # the point, in the coordinates in which it was sampled
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("value", sa.Float(53)),
    sa.Column("epochs", sa.Integer, nullable=False, default=0),
    sa.Column("best_epoch", sa.Integer, nullable=False, default=0),
    sa.Column("seconds", sa.Float, nullable=False, default=0.0),
    sa.Column("finished", sa.Float),
    sa.Column("history", sa.LargeBinary),
    sa.Column("error", sa.Text),
    sa.Column("copied_from", sa.Text),  # the trial whose outcome it has, when it was not trained
)
_CHECKPOINT = sa.Table(
    "hpsearch_checkpoint",
    _TABLES,
    sa.Column("stage", sa.String(50), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("epochs", sa.Integer, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("history", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.LargeBinary, nullable=False),  # `engine.training.state.State.to_bytes`
)
_CHAMPION = sa.Table(
    "hpsearch_champion",
    _TABLES,
    sa.Column("stage", sa.String(50), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("weights", sa.LargeBinary, nullable=False),
    sa.Column("test", sa.Text),  # scores, once they have been read
    sa.Column("diagnostics", sa.LargeBinary),  # `Diagnostics.to_bytes`, once the study has ended
)
_PREPARED = sa.Table(
    "hpsearch_prepared",
    _TABLES,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),  # among the ways to prepare rows
    sa.Column("content", sa.LargeBinary, nullable=False),  # `models.PreparedData.to_bytes`
)
_LEASE = sa.Table(
    "hpsearch_lease",
    _TABLES,
    sa.Column("name", sa.String(20), primary_key=True),
    sa.Column("token", sa.String(32), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
    sa.Column("beat", sa.Float, nullable=False),
)
_COORDINATOR = "coordinator"

TrialKey = tuple[str, int]  # stage and number of a trial
Found = TypeVar("Found")


class StoredStudy(NamedTuple):
    """What the database says of its study."""

    name: str
    identity: str
    spec: dict[str, Any]
    fingerprint: str
    version: str
    created: float
    hash: str | None = None
    forked: str | None = None


class StoredStage(NamedTuple):
    """A stage that has begun."""

    stage: str
    box: Box
    seconds: float
    ended: int | None


class StoredTrial(NamedTuple):
    """A trial: where it stands in the space and what came of it, as far as it is, and when it finished (Unix time)."""

    internal_params: dict[str, InternalValue]
    result: TrialResult | None
    finished: float
    copied_from: str | None


class ProposedTrial(NamedTuple):
    """A trial as it is asked, with its outcome when it has one already.

    Attributes:
        result: a finished trial's.
        copied_from: which one.
    """

    internal_params: Mapping[str, InternalValue]
    result: TrialResult | None = None
    copied_from: str | None = None


class Champion(NamedTuple):
    """One of the best trials, with its weights."""

    stage: str
    number: int
    weights: bytes
    test: dict[str, float] | None
    diagnostics: bytes | None = None


@final
class Storage:
    """An open study database.

    Args:
        url: SQLAlchemy's.
        address: SQLite's, of a file that is only read.

    Attributes:
        locked: whether who writes meanwhile is heard of; not of a file that is read as if nobody could.

    Raises:
        StorageError: it cannot be opened, or is something else.
    """

    def __init__(self, url: str, address: str | None = None) -> None:
        self.url = url
        self.locked = address is None or address.endswith("?mode=ro")
        self._snapshot: sa.Connection | None = None  # of a database that is only read
        self._there: dict[str, set[str]] = {name: set(table.c.keys()) for name, table in _TABLES.tables.items()}
        self._optuna: optuna.storages.RDBStorage | None = None
        self._told: dict[str, optuna.Study] = {}
        self._token: str | None = None
        self._beaten = 0.0
        with guard(url):
            if address is not None:
                self._engine = sa.create_engine(
                    "sqlite://", creator=lambda: sqlite3.connect(address, timeout=BUSY, uri=True), poolclass=sa.NullPool
                )
                return
            self._engine = sa.create_engine(url, **options(url))
            if self._engine.dialect.name == "sqlite":
                sa.event.listen(self._engine, "connect", pragmas)

    @classmethod
    def open(cls, url: str, *, create: bool) -> Self:
        """A database that is there, or, with `create`, a new one.

        Raises:
            StorageError: it is not there, no database, or one of something else; or it cannot be written.
        """
        path = _file(url, create=create)
        names = tables_of(url) if path is None or path.exists() else set()  # before anything of ours is done to it
        _check_ours(url, names)
        storage = cls(url)
        if create or names:
            try:
                with guard(url):
                    storage._complete(names)
            except BaseException:
                storage.close()
                raise
        return storage

    @classmethod
    @contextlib.contextmanager
    def read(cls, url: str) -> Iterator[Self]:
        """A database that is there, as it is at one moment; nothing is written, nor anything made beside it.

        What an older version did not store is not there; nor is what only who trains needs: the state of trials that
        are not finished.

        Raises:
            StorageError: it cannot be read, or is of something else.
        """
        path = file_of(url)
        with contextlib.ExitStack() as stack:
            storage = cls(url, None if path is None else stack.enter_context(readable(path)))
            stack.callback(storage.close)
            with guard(url):
                storage._snapshot = stack.enter_context(storage._engine.connect())
                storage._begin_reading()
            yield storage

    def _begin_reading(self) -> None:
        """One transaction for all that is asked, and what of our tables there is."""
        connection = self._snapshot
        assert connection is not None
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
        elif connection.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        inspector = sa.inspect(connection)
        names = set(inspector.get_table_names())
        _check_ours(self.url, names)
        self._there = {n: {c["name"] for c in inspector.get_columns(n)} for n in names & set(_TABLES.tables)}
        self._there.get(_CHECKPOINT.name, set()).discard("state")

    @contextlib.contextmanager
    def lease(self) -> Iterator[None]:
        """Held while a study runs: two coordinators on one study would train everything twice.

        Raises:
            StorageError: another process has it; the message says which.
        """
        with held(self.url, self.holder):
            self.check()  # before anything is written
            before, mine = self._lease(), uuid.uuid4().hex
            with guard(self.url), self._engine.begin() as connection:
                if before is not None:  # of a process that is gone
                    connection.execute(_LEASE.delete().where(_LEASE.c.token == before.token))
                row = {"name": _COORDINATOR, "token": mine, **Holder.me()._asdict()}
                try:
                    connection.execute(_LEASE.insert().values(row))
                except sa.exc.IntegrityError:
                    raise StorageError(f"{shown(self.url)}: another process has just begun to run this study") from None
            self._token = mine
            try:
                yield
            finally:
                self._token = None
                with contextlib.suppress(StorageError), guard(self.url), self._engine.begin() as connection:
                    connection.execute(_LEASE.delete().where(_LEASE.c.token == mine))

    def holder(self) -> Holder | None:
        """Who runs the study, or did when it was last heard of."""
        row = self._lease()
        return None if row is None else Holder(row.host, row.pid, row.since, row.beat)

    def beat(self) -> None:
        """Says that the coordinator is alive, when it has not for a while.

        Raises:
            StorageError: another one has taken the study over.
        """
        if self._token is not None and time.monotonic() - self._beaten > BEAT:
            with self._writing():
                pass

    def check(self) -> None:
        """Whether the database is whole, page by page.

        Raises:
            StorageError: it is damaged.
        """
        if self._engine.dialect.name == "sqlite":
            with guard(self.url), self._engine.connect() as connection:
                verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
            if verdict != "ok":
                raise StorageError(f"{shown(self.url)}: {DAMAGED}")

    def study(self) -> StoredStudy | None:
        """The study in this database; None in a new one."""
        with self._reading() as connection:
            if not sa.inspect(connection).has_table(_STUDY.name):
                return None
            rows = list(self._rows(connection, _STUDY))
        with self.sound("its study"):
            return StoredStudy(**{**rows[0]._mapping, "spec": json.loads(rows[0].spec)}) if rows else None

    def begin(
        self,
        name: str,
        spec: dict[str, Any],
        fingerprint: str,
        version: str,
        prior: Sequence[ProposedTrial] = (),
        forked: str | None = None,
    ) -> StoredStudy:
        """Writes a new study.

        Args:
            prior: finished trials of the study it was forked from.
        """
        text = json.dumps(spec)
        study = StoredStudy(name, uuid.uuid4().hex, spec, fingerprint, version, time.time(), digest(text), forked)
        with self._writing() as connection:
            connection.execute(_STUDY.insert().values(**{**study._asdict(), "spec": text}))
            if prior:
                connection.execute(
                    _TRIAL.insert(), [_asked(PRIOR, n, given, study.created) for n, given in enumerate(prior)]
                )
        return study

    def prepared(self) -> list[bytes]:
        """How rows are prepared, each way; none in a study that has not said so."""
        with self._reading() as connection:
            return [row.content for row in self._rows(connection, _PREPARED)]

    def keep_prepared(self, contents: Sequence[bytes]) -> None:
        """Remembers how rows are prepared: a model needs that, and the data may be gone by then."""
        with self._writing() as connection:
            connection.execute(_PREPARED.delete())
            connection.execute(_PREPARED.insert(), [{"number": n, "content": c} for n, c in enumerate(contents)])

    def change(self, spec: dict[str, Any]) -> None:
        """Goes on with another spec."""
        text = json.dumps(spec)
        with self._writing() as connection:
            connection.execute(_STUDY.update().values(spec=text, hash=digest(text)))

    def stages(self, axes: Sequence[Axis] = ()) -> dict[str, StoredStage]:
        """The stages that have begun.

        Args:
            axes: of which each has a box.
        """
        with self._reading() as connection:
            rows = list(self._rows(connection, _STAGE))
        with self.sound("what a stage searches"):
            found = [StoredStage(**{**row._mapping, "box": json.loads(row.box)}) for row in rows]
            found = [s._replace(box={key: (low, high) for key, (low, high) in s.box.items()}) for s in found]
            for stage in found:
                check_box(axes, stage.box)
            return {stage.stage: stage for stage in found}

    def begin_stage(self, stage: str, box: Box) -> StoredStage:
        """A stage begins, with what it searches."""
        with self._writing() as connection:
            connection.execute(_STAGE.insert().values(stage=stage, box=json.dumps(box), seconds=0.0))
        return StoredStage(stage, box, 0.0, None)

    def end_stage(self, stage: str, trials: int | None, seconds: float = 0.0) -> None:
        """A stage ends with so many trials, its time being over; None for one that goes on after all.

        Args:
            seconds: it has run since the last time.
        """
        with self._writing() as connection:
            connection.execute(
                _STAGE.update().where(_STAGE.c.stage == stage).values(ended=trials, seconds=_STAGE.c.seconds + seconds)
            )

    def ask(self, stage: str, first: int, trials: Sequence[ProposedTrial]) -> float:
        """New trials of a stage, numbered from `first`, all or none.

        Returns:
            When: the Unix time that is stored with those that are finished already.
        """
        now = time.time()
        with self._writing() as connection:
            connection.execute(_TRIAL.insert(), [_asked(stage, n, given, now) for n, given in enumerate(trials, first)])
        return now

    def trials(self, stage: str, first: int = 0) -> list[StoredTrial]:
        """A stage's trials from `first` on, by their numbers; those that train as far as they were stored."""
        with self._reading() as connection:
            where = _CHECKPOINT.c.stage == stage, _CHECKPOINT.c.number >= first
            checkpoints = {row.number: row for row in self._rows(connection, _CHECKPOINT, *where)}
            found = []
            for row in self._rows(connection, _TRIAL, _TRIAL.c.stage == stage, _TRIAL.c.number >= first):
                with self.sound(f"trial {stage}/{row.number}"):
                    found.append(_trial(row, checkpoints.get(row.number)))
            return found

    def save(
        self,
        stage: str,
        outcome: Sequence[TrialResult],
        keep: Sequence[TrialResult] = (),
        drop: Sequence[TrialKey] = (),
        seconds: float = 0.0,
    ) -> float:
        """What came back of trials, in one transaction: outcomes of the finished, checkpoints of the others.

        Args:
            keep: those of them whose weights are kept, being among the best.
            drop: whose weights are not any more.
            seconds: the stage has run since the last time.

        Returns:
            When: the Unix time that is stored with them.
        """
        finished = time.time()
        numbers = [r.number for r in outcome]
        done = [r for r in outcome if r.state != "running"]
        stands = [r for r in outcome if r.state == "running"]
        with self._writing() as connection:
            of_trial = sa.and_(_CHECKPOINT.c.stage == stage, _CHECKPOINT.c.number.in_(numbers))
            connection.execute(_CHECKPOINT.delete().where(of_trial))
            if stands:
                connection.execute(_CHECKPOINT.insert(), [_stands(stage, r) for r in stands])
            if done:
                rows = [{"which": r.number, **_result_columns(r, finished)} for r in done]
                change = _TRIAL.update().where(_TRIAL.c.stage == stage, _TRIAL.c.number == sa.bindparam("which"))
                connection.execute(change.values({key: sa.bindparam(key) for key in list(rows[0])[1:]}), rows)
            for name, number in drop:
                connection.execute(_CHAMPION.delete().where(_CHAMPION.c.stage == name, _CHAMPION.c.number == number))
            if keep:
                weights = [{"stage": stage, "number": r.number, "weights": r.weights} for r in keep]
                connection.execute(_CHAMPION.insert(), weights)
            if seconds:
                ran = _STAGE.update().where(_STAGE.c.stage == stage).values(seconds=_STAGE.c.seconds + seconds)
                connection.execute(ran)
        return finished

    def forget(self, stage: str, numbers: Sequence[int]) -> None:
        """Failed trials are to train again, and Optuna's study of their stage is to be told anew."""
        study = self.study()
        assert study is not None
        with guard(self.url):  # first: a kill before the next step leaves failed trials, which are told again as such
            import optuna

            with contextlib.suppress(KeyError):
                optuna.delete_study(study_name=f"{study.name}/{stage}", storage=self._optuna_storage())
        again = {"state": "running", "error": None, "history": None, "finished": None, "epochs": 0, "seconds": 0.0}
        with self._writing() as connection:
            of_trial = sa.and_(_TRIAL.c.stage == stage, _TRIAL.c.number.in_(numbers))
            connection.execute(_TRIAL.update().where(of_trial).values(again))

    def told(self, stage: str, sign: int) -> int:
        """How many trials of a stage Optuna's study of it has; the study is made when it is not there.

        Args:
            sign: +1 to minimize, −1 to maximize.
        """
        import optuna

        if stage not in self._told:
            self._wait()
            with guard(self.url), self.sound("what Optuna has of it"):
                study = self.study()
                assert study is not None
                self._told[stage] = optuna.create_study(
                    storage=self._optuna_storage(),
                    study_name=f"{study.name}/{stage}",
                    direction="minimize" if sign > 0 else "maximize",
                    load_if_exists=True,
                )
        with guard(self.url), self.sound("what Optuna has of it"):
            return len(self._told[stage].get_trials(deepcopy=False))

    def tell(self, stage: str, trials: Sequence["FrozenTrial"]) -> None:
        """Adds finished trials to Optuna's study of a stage, after those it has (`told`)."""
        self._wait()
        with guard(self.url):
            for trial in trials:
                self._told[stage].add_trial(trial)

    def champions(self) -> dict[TrialKey, Champion]:
        """The trials whose weights are kept."""
        with self._reading() as connection:
            rows = list(self._rows(connection, _CHAMPION))
        with self.sound("its champion"):
            return {
                (row.stage, row.number): Champion(
                    row.stage, row.number, row.weights, json.loads(row.test) if row.test else None, row.diagnostics
                )
                for row in rows
            }

    def crown(self, champion: Champion) -> None:
        """The champion with its test scores, which nobody else has any more."""
        with self._writing() as connection:
            this = sa.and_(_CHAMPION.c.stage == champion.stage, _CHAMPION.c.number == champion.number)
            connection.execute(_CHAMPION.delete().where(this))
            connection.execute(_CHAMPION.update().values(test=None, diagnostics=None))
            row = champion._asdict() | {"test": json.dumps(champion.test)}
            connection.execute(_CHAMPION.insert().values(row))

    def keep_diagnostics(self, stage: str, number: int, diagnostics: bytes) -> None:
        """What the champion does with its rows."""
        with self._writing() as connection:
            this = sa.and_(_CHAMPION.c.stage == stage, _CHAMPION.c.number == number)
            connection.execute(_CHAMPION.update().where(this).values(diagnostics=diagnostics))

    def mark(self) -> tuple[object, ...]:
        """What differs once a trial is asked or has finished, a stage has begun or ended, the test scores are read, or
        who runs the study has given a sign of life."""
        states = sa.select(_TRIAL.c.stage, _TRIAL.c.state, sa.func.count()).group_by(_TRIAL.c.stage, _TRIAL.c.state)
        with self._reading() as connection:
            counts = sorted(tuple(row) for row in connection.execute(states))
            scores = connection.execute(sa.select(sa.func.count(_CHAMPION.c.test))).scalar()
        stages = sorted((s.stage, s.ended) for s in self.stages().values())
        return counts, scores, stages, self.holder()

    def close(self) -> None:
        """Closes every connection, which folds SQLite's write-ahead log into the file."""
        with contextlib.suppress(SQLAlchemyError):
            if self._optuna is not None:
                self._optuna.engine.dispose()
            self._engine.dispose()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        """A connection; of a database that is only read always the same."""
        with guard(self.url):
            if self._snapshot is not None:
                yield self._snapshot
            else:
                with self._engine.connect() as connection:
                    yield connection

    def _rows(
        self, connection: sa.Connection, table: sa.Table, *where: sa.ColumnElement[bool]
    ) -> "Iterable[sa.Row[Any]]":
        """Rows of a table by its keys; a column that is not there is None, a table that is not has none."""
        there = self._there.get(table.name)
        if there is None:
            return []
        columns = [c if c.name in there else sa.null().label(c.name) for c in table.columns]
        return connection.execute(sa.select(*columns).where(*where).order_by(*table.primary_key.columns))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """A transaction, which only who holds the lease may make.

        Raises:
            StorageError: another one has taken the study over, or the database refuses.
        """
        with guard(self.url), self._engine.begin() as connection:
            if self._token is not None:
                mine = _LEASE.update().where(_LEASE.c.token == self._token).values(beat=time.time())
                if connection.execute(mine).rowcount != 1:
                    who = self.holder()
                    raise StorageError(f"{shown(self.url)}: this study was taken over{f' by {who}' if who else ''}")
                self._beaten = time.monotonic()
            yield connection

    def _wait(self) -> None:
        """Until Optuna may write: it knows nothing of the lease, and of a lock it tries five times.

        Raises:
            StorageError: another one has taken the study over, or the database refuses.
        """
        with self._writing():
            pass

    @contextlib.contextmanager
    def sound(self, what: str) -> Iterator[None]:
        """What is read is as it was written.

        Raises:
            StorageError: it is not.
        """
        try:
            yield
        except (AttributeError, LookupError, TypeError, ValueError, zlib.error):
            raise StorageError(f"{shown(self.url)}: {what} {DAMAGED}") from None

    def _lease(self) -> "sa.Row[Any] | None":
        with self._reading() as connection:
            rows = list(self._rows(connection, _LEASE, _LEASE.c.name == _COORDINATOR))
        return rows[0] if rows else None

    def _complete(self, names: set[str]) -> None:
        """Makes what is not there: all tables in a new database, in an older one what later versions have added."""
        if names >= set(_TABLES.tables):
            with self._engine.connect() as connection:
                if not _missing(connection):
                    return
        with self._engine.begin() as connection:  # all or nothing, be it killed; who comes at the same time waits
            if self._engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            _TABLES.create_all(connection)
            for column in _missing(connection):
                kind = column.type.compile(self._engine.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {column.table.name} ADD COLUMN {column.name} {kind}")

    def _optuna_storage(self) -> "optuna.storages.RDBStorage":
        import optuna

        if self._optuna is None:
            url = self.url.replace("{", "{{").replace("}", "}}")  # Optuna formats it
            self._optuna = optuna.storages.RDBStorage(url, engine_kwargs=options(self.url))
            if self._engine.dialect.name == "sqlite":
                sa.event.listen(self._optuna.engine, "connect", pragmas)
                self._optuna.engine.dispose()  # its first connection came before the listener
        return self._optuna


def read(url: str, ask: Callable[[Storage], Found], *, check: bool = True, tries: int = 3) -> Found:
    """What is asked of a database that is only read; asked again when a file that nobody had open changed meanwhile.

    Args:
        check: whether the file is whole, which takes longer the larger it is.

    Raises:
        StorageError: it is not there, cannot be read, or is no study's database.
    """
    path = _file(url, create=False) if check else file_of(url)
    before = stamp(path) if path is not None else []
    try:
        with Storage.read(url) as storage:
            found = ask(storage)
    except StorageError:
        if path is None or tries == 1 or stamp(path) == before:
            raise
    else:
        if path is None or tries == 1 or storage.locked or stamp(path) == before:
            return found
    return read(url, ask, check=False, tries=tries - 1)


def _file(url: str, *, create: bool) -> Path | None:
    """The file of a URL, looked at; None for a server."""
    path = file_of(url)
    if path is not None:
        check_file(path, create)
    elif sa.make_url(url).get_backend_name() == "sqlite":
        raise StorageError(f"{url}: a study needs a file that stays")
    return path


def _check_ours(url: str, names: set[str]) -> None:
    if names and _STUDY.name not in names:
        raise StorageError(f"{shown(url)}: a database, but not of an hpsearch study; choose another file")


def _missing(connection: sa.Connection) -> list[sa.Column[Any]]:
    """Columns that a database's tables of ours do not have yet."""
    inspector = sa.inspect(connection)
    there = {name: {c["name"] for c in inspector.get_columns(name)} for name in _TABLES.tables}
    return [c for table in _TABLES.sorted_tables for c in table.columns if c.name not in there[table.name]]


def digest(text: str) -> str:
    """Of a spec."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _packed(history: History) -> bytes:
    return zlib.compress(json.dumps(history, separators=(",", ":")).encode(), 1)


def _asked(stage: str, number: int, given: ProposedTrial, now: float) -> dict[str, Any]:
    row = {
        "stage": stage,
        "number": number,
        "internal_params": json.dumps(dict(given.internal_params)),
        "copied_from": given.copied_from,
    }
    if given.result is not None:
        return row | _result_columns(given.result, now)
    counts = {"epochs": 0, "best_epoch": 0, "seconds": 0.0}
    return row | {"state": "running", **counts, **dict.fromkeys(("value", "finished", "history", "error"))}


def _result_columns(r: TrialResult, finished: float) -> dict[str, Any]:
    return {
        "state": r.state,
        "value": r.value,
        "epochs": r.epochs,
        "best_epoch": r.best_epoch,
        "seconds": r.seconds,
        "finished": finished,
        "history": _packed(r.history),
        "error": r.error,
    }


def _stands(stage: str, r: TrialResult) -> dict[str, Any]:
    history = _packed(r.history)
    where = {"stage": stage, "number": r.number, "epochs": r.epochs, "seconds": r.seconds}
    return where | {"history": history, "state": r.checkpoint}


def _trial(row: Any, checkpoint: Any) -> StoredTrial:
    internal_params = json.loads(row.internal_params)
    if row.state != "running":
        history = json.loads(zlib.decompress(row.history))
        found = TrialResult(
            row.number, row.state, row.value, row.epochs, row.best_epoch, history, row.seconds, error=row.error
        )
        return StoredTrial(internal_params, found, row.finished, row.copied_from)
    if checkpoint is None:
        return StoredTrial(internal_params, None, 0.0, row.copied_from)
    try:
        history = json.loads(zlib.decompress(checkpoint.history))
    except (TypeError, ValueError, zlib.error):  # like a checkpoint that cannot be read: nothing to go on from
        return StoredTrial(
            internal_params, TrialResult(row.number, "running", None, 0, 0, {}, 0.0, b""), 0.0, row.copied_from
        )
    stands = TrialResult(
        row.number, "running", None, checkpoint.epochs, 0, history, checkpoint.seconds, checkpoint.state
    )
    return StoredTrial(internal_params, stands, 0.0, row.copied_from)

"""The study database: opened once, checked, written whole.

One file holds one study. Ours are the study, its trials and its champion: a wave's points are written in one
transaction when they are asked, and a trial's outcome in one the moment it arrives. Beside them stand Optuna's tables
with a study `<name>/<stage>` for each stage, which any Optuna tool reads: finished trials, whole, in the order of their
numbers, added wave by wave.
"""

import contextlib
import json
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, final

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from hpsearch.errors import StorageError
from hpsearch.space import Raw
from hpsearch.trial import Outcome, Result

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

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
)
_TRIAL = sa.Table(
    "hpsearch_trial",
    _TABLES,
    sa.Column("stage", sa.String(50), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("raws", sa.Text, nullable=False),  # the point, in the coordinates in which it was sampled
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("value", sa.Float(53)),
    sa.Column("epochs", sa.Integer, nullable=False, default=0),
    sa.Column("best_epoch", sa.Integer, nullable=False, default=0),
    sa.Column("seconds", sa.Float, nullable=False, default=0.0),
    sa.Column("finished", sa.Float),
    sa.Column("history", sa.LargeBinary),
    sa.Column("error", sa.Text),
)
_CHAMPION = sa.Table(
    "hpsearch_champion",
    _TABLES,
    sa.Column("stage", sa.String(50), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("weights", sa.LargeBinary, nullable=False),
    sa.Column("test", sa.Text),  # scores, once they have been read
)


class StoredStudy(NamedTuple):
    """What the database says of its study."""

    name: str
    identity: str
    spec: dict[str, Any]
    fingerprint: str
    version: str
    created: float


class StoredTrial(NamedTuple):
    """A trial: where it stands in the space and, when it is finished, what came of it and when (Unix time)."""

    raws: dict[str, Raw]
    result: Result | None
    finished: float


class Champion(NamedTuple):
    """The best trial so far, with its weights."""

    stage: str
    number: int
    weights: bytes
    test: dict[str, float] | None


@final
class Storage:
    """An open study database.

    Args:
        url: SQLAlchemy's.

    Raises:
        StorageError: it cannot be opened, or is something else.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._optuna: optuna.storages.RDBStorage | None = None
        self._told: dict[str, optuna.Study] = {}
        with guard(url):
            self._engine = sa.create_engine(url, **_options(url))
            if self._engine.dialect.name == "sqlite":
                sa.event.listen(self._engine, "connect", _pragmas)

    @classmethod
    def open(cls, url: str, *, create: bool) -> Self:
        """A database that is there, or, with `create`, a new one.

        Raises:
            StorageError: it is not there, no database, or one of something else; or it cannot be written.
        """
        path = file_of(url)
        if path is not None:
            _check_file(path, create)
        if path is None and sa.make_url(url).get_backend_name() == "sqlite":
            raise StorageError(f"{url}: a study needs a file that stays")
        names = _tables(url) if path is None or path.exists() else set()  # before anything of ours is done to it
        if names and _STUDY.name not in names:
            raise StorageError(f"{shown(url)}: a database, but not of an hpsearch study; choose another file")
        storage = cls(url)
        if create:
            with guard(url):
                _TABLES.create_all(storage._engine)
        return storage

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Held while a study runs: two coordinators on one file would train everything twice.

        Raises:
            StorageError: another process has it.
        """
        path = file_of(self.url)
        if path is None:
            yield
            return
        lock = FileLock(f"{path}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise StorageError(f"{path}: another process is running this study; wait for it, or stop it") from None
        except OSError as error:
            raise StorageError(f"{path}: cannot be written: {error.strerror}") from None
        try:
            yield
        finally:
            lock.release()

    def study(self) -> StoredStudy | None:
        """The study in this database; None in a new one."""
        with guard(self.url), self._engine.connect() as connection:
            if not sa.inspect(connection).has_table(_STUDY.name):
                return None
            row = connection.execute(sa.select(_STUDY)).first()
        return None if row is None else StoredStudy(**{**row._mapping, "spec": json.loads(row.spec)})

    def begin(self, name: str, spec: dict[str, Any], fingerprint: str, version: str) -> StoredStudy:
        """Writes a new study."""
        study = StoredStudy(name, uuid.uuid4().hex, spec, fingerprint, version, time.time())
        with guard(self.url), self._engine.begin() as connection:
            connection.execute(_STUDY.insert().values(**{**study._asdict(), "spec": json.dumps(spec)}))
        return study

    def ask(self, stage: str, first: int, points: Sequence[Mapping[str, Raw]]) -> None:
        """New trials of a stage, numbered from `first`, all or none."""
        rows = [
            {"stage": stage, "number": number, "raws": json.dumps(raws), "state": "running"}
            for number, raws in enumerate(points, first)
        ]
        with guard(self.url), self._engine.begin() as connection:
            connection.execute(_TRIAL.insert(), rows)

    def trials(self, stage: str) -> list[StoredTrial]:
        """All trials of a stage in the order of their numbers."""
        query = sa.select(_TRIAL).where(_TRIAL.c.stage == stage).order_by(_TRIAL.c.number)
        with guard(self.url), self._engine.connect() as connection:
            return [_trial(row) for row in connection.execute(query)]

    def save(self, stage: str, outcome: Outcome, champion: Result | None) -> float:
        """Finished trials, whole, in one transaction.

        Args:
            champion: the one of them that is now the best of the study, if any is.

        Returns:
            When: the Unix time that is stored with them.
        """
        finished = time.time()
        change = _TRIAL.update().where(_TRIAL.c.stage == stage, _TRIAL.c.number == sa.bindparam("which"))
        rows = [
            {
                "which": r.number,
                "state": r.state,
                "value": r.value,
                "epochs": r.epochs,
                "best_epoch": r.best_epoch,
                "seconds": r.seconds,
                "finished": finished,
                "history": zlib.compress(json.dumps(r.history, separators=(",", ":")).encode(), 1),
                "error": r.error,
            }
            for r in outcome
        ]
        with guard(self.url), self._engine.begin() as connection:
            connection.execute(change.values({key: sa.bindparam(key) for key in list(rows[0])[1:]}), rows)
            if champion is not None:
                connection.execute(_CHAMPION.delete())
                connection.execute(
                    _CHAMPION.insert().values(stage=stage, number=champion.number, weights=champion.weights)
                )
        return finished

    def told(self, stage: str, sign: int) -> int:
        """How many trials of a stage Optuna's study of it has; the study is made when it is not there.

        Args:
            sign: +1 to minimize, −1 to maximize.
        """
        import optuna

        if stage not in self._told:
            with guard(self.url):
                if self._optuna is None:
                    self._optuna = optuna.storages.RDBStorage(self.url, engine_kwargs=_options(self.url))
                    if self._engine.dialect.name == "sqlite":
                        sa.event.listen(self._optuna.engine, "connect", _pragmas)
                        self._optuna.engine.dispose()  # its first connection came before the listener
                study = self.study()
                assert study is not None
                self._told[stage] = optuna.create_study(
                    storage=self._optuna,
                    study_name=f"{study.name}/{stage}",
                    direction="minimize" if sign > 0 else "maximize",
                    load_if_exists=True,
                )
        with guard(self.url):
            return len(self._told[stage].get_trials(deepcopy=False))

    def tell(self, stage: str, trials: Sequence["FrozenTrial"]) -> None:
        """Adds finished trials to Optuna's study of a stage, after those it has (`told`)."""
        with guard(self.url):
            for trial in trials:
                self._told[stage].add_trial(trial)

    def champion(self) -> Champion | None:
        """The best trial so far."""
        with guard(self.url), self._engine.connect() as connection:
            row = connection.execute(sa.select(_CHAMPION)).first()
        if row is None:
            return None
        return Champion(row.stage, row.number, row.weights, json.loads(row.test) if row.test else None)

    def save_test(self, scores: dict[str, float]) -> None:
        """The champion's test scores."""
        with guard(self.url), self._engine.begin() as connection:
            connection.execute(_CHAMPION.update().values(test=json.dumps(scores)))

    def close(self) -> None:
        """Closes every connection, which folds SQLite's write-ahead log into the file."""
        with contextlib.suppress(SQLAlchemyError):
            if self._optuna is not None:
                self._optuna.engine.dispose()
            self._engine.dispose()


def url_of(database: str) -> str:
    """A path or a URL → a URL."""
    return database if "://" in database else f"sqlite:///{Path(database)}"


def file_of(url: str) -> Path | None:
    """The file of a SQLite URL; None for a server or memory.

    Raises:
        StorageError: it is no URL.
    """
    try:
        parsed = sa.make_url(url)
    except SQLAlchemyError:
        raise StorageError(f"'{url}' is no database URL; write sqlite:///FILE, for example") from None
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))


def shown(url: str) -> str:
    """A database as messages name it: its file, or its URL without the password."""
    path = file_of(url)
    return str(path) if path else sa.make_url(url).render_as_string(hide_password=True)


@contextlib.contextmanager
def guard(url: str) -> Iterator[None]:
    """What a database refuses, in words that say what to do.

    Raises:
        StorageError: for every error of the database or its driver.
    """
    try:
        yield
    except (SQLAlchemyError, ImportError) as error:
        raise StorageError(f"{shown(url)}: {_reason(error)}") from error
    except Exception as error:
        if type(error).__module__.startswith("optuna."):  # its StorageInternalError wraps ours
            raise StorageError(f"{shown(url)}: {_reason(error.__cause__ or error)}") from error
        raise


def _reason(error: BaseException) -> str:
    original = error.orig if isinstance(error, DBAPIError) and error.orig else error
    text = str(original).splitlines()[0] if str(original) else type(original).__name__
    kept = "everything finished until then is kept"
    for sign, words in {
        "disk is full": f"the disk is full; {kept}: free some space and run again",
        "disk I/O error": f"the disk cannot be written ({text}); {kept}: run again when it can",
        "readonly": "cannot be written: the file or its folder is read-only",
        "unable to open": "cannot be opened or created: is the folder there, and may you write in it?",
        "locked": "another process is writing to it; wait for it, or stop it",
        "not a database": "is not a database",
        "malformed": "is damaged; restore a copy of it, or start in another file",
    }.items():
        if sign in text:
            return words
    return text


def _check_file(path: Path, create: bool) -> None:
    try:
        if path.is_dir():
            raise StorageError(f"{path}: is a folder, not a database")
        if not path.exists() or path.stat().st_size == 0:
            if not create:
                raise StorageError(f"{path}: there is no such database")
            if not path.parent.is_dir():
                raise StorageError(f"{path}: there is no folder {path.parent}")
            return
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from None
    if head != b"SQLite format 3\0":
        raise StorageError(f"{path}: is not a database")


def _tables(url: str) -> set[str]:
    with guard(url):
        engine = sa.create_engine(url, **_options(url))
        try:
            return set(sa.inspect(engine).get_table_names())
        finally:
            engine.dispose()


def _options(url: str) -> dict[str, Any]:
    return {"connect_args": {"timeout": 60}} if sa.make_url(url).get_backend_name() == "sqlite" else {}


def _pragmas(connection: Any, _record: Any) -> None:
    """Write-ahead log: readers never wait, and a commit costs a third. A kill loses nothing; the file stays whole."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _trial(row: Any) -> StoredTrial:
    if row.state == "running":
        return StoredTrial(json.loads(row.raws), None, 0.0)
    history = json.loads(zlib.decompress(row.history))
    result = Result(row.number, row.state, row.value, row.epochs, row.best_epoch, history, row.seconds, error=row.error)
    return StoredTrial(json.loads(row.raws), result, row.finished)

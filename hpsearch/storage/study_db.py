"""The study database: one study, its stages, its trials, and the weights of its best trials.

New trials are stored in one transaction. The results that a worker returns are stored in one transaction
as soon as they arrive. Only the coordinator that holds the lease writes. Optuna's tables mirror the finished trials.
"""

import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, final

from hpsearch.errors import StorageError
from hpsearch.storage.access.server import Answer, Waiting, is_lost
from hpsearch.storage.connection import Connection, checked_file
from hpsearch.storage.database import file_of
from hpsearch.storage.lease import Lease
from hpsearch.storage.optuna_mirror import OptunaMirror
from hpsearch.storage.records import StoredFile, StoredStudy, Trial
from hpsearch.storage.snapshot import open_snapshot
from hpsearch.storage.sqlite_file import BUSY_TIMEOUT, file_stamp
from hpsearch.storage.study_tables import BaselineTable, EnsembleTable, StageTable, StudyTable, WeightsTable
from hpsearch.storage.tables import spec_hash
from hpsearch.storage.trials import TrialTable


@final
class StudyDatabase:
    """An open study database, composed of the objects that read and write its tables.

    Attributes:
        locking: False for a file that is read without locks, so that a write during reading goes unnoticed.
    """

    def __init__(self, connection: Connection, *, locking: bool = True) -> None:
        self.url = connection.url
        self.locking = locking
        self.connection = connection
        self.lease = Lease(connection)
        self.study = StudyTable(connection, self.lease)
        self.stages = StageTable(connection, self.lease)
        self.trials = TrialTable(connection, self.lease)
        self.weights = WeightsTable(connection, self.lease)
        self.baselines = BaselineTable(connection, self.lease)
        self.ensemble = EnsembleTable(connection, self.lease)
        self.mirror = OptunaMirror(connection, self.lease)

    @classmethod
    def open(
        cls,
        url: str,
        study: str | None = None,
        *,
        create: bool,
        rollback: bool = False,
        waiting: Waiting = Waiting(),  # noqa: B008
    ) -> Self:
        """Open an existing database or, with `create`, a new one.

        Args:
            study: name of the study; None for the only one.
            create: the database and the study may be new.
            rollback: use a file without a write-ahead log, which may be on a network file system with sound locks.
            waiting: how to wait for a server that does not answer.

        Raises:
            StorageError: the database does not exist, is not a study database, is damaged, or cannot be written; it
                holds no such study, or several.
        """
        return cls(Connection.open(url, study, create=create, rollback=rollback, waiting=waiting))

    @classmethod
    @contextlib.contextmanager
    def snapshot(cls, url: str, study: str | None = None, timeout: float = BUSY_TIMEOUT) -> Iterator[Self]:
        """Open an existing database as it is at one moment; nothing is written.

        Args:
            study: name of the study; None for the only one.
            timeout: seconds to wait for a process that writes.

        Raises:
            StorageError: the database cannot be read, or is not a study database; it holds no such study, or several.
        """
        with open_snapshot(url, study, timeout) as snapshot:
            yield cls(snapshot.connection, locking=snapshot.locking)

    def bound_to(self, study: str) -> Self:
        """Return the same database for another study."""
        return type(self)(self.connection.bound_to(study), locking=self.locking)

    def begin(
        self,
        name: str,
        spec: dict[str, Any],
        fingerprint: str,
        version: str,
        prior: Sequence[Trial] = (),
        forked: str | None = None,
        code: Sequence[StoredFile] = (),
    ) -> StoredStudy:
        """Store a new study.

        Args:
            fingerprint: fingerprint of the data.
            version: versions of the packages.
            prior: finished trials of the study that it is forked from.
            forked: name of the study that it is forked from.
            code: the files that train it.
        """
        digest, now = spec_hash(json.dumps(spec)), time.time()
        self.connection.study = self.connection.study or name
        study = StoredStudy(name, uuid.uuid4().hex, spec, fingerprint, version, now, digest, forked)
        self.study.begin(study, prior, code)
        return study

    def retry_failed(self, stage: str) -> int:
        """Set a stage's failed trials to running and return their number.

        Optuna's study of the stage is deleted first, so that a kill between the two steps leaves no wrong mirror.
        """
        numbers = self.trials.numbers(stage, "failed")
        if numbers:
            self.mirror.delete(stage)
            self.trials.restart(stage, numbers)
        return len(numbers)

    def change_token(self) -> tuple[object, ...]:
        """Return a value that differs after a trial is added or finishes, a stage begins or ends, test scores are
        stored, or the holder of the lease changes or renews it."""
        stages = sorted((s.stage, s.ended) for s in self.stages.load().values())
        holder = self.lease.holder()
        renewed = holder and (*holder.process, holder.heartbeat)
        return sorted(self.trials.states().items()), self.weights.tested(), stages, renewed

    def close(self) -> None:
        """Close every connection, which merges SQLite's write-ahead log into the file."""
        self.mirror.close()
        self.connection.close()


def read(
    url: str, ask: Callable[[StudyDatabase], Answer], study: str | None = None, *, check: bool = True, tries: int = 3
) -> Answer:
    """Return the answer of `ask` to a snapshot of a database.

    If a file that is read without locks changes in the meantime, or the connection to a server is lost, `ask` is called
    again with a new snapshot.

    Args:
        study: name of the study; None for the only one.
        check: check first that the file is intact, which takes longer for larger files.
        tries: maximum number of snapshots.

    Raises:
        StorageError: the database does not exist, cannot be read, or is not a study database; it holds no such study,
            or several.
    """
    path = checked_file(url, create=False) if check else file_of(url)
    before, opened = file_stamp(path) if path is not None else [], False
    try:
        with StudyDatabase.snapshot(url, study) as database:
            opened = True
            answer = ask(database)
    except StorageError as error:
        changed = opened and is_lost(error) if path is None else file_stamp(path) != before
        if tries == 1 or not changed:
            raise
    else:
        if path is None or tries == 1 or database.locking or file_stamp(path) == before:
            return answer
    return read(url, ask, study, check=False, tries=tries - 1)

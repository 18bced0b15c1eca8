"""The lease: at most one coordinator runs a study, and a coordinator that has ended loses it.

For a SQLite file, an operating-system lock shows whether the holder is alive; the system releases the lock when the
process ends. The lock is on the file itself, so that it is the same under every name of the file; one study of the file
runs at a time. For a server, and where a file system has no locks, the heartbeat in the database shows it or, on the
same host, the process id. A server has a lease for each study, and all its times are by the clock of the server.

A write to a server is done exactly once: each transaction counts up `writes`, so that after a lost connection the count
shows whether the transaction was committed.
"""

import contextlib
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, final

import sqlalchemy as sa

from hpsearch.core.files.file_lock import FileId, LockTakenError, locked
from hpsearch.core.files.mounts import mount_of
from hpsearch.core.processes import start_time
from hpsearch.errors import StorageError
from hpsearch.storage.access.server import Answer
from hpsearch.storage.access.transaction import Transaction
from hpsearch.storage.connection import Connection
from hpsearch.storage.database import display_name, file_of, translate_errors
from hpsearch.storage.tables import LEASE

HEARTBEAT = 15.0  # seconds between two heartbeats
REGISTRATION = 1.0  # seconds to wait until a process that has the file lock has written its name into the database
EXPIRY = 120.0  # seconds without a heartbeat after which a coordinator on another host is assumed to have ended
RUN_ELSEWHERE = ("this study is run by", "another process has just begun to run this study")  # in messages
CLOCK_TOLERANCE = 5.0  # seconds by which the clock may have been set between two readings
_GIVEN_UP: set[str] = set()  # tokens of leases that this process could not release; it may run the study again
_SERVER_CLOCK = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Float(53))


class Holder(NamedTuple):
    """The coordinator that holds the lease.

    Attributes:
        since: Unix time at which it began to run the study.
        heartbeat: Unix time of its last heartbeat.
        file: identity of the database file; None on a server.
        ahead: seconds by which the server's clock, which the times are from, is ahead of this machine's; 0 for a file.
    """

    host: str
    pid: int
    since: float
    heartbeat: float
    file: str | None = None
    ahead: float = 0.0

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since - self.ahead)
        return f"process {self.pid} on {self.host}, since {since:%Y-%m-%d %H:%M:%S}"

    @property
    def process(self) -> tuple[str, int, float]:
        """The part that differs from that of another coordinator: host, process id and start."""
        return self.host, self.pid, self.since

    @property
    def has_ended(self) -> bool:
        """True if the process has ended without releasing the lease; on another host, if its heartbeat has expired.

        A process of this host that started after the lease was taken has reused the process id.
        """
        if self.host != _host():
            return time.time() + self.ahead - self.heartbeat > EXPIRY
        started = start_time(self.pid)
        return started is None or started + self.ahead > self.since + CLOCK_TOLERANCE


@final
class Lease:
    """The lease of one study; every write of its rows goes through `write`.

    Attributes:
        url: URL of the database.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.url = connection.url
        self._token: str | None = None  # of the lease that this process holds
        self._writes = 0  # transactions that this process has committed
        self._renewed = 0.0  # monotonic time

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lease while a study runs: two coordinators would train every trial twice.

        Raises:
            StorageError: another process holds the lease; the message names the process.
        """
        with study_lock(self):
            self._connection.check()  # before anything is written
            previous, token = self._row(), uuid.uuid4().hex
            if not self._connection.retrying(lambda: self._take(previous, token)):
                where = display_name(self.url)
                raise StorageError(f"{where}: {RUN_ELSEWHERE[1]}")
            self._token, self._writes = token, 0
            try:
                yield
            finally:
                self._token = None
                try:
                    self._release(token)
                except StorageError:
                    _GIVEN_UP.add(token)

    def _take(self, previous: "sa.Row[Any] | None", token: str) -> bool:
        """Store the lease of this process; return False if another was faster.

        Args:
            previous: the lease of a process that has ended.
        """
        own = {"token": token, "host": _host(), "pid": os.getpid(), "file": self._file and str(self._file)}
        try:
            with self._connection.engine.begin() as connection:
                transaction = Transaction(connection, self._connection.study)
                if previous is not None:
                    transaction.delete(LEASE, LEASE.c.token == previous.token)
                clock = self._clock(connection)
                transaction.insert(LEASE, own | {"since": clock, "heartbeat": clock, "writes": 0})
            return True
        except sa.exc.IntegrityError:
            row = self._row()
            return row is not None and row.token == token  # the connection was lost after the commit

    def _release(self, token: str) -> None:
        """Release the lease, without waiting for a server: without a release, another process takes it over."""
        with translate_errors(self.url), self._connection.engine.begin() as connection:
            Transaction(connection, self._connection.study).delete(LEASE, LEASE.c.token == token)

    def holder(self) -> Holder | None:
        """Return the coordinator that holds the lease, which may have ended; None when the lease is free.

        The lease in a copy of the file is that of another study database, so it counts as free.
        """
        return self._holders(self._connection.rows(LEASE, columns=list(LEASE.columns))).get(self._connection.study)

    def holders(self) -> dict[str, Holder]:
        """Return the coordinators that hold the leases of all studies of the database, by name of the study."""
        return self._holders(self._connection.rows(LEASE, all_studies=True))

    @property
    def study(self) -> str:
        """The name of the study."""
        return self._connection.study

    def is_running(self) -> bool:
        """Return whether the holder still runs the study."""
        holder = self.holder()
        return holder is not None and not holder.has_ended

    def heartbeat(self) -> None:
        """Renew the lease, unless it was renewed a short time ago.

        Raises:
            StorageError: another process has taken over the study.
        """
        if self._token is not None and time.monotonic() - self._renewed > HEARTBEAT:
            self.renew()

    def renew(self) -> None:
        """Renew the lease now, which also waits until SQLite's write lock is free.

        Raises:
            StorageError: another process has taken over the study, or the database cannot be written.
        """
        self.write(lambda _transaction: None)

    def write(self, work: Callable[[Transaction], Answer]) -> Answer:
        """Do work in a transaction and return its result; only the holder of the lease can complete one.

        Args:
            work: is done again in a new transaction if the connection to a server is lost before the commit.

        Raises:
            StorageError: another process has taken over the study, or the database cannot be written.
        """
        if self._connection.file is not None:
            self._connection.file.check_present()
        if self._token is None:
            with translate_errors(self.url), self._connection.engine.begin() as connection:
                return work(Transaction(connection, self._connection.study))
        results: list[Answer] = []  # of the last attempt that reached its commit

        def attempt() -> Answer:
            with self._connection.engine.begin() as connection:
                transaction = Transaction(connection, self._connection.study)
                mine = LEASE.c.token == self._token, LEASE.c.writes == self._writes
                now = {"heartbeat": self._clock(connection), "writes": self._writes + 1}
                if transaction.update(LEASE, now, *mine) == 1:
                    results[:] = [work(transaction)]
                elif not (results and self._is_committed(connection)):
                    raise StorageError(f"{display_name(self.url)}: this study was taken over{self._by()}")
            return results[0]

        result = self._connection.retrying(attempt)
        self._writes += 1
        self._renewed = time.monotonic()
        return result

    def _is_committed(self, connection: sa.Connection) -> bool:
        """Return whether a transaction was committed whose connection was lost."""
        query = sa.select(LEASE.c.writes).where(LEASE.c.token == self._token)
        return connection.execute(query).scalar() == self._writes + 1

    def _by(self) -> str:
        holder = self.holder()
        return f" by {holder}" if holder else ""

    def _clock(self, connection: sa.Connection) -> Any:
        """Return the time as the database stores it: by the clock of the server."""
        return _SERVER_CLOCK if connection.dialect.name == "postgresql" else time.time()

    @property
    def _file(self) -> FileId | None:
        """The identity of the database file; None on a server."""
        if self._connection.file is not None:
            return self._connection.file.id
        path = file_of(self.url)
        return None if path is None else FileId.of(path)

    def _row(self) -> "sa.Row[Any] | None":
        rows = self._connection.rows(LEASE)
        return rows[0] if rows else None

    def _holders(self, rows: "list[sa.Row[Any]]") -> dict[str, Holder]:
        file, ahead, found = self._file, 0.0, {}
        if rows and self._connection.engine.dialect.name == "postgresql":
            query = sa.select(_SERVER_CLOCK)
            ahead = self._connection.ask(lambda connection: float(connection.execute(query).scalar_one())) - time.time()
        for row in rows:
            holder = Holder(row.host, row.pid, row.since, row.heartbeat, row.file, ahead)
            copied = file is not None and holder.file not in (None, str(file)) and holder.host == _host()
            if not copied and row.token not in _GIVEN_UP:
                found[row.study] = holder
        return found


@contextlib.contextmanager
def study_lock(lease: Lease) -> Iterator[None]:
    """Prevent other processes from running the study: on this machine by file locks, elsewhere by the lease.

    Raises:
        StorageError: another process runs the study or, in a file, another study; or the lock file cannot be written.
    """
    path = file_of(lease.url)
    with contextlib.ExitStack() as stack:
        exclusive = False
        if path is not None:
            try:
                exclusive = stack.enter_context(locked(_lock_file(path), create=True))
                # On a network file system this lock would be one of those that SQLite takes on the file.
                if (mount := mount_of(path)) is None or not mount.is_network:
                    exclusive = stack.enter_context(locked(path))
            except LockTakenError:
                raise _busy_file(lease) from None
            except OSError as error:
                raise StorageError(f"{path}: cannot be written: {error.strerror}") from None
        current = lease.holder()
        # This process has the lock, so no other part of it holds the lease.
        mine = exclusive and current is not None and (current.host, current.pid) == (_host(), os.getpid())
        if current is not None and not mine and not current.has_ended:
            raise _busy(lease.url, str(current))
        yield


def _lock_file(path: Path) -> Path:
    """Return the lock file of a database file, the same for all links to it."""
    return Path(f"{path.resolve()}.lock")


def _host() -> str:
    return socket.gethostname()[:255]


def _busy_file(lease: Lease) -> StorageError:
    """Return the error of a file whose lock is taken: by a coordinator of this study, or of another.

    The process that has the lock may not have written its name into the database yet.
    """
    deadline = time.monotonic() + REGISTRATION
    while True:
        running = {study: holder for study, holder in lease.holders().items() if not holder.has_ended}
        if lease.study in running or not (running or time.monotonic() < deadline):
            return _busy(lease.url, str(running.get(lease.study, "another process")))
        if running:
            study, holder = next(iter(running.items()))
            return StorageError(
                f"{display_name(lease.url)}: study '{study}' of this file is run by {holder}, and one study of a file "
                "runs at a time; wait for it, or name another file with --storage"
            )
        time.sleep(0.02)


def _busy(url: str, holder: str) -> StorageError:
    return StorageError(f"{display_name(url)}: {RUN_ELSEWHERE[0]} {holder}; wait for it, or stop it")

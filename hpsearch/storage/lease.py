"""The lease: at most one coordinator runs a study, and a coordinator that has ended loses it.

For a SQLite file, an operating-system lock shows whether the holder is alive; the system releases the lock when the
process ends. The lock is on the file itself, so that it is the same under every name of the file. For a server, and
where a file system has no locks, the heartbeat in the database shows it or, on the same host, the process id.
"""

import contextlib
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Self, final

import sqlalchemy as sa

from hpsearch.core.files.file_lock import FileId, LockTakenError, locked
from hpsearch.core.processes import start_time
from hpsearch.errors import StorageError
from hpsearch.storage.connection import Connection
from hpsearch.storage.database import display_name, file_of, translate_errors
from hpsearch.storage.tables import LEASE

HEARTBEAT = 15.0  # seconds between two heartbeats
REGISTRATION = 1.0  # seconds to wait until a process that has the file lock has written its name into the database
EXPIRY = 120.0  # seconds without a heartbeat after which a coordinator on another host is assumed to have ended
CLOCK_TOLERANCE = 5.0  # seconds by which the clock may have been set between two readings
_COORDINATOR = "coordinator"


class Holder(NamedTuple):
    """The coordinator that holds the lease.

    Attributes:
        since: Unix time at which it began to run the study.
        heartbeat: Unix time of its last heartbeat.
        file: identity of the database file; None on a server.
    """

    host: str
    pid: int
    since: float
    heartbeat: float
    file: str | None = None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {datetime.fromtimestamp(self.since):%Y-%m-%d %H:%M:%S}"

    @classmethod
    def me(cls, file: FileId | None = None) -> Self:
        """Return this process as a holder from now on."""
        now = time.time()
        return cls(_host(), os.getpid(), now, now, None if file is None else str(file))

    @property
    def has_ended(self) -> bool:
        """True if the process has ended without releasing the lease; on another host, if its heartbeat has expired.

        A process of this host that started after the lease was taken has reused the process id.
        """
        if self.host != _host():
            return time.time() - self.heartbeat > EXPIRY
        started = start_time(self.pid)
        return started is None or started > self.since + CLOCK_TOLERANCE


@final
class Lease:
    """The lease of one study database; every write of the database goes through `transaction`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._url = connection.url
        self._token: str | None = None  # of the lease that this process holds
        self._renewed = 0.0  # monotonic time

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lease while a study runs: two coordinators would train every trial twice.

        Raises:
            StorageError: another process holds the lease; the message names the process.
        """
        with study_lock(self._url, self.holder):
            self._connection.check()  # before anything is written
            previous, token = self._row(), uuid.uuid4().hex
            with translate_errors(self._url), self._connection.engine.begin() as connection:
                if previous is not None:  # its process has ended
                    connection.execute(LEASE.delete().where(LEASE.c.token == previous.token))
                row = {"name": _COORDINATOR, "token": token, **Holder.me(self._file)._asdict()}
                try:
                    connection.execute(LEASE.insert().values(row))
                except sa.exc.IntegrityError:
                    where = display_name(self._url)
                    raise StorageError(f"{where}: another process has just begun to run this study") from None
            self._token = token
            try:
                yield
            finally:
                self._token = None
                with contextlib.suppress(StorageError):
                    self._release(token)

    def _release(self, token: str) -> None:
        with translate_errors(self._url), self._connection.engine.begin() as connection:
            connection.execute(LEASE.delete().where(LEASE.c.token == token))

    def holder(self) -> Holder | None:
        """Return the coordinator that holds the lease, which may have ended; None when the lease is free.

        The lease in a copy of the file is that of another study database, so it counts as free.
        """
        row = self._row()
        if row is None:
            return None
        holder, file = Holder(row.host, row.pid, row.since, row.heartbeat, row.file), self._file
        copied = file is not None and holder.file not in (None, str(file)) and holder.host == _host()
        return None if copied else holder

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
        with self.transaction():
            pass

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Yield a transaction that writes; only the holder of the lease can complete one.

        Raises:
            StorageError: another process has taken over the study, or the database cannot be written.
        """
        if self._connection.file is not None:
            self._connection.file.check_present()
        with translate_errors(self._url), self._connection.engine.begin() as connection:
            if self._token is not None:
                mine = LEASE.update().where(LEASE.c.token == self._token).values(heartbeat=time.time())
                if connection.execute(mine).rowcount != 1:
                    holder = self.holder()
                    by = f" by {holder}" if holder else ""
                    raise StorageError(f"{display_name(self._url)}: this study was taken over{by}")
                self._renewed = time.monotonic()
            yield connection

    @property
    def _file(self) -> FileId | None:
        """The identity of the database file; None on a server."""
        if self._connection.file is not None:
            return self._connection.file.id
        path = file_of(self._url)
        return None if path is None else FileId.of(path)

    def _row(self) -> "sa.Row[tuple[object, ...]] | None":
        rows = self._connection.rows(LEASE, LEASE.c.name == _COORDINATOR)
        return rows[0] if rows else None


@contextlib.contextmanager
def study_lock(url: str, holder: Callable[[], Holder | None]) -> Iterator[None]:
    """Prevent other processes from running the study: on this machine by file locks, elsewhere by the lease.

    Args:
        holder: returns the holder of the lease in the database.

    Raises:
        StorageError: another process runs the study, or the lock file cannot be written.
    """
    path = file_of(url)
    with contextlib.ExitStack() as stack:
        exclusive = False
        if path is not None:
            try:
                stack.enter_context(locked(_lock_file(path), create=True))
                exclusive = stack.enter_context(locked(path))
            except LockTakenError:
                raise _busy(url, _wait_for_holder(holder)) from None
            except OSError as error:
                raise StorageError(f"{path}: cannot be written: {error.strerror}") from None
        current = holder()
        # This process has the lock, so no other part of it holds the lease.
        mine = exclusive and current is not None and (current.host, current.pid) == (_host(), os.getpid())
        if current is not None and not mine and not current.has_ended:
            raise _busy(url, current)
        yield


def _lock_file(path: Path) -> Path:
    """Return the lock file of a database file, the same for all links to it."""
    return Path(f"{path.resolve()}.lock")


def _host() -> str:
    return socket.gethostname()[:255]


def _wait_for_holder(holder: Callable[[], Holder | None]) -> Holder | None:
    """Wait for the process that has the file lock to write its name into the database; None if it does not."""
    deadline = time.monotonic() + REGISTRATION
    while ((current := holder()) is None or current.has_ended) and time.monotonic() < deadline:
        time.sleep(0.02)
    return None if current is None or current.has_ended else current


def _busy(url: str, holder: Holder | None) -> StorageError:
    name = str(holder) if holder else "another process"
    return StorageError(f"{display_name(url)}: this study is run by {name}; wait for it, or stop it")

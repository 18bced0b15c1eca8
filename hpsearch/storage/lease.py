"""The lease: at most one coordinator runs a study, and a coordinator that has ended loses it.

For a SQLite file, an operating-system lock shows whether the holder is alive; the system releases the lock when the
process ends. For a server, the heartbeat in the database shows it or, on the same host, the process id.
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
from filelock import FileLock, Timeout

from hpsearch.errors import StorageError
from hpsearch.storage.connection import Connection
from hpsearch.storage.database import display_name, file_of, translate_errors
from hpsearch.storage.tables import LEASE

HEARTBEAT = 15.0  # seconds between two heartbeats
REGISTRATION = 1.0  # seconds to wait until a process that has the file lock has written its name into the database
EXPIRY = 120.0  # seconds without a heartbeat after which a coordinator on another host is assumed to have ended
_COORDINATOR = "coordinator"


class Holder(NamedTuple):
    """The coordinator that holds the lease.

    Attributes:
        since: Unix time at which it began to run the study.
        heartbeat: Unix time of its last heartbeat.
    """

    host: str
    pid: int
    since: float
    heartbeat: float

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {datetime.fromtimestamp(self.since):%Y-%m-%d %H:%M:%S}"

    @classmethod
    def me(cls) -> Self:
        """Return this process as a holder from now on."""
        now = time.time()
        return cls(_host(), os.getpid(), now, now)

    @property
    def has_ended(self) -> bool:
        """True if the process has ended without releasing the lease; on another host, if its heartbeat has expired."""
        if self.host != _host():
            return time.time() - self.heartbeat > EXPIRY
        with contextlib.suppress(PermissionError):
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return True
        return False


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
                row = {"name": _COORDINATOR, "token": token, **Holder.me()._asdict()}
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
        """Return the coordinator that holds the lease, which may have ended; None when the lease is free."""
        row = self._row()
        return None if row is None else Holder(row.host, row.pid, row.since, row.heartbeat)

    def is_running(self) -> bool:
        """Return whether the holder still runs the study; the system may have reused its process id."""
        holder, path = self.holder(), file_of(self._url)
        if holder is None or holder.has_ended:
            return False
        if path is not None and holder.host == _host() and (lock := _lock_file(path)).exists():
            with contextlib.suppress(Timeout, OSError), FileLock(lock, timeout=0):
                return False
        return True

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
        with translate_errors(self._url), self._connection.engine.begin() as connection:
            if self._token is not None:
                mine = LEASE.update().where(LEASE.c.token == self._token).values(heartbeat=time.time())
                if connection.execute(mine).rowcount != 1:
                    holder = self.holder()
                    by = f" by {holder}" if holder else ""
                    raise StorageError(f"{display_name(self._url)}: this study was taken over{by}")
                self._renewed = time.monotonic()
            yield connection

    def _row(self) -> "sa.Row[tuple[object, ...]] | None":
        rows = self._connection.rows(LEASE, LEASE.c.name == _COORDINATOR)
        return rows[0] if rows else None


@contextlib.contextmanager
def study_lock(url: str, holder: Callable[[], Holder | None]) -> Iterator[None]:
    """Prevent other processes from running the study: on this machine by a file lock, elsewhere by the lease.

    Args:
        holder: returns the holder of the lease in the database.

    Raises:
        StorageError: another process runs the study, or the lock file cannot be written.
    """
    path = file_of(url)
    with contextlib.ExitStack() as stack:
        if path is not None:
            lock = FileLock(_lock_file(path))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise _busy(url, _wait_for_holder(holder)) from None
            except OSError as error:
                raise StorageError(f"{path}: cannot be written: {error.strerror}") from None
            stack.callback(lock.release)
        current = holder()
        # This process has the file lock, so a holder on this host has ended.
        same_host = path is not None and current is not None and current.host == _host()
        if current is not None and not same_host and not current.has_ended:
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

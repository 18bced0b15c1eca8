"""The lease: at most one coordinator runs a study, and a coordinator that is gone loses it.

For a SQLite file, a lock of the operating system shows whether the holder is alive; the system releases it with the
process. For a server, the heartbeat in the database shows it, and on the same host the process id.
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
REGISTRATION = 1.0  # seconds in which a process that has the file lock writes its name into the database
EXPIRY = 120.0  # seconds without a heartbeat after which a coordinator on another host counts as gone
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
    def gone(self) -> bool:
        """True for a process that ended without releasing the lease, as far as this host can tell."""
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
        self._token: str | None = None  # of the lease this process holds
        self._renewed = 0.0  # monotonic time

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lease while a study runs: two coordinators would train every trial twice.

        Raises:
            StorageError: another process holds it; the message names the process.
        """
        with study_lock(self._url, self.holder):
            self._connection.check()  # before anything is written
            before, token = self._row(), uuid.uuid4().hex
            with translate_errors(self._url), self._connection.engine.begin() as connection:
                if before is not None:  # its process is gone
                    connection.execute(LEASE.delete().where(LEASE.c.token == before.token))
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
        """Return the coordinator in the database, which may be gone; None when the lease is free."""
        row = self._row()
        return None if row is None else Holder(row.host, row.pid, row.since, row.heartbeat)

    def is_running(self) -> bool:
        """Return whether the holder still runs the study; its process id may have been given to another process."""
        holder, path = self.holder(), file_of(self._url)
        if holder is None or holder.gone:
            return False
        if path is not None and holder.host == _host() and (lock := _lock_file(path)).exists():
            with contextlib.suppress(Timeout, OSError), FileLock(lock, timeout=0):
                return False
        return True

    def heartbeat(self) -> None:
        """Renew the lease, unless it was renewed a short time ago.

        Raises:
            StorageError: another process has taken the study over.
        """
        if self._token is not None and time.monotonic() - self._renewed > HEARTBEAT:
            self.renew()

    def renew(self) -> None:
        """Renew the lease now, which also waits until SQLite's write lock is free.

        Raises:
            StorageError: another process has taken the study over, or the database cannot be written.
        """
        with self.transaction():
            pass

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Yield a transaction that writes; only the holder of the lease can complete one.

        Raises:
            StorageError: another process has taken the study over, or the database cannot be written.
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
    """Keep other processes on this machine, and other known coordinators, from running the study.

    Args:
        holder: returns the holder of the lease in the database.

    Raises:
        StorageError: another process runs it, or the lock file cannot be written.
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
        found = holder()
        here = path is not None and found is not None and found.host == _host()
        if found is not None and not here and not found.gone:  # here: we have its lock, so its process is gone
            raise _busy(url, found)
        yield


def _lock_file(path: Path) -> Path:
    """Return the lock file of a database file, the same for all links to it."""
    return Path(f"{path.resolve()}.lock")


def _host() -> str:
    return socket.gethostname()[:255]


def _wait_for_holder(holder: Callable[[], Holder | None]) -> Holder | None:
    """Return the process that has the file lock, which it may not have written into the database yet."""
    deadline = time.monotonic() + REGISTRATION
    while ((found := holder()) is None or found.gone) and time.monotonic() < deadline:
        time.sleep(0.02)
    return None if found is None or found.gone else found


def _busy(url: str, holder: Holder | None) -> StorageError:
    name = str(holder) if holder else "another process"
    return StorageError(f"{display_name(url)}: this study is run by {name}; wait for it, or stop it")

"""Who runs a study: one coordinator at a time, and the study of one that is gone is free.

On a file a lock of the operating system says whether the holder lives, and goes with it however it ends. On a server
its heartbeat says so, and on the same host its process.
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import NamedTuple, Self

from filelock import FileLock, Timeout

from hpsearch.errors import StorageError
from hpsearch.storage.database import file_of, shown

BEAT = 15.0  # seconds between two signs of life
NAMED = 1.0  # seconds in which whoever has taken the lock says so
SILENT = 120.0  # seconds without one after which a coordinator on another host counts as gone


class Holder(NamedTuple):
    """A coordinator: its host and process, since when it runs the study and when it was last heard of (Unix times)."""

    host: str
    pid: int
    since: float
    beat: float

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {datetime.fromtimestamp(self.since):%Y-%m-%d %H:%M:%S}"

    @classmethod
    def me(cls) -> Self:
        """This process, from now on."""
        now = time.time()
        return cls(socket.gethostname()[:255], os.getpid(), now, now)

    @property
    def gone(self) -> bool:
        """Whether it ended without saying so, as far as can be told from here."""
        if self.host != socket.gethostname()[:255]:
            return time.time() - self.beat > SILENT
        with contextlib.suppress(PermissionError):
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return True
        return False


@contextlib.contextmanager
def held(url: str, holder: Callable[[], Holder | None]) -> Iterator[None]:
    """Nobody else on this machine runs the study, nor, as far as is known, on another.

    Args:
        holder: who has the lease in the database.

    Raises:
        StorageError: somebody does; or the lock cannot be written.
    """
    path = file_of(url)
    with contextlib.ExitStack() as stack:
        if path is not None:
            lock = FileLock(f"{path.resolve()}.lock")  # one for all links to it
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise _busy(url, _named(holder)) from None
            except OSError as error:
                raise StorageError(f"{path}: cannot be written: {error.strerror}") from None
            stack.callback(lock.release)
        who = holder()
        here = path is not None and who is not None and who.host == socket.gethostname()[:255]
        if who is not None and not here and not who.gone:  # here the lock is ours, so its process is not
            raise _busy(url, who)
        yield


def _named(holder: Callable[[], Holder | None]) -> Holder | None:
    """Who has the lock; whoever has just taken it has not said so yet."""
    deadline = time.monotonic() + NAMED
    while ((who := holder()) is None or who.gone) and time.monotonic() < deadline:
        time.sleep(0.02)
    return None if who is None or who.gone else who


def _busy(url: str, who: Holder | None) -> StorageError:
    name = str(who) if who else "another process"
    return StorageError(f"{shown(url)}: this study is run by {name}; wait for it, or stop it")

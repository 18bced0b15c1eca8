"""Locks on files, which the system releases when their process ends, and descriptors that keep SQLite's locks.

A process that closes any descriptor of a file loses all POSIX locks that SQLite holds on it. A descriptor of a file
that this process has open as a database is therefore closed only when the last connection is.
"""

import contextlib
import errno
import os
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}  # the file system has no locks
TAKEN = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}  # another process has the lock
POLL_INTERVAL = 0.02  # seconds


class FileId(NamedTuple):
    """The identity of a file: the same for all of its names."""

    device: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """Return the identity of the file that a path leads to; None if there is none."""
        try:
            status = path.stat()
        except (OSError, ValueError):  # ValueError: no file can have such a name
            return None
        return cls(status.st_dev, status.st_ino)

    def __str__(self) -> str:
        return f"{self.device:x}-{self.inode:x}"


class LockTakenError(Exception):
    """Raised when another process holds a lock."""


# ── descriptors ───────────────────────────────────────────────────────────────────────────────────────────────────────
_guard = threading.Lock()
_in_use: Counter[FileId] = Counter()  # databases that this process has open
_deferred: defaultdict[FileId, list[int]] = defaultdict(list)  # descriptors to close after the last connection


@contextlib.contextmanager
def descriptor(path: Path, flags: int = os.O_RDONLY, mode: int = 0o600) -> Iterator[int]:
    """Open a file without disturbing SQLite's locks on it.

    Raises:
        OSError: the file cannot be opened.
    """
    number = os.open(path, flags | getattr(os, "O_BINARY", 0), mode)
    try:
        yield number
    finally:
        status = os.fstat(number)
        file = FileId(status.st_dev, status.st_ino)
        with _guard:
            if _in_use[file]:
                _deferred[file].append(number)
            else:
                os.close(number)


def begin_use(file: FileId) -> None:
    """Mark a database as open in this process; `end_use` follows once its connections are closed."""
    with _guard:
        _in_use[file] += 1


def end_use(file: FileId) -> None:
    """Undo one `begin_use`."""
    with _guard:
        _in_use[file] -= 1
        if not _in_use[file]:
            del _in_use[file]
            for number in _deferred.pop(file, ()):
                os.close(number)


# ── locks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
@contextlib.contextmanager
def locked(path: Path, timeout: float = 0.0, *, create: bool = False) -> Iterator[bool]:
    """Hold a lock on a file; yield False if its file system has no locks.

    Nothing takes the place of a lock that the system does not have: a file as a marker can be deleted by a process that
    has other rights or sees another state.

    Args:
        timeout: seconds to wait for another process.
        create: create the file if it does not exist. It is never deleted, because the lock is the file's.

    Raises:
        LockTakenError: another process holds the lock.
        OSError: the file cannot be opened.
    """
    flags = os.O_RDWR | (os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) if create else 0)
    with descriptor(path, flags) as number:
        held = _acquire(number, path, time.monotonic() + timeout)
        try:
            yield held
        finally:
            if held:
                _unlock(number)


def _acquire(number: int, path: Path, end: float) -> bool:
    while True:
        try:
            _lock(number)
            return True
        except OSError as error:
            if error.errno in NO_LOCKS:
                return False
            if error.errno not in TAKEN:
                raise
        if time.monotonic() >= end:
            raise LockTakenError(str(path))
        time.sleep(POLL_INTERVAL)


if sys.platform == "win32":

    def _lock(number: int) -> None:
        os.lseek(number, 0, os.SEEK_SET)
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)

    def _unlock(number: int) -> None:
        os.lseek(number, 0, os.SEEK_SET)
        msvcrt.locking(number, msvcrt.LK_UNLCK, 1)

else:

    def _lock(number: int) -> None:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(number: int) -> None:
        fcntl.flock(number, fcntl.LOCK_UN)

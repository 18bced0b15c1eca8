"""Private temporary folders, and the removal of those that a killed process has left.

A folder belongs to its user alone (0700) and holds a file that its process keeps locked. The system releases the lock
when the process ends, in whatever way, so a folder whose lock is free has no owner. Folders without such a file are
never touched.
"""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hpsearch.core.files.file_lock import LockTakenError, locked

PREFIX = "hpsearch-"
LONGEST_FOR_SOCKETS = 57  # characters of the folder; the address of a socket in it has 50 more, at most 107 in all
_SHORT = tuple(map(Path, ("/tmp", "/var/tmp", "/dev/shm")))  # folders that systems have for temporary files
OWNER = "owner.lock"  # the file that the owner keeps locked


def folder_for_sockets() -> Path | None:
    """Return the folder for temporary files or, if its path is too long for sockets, another; None if there is none."""
    folders = (Path(tempfile.gettempdir()), *_SHORT)
    short = (folder for folder in folders if len(str(folder)) <= LONGEST_FOR_SOCKETS)
    return next((folder for folder in short if os.access(folder, os.W_OK | os.X_OK)), None)


@contextlib.contextmanager
def private_folder(parent: Path | None = None) -> Iterator[Path]:
    """Make a temporary folder and remove it at the end; if the process is killed, `remove_abandoned` does.

    Args:
        parent: the folder that holds it; None for that of temporary files.

    Raises:
        OSError: the folder for temporary files cannot be written.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))  # 0700
        stack.callback(shutil.rmtree, folder, ignore_errors=True)  # after the lock is released
        draft = folder / f"{OWNER}.part"  # renamed once it is locked, so that a free lock always means no owner
        stack.enter_context(locked(draft, create=True))
        draft.rename(folder / OWNER)
        yield folder


@contextlib.contextmanager
def private_umask() -> Iterator[None]:
    """Let all files and folders that this process creates belong to its user alone (0600, 0700)."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def remove_abandoned() -> int:
    """Remove the temporary folders of this user whose process has ended, and return their number."""
    count, parents = 0, filter(None, {Path(tempfile.gettempdir()), folder_for_sockets()})
    for folder in sorted(folder for parent in parents for folder in parent.glob(f"{PREFIX}*")):
        with contextlib.suppress(OSError, LockTakenError):
            count += _is_mine(folder) and _remove_if_abandoned(folder)
    return count


def _is_mine(folder: Path) -> bool:
    """Return whether a path is a private folder of this user, and not a link that another user has put there."""
    status = folder.lstat()
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    return private and (not hasattr(os, "getuid") or status.st_uid == os.getuid())


def _remove_if_abandoned(folder: Path) -> bool:
    owner = folder / OWNER
    if owner.is_symlink() or not owner.is_file():
        return False
    with locked(owner) as free:
        if not free:  # a file system without locks says nothing about the owner
            return False
        shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()

"""SQLite files without a write-ahead log, which are safe on a network file system whose locks all machines see.

The log needs memory that all processes share, so they must be on one machine. A rollback journal needs only locks.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hpsearch.core.files.file_lock import descriptor
from hpsearch.core.files.mounts import mount_of
from hpsearch.errors import StorageError
from hpsearch.storage.sqlite_file import ELSEWHERE, retry_while_locked

if sys.platform != "win32":
    import fcntl

_PROBE = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(3)
"""
_TAKEN = 3  # exit code of the probe that finds the lock taken


def check_locks(path: Path) -> None:
    """Check that the locks of a file system are sound, if it is on a network.

    Raises:
        StorageError: they are not.
    """
    mount = mount_of(path)
    if mount is None or not mount.is_network:
        return
    if not mount.has_shared_locks:
        what = f"which {mount.kind} at {mount.point} does not have or is mounted without"
    elif not _excludes(path.absolute().parent):
        what = f"but a lock in {path.absolute().parent} ({mount.kind}) does not keep another process out"
    else:
        return
    raise StorageError(f"{path}: --storage-mode rollback needs locks that all machines see, {what}; {ELSEWHERE}")


def keeps_rollback(path: Path) -> bool:
    """Return whether a file on a network file system exists without a write-ahead log, and so goes without one."""
    mount = mount_of(path)
    if mount is None or not mount.is_network or not path.is_file():
        return False
    with descriptor(path) as number:
        return os.read(number, 20)[18:] == b"\1\1"


def set_rollback_pragmas(connection: Any, _record: Any) -> None:
    """Turn the write-ahead log off; each commit waits until the disk has it."""
    retry_while_locked(lambda: connection.execute("PRAGMA journal_mode=DELETE"))
    connection.execute("PRAGMA synchronous=FULL")


def _excludes(folder: Path) -> bool:
    """Return whether a lock that this process holds on a file keeps another process out."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".hpsearch-lock-") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            command = [sys.executable, "-I", "-S", "-c", _PROBE, file.name]
            return subprocess.run(command, capture_output=True, timeout=30).returncode == _TAKEN
    except (OSError, subprocess.SubprocessError):
        return False

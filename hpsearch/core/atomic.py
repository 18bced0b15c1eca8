"""Files and folders that are written completely or not at all: a draft beside the target takes its place in one step.

Drafts have random names and are created exclusively (`O_EXCL`), so that no symbolic link is followed. A process that is
killed leaves a draft. The next `atomic_file` in the folder clears those of files, the next `replaced_folder` or
`recover_folder` those of the replaced folder. The writer of a draft keeps it locked, and the system releases the lock.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

_EXCLUSIVE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_DRAFT = re.compile(r"\.hpsearch-[0-9a-f]{16}\.part")  # of a file
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux's renameat2
_CANNOT_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)
_NEW, _OLD = ".new", ".old"  # a draft of a folder, or after the exchange the replaced folder; a folder renamed aside


@contextlib.contextmanager
def atomic_file(target: Path, *, replace: bool = True) -> Iterator[BinaryIO]:
    """Open a draft for writing, which becomes `target` at the end of the context; after an error nothing changes.

    Args:
        replace: replace an existing file; a symbolic link is replaced, not followed.

    Raises:
        FileExistsError: the file exists, and `replace` is False.
        OSError: the file cannot be written, or is not a regular file.
    """
    _check_target(target)
    if not replace and os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    _remove_drafts(target.parent)
    draft, descriptor = _new_draft(target)
    lock = os.dup(descriptor)  # keeps the lock until the draft has its name
    try:
        with open(descriptor, "wb") as file:
            yield file
        if os.name == "nt":  # an open file cannot be renamed
            os.close(lock)
            lock = -1
        if replace or not _link(draft, target):
            os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
        if lock >= 0:
            os.close(lock)


def write_atomic(target: Path, text: str, *, replace: bool = True) -> None:
    """Write a text file in UTF-8; see `atomic_file`."""
    with atomic_file(target, replace=replace) as file:
        file.write(text.encode())


def _check_target(target: Path) -> None:
    try:
        status = target.stat()
    except FileNotFoundError:
        status = None
    except ValueError as error:  # a path with a zero byte
        raise OSError(errno.EINVAL, str(error)) from None
    if target.is_dir() or not target.name:
        raise IsADirectoryError(errno.EISDIR, "is a folder; name a file in it")
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is not a regular file")


def _new_draft(target: Path) -> tuple[Path, int]:
    """Create a draft beside a file, and lock it; return its path and its descriptor."""
    while True:
        draft = target.with_name(f".hpsearch-{secrets.token_hex(8)}.part")
        descriptor = os.open(draft, _EXCLUSIVE, 0o666)
        # Before it was locked, another process may have taken it for a leftover.
        if not _lock(descriptor, wait=True) or os.fstat(descriptor).st_nlink:
            return draft, descriptor
        os.close(descriptor)


def _remove_drafts(folder: Path) -> None:
    """Remove drafts of files that killed processes of this user have left in a folder."""
    with contextlib.suppress(OSError):
        for name in [entry.name for entry in os.scandir(folder) if _DRAFT.fullmatch(entry.name)]:
            with contextlib.suppress(OSError), _locked(folder / name, 0) as locked:
                status = (folder / name).lstat()
                if locked and stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
                    os.unlink(folder / name)


def _link(draft: Path, target: Path) -> bool:
    """Give a draft its name unless a file has it; return False on a file system without hard links.

    Raises:
        FileExistsError: a file has the name.
    """
    try:
        os.link(draft, target)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


@contextlib.contextmanager
def replaced_folder(folder: Path, owned: Collection[str]) -> Iterator[Path]:
    """Create a draft folder for writing, which becomes `folder` in one step at the end of the context.

    Args:
        folder: absent, or a folder whose files of the names in `owned` are replaced; its other files are kept.
        owned: names of the files that a version of the folder consists of.

    Raises:
        OSError: the folder cannot be written.
    """
    target = Path(os.path.realpath(folder))  # a symbolic link to a folder remains
    target.parent.mkdir(parents=True, exist_ok=True)
    recover_folder(target, owned)
    draft = target.with_name(f"{_prefix(target)}{secrets.token_hex(8)}{_NEW}")
    draft.mkdir(0o700)
    with _locked(draft):
        try:
            yield draft
            _set_permissions(draft, target)
            _swap(draft, target)
        finally:
            _discard(draft, target, owned)


def _set_permissions(draft: Path, target: Path) -> None:
    """Give a folder and its files the permissions of what they replace; new ones belong to their user alone."""
    for path, replaced, default in ((draft, target, 0o700), *((p, target / p.name, 0o600) for p in draft.iterdir())):
        path.chmod(stat.S_IMODE(replaced.stat().st_mode) if replaced.exists() else default)


def recover_folder(folder: Path, owned: Collection[str]) -> None:
    """Clear what a killed process left beside a folder: restore a folder renamed aside, and delete drafts.

    Drafts of processes that still run, and folders of other users, are not touched.
    """
    target = Path(os.path.realpath(folder))
    prefix = _prefix(target)
    with contextlib.suppress(OSError):
        names = [entry.name for entry in os.scandir(target.parent) if entry.name.startswith(prefix)]
        for name in sorted(names, key=lambda name: not name.endswith(_OLD)):
            leftover = target.with_name(name)
            with contextlib.suppress(OSError), _locked(leftover) as locked:
                if not locked or leftover.lstat().st_uid != os.geteuid():
                    continue
                if name.endswith(_OLD) and not target.exists():
                    leftover.rename(target)
                else:
                    _discard(leftover, target, owned)


def read_folder(folder: Path, limits: Mapping[str, int]) -> dict[str, bytes]:
    """Return files of a folder, all of the same version even if the folder is replaced in the meantime.

    Args:
        limits: file name → maximum number of bytes.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is larger than allowed, or is not a regular file.
    """
    for _ in range(10):
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0))
        try:
            return {name: _read_at(descriptor, name, most) for name, most in limits.items()}
        except FileNotFoundError:
            if os.path.samestat(os.fstat(descriptor), os.stat(folder)):
                raise
        finally:
            os.close(descriptor)
    raise FileNotFoundError(errno.ENOENT, "is replaced all the time", str(folder))


def _read_at(folder: int, name: str, most: int) -> bytes:
    descriptor = os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0), dir_fd=folder)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{name} is not a regular file")
        if status.st_size > most:
            raise ValueError(f"{name} has {status.st_size:,} bytes, at most {most:,} are allowed")
        return file.read(status.st_size)  # a larger number would reserve as much memory


def _prefix(target: Path) -> str:
    """Return the first characters of the names of a folder's drafts; the folder's own name may be too long."""
    return f".hpsearch-{hashlib.blake2b(os.fsencode(target.name), digest_size=6).hexdigest()}-"


def _swap(draft: Path, target: Path) -> None:
    """Put the draft in the place of the target; the draft's name is then absent or that of the replaced folder."""
    if not target.exists() or not any(target.iterdir()):
        draft.rename(target)
    elif not _exchange(draft, target):
        aside = target.with_name(f"{_prefix(target)}{secrets.token_hex(8)}{_OLD}")
        with _locked(target):  # a reader that finds no folder does not restore this one
            target.rename(aside)
            draft.rename(target)
            aside.rename(draft)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; return False where the system or the file system cannot."""
    import ctypes

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # another system than Linux
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    if (number := ctypes.get_errno()) in _CANNOT_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))


def _discard(folder: Path, target: Path, owned: Collection[str]) -> None:
    """Delete a draft or a replaced folder; files of other names are moved to the target."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)) if target.is_dir() else []:
            if entry.name not in owned and not os.path.lexists(target / entry.name):
                os.rename(entry.path, target / entry.name)
        shutil.rmtree(folder)


@contextlib.contextmanager
def _locked(path: Path, flags: int = getattr(os, "O_DIRECTORY", 0)) -> Iterator[bool]:
    """Hold a lock on a folder or file, which its process loses when it ends; yield False if another process has it.

    Args:
        flags: further flags to open it.
    """
    flags |= os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError:
        yield False
        return
    try:
        yield _lock(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, wait: bool = False) -> bool:
    """Lock an open file or folder; return False if the system has no such locks or, without `wait`, it is locked."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (ImportError, OSError):
        return False
    return True

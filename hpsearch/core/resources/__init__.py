"""Resources of the machine that run out: memory, open files, disk space, threads. No trial is to blame for it."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Final, final

EXIT_EXHAUSTED: Final = 75  # exit code of a child process that a shortage ends: EX_TEMPFAIL of sysexits.h

MIN_ADDRESS_SPACE = 512 * 2**20  # bytes of virtual memory; with less, OpenBLAS may never return from its start

_CODES = {  # error number → what has run out
    errno.ENOMEM: "out of memory",
    errno.EMFILE: "too many open files; raise the limit with: ulimit -n",
    errno.ENFILE: "too many open files on this machine",
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "no space left on the disk: its quota is used up",
}
_TEXTS = {  # part of a message of an exception of another type → what has run out
    "can't start new thread": "no more threads can be started: the memory or the number of processes is limited",
    "failed to map segment from shared object": _CODES[errno.ENOMEM],
    "cannot map zero-fill pages": _CODES[errno.ENOMEM],
    "No usable temporary directory": "no folder for temporary files can be written; name one in TMPDIR",
    "annot allocate memory": _CODES[errno.ENOMEM],
    "Too many open files": _CODES[errno.EMFILE],
    "items of ancdata": _CODES[errno.EMFILE],  # multiprocessing, when received files cannot be opened
}


@final
class ResourceExhausted(Exception):
    """A resource of the machine has run out; the message says which."""


def exhausted_resource(error: BaseException | None) -> str | None:
    """Return which resource of the machine has run out, also if another exception was raised because of it.

    Returns:
        One line; None for any other error.
    """
    while error is not None:
        if isinstance(error, ResourceExhausted):
            return str(error)
        if isinstance(error, MemoryError):
            return _with_detail(_CODES[errno.ENOMEM], str(error))
        if isinstance(error, OSError) and error.errno in _CODES:
            return _with_detail(_CODES[error.errno], str(error.filename or ""))
        if isinstance(error, ImportError | RuntimeError | FileNotFoundError) and not isinstance(error, RecursionError):
            text = next((meaning for part, meaning in _TEXTS.items() if part in str(error)), None)
            if text is not None:
                return text
        error = error.__cause__ or error.__context__
    return None


def _with_detail(text: str, detail: str) -> str:
    return f"{text} ({detail.splitlines()[0]})" if detail.strip() else text


def check_address_space() -> None:
    """Check that the limit on virtual memory (`ulimit -v`) lets numeric libraries start.

    Raises:
        ResourceExhausted: it does not.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit not in (-1, resource.RLIM_INFINITY) and limit < MIN_ADDRESS_SPACE:
        needed = MIN_ADDRESS_SPACE // 2**20
        raise ResourceExhausted(
            f"out of memory: the limit is {limit // 2**20} MB, and at least {needed} MB are needed to start;"
            " raise it with: ulimit -v"
        )


def limit_memory(pid: int, size: int) -> None:
    """Limit the memory that a process, and each process that it starts later, may allocate, where the system can.

    Args:
        size: bytes; not counted are files that are mapped.
    """
    try:
        from resource import RLIMIT_DATA, prlimit
    except ImportError:  # only Linux has it
        return
    with contextlib.suppress(OSError, ValueError):  # it has ended, or has a lower limit
        prlimit(pid, RLIMIT_DATA, (size, size))


def physical_memory() -> int:
    """Return the memory of this machine in bytes; 8 GB if it does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 8 << 30


def check_open_files() -> None:
    """Open a file, to learn whether the limit on open files is the reason why a library could not.

    Raises:
        OSError: it is.
    """
    os.close(os.open(os.devnull, os.O_RDONLY))


@contextlib.contextmanager
def exiting_on_shortage() -> Iterator[None]:
    """End this process without a traceback, with `EXIT_EXHAUSTED`, when a resource of the machine runs out."""
    try:
        yield
    except Exception as error:
        if exhausted_resource(error) is None:
            raise
        sys.stderr.flush()
        os._exit(EXIT_EXHAUSTED)

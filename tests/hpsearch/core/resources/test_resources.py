"""Resources that run out: which exceptions mean it, and children that end without a traceback."""

import errno
import os
from typing import Any

import numpy as np
import pytest

from hpsearch.core import resources
from hpsearch.core.resources import (
    EXIT_EXHAUSTED,
    ResourceExhausted,
    check_open_files,
    exhausted_resource,
    exiting_on_shortage,
)


def raised(error: BaseException, cause: BaseException) -> BaseException:
    """Return the error as raised while the cause was handled."""
    try:
        try:
            raise cause
        except BaseException:
            raise error  # noqa: B904 (the implicit context is tested)
    except BaseException as found:
        return found


def oserror(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


FILES = "too many open files; raise the limit with: ulimit -n"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MemoryError(), "out of memory"),
        (MemoryError("Unable to allocate 7 TiB\nfor an array"), "out of memory (Unable to allocate 7 TiB)"),
        (oserror(errno.ENOMEM), "out of memory"),
        (oserror(errno.EMFILE, "rows.npy"), f"{FILES} (rows.npy)"),
        (oserror(errno.ENOSPC, "/tmp/x"), "no space left on the disk (/tmp/x)"),
        (ImportError("libm.so: failed to map segment from shared object"), "out of memory"),
        (ImportError("index.so: cannot map zero-fill pages"), "out of memory"),
        (ImportError("libm.so: cannot open shared object file: Too many open files"), FILES),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), "no folder for temporary"),
        (RuntimeError("can't start new thread"), "no more threads can be started"),
        (ResourceExhausted("out of memory"), "out of memory"),
        (raised(ValueError("odd"), MemoryError()), "out of memory"),
        (raised(ValueError("odd"), raised(KeyError(1), oserror(errno.EMFILE))), FILES),
    ],
    ids=str,
)
def test_shortages(error: BaseException, text: str) -> None:
    found = exhausted_resource(error)
    assert found is not None and found.startswith(text) and "\n" not in found


@pytest.mark.parametrize(
    "error",
    [
        None,
        ValueError("out of memory"),
        oserror(errno.ENOENT, "rows.npy"),
        oserror(errno.EACCES),
        RecursionError("maximum recursion depth exceeded"),
        RuntimeError("odd"),
        ImportError("no module named x"),
        raised(ValueError("odd"), KeyError(1)),
    ],
    ids=str,
)
def test_other_errors(error: BaseException | None) -> None:
    assert exhausted_resource(error) is None


def test_a_real_allocation_that_fails() -> None:
    with pytest.raises(MemoryError) as caught:
        np.ones((2**20, 2**20, 2**10), np.int8)
    found = exhausted_resource(caught.value)
    assert found is not None and found.startswith("out of memory (Unable to allocate 1.00 PiB")


def test_too_many_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    check_open_files()

    def fail(*_: Any) -> int:
        raise oserror(errno.EMFILE)

    monkeypatch.setattr(resources.os, "open", fail)
    with pytest.raises(OSError, match="Too many open files"):
        check_open_files()


def test_children_end_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only when a resource has run out."""
    codes: list[int] = []
    monkeypatch.setattr(resources.os, "_exit", codes.append)
    with exiting_on_shortage():
        raise MemoryError
    assert codes == [EXIT_EXHAUSTED]
    with pytest.raises(ZeroDivisionError), exiting_on_shortage():
        raise ZeroDivisionError
    assert codes == [EXIT_EXHAUSTED]

"""Standard output that is closed or full: it ends no study, and other commands report it in one line."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, final

from hpsearch.errors import OutputError


@final
class GuardedOutput(io.BufferedIOBase):
    """A binary stream that drops what it cannot write.

    Args:
        stream: the stream that is written to.
        name: its name in messages.
        optional: drop the output whatever the reason; else only if the reader of a pipe has closed it, as `head` does.

    Attributes:
        error: the error of the first failure, else None.
    """

    def __init__(self, stream: Any, name: str, *, optional: bool) -> None:
        self._stream = stream
        self._name = name
        self.optional = optional
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        if data:
            self._attempt(lambda: self._stream.write(data))
        return len(data)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def close(self) -> None:
        """Do nothing: the stream belongs to another owner, and a finalizer that fails prints a traceback."""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return bool(self._stream.isatty())

    def fileno(self) -> int:
        return int(self._stream.fileno())

    def _attempt(self, step: Callable[[], object]) -> None:
        """Take a step unless an earlier one failed.

        Raises:
            OutputError: this step or an earlier one failed, and the output is not optional.
        """
        if self.error is None:
            try:
                step()
            except BlockingIOError:  # a terminal or a pipe that is not ready
                return
            except OSError as error:
                self.error = error
                with contextlib.suppress(OSError, ValueError):  # what is buffered is written when Python ends
                    null = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(null, self.fileno())
                    os.close(null)
        if self.error is not None and self.error.errno != errno.EPIPE and not self.optional:
            raise OutputError(f"{self._name}: cannot be written: {self.error.strerror}")


@contextlib.contextmanager
def guarded_output() -> Iterator[None]:
    """Guard standard output and standard error.

    Raises:
        OutputError: standard output cannot be written, and its reader has not closed it.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_guarded("stderr", "standard error", optional=True))
        stack.enter_context(_guarded("stdout", "standard output", optional=False))
        yield


def make_output_optional() -> None:
    """Let the command continue if standard output cannot be written; a warning is printed at the end."""
    if isinstance(buffer := getattr(sys.stdout, "buffer", None), GuardedOutput):
        buffer.optional = True


def output_warning() -> str | None:
    """Return a warning if standard output could not be written and its reader has not closed it."""
    buffer = getattr(sys.stdout, "buffer", None)
    if isinstance(buffer, GuardedOutput) and buffer.error is not None and buffer.error.errno != errno.EPIPE:
        return f"standard output could not be written: {buffer.error.strerror}"
    return None


@contextlib.contextmanager
def _guarded(name: str, label: str, *, optional: bool) -> Iterator[None]:
    """Guard one stream of `sys` unless it is absent or only a text buffer."""
    before: Any = getattr(sys, name)
    if not hasattr(before, "buffer"):
        yield
        return
    before.flush()
    buffer: Any = GuardedOutput(before.buffer, label, optional=optional)
    guarded = io.TextIOWrapper(
        buffer,
        before.encoding,
        before.errors,
        line_buffering=before.line_buffering,
        write_through=True,
    )
    setattr(sys, name, guarded)
    try:
        yield
        guarded.flush()
    finally:
        setattr(sys, name, before)
        buffer.optional = True  # the error was raised where the output was written
        guarded.detach()

"""Isolation of training code: what it changes in its process is restored, and what it prints is not shown."""

import contextlib
import io
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

from threadpoolctl import threadpool_limits

from hpsearch.core.processes import end_descendants
from hpsearch.training.objectives.stepping.generators import generator_states, restore_generators
from hpsearch.training.objectives.stepping.process_group import guard_this_process

_ALONE = threading.Lock()


@contextlib.contextmanager
def isolated(threads: int) -> Iterator[None]:
    """Provide a context for training code.

    The current folder is restored, processes that it started are ended, numeric libraries have `threads` threads, and
    in a worker, its output is dropped. In another process, the global random generators are restored. One thread of a
    process trains at a time, because all this is shared by its threads.
    """
    is_worker = multiprocessing.parent_process() is not None
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ALONE)
        folder, before = os.getcwd(), {} if is_worker else generator_states()
        stack.enter_context(threadpool_limits(threads))
        _limit_torch(threads)
        if is_worker:
            sink: Any = _Sink()
            stack.enter_context(contextlib.redirect_stdout(sink))
            stack.enter_context(contextlib.redirect_stderr(sink))
            stack.callback(end_descendants, os.getpid(), guard_this_process())
            _allow_children()
        stack.callback(os.chdir, folder)
        if before:
            stack.callback(restore_generators, before)
        yield


def _allow_children() -> None:
    """Let this worker start processes by multiprocessing, as data loaders do; daemonic ones must not."""
    with contextlib.suppress(AssertionError):  # it was started in a way that does not allow the change
        multiprocessing.current_process().daemon = False


def _limit_torch(threads: int) -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


class _Sink(io.TextIOBase):
    """A text file that drops what is written."""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return len(text)

"""Garbage collection in processes of our own, and imports in a thread."""

import contextlib
import gc
import sys
from importlib import import_module
from threading import Thread
from typing import final

# Allocations that are not freed before a collection; by default 700 (2,000 since Python 3.13).
_THRESHOLD = 100_000


def collect_rarely() -> None:
    """Let this process look for reference cycles rarely.

    By default this takes a quarter of a coordinator's time, because each look passes over the objects of all imported
    modules, and finds next to nothing.
    """
    gc.set_threshold(_THRESHOLD, 50, 100)


@final
class BackgroundImports:
    """Imports modules in a thread, while the main thread waits for other processes.

    Args:
        modules: names of modules; those that cannot be imported are passed over, and fail where they are needed.
    """

    def __init__(self, *modules: str) -> None:
        self._modules = modules
        self._thread: Thread | None = None

    @property
    def done(self) -> bool:
        """True if no import is left."""
        if self._thread is None:
            return all(name in sys.modules for name in self._modules)
        return not self._thread.is_alive()

    def start(self) -> None:
        if self._thread is None and not self.done:
            self._thread = Thread(target=self._import, name="imports", daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Wait until no import is left."""
        if self._thread is not None:
            self._thread.join()

    def _import(self) -> None:
        for name in self._modules:
            with contextlib.suppress(Exception):
                import_module(name)

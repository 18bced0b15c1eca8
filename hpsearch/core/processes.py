"""Processes of ours: how they are started, and that they end when their coordinator does, however it ends."""

import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import types
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, SpawnContext


def context() -> ForkServerContext | SpawnContext:
    """Children of a small server that has imported what all of them need; of a new interpreter where there is none."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload(["hpsearch.training.trial"])
    return forking


def warm() -> None:
    """Starts the server, which imports what children need while their coordinator still reads its files."""
    if isinstance(context(), ForkServerContext):
        with undisturbed():
            forkserver.ensure_running()


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Children that are started now are deaf to Ctrl-C from their first instruction on; ours waits until after.

    Nor do they run the script that started us again, as Python would have it: they need nothing of it.
    """
    main, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
    try:
        with _deaf():
            yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # a server starts it first, and Python 3.11 lets Ctrl-C through again then
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin(scratch: str) -> threading.Thread:
    """A child's first call: Ctrl-C is the coordinator's business, and nobody outlives it, be it killed.

    Args:
        scratch: the coordinator's temporary folder; a child removes it when the coordinator could not.

    Returns:
        What ends this process once the coordinator has ended; who notices that earlier joins it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(1)

    thread = threading.Thread(target=watch, name="watch", daemon=True)
    thread.start()
    return thread


def kill(pid: int) -> None:
    """Ends a child at once. `Process.kill` would not, once the server that started it is gone."""
    with contextlib.suppress(OSError):  # it has ended by itself
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))

"""Child processes: start methods, signals, and their end with the coordinator, even if the coordinator is killed."""

import contextlib
import functools
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import types
import warnings
from collections.abc import Iterator
from multiprocessing import resource_tracker, util
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from typing import Any

from hpsearch.core.files.temporary import LONGEST_FOR_SOCKETS, folder_for_sockets, private_folder
from hpsearch.core.interpreter import collect_rarely
from hpsearch.core.resources import ResourceExhausted

# Modules that the fork server imports once for all children.
PRELOAD = ["hpsearch.core.resources.child_errors", "hpsearch.training.preload"]
REMOVALS = 100  # attempts
_STARTING = threading.RLock()  # held while a child starts: globals of this process change, and are restored


def process_context() -> ForkServerContext | SpawnContext:
    """Return the multiprocessing context of all child processes: a fork server, or spawn if it is unavailable."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    _use_private_sockets()
    from hpsearch.core.own_forkserver import SERVER, OwnForkServerContext

    SERVER.set_forkserver_preload(PRELOAD)
    return OwnForkServerContext()


@functools.cache
def _use_private_sockets() -> None:
    """Put the folder of multiprocessing's sockets into a private folder, which a later command removes after a kill.

    Raises:
        ResourceExhausted: the path of the folder for temporary files is too long for sockets, and there is no other.
    """
    if multiprocessing.parent_process() is not None:
        return
    parent = folder_for_sockets()
    if parent is None:
        raise ResourceExhausted(
            f"worker processes cannot be reached: the path {tempfile.gettempdir()} is longer than"
            f" {LONGEST_FOR_SOCKETS} characters; name a shorter folder for temporary files in TMPDIR"
        )
    stack = contextlib.ExitStack()
    util.Finalize(None, stack.close, exitpriority=-101)  # multiprocessing empties its folder at -100
    folder = stack.enter_context(private_folder(parent))
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        util.get_temp_dir()  # made once, and kept by multiprocessing
    finally:
        tempfile.tempdir = before


def start_forkserver() -> None:
    """Start the fork server early, so that it imports its modules while the coordinator still reads files."""
    if isinstance(process_context(), ForkServerContext):
        from hpsearch.core.own_forkserver import SERVER

        with starting_children():
            SERVER.ensure_running()


@contextlib.contextmanager
def starting_children() -> Iterator[None]:
    """Provide a context for starting child processes: they ignore Ctrl-C from the start and do not import `__main__`.

    multiprocessing imports the main script in each child and has no option to prevent it. A script that calls
    `hpsearch.run` without an `if __name__ == "__main__"` guard would then start a study in every worker, so `__main__`
    is an empty module while a child starts. multiprocessing also fixes the start method of the whole process; it is
    restored, so that the program that uses us can still choose it.
    """
    default: Any = multiprocessing.context._default_context
    with _STARTING:
        main, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
        chosen = default._actual_context
        try:
            with signals_blocked():
                yield
        finally:
            sys.modules["__main__"] = main
            default._actual_context = chosen


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Block SIGINT and SIGHUP in this thread and in the children it starts; they are delivered here at the end.

    A terminal sends both to all processes; the coordinator stops the study, and the children end with it.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        resource_tracker.ensure_running()  # starting it later would unblock SIGINT on Python 3.11
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def init_worker(scratch: str) -> threading.Thread:
    """Initialize a child process: ignore Ctrl-C, which the coordinator handles, and end when the coordinator ends.

    Warnings, which have no reader here, are ignored: a program that makes them errors means its own.

    Args:
        scratch: the coordinator's temporary folder; the child removes it when the coordinator has ended.

    Returns:
        The thread that ends this process once the coordinator has ended.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    collect_rarely()
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        _remove_folder(scratch)
        os._exit(1)  # sys.exit would end this thread only, not the training in the main thread

    thread = threading.Thread(target=watch, name="watch", daemon=True)
    thread.start()
    return thread


def _remove_folder(folder: str) -> None:
    """Remove a folder that other children remove too, while one of them may still create a file in it."""
    for _ in range(REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return
        time.sleep(0.01)


def start_time(pid: int) -> float | None:
    """Return the Unix time at which a process of this host started; None if it has ended.

    Where the system does not tell, an existing process counts as started at time 0.
    """
    with contextlib.suppress(OSError, LookupError, ValueError, AttributeError):  # it has ended, or this is not Linux
        # The name in the second field may contain spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        ended = fields[0] in "ZX"  # its parent has not noticed yet
        return None if ended else booted + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    try:
        os.kill(pid, 0)
    except PermissionError:
        return 0.0
    except (ProcessLookupError, OverflowError):
        return None
    return 0.0


def kill_process(pid: int) -> None:
    """Kill a child process. `Process.kill` does nothing once the fork server is gone."""
    with contextlib.suppress(OSError):  # the process has ended already
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def descendants(pid: int) -> list[int]:
    """Return the processes below a process, parents first; empty where the system does not tell."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError, ValueError):  # it has ended
                children = [child for child in map(int, task.read_text().split()) if child not in found]
                found += children
                waiting += children
    return found


END_ROUNDS = 100  # at most, of ending processes that start others


def end_descendants(pid: int, keep: int = 0) -> None:
    """Kill the processes below a process.

    Args:
        keep: a process that is left running.
    """
    for _ in range(END_ROUNDS):  # while it is being ended, a process may start another one
        living = [child for child in descendants(pid) if child != keep and start_time(child) is not None]
        for child in living:
            with contextlib.suppress(OSError):
                os.kill(child, getattr(signal, "SIGKILL", signal.SIGTERM))
        if not living:
            break
    if pid == os.getpid():
        with contextlib.suppress(ChildProcessError, AttributeError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass


def memory_of(pid: int) -> int:
    """Return the resident memory of a process and those below it, in bytes; 0 where the system does not tell.

    Pages that several of them share, as after a fork, count once.
    """
    size, below = os.sysconf("SC_PAGE_SIZE"), descendants(pid)
    resident = proportional = 0
    for each in (pid, *below):
        with contextlib.suppress(OSError, ValueError, IndexError):
            resident += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * size
            if below:
                rollup = Path(f"/proc/{each}/smaps_rollup").read_text()
                proportional += int(rollup.partition("\nPss:")[2].split()[0]) * 1024
    return proportional or resident

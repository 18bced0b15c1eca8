"""Child processes: how they start, and how they end."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from hpsearch.core import processes
from hpsearch.core.processes import (
    PRELOAD,
    kill_process,
    process_context,
    signals_blocked,
    start_forkserver,
    starting_children,
)
from hpsearch.core.resources import ResourceExhausted

needs_posix = pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs POSIX signals")

UNGUARDED = """
    import sys, time
    from hpsearch.training.executors import Processes

    print("imported", flush=True)
    executor = Processes(1, sys.argv[1], time.sleep)
    executor.submit(0.0).result(60)
    executor.close()
"""


def test_script_without_a_main_guard(tmp_path: Path) -> None:
    """Workers do not import the main script, which would start workers of its own."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(UNGUARDED))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    ended = subprocess.run(
        [sys.executable, script, tmp_path / "scratch"], env=environment, capture_output=True, text=True, timeout=120
    )
    assert (ended.returncode, ended.stdout) == (0, "imported\n"), ended.stderr


def test_main_module_is_restored() -> None:
    main = sys.modules["__main__"]
    with pytest.raises(ZeroDivisionError), starting_children():
        assert sys.modules["__main__"] is not main
        raise ZeroDivisionError
    assert sys.modules["__main__"] is main


@needs_posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_signals_of_a_terminal_are_delivered_after_the_block(name: str) -> None:
    reached, number = False, getattr(signal, name)
    before = signal.signal(number, signal.default_int_handler)  # a background job of a shell ignores Ctrl-C
    try:
        with pytest.raises(KeyboardInterrupt), signals_blocked():
            signal.pthread_kill(threading.get_ident(), number)  # other threads do not block it
            reached = True
    finally:
        signal.signal(number, before)
    assert reached and number not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_preloaded_modules_exist() -> None:
    """The fork server ignores a module that it cannot import."""
    for name in PRELOAD:
        __import__(name)


def test_forkserver_starts_once() -> None:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("no forkserver on this platform")
    from hpsearch.core.own_forkserver import SERVER

    start_forkserver()
    pid = SERVER._forkserver_pid  # type: ignore[attr-defined]
    start_forkserver()
    assert pid is not None and SERVER._forkserver_pid == pid  # type: ignore[attr-defined]


def test_kill() -> None:
    """A process that has ended already is no error."""
    process = process_context().Process(target=signal.pause, daemon=True)
    with starting_children():
        process.start()
    assert process.pid is not None
    kill_process(process.pid)
    process.join(20)
    assert process.exitcode == -signal.SIGKILL
    kill_process(process.pid)


CHILD = """
from hpsearch.core import processes

processes.PRELOAD.clear()
with processes.starting_children():
    child = processes.process_context().Process(target=print)
    child.start()
child.join()
raise SystemExit(child.exitcode)
"""


@needs_posix
def test_a_long_path_of_temporary_files(tmp_path: Path) -> None:
    """Addresses of sockets have at most 107 characters."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "TMPDIR": str(folder)}
    ended = subprocess.run([sys.executable, "-c", CHILD], env=environment)
    assert ended.returncode == 0 and list(folder.iterdir()) == []


def test_a_child_that_is_started_without_the_context(tmp_path: Path) -> None:
    """The fork server that it starts blocks Ctrl-C as well, so that later workers start with it blocked."""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc")
    code = """
from pathlib import Path
from hpsearch.core import processes

processes.PRELOAD.clear()
child = processes.process_context().Process(target=print)
child.start()
child.join()
from hpsearch.core.own_forkserver import SERVER

print(Path(f"/proc/{SERVER._forkserver_pid}/status").read_text())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    blocked = int(done.stdout.partition("SigBlk:")[2].split()[0], 16)
    assert {number for number in signal.Signals if blocked >> number - 1 & 1} == {signal.SIGINT, signal.SIGHUP}


@needs_posix
def test_no_folder_is_short_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "folder_for_sockets", lambda: None)
    with pytest.raises(ResourceExhausted, match="name a shorter folder for temporary files in TMPDIR"):
        processes._use_private_sockets.__wrapped__()


def test_a_folder_in_which_a_file_is_still_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another child that starts may do so while the folder is removed."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    late = [folder / "late", folder / "later"]

    def rmtree(path: str, ignore_errors: bool) -> None:
        for file in folder.iterdir():
            file.unlink()
        if late:
            late.pop().touch()
        with contextlib.suppress(OSError):
            folder.rmdir()

    monkeypatch.setattr(processes.shutil, "rmtree", rmtree)
    processes._remove_folder(str(folder))
    assert not folder.exists() and late == []

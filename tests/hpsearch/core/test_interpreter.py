"""Garbage collection in processes of our own, and modules that a thread imports before they are needed."""

import gc
import multiprocessing.connection
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpsearch.core.interpreter import BackgroundImports, collect_rarely
from hpsearch.core.processes import init_worker, process_context, starting_children


@pytest.fixture(autouse=True)
def _settings_restored() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def looks(count: int) -> int:
    """Return the number of collections while objects are made that stay alive."""
    gc.collect()
    before = sum(generation["collections"] for generation in gc.get_stats())
    alive = [[number] for number in range(count)]
    return sum(generation["collections"] for generation in gc.get_stats()) - before + 0 * len(alive)


def test_collections_are_rare_and_happen() -> None:
    """Hardly ever while a command makes its objects; cycles do not pile up forever."""
    collect_rarely()
    assert looks(50_000) == 0 < looks(400_000) < 10


def report(pipe: "multiprocessing.connection.Connection", scratch: str) -> None:
    init_worker(scratch)
    pipe.send(looks(50_000))


def test_in_child_processes(tmp_path: Path) -> None:
    """Workers and the tracker."""
    receiver, sender = process_context().Pipe(duplex=False)
    process = process_context().Process(target=report, args=(sender, str(tmp_path / "scratch")), daemon=True)
    with starting_children():
        process.start()
    assert receiver.poll(30) and receiver.recv() == 0
    process.join()


def test_in_commands() -> None:
    """From the start; a program that imports hpsearch keeps its own settings."""
    code = (
        "import gc; before = gc.get_threshold(); import hpsearch.cli as c; assert gc.get_threshold() == before\n"
        "try:\n    c.main()\nfinally:\n    print(gc.get_threshold()[0])"
    )
    done = subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and int(done.stdout.split()[-1]) >= 100_000, done


def test_modules_are_imported_while_the_main_thread_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is missing or fails does not keep the others from being imported."""
    monkeypatch.syspath_prepend(tmp_path)
    names = ("background_slow", "background_absent", "background_wrong", "background_last")
    (tmp_path / "background_slow.py").write_text("import time\ntime.sleep(0.3)\n")
    (tmp_path / "background_wrong.py").write_text("raise ValueError\n")
    (tmp_path / "background_last.py").write_text("")
    imports = BackgroundImports(*names)
    assert not imports.done
    start = time.monotonic()
    imports.start()
    imports.start()
    assert time.monotonic() - start < 0.3 and not imports.done
    imports.wait()
    assert imports.done and {"background_slow", "background_last"} <= sys.modules.keys()
    for name in ("background_slow", "background_last"):
        monkeypatch.delitem(sys.modules, name)


def test_imported_modules_need_no_thread() -> None:
    """Before and after the start."""
    imports = BackgroundImports("sys", "time")
    assert imports.done
    imports.start()
    imports.wait()
    assert imports.done and imports._thread is None

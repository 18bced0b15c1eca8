"""Garbage collection in processes of our own."""

import gc
import multiprocessing.connection
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpsearch.core.garbage import collect_rarely
from hpsearch.core.processes import init_worker, process_context


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
    process.start()
    assert receiver.poll(30) and receiver.recv() == 0
    process.join()


def test_in_commands() -> None:
    """From the start; a program that imports hpsearch keeps its own settings."""
    code = "import gc, hpsearch.cli as c\ntry:\n    c.main()\nfinally:\n    print(gc.get_threshold()[0])"
    done = subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, text=True)
    assert int(done.stdout.split()[-1]) >= 100_000, done
    code = "import gc; before = gc.get_threshold(); import hpsearch.api; assert gc.get_threshold() == before"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

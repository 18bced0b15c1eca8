"""A study whose coordinator and workers are killed at random moments ends like an uninterrupted one."""

import contextlib
import os
import random
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import cases
import killed
import pytest

from tests.crash.test_crash import descendants

pytestmark = [pytest.mark.crash, pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")]

# The study of killed.py, with enough epochs that kills occur during training.
CHANGES: dict[str, Any] = {
    **cases.FULL,
    "train": {"optimizer": "momentum", "epochs": 200, "early_stopping": {"patience": 80, "min_delta": 1e-3}},
    "pruning": {"kind": "promote", "min_epochs": 25, "reduction": 2},
}
PATIENCE = 2  # workers killed per coordinator: a trial that costs three has failed, which changes the table
EACH = 40  # kills per study
EARLY = 0.2  # share of coordinators that may be killed from their first instruction


@final
class Life:
    """A coordinator and the processes below it, each by a file descriptor, so that no other process is killed."""

    def __init__(self, folder: Path) -> None:
        database = folder / "small.db"
        begun = database.exists() and holder(database) is not None
        what: list[str | Path] = ["resume", database] if begun else ["run", cases.write(folder, **CHANGES)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hpsearch", *what, "--workers", "2", "--tracking-uri", "none", "--quiet"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._database = database
        self._below: dict[int, int] = {}  # process id → file descriptor

    def below(self) -> dict[int, str]:
        """Return process id → kind of the living processes below it, including those whose parent was killed."""
        for pid in descendants(self.process.pid) - self._below.keys():
            with contextlib.suppress(ProcessLookupError):
                self._below[pid] = os.pidfd_open(pid)
        found = {}
        for pid, handle in self._below.items():
            if not select.select([handle], [], [], 0)[0]:
                with contextlib.suppress(OSError):
                    found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
        return found

    def begun(self) -> bool:
        """Wait until it has the study and a worker; return False if it ended before."""
        while self.process.poll() is None:
            if holder(self._database) == self.process.pid and len(self.workers()) > 0:
                return True
            time.sleep(0.005)
        return False

    def workers(self) -> list[int]:
        """Return its workers and the fork server, without the resource tracker."""
        return [pid for pid, command in self.below().items() if "forkserver" in command]

    def kill_worker(self, draw: random.Random) -> bool:
        """Kill a worker; return False if there is none."""
        found = self.workers()
        if found and self.process.poll() is None:
            signal.pidfd_send_signal(self._below[draw.choice(found)], signal.SIGKILL)
            return True
        return False

    def kill(self) -> bool:
        """Kill the coordinator; return False if it had ended by itself. No process below may outlive it."""
        self.below()
        self.process.kill()
        self.process.communicate()
        for handle in self._below.values():
            assert select.select([handle], [], [], 60)[0], "processes outlive their coordinator"
        self.close()
        return self.process.returncode == -signal.SIGKILL

    def close(self) -> None:
        for handle in self._below.values():
            os.close(handle)
        self._below.clear()


def holder(database: Path) -> int | None:
    """Return the process that holds the lease, or held it when it was killed."""
    with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(opened(database)) as connection:
        row = connection.execute("SELECT pid FROM hpsearch_lease").fetchone()
        study = connection.execute("SELECT count(*) FROM hpsearch_study").fetchone()
        return row[0] if row and study[0] else None
    return None


def opened(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{database}?mode=rw", uri=True, timeout=60)


def check_intact(database: Path) -> None:
    """Check that the file is intact."""
    with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(opened(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, float]:
    """Return the database of an uninterrupted study, and its seconds of training."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    life = Life(folder)
    assert life.begun()
    begun = time.monotonic()
    _, errors = life.process.communicate()
    seconds = time.monotonic() - begun
    life.close()
    assert life.process.returncode == 0, errors
    with contextlib.closing(opened(folder / "small.db")) as connection:
        states = dict(connection.execute("SELECT state, count(*) FROM hpsearch_trial GROUP BY 1").fetchall())
        (searched,) = connection.execute("SELECT count(*) FROM hpsearch_trial WHERE stage != 'confirm'").fetchone()
    assert states.keys() == {"complete", "pruned", "diverged"} and searched >= 24 and sum(states.values()) > searched
    return killed.dump(folder / "small.db"), seconds


def broken(folder: Path, draw: random.Random, span: float, kills: int) -> Iterator[str]:
    """Run a study to its end with at most `kills` kills; yield which kind of process was killed.

    Args:
        span: seconds within which the moment of a kill lies.
    """
    database = folder / "small.db"
    while True:
        life, spared = Life(folder), PATIENCE
        try:
            early = draw.random() < EARLY
            if early or life.begun():
                while kills and life.process.poll() is None:
                    worker = spared > 0 and draw.random() < 0.6
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        life.process.wait(draw.uniform(0, span * (0.3 if worker else 0.6)))
                    if worker and life.kill_worker(draw):
                        kills, spared = kills - 1, spared - 1
                        yield "worker"
                    elif not worker and life.process.poll() is None and life.kill():
                        kills -= 1
                        yield "coordinator"
                    check_intact(database)
            if life.process.returncode != -signal.SIGKILL:
                _, errors = life.process.communicate()
                assert life.process.returncode == 0, errors
                return
        finally:
            life.process.kill()
            life.process.communicate()
            life.close()


@pytest.mark.parametrize("kills", [6, pytest.param(200, marks=pytest.mark.soak)], ids=["a few", "many"])
def test_killed_at_any_moment(tmp_path: Path, uninterrupted: tuple[str, float], kills: int) -> None:
    """A dead worker is replaced within the same process; a dead coordinator's study is resumed by the next one."""
    want, span = uninterrupted
    draw, done, studies = random.Random(kills), Counter[str](), 0
    while done.total() < kills:
        studies += 1
        folder = tmp_path / str(studies)
        folder.mkdir()
        for who in broken(folder, draw, span, min(kills - done.total(), EACH)):
            done[who] += 1
        assert killed.dump(folder / "small.db") == want, f"study {studies}, after {dict(done)}"
    print(f"{studies} studies, {dict(done)}")
    assert kills < 20 or min(done["worker"], done["coordinator"]) > kills / 5

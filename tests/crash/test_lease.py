"""One coordinator per study: a second one reports the holder of the lease; the lease of an ended one is taken over."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import cases
import pytest

from hpsearch.storage import lease
from hpsearch.storage.lease import Lease
from hpsearch.storage.optuna_mirror import OptunaMirror
from hpsearch.storage.study_tables import StageTable, WeightsTable
from hpsearch.storage.trials import TrialTable
from tests.crash import test_crash, test_faults
from tests.crash.test_faults import LONG, SHORT, TRIALS, Begun, Call, command, ended, finished, refused, run
from tests.hpsearch import test_cli

pytestmark = pytest.mark.crash  # real processes, seconds each

call, memory = test_cli.call, test_crash.memory
study, file = test_faults.study, test_faults.file
short, long, stopped = test_faults.short, test_faults.long, test_faults.stopped

HERE = socket.gethostname()


def rows(file: Path) -> list[tuple[Any, ...]]:
    """Return the lease: host, process, since, heartbeat, token."""
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT host, pid, since, heartbeat, token FROM hpsearch_lease").fetchall()


def put(file: Path, host: str, pid: int, silent: float, token: str = "another's") -> None:
    """Write the lease of another process whose last heartbeat was some seconds ago."""
    beat = time.time() - silent
    with closing(sqlite3.connect(file, timeout=60)) as connection:
        connection.execute("DELETE FROM hpsearch_lease")
        row = ("small", token, host, pid, beat - 60, beat)
        connection.execute(
            "INSERT INTO hpsearch_lease (study, token, host, pid, since, heartbeat, writes) VALUES (?,?,?,?,?,?,0)", row
        )
        connection.commit()


def dump(file: Path) -> str:
    """Return everything a database holds."""
    with closing(sqlite3.connect(file)) as connection:
        return "\n".join(connection.iterdump())


# ── real processes ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_two_coordinators(call: Call, tmp_path: Path, study: Path, file: Path, long: str) -> None:
    """The second exits at once and the first is not affected; reading is allowed."""
    begun = time.time()
    first = command(tmp_path, LONG, file)
    assert test_crash.await_trials(first, file, 1)
    first.send_signal(signal.SIGSTOP)  # so that it runs while the others read
    second = command(tmp_path, LONG, file)
    ((host, pid, since, _, token),) = rows(file)
    assert (host, pid) == (HERE, first.pid) and begun < since < time.time()
    who = f"run by process {first.pid} on {HERE}, since {datetime.fromtimestamp(since):%Y-%m-%d %H:%M:%S}"
    for arguments in (("run", study, "--storage", file), ("resume", file)):
        refused(call(*arguments, "--tracking-uri", "none"), str(file), who)
    shown = call("show", file)
    assert shown.code == 0 and "coarse" in shown.out
    refused(ended(second), str(file), who)
    assert [row[4] for row in rows(file)] == [token]
    first.send_signal(signal.SIGCONT)
    said = ended(first)
    assert said.code == 0, said
    assert cases.table(file) == long and rows(file) == []


def test_killed_coordinator(call: Call, tmp_path: Path, file: Path, long: str) -> None:
    """Its lease is taken over at once, without a message."""
    first = command(tmp_path, LONG, file)
    assert test_crash.await_trials(first, file, 2)
    first.kill()
    first.communicate()
    assert [row[:2] for row in rows(file)] == [(HERE, first.pid)]
    said = ended(command(tmp_path, LONG, file))
    assert said.code == 0 and "process" not in said.err, said
    assert cases.table(file) == long and rows(file) == []


def test_stopped_coordinator(tmp_path: Path, file: Path) -> None:
    """After Ctrl-C there is no lease."""
    process = command(tmp_path, LONG, file)
    assert test_crash.await_trials(process, file, 1)
    assert rows(file)
    process.send_signal(signal.SIGINT)
    assert ended(process).code == 130
    assert rows(file) == []


TEN = textwrap.dedent(
    """
    import os, sys
    from pathlib import Path
    import hpsearch.cli
    study, file, folder = sys.argv[1:]
    sys.argv = ["hpsearch", "run", study, "--storage", file, "--tracking-uri", "none", "--quiet"]
    ready, go = os.pipe()
    children = []
    for number in range(10):
        child = os.fork()
        if child == 0:
            os.close(go)
            out = os.open(f"{folder}/{number}.txt", os.O_WRONLY | os.O_CREAT)
            os.dup2(out, 1)
            os.dup2(out, 2)
            os.read(ready, 1)  # all at once, when the other end is closed
            hpsearch.cli.main(executor="inline")
        children.append(child)
    os.close(go)
    print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
    """
)


@pytest.mark.parametrize("again", [0, *(pytest.param(n, marks=pytest.mark.soak) for n in range(1, 20))])
def test_ten_at_once(memory: Path, tmp_path: Path, file: Path, again: int) -> None:
    """On a file that does not exist yet."""
    long = cases.write(memory, **{**SHORT, "train": {"optimizer": "momentum", "epochs": 400}})
    script = [sys.executable, "-c", TEN, long, file, tmp_path]
    process = subprocess.run(script, capture_output=True, text=True, timeout=180)
    assert process.returncode == 0, process
    codes = [int(code) for code in process.stdout.split()]
    said = [(tmp_path / f"{number}.txt").read_text() for number in range(10)]
    assert sorted(codes) == [0, *[2] * 9], said
    for code, text in zip(codes, said, strict=True):
        line = text.splitlines()[-1]
        assert code == 0 or (line.startswith("error: ") and f"run by process {os.getpid()}" not in line), text
        assert code == 0 or f" on {HERE}, since " in line, text
    assert finished(file) == TRIALS and rows(file) == []


# ── existing leases ───────────────────────────────────────────────────────────────────────────────────────────────────
def test_lease_of_another_host(call: Call, study: Path, file: Path, stopped: Begun, short: str) -> None:
    """On a shared disk, where a file lock has no effect, it is respected until its heartbeat expires."""
    stopped.put(file)
    put(file, "elsewhere", 77, lease.EXPIRY - 20)
    before = dump(file)
    for arguments in (("run", study, "--storage", file), ("resume", file)):
        said = call(*arguments, "--tracking-uri", "none")
        refused(said, str(file), "process 77 on elsewhere, since 20")
    assert dump(file) == before
    assert call("show", file).code == 0
    put(file, "elsewhere", 77, lease.EXPIRY + 5)
    assert run(call, study, file).code == 0
    assert cases.table(file) == short and rows(file) == []


@pytest.mark.parametrize("silent", [0.0, 1e6])
def test_reused_process_id(call: Call, study: Path, file: Path, stopped: Begun, short: str, silent: float) -> None:
    """A process that started after the lease was taken is another one."""
    stopped.put(file)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other:
        put(file, HERE, other.pid, silent)
        assert run(call, study, file).code == 0 and other.poll() is None
    assert cases.table(file) == short and rows(file) == []


# ── lost leases ───────────────────────────────────────────────────────────────────────────────────────────────────────
WRITES: dict[str, tuple[type, str]] = {
    "begin a stage": (StageTable, "begin"),
    "add trials": (TrialTable, "add"),
    "save results": (TrialTable, "save"),
    "count mirrored trials": (OptunaMirror, "count"),
    "mirror trials": (OptunaMirror, "add"),
    "save the champion": (WeightsTable, "save_champion"),
    "heartbeat": (Lease, "heartbeat"),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("number", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_taken_over(
    call: Call, study: Path, file: Path, short: str, write: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the loss of the lease neither we nor Optuna write anything."""
    owner, method = WRITES[write]
    original: Callable[..., Any] = getattr(owner, method)
    seen: list[str] = []
    count = 0

    def taken(self: object, *arguments: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        if count == number or (method == "save_champion" and not seen):
            put(file, "elsewhere", 77, 0.0)
            seen.append(dump(file))
        return original(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(owner, method, taken)
        patch.setattr("hpsearch.storage.lease.HEARTBEAT", 0.0)
        said = run(call, study, file)
    refused(said, str(file), "this study was taken over by process 77 on elsewhere, since 20")
    assert [dump(file)] == seen
    put(file, "elsewhere", 77, 1e6)
    assert run(call, study, file).code == 0
    assert cases.table(file) == short


@pytest.mark.parametrize(
    "moment", ["stages.run.StageRun._advance", "stages.run.StageRun._receive", "loop.score_champion"]
)
def test_no_lease_after_an_error(
    call: Call, study: Path, file: Path, short: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after one of our own errors."""

    def broken(*_: Any) -> None:
        assert len(rows(file)) == 1
        raise ZeroDivisionError

    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(f"hpsearch.study.{moment}", broken)
        run(call, study, file)
    assert rows(file) == []
    changed = cases.write(study.parent, **{**SHORT, "seed": 6})
    said = run(call, changed, file)
    assert said.code == 2 and "seed" in said.err and rows(file) == []
    assert run(call, cases.write(study.parent, **SHORT), file).code == 0
    assert cases.table(file) == short and rows(file) == []

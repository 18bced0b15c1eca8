"""A command whose processes all end with the process that started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpsearch.admin.supervisor import managed_process
from tests.hpsearch.test_cli import Call, call, refused  # noqa: F401


def has_ended(number: int) -> bool:
    """Return whether all processes of a group end within a few seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            os.killpg(number, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


PAIR = """
import os, pathlib, signal, subprocess, sys, time
file = pathlib.Path(sys.argv[1])
def asked(*_):
    file.with_name("asked").touch()
    sys.exit()
signal.signal(signal.SIGTERM, asked)
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'])
file.write_text(str(os.getpgid(0)))
time.sleep(99)
"""


STUBBORN = PAIR.replace("sys.exit()", "time.sleep(99)")


@pytest.mark.parametrize(
    ("end", "program"),
    [
        (signal.SIGTERM, PAIR),
        (signal.SIGKILL, PAIR),
        pytest.param(signal.SIGKILL, STUBBORN, marks=pytest.mark.crash),
    ],
)
def test_no_process_is_left(tmp_path: Path, end: signal.Signals, program: str) -> None:
    """However the process that started a command ends; the command gets SIGTERM first."""
    file = tmp_path / "group"
    command = [sys.executable, "-c", program, str(file)]
    code = f"import time\nfrom hpsearch.admin import supervisor\nwith supervisor.managed_process({command!r}, {{}}):\n"
    with subprocess.Popen([sys.executable, "-c", f"{code}    time.sleep(99)"]) as starter:
        while not (file.exists() and file.read_text()):
            assert starter.poll() is None
            time.sleep(0.02)
        starter.send_signal(end)
    assert has_ended(int(file.read_text())) and (tmp_path / "asked").exists()


@pytest.mark.crash
@pytest.mark.parametrize("harm", [False, True])
def test_stubborn_server(tmp_path: Path, harm: bool) -> None:
    """One that ignores SIGTERM, and one whose supervisor was killed."""
    file = tmp_path / "group"
    with managed_process([sys.executable, "-c", PAIR if harm else STUBBORN, str(file)], {}) as command:
        while not (file.exists() and file.read_text()):
            assert not command.ended(0.02)
        if harm:
            command.supervisor.kill()
    assert has_ended(command.supervisor.pid)

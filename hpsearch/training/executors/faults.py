"""Where a worker was when it crashed or was ended: the line of Python code, from a file that `faulthandler` writes."""

import contextlib
import faulthandler
import os
import re
import signal
import time
from pathlib import Path

DUMP_SECONDS = 0.5  # time for a worker to write where it is
_FRAME = re.compile(r'^  File "(.+)", line (\d+) in ', re.MULTILINE)
_PACKAGES = str(Path(__file__).parents[2])


def record_faults(scratch: str) -> None:
    """Have this worker write where it is when it crashes, or when it gets SIGUSR1."""
    with contextlib.suppress(OSError, AttributeError):  # a platform without SIGUSR1
        file = _file(scratch, os.getpid()).open("wb")
        faulthandler.enable(file)
        faulthandler.register(signal.SIGUSR1, file)


def dump_location(scratch: str, pid: int) -> None:
    """Have a running worker write where it is."""
    path = _file(scratch, pid)
    with contextlib.suppress(OSError, AttributeError):
        os.kill(pid, signal.SIGUSR1)
        end = time.monotonic() + DUMP_SECONDS
        while not path.stat().st_size and time.monotonic() < end:
            time.sleep(0.01)


def fault_location(scratch: str, pid: int) -> str:
    """Return where a worker crashed or was ended, ` at train.py:17`, and remove its file; empty if it is unknown."""
    path = _file(scratch, pid)
    try:
        text = path.read_text("utf-8", "replace")
        path.unlink()
    except OSError:
        return ""
    frames = [(file, line) for file, line in _FRAME.findall(text) if not file.startswith((_PACKAGES, "<"))]
    outside = [f for f in frames if "site-packages" not in f[0] and "/lib/python" not in f[0]]
    return f" at {Path(outside[0][0]).name}:{outside[0][1]}" if outside else ""


def _file(scratch: str, pid: int) -> Path:
    return Path(scratch, f"faults-{pid}")

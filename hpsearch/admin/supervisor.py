"""A command and all that it starts, ended when who started it ends, however that happens.

Between both stands a process that reads a pipe which nobody writes to: it ends the command's whole group once the other
end is closed, which the operating system does even for who is killed. Only who kills that process too, at the same time
as the one before it, leaves the command running.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import IO, NamedTuple

ENDING = 5.0  # seconds a command gets to end by itself
LONGEST = 20_000  # bytes of its log that are read


class Kept(NamedTuple):
    """A command that runs."""

    process: subprocess.Popen[bytes]  # between; its number is the group's
    file: IO[bytes]  # with no name, so that nobody need remove it

    def ended(self, seconds: float) -> bool:
        """Whether it has ended; waits so long for it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
            return True
        return False

    def log(self) -> list[str]:
        """The last lines that it printed, without empty ones."""
        number = self.file.fileno()
        text = os.pread(number, LONGEST, max(0, os.fstat(number).st_size - LONGEST)).decode("utf-8", "replace")
        return [line.strip() for line in text.splitlines() if line.strip()]


@contextlib.contextmanager
def kept(command: list[str], environment: dict[str, str]) -> Iterator[Kept]:
    """Runs a command, apart from the terminal and its Ctrl-C, until the end of the block; then nobody of it is left."""
    between = [sys.executable, "-c", "from hpsearch.admin.supervisor import keep; keep()", *command]
    safe = {"PYTHONSAFEPATH": "1"}  # modules are not looked for in the current folder
    with tempfile.TemporaryFile() as file:
        process = subprocess.Popen(
            between,
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            cwd="/",
            env=os.environ | environment | safe,
            start_new_session=True,
        )
        try:
            yield Kept(process, file)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(ENDING + 2)
            with contextlib.suppress(ProcessLookupError, PermissionError):  # those whom it left when it was killed
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def reason(lines: list[str]) -> str:
    """Of what a command printed before it failed: the last line that names an error, else the last one."""
    named = [line for line in lines if re.search(r"(error|exception)\b[^:]*:|\bERROR\b", line, re.IGNORECASE)]
    return next((line for line in reversed(named) if "sqlalche.me" not in line), (lines or ["it does not say why"])[-1])


def keep() -> None:
    """What stands between: runs the command it was given until that ends or standard input does, and leaves nobody of
    the group behind, not even itself."""
    signal.signal(signal.SIGTERM, lambda *_: None)  # what it sends the group is not meant for itself

    def watch() -> None:
        os.read(0, 1)
        os.killpg(0, signal.SIGTERM)
        time.sleep(ENDING)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL).wait()
    os.killpg(0, signal.SIGKILL)

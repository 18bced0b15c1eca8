"""A command whose processes all end when the process that started it ends, even if that process is killed.

A supervisor process runs the command and reads a pipe that is never written to. The operating system closes the pipe
when its other end closes, and then the supervisor ends the command's process group. The command is left running only
if the supervisor is killed at the same time as the process that started it.
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
from pathlib import Path
from typing import IO, NamedTuple

END_TIMEOUT = 5.0  # seconds between SIGTERM and SIGKILL
_EXIT_LINE = "exit code of the command: "
LOG_BYTES = 20_000  # bytes at the end of the output that `log` reads


class ManagedProcess(NamedTuple):
    """A running command.

    Attributes:
        supervisor: the supervisor process, whose id is that of the process group.
        output: the file that holds its output.
    """

    supervisor: subprocess.Popen[bytes]
    output: IO[bytes]

    def ended(self, seconds: float) -> bool:
        """Return whether the command has ended, after waiting at most `seconds`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.supervisor.wait(seconds)
            return True
        return False

    def log(self) -> list[str]:
        """Return the last lines of the output, without empty lines."""
        number = self.output.fileno()
        text = os.pread(number, LOG_BYTES, max(0, os.fstat(number).st_size - LOG_BYTES)).decode("utf-8", "replace")
        return [line.strip() for line in text.splitlines() if line.strip()]


@contextlib.contextmanager
def managed_process(
    command: list[str], environment: dict[str, str], folder: Path = Path("/"), log: Path | None = None
) -> Iterator[ManagedProcess]:
    """Run a command in its own session, which Ctrl-C does not reach; at the end of the block, end all its processes.

    Args:
        environment: variables added to the environment of this process.
        folder: the current folder of the command.
        log: the file that its output is appended to; None for a file without a name.
    """
    supervisor = [sys.executable, "-c", "from hpsearch.admin.supervisor import supervise; supervise()", *command]
    safe = {"PYTHONSAFEPATH": "1"}  # modules are not imported from the current folder
    with tempfile.TemporaryFile() if log is None else log.open("ab+") as output:
        process = subprocess.Popen(
            supervisor,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=os.environ | environment | safe,
            start_new_session=True,
        )
        try:
            yield ManagedProcess(process, output)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_TIMEOUT + 2)
            with contextlib.suppress(
                ProcessLookupError, PermissionError
            ):  # the remaining processes, if the supervisor was killed
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def error_line(lines: list[str]) -> str:
    """Return the line of a failed command's output that names the error: the last such line, or the last line."""
    lines = [line for line in lines if not line.startswith(_EXIT_LINE)]
    errors = [line for line in lines if re.search(r"(error|exception)\b[^:]*:|\bERROR\b", line, re.IGNORECASE)]
    return next((line for line in reversed(errors) if "sqlalche.me" not in line), (lines or ["no error message"])[-1])


def exit_code(lines: list[str]) -> int | None:
    """Return the exit code that an output ends with; None if the command and its supervisor were killed."""
    last = lines[-1] if lines else ""
    return int(last.removeprefix(_EXIT_LINE)) if last.startswith(_EXIT_LINE) else None


def supervise() -> None:
    """Run the command in `sys.argv` until it ends or standard input closes, then kill the process group.

    The last line of the output is the exit code.
    """
    signal.signal(signal.SIGTERM, lambda *_: None)  # sent to the group below, but meant for the command

    def watch() -> None:
        os.read(0, 1)
        os.killpg(0, signal.SIGTERM)
        time.sleep(END_TIMEOUT)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    code = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL).wait()
    print(f"{_EXIT_LINE}{code}", flush=True)  # the supervisor itself is killed with the group
    os.killpg(0, signal.SIGKILL)

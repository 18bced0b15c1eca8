"""Process groups that end with this process, even if it is killed.

A guard process, one for each process that starts groups, reads a pipe with the groups that run now; when the pipe ends
or the process has ended, it kills them. A program starts only after its group is known to the guard.
"""

import contextlib
import ctypes
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import final

from hpsearch.core.processes import descendants

# Waits for a line, so that nothing runs if this process ends before the guard knows the group.
_START = 'read -r _ || exit 125; exec "$@" < /dev/null'
PR_SET_CHILD_SUBREAPER = 36  # of Linux
_GUARD = """
import os, select, signal
parent, groups, rest = os.getppid(), set(), b""
while os.getppid() == parent:  # processes that it forks hold the pipe open
    if not select.select([0], [], [], 0.2)[0]:
        continue
    content = os.read(0, 65536)
    if not content:
        break
    *lines, rest = (rest + content).split(b"\\n")
    for action, group in map(bytes.split, lines):
        (groups.add if action == b"+" else groups.discard)(int(group))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""


@final
class ProcessGroup:
    """A program in a process group of its own; its output and errors are pipes.

    Args:
        folder: its current folder.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, arguments: list[str], folder: str, environment: Mapping[str, str]) -> None:
        guard = _guard(os.getpid())
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", _START, "sh", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder or None,
            env=environment,
            start_new_session=True,
        )
        assert guard.stdin is not None and self.process.stdin is not None
        self._guard = guard
        self._tell("+")
        with contextlib.suppress(OSError):  # it has been killed
            self.process.stdin.write(b"\n")
            self.process.stdin.close()

    def kill(self) -> None:
        """Kill the group, and processes below it that have left it."""
        pid = self.process.pid
        below = descendants(pid)
        self.kill_rest()
        for other in below:
            with contextlib.suppress(OSError):
                os.kill(other, signal.SIGKILL)
        self.process.wait()
        self._tell("-")

    def kill_rest(self) -> None:
        """Kill the processes of the group, also if the program has ended."""
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def close_pipes(self) -> None:
        """Close the pipes, which no thread may be reading."""
        for pipe in (self.process.stdout, self.process.stderr, self.process.stdin):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _tell(self, action: str) -> None:
        _tell(self._guard, action, self.process.pid)


def guard_this_process() -> int:
    """Make this process the leader of a group that ends with it, with all processes that it starts; return its guard.

    Where the system does not allow it, processes that training code starts may outlive a worker that is killed.
    """
    guard = _guard(os.getpid())
    _adopt_orphans(os.getpid())
    if os.getpgid(0) != os.getpid():
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
            _tell(guard, "+", os.getpid())
    return guard.pid


@functools.lru_cache(maxsize=1)
def _adopt_orphans(pid: int) -> None:
    """Make this process the parent of orphans below it, so that they are found when they are to be ended."""
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _tell(guard: "subprocess.Popen[bytes]", action: str, group: int) -> None:
    assert guard.stdin is not None
    guard.stdin.write(f"{action} {group}\n".encode())
    guard.stdin.flush()


@functools.lru_cache(maxsize=1)
def _guard(pid: int) -> "subprocess.Popen[bytes]":
    """Return the guard of a process, which is in a session of its own, so that no signal to a group reaches it."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _GUARD],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )

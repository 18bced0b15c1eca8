"""Clusters of Dask's own commands, whose workers and schedulers are killed and started again."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DASK_README = REPOSITORY / "hpsearch" / "training" / "executors" / "dask" / "README.md"
WITHOUT_HPSEARCH = "import sys; sys.modules['hpsearch'] = None; from distributed.cli.dask_worker import main; main()"


def make_certificates(folder: Path) -> None:
    """Run the commands of the recipe, which write ca.pem, cert.pem and key.pem."""
    commands = re.search(r"```sh\n(openssl.*?)```", DASK_README.read_text("utf-8"), re.DOTALL)
    assert commands is not None
    subprocess.run(["bash", "-ec", commands[1]], cwd=folder, check=True, capture_output=True)


class Commands:
    """A cluster of Dask's own commands, whose workers are started again when they end, as a supervisor does.

    Args:
        options: for the scheduler and all workers.
        host: the address of the machine of the scheduler.
        machine: a command that runs another one on that machine; empty for this one.
    """

    def __init__(self, folder: Path, *options: str, host: str = "127.0.0.1", machine: Sequence[str] = ()) -> None:
        self._folder, self._options, self._host, self._machine = folder, options, host, machine
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.address = f"{'tls' if options else 'tcp'}://{host}:{self._port}"
        self._processes: list[subprocess.Popen[bytes]] = []
        self.start_scheduler()

    def start_scheduler(self) -> None:
        where = ("--host", self.address.rpartition(":")[0], "--port", str(self._port), "--no-dashboard")
        command = [sys.executable, "-m", "dask", "scheduler", *where, *self._options]
        self.scheduler = self._start([*self._machine, *command])
        while True:
            with contextlib.suppress(OSError), socket.create_connection((self._host, self._port), 1):
                return
            assert self.scheduler.poll() is None, "the scheduler has ended"
            time.sleep(0.02)

    def add_worker(self, *options: str, again: bool = True, machine: Sequence[str] = ()) -> None:
        rest = ("--no-dashboard", "--local-directory", str(self._folder), *self._options, *options)
        command = [sys.executable, "-m", "dask", "worker", self.address, *rest]
        loop = ["bash", "-c", 'while :; do "$@"; sleep 0.1; done', "sh", *machine, *command]
        self._start(loop if again else [*machine, *command])

    def add_worker_without_hpsearch(self) -> None:
        rest = (self.address, "--no-nanny", "--no-dashboard", "--local-directory", str(self._folder))
        self._start([sys.executable, "-c", WITHOUT_HPSEARCH, *rest])

    def worker_pids(self) -> list[int]:
        """Return the processes that train: children of nannies."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self._folder) in (process / "environ").read_text(errors="replace"):
                    command = (process / "cmdline").read_text(errors="replace")
                    if "spawn_main" in command:
                        found.append(int(process.name))
        return found

    def kill_worker(self) -> None:
        """Kill a process that trains."""
        os.kill(self.worker_pids()[0], signal.SIGKILL)

    def restart(self) -> None:
        """Kill the scheduler, and start another one at its address."""
        self.scheduler.kill()
        self.scheduler.wait()
        self.start_scheduler()

    def close(self) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _start(self, command: list[str]) -> "subprocess.Popen[bytes]":
        paths = [str(REPOSITORY), *(str(REPOSITORY / "tests" / name) for name in ("hpsearch", "crash", "benchmarks"))]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "CLUSTER_FOLDER": str(self._folder)}
        log = (self._folder / f"{len(self._processes)}.log").open("wb")
        with log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        self._processes.append(process)
        return process

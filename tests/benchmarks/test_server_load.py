"""A server under load while two studies train: 50 clients that poll and 50 on event streams.

    python -m pytest -n 0 -m bench -s tests/benchmarks/test_server_load.py

The clients are threads of one process, on the same cores as the server and the studies.
"""

import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest

from hpsearch.errors import HpsearchError
from hpsearch.server.client import Client

pytestmark = pytest.mark.bench
SECONDS = float(os.environ.get("LOAD_SECONDS", "60"))
POLLERS, STREAMS, PAUSE = 50, 50, 1.0  # seconds between two polls of a client
STUDY: dict[str, Any] = {
    "data": {"source": "sklearn", "name": "digits"},
    "train": {"optimizer": "momentum", "epochs": 1500, "early_stopping": None},  # seconds
    "stages": [{"name": "coarse", "trials": 20_000}],
    "pruning": "none",
}


def memory(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, without that of its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def finished(client: Client, ids: list[str]) -> int:
    return sum(client.study(id)["finished"] for id in ids)


def test_load(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hpsearch", "serve", "--root", str(tmp_path / "root"), "--port", "0"]
    command += ["--jobs", "2", "--tracking-uri", "none"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONUNBUFFERED": "1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True}
    with ExitStack() as stack, subprocess.Popen(command, env=environment, **pipes) as server:
        assert server.stdout is not None
        link = server.stdout.readline().strip()
        client, (address, token) = Client(link), link.removeprefix("http://").split("/#token=")
        ids = []
        for seed in range(2):
            (tmp_path / str(seed)).mkdir()
            ids.append(client.submit(cases.write(tmp_path / str(seed), **STUDY, seed=seed))["id"])
        while any(client.study(id)["finished"] < 3 for id in ids):
            time.sleep(0.2)
        before, begun = finished(client, ids), time.monotonic()
        time.sleep(SECONDS / 2)
        alone = (finished(client, ids) - before) / (time.monotonic() - begun)

        end, waits, errors, events = time.monotonic() + SECONDS, [], [], [0]

        def poll(number: int) -> None:
            connection = stack.enter_context(closing(HTTPConnection(address, timeout=30)))
            time.sleep(number * PAUSE / POLLERS)
            while time.monotonic() < end:
                try:
                    asked = time.perf_counter()
                    path = f"/api/v1/studies/{ids[number % 2]}"
                    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
                    answer = connection.getresponse()
                    answer.read()
                    waits.append(time.perf_counter() - asked)
                    if answer.status != 200:
                        errors.append(str(answer.status))
                except OSError as error:
                    errors.append(repr(error))
                time.sleep(PAUSE)

        def stream(number: int) -> None:
            with suppress(HpsearchError):
                for _ in Client(link).events(ids[number % 2]):
                    events[0] += 1
                    if time.monotonic() > end:
                        return

        threads = [threading.Thread(target=poll, args=(n,)) for n in range(POLLERS)]
        threads += [threading.Thread(target=stream, args=(n,)) for n in range(STREAMS)]
        before, begun, sizes = finished(client, ids), time.monotonic(), []
        spent = [-cpu_seconds(server.pid), -cpu_seconds(os.getpid())]
        for thread in threads:
            thread.start()
        while time.monotonic() < end:
            sizes.append(memory(server.pid))
            time.sleep(1)
        loaded = (finished(client, ids) - before) / (time.monotonic() - begun)
        spent = [spent[0] + cpu_seconds(server.pid), spent[1] + cpu_seconds(os.getpid())]
        for id in ids:
            client.cancel(id)
        for thread in threads:
            thread.join()
        server.terminate()
        server.wait(30)
    p50, p95, p99 = np.quantile(waits, [0.5, 0.95, 0.99]) * 1000
    print(f"{len(waits)} polls: median {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms; {events[0]} events")
    print(f"trials per second: {alone:.2f} alone, {loaded:.2f} with clients, {1 - loaded / alone:.1%} fewer")
    shares = [seconds / SECONDS / (os.cpu_count() or 1) for seconds in spent]
    print(f"share of all CPUs: server {shares[0]:.1%}, clients {shares[1]:.1%}")
    print(f"memory of the server: {sizes[0]:.0f} MB at first, {max(sizes):.0f} at most, {sizes[-1]:.0f} at last")
    assert errors == [] and p95 <= 200 and shares[0] <= 0.1
    assert max(sizes) <= 250 and sizes[-1] <= sizes[len(sizes) // 2] + 10  # flat

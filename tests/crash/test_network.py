"""A study on two machines, here network namespaces, with TLS, whose network is cut for a while.

The certificates are those of the recipe in hpsearch/training/executors/dask/README.md.
"""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cases
import dask
import distributed  # noqa: F401  # sets the defaults of its configuration
import pytest
from clusters import Commands, make_certificates

from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.study.stages import training
from hpsearch.training.executors import Inline, open_cluster
from hpsearch.training.executors.dask import connection, serving
from hpsearch.training.executors.dask.address import Certificates, ClusterAddress
from hpsearch.training.task import Outcome, Task
from hpsearch.training.trial import advance

pytestmark = pytest.mark.crash
TCP_SECONDS = 11  # the shortest timeout that Dask accepts
WIRES = ("lo", "eth0")
BRIDGE, NETWORK = f"hps{os.getpid() % 100_000}", "10.213.7"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def reason_to_skip() -> str | None:
    """Return why this process cannot make networks of its own; None if it can."""
    if shutil.which("ip") is None:
        return "needs ip, of the package iproute2"
    try:
        ip("netns", "add", BRIDGE)
        ip("netns", "del", BRIDGE)
    except subprocess.CalledProcessError as error:
        return f"needs the right to make network namespaces: {error.stderr.decode().strip()}"
    return None


class Network:
    """Machines with a cable each to one switch; this process is on the switch."""

    def __init__(self) -> None:
        self._machines: list[str] = []
        ip("link", "add", BRIDGE, "type", "bridge")
        ip("address", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")

    def add(self) -> tuple[str, str]:
        """Return the name and the address of a new machine."""
        name, host = f"{BRIDGE}m{len(self._machines)}", f"{NETWORK}.{len(self._machines) + 2}"
        ip("netns", "add", name)
        self._machines.append(name)
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", name, "up", "master", BRIDGE)
        for arguments in (("address", "add", f"{host}/24", "dev", "eth0"), *(("link", "set", d, "up") for d in WIRES)):
            ip("-n", name, *arguments)
        return name, host

    def cut(self, name: str) -> None:
        """Drop everything from and to a machine, without a word to either side."""
        ip("link", "set", name, "nomaster")

    def join(self, name: str) -> None:
        ip("link", "set", name, "master", BRIDGE)

    def close(self) -> None:
        for name in self._machines:
            ip("netns", "del", name)
        ip("link", "del", BRIDGE)


def on(machine: str) -> tuple[str, ...]:
    """Return the start of a command that runs on a machine."""
    return "ip", "netns", "exec", machine, "env", f"MACHINE={machine}"


def noted_task(task: Task) -> Outcome:
    """Train for a while until the network is whole again, and note on which machine."""
    folder = Path(os.environ["CLUSTER_FOLDER"])
    if not (folder / "whole").exists():
        time.sleep(float(os.environ["TASK_SECONDS"]))
    outcome = advance(task)
    with (folder / f"trained-{os.environ['MACHINE']}").open("a") as file:
        file.write(".")
    return outcome


@pytest.fixture(scope="module")
def spec() -> Spec:
    return cases.small(**cases.FULL)


@pytest.fixture(scope="module")
def dataset(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare(spec.data, spec.seed, tmp_path_factory.mktemp("data"))[0]


@pytest.fixture(scope="module")
def table(spec: Spec, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
    database = tmp_path_factory.mktemp("reference") / "small.db"
    cases.run(spec, dataset, database, Inline())
    return cases.table(database)


@pytest.fixture
def network() -> Iterator[Network]:
    if reason := reason_to_skip():
        pytest.skip(reason)
    made = Network()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    make_certificates(tmp_path)
    return Certificates(*(tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")))


@pytest.fixture
def cluster(tmp_path: Path, network: Network, certificates: Certificates) -> Iterator[Callable[[], Any]]:
    """Yield a function that starts a scheduler and a worker on a machine, and a worker on another one."""
    with contextlib.ExitStack() as stack:

        def start() -> Any:
            (scheduler, host), (worker, _) = network.add(), network.add()
            options = (
                f"--tls-{name}={path}" for name, path in zip(("ca-file", "cert", "key"), certificates, strict=True)
            )
            folder = tmp_path / "cluster"
            folder.mkdir()
            commands = Commands(folder, *options, host=host, machine=on(scheduler))
            stack.callback(commands.close)
            for machine in (scheduler, worker):
                commands.add_worker("--nthreads", "1", machine=on(machine))
            return commands, scheduler, worker

        yield start


@pytest.mark.parametrize(
    ("cut", "seconds"),
    [
        ("worker", TCP_SECONDS + 2),
        pytest.param("scheduler", 4, marks=pytest.mark.soak),
        *(pytest.param(cut, 60, marks=pytest.mark.soak) for cut in ("scheduler", "worker")),
    ],
)
def test_cut(
    spec: Spec,
    dataset: Dataset,
    table: str,
    tmp_path: Path,
    network: Network,
    cluster: Callable[[], Any],
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    cut: str,
    seconds: int,
) -> None:
    """The study continues with the other worker, and the one that was cut off comes back.

    The short cuts have shortened timeouts.
    """
    if short := seconds < 60:
        monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP", f"{TCP_SECONDS}s")
        monkeypatch.setattr(serving, "SILENCE", 1.0)
        monkeypatch.setattr(connection, "CONNECT_SECONDS", 1.0)
    monkeypatch.setenv("TASK_SECONDS", str(seconds / 120))
    monkeypatch.setattr(training, "TIME_SLICE", 0.0)  # a task after every epoch
    commands, *machines = cluster()
    machine = machines[cut == "worker"]

    def trained(name: str) -> int:
        path = tmp_path / "cluster" / f"trained-{name}"
        return len(path.read_text()) if path.exists() else 0

    since = joined = 0.0
    before, seen = list[int](), list[int]()

    def stop() -> bool:
        nonlocal since, joined
        now = time.monotonic()
        if not since and min(map(trained, machines)) > 5:
            before.extend(map(trained, machines))
            network.cut(machine)
            since = now
        elif since and not joined and now - since > seconds:
            seen.extend(map(trained, machines))
            network.join(machine)
            joined = now
        elif joined and all(trained(name) > count + 2 for name, count in zip(machines, seen, strict=True)):
            (tmp_path / "cluster" / "whole").touch()
        return False

    with dask.config.set({"distributed.comm.timeouts.tcp": f"{TCP_SECONDS if short else 30}s"}):
        executor: Any = open_cluster(ClusterAddress.parse(commands.address, certificates), str(tmp_path), noted_task)
        try:
            cases.run(spec, dataset, tmp_path / "small.db", executor, stop=stop)
            assert joined and executor.workers == 2
        finally:
            executor.close()
    assert all(trained(name) > count for name, count in zip(machines, seen, strict=True))
    if cut == "worker":
        assert seen[0] > before[0] + 5, "the other worker has not trained meanwhile"
    assert cases.table(tmp_path / "small.db") == table

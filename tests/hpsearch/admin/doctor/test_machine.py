"""Checks of the installation and the machine."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement

from hpsearch.admin.doctor import machine
from hpsearch.core.files import mounts, temporary
from hpsearch.core.files.temporary import OWNER, PREFIX
from tests.hpsearch.admin.doctor.doctor_cases import bad, check, only


def test_python(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [f.level for f in machine.check_python()] == ["ok"]
    monkeypatch.setattr(sys, "version_info", (3, 10, 9))
    only(list(machine.check_python()), "FAIL", "Python 3.10.9", ">=3.11", "venv")


def test_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = metadata.distributions
    needed = {r.name: str(r.specifier) for r in map(Requirement, metadata.requires("hpsearch") or ())}

    def distributions(name: str) -> Iterable[Any]:
        return [SimpleNamespace(version=others[name])] if name in others else [] if name in absent else sound(name=name)

    monkeypatch.setattr(metadata, "distributions", distributions)
    absent, others = set[str](), {"torch": "2.13.1"}
    assert bad(list(machine.check_packages())) == []
    absent, others = {"torch"}, {"optuna": "3.9.0"}
    only(
        list(machine.check_packages()),
        "FAIL",
        "optuna 3.9.0",
        needed["optuna"],
        f"-m pip install 'optuna{needed['optuna']}'",
    )
    assert any("torch is not installed" in f.text for f in machine.check_packages())
    absent, others = {"mlflow"}, {"torch": "1.0"}
    assert {(f.level, f.text.split()[0]) for f in bad(list(machine.check_packages()))} == {
        ("FAIL", "mlflow"),
        ("warn", "torch"),
    }
    assert not any("pytest" in f.text for f in machine.check_packages())


def test_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    import threadpoolctl

    before = threadpoolctl.threadpool_info()
    found = list(machine.check_blas())
    assert found and bad(found) == [] and "in a worker" in found[0].text
    assert threadpoolctl.threadpool_info() == before
    monkeypatch.setattr(threadpoolctl, "threadpool_limits", lambda count: contextlib.nullcontext())
    pool = {"user_api": "blas", "internal_api": "openblas", "version": "1", "num_threads": 8, "architecture": "Zen"}
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: [pool])
    only(list(machine.check_blas()), "warn", "kernels Zen", "8 threads", "OMP_NUM_THREADS=1")
    monkeypatch.setattr(threadpoolctl, "threadpool_info", list)
    only(list(machine.check_blas()), "warn", "OMP_NUM_THREADS=1")


def test_cpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "cpu_quota", lambda: None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert bad(list(machine.check_cpus())) == []
    monkeypatch.setattr(machine, "cpu_quota", lambda: 2.5)
    only(list(machine.check_cpus()), "warn", "8", "2.5", "--workers 2")
    monkeypatch.setattr(machine, "cpu_quota", lambda: 0.5)
    only(list(machine.check_cpus()), "warn", "--workers 1")


def test_quota(tmp_path: Path) -> None:
    """The lowest limit of a control group and its parents applies, in both versions of control groups."""
    root, mine = tmp_path / "cgroup", tmp_path / "mine"
    assert machine.cpu_quota(root, mine) is None
    (root / "a/b").mkdir(parents=True)
    mine.write_text("0::/a/b\n")
    assert machine.cpu_quota(root, mine) is None
    (root / "a/b/cpu.max").write_text("max 100000\n")
    assert machine.cpu_quota(root, mine) is None
    (root / "a/cpu.max").write_text("150000 100000\n")
    assert machine.cpu_quota(root, mine) == 1.5
    (root / "a/b/cpu.max").write_text("50000 100000\n")
    assert machine.cpu_quota(root, mine) == 0.5
    (root / "cpu,cpuacct").mkdir()
    mine.write_text("2:cpu,cpuacct:/docker/x\n")
    (root / "cpu,cpuacct/cpu.cfs_quota_us").write_text("-1\n")
    (root / "cpu,cpuacct/cpu.cfs_period_us").write_text("100000\n")
    assert machine.cpu_quota(root, mine) is None
    (root / "cpu,cpuacct/cpu.cfs_quota_us").write_text("300000\n")
    assert machine.cpu_quota(root, mine) == 3.0


@pytest.mark.parametrize(("free", "level"), [(2e9, "ok"), (9.9e8, "warn"), (4e7, "FAIL")])
def test_room(here: Path, monkeypatch: pytest.MonkeyPatch, free: float, level: str) -> None:
    class Usage(NamedTuple):
        free: float

    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(free))
    found = list(machine.check_disks(["a.db", "postgresql://x/y"], "none"))
    assert {f.level for f in found} == {level}
    assert all("MB free" in f.text and f.remedy for f in bad(found))
    assert any(str(here) in f.text for f in found)


def test_network_file_system(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found for databases that exist, and for the folder that a study would use."""
    (here / "mounts").write_text(f"1 0 8:0 / / rw - ext4 /dev/a rw\n2 1 0:9 / {here} rw - nfs4 host:/home rw\n")
    monkeypatch.setattr(mounts, "MOUNTS", here / "mounts")
    for names, tracking in (((), "none"), (("a.db",), "none"), (("/a.db",), f"sqlite:///{here}/mlflow.db")):
        found = list(machine.check_network(names, tracking))
        only(found, "FAIL", f"{here} is on a network file system (nfs4 at {here})", "--storage", "set HPSEARCH_ALLOW")
    assert list(machine.check_network(["/a.db", "postgresql://x/y"], "http://host")) == []


def test_temporary_files_of_killed_processes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(here))
    monkeypatch.setattr(temporary, "_SHORT", ())
    assert list(machine.check_temporary_files()) == []
    (left := here / f"{PREFIX}left").mkdir(mode=0o700)
    (left / OWNER).touch()
    (found,) = machine.check_temporary_files()
    assert str(found) == f"ok    temporary files: 1 folder of killed processes removed in {here}"
    assert list(here.iterdir()) == []


def test_folder_that_cannot_be_written(here: Path) -> None:
    """Even root cannot write in /proc."""
    assert bad(list(machine.check_disks(["a.db"], f"sqlite:///{here}/mlruns/mlflow.db"))) == []
    if Path("/proc/self").exists():
        for database, tracking in (("/proc/a.db", "none"), ("a.db", "sqlite:////proc/mlflow.db")):
            only(list(machine.check_disks([database], tracking)), "FAIL", "/proc", "cannot be written")
    assert list(here.iterdir()) == []


def test_database_that_cannot_be_written(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "done.db")
    only(check(done), "FAIL", "done.db: cannot be written", "chmod u+w")

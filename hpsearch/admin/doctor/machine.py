"""The installation and the machine: Python, packages, BLAS, CPUs and disk space."""

import contextlib
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from hpsearch.admin.doctor.base import PIP_INSTALL, CheckResult, CheckResults, sqlite_path
from hpsearch.core.files.temporary import remove_abandoned
from hpsearch.core.text import format_count
from hpsearch.errors import StorageError

LOW_SPACE, MIN_SPACE = 1e9, 50e6  # bytes: a warning below the first, a failure below the second
EXTRAS = {  # extra → use
    "fast": "training by compiled code",
    "gp": "sampler gp",
    "onnx": "hpsearch export --onnx",
    "postgres": "a table in PostgreSQL",
}


def check_python() -> CheckResults:
    """Check the version of Python."""
    from packaging.specifiers import SpecifierSet

    needed = metadata.metadata("hpsearch")["Requires-Python"]
    version = ".".join(map(str, sys.version_info[:3]))
    supported, text = version in SpecifierSet(needed), f"Python {version}, {needed} needed"
    yield (
        CheckResult("ok", text)
        if supported
        else CheckResult("FAIL", text, "create a venv with a newer Python and install hpsearch there")
    )


def check_packages() -> CheckResults:
    """Check the versions of the required packages, and of the optional ones that are installed."""
    from packaging.requirements import Requirement

    installed = []
    for needed in map(Requirement, metadata.requires("hpsearch") or ()):
        marker = needed.marker
        always = marker is None or marker.evaluate({"extra": ""})
        use = next((use for extra, use in EXTRAS.items() if marker and marker.evaluate({"extra": extra})), None)
        if not always and use is None:
            continue
        name, get = needed.name, f"{PIP_INSTALL} {shlex.quote(f'{needed.name}{needed.specifier}')}"
        version = next((d.version for d in metadata.distributions(name=name)), "")
        if version and needed.specifier.contains(version, prereleases=True):
            installed.append(f"{name} {version}")
        elif not always and not version:
            yield CheckResult("ok", f"{name} is not installed; only {use} needs it: {get}")
        else:
            text = f"{name} {version or 'is not installed'}, {needed.specifier} needed"
            yield CheckResult("FAIL" if always else "warn", text, get)
    yield CheckResult("ok", f"required packages: {', '.join(installed)}")


def check_blas() -> CheckResults:
    """Check that NumPy's BLAS can be limited to one thread, as in a worker."""
    import numpy  # noqa: F401 (loads its BLAS)
    from threadpoolctl import threadpool_info, threadpool_limits

    def pools() -> list[dict[str, Any]]:
        return [pool for pool in threadpool_info() if pool["user_api"] == "blas"]

    single = "export OMP_NUM_THREADS=1 VECLIB_MAXIMUM_THREADS=1 before hpsearch run"
    blas_pools = pools()
    with threadpool_limits(1):  # as in every worker
        limited = all(pool["num_threads"] == 1 for pool in pools())
    for pool in blas_pools:
        kernels = f", kernels {pool['architecture']}" if pool.get("architecture") else ""
        threads = f"{format_count(pool['num_threads'], 'thread')}, {'1' if limited else 'as many'} in a worker"
        text = f"BLAS: {pool['internal_api']} {pool['version']}{kernels}, {threads}"
        yield CheckResult("ok", text) if limited else CheckResult("warn", text, single)
    if not blas_pools:
        yield CheckResult(
            "warn", "BLAS: NumPy's BLAS is unknown and cannot be limited to one thread per worker", single
        )


def check_kernel() -> CheckResults:
    """Check that the compiled kernel can be loaded; this compiles it if it is not."""
    from engine.kernels.choice import KernelUnavailable, is_compiled, load_kernel
    from hpsearch.data.preprocessing import DTYPE

    had = is_compiled()
    try:
        load_kernel(DTYPE)
    except KernelUnavailable as error:
        yield CheckResult("warn", f"compiled kernel: {error}; NumPy trains instead", f"{PIP_INSTALL} 'hpsearch[fast]'")
    else:
        yield CheckResult("ok", f"compiled kernel: {'compiled' if had else 'compiled now'}")


def check_cpus() -> CheckResults:
    """Check the number of CPUs that workers can use."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    text = f"CPUs: {count} for this process; `workers: auto` starts {format_count(count, 'worker')}"
    if (limit := cpu_quota()) is None or limit >= count:
        yield CheckResult("ok", text)
    else:
        text += f", but the container may use only {limit:g}"
        yield CheckResult("warn", text, f"hpsearch run --workers {max(1, int(limit))}")


def cpu_quota(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Return the CPU limit of the control groups of this process, in CPUs; None without a limit.

    Args:
        root: mount point of the control groups.
        own: file that lists the control groups of this process.
    """
    limits = []
    for line in own.read_text().splitlines() if own.exists() else ():
        _, names, path = line.split(":", 2)
        lowest = root / names / path.lstrip("/")
        for group in (p for p in (lowest, *lowest.parents) if p.is_relative_to(root / names)):
            for files in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):  # cgroup version 2, version 1
                with contextlib.suppress(OSError, ValueError):  # no such file; "max"
                    time, period = (int(word) for file in files for word in (group / file).read_text().split())
                    limits += [time / period] if time > 0 else []
    return min(limits, default=None)


def check_temporary_files() -> CheckResults:
    """Remove the temporary folders that killed processes have left."""
    if count := remove_abandoned():
        folders = format_count(count, "folder")
        yield CheckResult("ok", f"temporary files: {folders} of killed processes removed in {tempfile.gettempdir()}")


def check_network(names: Sequence[str], tracking_uri: str) -> CheckResults:
    """Check that databases are on disks of this machine, and those that a study would create here too."""
    from hpsearch.storage.access.rollback import check_locks, keeps_rollback
    from hpsearch.storage.sqlite_file import network_advice

    files = [file for file in _database_files(names, tracking_uri) if file]
    rollback = [file for file in files if keeps_rollback(file)]
    for file in rollback:
        try:
            check_locks(file)
            yield CheckResult("ok", f"disk: {file} is on a network file system, without a write-ahead log; locks work")
        except StorageError as error:
            text, _, remedy = str(error).partition("; ")
            yield CheckResult("FAIL", f"disk: {text}", remedy)
    for folder in dict.fromkeys(file.absolute().parent for file in files if file not in rollback):
        if advice := network_advice(folder):
            text, _, remedy = advice.partition("; ")
            yield CheckResult("FAIL", f"disk: {folder} {text}", remedy)


def _database_files(names: Sequence[str], tracking_uri: str) -> list[Path | None]:
    files = [sqlite_path(name) for name in names] or [Path("here")]
    return files + ([sqlite_path(tracking_uri)] if tracking_uri.startswith("sqlite") else [])


def check_disks(names: Sequence[str], tracking_uri: str) -> CheckResults:
    """Check space and permissions in the folders of databases and of temporary files."""
    files = _database_files(names, tracking_uri)
    folders = [file.absolute().parent for file in files if file] + [Path(tempfile.gettempdir())]
    existing = (next(p for p in (folder, *folder.parents) if p.is_dir()).resolve() for folder in folders)
    disks: dict[int, list[str]] = {}
    for folder in dict.fromkeys(existing):
        try:
            with tempfile.TemporaryFile(dir=folder):
                disks.setdefault(folder.stat().st_dev, []).append(str(folder))
        except OSError as error:
            remedy = f"chmod u+w {shlex.quote(str(folder))}, or use another folder"
            yield CheckResult("FAIL", f"disk: {folder} cannot be written: {error.strerror}", remedy)
    for paths in disks.values():
        free = shutil.disk_usage(paths[0]).free
        size = f"{free / 1e9:.1f} GB" if free >= LOW_SPACE else f"{free / 1e6:.0f} MB"
        level = "FAIL" if free < MIN_SPACE else "warn" if free < LOW_SPACE else "ok"
        yield CheckResult(level, f"disk: {size} free for {', '.join(paths)}", "free some space" * (level != "ok"))
    for file in files:
        if file and file.is_file() and not os.access(file, os.W_OK):
            yield CheckResult("FAIL", f"{file}: cannot be written", f"chmod u+w {shlex.quote(str(file))}")

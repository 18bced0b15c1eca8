"""The installation and the machine: Python, packages, BLAS, CPUs, and room on the disks."""

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

from hpsearch.admin.doctor.base import PIP, Finding, Findings, file_at
from hpsearch.core.text import format_count

LOW, LEAST = 1e9, 50e6  # bytes free: less is worth a word; too little


def python() -> Findings:
    from packaging.specifiers import SpecifierSet

    needed = metadata.metadata("hpsearch")["Requires-Python"]
    version = ".".join(map(str, sys.version_info[:3]))
    fine, what = version in SpecifierSet(needed), f"Python {version}, {needed} needed"
    yield Finding("ok", what) if fine else Finding("FAIL", what, "make a venv with a newer one, and install there")


EXTRAS = {"gp": "sampler gp", "onnx": "hpsearch export --onnx", "postgres": "a table in PostgreSQL"}


def packages() -> Findings:
    from packaging.requirements import Requirement

    found = []
    for needed in map(Requirement, metadata.requires("hpsearch") or ()):
        marker = needed.marker
        always = marker is None or marker.evaluate({"extra": ""})
        use = next((use for extra, use in EXTRAS.items() if marker and marker.evaluate({"extra": extra})), None)
        if not always and use is None:
            continue
        name, get = needed.name, f"{PIP} {shlex.quote(f'{needed.name}{needed.specifier}')}"
        version = next((d.version for d in metadata.distributions(name=name)), "")
        if version and needed.specifier.contains(version, prereleases=True):
            found.append(f"{name} {version}")
        elif not always and not version:
            yield Finding("ok", f"{name} is not installed; only {use} needs it: {get}")
        else:
            what = f"{name} {version or 'is not installed'}, {needed.specifier} needed"
            yield Finding("FAIL" if always else "warn", what, get)
    yield Finding("ok", f"packages as needed: {', '.join(found)}")


def blas() -> Findings:
    import numpy  # noqa: F401 (brings its BLAS)
    from threadpoolctl import threadpool_info, threadpool_limits

    def pools() -> list[dict[str, Any]]:
        return [pool for pool in threadpool_info() if pool["user_api"] == "blas"]

    alone = "export OMP_NUM_THREADS=1 VECLIB_MAXIMUM_THREADS=1 before hpsearch run"
    free = pools()
    with threadpool_limits(1):  # as every worker does
        held = all(pool["num_threads"] == 1 for pool in pools())
    for pool in free:
        kernels = f", kernels {pool['architecture']}" if pool.get("architecture") else ""
        threads = f"{format_count(pool['num_threads'], 'thread')} by itself, {'1' if held else 'as many'} in a worker"
        what = f"BLAS: {pool['internal_api']} {pool['version']}{kernels}, {threads}"
        yield Finding("ok", what) if held else Finding("warn", what, alone)
    if not free:
        yield Finding("warn", "BLAS: NumPy's is none that is known, nor can it be held to one thread a worker", alone)


def processors() -> Findings:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    text = f"CPUs: {count} for this process; `workers: auto` starts {format_count(count, 'worker')}"
    if (limit := quota()) is None or limit >= count:
        yield Finding("ok", text)
    else:
        text += f", but the container has time for {limit:g}"
        yield Finding("warn", text, f"hpsearch run --workers {max(1, int(limit))}")


def quota(root: Path = Path("/sys/fs/cgroup"), mine: Path = Path("/proc/self/cgroup")) -> float | None:
    """How many CPUs' time the control groups of this process allow; None for all."""
    limits = []
    for line in mine.read_text().splitlines() if mine.exists() else ():
        _, names, path = line.split(":", 2)
        lowest = root / names / path.lstrip("/")
        for place in (p for p in (lowest, *lowest.parents) if p.is_relative_to(root / names)):
            for files in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):  # of the newer kind, of the older
                with contextlib.suppress(OSError, ValueError):  # no such file; "max"
                    time, period = (int(word) for file in files for word in (place / file).read_text().split())
                    limits += [time / period] if time > 0 else []
    return min(limits, default=None)


def disk(names: Sequence[str], tracking: str) -> Findings:
    files = [file_at(name) for name in names] or [Path("here")]
    files += [file_at(tracking)] if tracking.startswith("sqlite") else []
    folders = [file.absolute().parent for file in files if file] + [Path(tempfile.gettempdir())]
    there = (next(p for p in (folder, *folder.parents) if p.is_dir()).resolve() for folder in folders)
    disks: dict[int, list[str]] = {}
    for folder in dict.fromkeys(there):
        try:
            with tempfile.TemporaryFile(dir=folder):
                disks.setdefault(folder.stat().st_dev, []).append(str(folder))
        except OSError as error:
            remedy = f"chmod u+w {shlex.quote(str(folder))}, or work elsewhere"
            yield Finding("FAIL", f"disk: {folder} cannot be written: {error.strerror}", remedy)
    for together in disks.values():
        free = shutil.disk_usage(together[0]).free
        size = f"{free / 1e9:.1f} GB" if free >= LOW else f"{free / 1e6:.0f} MB"
        level = "FAIL" if free < LEAST else "warn" if free < LOW else "ok"
        yield Finding(level, f"disk: {size} free for {', '.join(together)}", "free some space" * (level != "ok"))
    for file in files:
        if file and file.is_file() and not os.access(file, os.W_OK):
            yield Finding("FAIL", f"{file}: cannot be written", f"chmod u+w {shlex.quote(str(file))}")

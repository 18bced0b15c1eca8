"""The recipes for clusters, run as they are written, with stubs of what is not on this machine."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cases
import pytest
from clusters import DASK_README, REPOSITORY, make_certificates

RECIPES = DASK_README.parent / "recipes"
SRUN = """#!/bin/bash
while [[ $1 = -* ]]; do shift; done
for ((n = 0; n < SLURM_NTASKS; n++)); do "$@" & done
trap 'kill $(jobs -p)' TERM
wait
"""
pytestmark = [pytest.mark.crash, pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")]


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a job of two tasks on this machine, with a stub of srun."""
    make_certificates(tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    own = f"#!/bin/bash\nexec {sys.executable} -m"
    for name, text in (("srun", SRUN), ("dask", f'{own} dask "$@"\n'), ("hpsearch", f'{own} hpsearch "$@"\n')):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    given = {"SLURMD_NODENAME": "127.0.0.1", "SLURM_JOB_ID": str(os.getpid()), "SLURM_NTASKS": "2"}
    given |= {"STORAGE": str(tmp_path / "small.db"), "CERTIFICATES": str(tmp_path), "TMPDIR": str(tmp_path)}
    given |= {"PYTHONPATH": str(REPOSITORY), "SLURM_JOB_FOLDER": str(tmp_path), "PYTHONWARNINGS": "default"}
    return {**os.environ, **given, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}


def processes_of(job: Path) -> list[str]:
    """Return the commands of the processes of a job."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"SLURM_JOB_FOLDER={job}" in (process / "environ").read_text(errors="replace").split("\0"):
                found.append((process / "cmdline").read_text(errors="replace").replace("\0", " "))
    return found


def finished(database: Path) -> int:
    if not database.exists():
        return 0
    with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(database)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM hpsearch_trial WHERE state = 'complete'").fetchone()
        return int(count)
    return 0


def test_slurm(slurm: dict[str, str], tmp_path: Path) -> None:
    """The time limit stops the study as Ctrl-C does, no process is left, and the same command finishes the study."""
    digits: dict[str, Any] = {"data": {"source": "sklearn", "name": "digits"}, "train.epochs": 30}
    stage = {"name": "search", "trials": 30, "sampler": "random"}
    study = cases.write(tmp_path, **digits, **{"train.early_stopping": None, "stages": [stage], "parallel": 8})
    command = ["bash", str(RECIPES / "slurm.sh"), str(study), "--tracking-uri", "none"]
    with (tmp_path / "log").open("w") as log:
        job = subprocess.Popen(command, env=slurm, stdout=log, stderr=log, cwd=tmp_path)
        try:
            while finished(tmp_path / "small.db") < 3:
                assert job.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.05)
            job.send_signal(signal.SIGTERM)
            assert job.wait(60) == 130, (tmp_path / "log").read_text()
        finally:
            job.kill()
    assert 3 <= finished(tmp_path / "small.db") < 30
    deadline = time.monotonic() + 20
    while left := processes_of(tmp_path):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    done = subprocess.run(command, env=slurm, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0 and "Best: search/" in done.stdout, done.stderr
    assert finished(tmp_path / "small.db") == 30

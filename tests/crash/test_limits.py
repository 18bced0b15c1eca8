"""Limits on open files and memory: the command ends with one line, and the study can be resumed without the limit."""

import resource
import subprocess
from pathlib import Path

import cases
import pytest

from tests.crash import test_crash

pytestmark = [pytest.mark.crash, pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux")]

CHANGES = {"train.epochs": 1, "stages": [{"name": "only", "trials": 3}], "workers": 2}


def limited(folder: Path, kind: int, limit: int, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command with a limit on one of its resources."""
    return subprocess.run(
        [*test_crash.COMMAND, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(kind, (limit, limit)),
    )


@pytest.mark.parametrize(
    ("kind", "limit", "text"),
    [
        *((resource.RLIMIT_NOFILE, number, "") for number in (8, 14)),
        *(
            pytest.param(resource.RLIMIT_NOFILE, number, "", marks=[] if number in (20, 26) else pytest.mark.soak)
            for number in range(16, 33)
        ),
        (resource.RLIMIT_AS, 300 * 2**20, "the limit is 300 MB, and at least 512 MB are needed"),
        pytest.param(resource.RLIMIT_AS, 550 * 2**20, "", marks=pytest.mark.soak),
    ],
)
def test_a_limit_is_one_line(tmp_path: Path, kind: int, limit: int, text: str) -> None:
    """The tracker's process, the fork server and the workers end without a traceback too."""
    cases.write(tmp_path, **CHANGES)
    said = limited(tmp_path, kind, limit, "run", "small.yaml", "--quiet")
    if said.returncode == 0:
        assert limit > 26 and said.stderr == ""
        return
    assert said.returncode in (1, 2) and said.stdout == ""
    lines = [line for line in said.stderr.splitlines() if not line.startswith("OpenBLAS")]
    assert len(lines) == 1 and lines[0].startswith("error: ") and text in lines[0], said.stderr

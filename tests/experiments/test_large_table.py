"""A CSV file of a million rows and 20 columns: read once, and mapped by the workers instead of copied into each.

pytest -m experiments -n 0 -s tests/experiments/test_large_table.py
"""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = [
    pytest.mark.experiments,
    pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is read from Linux's /proc"),
]
COMMAND = Path(sys.executable).with_name("hpsearch")
COLUMNS, BLOCK, MB = 20, 10_000, 1 << 20
STUDY = """
name: large
data: {source: csv, path: PATH, target: label, task: classification}
model: {hidden: [{units: 16}]}
train: {epochs: 1, batch_size: 1024, learning_rate: 0.05}
parameters: {l2: {min: 1e-6, max: 1e-3, scale: log}}
stages: [{name: coarse, trials: 4}]
parallel: 4
workers: 2
"""


def test_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The peak memory of coordinator and two workers above that of a small table is at most three matrices."""
    rows = 1_000_000
    few, many = (peak(tmp_path, count) for count in (2_000, rows))
    matrix = rows * COLUMNS * 4
    with capsys.disabled():
        print(
            f"\n{rows:,} rows × {COLUMNS}: {many / MB:.0f} MB at the highest, {few / MB:.0f} MB with 2,000 rows:"
            f" {(many - few) / matrix:.2f} times the {matrix / MB:.0f} MB of the matrix more (at most 3)"
        )
    assert matrix < many - few <= 3 * matrix


def peak(folder: Path, rows: int) -> int:
    """Return the highest memory of the command's processes in bytes, with shared memory counted once."""
    table = folder / f"{rows}.csv"
    write(table, rows)
    (folder / "study.yaml").write_text(STUDY.replace("PATH", str(table)), "utf-8")
    command = [COMMAND, "run", "study.yaml", "--tracking-uri", "none", "--quiet", "--storage", f"{rows}.db"]
    highest = 0
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said)
        while process.poll() is None:
            highest = max(highest, sum(map(held, family(process.pid))))
            time.sleep(0.02)
    table.unlink()
    assert process.returncode == 0, (folder / "said").read_text("utf-8")
    return highest


def write(file: Path, rows: int) -> None:
    """Write the same rows repeatedly, which is fast and does not affect memory."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((min(rows, BLOCK), COLUMNS))
    labels = (x[:, 0] * x[:, 1] + x[:, 2] > 0).astype(int)
    lines = "".join(f"{','.join(f'{v:.6f}' for v in row)},{label}\n" for row, label in zip(x, labels, strict=True))
    names = ",".join(f"x{place}" for place in range(COLUMNS))
    with file.open("w") as out:
        out.write(f"{names},label\n")
        for _ in range(max(1, rows // BLOCK)):
            out.write(lines)


def family(pid: int) -> list[int]:
    """Return a process, its children and theirs."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                found += family(int(child))
    return found


def held(pid: int) -> int:
    """Return the proportional set size in bytes."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0

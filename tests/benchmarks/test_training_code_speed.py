"""The cost of trials that a function or a command trains, beyond calling it by hand.

python -m pytest -n 0 -m bench -s tests/benchmarks/test_training_code_speed.py
"""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest
from code_cases import SEED, own_spec, task_of, write_code

from hpsearch.data.dataset import Dataset
from hpsearch.training.objectives.code import find_code, load_object
from hpsearch.training.task import Task, TrialTask
from hpsearch.training.trial import advance

pytestmark = pytest.mark.bench
FUNCTION = """
def train(params, seed, state=None):
    n = int(state or 0)
    while True:
        n += 1
        yield {"val/loss": 1 / n, "val/accuracy": 1 - 1 / n}, lambda: b"%d" % n
"""
STEPS, REPEATS = 501, 30
MAX_TRIAL, MAX_STEP, MAX_COMMAND = 5e-3, 0.2e-3, 20e-3  # seconds


def cost(call: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Return the median seconds of a call."""
    took = []
    for _ in range(REPEATS):
        start = clock()
        call()
        took.append(clock() - start)
    return median(took)


def test_function(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """CPU time of trials of one step and of many, with a checkpoint at the end."""
    task = task_of(tmp_path, FUNCTION, train={"epochs": 10 * STEPS})
    function = load_object("train.py:train", task.code)

    def by_hand(steps: int) -> None:
        running = function({"rate": 0.25}, SEED % 2**31)
        for _ in range(steps):
            _, save = next(running)
            save()

    def trial(steps: int) -> None:
        advance(Task(task.spec, task.dataset, task.trials, steps, code=task.code))

    trial(1)
    one, many = (cost(lambda n=n: trial(n)) - cost(lambda n=n: by_hand(n)) for n in (1, STEPS))
    step = (many - one) / (STEPS - 1)
    with capsys.disabled():
        print(f"\na function: {one * 1e3:.2f} ms a trial (at most 5), {step * 1e3:.4f} ms a step (at most 0.2)", end="")
        print(f"; load {os.getloadavg()[0]:.1f}")
    assert one <= MAX_TRIAL and step <= MAX_STEP


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Time of a trial beside the start of its command, in turn."""
    write_code(tmp_path, "echo '{\"val/loss\": 1}'\n", "train.sh")
    spec = own_spec(train={"command": ["sh", "train.sh", "{rate}"], "epochs": 1})
    task = Task(
        spec,
        Dataset.empty(str(tmp_path)),
        (TrialTask(0, {"rate": 0.25}, SEED),),
        1,
        code=find_code(spec, tmp_path),
    )
    advance(task)
    clock = time.perf_counter
    own = cost(lambda: subprocess.run(["sh", "train.sh", "0.25"], cwd=tmp_path, capture_output=True), clock)
    took = cost(lambda: advance(task), clock) - own
    with capsys.disabled():
        print(f"\na command: {took * 1e3:.1f} ms a trial (at most 20) beside its own {own * 1e3:.1f} ms", end="")
        print(f"; load {os.getloadavg()[0]:.1f}")
    assert took <= MAX_COMMAND

"""Studies that other code than the engine trains, for tests: a file, its spec, and its trials in this process."""

import textwrap
from pathlib import Path
from typing import Any

from hpsearch.config.load import restore_spec
from hpsearch.config.spec import Spec
from hpsearch.core.space import Point
from hpsearch.data.dataset import Dataset
from hpsearch.training.objectives.code import find_code
from hpsearch.training.task import Task, TrialResult, TrialTask, resumed
from hpsearch.training.trial import advance

SEED = 2**63 + 12345  # above what NumPy and libraries accept
POINT: Point = {"rate": 0.25}

# Its state is all that it has; it draws from three generators.
LEARNS = """
import json, random
import numpy as np

def train(params, seed, state=None):
    own = np.random.default_rng(seed)
    loss, epoch = 2.0, 0
    if state:
        loss, epoch, own.bit_generator.state = json.loads(state)
    while True:
        epoch += 1
        loss = loss * (1 - params["rate"]) + 1e-3 * (random.random() + np.random.rand() + own.random())
        saved = [loss, epoch, own.bit_generator.state]
        yield {"val/loss": loss, "epoch_seen": epoch}, lambda: json.dumps(saved).encode()
"""

# The same trial without anything to resume from.
FORGETS = LEARNS.replace(", state=None", "").replace("if state:", "if False:").replace("}, lambda: ", "}  # ")

# The same idea as a command: a shell and awk, with a process of its own for each step.
SHELL = """
rate=$1; to=$2; seed=$3; file=$4; epoch=0; loss=2.0
[ -f "$file" ] && read -r epoch loss < "$file"
while [ "$epoch" -lt "$to" ]; do
  epoch=$((epoch + 1))
  loss=$(awk "BEGIN { printf \\"%.15g\\", $loss * (1 - $rate) + 1e-3 * (($seed + $epoch * 7919) % 101) / 101 }")
  echo "$epoch $loss" > "$file"
  echo "{\\"epoch\\": $epoch, \\"val/loss\\": $loss}"
done
"""
COMMAND = ["sh", "train.sh", "{rate}", "{epochs}", "{seed}", "{checkpoint}"]


def content(**changes: Any) -> dict[str, Any]:
    """Return a study file as a mapping, with sections replaced."""
    return {
        "name": "own",
        "seed": 5,
        "metric": {"name": "val/loss"},
        "train": {"function": "train.py:train", "epochs": 6},
        "parameters": {"rate": {"min": 0.01, "max": 0.5}},
        "stages": [{"name": "search", "trials": 4, "sampler": "random"}],
        "pruning": "none",
        "parallel": 2,
        "workers": 1,
        **changes,
    }


def own_spec(**changes: Any) -> Spec:
    return restore_spec(content(**changes), "code_cases.py")


def write_code(folder: Path, code: str, name: str = "train.py") -> Path:
    """Write a file of training code, dedented."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(textwrap.dedent(code).lstrip("\n").encode())
    return file


def task_of(
    folder: Path, code: str | None = None, *, epochs: int | None = None, dataset: Dataset | None = None, **changes: Any
) -> Task:
    """Return the task of one trial up to an epoch, by default the last; the code is written first."""
    if code is not None:
        write_code(folder, code)
    train = {"function": "train.py:train", "epochs": 6, **changes.pop("train", {})}
    if "command" in train:
        del train["function"]
        if "{rate}" not in train["command"]:  # every parameter must be used
            train["command"] = [*train["command"], "{rate}"]
    spec = own_spec(train=train, **changes)
    trial = TrialTask(0, POINT, SEED)
    dataset = dataset or Dataset.empty(str(folder))
    return Task(spec, dataset, (trial,), epochs or spec.train.epochs, code=find_code(spec, folder))


def one(task: Task) -> TrialResult:
    """Train a task's trial in this process; return its result without seconds."""
    (result,) = advance(task)
    return result._replace(seconds=0.0)


def trained(folder: Path, code: str, **changes: Any) -> TrialResult:
    """Train one trial by a function to its end."""
    return one(task_of(folder, code, **changes))


def error_of(folder: Path, code: str, **changes: Any) -> str:
    """Return the error of a trial that must fail."""
    result = trained(folder, code, **changes)
    assert (result.state, result.epochs, result.history) == ("failed", 0, {}), result
    assert result.error and "\n" not in result.error
    return result.error


def continued(task: Task, result: TrialResult, epochs: int) -> Task:
    """Return the task that resumes a running result up to an epoch."""
    return Task(task.spec, task.dataset, (resumed(task.trials[0], result),), epochs, task.seconds, task.code)

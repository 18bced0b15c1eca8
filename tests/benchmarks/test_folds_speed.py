"""Cost of the folds of a cross-validation relative to a single network: digits, 32 units, batches of 32.

pip install -e ".[bench]" && python -m pytest -n 0 -m bench -s tests/benchmarks/test_folds_speed.py
"""

from pathlib import Path
from typing import Any

import pytest
from rivals import interleaved, report
from threadpoolctl import threadpool_limits

from hpsearch.config.load import restore_spec
from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.training.task import Task, TrialTask
from hpsearch.training.trial import advance

pytestmark = pytest.mark.bench
FOLDS, MOST, EPOCHS = 5, 2.5, 20


def prepared(split: dict[str, Any], folder: Path) -> tuple[Spec, Dataset]:
    content = {
        "name": "folds",
        "data": {"source": "sklearn", "name": "digits", "split": split},
        "model": {"hidden": [{"units": 32}]},
        "train": {"optimizer": "momentum", "learning_rate": 0.05, "batch_size": 32, "l2": 1e-4, "epochs": EPOCHS},
        "parameters": {},
        "stages": [{"name": "coarse", "trials": 1}],
    }
    spec = restore_spec(content, "test_folds_speed.py")
    folder.mkdir()
    return spec, prepare(spec.data, spec.seed, folder)[0]


def trained(spec: Spec, dataset: Dataset) -> float:
    (result,) = advance(Task(spec, dataset, (TrialTask(0, {}, 3),), EPOCHS))
    assert result.state == "complete"
    return result.history["val/accuracy"][-1]


def test_five_folds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each fold has as many rows as the single network: four fifths for training, one for validation."""
    five = prepared({"folds": FOLDS, "test": 0.2}, tmp_path / "five")
    one = prepared({"train": 0.64, "val": 0.16, "test": 0.2}, tmp_path / "one")
    with threadpool_limits(1):
        times = interleaved({"five": lambda: trained(*five), "one": lambda: trained(*one)}, repeats=40)
    ratio = times["five"] / times["one"]
    report(capsys, f"{FOLDS} folds at (32, 32): {ratio:.2f} times the training time of one (at most {MOST})")
    assert ratio <= MOST

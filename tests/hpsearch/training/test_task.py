"""Tasks and results: failed, pruned and resumed trials."""

import math
import pickle
from pathlib import Path
from typing import Any

import cases
import pytest
from fold_cases import POINT, prepared

from hpsearch.training.task import (
    Task,
    TrialResult,
    TrialTask,
    failed_result,
    pruned_result,
    resumed,
)

TRIAL = TrialTask(3, POINT, 7, epochs=2, checkpoint=b"old", history={"val/loss": [1.0, 2.0]}, seconds=0.5)


def running(curve: list[float], name: str = "val/loss", **changes: Any) -> TrialResult:
    return TrialResult(3, "running", None, len(curve), 0, {name: curve}, 1.5, checkpoint=b"state")._replace(**changes)


def test_failed_results_have_no_curves() -> None:
    """The last epoch of a failed trial depends on timing and must not be in the table."""
    result = failed_result(TRIAL, "ValueError: no")
    assert result == TrialResult(3, "failed", None, 0, 0, {}, 0.5, error="ValueError: no")


@pytest.mark.parametrize(
    ("curve", "value", "best"),
    [([3.0, 1.0, 2.0], 1.0, 2), ([1.0, 1.0], 1.0, 1), ([math.nan, 2.0, math.inf], 2.0, 2)],
)
def test_pruned_results_have_the_best_value(curve: list[float], value: float, best: int) -> None:
    result = pruned_result(cases.small(), running(curve))
    assert result == running(curve, state="pruned", value=value, best_epoch=best, checkpoint=None)


def test_pruned_by_a_metric_to_maximize() -> None:
    spec = cases.small(metric={"name": "val/accuracy"}, **{"train.check_every": 2})
    result = pruned_result(spec, running([0.5, 0.9, 0.7], "val/accuracy"))
    assert (result.value, result.best_epoch) == (0.9, 4)


def test_pruned_without_a_finite_value() -> None:
    result = pruned_result(cases.small(), running([math.nan, math.inf]))
    assert (result.state, result.value, result.best_epoch, result.checkpoint) == ("pruned", None, 0, None)


def test_resumed_trials_keep_their_seed_and_point() -> None:
    result = running([1.0, 2.0, 3.0])._replace(machine="another")
    assert resumed(TRIAL, result) == TrialTask(3, POINT, 7, 3, b"state", {"val/loss": [1.0, 2.0, 3.0]}, 1.5, "another")


def test_tasks_are_pickled(tmp_path: Path) -> None:
    """As they are sent to workers."""
    spec = cases.small()
    task = Task(spec, prepared(spec, tmp_path)[0], (TRIAL,), 4, 30.0)
    assert pickle.loads(pickle.dumps(task)) == task

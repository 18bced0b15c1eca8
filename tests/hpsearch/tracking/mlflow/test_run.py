"""The contents of a run."""

import math
from itertools import pairwise
from pathlib import Path

import cases
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpsearch.core.space import build_space
from hpsearch.storage.records import Trial
from hpsearch.tracking import StudyInfo
from hpsearch.tracking.mlflow.run import CURVE_POINTS, thinned
from hpsearch.tracking.mlflow.tracker import MlflowTracker

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
]


def test_values_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    """They are dropped, because MLflow stores infinity as 1.8e308 and does not show NaN."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    spec = cases.small()
    axes = build_space(spec.parameters)
    internal_params = {"learning_rate": 0.1, "one_minus_beta": 0.1, "hidden_units_index": 0, "batch_size_index": 1}
    history = {"train/loss": [1.0, math.inf], "val/loss": [2.0, math.nan]}
    diverged = Trial(
        "coarse", 0, internal_params, axes.point(internal_params), "diverged", None, 2, 0, 1.5, 1e9, {}, history
    )
    failed = Trial(
        "coarse", 1, internal_params, axes.point(internal_params), "failed", finished=1e9, error="ValueError: no"
    )
    tracker = MlflowTracker(uri)
    tracker.start_study(StudyInfo(spec, "identity", 1e9, {}))
    for _ in range(2):
        tracker.log_trial(diverged)
        tracker.log_trial(failed)
    tracker.finish_study([], None)
    assert tracker.close(9) is None
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    runs = {r.info.run_name: r for r in client.search_runs([experiment.experiment_id])}
    assert len(runs) == 2
    run = runs["coarse/0"]
    assert run.data.metrics["train/loss"] == 1.0 and run.data.metrics["val/loss"] == 2.0
    assert "2" in run.data.tags["hpsearch.dropped"]
    assert "objective" not in run.data.metrics
    assert runs["coarse/1"].data.tags["hpsearch.error"] == "ValueError: no"
    assert runs["coarse/1"].info.status == "FAILED"


@given(st.integers(0, 2000), st.integers(-1, 2000))
def test_thinned(length: int, best: int) -> None:
    """Indices are sorted and unique, with both ends and the best, and their epochs evenly spaced on a log scale."""
    indices = thinned(length, best)
    assert len(indices) == min(length, CURVE_POINTS)
    assert indices == sorted(set(indices)) and all(0 <= i < length for i in indices)
    if length:
        assert indices[0] == 0 and indices[-1] == length - 1
    if 0 <= best < length:
        assert best in indices
    ratio = length ** (1 / (CURVE_POINTS - 1))
    for first, second in pairwise(index + 1 for index in indices):
        # the best may have taken the place of one between
        assert second <= first + 2 or second / first <= 1.2 * ratio**2


def test_thinned_curve_of_100_epochs() -> None:
    """Every epoch at first, then ever fewer."""
    epochs = [index + 1 for index in thinned(100, 99)]
    assert epochs[:9] == list(range(1, 10)) and epochs[-3:] == [71, 84, 100], epochs

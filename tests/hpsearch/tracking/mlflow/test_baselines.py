"""Baselines in MLflow: one run each, beside the runs of the trials, whatever was uploaded before."""

from pathlib import Path
from typing import Any

import pytest

from hpsearch.storage.records import Baseline
from tests.hpsearch.tracking.mlflow.mlflow_cases import STATES, upload

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning")

SCORES = {"train/loss": 0.25, "val/loss": 0.5, "val/accuracy": 0.75, "test/loss": 0.625, "test/accuracy": 0.5}
LINEAR = Baseline("linear", 0, 90, SCORES, None, 1.5, 1e9)
BOOSTING = Baseline("boosting", 0, 0, {}, "ValueError: sqlite://me:secret@host", 0.5, 2e9)


def runs(place: Path) -> dict[str, Any]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place}")
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    by_name = {run.info.run_name: run for run in found}
    assert len(by_name) == len(found)
    return by_name


def test_one_run_each(tmp_path: Path) -> None:
    """With the scores under the names of a trial's, so that the table of runs compares them; again changes nothing."""
    place = tmp_path / "mlflow.db"
    upload(place, STATES, STATES[:1], baselines=[LINEAR, BOOSTING])
    found = runs(place)
    assert set(found) == {*(t.label for t in STATES), "baseline/linear", "baseline/boosting"}
    linear, boosting = found["baseline/linear"], found["baseline/boosting"]
    assert linear.data.metrics == {
        "objective": 0.5, "best/train/loss": 0.25, "best/val/loss": 0.5, "best/val/accuracy": 0.75,
        "test/loss": 0.625, "test/accuracy": 0.5, "rows": 90.0, "seconds": 1.5,
    }  # fmt: skip
    info = linear.info
    assert (info.status, info.start_time, info.end_time) == ("FINISHED", 10**12 - 1500, 10**12)
    assert linear.data.tags["hpsearch.baseline"] == "linear" and "hpsearch.trial" not in linear.data.tags
    assert boosting.info.status == "FAILED" and "objective" not in boosting.data.metrics
    assert "secret" not in boosting.data.tags["hpsearch.error"]
    again = upload(place, STATES, STATES[:1], baselines=[LINEAR, BOOSTING])
    ids = {n: r.info.run_id for n, r in found.items()}
    assert {n: r.info.run_id for n, r in runs(place).items()} == ids
    assert again.counts.unchanged == len(STATES)


def test_other_outcomes_replace_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of an earlier outcome, one that a kill left unfinished, and a second one."""
    from mlflow import MlflowClient

    place = tmp_path / "mlflow.db"
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(MlflowClient, "set_terminated", lambda *_: (_ for _ in ()).throw(RuntimeError))
        upload(place, [], baselines=[LINEAR])
    client = MlflowClient(f"sqlite:///{place}")
    unfinished = runs(place)["baseline/linear"].info
    assert unfinished.status == "RUNNING"
    client.create_run(unfinished.experiment_id, tags={"hpsearch.baseline": "linear"}, run_name="a second one")
    upload(place, [], baselines=[LINEAR])
    whole = runs(place)
    assert set(whole) == {"baseline/linear"} and whole["baseline/linear"].info.status == "FINISHED"
    assert whole["baseline/linear"].info.run_id != unfinished.run_id
    upload(place, [], baselines=[LINEAR._replace(scores={"val/loss": 0.375}, finished=3e9)])
    assert runs(place)["baseline/linear"].data.metrics["objective"] == 0.375

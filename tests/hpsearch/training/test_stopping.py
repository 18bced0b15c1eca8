"""Stopping: early stopping, a target, a plateau, the last epoch, and divergence."""

from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest

from engine.training.state import State
from hpsearch.data.dataset import Dataset
from hpsearch.storage.records import Trial
from hpsearch.training.stopping import Stopping, Verdict
from tests.hpsearch.study import test_loop

spec, dataset = test_loop.spec, test_loop.dataset  # fixtures


def state(trials: int, epoch: int) -> State:
    found = State.__new__(State)
    theta = np.arange(trials, dtype=np.float32)[:, None]
    found.__dict__.update(
        theta=theta,
        best_theta=theta * 0,
        best_value=np.full(trials, np.inf),
        best_epoch=np.zeros(trials, dtype=np.int64),
        last_value=np.full(trials, np.nan),
        small_changes=np.zeros(trials, dtype=np.int64),
        epoch=epoch,
    )
    return found


def update(train: dict[str, Any], values: list[float], folds: int = 1, epoch: int = 1, **scores: Any) -> Verdict:
    spec = cases.small(**{f"train.{key}": value for key, value in {"early_stopping": None, **train}.items()})
    found = {"train/loss": np.ones(len(values)), "val/loss": np.array(values), **scores}
    return Stopping.of(spec, folds).update(state(len(values) * folds, epoch), found)


def test_nothing_stops() -> None:
    verdict = update({"epochs": 9}, [1.0, 2.0])
    assert verdict.continues.tolist() == [True, True]
    assert not verdict.reached.any() and not verdict.diverged.any()


def test_last_epoch() -> None:
    verdict = update({"epochs": 9}, [1.0, 2.0], epoch=9)
    assert not verdict.continues.any() and not verdict.diverged.any()


@pytest.mark.parametrize("name", ["train/loss", "val/loss"])
def test_losses_that_are_not_finite_diverge(name: str) -> None:
    losses = {name: np.array([1.0, np.nan, np.inf])}
    verdict = update({"epochs": 9}, [1.0, 1.0, 1.0], **losses)
    assert verdict.continues.tolist() == [True, False, False]
    assert verdict.diverged.tolist() == [False, True, True]


def test_target() -> None:
    verdict = update({"epochs": 9, "stop": {"value": 0.5}}, [0.4, 0.5, 0.6])
    assert verdict.reached.tolist() == [True, True, False]
    assert verdict.continues.tolist() == [False, False, True]
    assert not verdict.diverged.any()


def test_folds_have_one_verdict() -> None:
    verdict = update({"epochs": 9, "stop": {"value": 0.5}}, [0.4, 0.6], folds=3)
    assert [part.shape for part in verdict] == [(2,)] * 3
    assert verdict.reached.tolist() == [True, False]


def test_end_without_a_finite_metric_is_divergence() -> None:
    """The losses are finite, but the monitored metric never was."""
    spec = cases.small(metric={"name": "val/roc_auc"}, **{"train.early_stopping": None, "train.epochs": 2})
    scores = {"train/loss": np.ones(2), "val/loss": np.ones(2), "val/roc_auc": np.array([0.5, np.nan])}
    for epoch, diverged in ((1, [False, False]), (2, [False, True])):
        verdict = Stopping.of(spec, 1).update(state(2, epoch), scores)
        assert verdict.diverged.tolist() == diverged


def test_number_of_epochs_to_a_value_is_a_metric(dataset: Dataset, tmp_path: Path) -> None:
    train = {"optimizer": "momentum", "epochs": 40, "check_every": 4, "stop": {"value": 0.3}, "keep": "last"}
    changes = {"train": train, "metric": {"name": "epochs"}, "stages": [{"name": "only", "trials": 12}]}
    study = cases.run(cases.small(**changes), dataset, tmp_path / "small.db")
    reached = 0
    for r in cases.rows(study):
        losses = r.history["val/loss"]
        assert len(losses) == r.epochs // 4 and r.best_epoch == r.epochs
        assert all(loss > 0.3 for loss in losses[:-1])
        if losses[-1] <= 0.3:
            reached += 1
            assert r.value == r.epochs
        else:
            assert r.epochs == 40 and r.value == 44
    assert 0 < reached < 12
    best = study.best
    assert best is not None and best.value == min(r.value for r in cases.rows(study) if r.value is not None)


def stopped(dataset: Dataset, folder: Path, **changes: Any) -> list[Trial]:
    """Return trials of at most 40 epochs with a check every 4 epochs."""
    train = {"optimizer": "momentum", "epochs": 40, "check_every": 4} | changes.pop("train")
    given = {"train": train, "stages": [{"name": "only", "trials": 12}], **changes}
    return cases.rows(cases.run(cases.small(**given), dataset, folder / "small.db"))


def test_patience_counts_checks(dataset: Dataset, tmp_path: Path) -> None:
    records = stopped(dataset, tmp_path, train={"early_stopping": {"patience": 2, "min_delta": 0.02}})
    early = [r for r in records if r.epochs < 40]
    assert early and all(r.epochs - r.best_epoch == 8 for r in early)


def test_a_plateau_ends_a_trial(dataset: Dataset, tmp_path: Path) -> None:
    records = stopped(dataset, tmp_path, train={"stop": {"change": 100.0, "checks": 2}})
    assert {r.epochs for r in records} == {12}, "two of the first three checks have an earlier one"


def test_an_accuracy_is_reached_from_below(dataset: Dataset, tmp_path: Path) -> None:
    records = stopped(dataset, tmp_path, train={"stop": {"value": 0.9}}, metric={"name": "val/accuracy"})
    early = [r for r in records if r.epochs < 40]
    assert early and all(r.history["val/accuracy"][-1] >= 0.9 for r in early)
    assert all(max(r.history["val/accuracy"][:-1], default=0.0) < 0.9 for r in records)

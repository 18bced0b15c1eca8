"""Stopping: early stopping, a target, a plateau, the last epoch, and divergence."""

from typing import Any

import cases
import numpy as np
import pytest

from engine.training.state import State
from hpsearch.training.stopping import Stopping, Verdict


def state(trials: int, epoch: int) -> State:
    found = State.__new__(State)
    theta = np.arange(trials, dtype=np.float32)[:, None]
    found.__dict__.update(
        theta=theta,
        best_theta=theta * 0,
        best_value=np.full(trials, np.inf),
        best_epoch=np.zeros(trials, dtype=np.int64),
        last_value=np.full(trials, np.nan),
        settled=np.zeros(trials, dtype=np.int64),
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

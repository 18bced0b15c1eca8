"""The sections `metric`, `stages` and `pruning`: derived values, short forms, and settings that exclude each other."""

from typing import Any

import pytest
from pydantic import ValidationError

from hpsearch.config.spec.search import Metric, Pruning, Stage


def stage(**settings: Any) -> Stage:
    return Stage.model_validate({"name": "a", **settings})


@pytest.mark.parametrize(
    ("name", "sign", "monitored", "of"),
    [
        ("val/loss", 1, "val/loss", "loss"),
        ("val/roc_auc", -1, "val/roc_auc", "roc_auc"),
        ("val/rmse", 1, "val/rmse", "rmse"),
        ("train/accuracy", -1, "train/accuracy", "accuracy"),
        ("epochs", 1, "val/loss", "epochs"),
    ],
)
def test_metric(name: Any, sign: int, monitored: str, of: str) -> None:
    metric = Metric(name=name)
    assert (metric.sign, metric.monitored, metric.of) == (sign, monitored, of)
    right, wrong = ("minimize", "maximize") if sign > 0 else ("maximize", "minimize")
    assert Metric.model_validate({"name": name, "goal": right}).goal == right
    with pytest.raises(ValidationError, match=f"goal of {name} must be {right}"):
        Metric.model_validate({"name": name, "goal": wrong})


@pytest.mark.parametrize(
    ("written", "seconds"), [(90, 90), (0.5, 0.5), ("90s", 90), ("20m", 1200), ("1h30m", 5400), ("1.5d", 129600)]
)
def test_timeout(written: Any, seconds: float) -> None:
    assert stage(trials=1, timeout=written).timeout == seconds


@pytest.mark.parametrize("written", ["20", "m", "1x", "-5s", "1 h", "", 0, "0s", "1s" * 26])
def test_invalid_timeouts(written: Any) -> None:
    with pytest.raises(ValidationError):
        stage(trials=1, timeout=written)


@pytest.mark.parametrize(
    ("settings", "trials"),
    [
        ({"points": [{"a": 1}, {"a": 2}], "seeds": 3}, 6),
        ({"points": [{"a": 1}, {"a": 2}]}, 2),
        ({"seeds": 5}, 5),
        ({"top": 2, "seeds": 3}, 6),
        ({"points": [{"a": 1}], "trials": 9}, 9),
    ],
)
def test_default_number_of_trials(settings: dict[str, Any], trials: int) -> None:
    assert stage(**settings).trials == trials


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"points": [{}, {}], "seeds": 2, "trials": 3}, "at least points times seeds, 2 times 2, got 3"),
        ({"top": 2}, "seeds must be at least 2 to confirm, got 1"),
        ({"top": 2, "seeds": 2, "trials": 5}, "trials must be top times seeds, 2 times 2, got 5"),
        ({"top": 2, "seeds": 2, "zoom": {}}, "zoom is not allowed with them"),
        ({"top": 2, "seeds": 2, "pruning": "median"}, "pruning is not allowed with them"),
        ({"top": 2, "seeds": 2, "timeout": "1h"}, "timeout is not allowed with them"),
        ({"top": 2, "seeds": 2, "points": [{}]}, "points is not allowed with them"),
    ],
)
def test_invalid_stages(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        stage(**settings)


def test_confirming_stages() -> None:
    assert stage(top=2, seeds=3).confirms and not stage(trials=2).confirms
    assert stage(top=2, seeds=3).how == "top 2 × 3 seeds"
    assert stage(trials=2, sampler="tpe").how == "tpe"


def test_short_form_of_pruning() -> None:
    assert Pruning.model_validate("median") == Pruning(kind="median")


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        ("none", set()),
        ("median", {"min_epochs", "n_startup_trials"}),
        ("hyperband", {"min_epochs", "reduction"}),
        ("successive_halving", {"min_epochs", "reduction"}),
    ],
)
def test_settings_of_each_kind_of_pruning(kind: str, allowed: set[str]) -> None:
    for name in ("min_epochs", "reduction", "n_startup_trials"):
        if name in allowed:
            assert getattr(Pruning.model_validate({"kind": kind, name: 2}), name) == 2
        else:
            with pytest.raises(ValidationError, match=f"{name} is for .*, not for {kind}"):
                Pruning.model_validate({"kind": kind, name: 2})

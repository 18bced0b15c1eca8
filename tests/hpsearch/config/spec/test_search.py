"""The sections `metric`, `stages` and `pruning`: derived values, short forms, and settings that exclude each other."""

from typing import Any

import pytest
from pydantic import ValidationError

from hpsearch.config.spec.search import Metric, Pruning, Stage, Zoom


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
        ("promote", {"min_epochs", "reduction"}),
    ],
)
def test_settings_of_each_kind_of_pruning(kind: str, allowed: set[str]) -> None:
    for name in ("min_epochs", "reduction", "n_startup_trials"):
        if name in allowed:
            assert getattr(Pruning.model_validate({"kind": kind, name: 2}), name) == 2
        else:
            with pytest.raises(ValidationError, match=f"{name} is for .*, not for {kind}"):
                Pruning.model_validate({"kind": kind, name: 2})


def test_limits_of_a_stage() -> None:
    """With a budget or a timeout, the number of trials may be open; a confirming stage has no budget."""
    assert stage(budget=5).trials is None and stage(budget=5).size == "budget 5"
    assert stage(budget=5, points=[{"a": 1}]).trials is None and stage(timeout="1m", seeds=2).trials is None
    assert (
        stage(trials=4, budget=5).size == "4 trials"
        and stage(budget=0.5, timeout=60).size == "budget 0.5, timeout 60 s"
    )
    assert not stage().limited and stage(timeout=1).limited
    with pytest.raises(ValidationError, match="budget is not allowed"):
        stage(top=2, seeds=3, budget=4)


@pytest.mark.parametrize(
    ("written", "keep_top", "keep", "every", "outside", "margin"),
    [
        ({}, None, 6, 8, 0.1, 0.05),
        ({"keep": 3, "every": 2}, None, 3, 2, 0.1, 0.05),
        ({"outside": 0.0, "margin": 0.0}, None, 6, 8, 0.0, 0.0),
        ({"keep_top": 0.25}, 0.25, None, None, None, 0.1),
    ],
)
def test_zoom(written: Any, keep_top: Any, keep: Any, every: Any, outside: Any, margin: float) -> None:
    """Renewed by default, or once; what is stored is read back unchanged."""
    zoom = Zoom.model_validate(written)
    assert (zoom.keep_top, zoom.keep, zoom.every, zoom.outside, zoom.margin) == (keep_top, keep, every, outside, margin)
    assert zoom.renewed == (keep_top is None) and Zoom.model_validate(zoom.model_dump(mode="json")) == zoom


@pytest.mark.parametrize("name", ["keep", "every", "outside"])
def test_forms_of_zoom_exclude_each_other(name: str) -> None:
    with pytest.raises(ValidationError, match=f"so {name} is not allowed"):
        Zoom.model_validate({"keep_top": 0.2, name: 1})


@pytest.mark.parametrize("rungs", [[], [3, 2], [2, 2], [0]])
def test_rungs_increase(rungs: list[int]) -> None:
    with pytest.raises(ValidationError):
        Pruning.model_validate({"kind": "promote", "rungs": rungs})
    with pytest.raises(ValidationError, match="min_epochs is not allowed"):
        Pruning.model_validate({"kind": "promote", "rungs": [2, 4], "min_epochs": 2})

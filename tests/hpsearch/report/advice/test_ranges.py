"""Advice on ranges: wider where the best trial lies, by scale, and never beyond natural limits."""

import math
from typing import Any

import pytest

from hpsearch.core.space import Point
from hpsearch.report.advice.collect import advise
from hpsearch.report.advice.ranges import range_advice, widened
from hpsearch.search.statistics.trends import trends
from tests.hpsearch.report.advice.advice_cases import study, summary_of


@pytest.mark.parametrize(
    ("name", "parameter", "upper", "expected"),
    [
        ("l2", {"min": 1e-6, "max": 1e-2, "scale": "log"}, True, {"max": 0.1}),
        ("l2", {"min": 1e-3, "max": 1e-2, "scale": "log"}, False, {"min": 4.6e-4}),
        ("l2", {"min": 0.0, "max": 1e-2}, False, None),
        ("learning_rate", {"min": 0.1, "max": 0.3}, True, {"max": 0.4}),
        ("hidden_units", {"type": "int", "min": 4, "max": 64, "scale": "log"}, True, {"max": 162}),
        ("hidden_units", {"type": "int", "min": 1, "max": 4}, False, None),
        ("dropout", {"min": 0.0, "max": 0.8}, True, {"max": 0.9}),
        ("dropout", {"min": 0.0, "max": 0.9}, True, None),
        ("beta", {"min": 0.9, "max": 0.99, "scale": "one_minus_log"}, True, {"max": 0.9954}),
        ("batch_size", {"values": [16, 32], "ordered": True}, True, {"values": [16, 32, 64]}),
        ("batch_size", {"values": [1, 2], "ordered": True}, False, None),
    ],
)
def test_wider_ranges(name: str, parameter: dict[str, Any], upper: bool, expected: dict[str, Any] | None) -> None:
    parameters = {"learning_rate": 0.1, "hidden_units": 8, name: parameter}
    spec = study(parameters=parameters, train={"optimizer": "momentum", "epochs": 20})
    of = summary_of(spec, lambda p: 0.5)
    axis = next(a for a in of.space.axes if a.name == name)
    change = widened(of, axis, upper=upper)
    assert (change and change.new) == (expected and {**parameter, **expected})
    if change is not None:
        study(parameters={**parameters, name: change.new}, train={"optimizer": "momentum", "epochs": 20})


def test_larger_networks_only_if_larger_ones_did_better() -> None:
    """The best trial has the most units in both studies; only in the first one did larger networks do better."""

    def by_luck(point: Point) -> float:
        return 0.9 if point["hidden_units"] == 64 else 0.5 + math.sin(1e4 * float(point["l2"])) / 99

    for value, expected in ((lambda p: 0.5 + 0.005 * float(p["hidden_units"]), ["hidden_units"]), (by_luck, [])):
        of = summary_of(study(), value, first={"hidden_units": 64})
        assert of.champion is not None and of.champion.point["hidden_units"] == 64
        changes = [c for a in advise(of) for c in a.changes if c.parameter == "hidden_units" or "hidden" in c.key]
        assert [c.parameter for c in changes] == expected


def test_the_evidence_names_its_numbers() -> None:
    of = summary_of(study(), lambda p: 0.5 + 0.05 * math.log10(float(p["l2"])))
    found = str(next(a for a in advise(of) if a.topic == "range"))
    assert "is at the upper end of its range, 1e-06 to 0.01; larger l2 did better (rank correlation +1.00" in found
    assert "Change parameters.l2: {min: 1e-06, max: 0.01, scale: log} → {min: 1e-06, max: 0.1, scale: log}" in str(
        found
    )


def test_a_tied_trial_elsewhere_proves_nothing() -> None:
    """All trials are equal, so the first one is the best by order only, wherever it lies."""
    of = summary_of(study(), lambda p: 0.5)
    assert not list(range_advice(of, trends(of.spec, of.space, of.trials)))

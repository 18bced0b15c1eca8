"""Rules across sections: points, parameters that no setting uses, and values that the engine refuses."""

import cases
import pytest

from hpsearch.errors import SpecError
from tests.hpsearch.config.test_instantiate import study


def test_seeds_without_points_are_refused() -> None:
    with pytest.raises(SpecError, match="seeds needs points, unless the study searches no parameter"):
        cases.small(stages=[{"name": "a", "seeds": 4}])


def test_an_ensemble_of_one_trial_is_refused() -> None:
    with pytest.raises(SpecError, match="ensemble: an ensemble is selected from two or more trials, the study has 1"):
        cases.small(stages=[{"name": "a", "trials": 1}], ensemble={})


@pytest.mark.parametrize(
    ("ensemble", "message"),
    [({"size": 1}, "greater than or equal to 2"), ({"sise": 3}, "did you mean 'size'"), (3, "must be a mapping")],
)
def test_invalid_ensembles(ensemble: object, message: str) -> None:
    with pytest.raises(SpecError, match="ensemble") as caught:
        cases.small(ensemble=ensemble)
    assert message in str(caught.value)


POINTS = {
    "unknown": ([{"lerning_rate": 0.1}], "'lerning_rate' is not a searched parameter; did you mean 'learning_rate'?"),
    "outside": ([{"learning_rate": 2.0}], "must lie in its range 0.001 … 1.0, got 2.0"),
    "no choice": ([{"optimizer": "sgd"}], "must be one of momentum, adam, got sgd"),
    "not there": ([{"depth": 1, "more_units": 3}], "inactive here: no setting uses it"),
    "no whole number": ([{"depth": 1.5}], "must be a whole number, got 1.5"),
}


@pytest.mark.parametrize("case", POINTS)
def test_invalid_points(case: str) -> None:
    points, message = POINTS[case]
    with pytest.raises(SpecError, match=r"stages\.0\.points") as caught:
        cases.small(**{**cases.RICH, "stages.0.points": points} | {"stages": [{"name": "a", "points": points}]})
    assert message in str(caught.value)


def test_points_after_a_zoom_are_refused() -> None:
    stages = [dict(stage) for stage in cases.RICH["stages"]]
    stages[1]["points"] = [{"depth": 1}]
    with pytest.raises(SpecError, match="list points in a stage before the first zoom"):
        cases.small(**{**cases.RICH, "stages": stages})


def test_units_of_a_layer_that_never_exists_are_unused() -> None:
    with pytest.raises(SpecError, match=r"parameters\.b: not used by any setting"):
        study({"hidden": [4, {"units": "b"}], "depth": 1}, {"b": {"type": "int", "min": 2, "max": 9}})


def test_the_metric_epochs_needs_a_value_to_reach() -> None:
    with pytest.raises(SpecError, match=r"epochs counts the epochs until train\.stop\.value"):
        cases.small(metric={"name": "epochs"})


def test_too_many_layers_to_check() -> None:
    """They are counted, and the check ends early."""
    rates = [number / 1000 for number in range(1, 200)]
    parameters = {"learning_rate": {"values": rates}, "depth": 1000}
    with pytest.raises(SpecError, match=r"parameters: too many values and layers to check: more than 100,000 layers"):
        study({"depth": "depth", "hidden": [4]}, parameters, optimizer="sgd")

"""The section `train`: stopping conditions and checks."""

from typing import Any

import pytest
from pydantic import ValidationError

from hpsearch.config.spec.train import Stop, Train


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "must have a value to reach or a change to fall below"),
        ({"checks": 2}, "must have a value to reach or a change to fall below"),
        ({"value": 0.1, "checks": 2}, "checks needs change"),
        ({"change": 0.0}, "greater than 0"),
        ({"change": 0.1, "checks": 0}, "greater than or equal to 1"),
    ],
)
def test_invalid_stopping_conditions(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Stop.model_validate(settings)


@pytest.mark.parametrize("settings", [{"value": 0.1}, {"change": 0.1}, {"value": 0.1, "change": 0.1, "checks": 3}])
def test_stopping_conditions(settings: dict[str, Any]) -> None:
    assert Stop.model_validate(settings).model_dump(exclude_unset=True) == settings


def test_epochs_are_a_multiple_of_the_interval_of_checks() -> None:
    assert Train(epochs=12, check_every=4).check_every == 4
    with pytest.raises(ValidationError, match="epochs must be a multiple of check_every, got 10 and 4"):
        Train(epochs=10, check_every=4)

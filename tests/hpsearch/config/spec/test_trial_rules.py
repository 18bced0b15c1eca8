"""The rules that end a trial: stopping conditions, durations and sizes."""

from typing import Any

import pytest
from pydantic import ValidationError

from hpsearch.config.spec.trial_rules import Stop, TrialRules


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


@pytest.mark.parametrize(
    ("written", "size"), [(2_000_000, 2_000_000), ("500MB", 500 * 10**6), ("1.5 GB", 1_500_000_000), ("2GiB", 2**31)]
)
def test_memory(written: Any, size: int) -> None:
    assert TrialRules(memory=written).memory == size


@pytest.mark.parametrize("written", ["2", "GB", "2 TB", "-1GB", "1GB ", 10, "9" * 60 + "MB"])
def test_invalid_memory(written: Any) -> None:
    with pytest.raises(ValidationError, match=r"must be a size such as 500MB or 2GB|greater than or equal to 1000000"):
        TrialRules(memory=written)

"""Choices: a name, or a mapping with a name and settings."""

from typing import Any

import pytest
from pydantic import ValidationError

from hpsearch.config.spec.choice import Choice


@pytest.mark.parametrize(
    ("written", "name", "settings"),
    [
        ("momentum", "momentum", {}),
        ({"name": "momentum"}, "momentum", {}),
        ({"name": "momentum", "classical": True, "beta": "b"}, "momentum", {"classical": True, "beta": "b"}),
        ({"name": "momentum", "settings": {"beta": 0.9}}, "momentum", {"beta": 0.9}),
    ],
)
def test_forms(written: Any, name: str, settings: dict[str, Any]) -> None:
    choice = Choice.of(written)
    assert (choice.name, choice.settings) == (name, settings)
    assert Choice.of(choice.model_dump(mode="json")) == choice


@pytest.mark.parametrize("written", [3, None, ["momentum"], {}, {"classical": True}, {"name": 3}])
def test_invalid_forms(written: Any) -> None:
    with pytest.raises(ValidationError):
        Choice.of(written)

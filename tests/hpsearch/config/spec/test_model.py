"""The section `model`: short forms, and the two forms of a network."""

from typing import Any

import pytest
from pydantic import ValidationError

from hpsearch.config.spec.model import Hidden, ModelSpec, Output


@pytest.mark.parametrize("units", [8, "hidden_units"])
def test_short_form_of_a_hidden_layer(units: int | str) -> None:
    assert Hidden.model_validate(units) == Hidden(units=units)


def test_short_form_of_the_output() -> None:
    assert Output.model_validate("softplus").activation.name == "softplus"


def test_true_is_not_a_number_of_units() -> None:
    with pytest.raises(ValidationError) as caught:
        Hidden.model_validate(True)
    assert caught.value.errors()[0]["loc"] == ()  # not taken as `units`


@pytest.mark.parametrize("other", [{"hidden": [8]}, {"depth": 2}, {"input_dropout": 0.1}])
def test_layers_exclude_the_short_form(other: dict[str, Any]) -> None:
    (key,) = other
    with pytest.raises(ValidationError, match=f"layers lists every layer, so {key} is not allowed with it"):
        ModelSpec.model_validate({"layers": ["flatten"], **other})
    assert ModelSpec.model_validate({"layers": ["flatten"]}).hidden == ()


def test_depth_needs_a_hidden_layer() -> None:
    with pytest.raises(ValidationError, match="depth needs an entry of hidden to repeat"):
        ModelSpec.model_validate({"depth": 2})
    assert ModelSpec.model_validate({"depth": 2, "hidden": [8]}).depth == 2

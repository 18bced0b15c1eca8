"""The spec of a study file: required sections and bounds."""

from typing import Any

import cases
import pytest

from hpsearch.config.load import restore_spec
from hpsearch.errors import SpecError


@pytest.mark.parametrize("section", ["name", "data", "parameters", "stages"])
def test_required_sections(section: str) -> None:
    content = cases.content()
    del content[section]
    with pytest.raises(SpecError, match=section):
        restore_spec(content, "here")


@pytest.mark.parametrize("section", ["model", "metric", "pruning", "duplicates", "max_failed", "wave", "workers"])
def test_optional_sections(section: str) -> None:
    """A study without these sections has the defaults; the parameters of hidden units go with the model."""
    content = cases.content()
    content.pop(section, None)
    if section == "model":
        del content["parameters"]["hidden_units"]
    spec = restore_spec(content, "here")
    assert getattr(spec, section) == type(spec).model_fields[section].default


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", -1), ("stages", []), ("max_failed", -1), ("wave", 0), ("workers", 0), ("workers", "all")],
)
def test_values_out_of_bounds(key: str, value: Any) -> None:
    with pytest.raises(SpecError, match=key):
        restore_spec(cases.content(**{key: value}), "here")

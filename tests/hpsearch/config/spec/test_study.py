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


@pytest.mark.parametrize(
    "section", ["model", "metric", "pruning", "duplicates", "max_failed", "parallel", "budget", "timeout", "workers"]
)
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
    [
        ("seed", -1),
        ("stages", []),
        ("max_failed", -1),
        ("parallel", 0),
        ("budget", 0),
        ("timeout", "soon"),
        ("workers", 0),
        ("workers", "all"),
    ],
)
def test_values_out_of_bounds(key: str, value: Any) -> None:
    with pytest.raises(SpecError, match=key):
        restore_spec(cases.content(**{key: value}), "here")


CONFIRM = {"name": "confirm", "top": 2, "seeds": 3}


@pytest.mark.parametrize(
    ("stages", "budgets", "timeouts"),
    [
        ([{}], [25], [100]),
        ([{}, {}], [5, 20], [20, 80]),
        ([{}, {}, {}], [5, 10, 10], [20, 40, 40]),
        ([{}, {"trials": 9}, {}], [5, None, 20], [20, None, 80]),
        ([{"budget": 3}, {}, CONFIRM], [3, 25, None], [None, 90, None]),
        ([{}, {}, CONFIRM], [5, 20, None], [18, 72, None]),
    ],
)
def test_stages_share_the_limits_of_the_study(stages: list[dict[str, Any]], budgets: Any, timeouts: Any) -> None:
    """The first of several stages gets 20 %; of a timeout, a tenth is left to confirm. Read back unchanged."""
    named = [{"name": f"s{n}", **stage} for n, stage in enumerate(stages)]
    spec = cases.small(stages=named, budget=25)
    assert [stage.budget for stage in spec.stages] == budgets
    stored = spec.model_dump(mode="json")
    assert restore_spec(stored, "here").model_dump(mode="json") == stored
    found = [stage.timeout for stage in cases.small(stages=named, timeout="100s").stages]
    assert found == pytest.approx(timeouts)


def test_a_stage_needs_a_limit() -> None:
    with pytest.raises(SpecError, match="a stage must have trials, budget or timeout"):
        cases.small(stages=[{"name": "a"}])

"""Conditions and short forms that are added to pydantic's schema of the sections."""

from typing import Any

import cases
import jsonschema
import pytest

from hpsearch.config.schema import json_schema
from hpsearch.config.schema.sections import CHOICES, SETTINGS

SCHEMA = json_schema()


def accepts(section: str, value: Any) -> bool:
    schema = {"$ref": f"#/$defs/{section}", "$defs": SCHEMA["$defs"]}
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


@pytest.mark.parametrize(
    ("section", "accepted", "refused"),
    [
        ("Hidden", 8, 0),
        ("Hidden", "hidden_units", True),
        ("Hidden", {"units": 8, "dropout": 0.5}, {"units": 8, "dropout": 1}),
        ("Hidden", {"units": 8, "batch_norm": "before"}, {"units": 8, "batch_norm": 3}),
        ("Output", "softplus", 3),
        ("Pruning", "median", "medium"),
        ("Pruning", {"kind": "median", "n_startup_trials": 5}, {"kind": "hyperband", "n_startup_trials": 5}),
        ("Pruning", {"kind": "hyperband", "reduction": 4}, {"kind": "median", "reduction": 4}),
        ("Pruning", {"min_epochs": None}, {"min_epochs": 3}),
        ("Stop", {"value": 0.5}, {"checks": 2}),
        ("Train", {"batch_size": "full"}, {"batch_size": 0}),
        ("Train", {"learning_rate": 0}, {"learning_rate": -1}),
        ("ModelSpec", {"layers": ["flatten"]}, {"layers": ["flatten"], "hidden": [3]}),
        ("ModelSpec", {"depth": 2, "hidden": [3]}, {"depth": 2}),
        ("Metric", {"name": "val/loss", "goal": "minimize"}, {"name": "val/loss", "goal": "maximize"}),
        ("Metric", {"name": "val/f1", "goal": "maximize"}, {"name": "val/f1", "goal": "minimize"}),
        ("Stage", {"name": "a", "trials": 3}, {"trials": 3}),
        ("Stage", {"name": "a", "top": 3, "seeds": 2}, {"name": "a", "top": 3, "seeds": 2, "budget": 1}),
        ("Zoom", {"keep_top": 0.2}, {"keep_top": 0.2, "every": 3}),
        ("Pruning", {"kind": "stop", "rungs": [2]}, {"kind": "stop", "rungs": [2], "min_epochs": 2}),
        ("Pruning", {"kind": "promote", "reduction": 2}, {"kind": "none", "reduction": 2}),
        ("Stage", {"name": "a", "top": 3, "seeds": 2}, {"name": "a", "top": 3, "seeds": 1}),
        ("Stage", {"name": "a", "top": 3, "seeds": 2}, {"name": "a", "top": 3, "seeds": 2, "zoom": {}}),
        ("Stage", {"name": "a", "trials": 3, "timeout": "1h30m"}, {"name": "a", "trials": 3, "timeout": "1x"}),
        ("Range", {"min": 1, "max": 2, "scale": "log"}, {"min": 0, "max": 2, "scale": "log"}),
        ("Range", {"min": 1, "max": 2, "type": "int"}, {"min": 1.5, "max": 2, "type": "int"}),
        ("Range", {"min": 0.5, "max": 0.9, "scale": "one_minus_log"}, {"min": 0.5, "max": 1, "scale": "one_minus_log"}),
        ("Values", {"values": ["a", 1]}, {"values": ["a", "a"]}),
        ("Values", {"values": [1, 2], "ordered": True}, {"values": ["a", 1], "ordered": True}),
    ],
)
def test_each_condition(section: str, accepted: Any, refused: Any) -> None:
    assert accepts(section, accepted)
    assert not accepts(section, refused)


@pytest.mark.parametrize(
    ("stage", "study", "valid"),
    [
        ({}, {}, False),
        ({"trials": None}, {"budget": None}, False),
        ({"trials": 3}, {}, True),
        ({"budget": 2.5}, {}, True),
        ({}, {"budget": 25}, True),
        ({}, {"timeout": "20m"}, True),
    ],
)
def test_a_stage_has_a_limit(stage: Any, study: Any, valid: bool) -> None:
    """The limit is its own, or a share of the study's."""
    content = cases.content(stages=[{"name": "a", **stage}]) | study
    assert jsonschema.Draft202012Validator(SCHEMA).is_valid(content) == valid


@pytest.mark.parametrize("name", [0, "", ".a", "a" * 300])
def test_names_of_parameters(name: Any) -> None:
    schema = SCHEMA["properties"]["parameters"]["propertyNames"]
    validator = jsonschema.Draft202012Validator({**schema, "type": "string"})
    assert validator.is_valid("learning rate") and not validator.is_valid(name)


def test_settings_and_choices_exist() -> None:
    """Every completed key is a key of its section, keeps its description and refers to its menu."""

    def properties(section: str) -> Any:
        schema = SCHEMA["$defs"][section]
        return next(form["properties"] for form in [schema, *schema.get("anyOf", [])] if "properties" in form)

    for section, settings in SETTINGS.items():
        for key, schema in settings.items():
            assert schema.items() <= properties(section)[key].items() and properties(section)[key]["description"]
    for section, menus in CHOICES.items():
        for key, menu in menus.items():
            assert f"#/$defs/{menu}'" in str(properties(section)[key]) and properties(section)[key]["description"]

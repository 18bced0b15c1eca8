"""The schema of a choice from a menu."""

import dataclasses
import inspect
from typing import Any

import jsonschema
import pytest

from hpsearch.config.schema.choices import MENUS, Menu, choice_schema


@dataclasses.dataclass(frozen=True)
class Wave:
    """y = sin(fx).

    More about it.

    Args:
        frequency: waves in a unit, on
            two lines.
        widths: some numbers.
    """

    frequency: float = 2.0
    widths: tuple[int, ...] = (1, 2)
    units: int = 3
    rounded: bool = False


@dataclasses.dataclass(frozen=True)
class Flat:
    """y = 0."""


MENU = Menu("Curves", "curve", {"wave": Wave, "flat": Flat}, ("units",))
VALIDATOR = jsonschema.Draft202012Validator(choice_schema(MENU))


@pytest.mark.parametrize(
    "written",
    [
        "wave",
        "a parameter",
        {"name": "wave"},
        {"name": "wave", "frequency": 3.5, "widths": [1, "w"], "rounded": True},
        {"name": "wave", "frequency": "f"},
        {"name": "a parameter", "frequency": 3},
        {"name": "wave", "settings": {"frequency": 3}},
    ],
)
def test_accepted(written: Any) -> None:
    assert VALIDATOR.is_valid(written)


@pytest.mark.parametrize(
    "written",
    [
        3,
        {},
        {"frequency": 3},
        {"name": "flat", "frequency": 3},
        {"name": "wave", "frequency": [3]},
        {"name": "wave", "widths": 3},
        {"name": "wave", "rounded": 2.5},
        {"name": "wave", "units": 3},
        {"name": "a parameter", "other": 3},
    ],
)
def test_refused(written: Any) -> None:
    """Derived settings, such as `units`, are refused as unknown keys."""
    assert not VALIDATOR.is_valid(written)


@pytest.mark.parametrize("indented", [True, False], ids=["3.12", "3.13"])
def test_descriptions_and_defaults(monkeypatch: pytest.MonkeyPatch, indented: bool) -> None:
    """They are those of the class: its first sentence, its documented attributes and its defaults.

    Python's compiler removes the common indentation of docstrings from 3.13 on.
    """
    text = inspect.cleandoc(Wave.__doc__ or "")
    monkeypatch.setattr(Wave, "__doc__", text.replace("\n", "\n    ") if indented else text)
    schema = choice_schema(MENU)
    by_name = {form.get("const"): form for form in schema["anyOf"]}
    assert by_name["wave"]["description"] == "y = sin(fx)."
    (full,) = [f for f in schema["anyOf"] if f.get("properties", {}).get("name", {}).get("const") == "wave"]
    assert full["properties"]["frequency"] == {
        "description": "Waves in a unit, on two lines.",
        "type": ["number", "string", "null"],
        "default": 2.0,
    }
    assert full["properties"]["widths"]["default"] == [1, 2]
    assert full["properties"]["rounded"]["description"] == "Setting of wave: y = sin(fx)."


@pytest.mark.parametrize("menu", MENUS)
def test_every_name_is_accepted(menu: str) -> None:
    """Constants come before parameters, so that editors complete them."""
    forms = choice_schema(MENUS[menu])["anyOf"]
    assert [form["const"] for form in forms if "const" in form] == list(MENUS[menu].entries)
    assert all(form["description"] for form in forms)

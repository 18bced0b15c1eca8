"""Choices from a menu: a name, or a mapping of name and settings; parameters may provide both."""

import dataclasses
import inspect
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.activations import ACTIVATIONS, ALL_LAYERS, HIDDEN_ACTIVATIONS
from engine.data.augmentation import AUGMENTATIONS
from engine.data.row_sampling import ROW_SAMPLINGS
from engine.initializers import INITIALIZERS
from engine.optimizers import OPTIMIZERS
from engine.training.clipping import CLIPS
from engine.training.schedules import SCHEDULES
from hpsearch.config.references import field_kinds
from hpsearch.config.spec.model import LAYER_LISTS


class Menu(NamedTuple):
    """A menu of the engine.

    Attributes:
        title: its heading in the reference.
        noun: one entry of the menu.
        entries: name → class, a frozen dataclass whose fields are the settings.
        derived: fields that other settings determine, so they are not settings here.
    """

    title: str
    noun: str
    entries: Mapping[str, Any]
    derived: tuple[str, ...] = ()


MENUS = {
    "Layer": Menu("Layers", "layer", ALL_LAYERS),
    "Activation": Menu("Activations", "activation", ACTIVATIONS),
    "HiddenActivation": Menu(
        "Activations of hidden layers", "activation", HIDDEN_ACTIVATIONS, ("units", "initializer")
    ),
    "Initializer": Menu("Initializers", "initializer", INITIALIZERS),
    "Optimizer": Menu("Optimizers", "optimizer", OPTIMIZERS),
    "Schedule": Menu("Schedules", "schedule", SCHEDULES),
    "Clip": Menu("Gradient clipping", "gradient clipping", CLIPS),
    "RowSampling": Menu("Row sampling", "row sampling", ROW_SAMPLINGS),
    "Augmentation": Menu("Augmentations", "augmentation", AUGMENTATIONS),
}


def choice_schema(menu: Menu) -> dict[str, Any]:
    """Return the schema of a choice from a menu."""
    settings = {name: _settings(name, kind, menu.derived) for name, kind in menu.entries.items()}
    every = {key: schema for each in settings.values() for key, schema in each.items()}
    parameter = f"The parameter whose value is the name of the {menu.noun}."
    return {
        "description": f"One {menu.noun}: its name, or a mapping with its name and settings.",
        "anyOf": [
            *({"const": name, "description": _summary(kind)} for name, kind in menu.entries.items()),
            {"type": "string", "description": parameter},
            *(
                _mapping(
                    {"const": name, "description": f"Name of the {menu.noun}."},
                    settings[name],
                    _summary(kind),
                    *(key for key, schema in settings[name].items() if "minItems" in schema),
                )
                for name, kind in menu.entries.items()
            ),
            _mapping(
                {"type": "string", "not": {"enum": list(menu.entries)}, "description": parameter}, every, parameter
            ),
            _mapping(
                {"type": "string", "description": f"Name of the {menu.noun}."},
                {"settings": {"type": "object", "description": "Its settings by name."}},
                "The form in which studies are stored.",
                "settings",
            ),
        ],
    }


def _mapping(name: dict[str, Any], settings: dict[str, Any], description: str, *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "properties": {"name": name, **settings},
        "required": ["name", *required],
        "additionalProperties": False,
    }


def _settings(name: str, kind: Any, derived: tuple[str, ...]) -> dict[str, Any]:
    fields = (field for field in dataclasses.fields(kind) if field.name not in derived)
    return {field.name: _setting(name, kind, field) for field in fields}


def _setting(name: str, kind: Any, field: "dataclasses.Field[Any]") -> dict[str, Any]:
    attribute = re.search(rf"^ +{field.name}: (.+(?:\n {{8,}}.+)*)", _documentation(kind), re.MULTILINE)
    about = re.sub(r"\s+", " ", attribute[1]) if attribute else f"setting of {name}: {_summary(kind)}"
    result: dict[str, Any] = {"description": f"{about[0].upper()}{about[1:]}", **_type(field)}
    default = field.default
    if default is not dataclasses.MISSING and default is not None and field.name not in LAYER_LISTS:
        result["default"] = list(default) if isinstance(default, tuple) else default
    return result


def _type(field: "dataclasses.Field[Any]") -> dict[str, Any]:
    """Return the type of a setting; text is the name of a parameter."""
    if field.name in LAYER_LISTS:
        items = {"items": {"$ref": "#/$defs/Layer"}}
        required = field.default is dataclasses.MISSING
        return {"type": "array", **items, "minItems": 1} if required else {"type": ["array", "null"], **items}
    if field.name == "initializer":
        return {"anyOf": [{"$ref": "#/$defs/Initializer"}, {"type": "null"}]}
    kinds = field_kinds(field.type)
    number = "number" if float in kinds else "boolean" if bool in kinds else "integer"
    single = [number, "string"] if kinds - {tuple} else []
    listed: dict[str, Any] = {"items": {"type": [number, "string"]}} if tuple in kinds else {}
    return {"type": [*single, *(["array"] if listed else []), "null"], **listed}


def _summary(kind: Any) -> str:
    """Return the first paragraph of a class's docstring, which has its formula."""
    return _documentation(kind).split("\n\n")[0].replace("\n", " ")


def _documentation(kind: Any) -> str:
    """Return a class's docstring without common indentation, which Python 3.13 removes but 3.12 keeps in `__doc__`."""
    return inspect.getdoc(kind) or ""

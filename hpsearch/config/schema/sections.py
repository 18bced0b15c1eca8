"""Complete pydantic's schema of the sections: short forms, menus, ranges of settings, and conditions between keys."""

from collections.abc import Sequence
from typing import Any

from hpsearch.config.hints import MAX_NAME_LENGTH
from hpsearch.config.instantiate import MAX_HIDDEN_LAYERS
from hpsearch.config.spec import Train
from hpsearch.config.spec.model import BATCH_NORM_PLACES
from hpsearch.config.spec.objective import KINDS
from hpsearch.config.spec.search import METRIC_NAMES, Metric
from hpsearch.config.spec.trial_rules import DURATION, MAX_DURATION_LENGTH, SIZE
from hpsearch.core.space import MAX_MAGNITUDE
from hpsearch.data.preprocessing import IMPUTES, SCALES
from hpsearch.data.sources import SOURCES

Schema = dict[str, Any]
SCALAR = {"type": ["boolean", "number", "string"]}
PARAMETER = {"type": "string", "description": "Name of the parameter that provides the value."}
SHARE = {"type": ["number", "string", "null"], "minimum": 0, "exclusiveMaximum": 1}
NOT_NEGATIVE = {"type": ["number", "string", "null"], "minimum": 0}

# Section → key → schema of a setting: a number, or the name of a parameter.
SETTINGS: dict[str, dict[str, Schema]] = {
    "Hidden": {
        "units": {"type": ["integer", "string"], "minimum": 1},
        "dropout": SHARE,
        "batch_norm": {"anyOf": [{"enum": [*BATCH_NORM_PLACES, None]}, PARAMETER]},
    },
    "ModelSpec": {
        "depth": {"type": ["integer", "string", "null"], "minimum": 0, "maximum": MAX_HIDDEN_LAYERS},
        "input_dropout": SHARE,
    },
    "OptimizerSwitch": {
        "epoch": {"type": ["integer", "string"], "minimum": 1},
        "learning_rate": NOT_NEGATIVE,
    },
    "Train": {
        "learning_rate": NOT_NEGATIVE,
        "batch_size": {"anyOf": [{"type": ["integer", "string", "null"], "minimum": 1}, {"const": "full"}]},
        "l2": NOT_NEGATIVE,
        "l1": NOT_NEGATIVE,
        "label_smoothing": SHARE,
    },
}
# Section → key → its menu.
CHOICES = {
    "Hidden": {"activation": "HiddenActivation", "initializer": "Initializer"},
    "Output": {"activation": "Activation", "initializer": "Initializer"},
    "ModelSpec": {"layers": "Layer", "initializer": "Initializer"},
    "OptimizerSwitch": {"optimizer": "Optimizer"},
    "Train": {
        "optimizer": "Optimizer",
        "schedule": "Schedule",
        "clip": "Clip",
        "augment": "Augmentation",
        "row_sampling": "RowSampling",
    },
}


def complete_sections(spec: Schema, definitions: dict[str, Schema]) -> None:
    """Complete the schemas of the sections in place.

    Args:
        spec: the whole study file.
        definitions: section → schema.
    """
    for section, settings in SETTINGS.items():
        for key, schema in settings.items():
            _replace(definitions[section], key, schema)
    for section, menus in CHOICES.items():
        for key, menu in menus.items():
            _choice(definitions[section], key, menu)
    _data(spec, definitions)
    _parameters(spec, definitions)
    _model(definitions)
    _search(spec, definitions)
    for properties in (spec["properties"], *(d["properties"] for d in definitions.values() if "properties" in d)):
        for schema in properties.values():
            match schema.get("default"):
                case {"name": name, "settings": _}:
                    schema["default"] = name
                case {}:
                    del schema["default"]  # the section's keys have their own defaults
    for name, short in (
        ("Hidden", {"type": ["integer", "string"], "minimum": 1, "description": "The units alone."}),
        ("Output", {"type": "string", "description": "The activation alone."}),
        ("Pruning", {**definitions["Pruning"]["properties"]["kind"], "description": "The kind alone."}),
    ):
        definitions[name] = {"description": definitions[name].pop("description"), "anyOf": [short, definitions[name]]}


def _replace(section: Schema, key: str, schema: Schema) -> None:
    """Replace the schema of a key, except for its description and default."""
    old = section["properties"][key]
    section["properties"][key] = {k: old[k] for k in ("description", "default") if k in old} | schema


def _choice(section: Schema, key: str, menu: str) -> None:
    old = section["properties"][key]
    forms = old.get("anyOf", [old])
    schema: Schema = {"$ref": f"#/$defs/{menu}"}
    if any(form.get("type") == "array" for form in forms):
        schema = {"type": "array", "items": schema}
    if {"type": "null"} in forms:
        schema = {"anyOf": [schema, {"type": "null"}]}
    _replace(section, key, schema)


def _data(spec: Schema, definitions: dict[str, Schema]) -> None:
    sources = {name: definitions[kind.__name__] for name, kind in SOURCES.items()}
    for name, source in sources.items():
        properties = source["properties"]
        properties["source"] = {"const": name, "description": "Source."}
        source["required"] = list(dict.fromkeys(["source", *source.get("required", ())]))
        for key, menu in (("scale", SCALES), ("impute", IMPUTES)):
            if key in properties:
                _replace(source, key, {"anyOf": [{"enum": list(menu)}, PARAMETER]})
        for key in ("min_frequency", "max_categories"):
            if key in properties:
                number = next(form for form in properties[key]["anyOf"] if form["type"] == "integer")
                _replace(source, key, {"anyOf": [number, PARAMETER]})
        rows = next(form for form in properties["train_rows"]["anyOf"] if form["type"] == "integer")
        _replace(source, "train_rows", {"anyOf": [rows, PARAMETER, {"type": "null"}]})
        if "missing" in properties:
            markers: Schema = {"type": "array", "items": SCALAR}
            by_column = {"type": "object", "additionalProperties": markers}
            _replace(source, "missing", {"anyOf": [markers, by_column, {"type": "null"}]})
            _replace(source, "labels", {"type": "object", "additionalProperties": SCALAR})
    links = [{"$ref": f"#/$defs/{kind.__name__}"} for kind in SOURCES.values()]
    _replace(spec, "data", {"anyOf": [*links, {"type": "null"}]})


def _parameters(spec: Schema, definitions: dict[str, Schema]) -> None:
    kinds = [{"$ref": f"#/$defs/{name}"} for name in ("Range", "Values", "Fixed")]
    names = {"pattern": r"^[^\W/.][\w .:/-]*$", "maxLength": MAX_NAME_LENGTH}
    bare = {**SCALAR, "description": "A fixed value."}
    parameter = {"description": "A range, a list of values, or a fixed value.", "anyOf": [*kinds, bare]}
    _replace(spec, "parameters", {"type": "object", "propertyNames": names, "additionalProperties": parameter})
    bounds = definitions["Range"]
    for key in ("min", "max"):
        _replace(bounds, key, {"type": "number", "minimum": -MAX_MAGNITUDE, "maximum": MAX_MAGNITUDE})
    _replace(bounds, "guess", {"type": ["number", "null"], "minimum": -MAX_MAGNITUDE, "maximum": MAX_MAGNITUDE})
    bounds["allOf"] = [
        _when("scale", "log", {"min": {"exclusiveMinimum": 0}}),
        _when("scale", "one_minus_log", {"max": {"exclusiveMaximum": 1}, "type": {"const": "float"}}),
        _when(
            "type",
            "int",
            {"min": {"type": "integer"}, "max": {"type": "integer"}, "guess": {"type": ["integer", "null"]}},
        ),
    ]
    values = definitions["Values"]
    _replace(values, "values", {"type": "array", "items": SCALAR, "minItems": 1, "uniqueItems": True})
    _replace(values, "guess", {"anyOf": [SCALAR, {"type": "null"}]})
    values["allOf"] = [_when("ordered", True, {"values": {"items": {"type": "number"}}})]
    _replace(definitions["Fixed"], "value", SCALAR)


def _model(definitions: dict[str, Schema]) -> None:
    excluded = {"hidden": {"maxItems": 0}, "depth": {"type": "null"}, "input_dropout": {"type": "null"}}
    has_layers = {"properties": {"layers": {"type": "array"}}, "required": ["layers"]}
    has_depth = {"properties": {"depth": {"type": ["integer", "string"]}}, "required": ["depth"]}
    definitions["ModelSpec"]["allOf"] = [
        {"if": has_layers, "then": {"properties": excluded}},
        {"if": has_depth, "then": {"properties": {"hidden": {"minItems": 1}}, "required": ["hidden"]}},
    ]
    number = {"type": "number"}
    definitions["Stop"]["anyOf"] = [{"properties": {key: number}, "required": [key]} for key in ("value", "change")]


def _search(spec: Schema, definitions: dict[str, Schema]) -> None:
    _replace(spec, "stages", {"type": "array", "items": {"$ref": "#/$defs/Stage"}, "minItems": 1})
    stage = definitions["Stage"]
    stage["required"] = ["name"]
    duration = {"type": "string", "pattern": f"^{DURATION}$", "maxLength": MAX_DURATION_LENGTH}
    kinds = [definitions[kind.__name__] for kind in (Train, *KINDS.values())]
    for section in (spec, stage, *kinds):
        _replace(section, "timeout", {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, duration, {"type": "null"}]})
    limits = [_given(key) for key in ("trials", "budget", "timeout", "points", "seeds", "top")]
    limited = {"properties": {"stages": {"items": {"anyOf": limits}}}}
    spec["allOf"] = [{"anyOf": [_given("budget"), _given("timeout"), limited]}]
    point = {"type": "object", "additionalProperties": SCALAR}
    _replace(stage, "points", {"type": "array", "items": point})
    excluded = {key: {"type": "null"} for key in ("zoom", "pruning", "timeout", "budget")} | {"points": {"maxItems": 0}}
    stage["allOf"] = [
        {
            "if": {"properties": {"top": {"type": "integer"}}, "required": ["top"]},
            "then": {"properties": {"seeds": {"minimum": 2}, **excluded}, "required": ["seeds"]},
        }
    ]
    of_kind = {
        "none": ("rungs", "min_epochs", "reduction", "n_startup_trials"),
        "promote": ("n_startup_trials",),
        "stop": ("n_startup_trials",),
        "hyperband": ("n_startup_trials",),
        "median": ("reduction",),
    }
    pruning = definitions["Pruning"]
    pruning["allOf"] = [
        _when("kind", kind, {key: {"type": "null"} for key in keys}, default=kind == "none")
        for kind, keys in of_kind.items()
    ]
    pruning["allOf"].append({"if": _given("rungs"), "then": {"properties": {"min_epochs": {"type": "null"}}}})
    once = {key: {"type": "null"} for key in ("keep", "every", "outside")}
    definitions["Zoom"]["allOf"] = [{"if": _given("keep_top"), "then": {"properties": once}}]
    _replace(definitions["Metric"], "positive", {"type": [*SCALAR["type"], "null"]})
    maximized = [name for name in METRIC_NAMES if Metric(name=name).sign < 0]
    for names, goal in ((maximized, "maximize"), (sorted(set(METRIC_NAMES) - set(maximized)), "minimize")):
        condition = {"properties": {"name": {"enum": names}}, "required": ["name"]}
        definitions["Metric"].setdefault("allOf", []).append({"if": condition, "then": _goal(goal)})
    _training(spec, kinds)


def _training(spec: Schema, kinds: Sequence[Schema]) -> None:
    """Complete the schema of `train`, which a key selects; other code than the engine may need no data."""
    size = {"type": "string", "pattern": f"^{SIZE}$", "maxLength": MAX_DURATION_LENGTH}
    for section in kinds:
        _replace(section, "memory", {"anyOf": [{"type": "integer", "minimum": 10**6}, size, {"type": "null"}]})
    selected = {key: _given(key) for key in KINDS}
    other = {"not": {"anyOf": list(selected.values())}}
    forms = [{"allOf": [{"$ref": f"#/$defs/{KINDS[key].__name__}"}, given]} for key, given in selected.items()]
    _replace(spec, "train", {"anyOf": [{"allOf": [{"$ref": "#/$defs/Train"}, other]}, *forms]})
    own = {"properties": {"train": {"anyOf": [_given("function"), _given("command")]}}, "required": ["train"]}
    names = {"properties": {"metric": {"properties": {"name": {"enum": list(METRIC_NAMES)}}}}}
    spec["allOf"].append({"if": own, "else": {"allOf": [_given("data"), names]}})


def _given(key: str) -> Schema:
    """Return the condition that a key is given and not null."""
    return {"properties": {key: {"not": {"type": "null"}}}, "required": [key]}


def _goal(goal: str) -> Schema:
    return {"properties": {"goal": {"enum": [goal, None]}}}


def _when(key: str, value: Any, properties: dict[str, Schema], *, default: bool = False) -> Schema:
    """Return an if/then schema: if a key has this value, the properties have these schemas.

    Args:
        default: the value is the key's default, so the condition also holds if the key is omitted.
    """
    condition: Schema = {"properties": {key: {"const": value}}}
    return {"if": condition if default else condition | {"required": [key]}, "then": {"properties": properties}}

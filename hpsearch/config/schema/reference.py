"""The reference of all keys in `hpsearch/config/README.md`, generated from the JSON Schema.

Running this module rewrites the part of that file after the marker:

    python -m hpsearch.config.schema.reference
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpsearch.config.schema import json_schema
from hpsearch.config.schema.choices import MENUS
from hpsearch.config.schema.sections import PARAMETER
from hpsearch.core.space import MAX_MAGNITUDE
from hpsearch.data.sources import SOURCES
from hpsearch.data.sources.base import Source
from hpsearch.data.sources.tables import TableSource

README = Path(__file__).parents[1] / "README.md"
MARKER = "<!-- Generated from the schema: python -m hpsearch.config.schema.reference -->\n"
# Path in the study file → its definition in the schema.
SECTION_PATHS = {
    "data.split": "Split",
    "model": "ModelSpec",
    "model.hidden[]": "Hidden",
    "model.output": "Output",
    "train": "Train",
    "train: a function": "FunctionTraining",
    "train: a command": "CommandTraining",
    "train: an estimator": "EstimatorTraining",
    "train.switch": "OptimizerSwitch",
    "train.early_stopping": "EarlyStopping",
    "train.stop": "Stop",
    "metric": "Metric",
    "parameters.NAME: a range": "Range",
    "parameters.NAME: a list of values": "Values",
    "parameters.NAME: a fixed value": "Fixed",
    "stages[]": "Stage",
    "stages[].zoom": "Zoom",
    "pruning, stages[].pruning": "Pruning",
    "ensemble": "Ensemble",
}
_OPERATORS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_NOUNS = {"string": "text", "boolean": "true or false", "integer": "integer", "number": "number", "object": "mapping"}


def reference() -> str:
    """Return the reference as Markdown."""
    schema = json_schema()
    definitions = schema["$defs"]
    lines = ["## Top level", "", *_table(schema), ""]
    lines += _data(definitions)
    for path, name in SECTION_PATHS.items():
        definition = definitions[name]
        mapping = definition if "properties" in definition else definition["anyOf"][-1]
        short = definition["anyOf"][0]["description"] if mapping is not definition else ""
        lines += [f"## `{path}`" if ":" not in path else f"## `{path.partition(':')[0]}`:{path.partition(':')[2]}", ""]
        lines += [definition["description"], *([f"Short form: {_lower(short)}"] if short else []), ""]
        lines += [*_table(mapping), ""]
    for name, menu in MENUS.items():
        lines += [f"## {menu.title}", "", *_menu(name, definitions[name]), ""]
    return "\n".join(lines).rstrip() + "\n"


def readme() -> str:
    """Return the whole README: the handwritten introduction, then the reference."""
    return README.read_text("utf-8").partition(MARKER)[0] + MARKER + "\n" + reference()


def _data(definitions: dict[str, Any]) -> Iterator[str]:
    tables = [kind.__name__ for kind in SOURCES.values() if issubclass(kind, TableSource)]
    common, of_tables = set(Source.model_fields), set(TableSource.model_fields)
    properties = definitions[tables[0]]["properties"]
    yield from ("## `data`", "", "Keys of every source (tables have no `image`):", "")
    yield from (*_rows({key: properties[key] for key in Source.model_fields if key != "source"}, {}), "")
    yield from (
        "Keys of the sources of tables: "
        + ", ".join(f"`{k}`" for k, v in SOURCES.items() if v.__name__ in tables)
        + ".",
        "",
    )
    only = {key: properties[key] for key in TableSource.model_fields if key not in common}
    yield from (*_rows(only, {"required": ["target"]}), "")
    for name, kind in SOURCES.items():
        source = definitions[kind.__name__]
        own = {
            k: v
            for k, v in source["properties"].items()
            if k == "source" or k not in (of_tables if issubclass(kind, TableSource) else common)
        }
        yield from (f"### `data`, source `{name}`", "", source["description"], "")
        yield from (*_rows(own, source), "")


def _table(mapping: dict[str, Any]) -> Iterator[str]:
    return _rows(mapping["properties"], mapping)


def _rows(properties: dict[str, Any], mapping: dict[str, Any]) -> Iterator[str]:
    yield "| key | type | default | description |"
    yield "|---|---|---|---|"
    required = mapping.get("required", ())
    for key, schema in properties.items():
        default = "required" if key in required else _value(schema["default"]) if "default" in schema else ""
        yield f"| `{key}` | {_type(schema)} | {default} | {_cell(schema['description'])} |"


def _menu(menu: str, definition: dict[str, Any]) -> Iterator[str]:
    """Yield the table of a menu; activations, which are layers too, are listed once."""
    listed = MENUS["Activation"].entries if menu in ("Layer", "HiddenActivation") else {}
    also = " Also every activation below." if menu == "Layer" else " Also every activation above." if listed else ""
    yield from (definition["description"] + also, "", "| name | settings | description |", "|---|---|---|")
    for form in definition["anyOf"]:
        name = form.get("properties", {}).get("name", {}).get("const")
        if name is not None and name not in listed:
            settings = [_setting(k, v) for k, v in form["properties"].items() if k != "name"]
            yield f"| `{name}` | {', '.join(settings)} | {_cell(form['description'])} |"


def _setting(key: str, schema: dict[str, Any]) -> str:
    return f"`{key}`" + (f" = {_value(schema['default'])}" if "default" in schema else "")


def _type(schema: dict[str, Any]) -> str:
    """Describe a type; a string in place of a number is the name of a parameter."""
    if "$ref" in schema:
        menu = MENUS.get(schema["$ref"].rpartition("/")[2])
        return f"[{menu.noun}](#{menu.title.lower().replace(' ', '-')})" if menu else "mapping"
    if schema.get("description") == PARAMETER["description"]:
        return "parameter"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(text for form in schema["anyOf"] if (text := _type(form))))
    if "allOf" in schema:
        return _type(schema["allOf"][0])
    if "const" in schema or "enum" in schema:
        return ", ".join(_value(value) for value in schema.get("enum", [schema.get("const")]) if value is not None)
    kinds = [schema["type"]] if isinstance(schema.get("type"), str) else list(schema.get("type", ()))
    if kinds == ["null"]:
        return ""
    if "array" in kinds:
        items = schema.get("items") or schema["prefixItems"][0]
        return f"list of {_type(items).replace('mapping', 'mappings')}"
    texts = [_NOUNS[kind] for kind in kinds if kind != "null"]
    limits = [
        f"{sign} {schema[key]:g}"
        for key, sign in _OPERATORS.items()
        if abs(schema.get(key, MAX_MAGNITUDE)) < MAX_MAGNITUDE
    ]
    if texts[0] in ("number", "integer") and limits:
        texts[0] += f" {', '.join(limits)}"
    if len(texts) == 2 and kinds[0] in ("number", "integer") and kinds[1] == "string":
        texts[1] = "parameter"
    return " or ".join(texts)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


if __name__ == "__main__":
    README.write_text(readme(), "utf-8")

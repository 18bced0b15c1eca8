"""The JSON Schema of study files (draft 2020-12), which editors use for completion and checks.

It accepts every file that `hpsearch.config.load` accepts and rejects structural mistakes: unknown keys, wrong types,
values out of range, missing keys. Only the loader checks references to parameters and builds the networks.
"""

import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from hpsearch.config.schema.choices import MENUS, choice_schema
from hpsearch.config.schema.sections import complete_sections
from hpsearch.config.spec import Spec
from hpsearch.core.atomic import write_atomic
from hpsearch.data.sources import SOURCES
from hpsearch.errors import OutputError

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TITLE = "hpsearch study file"
SCHEMA_FILE = "hpsearch-schema.json"  # the file that `hpsearch init` writes


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of study files."""
    models = [(model, "validation") for model in (Spec, *SOURCES.values())]
    _, generated = models_json_schema(models, ref_template="#/$defs/{model}")  # type: ignore[arg-type]
    definitions: dict[str, Any] = _simplified(generated["$defs"])
    for name in ("Choice", "JsonValue", "Source"):
        definitions.pop(name, None)
    definitions |= {name: choice_schema(menu) for name, menu in MENUS.items()}
    spec = definitions.pop("Spec")
    complete_sections(spec, definitions)
    return {
        "$schema": DIALECT,
        "title": TITLE,
        **spec,
        "$defs": dict(sorted(definitions.items())),
    }


def schema_text() -> str:
    """Return the JSON Schema as text."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


def write_schema(path: Path) -> None:
    """Write the JSON Schema to a file.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        write_atomic(path, schema_text())
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from None


def _simplified(node: Any) -> Any:
    """Remove pydantic's titles, which repeat the keys, and defaults of null.

    A reference that pydantic before 2.9 puts into a list of its own is moved out of it.
    """
    if isinstance(node, list):
        return [_simplified(item) for item in node]
    if not isinstance(node, dict):
        return node
    match node.get("allOf"):
        case [{"$ref": _, **others} as reference] if not others:
            node = {**reference, **{key: value for key, value in node.items() if key != "allOf"}}
    return {
        key: _simplified(value)
        for key, value in node.items()
        if not (key == "title" and isinstance(value, str)) and not (key == "default" and value is None)
    }

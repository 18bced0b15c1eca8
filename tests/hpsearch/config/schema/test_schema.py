"""The JSON Schema: accepts what the loader accepts, refuses mistakes of structure, describes every key."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cases
import jsonschema
import paths
import pytest
from hypothesis import given

from hpsearch.config.document import read_document
from hpsearch.config.load import spec_from_mapping
from hpsearch.config.schema import json_schema, schema_text
from tests.hpsearch.config import test_instantiate, test_load

SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def errors(content: Any) -> list[str]:
    return [f"{'.'.join(map(str, e.absolute_path))}: {e.message}" for e in VALIDATOR.iter_errors(content)]


def test_it_is_a_schema_of_draft_2020_12() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(schema_text()) == SCHEMA


def properties(schema: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every key of every mapping; conditions are excluded."""
    if isinstance(schema, list):
        for number, item in enumerate(schema):
            yield from properties(item, f"{path}/{number}")
    elif isinstance(schema, dict):
        for name, value in schema.get("properties", {}).items():
            yield f"{path}/{name}", value
        for key, value in schema.items():
            if (
                key not in ("allOf", "if", "then", "else", "not", "default", "enum")
                and path.rpartition("/")[2] != "Stop"
            ):
                yield from properties(value, f"{path}/{key}")


def test_every_key_has_a_description() -> None:
    """A sentence: it begins with a capital letter or a formula and ends with a period."""
    found = dict(properties(SCHEMA, ""))
    assert len(found) > 250
    assert [path for path, schema in found.items() if not schema.get("description", "").strip()] == []
    written = [s["description"] for path, s in found.items() if "anyOf" not in path]
    assert [d for d in written if not d.rstrip().endswith((".", "`"))] == []
    assert '"Choice"' not in schema_text() and "JsonValue" not in schema_text()


DOCUMENTS = sorted(paths.STUDIES.rglob("*.yaml"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(paths.STUDIES)))
def test_studies_are_accepted(path: Path) -> None:
    assert errors(read_document(path).content) == []


STUDIES = {
    **{name: value for name, value in vars(cases).items() if name.isupper() and isinstance(value, dict)},
}


@pytest.mark.parametrize("name", STUDIES)
def test_studies_of_other_tests_are_accepted(name: str) -> None:
    content = json.loads(json.dumps(cases.content(**STUDIES[name])))
    assert errors(content) == []


def test_full_forms_are_accepted() -> None:
    content = cases.content(**test_instantiate.VALID, stages=[{"name": "only", "trials": 2}])
    assert errors(content) == []


@pytest.mark.parametrize("case", test_instantiate.SHORT)
def test_short_forms_are_accepted(case: str) -> None:
    model, _ = test_instantiate.SHORT[case]
    assert errors(cases.content(model={**model})) == []


@given(test_load.PARAMETERS)
def test_stored_specs_are_accepted(parameters: dict[str, object]) -> None:
    """Also in the form of the study database."""
    data = {"source": "sklearn", "name": "iris"}
    content = {"name": "a", "data": data, "parameters": parameters, "stages": [{"name": "one", "trials": 3}]}
    spec, _ = spec_from_mapping(content, "here")
    assert errors(content) == []
    assert errors(spec.model_dump(mode="json")) == []


# Single mistakes of test_load that only the loader finds, by reason.
LOADER_ONLY = {
    "a name that may be a parameter's": {
        *(
            "optimizer",
            "activation",
            "initializer",
            "schedule",
            "scaling",
            "misspelt parameter",
        ),
    },
    "which parameters are used": {"unused parameter", "no learning rate", "parts for units"},
    "numbers that are compared with each other": {"min above max", "min equal to max", "split", "unordered"},
    "the order of stages": {"zoom at first", "stages of one name"},
    "not a number, which JSON does not have": {"not a number"},
}


@pytest.mark.parametrize("case", test_load.MISTAKES)
def test_one_mistake(case: str, tmp_path: Path) -> None:
    """Every mistake of structure is refused; the others are listed with a reason."""
    old, new, _, _ = test_load.MISTAKES[case]
    path = tmp_path / "study.yaml"
    path.write_text(test_load.edited(old, new)[0], "utf-8")
    refused = bool(errors(read_document(path).content))
    assert refused == (not any(case in some for some in LOADER_ONLY.values()))


# The same for test_instantiate.
LOADER_ONLY_PLACES = {
    "a name that may be a parameter's": {
        *(
            "layer",
            "layer by activation",
            "nested is missing",
            "word in a list",
            "nested",
            "initializer",
            "clip",
            "augmentation",
            "row_sampling",
        ),
        *("switch", "words for a batch", "no rate", "squashed output"),
    },
    "what may come from a parameter": {"needed"},
    "numbers beyond 1e300": {"a number too large"},
    "numbers that the engine checks": {
        *("no units", "dropout of 1", "limit", "milestones go down", "output's initializer"),
    },
    "numbers that are compared with each other": {"check between", "switch never", "checks of nothing"},
}


@pytest.mark.parametrize("case", test_instantiate.MISTAKES)
def test_one_mistake_in_a_full_form(case: str) -> None:
    place, value, _, _ = test_instantiate.MISTAKES[case]
    content = copy.deepcopy(test_instantiate.VALID)
    *outer, last = place.split(".")
    inner: Any = content
    for key in outer:
        inner = inner[int(key) if isinstance(inner, list) else key]
    inner[int(last) if isinstance(inner, list) else last] = value
    refused = bool(errors(cases.content(**content, stages=[{"name": "only", "trials": 2}])))
    assert refused == (not any(case in some for some in LOADER_ONLY_PLACES.values()))

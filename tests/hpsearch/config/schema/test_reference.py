"""The reference in `hpsearch/config/README.md`: fresh, complete, and its study files load."""

import json
import re
from pathlib import Path

import pytest

from hpsearch.config.load import load_spec, restore_spec
from hpsearch.config.schema import json_schema
from hpsearch.config.schema.choices import MENUS
from hpsearch.config.schema.reference import README, SECTION_PATHS, readme, reference
from hpsearch.data.sources import SOURCES

TEXT = README.read_text("utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_it_is_current() -> None:
    """Update it by: python -m hpsearch.config.schema.reference"""
    assert readme() == TEXT


def test_it_has_every_key_and_name() -> None:
    definitions = json_schema()["$defs"]
    assert {*SECTION_PATHS.values(), *MENUS, *(kind.__name__ for kind in SOURCES.values())} == definitions.keys()
    text = reference()
    for definition in definitions.values():
        for form in (definition, *definition.get("anyOf", ())):
            for key, schema in form.get("properties", {}).items():
                assert f"`{key}`" in text or key == "settings", key
                assert "const" not in schema or f"`{schema['const']}`" in text


def whole(text: str) -> str:
    """Complete a block that begins with `model`, `data` or `parameters` by the other sections of the first block."""
    if text.startswith("name:"):
        return text
    first = BLOCKS[0]
    if text.startswith("parameters:"):
        given = {line.partition(":")[0] for line in text.splitlines()}
        kept = [line for line in first.splitlines(True) if line[:1] != " " or line.partition(":")[0] not in given]
        return "".join(kept).replace("parameters:\n", text)
    if text.startswith("data:"):
        data, parameters = text.split("parameters:\n")
        after = first[first.index("model:") :].replace("parameters:\n", f"parameters:\n{parameters}")
        return first[: first.index("data:")] + data + after
    before, after = first[: first.index("model:")], first[first.index("train: {opt") : first.index("parameters:")]
    rate = "  learning_rate: {min: 1e-4, max: 1.0, scale: log}\n"
    return before + after + text + rate + first[first.index("stages:") :]


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_study_files_load(number: int, tmp_path: Path) -> None:
    """Without notices about words of other tools; and each survives JSON."""
    study = tmp_path / "study.yaml"
    study.write_text(whole(BLOCKS[number]), "utf-8")
    spec, notices = load_spec(study)
    assert notices == []
    assert restore_spec(json.loads(json.dumps(spec.model_dump(mode="json"))), "a database") == spec


def test_it_has_study_files() -> None:
    assert len(BLOCKS) >= 4

"""The table of foreign words: every counterpart exists, and no word of ours is called foreign."""

from typing import Any

import pytest

from engine.activations import ALL_LAYERS, HIDDEN_ACTIVATIONS
from engine.initializers import INITIALIZERS
from engine.optimizers import OPTIMIZERS
from engine.training.schedules import SCHEDULES
from hpsearch.config.hints import _normalized, _parts, _places
from hpsearch.config.load import SECTION_NAMES, spec_from_mapping
from hpsearch.config.spec import METRIC_NAMES, Metric, Pruning, Stage
from hpsearch.config.vocabulary import FOREIGN_KEYS, FOREIGN_VALUES, SECTION_KEYS
from hpsearch.config.yaml_text import YamlReader, compose_yaml
from hpsearch.core.space import Fixed, Range, Values
from hpsearch.data.preprocessing import IMPUTES, SCALES
from hpsearch.data.sources import SOURCES

PATHS = {place.path for places in _places().values() for place in places} | set(SECTION_NAMES)
OPTIMIZER_SETTINGS = {f for kind in OPTIMIZERS.values() for f in kind.__dataclass_fields__}
KEYS_OF: dict[str, set[str]] = {
    "parameters": {f for kind in (Range, Values, Fixed) for f in kind.model_fields},
    "train.optimizer": OPTIMIZER_SETTINGS,
    "pruning": set(Pruning.model_fields),
}


def literal(model: Any, key: str) -> set[str]:
    """Return the words that a key takes."""
    return set(filter(lambda part: isinstance(part, str), _parts(model.model_fields[key].annotation)))


VALUES_OF = {
    "stages.sampler": literal(Stage, "sampler"),
    "pruning.kind": literal(Pruning, "kind"),
    "metric.name": set(METRIC_NAMES),
    "metric.goal": literal(Metric, "goal"),
    "parameters.type": literal(Range, "type"),
    "parameters.scale": literal(Range, "scale"),
    "data.source": set(SOURCES),
    "optimizer": set(OPTIMIZERS),
    "schedule": set(SCHEDULES),
    "activation": set(HIDDEN_ACTIVATIONS),
    "layer": set(ALL_LAYERS),
    "initializer": set(INITIALIZERS),
    "scale": set(SCALES),
    "imputation": set(IMPUTES),
}


def key_of(counterpart: str) -> str:
    return counterpart.partition(" (")[0].partition(":")[0]


@pytest.mark.parametrize("counterpart", FOREIGN_KEYS)
def test_counterparts_of_keys(counterpart: str) -> None:
    """Each is a key of the study file, or a remark alone; a value with it is valid."""
    key = key_of(counterpart)
    assert not key or key in PATHS
    if ":" in counterpart.partition(" (")[0]:
        valid(counterpart.partition(" (")[0])


def valid(text: str) -> None:
    """Check that a study with a setting such as `train.optimizer: {name: momentum, beta: 0.9}` is valid."""
    path, _, value = text.partition(": ")
    section, _, key = path.partition(".")
    content: dict[str, Any] = {
        "name": "a",
        "data": {"source": "sklearn", "name": "iris"},
        "train": {"learning_rate": 0.1},
        "parameters": {},
        "stages": [{"name": "a", "trials": 3}],
    }
    content[section] = {**content.get(section, {}), key: YamlReader("", "").value(compose_yaml("", value), ())}
    assert spec_from_mapping(content, "here")[1] == []


@pytest.mark.parametrize("section", SECTION_KEYS)
def test_counterparts_in_a_section(section: str) -> None:
    """Each is a key of this section or the path of another one; no foreign word is a key of the section."""
    prefix = f"{section}." if section else ""
    own = KEYS_OF.get(section, {p.removeprefix(prefix) for p in PATHS if p.startswith(prefix)})
    for counterpart, words in SECTION_KEYS[section].items():
        key = key_of(counterpart)
        assert not key or key in own | PATHS, counterpart
        if section != "train.optimizer":  # a setting of one optimizer is foreign to another
            assert not set(words.split()) & own


@pytest.mark.parametrize("kind", FOREIGN_VALUES)
def test_counterparts_of_values(kind: str) -> None:
    for counterpart, words in FOREIGN_VALUES[kind].items():
        assert counterpart.startswith(" ") or counterpart.split(" ")[0] in VALUES_OF[kind], counterpart
        assert not set(words.split()) & VALUES_OF[kind]


@pytest.mark.parametrize("table", [FOREIGN_KEYS, *SECTION_KEYS.values(), *FOREIGN_VALUES.values()])
def test_no_word_has_two_counterparts(table: dict[str, str]) -> None:
    words = [_normalized(word) for group in table.values() for word in group.split()]
    assert len(set(words)) == len(words), sorted(w for w in words if words.count(w) > 1)

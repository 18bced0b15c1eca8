"""The study file: what is read, what is refused with which message, and specs survive JSON."""

import json
import re
from pathlib import Path
from typing import Any

import paths
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpsearch.config.load import load_spec, restore_spec, spec_from_mapping
from hpsearch.config.spec import Spec
from hpsearch.errors import SpecError

REPOSITORY = paths.REPOSITORY
BASE = """\
name: digits
seed: 7
data:
  source: sklearn
  name: digits
  split: {train: 0.6, val: 0.2, test: 0.2}
  scale: standard
model:
  hidden:
    - units: hidden_units
      activation: relu
train:
  optimizer: momentum
  epochs: 50
  early_stopping:
    patience: 8
metric:
  name: val/loss
  goal: minimize
parameters:
  learning_rate: {min: 1e-4, max: 1.0, scale: log}
  beta: {min: 0.9, max: 0.999, scale: one_minus_log}
  hidden_units: {type: int, min: 16, max: 256, scale: log}
  batch_size: {values: [16, 32, 64], ordered: true}
  l2: {min: 1e-7, max: 1e-1, scale: log}
stages:
  - {name: coarse, trials: 48, sampler: random}
  - {name: fine, trials: 32, sampler: tpe, zoom: {keep_top: 0.2, margin: 0.1}}
parallel: 16
workers: auto
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return tmp_path / "study.yaml"


def load(study: Path, text: str, *overrides: str) -> tuple[Spec, list[str]]:
    study.write_text(text, "utf-8")
    return load_spec(study, overrides)


def refused(study: Path, text: str, *overrides: str) -> list[str]:
    """Return the lines of the refusal without the folder."""
    with pytest.raises(SpecError) as caught:
        load(study, text, *overrides)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.mistakes)
    return [line.removeprefix(f"{study.parent}/") for line in lines]


def edited(old: str, new: str) -> tuple[str, int]:
    """Return the base with one part replaced, and the first line that differs."""
    assert BASE.count(old) == 1, old
    text = BASE.replace(old, new)
    pairs = zip(BASE.splitlines(), text.splitlines(), strict=False)
    return text, next(number for number, (a, b) in enumerate(pairs, 1) if a != b)


def test_base_is_valid(study: Path) -> None:
    spec, notices = load(study, BASE)
    assert notices == []
    assert (spec.name, spec.seed, spec.parallel, spec.workers) == ("digits", 7, 16, "auto")
    assert [s.trials for s in spec.stages] == [48, 32]


# Original text, replacement, the path in the message, and other text of the message.
MISTAKES: dict[str, tuple[str, str, str, list[str]]] = {
    # Unknown keys, at each level.
    "key at top": (
        "parallel: 16",
        "parallels: 16",
        "parallels",
        ["unknown key 'parallels'", "did you mean 'parallel'?"],
    ),
    "key in data": ("  scale: standard", "  scaling: standard", "data.scaling", ["did you mean 'scale'?"]),
    "key in split": ("test: 0.2}", "test: 0.2, tset: 0}", "data.split.tset", ["did you mean 'test'?"]),
    "key in model": ("  hidden:\n", "  hiden: []\n  hidden:\n", "model.hiden", ["did you mean 'hidden'?"]),
    "key in layer": (
        "      activation: relu",
        "      activations: relu",
        "model.hidden.0.activations",
        ["'activation'"],
    ),
    "key in train": ("  epochs: 50", "  epoch: 50", "train.epoch", ["did you mean 'epochs'?"]),
    "key in early stopping": (
        "    patience: 8",
        "    patience: 8\n    mindelta: 0",
        "train.early_stopping.mindelta",
        ["did you mean 'min_delta'?"],
    ),
    "key in metric": ("  goal: minimize", "  gaol: minimize", "metric.gaol", ["did you mean 'goal'?"]),
    "key in range": ("max: 1.0, scale", "max: 1.0, scael", "parameters.learning_rate.scael", ["did you mean 'scale'?"]),
    "key in values": ("ordered: true", "orderd: true", "parameters.batch_size.orderd", ["did you mean 'ordered'?"]),
    "key in stage": ("trials: 48, s", "trials: 48, samplers: x, s", "stages.0.samplers", ["did you mean 'sampler'?"]),
    "key in zoom": ("margin: 0.1", "margins: 0.1", "stages.1.zoom.margins", ["did you mean 'margin'?"]),
    "setting of optimizer": (
        "optimizer: momentum",
        "optimizer: {name: momentum, betta: 0.9}",
        "train.optimizer.betta",
        ["unknown key 'betta'", "did you mean 'beta'?"],
    ),
    # Unknown names.
    "source": ("source: sklearn", "source: sklern", "data.source", ["'sklern'", "did you mean 'sklearn'?"]),
    "no source": ("  source: sklearn\n", "", "data.source", ["sklearn"]),
    "source of a wrong type": ("source: sklearn", "source: 3", "data.source", ["3", "sklearn"]),
    "data set": ("  name: digits\n", "  name: digit\n", "data.name", ["'digit'", "did you mean 'digits'?"]),
    "scaling": ("scale: standard", "scale: standart", "data.scale", ["did you mean 'standard'?"]),
    "optimizer": ("optimizer: momentum", "optimizer: momentun", "train.optimizer", ["did you mean 'momentum'?"]),
    "activation": ("activation: relu", "activation: relo", "model.hidden.0.activation", ["did you mean 'relu'?"]),
    "initializer": (
        "      activation: relu",
        "      initializer: he_norma\n      activation: relu",
        "model.hidden.0.initializer",
        ["'he_norma'", "did you mean 'he_normal'?"],
    ),
    "schedule": ("  epochs: 50", "  schedule: constent\n  epochs: 50", "train.schedule", ["did you mean 'constant'?"]),
    "sampler": ("sampler: tpe", "sampler: tep", "stages.1.sampler", ["'tep'", "did you mean 'tpe'?"]),
    "scale": (
        "max: 1.0, scale: log}",
        "max: 1.0, scale: logs}",
        "parameters.learning_rate.scale",
        ["'logs'", "did you mean 'log'?"],
    ),
    "metric": ("val/loss", "val/acuracy", "metric.name", ["'val/acuracy'", "did you mean 'val/accuracy'?"]),
    "metric of the test rows": ("val/loss", "test/loss", "metric.name", ["'test/loss'"]),
    "goal": ("goal: minimize", "goal: minimise", "metric.goal", ["did you mean 'minimize'?"]),
    "goal against the metric": ("goal: minimize", "goal: maximize", "metric", ["goal", "val/loss"]),
    # Ranges and values.
    "min above max": ("{min: 1e-4, max: 1.0", "{min: 2, max: 1.0", "parameters.learning_rate", ["min=2", "max=1"]),
    "min equal to max": ("{min: 1e-4, max: 1.0", "{min: 1, max: 1.0", "parameters.learning_rate", ["min=1", "max=1"]),
    "log of zero": ("min: 1e-7", "min: 0", "parameters.l2", ["log", "above 0", "min=0"]),
    "log of less": ("min: 1e-7", "min: -1", "parameters.l2", ["log", "above 0", "min=-1"]),
    "one_minus_log of 1": ("max: 0.999", "max: 1", "parameters.beta", ["one_minus_log", "below 1", "max=1"]),
    "part of a whole number": ("min: 16", "min: 16.5", "parameters.hidden_units", ["whole", "min=16.5"]),
    "whole one_minus_log": (
        "{type: int, min: 16, max: 256, scale: log}",
        "{type: int, min: -9, max: 0, scale: one_minus_log}",
        "parameters.hidden_units",
        ["one_minus_log"],
    ),
    "half a range": (", max: 1.0", "", "parameters.learning_rate.max", ["missing"]),
    "unordered": ("[16, 32, 64]", "[16, 64, 32]", "parameters.batch_size", ["ordered", "[16, 64, 32]"]),
    "ordered words": ("[16, 32, 64]", "[16, 32, big]", "parameters.batch_size", ["ordered", "big"]),
    "values twice": ("[16, 32, 64]", "[16, 32, 32]", "parameters.batch_size", ["differ", "[16, 32, 32]"]),
    "no values": ("[16, 32, 64]", "[]", "parameters.batch_size.values", ["[]"]),
    "infinite": ("max: 1.0", "max: .inf", "parameters.learning_rate.max", ["inf"]),
    "not a number": ("max: 1.0", "max: .nan", "parameters.learning_rate.max", ["nan"]),
    # Misplaced keys.
    "misspelt parameter": (
        "units: hidden_units",
        "units: hiden_units",
        "model.hidden.0.units",
        ["'hiden_units'", "did you mean 'hidden_units'?"],
    ),
    "parts for units": (
        "{type: int, min: 16, max: 256, scale: log}",
        "{min: 16, max: 256, scale: log}",
        "",
        ["hidden_units", "whole", "type: int"],
    ),
    "number for units": ("units: hidden_units", "units: 2.5", "", ["2.5"]),
    "unused parameter": ("  l2: {", "  l3: {", "parameters.l3", ["l3", "did you mean 'l2'?"]),
    "no learning rate": ("  learning_rate: {", "  learning_rat: {", "train.learning_rate", ["missing"]),
    "zoom at first": (
        "sampler: random}",
        "sampler: random, zoom: {keep_top: 0.5}}",
        "stages.0.zoom",
        ["first", "earlier"],
    ),
    "stages of one name": ("name: fine", "name: coarse", "stages.1.name", ["'coarse'"]),
    "no stage": (BASE[BASE.index("stages:") : BASE.index("parallel")], "stages: []\n", "stages", ["1"]),
    # Wrong types.
    "text for a number": ("epochs: 50", "epochs: fifty", "train.epochs", ["'fifty'"]),
    "quoted number": ("epochs: 50", "epochs: '50'", "train.epochs", ["'50'"]),
    "true for a number": ("epochs: 50", "epochs: true", "train.epochs", ["True"]),
    "true for units": ("units: hidden_units", "units: true", "model.hidden.0.units", ["True"]),
    "true for a bound": ("min: 1e-4", "min: true", "parameters.learning_rate.min", ["True"]),
    "text for a bound": ("min: 1e-4", "min: small", "parameters.learning_rate.min", ["'small'"]),
    "parts of a trial": ("trials: 48", "trials: 4.5", "stages.0.trials", ["4.5"]),
    "nothing": ("epochs: 50", "epochs:", "train.epochs", ["None"]),
    "negative seed": ("seed: 7", "seed: -7", "seed", ["0", "-7"]),
    "no virtual worker": ("parallel: 16", "parallel: 0", "parallel", ["1", "got 0"]),
    "no epochs": ("epochs: 50", "epochs: 0", "train.epochs", ["got 0"]),
    "no patience": ("patience: 8", "patience: 0", "train.early_stopping.patience", ["got 0"]),
    "workers": ("workers: auto", "workers: all", "workers", ["'all'"]),
    "keep nothing": ("keep_top: 0.2", "keep_top: 0", "stages.1.zoom.keep_top", ["got 0"]),
    "negative margin": ("margin: 0.1", "margin: -1", "stages.1.zoom.margin", ["got -1"]),
    "split": ("val: 0.2", "val: 0.3", "data.split", ["add up to 1", "0.6 + 0.3 + 0.2"]),
    "name with a slash": ("name: digits\nseed", "name: a/b\nseed", "name", ["'a/b'"]),
    "stage with a slash": ("name: fine", "name: a/b", "stages.1.name", ["'a/b'"]),
    "list for a mapping": ("  name: val/loss\n  goal: minimize\n", "  - val/loss\n", "metric", ["val/loss"]),
    "mapping for a list": (
        "    - units: hidden_units\n      activation: relu\n",
        "      units: 3\n",
        "model.hidden",
        ["units"],
    ),
    # Words that mean something else in other tools.
    "log_uniform": (
        "{min: 1e-4, max: 1.0, scale: log}",
        "{min: -4, max: 0, distribution: log_uniform}",
        "parameters.learning_rate.distribution",
        ["'log_uniform'", "exponents", "scale: log"],
    ),
    "reverse_log": (
        "scale: one_minus_log",
        "scale: reverse_log",
        "parameters.beta.scale",
        ["'reverse_log'", "scale: one_minus_log"],
    ),
}
# Mistakes that are reported at another line than the first edited one: the line with this beginning.
ELSEWHERE = {
    "no source": "data:",
    "parts for units": "    - units:",
    "no learning rate": "train:",
    "list for a mapping": "metric:",
    "goal against the metric": "metric:",
    "mapping for a list": "  hidden:",
}


@pytest.mark.parametrize("case", MISTAKES)
def test_one_mistake(study: Path, case: str) -> None:
    """One line with file, line and path, the value that was found and the nearest valid word."""
    old, new, path, fragments = MISTAKES[case]
    text, line = edited(old, new)
    if case in ELSEWHERE:
        line = next(n for n, x in enumerate(text.splitlines(), 1) if x.startswith(ELSEWHERE[case]))
    lines = refused(study, text)
    found = [x for x in lines if x.startswith(f"study.yaml:{line}: {path}")]
    assert found, lines
    for fragment in fragments:
        assert fragment in found[0]
    for word in ("Traceback", "pydantic", "tuple", "instance of"):
        assert word not in found[0]


@pytest.mark.parametrize("setting", ["classical: 3", "classical: 'yes'", "beta: true", "beta: 1.5", "beta: [0.9]"])
def test_setting_of_a_wrong_type(study: Path, setting: str) -> None:
    text = BASE.replace("optimizer: momentum", f"optimizer: {{name: momentum, {setting}}}").replace("  beta: {", "  #")
    assert any("momentum" in x or setting.split(":")[0] in x for x in refused(study, text))


@pytest.mark.parametrize(
    "parameter",
    [
        "batch_size: {values: [16, 0, 32]}",
        "batch_size: {values: [16, -8, 32]}",
        "beta: {values: [0.9, 1.5, 0.8]}",
        "hidden_units: {values: [16, -3, 8]}",
        "l2: {values: [0, -1, 1]}",
    ],
)
def test_every_value_must_fit_the_engine(study: Path, parameter: str) -> None:
    """Not only the first and the last: a trial would fail at it."""
    name = parameter.split(":")[0]
    text = re.sub(rf"^  {name}: .*$", f"  {parameter}", BASE, flags=re.MULTILINE)
    assert any(name in x or "units" in x for x in refused(study, text))


DOCUMENTS = {
    p.relative_to(REPOSITORY).as_posix(): p.read_text("utf-8") for p in sorted((REPOSITORY / "studies").rglob("*.yaml"))
}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents(study: Path, document: str) -> None:
    """Every study file of the repository is valid, without notices, and survives JSON."""
    spec, notices = load(study, DOCUMENTS[document])
    assert notices == []
    assert restore_spec(json.loads(json.dumps(spec.model_dump(mode="json"))), "a database") == spec


def test_studies_are_found() -> None:
    assert {"studies/digits.yaml", "studies/published/adult.yaml"} <= set(DOCUMENTS)


NUMBERS = st.floats(1e-6, 1e6).map(lambda x: float(f"{x:.6g}"))
RANGES = st.tuples(NUMBERS, NUMBERS).filter(lambda p: p[0] < p[1])
PARAMETERS = st.fixed_dictionaries(
    {"learning_rate": RANGES.map(lambda p: {"min": p[0], "max": p[1], "scale": "log"})},
    optional={
        "l2": st.one_of(NUMBERS, RANGES.map(lambda p: {"min": p[0], "max": p[1]})),
        "batch_size": st.lists(st.integers(1, 999), min_size=1, unique=True).map(
            lambda v: {"values": sorted(v), "ordered": True}
        ),
        "beta": st.lists(st.floats(0, 0.999), min_size=1, unique=True).map(lambda v: {"values": v}),
    },
)


@given(PARAMETERS, st.sampled_from(["momentum", {"name": "momentum", "classical": True}]), st.integers(0, 2**70))
def test_json_and_back(parameters: dict[str, object], optimizer: object, seed: int) -> None:
    """The spec stored in the database is equal to the bit."""
    content = {
        "name": "a",
        "seed": seed,
        "data": {"source": "sklearn", "name": "iris"},
        "train": {"optimizer": optimizer},
        "model": {"hidden": [3, {"units": 4, "activation": "tanh", "initializer": "he_normal"}]},
        "parameters": parameters,
        "stages": [{"name": "one", "trials": 3}, {"name": "two", "trials": 3, "sampler": "tpe", "zoom": {}}],
    }
    spec = restore_spec(content, "here")
    assert restore_spec(json.loads(json.dumps(spec.model_dump(mode="json"))), "there") == spec


TABLE = "  source: csv\n  path: t.csv\n  target: y\n"


def of_table(text: str, parameters: str = "") -> str:
    """Return the base with a table as data."""
    start, end = BASE.index("  source"), BASE.index("model:")
    return (BASE[:start] + TABLE + text + BASE[end:]).replace("parameters:\n", f"parameters:\n{parameters}")


@pytest.mark.parametrize("parameter", ["{values: [0, 5]}", "{values: [5, 0]}", "{value: 0}", "0"])
@pytest.mark.parametrize(("setting", "least"), [("min_frequency", 1), ("max_categories", 2)])
def test_every_value_of_a_preprocessing_parameter_is_checked(
    study: Path, setting: str, least: int, parameter: str
) -> None:
    """Like the setting itself."""
    lines = refused(study, of_table(f"  {setting}: r\n", f"  r: {parameter}\n"))
    assert lines == [f"study.yaml:7: data.{setting}: parameter 'r' must be greater than or equal to {least}, got 0"]
    spec, _ = load(study, of_table(f"  {setting}: r\n", "  r: {values: [2, 5]}\n"))
    assert spec.parameters["r"].values == (2, 5)


def test_cells_are_text(study: Path) -> None:
    """Numbers and truth values in YAML are text in a table; the spec survives JSON."""
    text = of_table("  missing: [-1, 2.5, -999.0, true, x]\n  labels: {0: 1, true: no, b: false}\n")
    spec, _ = load(study, text)
    assert spec.data.missing == ("-1", "2.5", "-999.0", "True", "x")  # type: ignore[attr-defined]
    assert spec.data.labels == {"0": "1", "true": "no", "b": "False"}  # type: ignore[attr-defined]
    dumped = json.loads(json.dumps(spec.model_dump(mode="json")))
    assert restore_spec(dumped, "a database") == spec
    dumped["data"]["labels"] = {0: "no", True: 1.5}
    assert restore_spec(dumped, "here").data.labels == {"0": "no", "True": "1.5"}  # type: ignore[attr-defined]
    lines = refused(study, of_table("  missing: [[1]]\n"))
    assert len(lines) == 1 and "data.missing.0: must be a valid string, got [1]" in lines[0]


def test_frozen(study: Path) -> None:
    spec, _ = load(study, BASE)
    with pytest.raises(ValueError, match="frozen"):
        spec.seed = 3  # type: ignore[misc]


def test_conditional_specs_survive_json(conditional_spec: Spec) -> None:
    assert restore_spec(conditional_spec.model_dump(mode="json"), "json") == conditional_spec


@pytest.mark.parametrize("key", [("a",), None, True, 1.5])
def test_keys_of_mappings_are_text(key: Any) -> None:
    for content in ({key: 1}, {"parameters": {key: 1}}):
        with pytest.raises(SpecError, match="a key must be text, got"):
            spec_from_mapping(content, "study")
    with pytest.raises(SpecError, match="unknown key '1'"):
        spec_from_mapping({1: 2}, "study")  # type: ignore[dict-item]


def test_mappings_that_are_nested_too_deeply() -> None:
    """From Python; one may also contain itself."""
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"data": deep}
    around: dict[str, Any] = {"stages": []}
    around["stages"].append(around)
    for content in (deep, around):
        with pytest.raises(SpecError, match="nested more than 50 levels deep, or contains itself"):
            spec_from_mapping(content, "study")

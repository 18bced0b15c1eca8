"""Notes on good practice: one for each setting that the literature advises against, none for the bundled studies."""

from pathlib import Path
from typing import Any

import pytest
from paths import REPOSITORY

from hpsearch.config.load import load_spec, spec_from_mapping
from hpsearch.config.practice import practice_notes
from tests.hpsearch.test_cli import Call, call  # noqa: F401 (a fixture)

STUDIES = sorted((REPOSITORY / "studies").rglob("*.yaml"))
GOOD: dict[str, Any] = {
    "name": "good",
    "data": {"source": "csv", "path": "a.csv", "target": "y", "task": "classification"},
    "model": {"hidden": [{"units": 16, "dropout": 0.5}]},
    "train": {"optimizer": "momentum", "batch_size": 32, "early_stopping": {"patience": 5}, "epochs": 300},
    "parameters": {
        "learning_rate": {"min": 1e-4, "max": 1.0, "scale": "log"},
        "beta": {"min": 0.5, "max": 0.999, "scale": "one_minus_log"},
    },
    "stages": [{"name": "only", "trials": 12}],
}
BAD = """\
name: bad
data: {source: csv, path: table.csv, target: y, task: classification, scale: none}
model:
  input_dropout: 0.6
  hidden:
    - {units: 16, activation: identity}
    - {units: 8, activation: sigmoid}
  initializer: zero
train: {optimizer: momentum, batch_size: 1}
parameters:
  learning_rate: {min: 0.0001, max: 1.0}
  beta: {min: 0.5, max: 0.999}
stages:
  - {name: only, trials: 12}
"""
TANH = {"units": 4, "activation": "tanh"}
ADAM = {"optimizer": "adam", "early_stopping": {"patience": 5}}


def paths(**changes: Any) -> list[str]:
    spec, _ = spec_from_mapping({**GOOD, **changes}, "test")
    return [".".join(map(str, note.path)) for note in practice_notes(spec)]


def test_a_file_that_breaks_eight_rules_gets_eight_notes(call: Call, tmp_path: Path) -> None:  # noqa: F811
    """In the order of the lines, each with a reason and a source; the exit code is 0, or 2 with --strict."""
    study = tmp_path / "bad.yaml"
    study.write_text(BAD)
    said = call("check", study)
    notes = said.err.splitlines()
    assert said.code == 0 and ": ok: study 'bad'" in said.out and len(notes) == 8
    lines = [int(note.split(f"{study}:")[1].partition(":")[0]) for note in notes]
    assert lines == [2, 4, 6, 7, 8, 9, 11, 12]
    assert all(
        note.startswith("note: ") and note.endswith(")") and any(year in note for year in ("19", "20"))
        for note in notes
    )
    strict = call("check", study, "--strict")
    assert strict.code == 2 and "error: " in strict.err and "8 notes on good practice" in strict.err


def test_a_good_file_gets_none(call: Call, tmp_path: Path) -> None:  # noqa: F811
    assert paths() == []
    study = tmp_path / "good.yaml"
    study.write_text(BAD.replace(", scale: none", "").replace("input_dropout: 0.6", "input_dropout: 0.2"))
    fixes = ["model.hidden=[{units: 8}]", "model.initializer=he_normal", "train.batch_size=32"]
    fixes += ["parameters.learning_rate.scale=log", "parameters.beta.scale=one_minus_log"]
    said = call("check", study, "--strict", *(word for fix in fixes for word in ("--set", fix)))
    assert said.code == 0 and said.err == ""


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_bundled_studies_have_no_notes(path: Path) -> None:
    assert [str(note) for note in practice_notes(load_spec(path)[0])] == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"model": {"hidden": [{"units": 4, "activation": "tanh"}], "initializer": "he_normal"}},
            ["model.initializer"],
        ),
        ({"model": {"hidden": [{"units": 4, "initializer": "xavier_uniform"}]}}, ["model.hidden.0.initializer"]),
        ({"model": {"hidden": [{"units": 4, "activation": "tanh"}], "initializer": "xavier_normal"}}, []),
        ({"model": {"hidden": [{"units": 4}], "initializer": {"name": "normal", "sigma": 0.1}}}, ["model.initializer"]),
        ({"model": {"layers": [{"name": "dense", "units": 4}, "sigmoid"]}}, ["model.layers.1"]),
        ({"model": {"layers": [{"name": "dropout", "rate": 0.7}]}}, ["model.layers.0.rate"]),
        ({"train": {**ADAM, "learning_rate": 0.5}, "parameters": {}}, ["train.learning_rate"]),
        ({"train": {**ADAM, "learning_rate": 1e-3}, "parameters": {}}, []),
        ({"train": {"optimizer": "momentum", "epochs": 300}}, ["train.epochs"]),
        ({"train": {"optimizer": "momentum", "epochs": 300}, "pruning": "promote"}, []),
        ({"train": {"optimizer": "momentum", "epochs": 300, "schedule": "cosine"}}, []),
    ],
)
def test_single_notes(changes: dict[str, Any], expected: list[str]) -> None:
    assert paths(**changes) == expected


def test_a_setting_that_is_searched_among_good_ones_is_a_question() -> None:
    model = {"hidden": [{"units": 4, "activation": "activation"}]}
    searched = {**GOOD["parameters"], "activation": {"values": ["sigmoid", "relu"]}}
    assert paths(model=model, parameters=searched) == []
    only = {**GOOD["parameters"], "activation": {"values": ["sigmoid"]}}
    assert paths(model=model, parameters=only) == ["parameters.activation"]


@pytest.mark.parametrize(
    ("name", "parameter", "noted"),
    [
        ("l2", {"min": 0.0, "max": 0.1}, True),
        ("l2", {"min": 0.01, "max": 0.05}, False),
        ("beta", {"min": 0.8, "max": 0.9}, False),
        ("batch_size", {"values": [1, 16], "ordered": True}, True),
        ("batch_size", {"values": [16, 32], "ordered": True}, False),
        ("input_dropout", {"min": 0.0, "max": 0.4}, False),
        ("input_dropout", {"min": 0.0, "max": 0.8}, True),
    ],
)
def test_ranges(name: str, parameter: dict[str, Any], noted: bool) -> None:
    train = {**GOOD["train"], "batch_size": None}
    found = paths(train=train, parameters={**GOOD["parameters"], name: parameter})
    assert found == ([f"parameters.{name}"] if noted else [])


def test_an_experiment_asks_what_its_settings_do() -> None:
    model = {"hidden": [{"units": 4, "activation": "sigmoid"}], "initializer": "zero"}
    parameters = {"learning_rate": 0.1}
    repeated = {"model": model, "parameters": parameters, "stages": [{"name": "seeds", "seeds": 8}]}
    assert paths(**repeated) == []
    assert len(paths(model=model)) == 2

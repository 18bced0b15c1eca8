"""Words of other tools are translated with a notice; keys of earlier versions are refused with the new name."""

from pathlib import Path
from typing import Any

import pytest

from hpsearch.config.load import spec_from_mapping
from hpsearch.errors import SpecError
from tests.hpsearch.config.test_load import BASE, edited, load, of_table, refused, study

__all__ = ["study"]

# Original text, replacement, part of the notice.
TRANSLATED: dict[str, tuple[str, str, str]] = {
    "low and high": (
        "{min: 1e-4, max: 1.0, scale: log}",
        "{low: 1e-4, high: 1.0, scale: log}",
        "'low' is read as 'min'",
    ),
    "lower and upper": ("{min: 1e-4, max: 1.0,", "{lower: 1e-4, upper: 1.0,", "'upper' is read as 'max'"),
    "choices": ("values: [16", "choices: [16", "'choices' is read as 'values'"),
    "n_trials": ("trials: 48", "n_trials: 48", "'n_trials' is read as 'trials'"),
    "max_evals": ("trials: 48", "max_evals: 48", "'max_evals' is read as 'trials'"),
    "max_iter": ("  epochs: 50", "  max_iter: 50", "'max_iter' is read as 'epochs'"),
    "hidden_layer_sizes": ("  hidden:\n", "  hidden_layer_sizes:\n", "'hidden_layer_sizes' is read as 'hidden'"),
    "direction": ("goal: minimize", "direction: minimize", "'direction' is read as 'goal'"),
    "log": ("max: 1.0, scale: log", "max: 1.0, log: true", "'log' is read as 'scale: log'"),
    "log_uniform_values": ("max: 1.0, scale: log", "max: 1.0, distribution: log_uniform_values", "'scale: log'"),
    "loguniform": ("max: 1.0, scale: log", "max: 1.0, distribution: loguniform", "'scale: log'"),
    "int_loguniform": (
        "{type: int, min: 16, max: 256, scale: log}",
        "{min: 16, max: 256, distribution: int_loguniform}",
        "'type: int, scale: log'",
    ),
    "categorical": ("values: [16, 32, 64]", "distribution: categorical, values: [16, 32, 64]", "'values'"),
}


@pytest.mark.parametrize("case", TRANSLATED)
def test_words_of_other_tools(study: Path, case: str) -> None:
    """They are translated, with a notice that has the line."""
    old, new, notice = TRANSLATED[case]
    text, line = edited(old, new)
    spec, notices = load(study, text)
    assert spec == load(study, BASE)[0]
    assert notices and all(n.startswith(f"{study}:{line}: ") for n in notices)
    assert any(notice in n for n in notices)


@pytest.mark.parametrize("word", ["min", "max", "values", "trials"])
def test_a_word_and_its_translation(study: Path, word: str) -> None:
    """Both together are refused, because neither takes precedence."""
    old, new = {
        "min": ("{min: 1e-4, max: 1.0", "{min: 1e-4, low: 1e-3, max: 1.0"),
        "max": ("{min: 1e-4, max: 1.0", "{min: 1e-4, max: 1.0, high: 2.0"),
        "values": ("{values: [16", "{choices: [1], values: [16"),
        "trials": ("{name: coarse, trials: 48", "{name: coarse, n_trials: 4, trials: 48"),
    }[word]
    assert "unknown key" in "".join(refused(study, BASE.replace(old, new)))


def test_mistakes_under_an_alias_keep_their_line(study: Path) -> None:
    text, line = edited("trials: 48", "n_trials: many")
    assert refused(study, text)[0].startswith(f"study.yaml:{line}: stages.0.trials")


# Text of a study file with an old key, its path, its new name.
RENAMED: dict[str, tuple[str, str, str]] = {
    "repeats": (BASE.replace("parallel: 16", "repeats: reuse"), "repeats", "duplicates"),
    "draw": (BASE.replace("  epochs: 50", "  draw: balanced"), "train.draw", "row_sampling"),
    "penalty": (BASE.replace("  epochs: 50", "  penalty: batch_size"), "train.penalty", "penalty_divisor"),
    "rare": (of_table("  rare: 10\n"), "data.rare", "min_frequency"),
    "categories": (of_table("  categories: 10\n"), "data.categories", "max_categories"),
    "startup": (
        BASE.replace("parallel: 16", "pruning: {kind: median, startup: 3}"),
        "pruning.startup",
        "n_startup_trials",
    ),
}


@pytest.mark.parametrize("old", RENAMED)
def test_keys_of_earlier_versions(study: Path, old: str) -> None:
    """One line has the new name; with it the file is valid."""
    text, path, new = RENAMED[old]
    line = next(n for n, x in enumerate(text.splitlines(), 1) if f"{old}:" in x)
    assert refused(study, text) == [f"study.yaml:{line}: {path}: unknown key '{old}'; did you mean '{new}'?"]
    load(study, text.replace(f"{old}:", f"{new}:"))


def test_old_key_of_a_stage(study: Path) -> None:
    text, line = edited("trials: 48,", "trials: 48, pruning: {kind: median, startup: 3},")
    path = "stages.0.pruning.startup"
    assert refused(study, text) == [
        f"study.yaml:{line}: {path}: unknown key 'startup'; did you mean 'n_startup_trials'?"
    ]


@pytest.mark.parametrize(("key", "old", "new"), [("duplicates", "seed", "new_seed"), ("goal", "minimise", "minimize")])
def test_old_values(study: Path, key: str, old: str, new: str) -> None:
    text = BASE.replace("parallel: 16", f"{key}: {old}") if key == "duplicates" else BASE.replace("minimize", old)
    assert any(f"unknown '{old}'; did you mean '{new}'?" in x for x in refused(study, text))


@pytest.mark.parametrize("section", [3, "x", [], None, [3], {"pruning": 3}])
def test_parts_of_a_wrong_type_are_left_for_validation(section: Any) -> None:
    names = ("metric", "train", "data", "pruning", "stages", "parameters")
    with pytest.raises(SpecError):
        spec_from_mapping(dict.fromkeys(names, section), "here")


YAML_1_1 = ["1e-4", "1e4", "-2e+3", "1.5e3", ".5e2"]  # text for PyYAML, numbers in YAML 1.2


@pytest.mark.parametrize("text", YAML_1_1)
def test_numbers_that_yaml_1_1_takes_for_text(text: str) -> None:
    """A mapping that PyYAML loaded has them; other text and the words of a table are unchanged."""
    content = {
        "name": "1e4",
        "data": {"source": "csv", "path": "t.csv", "target": "y", "missing": [text]},
        "train": {"learning_rate": text if float(text) > 0 else "1e-2"},
        "parameters": {"l2": {"min": 0.0, "max": "1e5"}},
        "stages": [{"name": "a", "trials": 3, "points": [{"l2": "1e-5"}]}],
    }
    spec, notices = spec_from_mapping(content, "the mapping")
    assert spec.train.learning_rate == (float(text) if float(text) > 0 else 0.01)
    assert spec.parameters["l2"].max == 1e5 and spec.stages[0].points[0] == {"l2": 1e-5}  # type: ignore[union-attr]
    assert spec.name == "1e4" and spec.data.missing == (text,)  # type: ignore[attr-defined]
    assert (
        len(notices) == 3
        and "the mapping: parameters.l2.max: the text '1e5' is read as the number 100000.0" in (notices[1])
    )


@pytest.mark.parametrize("text", ["50", "5.0", "1e", "e5", "fifty", ".e5", "1e5x"])
def test_other_text_is_no_number(text: str) -> None:
    content = {"name": "a", "data": {"source": "sklearn", "name": "iris"}, "train": {"epochs": text}}
    with pytest.raises(SpecError, match=f"train.epochs: must be a valid integer, got '{text}'"):
        spec_from_mapping(content, "here")

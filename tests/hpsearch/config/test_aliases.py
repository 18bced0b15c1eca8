"""Words of other tools are translated with a notice; keys of earlier versions are refused with the new name."""

from pathlib import Path
from typing import Any

import pytest

from hpsearch.config.aliases import RENAMED_KEYS
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
    "repeats": (BASE.replace("wave: 16", "repeats: reuse"), "repeats", "duplicates"),
    "draw": (BASE.replace("  epochs: 50", "  draw: balanced"), "train.draw", "row_sampling"),
    "penalty": (BASE.replace("  epochs: 50", "  penalty: batch_size"), "train.penalty", "penalty_divisor"),
    "rare": (of_table("  rare: 10\n"), "data.rare", "min_frequency"),
    "categories": (of_table("  categories: 10\n"), "data.categories", "max_categories"),
    "startup": (
        BASE.replace("wave: 16", "pruning: {kind: median, startup: 3}"),
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


def test_every_renamed_key_is_tested() -> None:
    assert {old for words in RENAMED_KEYS.values() for old in words} == RENAMED.keys()


def test_old_key_of_a_stage(study: Path) -> None:
    text, line = edited("trials: 48,", "trials: 48, pruning: {kind: median, startup: 3},")
    path = "stages.0.pruning.startup"
    assert refused(study, text) == [
        f"study.yaml:{line}: {path}: unknown key 'startup'; did you mean 'n_startup_trials'?"
    ]


@pytest.mark.parametrize(("key", "old", "new"), [("duplicates", "seed", "new_seed"), ("goal", "minimise", "minimize")])
def test_old_values(study: Path, key: str, old: str, new: str) -> None:
    text = BASE.replace("wave: 16", f"{key}: {old}") if key == "duplicates" else BASE.replace("minimize", old)
    assert any(f"unknown '{old}'; did you mean '{new}'?" in x for x in refused(study, text))


@pytest.mark.parametrize("section", [3, "x", [], None, [3], {"pruning": 3}])
def test_parts_of_a_wrong_type_are_left_for_validation(section: Any) -> None:
    names = ("metric", "train", "data", "pruning", "stages", "parameters")
    with pytest.raises(SpecError):
        spec_from_mapping(dict.fromkeys(names, section), "here")

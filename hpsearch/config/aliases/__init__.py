"""Keys and values of other tools in a study file.

A word with the same meaning is translated, with a notice. Words without an exact counterpart are refused with the right
word, here or by the validation (`hpsearch/config/vocabulary.py`).
"""

import re
from collections.abc import Callable
from typing import Any

from hpsearch.config.aliases.parameters import translate_parameters
from hpsearch.config.aliases.translation import Translation
from hpsearch.config.document import KeyPath
from hpsearch.core.text import printable
from hpsearch.errors import Mistake

METRIC_KEYS = {"direction": "goal", "optimize_mode": "goal"}
MODEL_KEYS = {"hidden_layer_sizes": "hidden"}
TRAIN_KEYS = {
    "lr": "learning_rate",
    "learning_rate_init": "learning_rate",
    "max_iter": "epochs",
    "max_epochs": "epochs",
    "num_epochs": "epochs",
    "n_epochs": "epochs",
}
STAGE_KEYS = {"n_trials": "trials", "num_trials": "trials", "max_trials": "trials", "max_evals": "trials"}
# Numbers that YAML 1.1 readers such as PyYAML take for text: they need a point and a signed exponent.
YAML_1_1_TEXT = re.compile(r"[-+]?(\d+[eE][-+]?\d+|\d*\.\d*[eE]\d+)")
NUMERIC_SECTIONS = ("model", "train", "metric", "parameters", "stages", "pruning")


def translate(
    document: dict[str, Any], move: Callable[[KeyPath, KeyPath], None], where: Callable[[KeyPath], str]
) -> tuple[list[str], list[Mistake]]:
    """Translate the words of other tools in a study file, in place.

    Args:
        document: the content before validation; parts of a wrong type are reported by the validation.
        move: called with the old and the new path of each renamed key, so that messages keep its line.
        where: maps a path to `file:line`.

    Returns:
        Notices to print, and mistakes of the file.
    """
    translation = Translation(move, where)
    for section in NUMERIC_SECTIONS:
        if section in document:
            document[section] = _numbers(translation, document[section], (section,))
    translation.rename(document.get("metric"), ("metric",), METRIC_KEYS)
    translation.rename(document.get("model"), ("model",), MODEL_KEYS)
    translation.rename(document.get("train"), ("train",), TRAIN_KEYS)
    stages = document.get("stages")
    for number, stage in enumerate(stages if isinstance(stages, list) else []):
        translation.rename(stage, ("stages", number), STAGE_KEYS)
    if "parameters" in document:
        document["parameters"] = translate_parameters(translation, document["parameters"])
    return list(map(printable, translation.notices)), translation.mistakes


def _numbers(translation: Translation, value: Any, path: KeyPath) -> Any:
    """Return the value with numbers in place of text that YAML 1.2 reads as numbers."""
    if isinstance(value, dict):
        return {key: _numbers(translation, item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(translation, item, (*path, number)) for number, item in enumerate(value)]
    if not isinstance(value, str) or not YAML_1_1_TEXT.fullmatch(value):
        return value
    try:
        number = float(value)
    except ValueError:  # ".e5"
        return value
    translation.note(path, f"the text '{value}' is read as the number {number!r}, as in YAML 1.2")
    return number

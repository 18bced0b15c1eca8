"""Keys and values of other tools and earlier versions in a study file.

A word with the same meaning is translated, with a notice. A word with another meaning, or of an earlier version, is
rejected with the correct word.
"""

from collections.abc import Callable, Iterator
from typing import Any, final

from hpsearch.config.document import KeyPath
from hpsearch.core.text import printable
from hpsearch.errors import Mistake

# Translated with a notice.
METRIC_KEYS = {"direction": "goal"}
PARAMETER_KEYS = {"low": "min", "high": "max", "lower": "min", "upper": "max", "choices": "values"}
TRAIN_KEYS = {"lr": "learning_rate"}
STAGE_KEYS = {"n_trials": "trials"}
DISTRIBUTIONS: dict[str, dict[str, str]] = {
    "uniform": {"scale": "linear"},
    "log_uniform_values": {"scale": "log"},
    "loguniform": {"scale": "log"},
    "int_uniform": {"type": "int", "scale": "linear"},
    "int_loguniform": {"type": "int", "scale": "log"},
    "categorical": {},
}
# Refused: in other tools the word means something else.
OTHER_MEANINGS = {
    "log_uniform": "in other tools its bounds are exponents; give the values themselves and scale: log",
    "reverse_log": "in other tools it is not logarithmic in 1 − value; for that use scale: one_minus_log",
    "reverse_log_uniform": "in other tools it is not logarithmic in 1 − value; for that use scale: one_minus_log",
    "inv_log_uniform_values": "in other tools it is not logarithmic in 1 − value; for that use scale: one_minus_log",
}
# Refused: keys of version 0.5 and of other tools, by section; '' is the top level.
RENAMED_KEYS: dict[str, dict[str, str]] = {
    "": {"repeats": "duplicates"},
    "data": {"rare": "min_frequency", "categories": "max_categories"},
    "train": {"draw": "row_sampling", "penalty": "penalty_divisor"},
    "pruning": {"startup": "n_startup_trials"},
}


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
    translation = _Translation(move, where)
    for path, section, renamed in _sections(document):
        translation.refuse(section, path, renamed)
    translation.rename(document.get("metric"), ("metric",), METRIC_KEYS)
    translation.rename(document.get("train"), ("train",), TRAIN_KEYS)
    for number, stage in enumerate(_items(document.get("stages"))):
        translation.rename(stage, ("stages", number), STAGE_KEYS)
    parameters = document.get("parameters")
    for name, parameter in parameters.items() if isinstance(parameters, dict) else ():
        translation.rename(parameter, ("parameters", name), PARAMETER_KEYS)
        if isinstance(parameter, dict):
            translation.parameter(parameter, ("parameters", name))
    return list(map(printable, translation.notices)), translation.mistakes


def _sections(document: dict[str, Any]) -> Iterator[tuple[KeyPath, Any, dict[str, str]]]:
    """Yield (path, content, renamed keys) of each section that had other keys."""
    yield (), document, RENAMED_KEYS[""]
    for name in ("data", "train", "pruning"):
        yield (name,), document.get(name), RENAMED_KEYS[name]
    for number, stage in enumerate(_items(document.get("stages"))):
        if isinstance(stage, dict):
            yield ("stages", number, "pruning"), stage.get("pruning"), RENAMED_KEYS["pruning"]


@final
class _Translation:
    """The notices and mistakes of one study file."""

    def __init__(self, move: Callable[[KeyPath, KeyPath], None], where: Callable[[KeyPath], str]) -> None:
        self.notices: list[str] = []
        self.mistakes: list[Mistake] = []
        self._move = move
        self._where = where

    def rename(self, section: Any, path: KeyPath, words: dict[str, str]) -> None:
        """Rename keys of other tools, with a notice each."""
        for old in self._moved(section, path, words):
            self._note((*path, words[old]), path, f"'{old}' is read as '{words[old]}'")

    def refuse(self, section: Any, path: KeyPath, words: dict[str, str]) -> None:
        """Reject renamed keys; each gets its new name, so that it causes no further mistake."""
        for old in self._moved(section, path, words):
            message = f"unknown key '{old}'; did you mean '{words[old]}'?"
            self.mistakes.append(Mistake(self._where((*path, words[old])), _dotted((*path, old)), message))

    def parameter(self, parameter: dict[str, Any], path: KeyPath) -> None:
        """Translate `log: true` and the names of distributions."""
        if parameter.get("log") in (True, False) and "scale" not in parameter:
            parameter["scale"] = "log" if parameter.pop("log") else "linear"
            self._move((*path, "log"), (*path, "scale"))
            self._note((*path, "scale"), path, f"'log' is read as 'scale: {parameter['scale']}'")
        for key in ("distribution", "scale"):
            word = parameter.get(key)
            if not isinstance(word, str):
                continue
            if word in OTHER_MEANINGS:
                message = f"'{word}': {OTHER_MEANINGS[word]}"
                self.mistakes.append(Mistake(self._where((*path, key)), _dotted((*path, key)), message))
                del parameter[key]
            elif key == "distribution" and word in DISTRIBUTIONS:
                del parameter[key]
                parameter.update(DISTRIBUTIONS[word])
                meaning = ", ".join(f"{k}: {v}" for k, v in DISTRIBUTIONS[word].items()) or "values"
                self._note((*path, key), path, f"distribution '{word}' is read as '{meaning}'")

    def _moved(self, section: Any, path: KeyPath, words: dict[str, str]) -> Iterator[str]:
        """Rename keys in place and yield the old names; a key stays if the section has its new name as well."""
        if isinstance(section, dict):
            for old, new in words.items():
                if old in section and new not in section:
                    section[new] = section.pop(old)
                    self._move((*path, old), (*path, new))
                    yield old

    def _note(self, line: KeyPath, path: KeyPath, text: str) -> None:
        self.notices.append(f"{self._where(line)}: {_dotted(path)}: {text}")


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path))

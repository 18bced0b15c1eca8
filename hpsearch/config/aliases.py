"""What users of other tools write: read with a notice where it means the same, else refused with a hint."""

from collections.abc import Callable
from typing import Any

from hpsearch.core.text import printable
from hpsearch.errors import Mistake

Move = Callable[[tuple[str | int, ...], tuple[str | int, ...]], None]

_METRIC = {"direction": "goal"}
_PARAMETER = {"low": "min", "high": "max", "lower": "min", "upper": "max", "choices": "values"}
_TRAIN = {"lr": "learning_rate"}
_STAGE = {"n_trials": "trials"}
_DISTRIBUTIONS: dict[str, dict[str, str]] = {
    "uniform": {"scale": "linear"},
    "log_uniform_values": {"scale": "log"},
    "loguniform": {"scale": "log"},
    "int_uniform": {"type": "int", "scale": "linear"},
    "int_loguniform": {"type": "int", "scale": "log"},
    "categorical": {},
}
_OTHERWISE = {
    "log_uniform": "elsewhere its bounds are exponents; write the values themselves and scale: log",
    "reverse_log": "elsewhere it is not log in 1 − value; for β write scale: one_minus_log",
    "reverse_log_uniform": "elsewhere it is not log in 1 − value; for β write scale: one_minus_log",
    "inv_log_uniform_values": "elsewhere it is not log in 1 − value; for β write scale: one_minus_log",
}


def translate(
    document: dict[str, Any], moved: Move, where: Callable[[tuple[str | int, ...]], str]
) -> tuple[list[str], list[Mistake]]:
    """Rewrites a study file, in place, from the words of other tools.

    Args:
        document: as read, before validation; whatever is not a mapping is left for validation to refuse.
        moved: told (old path, new path) of each key, so that mistakes keep their line.
        where: a path's file and line.

    Returns:
        Notices to print, and mistakes that only a person can mend.
    """
    notices: list[str] = []
    mistakes: list[Mistake] = []

    def rename(mapping: Any, path: tuple[str | int, ...], words: dict[str, str]) -> None:
        if not isinstance(mapping, dict):
            return
        for old, new in words.items():
            if old in mapping and new not in mapping:
                mapping[new] = mapping.pop(old)
                moved((*path, old), (*path, new))
                notices.append(f"{where((*path, new))}: {_dotted(path)}: '{old}' is read as '{new}'")

    rename(document.get("metric"), ("metric",), _METRIC)
    rename(document.get("train"), ("train",), _TRAIN)
    for number, stage in enumerate(_items(document.get("stages"))):
        rename(stage, ("stages", number), _STAGE)
    parameters = document.get("parameters")
    for name, parameter in parameters.items() if isinstance(parameters, dict) else ():
        path = ("parameters", name)
        rename(parameter, path, _PARAMETER)
        if not isinstance(parameter, dict):
            continue
        if parameter.get("log") in (True, False) and "scale" not in parameter:
            parameter["scale"] = "log" if parameter.pop("log") else "linear"
            moved((*path, "log"), (*path, "scale"))
            meaning = f"scale: {parameter['scale']}"
            notices.append(f"{where((*path, 'scale'))}: {_dotted(path)}: 'log' is read as '{meaning}'")
        for key in ("distribution", "scale"):
            word = parameter.get(key)
            if isinstance(word, str) and word in _OTHERWISE:
                mistakes.append(Mistake(where((*path, key)), _dotted((*path, key)), f"'{word}': {_OTHERWISE[word]}"))
                del parameter[key]
            elif isinstance(word, str) and key == "distribution" and word in _DISTRIBUTIONS:
                del parameter[key]
                parameter.update(_DISTRIBUTIONS[word])
                meaning = ", ".join(f"{k}: {v}" for k, v in _DISTRIBUTIONS[word].items()) or "values"
                notices.append(f"{where((*path, key))}: {_dotted(path)}: distribution '{word}' is read as '{meaning}'")
    return list(map(printable, notices)), mistakes


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dotted(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path))

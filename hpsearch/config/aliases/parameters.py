"""Parameters in the forms of other tools: Optuna, Ray Tune, Hyperopt, NNI, Katib, Weights & Biases, SMAC, Ax.

{low: 1e-4, high: 0.1, log: true}                              {_type: loguniform, _value: [1e-4, 0.1]}
{parameterType: double, feasibleSpace: {min: "1e-4", …}}       {distribution: log_uniform_values, …}
tune.loguniform(1e-4, 0.1)                                     {type: categorical, choices: […]}
"""

import ast
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from hpsearch.config.aliases.translation import Translation
from hpsearch.config.document import KeyPath
from hpsearch.core.text import format_yaml

KEYS_OF_PARAMETERS = {
    "low": "min",
    "high": "max",
    "lower": "min",
    "upper": "max",
    "choices": "values",
    "categories": "values",
    "list": "values",
    "parameterType": "type",
    "parameter_type": "type",
}
# Values of `type` and `distribution` with the keys that they stand for; the names of functions below are valid too.
DISTRIBUTIONS: dict[str, dict[str, Any]] = {
    "uniform": {"scale": "linear"},
    "log_uniform_values": {"scale": "log"},
    "loguniform": {"scale": "log"},
    "logUniform": {"scale": "log"},
    "int_uniform": {"type": "int", "scale": "linear"},
    "int_loguniform": {"type": "int", "scale": "log"},
    "q_uniform": {"scale": "linear"},
}
TYPES: dict[str, dict[str, Any]] = {
    "double": {"type": "float"},
    "integer": {"type": "int"},
    "range": {},
    "categorical": {},
    "choice": {},
    "discrete": {},
    "ordinal": {"ordered": True},
    "constant": {},
    "fixed": {},
}
# Refused: in other tools the word means something else.
OTHER_MEANINGS = {
    "log_uniform": "in other tools its bounds are exponents; give the values themselves and scale: log",
    "reverse_log": "in other tools it is not logarithmic in 1 − value; for that use scale: one_minus_log",
    "reverse_log_uniform": "in other tools it is not logarithmic in 1 − value; for that use scale: one_minus_log",
    "inv_log_uniform_values": "in other tools it is not logarithmic in 1 − value; for that use scale: one_minus_log",
}
RANGE_OF_FUNCTION: dict[str, dict[str, Any]] = {
    "uniform": {},
    "quniform": {},
    "suggest_uniform": {},
    "suggest_float": {},
    "interval": {},
    "loguniform": {"scale": "log"},
    "suggest_loguniform": {"scale": "log"},
    "randint": {"type": "int"},
    "qrandint": {"type": "int"},
    "suggest_int": {"type": "int"},
    "lograndint": {"type": "int", "scale": "log"},
}
UPPER_IS_EXCLUDED = ("randint", "lograndint")
LISTS = ("choice", "grid_search", "suggest_categorical")
CALL = re.compile(r"([A-Za-z_][\w.]{0,99})\(.*\)", re.DOTALL)
MAX_CALL_LENGTH = 1000  # characters
MAX_STEPS = 1000  # values that a step may stand for
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def translate_parameters(translation: Translation, parameters: Any) -> Any:
    """Return the section `parameters` with every parameter in our form."""
    names = [p.get("name") if isinstance(p, dict) else None for p in parameters] if isinstance(parameters, list) else []
    if names and all(isinstance(n, str) for n in names) and len(set(names)) == len(names):
        translation.note(("parameters",), "a list with names is read as a mapping of names")
        for number, parameter in enumerate(parameters):
            translation.move_all(parameter, ("parameters", number), ("parameters", str(names[number])))
        parameters = {p["name"]: {key: value for key, value in p.items() if key != "name"} for p in parameters}
    if not isinstance(parameters, dict):
        return parameters
    return {name: _parameter(translation, p, ("parameters", name)) for name, p in parameters.items()}


def _parameter(translation: Translation, parameter: Any, path: KeyPath) -> Any:
    """Return one parameter in our form."""
    parameter = _of_function(translation, parameter, path)
    if not isinstance(parameter, dict):
        return parameter
    parameter = _unnested(translation, parameter, path)
    translation.rename(parameter, path, KEYS_OF_PARAMETERS)
    _log(translation, parameter, path)
    _distribution(translation, parameter, path)
    _type(translation, parameter, path)
    _number_text(translation, parameter, path)
    return _stepped(translation, parameter, path)


def _of_function(translation: Translation, parameter: Any, path: KeyPath) -> Any:
    """Translate a call as text, `{_type: NAME, _value: […]}`, and `{NAME: […]}`."""
    found: tuple[str, list[Any], dict[str, Any]] | None = None
    match parameter:
        case str() if len(parameter) <= MAX_CALL_LENGTH and CALL.fullmatch(parameter):
            found = _parsed_call(parameter)
        case {"_type": str(name), "_value": value, **rest} if not rest:
            found = name, [value] if name in LISTS or not isinstance(value, list) else value, {}
        case {**only} if len(only) == 1 and _is_function(next(iter(only))):
            ((key, value),) = only.items()
            function = str(key).rpartition(".")[2]
            arguments = [value] if function in LISTS or not isinstance(value, list) else value
            found = (function, [], value) if isinstance(value, dict) else (function, arguments, {})
    if found is None:
        return parameter
    result = _range_of_call(*found)
    if result is None:
        remedy = "write {min: …, max: …, scale: log} or a list of values"
        translation.refuse(path, f"cannot be read as a range: {format_yaml(parameter)}; {remedy}")
        return {}
    translation.note(path, f"{format_yaml(parameter)} is read as {format_yaml(result)}")
    return result


def _is_function(name: object) -> bool:
    return isinstance(name, str) and name.rpartition(".")[2] in {*RANGE_OF_FUNCTION, *LISTS}


def _parsed_call(text: str) -> tuple[str, list[Any], dict[str, Any]] | None:
    """Return name, arguments and named arguments of a call with constants; None for other text."""
    try:
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call):
            return None
        arguments = [ast.literal_eval(a) for a in call.args]
        named = {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg is not None}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        arguments, named = [], {}  # refused as a call of its name
    full = text.partition("(")[0]
    name = full.rpartition(".")[2]
    if not _is_function(name):
        return None
    if full.startswith("hp."):  # Hyperopt: a label comes first; the bounds of a log scale are exponents
        arguments = [] if "log" in name else arguments[1:]
    elif name.startswith("suggest_") and arguments and isinstance(arguments[0], str):
        arguments = arguments[1:]
    return name, arguments, named


def _range_of_call(name: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the parameter that a function of another tool describes; None if it has no exact counterpart."""
    if name in LISTS:
        values = arguments[0] if arguments else named.get("choices", named.get("categories"))
        return {"values": list(values)} if isinstance(values, list | tuple) and len(arguments) < 2 else None
    if name not in RANGE_OF_FUNCTION or len(arguments) > 3:
        return None
    given = dict(zip(("low", "high", "step"), arguments, strict=False)) | dict(named)
    low, high = (given.pop(key, given.pop(other, None)) for key, other in (("low", "lower"), ("high", "upper")))
    step, log = given.pop("step", given.pop("q", None)), given.pop("log", False)
    if given or not all(_is_number(bound) for bound in (low, high)) or not isinstance(log, bool):
        return None
    result = {"min": low, "max": high} | RANGE_OF_FUNCTION[name] | ({"scale": "log"} if log else {})
    if "type" in result and not all(isinstance(bound, int) for bound in (low, high)):
        return None
    if name in UPPER_IS_EXCLUDED:
        result["max"] = high - 1
    return result if step is None else result | {"step": step}


def _unnested(translation: Translation, parameter: dict[str, Any], path: KeyPath) -> dict[str, Any]:
    """Move the keys of `feasibleSpace`, and both of `bounds`, one level up."""
    result = dict(parameter)
    for key in ("feasibleSpace", "feasible_space"):
        inner = result.get(key)
        if isinstance(inner, dict) and not inner.keys() & result.keys():
            del result[key]
            result |= inner
            for name, value in inner.items():
                translation.move_all(value, (*path, key, name), (*path, name))
            translation.note(path, f"the keys of '{key}' are read as those of the parameter", (*path, key))
    bounds = result.get("bounds")
    if isinstance(bounds, list) and len(bounds) == 2 and not {"min", "max"} & result.keys():
        del result["bounds"]
        result |= {"min": bounds[0], "max": bounds[1]}
        translation.note(
            path,
            f"'bounds' is read as 'min: {format_yaml(bounds[0])}, max: {format_yaml(bounds[1])}'",
            (*path, "bounds"),
        )
    return result


def _log(translation: Translation, parameter: dict[str, Any], path: KeyPath) -> None:
    """Translate `log: true`."""
    for key in ("log", "log_scale"):
        if parameter.get(key) in (True, False) and "scale" not in parameter:
            parameter["scale"] = "log" if parameter.pop(key) else "linear"
            translation.move((*path, key), (*path, "scale"))
            translation.note(path, f"'{key}' is read as 'scale: {parameter['scale']}'", (*path, "scale"))


def _distribution(translation: Translation, parameter: dict[str, Any], path: KeyPath) -> None:
    """Translate the names of distributions."""
    for key in ("distribution", "scale", "type"):
        word = parameter.get(key)
        if not isinstance(word, str):
            continue
        if word in OTHER_MEANINGS:
            translation.refuse((*path, key), f"'{word}': {OTHER_MEANINGS[word]}")
            del parameter[key]
        elif key != "scale" and word in DISTRIBUTIONS:
            _replace_word(translation, parameter, path, key, DISTRIBUTIONS[word])
        elif key == "distribution" and word in TYPES:
            _replace_word(translation, parameter, path, key, TYPES[word])
        elif key == "distribution":
            message = f"unknown distribution '{word}'; give min, max and scale: linear, log or one_minus_log"
            translation.refuse((*path, key), message)
            del parameter[key]


def _type(translation: Translation, parameter: dict[str, Any], path: KeyPath) -> None:
    """Translate words for types; leave out a type that agrees with the listed values."""
    word = parameter.get("type")
    listed = parameter.get("values", [parameter.get("value")])
    if not isinstance(word, str) or not isinstance(listed, list):
        return
    is_range = not parameter.keys() & {"values", "value"}
    if word in TYPES and not (is_range and word not in ("double", "integer", "range")):
        if word in ("double", "integer", "discrete"):
            listed[:] = [_as_number(v) for v in listed]
            parameter |= {
                key: listed if key == "values" else listed[0] for key in ("values", "value") if key in parameter
            }
        word = {"double": "float", "integer": "int"}.get(word, word)
        if word in ("float", "int"):
            _replace_word(translation, parameter, path, "type", {"type": word})
        else:
            _replace_word(translation, parameter, path, "type", TYPES[word])
    kinds: Any = {"float": int | float, "int": int}.get(word)
    if not is_range and kinds and all(isinstance(v, kinds) and not isinstance(v, bool) for v in listed):
        parameter.pop("type", None)
        translation.note(path, f"'type: {word}' is left out: the values have this type", (*path, "type"))


def _replace_word(
    translation: Translation, parameter: dict[str, Any], path: KeyPath, key: str, meaning: Mapping[str, Any]
) -> None:
    word = parameter.pop(key)
    parameter.update(meaning)
    read_as = ", ".join(f"{k}: {format_yaml(v)}" for k, v in meaning.items()) or next(
        (k for k in ("values", "value") if k in parameter), "min and max"
    )
    translation.note(path, f"{key} '{word}' is read as '{read_as}'", (*path, key))


def _number_text(translation: Translation, parameter: dict[str, Any], path: KeyPath) -> None:
    """Translate bounds, and the guess of a range, that are quoted numbers."""
    for key in ("min", "max", "step", "q", *(["guess"] if "min" in parameter else [])):
        number = _as_number(parameter.get(key))
        if number is not parameter.get(key):
            parameter[key] = number
            translation.note(path, f"the text of '{key}' is read as the number {number}", (*path, key))


def _stepped(translation: Translation, parameter: dict[str, Any], path: KeyPath) -> dict[str, Any]:
    """Translate `step`, or `q`, whose values are multiples of it, to a list of the values."""
    key = next((key for key in ("step", "q") if key in parameter), "")
    rest = {name: value for name, value in parameter.items() if name != key}
    if not key or not all(map(_is_number, map(parameter.get, (key, "min", "max")))):
        return parameter
    step, low, high = (Decimal(repr(parameter[name])) for name in (key, "min", "max"))
    if step == 1 and parameter.get("type") == "int":
        translation.note(path, f"'{key}: 1' is left out: integers have it", (*path, key))
        return rest
    whole = isinstance(parameter["min"], int) and isinstance(parameter[key], int)
    unknown = rest.keys() - {"min", "max", "scale", "type", "guess"}
    if unknown or rest.get("scale", "linear") != "linear":
        why = "only a linear scale has a step"
    elif not 0 < step <= high - low or (high - low) / step >= MAX_STEPS or (high - low) % step:
        why = f"max must be min plus a multiple of {key}, at most {MAX_STEPS:,} values"
    elif key == "q" and low % step:
        why = "min must be a multiple of q"
    else:
        values = [low + k * step for k in range(int((high - low) / step) + 1)]
        result = {"values": [int(v) if whole else float(v) for v in values], "ordered": True}
        result |= {"guess": rest["guess"]} if "guess" in rest else {}
        translation.note(
            path, f"'{key}: {format_yaml(parameter[key])}' is read as '{format_yaml(result)[1:-1]}'", (*path, key)
        )
        return result
    translation.refuse((*path, key), f"{why}; leave {key} out, or list the values: {{values: […], ordered: true}}")
    return rest


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _as_number(value: Any) -> Any:
    """Return the number that a text spells; any other value unchanged."""
    if not isinstance(value, str) or len(value) > 50 or not NUMBER.fullmatch(value):
        return value
    return int(value) if re.fullmatch(r"[-+]?\d+", value) else float(value)

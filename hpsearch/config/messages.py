"""Validation messages: what must hold, what the file has, the nearest valid name."""

import functools
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hpsearch.config.document import KeyPath
from hpsearch.config.hints import key_hint, value_hint
from hpsearch.core.schema import StrictModel
from hpsearch.core.space import Fixed, Range, Values
from hpsearch.core.text import format_count

Errors = list[tuple[KeyPath, str]]

# Steps of pydantic's error locations that are not keys of the file.
_UNION_STEPS = {"int", "float", "str", "bool", "constrained-int", "literal['auto']"}
_PARAMETER_TAGS: dict[str, type[StrictModel]] = {"<range>": Range, "<values>": Values, "<fixed>": Fixed}


def validate_part(path: KeyPath, data: Any, kind: Any, errors: Errors) -> Any:
    """Return `data` as an instance of `kind`; or append to `errors` and return None."""
    try:
        return _adapter(kind).validate_python(data, strict=True)
    except ValidationError as error:
        by_location: dict[KeyPath, list[str]] = {}
        for e in error.errors(include_url=False):
            location, message = _reworded(path, e, kind, data)
            by_location.setdefault(location, []).append(message)
        errors += [(location, _joined(messages)) for location, messages in by_location.items()]
        return None


def section_of(path: Sequence[str | int]) -> str:
    """Return the dotted path of a section, without list indexes and names of parameters; all `pruning` are one."""
    steps = [str(step) for step in path if isinstance(step, str)]
    if steps[:1] == ["parameters"]:
        del steps[1:2]
    if steps[:2] == ["stages", "pruning"]:
        del steps[0]
    return ".".join(steps)


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Return one adapter per kind: a file may have thousands of parameters."""
    return TypeAdapter(kind)


def _joined(messages: list[str]) -> str:
    """Join the messages of a union's members, all of which rejected a value, into one sentence."""
    if len(messages) == 1 or not all(m.startswith("must be a valid ") for m in messages):
        return messages[0]
    *first, last = [m.removeprefix("must be a valid ").split(",")[0] for m in messages]
    return f"must be a valid {', '.join(first)} or {last}, {messages[0].partition(', ')[2]}"


def _reworded(path: KeyPath, error: Mapping[str, Any], kind: Any, data: Any) -> tuple[KeyPath, str]:
    """Return the location and the message of a pydantic error in `data`."""
    within: KeyPath = error["loc"]
    location = (*path, *(p for p in within if not str(p).startswith("<") and str(p) not in _UNION_STEPS))
    message = str(error["msg"]).removeprefix("Value error, ")
    got = error.get("input")
    if error["type"] == "extra_forbidden":
        keys = sorted(_keys(kind, within[:-1]))
        key, siblings = str(location[-1]), data if len(location) == len(path) + 1 else None
        return location, f"unknown key '{key}'{key_hint(section_of(location[:-1]), key, keys, got, siblings)}"
    if error["type"] == "missing":
        return location, "missing"
    if error["type"] == "literal_error" and isinstance(got, str):
        words = [w.strip("' ") for w in str(error["ctx"]["expected"]).replace(" or ", ", ").split(",")]
        return location, f"unknown '{got}'{value_hint(section_of(location), got, words)}"
    if error["type"] == "model_type":
        return location, f"must be a mapping with keys from {', '.join(sorted(_keys(kind, within)))}, got {got!r}"
    if error["type"] == "too_short":
        got = list(got) if isinstance(got, tuple) else got  # of Pydantic before 2.9
        return location, f"must have at least {format_count(error['ctx']['min_length'], 'item')}, got {got!r}"
    if error["type"] != "value_error":
        message = f"{message[0].lower()}{message[1:]}".replace("input should", "must").split(" or instance of ")[0]
        message = message.replace("valid tuple", "list").replace("valid dictionary", "mapping") + f", got {got!r}"
    return location, message


def _keys(kind: Any, path: KeyPath) -> set[str]:
    """Return the keys allowed at a path of a section, from its annotations."""
    sections: set[type[StrictModel]] = set(_sections(kind))
    for step in path:
        if isinstance(step, str) and not step.startswith("<"):
            fields = [s.model_fields[step] for s in sections if step in s.model_fields]
            sections = {s for f in fields for s in _sections(f.annotation)} or sections
        elif isinstance(step, str):
            sections = {_PARAMETER_TAGS[step]}
    return {key for s in sections for key in s.model_fields}


def _sections(kind: Any) -> Iterator[type[StrictModel]]:
    if isinstance(kind, type) and issubclass(kind, StrictModel):
        yield kind
    for inner in typing.get_args(kind):
        yield from _sections(inner)

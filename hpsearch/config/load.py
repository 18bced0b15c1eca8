"""Load a study file: YAML → `Spec`, or all mistakes at once, each with its line and the nearest valid name."""

import os
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hpsearch.config.aliases import translate
from hpsearch.config.document import MAX_DEPTH, Document, KeyPath, read_document
from hpsearch.config.hints import MAX_NAME_LENGTH, key_hint, value_hint
from hpsearch.config.messages import Errors, validate_part
from hpsearch.config.references import Parameters
from hpsearch.config.rules import cross_section_errors
from hpsearch.config.spec import AnyParameter, Spec, Train
from hpsearch.config.spec.objective import KINDS
from hpsearch.data.sources import SOURCES
from hpsearch.errors import Mistake, SpecError

MAX_INTEGER = 10**300
SECTION_NAMES: tuple[str, ...] = tuple(Spec.model_fields)
REQUIRED = ("name", "data", "parameters", "stages")
_WITHOUT_DATA = ("function", "command")  # keys of `train` with which a study need not have data
_PARAMETER_NAME = re.compile(r"[\w .:/-]+")  # the characters that MLflow allows


def load_spec(path: Path, overrides: tuple[str, ...] = ()) -> tuple[Spec, list[str]]:
    """Load a study file.

    Args:
        overrides: assignments `KEY=VALUE`, as for the option `--set`.

    Returns:
        The spec, and notices about words of other tools that were translated.

    Raises:
        SpecError: the file has mistakes; the error lists all of them.
    """
    return load_with_lines(path, overrides)[:2]


def load_with_lines(path: Path, overrides: tuple[str, ...] = ()) -> tuple[Spec, list[str], Callable[[KeyPath], str]]:
    """Load a study file like `load_spec`; also return the function that returns `file:line` of a path."""
    document = read_document(path)
    for assignment in overrides:
        document.override(assignment)
    return *_checked(document), document.where


def spec_from_mapping(content: Mapping[str, Any], name: str) -> tuple[Spec, list[str]]:
    """Return the spec, and notices, of a study in the form of a mapping.

    Args:
        name: used in place of a file name in messages.

    Raises:
        SpecError: the study has mistakes; the error lists all of them.
    """
    return _checked(Document(name, _plain(content, name), {}))


def restore_spec(content: dict[str, Any], origin: str) -> Spec:
    """Return the spec that was stored as `Spec.model_dump(mode="json")`.

    Args:
        origin: where it is stored, for messages.

    Raises:
        SpecError: this version cannot use it.
    """
    spec, errors = _validated(content)
    if errors or spec is None:
        raise SpecError([Mistake(origin, ".".join(map(str, p)), message) for p, message in errors])
    return spec


def _plain(value: Any, name: str, depth: int = 0) -> Any:
    """Return a copy that contains only YAML's types.

    Raises:
        SpecError: it is nested too deeply, or a key is not text.
    """
    if depth > MAX_DEPTH:
        raise SpecError([Mistake(name, "", f"nested more than {MAX_DEPTH} levels deep, or contains itself")])
    if isinstance(value, Mapping):
        return {_plain_key(key, name): _plain(item, name, depth + 1) for key, item in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return [_plain(item, name, depth + 1) for item in value] if isinstance(value, list | tuple) else value


def _plain_key(key: Any, name: str) -> str:
    if not isinstance(key, str | int) or isinstance(key, bool):
        raise SpecError([Mistake(name, "", f"a key must be text, got {key!r}")])
    return str(key)


def _checked(document: Document) -> tuple[Spec, list[str]]:
    notices, mistakes = translate(document.content, document.move, document.where)
    spec, errors = _validated(document.content)
    refused = tuple(f"{m.path}." for m in mistakes)
    found = [Mistake(document.where(p), ".".join(map(str, p)), message) for p, message in errors]
    mistakes += [m for m in found if not f"{m.path}.".startswith(refused)]
    if mistakes or spec is None:
        raise SpecError(sorted(set(mistakes), key=lambda m: _order(document, m)))
    return spec, notices


def _order(document: Document, mistake: Mistake) -> tuple[int, str, str]:
    line = mistake.where.removeprefix(f"{document.name}:")
    return (int(line) if line.isdigit() else 0, mistake.path, mistake.message)


def _validated(content: dict[str, Any]) -> tuple[Spec | None, Errors]:
    """Validate each section, then check the rules across the valid sections."""
    errors: Errors = [
        ((key,), f"unknown key '{key}'{key_hint('', key, SECTION_NAMES, value)}")
        for key, value in content.items()
        if key not in SECTION_NAMES
    ]
    if large := list(_large_integers(content, ())):
        return None, errors + large
    sections: dict[str, Any] = {}
    for name, field in Spec.model_fields.items():
        if name in content:
            sections[name] = _VALIDATORS.get(name, _section)(name, content[name], errors)
        elif name in REQUIRED and not (name == "data" and _needs_no_data(content)):
            errors.append(((name,), f"missing; a study must have {', '.join(REQUIRED)}"))
        else:
            sections[name] = field.get_default(call_default_factory=True)
    errors += cross_section_errors(sections)
    return (None, errors) if errors else (Spec(**sections), errors)


def _section(name: str, content: Any, errors: Errors) -> Any:
    kind: Any = Spec.model_fields[name].rebuild_annotation()
    return validate_part((name,), content, kind, errors)


def _data(name: str, content: Any, errors: Errors) -> Any:
    """Validate `data` with the class of its source."""
    if content is None:  # of a stored study without data
        return None
    source = content.get("source") if isinstance(content, dict) else content
    if not isinstance(source, str) or source not in SOURCES:
        errors.append(
            ((name, "source"), f"unknown source '{source}'{value_hint('data.source', str(source), list(SOURCES))}")
        )
        return None
    return validate_part((name,), content, SOURCES[source], errors)


def _parameters(name: str, content: Any, errors: Errors) -> Parameters | None:
    """Validate each parameter separately; invalid ones become None."""
    if not isinstance(content, dict):
        errors.append(
            ((name,), f"must be a mapping of names to ranges, lists of values or fixed values, got {content!r}")
        )
        return None
    errors += [((name, key), message) for key in content if (message := _wrong_name(key))]
    return {key: validate_part((name, key), value, AnyParameter, errors) for key, value in content.items()}


def _wrong_name(name: str) -> str | None:
    """Return why MLflow cannot store a parameter of this name, or None."""
    if not _PARAMETER_NAME.fullmatch(name):
        return "a name may contain only letters, digits, spaces and _ . : / -"
    if len(name) > MAX_NAME_LENGTH:
        return f"a name must have at most {MAX_NAME_LENGTH} characters, got {len(name)}"
    if posixpath.normpath(name) != name or name.startswith(("/", ".")):
        return "a name must not look like a path: it must not begin with / or . nor contain // or /../"
    if name != name.strip():
        return "a name must not begin or end with a space"
    return None


def _train(name: str, content: Any, errors: Errors) -> Any:
    """Validate `train` with the class of what trains: the engine, unless a key names a function or the like."""
    named = [key for key in KINDS if isinstance(content, dict) and content.get(key) is not None]
    if len(named) > 1:
        errors.append(((name, named[1]), f"a study trains by one of {' and '.join(named)}; remove the others"))
        return None
    return validate_part((name,), content, KINDS[named[0]] if named else Train, errors)


def _needs_no_data(content: Mapping[str, Any]) -> bool:
    train = content.get("train")
    return isinstance(train, dict) and any(train.get(key) is not None for key in _WITHOUT_DATA)


_VALIDATORS = {"data": _data, "parameters": _parameters, "train": _train}


def _large_integers(content: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Yield (path, message) for each integer that is too large for a float."""
    if isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from _large_integers(value, (*path, key))
    elif isinstance(content, int) and abs(content) > MAX_INTEGER:
        yield path, f"must lie within ±1e300, got a number of {len(str(abs(content)))} digits"

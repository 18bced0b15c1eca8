"""Registries: names that a study file may use, and configurations to and from plain JSON."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from engine.types import EngineError

T = TypeVar("T")
MAX_SETTING = 1 << 31  # magnitude of a whole number in a stored configuration
_REGISTRIES: dict[str, "Registry[Any]"] = {}


class UnknownName(EngineError):
    """An unknown name; the message suggests the nearest valid name."""


class Registry(Mapping[str, type[T]], Generic[T]):
    """A mapping of names to classes, in order of definition; each class is a frozen dataclass.

    Args:
        kind: what an entry is, for messages, and the key of the name in `describe`.
        entries: name → class.
    """

    def __init__(self, kind: str, entries: Mapping[str, type[T]]) -> None:
        self.kind = kind
        self._entries = dict(entries)
        _REGISTRIES[kind] = self

    @classmethod
    def joined(cls, kind: str, *registries: "Mapping[str, type[T]]") -> "Registry[T]":
        """Join several registries, for a setting that accepts any of their names."""
        joined = cls.__new__(cls)
        joined.kind = kind
        joined._entries = {name: entry for entries in registries for name, entry in entries.items()}
        return joined

    def __getitem__(self, name: str) -> type[T]:
        """Return the class of that name.

        Raises:
            UnknownName: the name is not in the registry.
        """
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownName(f"unknown {self.kind} '{name}'{nearest(name, self._entries)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def nearest(name: str, names: Mapping[str, object] | list[str]) -> str:
    """Return `; did you mean 'x'?`, or all names if none is similar."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; there is {', '.join(names)}"


def describe(config: object) -> Any:
    """Return a configuration as plain JSON: `{"optimizer": "momentum", "beta": 0.9}`; lists and numbers unchanged."""
    if isinstance(config, tuple):
        return [describe(item) for item in config]
    for kind, registry in _REGISTRIES.items():
        for name, entry in registry.items():
            if type(config) is entry and dataclasses.is_dataclass(config):
                fields = {f.name: describe(getattr(config, f.name)) for f in dataclasses.fields(config)}
                return {kind: name, **fields}
    return config


def restore(description: Any) -> Any:
    """Return the configuration from the output of `describe`.

    Raises:
        UnknownName: the description has a name that is not in the registries.
        EngineError: a setting is unknown, or has another type than that of the class.
    """
    if isinstance(description, list):
        return tuple(restore(item) for item in description)
    if not isinstance(description, dict):
        return description
    # A field may have the name of a registry (a layer's `initializer`); then it contains a description, not a name.
    kind = next((kind for kind in _REGISTRIES if isinstance(description.get(kind), str)), None)
    if kind is None:
        raise UnknownName(f"a configuration must name one of {', '.join(_REGISTRIES)}, got {', '.join(description)}")
    entry, where = _REGISTRIES[kind][description[kind]], f"{kind} '{description[kind]}'"
    fields = {key: restore(value) for key, value in description.items() if key != kind}
    hints = typing.get_type_hints(entry)
    for key, value in fields.items():
        if key in hints and not _fits(value, hints[key]):
            raise EngineError(f"{where}: {key} must be {_type_name(hints[key])}, got {value!r:.100}")
    try:
        return entry(**fields)
    except TypeError as error:
        raise EngineError(f"{where}: {error}") from None


def _fits(value: Any, hint: Any) -> bool:
    """Return whether a restored value has the type of a field."""
    arguments = typing.get_args(hint)
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return any(_fits(value, member) for member in arguments)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, tuple):
            return False
        members = [arguments[0]] * len(value) if arguments[1:] == (...,) else list(arguments)
        return len(members) == len(value) and all(map(_fits, value, members))
    if hint is int:
        return type(value) is int and abs(value) <= MAX_SETTING
    if hint is float:
        return type(value) in (int, float) and abs(value) < math.inf
    if getattr(hint, "_is_protocol", False):
        return type(value) in _REGISTRIES[hint.__name__.lower()].values()
    return isinstance(value, hint)


def _type_name(hint: Any) -> str:
    return str(getattr(hint, "__name__", hint)).replace("engine.layers.base.", "")

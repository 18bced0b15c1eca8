"""Registries: names that a study file may use, and configurations to and from plain JSON."""

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from engine.types import EngineError

T = TypeVar("T")
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
        EngineError: the settings do not match the class.
    """
    if isinstance(description, list):
        return tuple(restore(item) for item in description)
    if not isinstance(description, dict):
        return description
    # A field may have the name of a registry (a layer's `initializer`); then it contains a description, not a name.
    kind = next((kind for kind in _REGISTRIES if isinstance(description.get(kind), str)), None)
    if kind is None:
        raise UnknownName(f"a configuration must name one of {', '.join(_REGISTRIES)}, got {', '.join(description)}")
    fields = {key: restore(value) for key, value in description.items() if key != kind}
    try:
        return _REGISTRIES[kind][description[kind]](**fields)
    except TypeError as error:
        raise EngineError(f"{kind} '{description[kind]}': {error}") from None

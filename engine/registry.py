"""The names a study file may use: a menu for each family, and configurations to and from plain JSON."""

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from engine.types import EngineError

T = TypeVar("T")
_REGISTRIES: dict[str, "Registry[Any]"] = {}


class UnknownName(EngineError):
    """A name that is on no menu; the message offers the nearest one."""


class Registry(Mapping[str, type[T]], Generic[T]):
    """Names to classes, in the order they are written in; each class is a frozen dataclass."""

    def __init__(self, kind: str, entries: Mapping[str, type[T]]) -> None:
        self.kind = kind
        self._entries = dict(entries)
        _REGISTRIES[kind] = self

    @classmethod
    def joined(cls, kind: str, *menus: "Mapping[str, type[T]]") -> "Registry[T]":
        """Several menus as one, for a place where any of their names will do."""
        menu = cls.__new__(cls)
        menu.kind = kind
        menu._entries = {name: entry for entries in menus for name, entry in entries.items()}
        return menu

    def __getitem__(self, name: str) -> type[T]:
        """The class of that name.

        Raises:
            UnknownName: it is not on the menu.
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
    """`; did you mean 'x'?`, or all there is to choose from when nothing is near."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; there is {', '.join(names)}"


def describe(config: object) -> Any:
    """A configuration as plain JSON: `{"optimizer": "momentum", "beta": 0.9}`; lists and numbers as they are."""
    if isinstance(config, tuple):
        return [describe(item) for item in config]
    for kind, menu in _REGISTRIES.items():
        for name, entry in menu.items():
            if type(config) is entry and dataclasses.is_dataclass(config):
                fields = {f.name: describe(getattr(config, f.name)) for f in dataclasses.fields(config)}
                return {kind: name, **fields}
    return config


def restore(description: Any) -> Any:
    """What `describe` described.

    Raises:
        UnknownName: it names something this version does not have.
        EngineError: its settings are not those of the class it names.
    """
    if isinstance(description, list):
        return tuple(restore(item) for item in description)
    if not isinstance(description, dict):
        return description
    # A field may be called like a menu (a layer's `initializer`), but then it holds a description and not a name.
    kind = next((kind for kind in _REGISTRIES if isinstance(description.get(kind), str)), None)
    if kind is None:
        raise UnknownName(f"a configuration must name one of {', '.join(_REGISTRIES)}, got {', '.join(description)}")
    fields = {key: restore(value) for key, value in description.items() if key != kind}
    try:
        return _REGISTRIES[kind][description[kind]](**fields)
    except TypeError as error:
        raise EngineError(f"{kind} '{description[kind]}': {error}") from None

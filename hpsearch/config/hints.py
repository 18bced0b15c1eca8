"""Hints of error messages: the nearest valid word, the counterpart of a word of another tool, the section of a key."""

import difflib
import functools
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from engine import registry
from engine.optimizers import OPTIMIZERS
from engine.training.clipping import CLIPS
from engine.training.schedules import SCHEDULES
from hpsearch.config.vocabulary import FOREIGN_KEYS, FOREIGN_VALUES, SECTION_KEYS
from hpsearch.core.schema import StrictModel
from hpsearch.core.text import format_yaml

MAX_NAME_LENGTH = 200  # characters of a parameter's name: MLflow takes 250, with log10_one_minus_ before it
MAX_CANDIDATES = 1000  # names that a hint is chosen from
MAX_PLACES = 3  # sections that have a key; a key of more sections says nothing
TYPING_ERROR = 0.8  # similarity of words from which a word is taken for another one with a typing error
MENUS_OF_TRAIN: dict[str, registry.Registry[Any]] = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "clip": CLIPS}
SEARCHABLE_DATA = ("data.scale", "data.impute", "data.min_frequency", "data.max_categories", "data.train_rows")


class Place(NamedTuple):
    """A key of a study file.

    Attributes:
        path: its dotted path, without list indexes.
        searchable: its value may be the name of a parameter.
    """

    path: str
    searchable: bool


def hint(name: str, names: Sequence[str]) -> str:
    """Return `; did you mean 'x'?`, or all names if none is similar; long names and lists are truncated for speed."""
    name, names = name[:MAX_NAME_LENGTH], list(names[:MAX_CANDIDATES])
    same = _same(name, names)
    return registry.nearest(name, names) if same is None else _did_you_mean(same)


def key_hint(section: str, key: str, names: Sequence[str], value: Any = None, siblings: Any = None) -> str:
    """Return the hint for an unknown key.

    Args:
        section: dotted path of its section, without list indexes and names of parameters.
        names: the valid keys of the section.
        value: the value of the key.
        siblings: content of the section.
    """
    if (same := _same(key, names)) is not None:
        return _did_you_mean(same)
    word = _normalized(key)
    counterpart = _key_counterparts(section).get(word) or _key_counterparts(None).get(word)
    if counterpart is not None:
        return _did_you_mean(counterpart.removeprefix(f"{section}."))
    elsewhere = _hint_elsewhere(section, key, value, siblings)
    if elsewhere and not difflib.get_close_matches(key[:MAX_NAME_LENGTH], names, n=1, cutoff=TYPING_ERROR):
        return elsewhere
    return hint(key, names)


def _hint_elsewhere(section: str, key: str, value: Any, siblings: Any) -> str | None:
    """Return the hint for a key that belongs elsewhere in a study file; None if no other section has it."""
    if section == "train" and (setting := _setting_of_choice(key, value, siblings)):
        return _did_you_mean(setting)
    places = [place.path for place in _places().get(_normalized(key), ())]
    return f"; did you mean {' or '.join(map(repr, places))}?" if 0 < len(places) <= MAX_PLACES else None


def value_hint(kind: str, word: str, names: Sequence[str]) -> str:
    """Return the hint for an unknown value.

    Args:
        kind: dotted path of its key, or the kind of its menu.
        names: the valid values.
    """
    if (same := _same(word, names)) is not None:
        return _did_you_mean(same)
    counterpart = _value_counterparts(kind).get(_normalized(word))
    if counterpart is not None and (counterpart.split(" ")[0] in names or counterpart.startswith(" ")):
        return _did_you_mean(counterpart)
    rows, slash, rest = word.partition("/")
    if slash and (of_rows := [n.removeprefix(f"{rows}/") for n in names if n.startswith(f"{rows}/")]):
        close = difflib.get_close_matches(rest[:MAX_NAME_LENGTH], of_rows, n=1, cutoff=0.5)
        return _did_you_mean(f"{rows}/{close[0]}") if close else f"; there is {', '.join(names)}"
    return hint(word, names)


def parameter_hint(name: str, settings: Mapping[str, tuple[str, Any]]) -> str:
    """Return the hint for a parameter that no setting uses.

    Args:
        settings: name of the parameter that a setting uses when it is omitted → the setting's path and its value.
    """
    counterpart = counterpart_of_parameter(name, list(settings))
    if counterpart is not None:
        path, value = settings[counterpart]
        own = f" {path} has a value of its own ({format_yaml(value)}): remove it, or write {counterpart}: {name}"
        return _did_you_mean(counterpart) + ("" if value is None else own)
    key = _key_counterparts(None).get(_normalized(name), name).rpartition(".")[2]
    places = _places().get(_normalized(key), ())
    if not difflib.get_close_matches(name[:MAX_NAME_LENGTH], list(settings), n=1, cutoff=TYPING_ERROR):
        for place in places[:1]:
            if place.searchable:
                return f"; a setting must name it: {place.path}: {name}"
            return f"; {place.path} cannot be searched: give it one value there"
    return hint(name, sorted(settings))


def counterpart_of_parameter(name: str, names: Sequence[str]) -> str | None:
    """Return which of the names another tool calls `name`; None for none."""
    for section in (None, "train.optimizer"):
        key = _key_counterparts(section).get(_normalized(name), "").split(" ")[0].rpartition(".")[2]
        if key in names:
            return key
    same = _same(name, names)
    return None if same == name else same


def _did_you_mean(counterpart: str) -> str:
    """Return the phrase for a counterpart in the form of `vocabulary.py`."""
    word, _, remark = counterpart.partition(" (")
    remark = remark.removesuffix(")")
    if not word:
        return f"; {remark}"
    return f"; did you mean '{word}' ({remark})?" if remark else f"; did you mean '{word}'?"


@functools.lru_cache(maxsize=4096)
def _normalized(word: str) -> str:
    return re.sub(r"[\W_]", "", word[:MAX_NAME_LENGTH].lower())


def _same(word: str, names: Sequence[str]) -> str | None:
    """Return the name that differs from a word only in case, `_`, `-` and spaces."""
    normalized = _normalized(word)
    return next((n for n in names if _normalized(n) == normalized), None) if normalized else None


@functools.cache
def _key_counterparts(section: str | None) -> dict[str, str]:
    """Return normalized foreign key → counterpart, of a section or, for None, of any section."""
    return _inverted(FOREIGN_KEYS if section is None else SECTION_KEYS.get(section, {}))


@functools.cache
def _value_counterparts(kind: str) -> dict[str, str]:
    """Return normalized foreign value → counterpart."""
    return _inverted(FOREIGN_VALUES.get(kind, {}))


def _inverted(table: Mapping[str, str]) -> dict[str, str]:
    return {_normalized(word): counterpart for counterpart, words in table.items() for word in words.split()}


def _setting_of_choice(key: str, value: Any, siblings: Any) -> str | None:
    """Return the form of a key that is a setting of the optimizer, the schedule or the clipping; None for another."""
    for name, menu in MENUS_OF_TRAIN.items():
        given = siblings.get(name) if isinstance(siblings, dict) else None
        chosen = given.get("name") if isinstance(given, dict) else given
        having = {entry: own for entry, kind in menu.items() if (own := _same(key, list(kind.__dataclass_fields__)))}
        if having:
            entry = chosen if chosen in having else next(iter(having))
            return f"{name}: {format_yaml({'name': entry, having[entry]: value})}"
    return None


@functools.cache
def _places() -> dict[str, tuple[Place, ...]]:
    """Return normalized key → the places in a study file that have it."""
    from hpsearch.config.spec import Choice, Spec  # late: needed for a message only

    places: dict[str, list[Place]] = {}
    for path, annotation in _keys_below("", Spec):
        parts = set(_parts(annotation))
        searchable = path.startswith(("model.", "train.")) and (Choice in parts or {int, str} <= parts)
        place = Place(path, searchable or path in SEARCHABLE_DATA)
        found = places.setdefault(_normalized(path.rpartition(".")[2]), [])
        found += [place] * (place not in found)
    return {key: tuple(found) for key, found in places.items()}


def _keys_below(path: str, section: type[StrictModel]) -> Iterator[tuple[str, Any]]:
    """Yield (dotted path, annotation) of each key in a section and in the sections below it."""
    from hpsearch.config.spec import Choice
    from hpsearch.data.sources import SOURCES

    for name, field in section.model_fields.items():
        inner = f"{path}.{name}" if path else name
        if path:
            yield inner, field.rebuild_annotation()
        sections = list(SOURCES.values()) if inner == "data" else _sections(field.annotation)
        for below in sections:
            if name != "parameters" and below is not Choice and not (path == "stages" and name == "pruning"):
                yield from _keys_below(inner, below)


def _sections(annotation: Any) -> list[type[StrictModel]]:
    return [part for part in _parts(annotation) if isinstance(part, type) and issubclass(part, StrictModel)]


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield a type and all types inside it."""
    yield annotation
    for inner in typing.get_args(annotation):
        yield from _parts(inner)

"""Compare a study file with the one that its study started with: what differs, and whether the study can resume.

Stages that have not started may change, and the last one that has started may be extended. Changes that would have led
to other trials are refused.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, NamedTuple, final

from hpsearch.config.spec import Spec, Stage
from hpsearch.core.space import Fixed, Range
from hpsearch.core.text import redacted

MAX_SHOWN_LENGTH = 60  # characters of a value in a message
DIFFER = "results would differ"
LOCATIONS = ("path", "test_path", "url", "cache")  # of data; the fingerprint identifies the data themselves
_PASSWORD = re.compile(
    r"(://[^:]*):.*@", re.DOTALL
)  # to the last @, over several lines: a password may contain @ and \n
_Path = tuple[str, ...]


class Change(NamedTuple):
    """One value of the study file that differs.

    Attributes:
        path: with stages and parameters by name: `stages.fine.trials`.
        old, new: shortened, without control characters and passwords.
        refusal: why the study cannot resume with it; None if it can.
        note: which stages it applies to; empty for all.
    """

    path: str
    old: str
    new: str
    refusal: str | None = None
    note: str = ""

    def __str__(self) -> str:
        why = self.refusal or self.note
        return f"{self.path}: {self.old} → {self.new}" + (f" ({why})" if why else "")


@final
@dataclass(frozen=True)
class Changes:
    """All changes, in the order of the file."""

    changes: tuple[Change, ...]

    @property
    def refused(self) -> tuple[Change, ...]:
        """The changes that a study cannot resume with."""
        return tuple(c for c in self.changes if c.refusal is not None)


def compare_specs(old: Spec, new: Spec, proposed: Mapping[str, int]) -> Changes:
    """Return all changes except for the study's name.

    Args:
        proposed: stage → number of trials proposed so far, for the stages that have started.
    """
    files = _Files(old, new, proposed)
    changes = [
        Change(_path(path), *_shown(a, b), _refusal(files, path), _note(files, path))
        for path, a, b in _leaves(_tree(old), _tree(new), ())
    ]
    changes += _order("stages", old.stage_names, new.stage_names, files.misplaced)
    changes += _order("parameters", _searched(old), _searched(new), DIFFER if files.started else None)
    return Changes(tuple(changes))


def changed_sections(old: Spec, new: Spec) -> tuple[str, ...]:
    """Return the sections that differ and determine what a trial is, so that a fork cannot reuse any trial.

    The seed is one of them: it determines the split, which is not part of the data's fingerprint.
    """
    before, after = _tree(old), _tree(new)
    sections = ("data", "model", "train", "metric", "seed")
    leaves = ((s, path) for s in sections for path, _, _ in _leaves(before[s], after[s], (s,)))
    neutral = [("metric", "base_error"), *(("data", place) for place in LOCATIONS)]
    return tuple(dict.fromkeys(s for s, path in leaves if (path[0], path[-1]) not in neutral))


@final
class _Files(NamedTuple):
    """Both files, and the progress of the study."""

    old: Spec
    new: Spec
    proposed: Mapping[str, int]

    @property
    def started(self) -> list[str]:
        return [name for name in self.old.stage_names if name in self.proposed]

    @property
    def waiting(self) -> list[str]:
        return [name for name in self.new.stage_names if name not in self.proposed]

    @property
    def misplaced(self) -> str | None:
        """The reason why the stages cannot have the new order; None if they can."""
        old_names, new_names = self.old.stage_names, self.new.stage_names
        started = [name for name in self.started if name in new_names]
        valid = [name for name in new_names if name in old_names][: len(started)] == started
        return None if valid else "stages that have started must stay first, in their order"


def _refusal(files: _Files, path: _Path) -> str | None:
    """Return why the study cannot resume with a change at a path, or None."""
    if not files.started:
        return None
    match path:
        case (
            "workers" | "cluster" | "baselines" | "max_failed" | "budget" | "timeout" | "ensemble",
            *_,
        ):
            return None
        case ("data", place) if place in LOCATIONS:
            return None
        case ("metric", "base_error"):
            return None
        case ("stages", name) if name not in files.started:
            return _inserted(files, name)
        case ("stages", name, *rest):
            return _of_started(files, name, tuple(rest)) if name in files.started else None
        case ("parameters", name, "min" | "max") if _same_kind(files, name):
            return None if files.waiting else "every stage has started"
    return DIFFER


def _note(files: _Files, path: _Path) -> str:
    """Return a note with the stages that a changed range applies to; empty for other changes."""
    later = path[0] == "parameters" and files.started and files.waiting and _refusal(files, path) is None
    return f"for the stages that have not started: {', '.join(files.waiting)}" if later else ""


def _same_kind(files: _Files, name: str) -> bool:
    old, new = files.old.parameters[name], files.new.parameters[name]
    return isinstance(old, Range) and isinstance(new, Range) and (old.type, old.scale) == (new.type, new.scale)


def _inserted(files: _Files, name: str) -> str | None:
    """Return why a stage that has not started cannot be added, or None."""
    names, last = files.new.stage_names, files.started[-1]
    if name not in names:
        return None
    if _stage(files.old, last).confirms:
        return f"{last} has started, and a confirming stage must be the last one; fork the study to search further"
    later = [n for n in names[names.index(name) :] if n in files.started]
    return f"{later[0]} has started, and a new stage must come after it" if later else None


def _of_started(files: _Files, name: str, field: _Path) -> str | None:
    """Return why a key of a stage that has started cannot change, or None."""
    if not field:
        return "it has started"
    if name != files.started[-1]:
        return f"{files.started[-1]} has started after it" if field == ("trials",) else DIFFER
    old, new = _stage(files.old, name), _stage(files.new, name)
    if old.confirms and field in (("seeds",), ("trials",)):
        return None if new.seeds >= old.seeds else "seeds can be added, not removed"
    if field not in (("trials",), ("timeout",), ("budget",)):
        return DIFFER
    proposed = files.proposed[name]
    if field == ("trials",) and new.trials is not None and new.trials < proposed:
        return f"{proposed} trials have been proposed already"
    return None


def _searched(spec: Spec) -> list[str]:
    """Return the parameters in the order in which a sampler draws them, which affects their values."""
    return [name for name, parameter in spec.parameters.items() if not isinstance(parameter, Fixed)]


def _stage(spec: Spec, name: str) -> Stage:
    return next(s for s in spec.stages if s.name == name)


def _order(what: str, old: list[str], new: list[str], refusal: str | None) -> Iterator[Change]:
    """Yield a change if the names that both files have are in another order."""
    before, after = [n for n in old if n in new], [n for n in new if n in old]
    if before != after:
        yield Change(f"order of {what}", *_shown(before, after), refusal)


def _tree(spec: Spec) -> dict[str, Any]:
    """Return the file as nested mappings, its stages by name."""
    content = spec.model_dump(mode="json", exclude={"name"})
    for stage in content["stages"]:
        if stage["top"] is not None:  # it follows from top and seeds
            del stage["trials"]
    return content | {"stages": {s.pop("name"): s for s in content["stages"]}}


def _leaves(old: Any, new: Any, path: _Path) -> Iterator[tuple[_Path, Any, Any]]:
    """Yield (path, old value, new value) of each difference.

    Lists of mappings are compared item by item, other lists as a whole.
    """
    if isinstance(old, dict) and isinstance(new, dict) and not _incomparable(old, new, path):
        for key in [*old, *(k for k in new if k not in old)]:
            yield from _leaves(old.get(key), new.get(key), (*path, key))
    elif isinstance(old, list) and isinstance(new, list) and any(isinstance(x, dict) for x in old + new):
        for number, (a, b) in enumerate(zip_longest(old, new)):
            yield from _leaves(a, b, (*path, str(number)))
    elif not same_value(old, new):
        yield path, old, new


def _incomparable(old: dict[str, Any], new: dict[str, Any], path: _Path) -> bool:
    """Return whether the keys of two mappings mean different things: of two sources, or of a range and a list."""
    if path == ("data",):
        return bool(old["source"] != new["source"])
    return len(path) == 2 and path[0] == "parameters" and old.keys() != new.keys()


def same_value(old: Any, new: Any) -> bool:
    """Return whether two values are equal: 1 equals 1.0, but not true."""
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(same_value, old, new))
    return bool(old == new) and isinstance(old, bool) == isinstance(new, bool)


def _path(path: Iterable[str]) -> str:
    return ".".join(_escaped(_text(step)) for step in path)


def _shown(old: Any, new: Any) -> tuple[str, str]:
    """Return both values shortened such that their difference remains visible."""
    texts = [_escaped(_text(value)) for value in (old, new)]
    if texts[0] != texts[1] and _cut(texts[0]) == _cut(texts[1]):
        pairs = enumerate(zip(*texts, strict=False))
        same = next((k for k, (a, b) in pairs if a != b), min(map(len, texts)))
        texts = [f"…{text[same - MAX_SHOWN_LENGTH // 4 :]}" for text in texts]
    return _cut(texts[0]), _cut(texts[1])


def _cut(text: str) -> str:
    half = MAX_SHOWN_LENGTH // 2
    return text if len(text) <= MAX_SHOWN_LENGTH else f"{text[: half - 1]}…{text[-half:]}"


def _text(value: Any) -> str:
    """Format a value nearly as YAML, without omitted keys and passwords."""
    match value:
        case None:
            return "not given"
        case bool():
            return str(value).lower()
        case str():
            return redacted(_PASSWORD.sub(r"\1:***@", value))
        case dict():
            return f"{{{', '.join(f'{_text(k)}: {_text(v)}' for k, v in value.items() if v is not None)}}}"
        case list():
            return f"[{', '.join(map(_text, value))}]"
    return str(value)


def _escaped(text: str) -> str:
    """Escape characters that are not printable."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)

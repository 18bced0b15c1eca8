"""A study file against the one that its study began with: what differs, and whether the study can go on with it.

What is not begun may change; what has begun may grow where it ends. Whatever would have made other trials is refused.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, NamedTuple, final

from hpsearch.config.spec import Spec, Stage
from hpsearch.core.space import Fixed, Range
from hpsearch.core.text import redacted

LONGEST = 60  # characters of a value that are shown
DIFFER = "results would differ"
PLACES = ("path", "test_path", "url", "cache")  # of data: that these are the same is told from the rows themselves
_PASSWORD = re.compile(r"(://[^:]*):.*@", re.DOTALL)  # up to the last @, in other lines too: a password may hold one
_Path = tuple[str, ...]


class Change(NamedTuple):
    """One leaf of the study file that differs.

    Attributes:
        path: stages and parameters by name: `stages.fine.trials`.
        old, new: short, without control characters and passwords.
        refusal: why the study cannot go on with it; None where it can.
        note: what it holds for, where not for all.
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
    """All that differs, in the order of the file."""

    changes: tuple[Change, ...]

    @property
    def refused(self) -> tuple[Change, ...]:
        """Those a study cannot go on with."""
        return tuple(c for c in self.changes if c.refusal is not None)


def compare_specs(old: Spec, new: Spec, asked: Mapping[str, int]) -> Changes:
    """What differs but for the study's name.

    Args:
        asked: stage → trials it has asked so far, for those that have begun.
    """
    files = _Files(old, new, asked)
    changes = [
        Change(_path(path), *_shown(a, b), _refusal(files, path), _note(files, path))
        for path, a, b in _leaves(_tree(old), _tree(new), ())
    ]
    changes += _order("stages", _stages(old), _stages(new), files.misplaced)
    changes += _order("parameters", _searched(old), _searched(new), DIFFER if files.begun else None)
    return Changes(tuple(changes))


def changed_sections(old: Spec, new: Spec) -> tuple[str, ...]:
    """Sections that differ and without which a trial is another one, so that a fork cannot re-use any.

    The seed is one of them: it draws the split of the data, which the fingerprint of the rows does not tell.
    """
    before, after = _tree(old), _tree(new)
    sections = ("data", "model", "train", "metric", "seed")
    leaves = ((s, path) for s in sections for path, _, _ in _leaves(before[s], after[s], (s,)))
    return tuple(dict.fromkeys(s for s, path in leaves if path[0] != "data" or path[-1] not in PLACES))


@final
class _Files(NamedTuple):
    """Both files, and how far the study is."""

    old: Spec
    new: Spec
    asked: Mapping[str, int]

    @property
    def begun(self) -> list[str]:
        return [name for name in _stages(self.old) if name in self.asked]

    @property
    def waiting(self) -> list[str]:
        return [name for name in _stages(self.new) if name not in self.asked]

    @property
    def misplaced(self) -> str | None:
        """Why stages of both files cannot be in the new order."""
        olds, news = _stages(self.old), _stages(self.new)
        begun = [name for name in self.begun if name in news]
        sound = [name for name in news if name in olds][: len(begun)] == begun
        return None if sound else "stages that have begun stay the first, in their order"


def _refusal(files: _Files, path: _Path) -> str | None:
    """Why the study cannot go on with a change there."""
    if not files.begun:
        return None
    match path:
        case ("workers" | "max_failed",):
            return None
        case ("data", place) if place in PLACES:
            return None
        case ("stages", name) if name not in files.begun:
            return _inserted(files, name)
        case ("stages", name, *rest):
            return _of_begun(files, name, tuple(rest)) if name in files.begun else None
        case ("parameters", name, "min" | "max") if _same_kind(files, name):
            return None if files.waiting else "every stage has begun"
    return DIFFER


def _note(files: _Files, path: _Path) -> str:
    """What a changed range holds for."""
    held = path[0] == "parameters" and files.begun and files.waiting and _refusal(files, path) is None
    return f"for the stages that have not begun: {', '.join(files.waiting)}" if held else ""


def _same_kind(files: _Files, name: str) -> bool:
    old, new = files.old.parameters[name], files.new.parameters[name]
    return isinstance(old, Range) and isinstance(new, Range) and (old.type, old.scale) == (new.type, new.scale)


def _inserted(files: _Files, name: str) -> str | None:
    """Of a stage that has not begun and is in one of the files alone."""
    news, last = _stages(files.new), files.begun[-1]
    if name not in news:
        return None
    if _stage(files.old, last).confirms:
        return f"{last} has begun, and what confirms is the last stage; fork the study to search further"
    later = [n for n in news[news.index(name) :] if n in files.begun]
    return f"{later[0]} has begun, and a new stage comes after it" if later else None


def _of_begun(files: _Files, name: str, field: _Path) -> str | None:
    """Of a stage that has begun."""
    if not field:
        return "it has begun"
    if name != files.begun[-1]:
        return f"{files.begun[-1]} has begun after it" if field == ("trials",) else DIFFER
    old, new = _stage(files.old, name), _stage(files.new, name)
    if old.confirms and field in (("seeds",), ("trials",)):
        return None if new.seeds >= old.seeds else "seeds may be added, not taken away"
    if field not in (("trials",), ("timeout",)):
        return DIFFER
    asked, wave = files.asked[name], files.new.wave
    if field == ("timeout",):
        return None
    if new.trials < asked:
        return f"{asked} trials are asked already"
    if (new.pruning or files.new.pruning).kind != "none" and asked % wave and asked == old.trials:
        return f"its last wave of {asked % wave} was pruned as it is, and would have been of {wave}"
    return None


def _stages(spec: Spec) -> list[str]:
    return [s.name for s in spec.stages]


def _searched(spec: Spec) -> list[str]:
    """The parameters in the order in which a sampler draws them, which its numbers depend on."""
    return [name for name, parameter in spec.parameters.items() if not isinstance(parameter, Fixed)]


def _stage(spec: Spec, name: str) -> Stage:
    return next(s for s in spec.stages if s.name == name)


def _order(what: str, old: list[str], new: list[str], refusal: str | None) -> Iterator[Change]:
    """That what both have stands in another order."""
    before, after = [n for n in old if n in new], [n for n in new if n in old]
    if before != after:
        yield Change(f"order of {what}", *_shown(before, after), refusal)


def _tree(spec: Spec) -> dict[str, Any]:
    """The file as nested mappings, its stages by name."""
    content = spec.model_dump(mode="json", exclude={"name"})
    for stage in content["stages"]:
        if stage["top"] is not None:  # what follows from it and from seeds
            del stage["trials"]
    return content | {"stages": {s.pop("name"): s for s in content["stages"]}}


def _leaves(old: Any, new: Any, path: _Path) -> Iterator[tuple[_Path, Any, Any]]:
    """Where two trees differ; lists of mappings are walked, others compared as a whole."""
    if isinstance(old, dict) and isinstance(new, dict) and not _unlike(old, new, path):
        for key in [*old, *(k for k in new if k not in old)]:
            yield from _leaves(old.get(key), new.get(key), (*path, key))
    elif isinstance(old, list) and isinstance(new, list) and any(isinstance(x, dict) for x in old + new):
        for number, (a, b) in enumerate(zip_longest(old, new)):
            yield from _leaves(a, b, (*path, str(number)))
    elif not same_value(old, new):
        yield path, old, new


def _unlike(old: dict[str, Any], new: dict[str, Any], path: _Path) -> bool:
    """Whether their leaves mean different things: those of two sources, or of a range and of values."""
    if path == ("data",):
        return bool(old["source"] != new["source"])
    return len(path) == 2 and path[0] == "parameters" and old.keys() != new.keys()


def same_value(old: Any, new: Any) -> bool:
    """Equal, where 1 is 1.0 but not true."""
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(same_value, old, new))
    return bool(old == new) and isinstance(old, bool) == isinstance(new, bool)


def _path(path: Iterable[str]) -> str:
    return ".".join(_escaped(_text(step)) for step in path)


def _shown(old: Any, new: Any) -> tuple[str, str]:
    """Both values, short; what is cut out is not what differs."""
    texts = [_escaped(_text(value)) for value in (old, new)]
    if texts[0] != texts[1] and _cut(texts[0]) == _cut(texts[1]):
        pairs = enumerate(zip(*texts, strict=False))
        alike = next((k for k, (a, b) in pairs if a != b), min(map(len, texts)))
        texts = [f"…{text[alike - LONGEST // 4 :]}" for text in texts]
    return _cut(texts[0]), _cut(texts[1])


def _cut(text: str) -> str:
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[: half - 1]}…{text[-half:]}"


def _text(value: Any) -> str:
    """A value nearly as YAML has it, what is not given left out, a password masked."""
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
    """Without control characters and others that cannot be seen."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)

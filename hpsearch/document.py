"""YAML 1.2 as plain values, with the line of every key."""

from pathlib import Path
from typing import Any, final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean
from ruamel.yaml.scalarfloat import ScalarFloat
from ruamel.yaml.scalarint import ScalarInt

from hpsearch.errors import Mistake, SpecError

Path_ = tuple[str | int, ...]
LARGEST = 1_000_000  # bytes; a study file has a few hundred
MOST = 50_000  # values, aliases expanded: a small file can unfold into very many


@final
class Document:
    """A study file as read: `content`, and where each part of it stands."""

    def __init__(self, name: str, content: dict[str, Any], lines: dict[Path_, int]) -> None:
        self.name = name
        self.content = content
        self._lines = lines
        self._set: set[Path_] = set()

    def where(self, path: Path_) -> str:
        """`file:line` of a path, or of the nearest part around it that is there."""
        for end in range(len(path), -1, -1):
            if path[:end] in self._set:
                return "--set"
            if path[:end] in self._lines:
                return f"{self.name}:{self._lines[path[:end]]}"
        return self.name

    def moved(self, old: Path_, new: Path_) -> None:
        """A key has got another name; its line is what it was."""
        if old in self._lines:
            self._lines[new] = self._lines[old]

    def override(self, assignment: str) -> None:
        """`--set stages.0.trials=8`: the value is read as YAML.

        Raises:
            SpecError: it is not KEY=VALUE, or KEY is not there to be set.
        """
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise SpecError([Mistake("--set", "", f"must be KEY=VALUE, got '{assignment}'")])
        *path, last = (int(k) if k.lstrip("-").isdigit() else k for k in key.split("."))
        inner: Any = self.content
        try:
            for k in path:
                inner = inner.setdefault(k, {}) if isinstance(inner, dict) else inner[k]
            if isinstance(inner, list):
                assert isinstance(last, int)
            inner[last] = _plain(_read("--set", text), {}, (), [0])
        except (KeyError, IndexError, TypeError, AttributeError, AssertionError, _TooLarge):
            raise SpecError([Mistake("--set", key, "there is nothing of that name to set")]) from None
        self._set.add((*path, last))


def read(path: Path) -> Document:
    """A study file.

    Raises:
        SpecError: it cannot be read, is no YAML, repeats a key, or is no mapping.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise SpecError([Mistake(str(path), "", f"a study file has at most {LARGEST:,} bytes")])
        text = path.read_text("utf-8")
    except OSError as error:
        raise SpecError([Mistake(str(path), "", f"cannot be read: {error.strerror or error}")]) from None
    except UnicodeDecodeError as error:
        raise SpecError([Mistake(str(path), "", f"must be UTF-8 text: {error.reason} at byte {error.start}")]) from None
    tree = _read(str(path), text)
    if not isinstance(tree, CommentedMap):
        got = "nothing" if tree is None else type(tree).__name__.removeprefix("Commented").lower()
        raise SpecError([Mistake(str(path), "", f"must hold 'key: value' lines at the top, got {got}")])
    lines: dict[Path_, int] = {}
    try:
        content = _plain(tree, lines, (), [0])
    except _TooLarge:
        raise SpecError([Mistake(str(path), "", f"holds more than {MOST:,} values when its aliases unfold")]) from None
    return Document(str(path), content, lines)


class _TooLarge(Exception):
    pass


def _read(name: str, text: str) -> Any:
    if text.lstrip().startswith("%"):
        raise SpecError([Mistake(f"{name}:1", "", "a study file is YAML 1.2; leave the % line out")])
    yaml = YAML(typ="rt", pure=True)
    yaml.version = (1, 2)
    try:
        return yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        problem = (error.problem or "no YAML").splitlines()[0]
        raise SpecError([Mistake(where, "", f"malformed YAML: {problem}")]) from None
    except (YAMLError, ValueError, RecursionError) as error:
        text = (str(error) or type(error).__name__).splitlines()[0]
        raise SpecError([Mistake(name, "", f"malformed YAML: {text}")]) from None


def _plain(node: Any, lines: dict[Path_, int], path: Path_, count: list[int]) -> Any:
    """ruamel's nodes → dict, list, str, int, float, bool and None."""
    count[0] += 1
    if count[0] > MOST or len(path) > 50:
        raise _TooLarge
    if isinstance(node, CommentedMap):
        for key in node:
            lines[(*path, str(key))] = node.lc.key(key)[0] + 1 if key in (node.lc.data or ()) else lines.get(path, 1)
        return {str(key): _plain(value, lines, (*path, str(key)), count) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        for number in range(len(node)):
            lines[(*path, number)] = node.lc.item(number)[0] + 1
        return [_plain(value, lines, (*path, number), count) for number, value in enumerate(node)]
    for kind, plain in ((ScalarBoolean, bool), (ScalarInt, int), (ScalarFloat, float), (str, str)):
        if isinstance(node, kind):
            return plain(node)
    return node

"""YAML 1.2 as plain values, with the line of every key.

Only the grammar is the library's: its nodes are turned into plain values here, so that no tag makes anything else.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from hpsearch.errors import Mistake, SpecError

Path_ = tuple[str | int, ...]
LARGEST = 1_000_000  # bytes; a study file has a few hundred
MOST = 15_000  # keys and values, aliases expanded: a small file can unfold into very many
DEEPEST = 50
LONGEST = 1000  # characters of a whole number, which take the square of it to read
TAG = "tag:yaml.org,2002:"
BASES = {"0b": 2, "0o": 8, "0x": 16}


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
        value = _Reader("--set", key).value(_compose("--set", text), ())
        path: Path_ = ()
        inner: Any = self.content
        *outer, last = key.split(".")
        for word in outer:
            step = _step(inner, word, key)
            inner = inner.setdefault(step, {}) if isinstance(inner, dict) else inner[step]
            path = (*path, step)
        step = _step(inner, last, key)
        inner[step] = value
        self._set.add((*path, step))


def _step(inner: Any, word: str, key: str) -> str | int:
    """A word of KEY as what it is in there: a key of a mapping, or a place in a list.

    Raises:
        SpecError: there is no such place.
    """
    if isinstance(inner, dict):
        return word
    if isinstance(inner, list) and word in map(str, range(-len(inner), len(inner))):
        return int(word) % len(inner)
    raise SpecError([Mistake("--set", key, "there is nothing of that name to set")])


def read(path: Path) -> Document:
    """A study file.

    Raises:
        SpecError: it cannot be read, is no YAML, repeats a key, or is no mapping.
    """
    try:
        if not path.is_file() and path.exists():
            raise SpecError([Mistake(str(path), "", f"cannot be read: it is {_kind(path)}")])
        if path.stat().st_size > LARGEST:
            raise SpecError([Mistake(str(path), "", f"a study file has at most {LARGEST:,} bytes")])
        text = path.read_text("utf-8")
    except OSError as error:
        raise SpecError([Mistake(str(path), "", f"cannot be read: {error.strerror or error}")]) from None
    except UnicodeDecodeError as error:
        raise SpecError([Mistake(str(path), "", f"must be UTF-8 text: {error.reason} at byte {error.start}")]) from None
    except ValueError as error:  # a name with a zero byte
        raise SpecError([Mistake(str(path), "", f"cannot be read: {error}")]) from None
    tree = _compose(str(path), text)
    reader = _Reader(str(path), "")
    content = reader.value(tree, ())
    if not isinstance(content, dict):
        got = "nothing" if content is None else {"list": "a list"}.get(type(content).__name__, "a single value")
        raise SpecError([Mistake(str(path), "", f"must hold 'key: value' lines at the top, got {got}")])
    return Document(str(path), content, reader.lines)


def _kind(path: Path) -> str:
    return "a folder" if path.is_dir() else "no file but a device or a pipe"


class _TooLarge(Exception):
    pass


class _Bounded(Composer):
    """Composes nodes until there are too many of them, which would take long."""

    count = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.count += 1
        if self.count > MOST:
            raise _TooLarge
        return super().compose_node(parent, index)


def _compose(name: str, text: str) -> Node | None:
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    if next(lines, "").startswith("%"):
        raise SpecError([Mistake(f"{name}:1", "", "a study file is YAML 1.2; leave the % line out")])
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 2)
    yaml.max_depth = DEEPEST
    yaml.Composer = _Bounded
    yaml.composer.warn_double_anchors = False
    try:
        root: Node | None = yaml.compose(text)
        return root
    except _TooLarge:
        raise _too_large(name) from None
    except MaxDepthExceededError as error:
        raise _malformed(name, error, f"nested more than {DEEPEST} deep") from None
    except MarkedYAMLError as error:
        raise _malformed(name, error, error.problem or "no YAML") from None
    except (YAMLError, ValueError, OverflowError) as error:  # the latter two of \U00110000 in quotes
        raise SpecError([Mistake(name, "", f"malformed YAML: {str(error).splitlines()[0]}")]) from None


def _malformed(name: str, error: MarkedYAMLError, problem: str) -> SpecError:
    mark = error.problem_mark or error.context_mark
    where = f"{name}:{mark.line + 1}" if mark else name
    return SpecError([Mistake(where, "", f"malformed YAML: {problem.splitlines()[0]}")])


def _too_large(name: str) -> SpecError:
    return SpecError([Mistake(name, "", f"holds more than {MOST:,} keys and values when its aliases unfold")])


@final
class _Reader:
    """Nodes → dict, list, str, int, float, bool and None; `lines` says where each stands.

    Args:
        key: what is set, when it is not a file that is read.
    """

    def __init__(self, name: str, key: str) -> None:
        self.lines: dict[Path_, int] = {}
        self._name = name
        self._key = key
        self._count = 0

    def value(self, node: Node | None, path: Path_) -> Any:
        """What a node says.

        Raises:
            SpecError: its tag is none of JSON's, a key of it is there twice, or it is too large.
        """
        self._counted()
        if len(path) > DEEPEST:
            raise SpecError([Mistake(self._name, self._key, f"nested more than {DEEPEST} deep, or holds itself")])
        if node is None:
            return None
        if path:
            self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        mapping = isinstance(node, MappingNode)
        if node.tag != f"{TAG}{'map' if mapping else 'seq'}":
            raise self._refused(node, path, _unknown(node))
        if isinstance(node, SequenceNode):
            return [self.value(item, (*path, number)) for number, item in enumerate(node.value)]
        result: dict[str, Any] = {}
        for name, key, value in list(self._pairs(node, path, 0)):
            self.lines[*path, name] = key.start_mark.line + 1
            result[name] = self.value(value, (*path, name))
        return result

    def _pairs(self, node: Node, path: Path_, depth: int) -> Iterator[tuple[str, Node, Node]]:
        """(key, its node, its value's) of a mapping: its own, then those of `<<`, which its own and earlier hide."""
        if depth > DEEPEST:
            raise self._refused(node, path, "holds itself")
        first: dict[str, int] = {}
        merged: list[Node] = []
        for key, value in node.value:
            self._counted()
            if not isinstance(key, ScalarNode):
                raise self._refused(key, path, "a key must be a single word")
            if key.tag == f"{TAG}merge":
                merged += value.value if isinstance(value, SequenceNode) else [value]
                continue
            if key.tag != f"{TAG}str":
                self._scalar(key, path)
            name = str(key.value)
            if name in first:
                raise self._refused(key, (*path, name), f"is there twice, first in line {first[name]}")
            first[name] = key.start_mark.line + 1
            yield name, key, value
        for other in merged:
            if not isinstance(other, MappingNode):
                raise self._refused(other, path, "<< must be followed by a mapping, or a list of them")
            for name, key, value in self._pairs(other, path, depth + 1):
                if name not in first:
                    first[name] = 0
                    yield name, key, value

    def _scalar(self, node: ScalarNode, path: Path_) -> Any:
        text = str(node.value)
        match str(node.tag).removeprefix(TAG):
            case "str" | "value" | "merge":
                return text
            case "null" if text.lower() in ("", "~", "null"):
                return None
            case "bool" if text.lower() in ("true", "false"):
                return text.lower() == "true"
            case "int" | "float" as kind:
                if kind == "int" and len(text) > LONGEST:
                    raise self._refused(node, path, f"must lie within ±1e300, got {len(text)} digits")
                try:
                    return _number(kind, text.replace("_", "").lower())
                except ValueError:
                    raise self._refused(node, path, f"must be a number, got '{text}'") from None
            case "timestamp":
                raise self._refused(node, path, f"must not be a date, got {text}; write quotes around what is text")
        raise self._refused(node, path, _unknown(node))

    def _counted(self) -> None:
        self._count += 1
        if self._count > MOST:
            raise _too_large(self._name)

    def _refused(self, node: Node, path: Path_, message: str) -> SpecError:
        where = self._name if self._key else f"{self._name}:{node.start_mark.line + 1}"
        return SpecError([Mistake(where, self._key or ".".join(map(str, path)), message)])


def _unknown(node: Node) -> str:
    return f"tag '{str(node.tag).replace(TAG, '!!')}' has no meaning here; leave it out"


def _number(kind: str, text: str) -> int | float:
    """What YAML 1.2 takes as one: 010 is ten.

    Raises:
        ValueError: it is none.
    """
    bare = text.lstrip("+-")
    if kind == "int":
        return int(text, BASES.get(bare[:2], 10))
    return float(text.replace(".", "") if bare in (".inf", ".nan") else text)

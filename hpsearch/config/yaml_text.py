"""YAML 1.2 as plain values, with the line of each key.

ruamel.yaml parses; its nodes become plain values here, so that no tag can create another object. Its round-trip loader
also keeps lines (`CommentedMap.lc`), but not those of merged keys, and returns its own types for numbers, text, dates
and tags, which would need the same conversion as nodes.
"""

from collections.abc import Iterator
from typing import Any, final

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from hpsearch.config.document import MAX_DEPTH, KeyPath
from hpsearch.errors import Mistake, SpecError

MAX_NODES = 15_000  # keys and values, with aliases expanded: a small file can expand to millions
MAX_DIGITS = 1000  # of an integer: parsing takes quadratic time
_TAG = "tag:yaml.org,2002:"
_BASES = {"0b": 2, "0o": 8, "0x": 16}


class _TooLarge(Exception):
    pass


class _TooDeep(MarkedYAMLError):
    pass


class _Bounded(Composer):
    """A composer that stops at `MAX_NODES`, because larger files take long to parse, and at `MAX_DEPTH`."""

    count = levels = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.count += 1
        self.levels += 1
        if self.count > MAX_NODES:
            raise _TooLarge
        if self.levels > MAX_DEPTH:  # ruamel checks this only since 0.19
            raise _TooDeep(problem_mark=self.parser.peek_event().start_mark)
        node = Composer.compose_node(self, parent, index)
        self.levels -= 1
        return node


def compose_yaml(name: str, text: str) -> Node | None:
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    if next(lines, "").startswith("%"):
        raise SpecError(
            [Mistake(f"{name}:1", "", "remove the line that begins with %: a study file is always YAML 1.2")]
        )
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 2)
    yaml.Composer = _Bounded
    yaml.composer.warn_double_anchors = False
    try:
        root: Node | None = yaml.compose(text)
        return root
    except _TooLarge:
        raise _too_large(name) from None
    except _TooDeep as error:
        raise _malformed(name, error, f"nested more than {MAX_DEPTH} levels deep") from None
    except MarkedYAMLError as error:
        raise _malformed(name, error, error.problem or "unknown error") from None
    except (YAMLError, ValueError, OverflowError) as error:  # the latter two: "\U00110000"
        raise SpecError([Mistake(name, "", f"malformed YAML: {str(error).splitlines()[0]}")]) from None


def _malformed(name: str, error: MarkedYAMLError, problem: str) -> SpecError:
    mark = error.problem_mark or error.context_mark
    where = f"{name}:{mark.line + 1}" if mark else name
    return SpecError([Mistake(where, "", f"malformed YAML: {problem.splitlines()[0]}")])


def _too_large(name: str) -> SpecError:
    return SpecError([Mistake(name, "", f"must have at most {MAX_NODES:,} keys and values with aliases expanded")])


@final
class YamlReader:
    """Converts nodes to dict, list, str, int, float, bool and None; collects their `lines`.

    Args:
        name: the file, for messages.
        key: the key that `--set` assigns to; empty for a file.
    """

    def __init__(self, name: str, key: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._name = name
        self._key = key
        self._count = 0

    def value(self, node: Node | None, path: KeyPath) -> Any:
        """Return the value of a node.

        Raises:
            SpecError: it has a tag, repeats a key, or is too large or too deep.
        """
        self._counted()
        if len(path) > MAX_DEPTH:
            raise SpecError(
                [Mistake(self._name, self._key, f"nested more than {MAX_DEPTH} levels deep, or contains itself")]
            )
        if node is None:
            return None
        if path:
            self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        mapping = isinstance(node, MappingNode)
        if node.tag != f"{_TAG}{'map' if mapping else 'seq'}":
            raise self._refused(node, path, _unknown(node))
        if isinstance(node, SequenceNode):
            return [self.value(item, (*path, number)) for number, item in enumerate(node.value)]
        result: dict[str, Any] = {}
        for name, key, value in list(self._pairs(node, path, 0)):
            self.lines[*path, name] = key.start_mark.line + 1
            result[name] = self.value(value, (*path, name))
        return result

    def _pairs(self, node: Node, path: KeyPath, depth: int) -> Iterator[tuple[str, Node, Node]]:
        """Yield (key, its node, its value's node) for a mapping, then for the mappings that `<<` merges into it."""
        if depth > MAX_DEPTH:
            raise self._refused(node, path, "contains itself")
        first: dict[str, int] = {}
        merged: list[Node] = []
        for key, value in node.value:
            self._counted()
            if not isinstance(key, ScalarNode):
                raise self._refused(key, path, "a key must be text, not a list or mapping")
            if key.tag == f"{_TAG}merge":
                merged += value.value if isinstance(value, SequenceNode) else [value]
                continue
            if key.tag != f"{_TAG}str":
                self._scalar(key, path)
            name = str(key.value)
            if name in first:
                raise self._refused(key, (*path, name), f"given twice, first in line {first[name]}")
            first[name] = key.start_mark.line + 1
            yield name, key, value
        for other in merged:
            if not isinstance(other, MappingNode):
                raise self._refused(other, path, "<< must be followed by a mapping, or a list of them")
            for name, key, value in self._pairs(other, path, depth + 1):
                if name not in first:
                    first[name] = 0
                    yield name, key, value

    def _scalar(self, node: ScalarNode, path: KeyPath) -> Any:
        text = str(node.value)
        match str(node.tag).removeprefix(_TAG):
            case "str" | "value" | "merge":
                return text
            case "null" if text.lower() in ("", "~", "null"):
                return None
            case "bool" if text.lower() in ("true", "false"):
                return text.lower() == "true"
            case "int" | "float" as kind:
                if kind == "int" and len(text) > MAX_DIGITS:
                    raise self._refused(node, path, f"must lie within ±1e300, got {len(text)} digits")
                try:
                    return _number(kind, text.replace("_", "").lower())
                except ValueError:
                    raise self._refused(node, path, f"must be a number, got '{text}'") from None
            case "timestamp":
                raise self._refused(node, path, f"must not be a date, got {text}; put text in quotes")
        raise self._refused(node, path, _unknown(node))

    def _counted(self) -> None:
        self._count += 1
        if self._count > MAX_NODES:
            raise _too_large(self._name)

    def _refused(self, node: Node, path: KeyPath, message: str) -> SpecError:
        where = self._name if self._key else f"{self._name}:{node.start_mark.line + 1}"
        return SpecError([Mistake(where, self._key or ".".join(map(str, path)), message)])


def _unknown(node: Node) -> str:
    return f"tags are not supported; remove '{str(node.tag).replace(_TAG, '!!')}'"


def _number(kind: str, text: str) -> int | float:
    """Return a number as YAML 1.2 reads it: 010 is ten.

    Raises:
        ValueError: the text is not a number.
    """
    bare = text.lstrip("+-")
    if kind == "int":
        return int(text, _BASES.get(bare[:2], 10))
    return float(text.replace(".", "") if bare in (".inf", ".nan") else text)

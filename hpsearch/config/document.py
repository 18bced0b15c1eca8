"""A study file as a document: its content as plain values, and the line of each key."""

import os
from pathlib import Path
from typing import Any, final

from hpsearch.core.files.regular_file import open_regular
from hpsearch.errors import Mistake, SpecError

KeyPath = tuple[str | int, ...]
MAX_BYTES = 1_000_000
MAX_DEPTH = 50  # of nested lists and mappings


@final
class Document:
    """The content of a study file, and the line of each part of it."""

    def __init__(self, name: str, content: dict[str, Any], lines: dict[KeyPath, int]) -> None:
        self.name = name
        self.content = content
        self._lines = lines
        self._overridden: set[KeyPath] = set()

    def where(self, path: KeyPath) -> str:
        """Return `file:line` of a path, or of the innermost part that contains it; `--set` for overridden values."""
        for end in range(len(path), -1, -1):
            if path[:end] in self._overridden:
                return "--set"
            if path[:end] in self._lines:
                return f"{self.name}:{self._lines[path[:end]]}"
        return self.name

    def move(self, old: KeyPath, new: KeyPath) -> None:
        """Keep the line of a key that is renamed."""
        if old in self._lines:
            self._lines[new] = self._lines[old]

    def override(self, assignment: str) -> None:
        """Apply `--set KEY=VALUE`, for example `stages.0.trials=8`; the value is YAML.

        Raises:
            SpecError: the assignment is not KEY=VALUE, its value is not YAML, or KEY is not in a mapping or list.
        """
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise SpecError([Mistake("--set", "", f"must be KEY=VALUE, got '{assignment}'")])
        from hpsearch.config.yaml_text import YamlReader, compose_yaml

        value = YamlReader("--set", key).value(compose_yaml("--set", text), ())
        path: KeyPath = ()
        inner: Any = self.content
        *outer, last = key.split(".")
        if len(outer) > MAX_DEPTH:
            raise SpecError([Mistake("--set", "", f"must have at most {MAX_DEPTH} words in KEY, got {len(outer) + 1}")])
        for word in outer:
            step = _step(inner, word, key)
            inner = inner.setdefault(step, {}) if isinstance(inner, dict) else inner[step]
            path = (*path, step)
        step = _step(inner, last, key)
        inner[step] = value
        self._overridden.add((*path, step))


def _step(inner: Any, word: str, key: str) -> str | int:
    """Return a word of KEY as a key of a mapping or an index of a list.

    Raises:
        SpecError: `inner` is neither, or the list has no such index.
    """
    if isinstance(inner, dict):
        return word
    if isinstance(inner, list) and word in map(str, range(-len(inner), len(inner))):
        return int(word) % len(inner)
    raise SpecError([Mistake("--set", key, f"no key or list index '{word}' to set")])


def read_document(path: Path) -> Document:
    """Read a study file.

    Raises:
        SpecError: it cannot be read, is not YAML, repeats a key, or is not a mapping.
    """
    try:
        with open_regular(path) as file:
            content = file.read(MAX_BYTES + 1)
            size = max(len(content), os.fstat(file.fileno()).st_size)
        if size > MAX_BYTES:
            raise SpecError([Mistake(str(path), "", f"must have at most {MAX_BYTES:,} bytes, got {size:,}")])
        text = content.decode().replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise SpecError([Mistake(str(path), "", f"cannot be read: {error.strerror or error}")]) from None
    except UnicodeDecodeError as error:
        raise SpecError([Mistake(str(path), "", f"must be UTF-8 text: {error.reason} at byte {error.start}")]) from None
    except ValueError as error:  # a path with a zero byte
        raise SpecError([Mistake(str(path), "", f"cannot be read: {error}")]) from None
    from hpsearch.config.yaml_text import YamlReader, compose_yaml  # late: stored studies are read without it

    tree = compose_yaml(str(path), text)
    reader = YamlReader(str(path), "")
    value = reader.value(tree, ())
    if not isinstance(value, dict):
        got = "nothing" if value is None else "a list" if isinstance(value, list) else "a single value"
        raise SpecError([Mistake(str(path), "", f"must have 'key: value' lines at the top level, got {got}")])
    return Document(str(path), value, reader.lines)

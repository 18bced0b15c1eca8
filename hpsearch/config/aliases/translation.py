"""The record of a translation: notices, mistakes, and the lines of moved keys."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

from hpsearch.config.document import KeyPath
from hpsearch.errors import Mistake


@final
class Translation:
    """The notices and mistakes of one study file.

    Args:
        move: called with the old and the new path of each renamed key, so that messages keep its line.
        where: maps a path to `file:line`.
    """

    def __init__(self, move: Callable[[KeyPath, KeyPath], None], where: Callable[[KeyPath], str]) -> None:
        self.notices: list[str] = []
        self.mistakes: list[Mistake] = []
        self.move = move
        self._where = where

    def move_all(self, value: Any, old: KeyPath, new: KeyPath) -> None:
        """Move a value with everything inside it."""
        self.move(old, new)
        items = value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
        for key, item in items:
            self.move_all(item, (*old, key), (*new, key))

    def note(self, path: KeyPath, text: str, line: KeyPath | None = None) -> None:
        """Add a notice.

        Args:
            line: path of the key whose line is named. Default: `path`.
        """
        self.notices.append(f"{self._where(path if line is None else line)}: {_dotted(path)}: {text}")

    def refuse(self, path: KeyPath, message: str) -> None:
        """Add a mistake."""
        self.mistakes.append(Mistake(self._where(path), _dotted(path), message))

    def rename(self, section: Any, path: KeyPath, words: Mapping[str, str]) -> None:
        """Rename keys of other tools in place, with a notice each; a key stays if the section has its new name too."""
        for old, new in self._renamed(section, path, words):
            self.note(path, f"'{old}' is read as '{new}'", (*path, new))

    def _renamed(self, section: Any, path: KeyPath, words: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        if isinstance(section, dict):
            for old, new in words.items():
                if old in section and new not in section:
                    section[new] = section.pop(old)
                    self.move_all(section[new], (*path, old), (*path, new))
                    yield old, new


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path))

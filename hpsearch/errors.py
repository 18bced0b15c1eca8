"""Every mistake a person can make.

HpsearchError          exit code 2: says where, what must hold, what it got, and the nearest right word
├── SpecError          the study file: all its mistakes at once, each with its line
├── DataError          the data cannot be read, or cannot be learned from
├── StorageError       the study database: no database, another study's, busy, unwritable, a full disk
├── TrackingError      MLflow cannot be used, or not for all of a study
└── OutputError        another file or folder that cannot be written

Interrupted            exit code 130: Ctrl-C or SIGTERM; everything finished is saved
"""

from collections.abc import Sequence
from typing import NamedTuple

from hpsearch.core.text import printable

MOST = 15_000  # characters of all lines together


class HpsearchError(Exception):
    """The base of the family; its text is what the person reads: it may hold whatever a file does."""

    def __str__(self) -> str:
        lines, shown, length = super().__str__().split("\n"), list[str](), 0
        for line in map(printable, lines):
            length += len(line)
            if length > MOST:
                break
            shown.append(line)
        more = len(lines) - len(shown)
        return "\n".join([*shown, *([f"… and {more} more"] if more else [])])


class Mistake(NamedTuple):
    """One thing wrong in a study file: `studies/digits.yaml:3: parameters.l2: min must be below max, got …`."""

    where: str
    path: str
    message: str

    def __str__(self) -> str:
        return ": ".join(printable(part) for part in self if part)


class SpecError(HpsearchError):
    """A study file that cannot be used.

    Args:
        mistakes: all of them.
    """

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(map(str, self.mistakes)))


class DataError(HpsearchError):
    """Data that cannot be read, or cannot be learned from."""


class StorageError(HpsearchError):
    """A study database that cannot be used."""


class TrackingError(HpsearchError):
    """MLflow that cannot be used, or did not take all of a study."""


class OutputError(HpsearchError):
    """A file or folder that cannot be written."""


class Interrupted(BaseException):
    """Somebody asked the study to stop; not an Exception, so that nothing on the way takes it for a failure."""

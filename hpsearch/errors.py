"""Exceptions for users: every error that a command reports without a traceback.

HpsearchError          exit code 2; the message has the location, what must hold, what was found, the nearest valid name
├── SpecError          an invalid study file: all its mistakes at once, each with its line
├── PracticeError      a valid study file with settings that the literature advises against, for `check --strict`
├── DataError          data that cannot be read or learned from
├── StorageError       a study database that is missing, belongs to another study, is locked, full or read-only
├── TrainingCodeError  training code of a study that is missing, cannot be imported, or has another interface
├── KernelError        the kernel that a study trains with cannot be loaded
├── ClusterError       a cluster that does not answer, refuses the connection, or has no worker that can train
├── ServerError        a server that does not answer or refuses a request, or one that cannot start
├── TrackingError      MLflow cannot be used, or has not recorded all of a study
└── OutputError        a file or folder that cannot be written

Interrupted            exit code 130: Ctrl-C, SIGTERM or SIGHUP; finished trials are saved
Halted                 exit code 1: the study cannot continue on this machine now; finished trials are saved
"""

from collections.abc import Sequence
from typing import NamedTuple

from hpsearch.core.text import printable

MAX_MESSAGE_LENGTH = 15_000  # characters of all lines


class HpsearchError(Exception):
    """The base of all errors for users. Its text is safe to print, even if the message quotes a file."""

    def __str__(self) -> str:
        lines, printed, length = super().__str__().split("\n"), list[str](), 0
        for line in map(printable, lines):
            length += len(line)
            if length > MAX_MESSAGE_LENGTH:
                break
            printed.append(line)
        more = len(lines) - len(printed)
        return "\n".join([*printed, *([f"… and {more} more"] if more else [])])


class Mistake(NamedTuple):
    """One mistake in a study file: `studies/digits.yaml:3: parameters.l2: min must be below max, got …`.

    Attributes:
        where: file and line; empty when there is none.
        path: keys down to the value; empty for the file.
    """

    where: str
    path: str
    message: str

    def __str__(self) -> str:
        return ": ".join(printable(part) for part in self if part)


class SpecError(HpsearchError):
    """A study file that cannot be used.

    Args:
        mistakes: all mistakes of the file.
    """

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(map(str, self.mistakes)))


class PracticeError(HpsearchError):
    """A study file that is valid and has settings that the literature advises against."""


class DataError(HpsearchError):
    """Data that cannot be read or learned from."""


class StorageError(HpsearchError):
    """A study database that cannot be used."""


class TrainingCodeError(HpsearchError):
    """Training code of a study that cannot be used."""


class KernelError(HpsearchError):
    """The kernel that a study trains with cannot be loaded."""


class ClusterError(HpsearchError):
    """A cluster that cannot be used for training."""


class ServerError(HpsearchError):
    """A server that does not answer, that refuses a request, or that cannot start."""


class TrackingError(HpsearchError):
    """MLflow cannot be used, or has not recorded all of a study."""


class OutputError(HpsearchError):
    """A file or folder that cannot be written."""


class Interrupted(BaseException):
    """The user or the system asked the study to stop. Not an Exception, so that no handler treats it as a failure."""


class Halted(Exception):
    """The study cannot continue.

    Workers do not start, rows cannot be read, memory or another resource of the machine has run out, or too many trials
    failed.
    """

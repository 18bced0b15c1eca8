"""Errors for users: their family, and messages that are safe to print."""

import re

import pytest

from hpsearch import errors
from hpsearch.errors import MAX_MESSAGE_LENGTH, HpsearchError, Interrupted, Mistake, SpecError

FAMILY = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HpsearchError)]


def test_the_docstring_lists_the_family() -> None:
    listed = re.findall(r"^(?:├── |└── |)(\w+)  +", errors.__doc__ or "", re.MULTILINE)
    assert listed == [*(kind.__name__ for kind in FAMILY), "Interrupted", "Halted"]


def test_interrupts_are_no_failures() -> None:
    """`except Exception` must not catch them."""
    assert not issubclass(Interrupted, Exception)


@pytest.mark.parametrize("kind", [kind for kind in FAMILY if kind is not SpecError])
def test_messages_are_printable(kind: type[HpsearchError]) -> None:
    """Line by line, without control characters and passwords."""
    assert str(kind("two\nlines \x1b")) == "two\nlines \\x1b"
    assert str(kind("no postgresql://me:hunter@host/db")) == "no postgresql://me:***@host/db"


def test_mistakes_are_a_line_each() -> None:
    """Also when they contain line breaks; of very many the first are shown."""
    error = SpecError([Mistake("a.yaml\n:1", f"k\n{n}", "got '\nerror: nothing'" + "x" * 5_000) for n in range(500)])
    lines = str(error).split("\n")
    assert all(line.startswith("a.yaml\\n:1: k\\n") for line in lines[:-1]) and lines[-1].endswith(" more")
    assert len(str(error)) < MAX_MESSAGE_LENGTH + 1_000 and len(error.mistakes) == 500
    assert len(lines) - 1 + int(lines[-1].split()[2]) == 500


def test_mistakes_leave_out_empty_parts() -> None:
    assert str(Mistake("a.yaml:3", "parameters.l2", "min must be below max")) == (
        "a.yaml:3: parameters.l2: min must be below max"
    )
    assert str(Mistake("a.yaml", "", "is empty")) == "a.yaml: is empty"

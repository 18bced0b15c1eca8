"""Headers: names above numbers, numbers above other numbers, and first rows that are no names."""

import random

import pytest

from hpsearch.data.text_files.header import guess_header, kind

GENERATOR = random.Random(5)


def rows(*columns: str) -> list[list[str]]:
    """Return 60 rows of columns of these kinds."""
    makers = {
        "unit": lambda: f"{GENERATOR.random():.3f}",
        "count": lambda: str(GENERATOR.randrange(100)),
        "big": lambda: str(GENERATOR.randrange(5000)),
        "class": lambda: GENERATOR.choice(["oak", "pine", "elm"]),
        "code": lambda: f"A{GENERATOR.randrange(100)}",
        "date": lambda: f"2020-{GENERATOR.randrange(1, 13):02}-11",
        "word": lambda: "".join(GENERATOR.choices("abcdefgh", k=8)),
        "missing": lambda: "?",
    }
    return [[makers[column]() for column in columns] for _ in range(60)]


@pytest.mark.parametrize(
    ("first", "columns", "header", "certain"),
    [
        ("a b y", "unit count class", True, True),
        ("900 902 904 species", "unit unit unit class", True, False),
        ("900 902 904 species", "big big big class", True, False),  # among the numbers below, but in equal steps
        ("0 1 2 3", "unit unit unit unit", True, False),
        ("id 2019 2020", "count unit unit", True, False),
        ("y size color", "class class class", True, False),
        ("date y", "date count", True, True),
        ("0.5 7 oak", "unit count class", False, False),
        ("oak pine elm", "class class class", False, False),
        ("oak oak elm", "class class class", False, False),
        ("7 7 9", "count count count", False, False),
        ("0.5 101", "unit count", False, False),
        ("2020-05-11 word", "date word", False, False),
        ("A12 oak", "code class", False, False),
        ("? oak", "count class", False, False),
        ("name text", "word word", True, False),
        ("x y", "missing missing", True, False),
    ],
)
def test_guesses(first: str, columns: str, header: bool, certain: bool) -> None:
    below = rows(*columns.split())
    found = guess_header(first.split(), below, ("?",))
    assert (found.header, found.certain) == (header, certain), found.reason
    taken = guess_header(below[0], below[1:], ("?",))
    assert not taken.header or not {"unit", "count", "class", "code", "big"} & set(columns.split())


def test_few_rows() -> None:
    """Without rows to compare with, a line with a number is a row, any other one a header."""
    assert guess_header(["1", "x"], [["2", "y"]]).header is False
    assert guess_header(["a", "x"], [["b", "y"]]).header is True
    assert guess_header(["a", "b"], []).header is True and guess_header(["1", "2"], []).header is False


def test_decimal_commas() -> None:
    below = [[f"0,{k}", f"{k},5"] for k in range(10, 40)]
    assert not guess_header(["0,25", "20,5"], below, decimal=",").header
    assert guess_header(["400", "410", "420"], [[*row, "1,5"] for row in below], decimal=",").header


@pytest.mark.parametrize(("cell", "expected"), [("1.5", "number"), ("$5", "number"), ("A1", "code"), ("oak", "word")])
def test_kinds(cell: str, expected: str) -> None:
    assert kind(cell) == expected

"""A guess whether the first line of a table holds the names of the columns."""

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from hpsearch.data.text_files.numbers import NumberFormat, is_formatted_number

MIN_RANGE_ROWS = 5  # rows from which on ranges and steps of numbers are compared
MIN_TEXT_ROWS = 20  # rows from which on the words of a column are known
MAX_CELLS, MIN_COMPARED = 20_000, 50  # cells that are compared, in so many rows at least
RARE = 0.05  # share of the rows that hold a word of their own, up to which a column's words are known
MOSTLY = 0.9  # share of cells of one kind that characterizes a column
MIN_EQUAL_STEPS = 3  # numbers at equal distances that may be names, as in 900, 902, 904
Kind = Literal["number", "code", "word"]


class HeaderGuess(NamedTuple):
    """A guess.

    Attributes:
        header: the first line holds names.
        certain: the line is a header, and nothing speaks against it.
        reason: what spoke for it.
    """

    header: bool
    certain: bool
    reason: str


def guess_header(
    first: Sequence[str], below: Sequence[Sequence[str]], missing: Collection[str] = (), decimal: str = "."
) -> HeaderGuess:
    """Guess from the first line and the rows below, which have as many cells.

    Args:
        missing: markers of missing cells, which are of no kind.
    """
    below = below[: max(MIN_COMPARED, MAX_CELLS // max(len(first), 1))]
    columns = [[cell for row in below if (cell := row[place].strip()) not in missing] for place in range(len(first))]
    cells = ["" if cell.strip() in missing else cell.strip() for cell in first]
    numbers = [kind(cell) == "number" for cell in cells]
    stepped = _steps(cells, below, decimal)
    scores = [
        0.0 if not cell or (stepped and number) else _score(cell, column, decimal)
        for cell, column, number in zip(cells, columns, numbers, strict=True)
    ]
    twice = sum(count - 1 for cell, count in Counter(cells).items() if cell)
    if twice and any(numbers):
        scores = [min(score, 0.0) if number else score for score, number in zip(scores, numbers, strict=True)]
    total = sum(scores) + 3 * stepped - 1.5 * twice
    header = total > 0 or (total == 0 and not any(numbers))
    certain = header and not any(numbers) and any(score >= 2 for score in scores)
    return HeaderGuess(header, certain, _reason(header, cells, scores, numbers, stepped=stepped, twice=twice > 0))


def kind(cell: str) -> Kind:
    """Return the kind of a cell: a number in any notation, another text with digits, or words."""
    if is_formatted_number(cell):
        return "number"
    return "code" if any(map(str.isdigit, cell)) else "word"


def _score(cell: str, column: Sequence[str], decimal: str) -> float:
    """Return how much a cell looks like the name of the column of these cells; negative if like one of them."""
    if not column:
        return 0.0
    kinds, own = Counter(map(kind, column)), kind(cell)
    usual = next((k for k, count in kinds.items() if count >= MOSTLY * len(column)), None)
    if own == "number":
        if not kinds["number"]:
            return 2.0 if len(column) >= MIN_RANGE_ROWS else 0.0
        return _range_score(cell, column, decimal) if usual == "number" else -1.0
    if usual == "number":
        return 3.0
    if cell in column:
        return -3.0
    if own == "code" and _shape(cell) in set(map(_shape, column)):
        return -2.0
    if own == "word" and usual == "code":
        return 2.0
    singles = sum(count == 1 for count in Counter(column).values())
    return 1.0 if len(column) >= MIN_TEXT_ROWS and singles <= RARE * len(column) else 0.0


def _range_score(cell: str, column: Sequence[str], decimal: str) -> float:
    """Return 1 for a number far from those below, −1 for a number among them."""
    value, below = _value(cell, decimal), [v for c in column if (v := _value(c, decimal)) is not None]
    if value is None or len(below) < MIN_RANGE_ROWS:
        return 0.0
    low, high = min(below), max(below)
    if low <= value <= high:
        return -1.0
    return 1.0 if max(low - value, value - high) > high - low else 0.0


def _steps(first: Sequence[str], below: Sequence[Sequence[str]], decimal: str) -> bool:
    """Return True if the numbers of the first line have equal distances, unlike the rows below."""
    if len(below) < MIN_RANGE_ROWS or not _is_stepped(first, decimal):
        return False
    return sum(_is_stepped(row, decimal) for row in below[:100]) < 0.1 * min(len(below), 100)


def _is_stepped(row: Sequence[str], decimal: str) -> bool:
    values = [value for cell in row if (value := _value(cell, decimal)) is not None]
    if len(values) < MIN_EQUAL_STEPS:
        return False
    step = (values[-1] - values[0]) / (len(values) - 1)
    return step > 0 and all(abs(b - a - step) <= 1e-6 * (abs(b) + abs(a)) for a, b in pairwise(values))


def _value(cell: str, decimal: str) -> float | None:
    try:
        return float(NumberFormat(decimal).converter()(cell))
    except ValueError:
        return None


def _shape(cell: str) -> str:
    """Return a cell with every digit as 9 and every letter as a."""
    return "".join("9" if c.isdigit() else "a" if c.isalpha() else c for c in cell)


def _reason(
    header: bool, cells: Sequence[str], scores: Sequence[float], numbers: Sequence[bool], *, stepped: bool, twice: bool
) -> str:
    place = max(range(len(cells)), key=lambda p: scores[p] if header else -scores[p], default=0)
    if header and stepped:
        return "its numbers have equal distances"
    if header:
        return f"{cells[place]!r} is unlike the cells below it" if scores[place] > 0 else "it has no numbers"
    if scores[place] <= -3:
        return f"{cells[place]!r} occurs again in its column"
    if twice:
        return "it has the same cell twice"
    return "it has numbers like the rows below" if any(numbers) else "it is like the rows below"

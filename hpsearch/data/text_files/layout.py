"""The layout of a text file with a table: lines before it, separator, header and names of the columns."""

import csv
import re
from bisect import bisect
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import accumulate
from typing import NamedTuple

from hpsearch.data.text_files.header import guess_header
from hpsearch.data.text_files.numbers import is_formatted_number
from hpsearch.data.text_files.opening import MAX_LINE_BYTES, WHITESPACE, split_at_whitespace

SEPARATORS = (",", ";", "\t", "|")
SAMPLE_CHARACTERS = 1 << 18  # that are read to find the layout
SAMPLE_LINES = 1000
MAX_PREAMBLE = 20  # lines before a table, and after it
FIT_LINES, FIT_CHARACTERS = 200, 1 << 15  # that are split to compare separators
MANY = 0.9  # share of lines of equal width with which a separator fits
MORE_NUMBERS = 0.2  # share of cells that another separator must make numbers
_SEPARATOR_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)
_COMMENTS = ("#", "%", "//")


class Layout(NamedTuple):
    """The layout of a file.

    Attributes:
        separator: a character, or `WHITESPACE`.
        skip_lines: number of lines before the table.
        header: the first line of the table holds the names of the columns.
        names: names of the columns.
        row_names: the header lacks a name for the first column.
        notices: what was found and not told.
    """

    separator: str
    skip_lines: int
    header: bool
    names: tuple[str, ...]
    row_names: bool
    notices: tuple[str, ...]


def find_layout(
    lines: Sequence[str],
    separator: str | None,
    header: bool | None,
    skip_lines: int | None,
    missing: Collection[str] = (),
    decimal: str = ".",
) -> Layout | None:
    """Return the layout of a file from its first lines; None if they are empty.

    Args:
        separator: None to find it.
        header: None to guess it.
        skip_lines: None for the comments at the beginning.
        missing: markers of missing cells.
    """
    notices: list[str] = []
    told, comments = _leading(lines, separator)
    if separator is None and told is not None:
        separator = told
        notices.append(f"the separator is {shown(told)}, as the first line says")
    lines_of_table = lines[skip_lines if skip_lines is not None else comments :]
    if separator is None:
        separator = usual_separator(lines_of_table)
        if separator != ",":
            notices.append(f"the separator is {shown(separator)}, because no comma parts the lines evenly")
    if skip_lines is None:
        skip_lines = _comments_before(lines, comments, separator)
        if skip_lines and told is None:
            notices.append(f"the first {_lines(skip_lines)} {'are comments' if skip_lines > 1 else 'is a comment'}")
    rows = [row for row in split_lines(lines[skip_lines:], separator) if not _is_blank(row)]
    if not rows:
        return None
    first, below = [cell.strip() for cell in rows[0]], rows[1:]
    wider = [row[1:] for row in below if len(row) == len(first) + 1]
    row_names = bool(wider) and len(wider) == len(below) and header is not False
    if row_names:
        row_names = header is True or guess_header(first, wider, missing, decimal).header
    same = wider if row_names else [row for row in below if len(row) == len(first)]
    if header is None:
        guess = guess_header(first, same, missing, decimal)
        header = guess.header
        if not guess.certain:
            notices.append(_header_notice(first, header, guess.reason))
    names = [*[""] * row_names, *first]
    if not header:
        named = tuple(str(place) for place in range(len(names)))
    else:
        named = unique_names([name or f"column {place}" for place, name in enumerate(names)])
        notices += _renamed(names, named)
    if row_names:
        notices.append(f"the header has no name for the first column, which is '{named[0]}'")
    return Layout(separator, skip_lines, header, named, row_names, tuple(notices))


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names that all differ: a name that occurs again gets a number, as in `name.1`."""
    taken, seen, found = set(names), set[str](), list[str]()
    for name in names:
        number, new = 0, name
        while name in seen and new in taken:
            number += 1
            new = f"{name}.{number}"
        seen.add(name)
        taken.add(new)
        found.append(new)
    return tuple(found)


def usual_separator(lines: Sequence[str]) -> str:
    """Return a comma if it parts most lines evenly, unless another separator gives many more numbers."""
    comma, chosen = _fit(lines, ","), detect_separator(lines)
    other = _fit(lines, chosen)
    return "," if comma.evenness >= MANY and other.numbers < comma.numbers + MORE_NUMBERS else chosen


def detect_separator(lines: Sequence[str]) -> str:
    """Return the separator that gives the most lines of equal width, then the most numbers, then the most cells."""
    best, chosen = _Fit(0.0, 0.0, 0), ","
    for separator in SEPARATORS:
        fit = _fit(lines, separator)
        if fit.width > 1 and fit > best:
            best, chosen = fit, separator
    spaces = _fit(lines, WHITESPACE)  # spaces are also part of cells and of numbers
    more = chosen != "\t" and spaces.evenness == 1 and spaces.numbers >= best.numbers + MORE_NUMBERS
    return WHITESPACE if spaces.width > 1 and (best.evenness < MANY <= spaces.evenness or more) else chosen


class _Fit(NamedTuple):
    """How well a separator fits: share of lines of equal width, share of cells that are numbers, and the width."""

    evenness: float
    numbers: float
    width: int


def _fit(lines: Sequence[str], separator: str) -> _Fit:
    characters = list(accumulate(map(len, lines)))
    some = lines[: max(2, min(FIT_LINES, bisect(characters, FIT_CHARACTERS)))]
    rows = [row for row in split_lines(some, separator) if not _is_blank(row)]
    width, lines_of_width = Counter(map(len, rows)).most_common(1)[0] if rows else (0, 0)
    if width < 2:
        return _Fit(0.0, 0.0, width)
    cells = [cell for row in rows for cell in row]
    numbers = sum(is_formatted_number(cell.strip()) and cell.count(",") < 2 for cell in cells)
    return _Fit(lines_of_width / len(rows), numbers / len(cells), width)


def split_lines(lines: Sequence[str], separator: str) -> list[list[str]]:
    """Return the cells of some lines; a record that is not complete is left out."""
    if separator == WHITESPACE:
        return list(map(split_at_whitespace, lines))
    rows: list[list[str]] = []
    before = csv.field_size_limit(MAX_LINE_BYTES)
    try:
        rows.extend(csv.reader(lines, delimiter=separator, skipinitialspace=True))
    except csv.Error:
        pass
    finally:
        csv.field_size_limit(before)
    return rows


def uneven_lines(lines: Sequence[str], separator: str) -> int:
    """Return the number of lines before the table, such as a title: lines of another width than all others."""
    widths = [len(row) for row in split_lines(lines, separator)]
    if len(widths) <= MAX_PREAMBLE:
        return 0
    usual = Counter(widths).most_common(1)[0][0]
    first = next(place for place, width in enumerate(widths) if width == usual)
    row_names = first == 1 and widths[0] == usual - 1
    while widths[-1] != usual and len(widths) > MAX_PREAMBLE:
        widths.pop()  # of lines after the table
    even = all(width == usual or not width for width in widths[first:])
    return first if even and first <= MAX_PREAMBLE and not row_names and usual > 1 else 0


def shown(separator: str) -> str:
    """Return a separator as a setting shows it."""
    return {WHITESPACE: WHITESPACE, "\t": "a tab"}.get(separator, f"'{separator}'")


def _leading(lines: Sequence[str], separator: str | None) -> tuple[str | None, int]:
    """Return the separator of a line such as `sep=;`, and the number of such lines and comments at the beginning."""
    told, count = None, 0
    for line in lines[:MAX_PREAMBLE]:
        found = _SEPARATOR_LINE.fullmatch(line.lstrip("\ufeff").strip("\r\n"))
        if found and told is None and (separator is None or found[1] == separator):
            told = found[1]
        elif line.strip() and not line.startswith(_COMMENTS):
            break
        count += 1
    return told, count


def _comments_before(lines: Sequence[str], count: int, separator: str) -> int:
    """Return the number of leading lines that are comments: not the names of a header that begins with `#`."""
    following = split_lines(lines[count : count + 1], separator)
    width = len(following[0]) if following else 0
    while count and lines[count - 1].startswith("#"):
        last = split_lines([lines[count - 1]], separator)[0]
        if len(last) != width or width < 2:
            break
        count -= 1
        break
    return count if any(line.strip() for line in lines[:count]) else 0


def _is_blank(row: Sequence[str]) -> bool:
    return not row or (len(row) == 1 and not row[0].strip())


def _header_notice(first: Sequence[str], header: bool, reason: str) -> str:
    some = ", ".join(first[:4])[:60] + ", …" * (len(first) > 4 or len(", ".join(first[:4])) > 60)
    if header:
        return (
            f"the first line ({some}) holds the names of the columns, because {reason}; if it is a row: header: false"
        )
    return f"the first line ({some}) is a row, because {reason}; if it holds the names of the columns: header: true"


def _renamed(names: Sequence[str], unique: Sequence[str]) -> list[str]:
    places = [place for place, name in enumerate(names) if name and name != unique[place]]
    listed = ", ".join(f"column {place} is '{unique[place]}'" for place in places[:5])
    more = f", … and {len(places) - 5} more" if len(places) > 5 else ""
    return [f"two columns are named '{names[places[0]]}', so {listed}{more}"] if places else []


def _lines(count: int) -> str:
    return f"{count} lines" if count > 1 else "line"

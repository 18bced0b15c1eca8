"""Numbers in other notations than 1234.5: decimal commas, digit groups, currency signs, units, (1.5) and 1.5-."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import NamedTuple

PARENTHESES = "()"  # the mark of negative numbers that are written in parentheses
TRAILING_MINUS = "-"  # the mark of negative numbers whose minus is behind them
_MINUS_SIGNS = "−–"  # a minus sign and a dash, which stand for the minus of the keyboard
_SIGNS = (PARENTHESES, TRAILING_MINUS, *_MINUS_SIGNS)  # marks that are read, not removed
MAX_NUMBER_LENGTH = 50  # longer cells are not numbers; matching them would take time quadratic in their length
MIN_SHARE = 0.8  # of the distinct cells that must be numbers
MIN_UNIT_NUMBERS = 3  # distinct numbers from which on a word behind them is a unit
_SPACES = " \u00a0\u2009\u202f"
_GROUPING = {" ": f"[{_SPACES}]", "'": "['’]"}
_CURRENCY = r"(?:[A-Z]{0,3}[$€£¥₹₽₩₺₪฿₫₴¢]|USD|EUR|GBP|CHF|JPY|CNY|INR|RUB|AUD|CAD|Rs\.?|kr\.?|zł)"
_UNIT = (
    rf"(?!st|nd|rd|th)\s*(?:[%‰°]|{_CURRENCY}|°[CFK]|[kKMB](?!\w)|\s[A-Za-zµ]|[A-Za-zµ]{{2,}})"
    r"(?:[\w/²³·^%. -]{0,12}[\w²³%.])?"
)
_WRITTEN = re.compile(
    rf"(?P<open>\()?(?P<sign>[+\-−–])?\s*(?P<prefix>{_CURRENCY})?\s*(?P<sign2>[+\-−–])?"
    rf"(?P<body>\d[\d.,'’{_SPACES}]*(?<=[\d.,])|[.,]\d+)(?P<exponent>[eE][+-]?\d+)?"
    rf"(?P<after>(?(sign)(?!)|(?(sign2)(?!)|(?(open)(?!)|-))))?(?P<suffix>{_UNIT})?(?(open)\))"
)
_PLAIN = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_MULTIPLES = re.compile(r"\s*(?:[kKMBT]|[KMG]B|bn|mn|mio|thousand|million|billion)", re.IGNORECASE)


class NumberFormat(NamedTuple):
    """How the numbers of a file are written.

    Attributes:
        decimal: decimal separator.
        thousands: separator of digit groups; None if digits are not grouped.
        strip: marks that are removed from numbers; `()` stands for negative numbers in parentheses, `-` for those with
            the minus behind them, and a typographic minus for itself.
    """

    decimal: str = "."
    thousands: str | None = None
    strip: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Numbers are written as 1234.5."""
        return self == NumberFormat()

    def as_settings(self) -> str:
        """Return the settings of a study file: `decimal: ',', thousands: '.', strip: ['€']`."""
        settings = {"decimal": self.decimal} if self.decimal != "." else {}
        settings |= {"thousands": self.thousands} if self.thousands else {}
        marks = [f"strip: [{', '.join(map(repr, self.strip))}]"] if self.strip else []
        return ", ".join([*(f"{key}: {value!r}" for key, value in settings.items()), *marks])

    def converter(self) -> Callable[[str], str]:
        """Return a function that returns a number as 1234.5, and any other cell unchanged."""
        pattern, translation = _pattern(self), {ord(self.decimal): "."}

        def convert(cell: str) -> str:
            found = pattern.fullmatch(cell) if len(cell) <= MAX_NUMBER_LENGTH else None
            if found is None:
                return cell
            negative = (found["open"] is not None) != (found["sign"] is not None and found["sign"] in "-−–")
            negative = negative != (found["after"] is not None)
            digits = "".join(c for c in found["body"] if c.isdigit() or c == self.decimal).translate(translation)
            return f"{'-' * negative}{digits}{found['exponent'] or ''}"

        return convert


class WrittenNumbers(NamedTuple):
    """The notation of the numbers of one column.

    Attributes:
        example: the first cell that is not written as 1234.5; empty if there is none.
        separators: decimal and thousands separators that fit every number, the most plausible first.
        strip: marks around the numbers; None if there are several units.
    """

    example: str
    separators: tuple[tuple[str, str | None], ...]
    strip: tuple[str, ...] | None

    @property
    def format(self) -> NumberFormat | None:
        """The most plausible notation; None if the column has several units."""
        return None if self.strip is None else NumberFormat(*self.separators[0], self.strip)


_SEPARATORS: tuple[tuple[str, str | None], ...] = (
    *((".", None), (".", ","), (",", None), (",", "."), (".", " "), (",", " "), (".", "'"), (",", "'")),
)


def written_numbers(cells: Iterable[str], *, plain: bool = False) -> WrittenNumbers | None:
    """Return the notation of a column's numbers; None if most of its distinct cells are no numbers.

    Args:
        plain: also for a column whose numbers are all written as 1234.5.
    """
    distinct = list(dict.fromkeys(cell.strip() for cell in cells))
    matches = [m for cell in distinct if len(cell) <= MAX_NUMBER_LENGTH and (m := _WRITTEN.fullmatch(cell))]
    others = [m for m in matches if not _PLAIN.fullmatch(m[0])]
    if not (others or (plain and matches)) or len(matches) < MIN_SHARE * len(distinct):
        return None
    bodies = [m["body"] for m in matches]
    separators = tuple(pair for pair in _SEPARATORS if all(map(_body(*pair).fullmatch, bodies)))
    prefixes, suffixes = (Counter(m[name].strip() for m in matches if m[name]) for name in ("prefix", "suffix"))
    units = [suffix for suffix in suffixes if not re.fullmatch(rf"[%‰]|{_CURRENCY}", suffix)]
    if not separators or (units and len(set(bodies)) < MIN_UNIT_NUMBERS):
        return None
    several = len(prefixes) > 1 or len(suffixes) > 1
    multiples = sum(suffixes.values()) < len(matches) and any(map(_MULTIPLES.fullmatch, units))  # 20K among 300
    signs = (PARENTHESES,) * any(m["open"] for m in matches)
    if any(m["after"] for m in matches):
        if not any(c in body for body in bodies for c in ".,"):  # grades: 1, 2-, 3
            return None
        signs += (TRAILING_MINUS,)
    strip = None if several or multiples else (*prefixes, *suffixes, *signs)
    if strip == () and separators[0] == (".", None):  # another notation reads them anyway
        strip = tuple(minus for minus in _MINUS_SIGNS if any(minus in m[0] for m in matches))
    return WrittenNumbers(others[0][0] if others else "", separators, strip)


def common_format(columns: Sequence[WrittenNumbers]) -> NumberFormat:
    """Return the notation that fits most columns, with the marks of all of them."""
    known = [column for column in columns if column.strip is not None]
    if not known:
        return NumberFormat()
    fits = Counter(pair for column in known for pair in column.separators)
    first = Counter(column.separators[0] for column in known)
    best = max(fits, key=lambda pair: (fits[pair], first[pair], -_SEPARATORS.index(pair)))
    marks = dict.fromkeys(mark for column in known for mark in column.strip or ())
    return NumberFormat(*best, tuple(marks))


def is_formatted_number(cell: str) -> bool:
    """Return True for a number in any notation: `3,14`, `1,234`, `12 %`, `$5`."""
    found = _WRITTEN.fullmatch(cell) if len(cell) <= MAX_NUMBER_LENGTH else None
    return found is not None and any(_body(*pair).fullmatch(found["body"]) for pair in _SEPARATORS)


@cache
def _body(decimal: str, thousands: str | None) -> "re.Pattern[str]":
    """Return the pattern of the digits of a number whose digits are all grouped."""
    point = re.escape(decimal)
    if thousands is None:
        return re.compile(rf"\d+(?:{point}\d*)?|{point}\d+")
    group = _group(thousands)
    return re.compile(rf"(?:0|[1-9]\d{{0,2}}(?:(?:{group}\d{{2,3}})*{group}\d{{3}})?)(?:{point}\d*)?|{point}\d+")


@cache
def _pattern(format: NumberFormat) -> "re.Pattern[str]":
    """Return the pattern of a number; digits may be grouped by twos too, as in 1,00,000, or not be grouped."""
    point = re.escape(format.decimal)
    digits = r"\d+"
    if format.thousands is not None:
        group = _group(format.thousands)
        digits = rf"(?:[1-9]\d{{0,2}}(?:{group}\d{{2,3}})*{group}\d{{3}}|\d+)"
    marks = "|".join(re.escape(m) for m in sorted(format.strip, key=len, reverse=True) if m not in _SIGNS)
    around = rf"(?:{marks}|\s)*" if marks else r"\s*"
    start, end = (r"(?P<open>\()?", r"(?(open)\))") if PARENTHESES in format.strip else ("(?P<open>(?!))?", "")
    after = r"(?P<after>(?(sign)(?!)|(?(open)(?!)|-)))?" if TRAILING_MINUS in format.strip else "(?P<after>(?!))?"
    return re.compile(
        rf"\s*{start}{around}(?P<sign>[+\-−–])?{around}"
        rf"(?P<body>{digits}(?:{point}\d*)?|{point}\d+)(?P<exponent>[eE][+-]?\d+)?{after}{around}{end}\s*"
    )


def _group(thousands: str) -> str:
    return _GROUPING.get(thousands, re.escape(thousands))

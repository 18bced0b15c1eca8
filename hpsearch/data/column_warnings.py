"""What a person should know of a column of a table that is not what it seems: amounts, dates or the number of the row.

`decimal` is everywhere what to do about decimal commas, in the words of the source.
"""

import re
from collections.abc import Iterator

import numpy as np

from hpsearch.data.frame import Column, numbers

LOOKED = 1000  # names that are looked at
MOSTLY = 0.5  # of them look alike
ENOUGH = 20  # cells without which being all different may be chance
MANY = 1000  # names, beyond which `hpsearch.data.dataset` says that there are many
_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")  # -0,13
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:[,.' \u00a0\u202f]\d{3})+(?:[.,]\d+)?")  # 1,000
_DATE = re.compile(
    r"\d{4}([-/.])\d\d?\1\d\d?(?:[T ].{0,40})?"  # 2020-01-31
    r"|(?:\d\d?/\d\d?/(?:\d\d){1,2}|\d\d?[-.]\d\d?[-.]\d{4})(?: .{0,40})?"
)
_UNNAMED = re.compile(r"column \d+|Unnamed: \d+|__index_level_\d+__|index")  # what an index is called in a file


def of_names(name: str, column: Column, decimal: str) -> Iterator[str]:
    """Of a column whose text is taken for names."""
    if looks := _looks(column, decimal):
        yield f"column '{name}' is text that looks like {looks}"
        return
    assert column.names is not None
    codes = column.values[~column.missing]
    once = int((np.bincount(codes, minlength=len(column.names)) == 1).sum())
    if len(codes) >= ENOUGH and once > MOSTLY * len(codes) and len(column.names) <= MANY:
        yield (
            f"column '{name}' is text, and {once:,} of its {len(codes):,} cells are held once: nothing can be learned"
            f" from those; if it says who and not what: drop: [{name!r}]"
        )


def of_classes(name: str, column: Column, decimal: str) -> Iterator[str]:
    """Of a target that is taken for names."""
    if looks := _looks(column, decimal):
        yield f"target '{name}' is text that looks like {looks}"


def of_numbers(name: str, place: int, column: Column) -> Iterator[str]:
    """Of a column of numbers, by its place from 0."""
    values = column.values
    if not _UNNAMED.fullmatch(name) or column.names is not None or len(values) < 2:
        return
    if (values == np.floor(values)).all() and len(np.unique(values)) == len(values):
        yield (
            f"column '{name}' numbers the rows, as pandas writes its index: where rows are sorted it gives the target"
            f" away; to leave it out: drop: [{place}]"
        )


def of_cell(text: str, decimal: str) -> str:
    """What to add where text is refused among numbers."""
    amount = _COMMA.fullmatch(text) or ("," in text and _GROUPED.fullmatch(text))
    return f"; if its comma is a decimal one, {decimal}" if amount else ""


def _looks(column: Column, decimal: str) -> str:
    """What most names look like, and what to do; empty where they look like names."""
    names = (column.names or ())[:LOOKED]
    enough = MOSTLY * len(names)
    each = "and each is a name of its own"
    dates = [name for name in names if _DATE.fullmatch(name)]
    if len(dates) > enough:
        return f"dates ({dates[0]!r}), {each}: give numbers, as the year or the days since a date, or drop it"
    values, _ = numbers(Column(np.arange(len(names), dtype=np.int32), names))
    plain = int((~np.isnan(values)).sum())
    grouped = [name for name in names if _GROUPED.fullmatch(name)]
    commas = [name for name in names if _COMMA.fullmatch(name)]
    if grouped and len(grouped) + plain > enough and set(commas) <= set(grouped):
        first = grouped[0]
        return f"numbers with marks between their digits ({first!r}), {each}: leave these out{of_cell(first, decimal)}"
    if commas and len(commas) + plain > enough:
        return f"numbers with a decimal comma ({commas[0]!r}), {each}: {decimal}"
    return ""

"""Warnings about columns that are probably misread: amounts or dates read as text, or row numbers.

`advice` is the source's advice on numbers in another notation; `{}` in it stands for settings.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from hpsearch.data.frame import Column
from hpsearch.data.text_files.numbers import NumberFormat, written_numbers

SAMPLE_SIZE = 1000  # categories that are inspected
MAJORITY = 0.5  # share of values of one kind that characterizes a column
MAX_SPELLINGS = 5  # of one class that a warning lists
MIN_CELLS = 20  # columns with fewer cells may have distinct values by chance
NOTICE_CATEGORIES = 1000  # columns with more categories get a notice in `hpsearch.data.dataset` instead
_DATE = re.compile(
    r"\d{4}([-/.])\d\d?\1\d\d?(?:[T ].{0,40})?"  # 2020-01-31
    r"|(?:\d\d?/\d\d?/(?:\d\d){1,2}|\d\d?[-.]\d\d?[-.]\d{4})(?: .{0,40})?"
)
_INDEX_NAME = re.compile(r"column \d+|Unnamed: \d+|__index_level_\d+__|index")  # how writers name an index column


def categorical_warnings(name: str, column: Column, advice: str) -> Iterator[str]:
    """Yield warnings about a categorical feature column."""
    if description := _describe_values(column, advice):
        yield f"column '{name}' is text that looks like {description}"
        return
    assert column.categories is not None
    codes = column.values[~column.missing]
    once = int((np.bincount(codes, minlength=len(column.categories)) == 1).sum())
    if len(codes) >= MIN_CELLS and once > MAJORITY * len(codes) and len(column.categories) <= NOTICE_CATEGORIES:
        yield (
            f"column '{name}' is text, and {once:,} of its {len(codes):,} values occur only once, so nothing can be"
            f" learned from them; drop it if it is an identifier: drop: [{name!r}]"
        )


def target_warnings(name: str, column: Column, advice: str) -> Iterator[str]:
    """Yield warnings about the target of a classification."""
    if description := _describe_values(column, advice):
        yield f"target '{name}' is text that looks like {description}"


def class_warnings(classes: Sequence[str]) -> Iterator[str]:
    """Yield a warning about classes that are probably spellings of the same one."""
    spellings: dict[str, list[str]] = {}
    for name in classes:
        spellings.setdefault(" ".join(name.split()).casefold(), []).append(name)
    for names in spellings.values():
        if len(names) > 1:
            listed = " and ".join(map(repr, names[:MAX_SPELLINGS])) + " and others" * (len(names) > MAX_SPELLINGS)
            merged = ", ".join(f"{name!r}: {names[0]!r}" for name in names[1:MAX_SPELLINGS])
            yield (f"classes {listed} differ only in case or spaces; if they are the same class: labels: {{{merged}}}")


def misread_numbers(column: Column, advice: str = "convert them to numbers") -> str:
    """Return a description of numbers that are read as text, and a remedy; empty if most cells are no numbers."""
    found = written_numbers((column.categories or ())[:SAMPLE_SIZE])
    if found is None:
        return ""
    if found.format is None:
        return f"text that looks like numbers in several units ({found.example!r}): convert them to one unit"
    return f"text that looks like numbers ({found.example!r}): {advice.format(found.format.as_settings())}"


def numeric_warnings(name: str, position: int, column: Column) -> Iterator[str]:
    """Yield warnings about a numeric column at a position from 0."""
    values = column.values
    if not _INDEX_NAME.fullmatch(name) or column.categories is not None or len(values) < 2:
        return
    if (values == np.floor(values)).all() and len(np.unique(values)) == len(values):
        yield (
            f"column '{name}' numbers the rows, like an index written by pandas: if the rows are sorted, it leaks the"
            f" target; to exclude it: drop: [{position}]"
        )


def number_hint(text: str, advice: str) -> str:
    """Return the last part of an error about text among numbers; empty unless the text is a number in a notation."""
    found = written_numbers([text])
    if found is None or found.format is None:
        return ""
    usual, comma = found.format, advice.format(NumberFormat(",", strip=found.format.strip).as_settings())
    hint = "" if usual == NumberFormat(",") else f"; to read it as a number, {advice.format(usual.as_settings())}"
    ambiguous = (",", None) in found.separators and "," in text and usual.decimal != ","
    return hint + f"; if the comma is a decimal comma, {comma}" * (ambiguous or not hint)


def _describe_values(column: Column, advice: str) -> str:
    """Return a description of misread values and a remedy; empty if most values look like categories."""
    names = (column.categories or ())[:SAMPLE_SIZE]
    consequence = "and each value is a category of its own"
    dates = [name for name in names if _DATE.fullmatch(name)]
    if len(dates) > MAJORITY * len(names):
        return (
            f"dates ({dates[0]!r}), {consequence}: convert it to numbers, such as the year or the days since a date,"
            " or drop it"
        )
    found = written_numbers(names)
    if found is None:
        return ""
    if found.format is None:
        return f"numbers in several units ({found.example!r}), {consequence}: convert them to one unit"
    usual, kind = found.format, "numbers in another notation"
    if not usual.strip:
        kind = "numbers with digit separators" if usual.thousands else "numbers with a decimal comma"
    hint = number_hint(found.example, advice).partition("; if the comma")[1:] if usual.thousands == "," else ()
    return f"{kind} ({found.example!r}), {consequence}: {advice.format(usual.as_settings())}{''.join(hint)}"

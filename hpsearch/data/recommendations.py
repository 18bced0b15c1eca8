"""Recommended settings of a table: the task, markers of missing cells, labels to rename, columns to drop or encode."""

import re
from collections.abc import Collection, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from engine.types import Floats
from hpsearch.data.column_warnings import MAJORITY
from hpsearch.data.frame import MISSING_CODE, Column, to_numeric
from hpsearch.data.sources.columns import MAX_GUESSED_CLASSES
from hpsearch.data.split_column import time_column
from hpsearch.errors import DataError

MIN_ROWS = 20  # with fewer rows, distinct or one-to-one values may be a coincidence
IDENTIFIER_SHARE = 0.95  # a text column with a larger share of distinct values is an identifier
MAX_CODES = 10  # distinct integers up to which a column may hold category codes
MAX_NAMED_CODES = 100  # the same for a column whose name suggests codes
MAX_MARKERS = 5  # distinct words in a column of numbers up to which all of them may be markers
MARKERS = {"?", "??", "-", "--", "---", ".", "..", "*", "**", "missing", "unknown", "n.a.", "na", "n/a", "nil", "none"}
MIN_GROUPS = 3  # distinct times or groups below which a split by the column makes no sense
_TIME_NAME = re.compile(r"(?:.*[\W_])?(?:date|datetime|timestamp|year)", re.IGNORECASE)
_GROUP_NAME = re.compile(
    r"(?:.*[\W_])?(?:patient|subject|user|customer|client|person|participant|student|household|session|speaker"
    r"|device|machine|animal|donor|site|store|school|well|batch)(?:[\W_]?(?:id|no|nr|number|name|code))?",
    re.IGNORECASE,
)
_ID_NAME = re.compile(
    r"(?i:(?:.*[\W_])?(?:id|uuid|guid|index|row|key|no|nr)|unnamed: 0|column 0)|.*[a-z]I[Dd]", re.DOTALL
)
_CODE_NAME = re.compile(r"(?:.*[\W_])?(?:code|type|kind|class|category|group|zip|zipcode|postcode)", re.IGNORECASE)


def is_classification(target: Column, declared: bool) -> bool:
    """Return True if a target holds classes: text, or few integers that repeat.

    Args:
        declared: the target is categorical by its type.
    """
    values, text = to_numeric(target)
    known = np.unique(values[~np.isnan(values)])
    if declared or (
        text is not None and (text.cells > MAJORITY * (~target.missing).sum() or len(known) <= MAX_GUESSED_CLASSES)
    ):
        return True
    few = len(known) <= MAX_GUESSED_CLASSES and 2 * len(known) <= len(values)
    return text is None and few and bool((known == np.floor(known)).all())


def recommend_labels(target: Column, rows: int) -> dict[str, str]:
    """Return a mapping from classes that only test rows have to the same class in the other rows.

    Two spellings are the same class if they differ only in case, and in dots and spaces at the ends.

    Args:
        rows: number of rows that are not test rows; test rows are the last ones.
    """
    assert target.categories is not None
    used = set(np.unique(target.values[:rows]).tolist())
    meant: dict[str, list[str]] = {}
    for code, name in enumerate(target.categories):
        if code in used:
            meant.setdefault(_normalized(name), []).append(name)
    new = [name for code, name in enumerate(target.categories) if code not in used]
    return {name: meant[_normalized(name)][0] for name in new if len(meant.get(_normalized(name), ())) == 1}


def _normalized(label: str) -> str:
    return label.strip(" .").casefold()


def recommend_missing(columns: Mapping[str, Column], declared: Collection[str], target: Column) -> list[str]:
    """Return the markers of missing cells.

    A marker applies to all columns, so words that are a category of another column are excluded.
    """
    categories = set(target.categories or ())
    markers: set[str] = set()
    for name, column in columns.items():
        values, words = _words(column)
        if np.isinf(values).any():
            spelling = {1.0: "inf", -1.0: "-inf"}
            markers |= {spelling[sign] for sign in np.unique(np.sign(values[np.isinf(values)])).tolist()}
        if column.categories is None or name in declared:
            categories |= set(column.categories or ()) - {"?"}
        elif mostly_numeric(column, values):
            markers |= words if len(words) <= MAX_MARKERS else words & MARKERS
        else:
            categories |= {n for n in column.categories if n.lower() not in MARKERS}
            markers |= {"?"} & words
    return sorted(markers - categories)


def _words(column: Column) -> tuple[Floats, set[str]]:
    """Return a column as numbers, and the text among them."""
    values, text = to_numeric(column)
    if text is None or column.categories is None:
        return values, set()
    return values, {column.categories[code] for code in np.unique(column.values[np.isnan(values) & ~column.missing])}


def mostly_numeric(column: Column, values: Floats) -> bool:
    """Return True if at least half of the present cells are numbers."""
    present = int((~column.missing).sum())
    return present > 0 and int((~np.isnan(values)).sum()) >= MAJORITY * present


def without_markers(column: Column, markers: Collection[str]) -> Column:
    """Return a column in which cells with a marker, and infinite cells, are missing."""
    if column.categories is None:
        values = column.values.copy()
        values[np.isinf(values)] = np.nan
        return Column(values)
    codes = [MISSING_CODE if name in markers else code for code, name in enumerate(column.categories)]
    lookup = np.array([*codes, MISSING_CODE], np.int32)
    return Column(lookup[column.values], column.categories)


def drop_reason(name: str, column: Column, target: Column) -> str:
    """Return why a column with at least one present cell should not be a feature; empty if it should."""
    return _uninformative(name, column) or _equivalent(column, target)


def _uninformative(name: str, column: Column) -> str:
    present = column.values[~column.missing]
    distinct = len(np.unique(present))
    if distinct == 1 and len(present) == len(column.values):
        return "the same in all rows"
    if len(present) < MIN_ROWS:
        return ""
    if column.categories is not None:
        return "different in almost every row" if distinct >= IDENTIFIER_SHARE * len(present) else ""
    if distinct < len(present) or (present != np.floor(present)).any():
        return ""
    if present[0] in (0, 1) and (np.diff(present) == 1).all():
        return "row number"
    return "unique number in each row" if _ID_NAME.fullmatch(name) else ""


def _equivalent(column: Column, target: Column) -> str:
    """Return a reason if the values correspond one to one to those of the target."""
    present = ~column.missing
    if present.sum() < max(MIN_ROWS, MAJORITY * len(present)):
        return ""
    ours, theirs = column.values[present], target.values[present]
    left, a = np.unique(ours, return_inverse=True)
    right, b = np.unique(theirs, return_inverse=True)
    if len(left) != len(right) or len(left) < 2:
        return ""
    pairs = np.unique(a.astype(np.int64) * len(right) + b)
    if len(pairs) != len(left):
        return ""
    order = np.diff((pairs % len(right)).astype(np.int64))  # the target's rank, in the order of the column's values
    monotonic = column.categories is None and target.categories is None and bool((order > 0).all() or (order < 0).all())
    return "equivalent to the target" if monotonic or 2 * len(left) <= len(ours) else ""


def recommend_split(name: str, column: Column) -> Literal["by", "groups"] | None:
    """Return `by` for a column that looks like times, `groups` for one that looks like groups of rows, else None."""
    present = column.values[~column.missing]
    distinct = len(np.unique(present))
    if distinct < MIN_GROUPS or len(present) < len(column.values):
        return None
    text = column.categories is not None and to_numeric(column)[1] is not None
    if (text or _TIME_NAME.fullmatch(name)) and _are_times(name, column):
        return "by"
    repeated = 2 * distinct <= len(present)
    return "groups" if repeated and (_GROUP_NAME.fullmatch(name) or _ID_NAME.fullmatch(name)) else None


def _are_times(name: str, column: Column) -> bool:
    try:
        times = time_column(name, column)
    except DataError as error:
        return "fit several formats" in str(error)
    return times.dates or _integers(times.values)


def named_like_codes(name: str, known: npt.NDArray[Any]) -> bool:
    """Return True if a column's distinct values `known` may be codes and its name suggests it."""
    return _integers(known) and 2 < len(known) <= MAX_NAMED_CODES and bool(_CODE_NAME.fullmatch(name))


def maybe_codes(known: npt.NDArray[Any], cells: int) -> bool:
    """Return True if the distinct values `known` of `cells` cells are few integers, each in two cells on average."""
    return _integers(known) and 2 < len(known) <= MAX_CODES and 2 * len(known) <= cells


def _integers(values: npt.NDArray[Any]) -> bool:
    return bool((values == np.floor(values)).all())

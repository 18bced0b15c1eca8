"""Profile of a table file: its target and its columns, with recommended settings of the source that reads it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from engine.registry import nearest
from hpsearch.core.text import format_number, format_percent, printable
from hpsearch.data.column_warnings import MAJORITY, misread_numbers
from hpsearch.data.file_format import TableCells, detect_format, read_cells
from hpsearch.data.frame import Column, to_numeric
from hpsearch.data.missing_markers import OTHERS
from hpsearch.data.recommendations import (
    drop_reason,
    is_classification,
    maybe_codes,
    mostly_numeric,
    named_like_codes,
    recommend_labels,
    recommend_missing,
    recommend_split,
    without_markers,
)
from hpsearch.data.sources.columns import MAX_GUESSED_CLASSES
from hpsearch.data.sources.raw_table import marked_targets
from hpsearch.data.sources.tables import TableSource
from hpsearch.data.text_files.numbers import is_formatted_number
from hpsearch.errors import DataError

TaskType = Literal["classification", "regression"]
MAX_LISTED = 30  # columns that a message lists
LONG_TAIL = 3.0  # absolute skewness of a long-tailed column
NONSTANDARD_NUMBERS = "numbers in a format other than 1234.5"
_TARGET_NAMES = ("target", "label", "class", "y", "outcome")


@final
@dataclass(frozen=True)
class ColumnProfile:
    """One column of a table.

    Attributes:
        position: index of the column, from 0.
        description: a short description of the contents.
        drop_reason: why the column should not be a feature; empty if it should.
        categorical_reason: why its numbers are treated as categories; empty if they are not.
        maybe_codes: it holds few distinct integers, which may be category codes.
        has_missing: it has missing cells.
        long_tail: it is numeric with a few values far from the others.
        categories: number of categories; 0 for numeric columns.
        split: the setting of a split that the column looks like: of times, or of groups of rows.
    """

    name: str
    position: int
    description: str
    drop_reason: str = ""
    categorical_reason: str = ""
    maybe_codes: bool = False
    has_missing: bool = False
    long_tail: bool = False
    categories: int = 0
    split: Literal["by", "groups"] | None = None


@final
@dataclass(frozen=True)
class TableProfile:
    """A table file.

    Attributes:
        settings: recommended settings of the source, except `split` and `scale`.
        columns: all columns in the order of the file.
        target: name of the column to predict.
        rows: number of rows that are not test rows.
        test: number of rows of the test file.
        classes: class → number of `rows`, most frequent first; empty for a regression.
        range: minimum and maximum of the target of a regression.
        notices: guesses about the file, in words.
    """

    settings: Mapping[str, Any]
    columns: tuple[ColumnProfile, ...]
    target: str
    rows: int
    test: int
    classes: Mapping[str, int]
    range: tuple[float, float] = (0.0, 0.0)
    notices: tuple[str, ...] = ()

    @property
    def rarest(self) -> float:
        """Share of the rarest class."""
        return min(self.classes.values()) / self.rows if self.classes else 1.0


def profile_table(
    path: Path,
    target: str | None,
    test: Path | None = None,
    task: TaskType | None = None,
    header: bool | None = None,
    encoding: str | None = None,
) -> TableProfile:
    """Read a table file and recommend the settings of its source.

    Args:
        target: the column to predict, by name or position.
        test: file of the test rows, if they are separate.
        task: derived from the target by default.
        header: the first line holds the names of the columns; guessed by default.
        encoding: of a text file; guessed by default.

    Raises:
        DataError: the file cannot be read, no target is given (the message lists the columns), the target is constant
            or has missing cells, or no feature column is usable.
    """
    settings, names, notices = detect_format(path, test, header, encoding)
    name = _find_target(path, target, names, header)
    by_name = settings.get("header", True)
    settings["target"] = name if by_name else names.index(name)
    source, cells = read_cells(settings, name)
    if name in cells.unreadable:
        raise source.error(f"target {cells.unreadable[name]}")
    if cells.columns[name].missing.any():
        source, cells = _with_targets(source, cells, settings, name, task)
    wanted = cells.columns.pop(name)
    if not len(wanted.values):
        raise source.error("there are no rows")
    rows = len(wanted.values) - cells.test
    if task is None and (description := misread_numbers(wanted)):
        raise source.error(f"target {printable(repr(name), 50)} is {description}, or --task classification")
    classes = is_classification(wanted, name in cells.declared) if task is None else task == "classification"
    settings["task"] = "classification" if classes else "regression"
    if classes:
        wanted = wanted.as_categorical()
        settings["labels"] = recommend_labels(wanted, rows)
    elif (values := to_numeric(wanted))[1] is None:
        wanted = Column(values[0])
    _check_target(source, name, wanted, rows)
    markers = recommend_missing(cells.columns, cells.declared, wanted)
    if "missing" in settings:
        settings["missing"] |= {OTHERS: markers} if markers else {}
    else:
        settings["missing"] = markers
    wanted = wanted.take(slice(rows))
    profiles = tuple(
        _profile_column(position, column, cells, markers, wanted, name) for position, column in enumerate(cells.names)
    )
    settings["drop"] = [c.name if by_name else c.position for c in profiles if c.drop_reason]
    settings["categorical"] = [
        c.name if by_name else c.position for c in profiles if c.categorical_reason and not c.drop_reason
    ]
    _check_features(source, profiles)
    settings = {key: value for key, value in settings.items() if value not in ([], {})}
    if classes:
        return TableProfile(settings, profiles, name, rows, cells.test, _class_counts(wanted), notices=notices)
    return TableProfile(settings, profiles, name, rows, cells.test, {}, _range(wanted), notices)


def _with_targets(
    source: TableSource, cells: TableCells, settings: dict[str, Any], target: str, task: TaskType | None
) -> tuple[TableSource, TableCells]:
    """Return the rows that have a target; the setting that leaves out the others is added.

    If one word marks all missing targets and may be a class, such as None, it becomes one.
    """
    missing = cells.columns[target].missing
    marked = marked_targets(source, target)
    text = to_numeric(cells.columns[target])[1] is not None
    if task != "regression" and text and marked == {"None": missing.sum()}:
        settings["missing"] = {target: []}
        return read_cells(settings, target)
    settings["missing_target"] = "drop"
    rows = np.flatnonzero(~missing)
    columns = {name: column.take(rows) for name, column in cells.columns.items()}
    test = int((rows >= len(missing) - cells.test).sum())
    return source, cells._replace(columns=columns, test=test)


def _find_target(path: Path, given: str | None, names: Sequence[str], header: bool | None) -> str:
    """Return the name of the column to predict."""
    if given is not None and given in names:
        return given
    if given is not None and re.fullmatch(r"-?\d+", given, re.ASCII):
        if -len(names) <= (position := int(given)) < len(names):
            return names[position]
        raise DataError(
            f"{path}: --target: there are {len(names)} columns, so a position is from 0 to {len(names) - 1}"
        )
    usual = next((name for name in names if name.lower() in _TARGET_NAMES), names[-1] if names else "")
    listed = ", ".join(printable(repr(name), 50) for name in names[:MAX_LISTED])
    more = f" … and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    if given is None:
        raise DataError(
            f"{path}: name the column to predict with --target; the columns are {listed}{more};"
            f" perhaps --target {printable(repr(usual), 50)}"
        )
    hint = nearest(given, list(names))  # lists all names when none is near
    if not hint.startswith("; did"):
        hint = f"; the columns are {listed}{more}"
    if header is None and names == [str(place) for place in range(len(names))]:
        hint += "; if the first line holds the names of the columns: --header"
    raise DataError(f"{path}: --target: there is no column {given!r}{hint}")


# --- the target


def _check_target(source: TableSource, name: str, column: Column, rows: int) -> None:
    name = printable(name, 100)
    if missing := int(column.missing.sum()):
        raise source.error(
            f"target '{name}' is missing in {missing} of {len(column.values)} rows;"
            " rows without a target cannot be learned from or tested"
        )
    values = column.values[:rows]
    if (values == values[0]).all():
        value = column.categories[values[0]] if column.categories is not None else f"{values[0]:g}"
        raise source.error(f"target '{name}' is {value!r} in all {rows} rows: there is nothing to predict")


def _class_counts(target: Column) -> dict[str, int]:
    """Return class → number of rows, most frequent first."""
    assert target.categories is not None
    counts = np.bincount(target.values[~target.missing], minlength=len(target.categories))
    ordered = sorted(zip(target.categories, counts, strict=True), key=lambda c: -c[1])
    return {name: int(count) for name, count in ordered if count}


def _range(target: Column) -> tuple[float, float]:
    values, _ = to_numeric(target)
    values = values[~np.isnan(values)]  # the source reports text among the numbers
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)


# --- the other columns


def _profile_column(
    position: int, name: str, cells: TableCells, markers: Sequence[str], target: Column, target_name: str
) -> ColumnProfile:
    """Profile a column as the recommended settings read it."""
    if name == target_name:
        return ColumnProfile(name, position, "the target")
    if name in cells.unreadable:
        what = cells.unreadable[name].partition("holds ")[2].partition(";")[0] or "unreadable cells"
        split: Literal["by"] | None = "by" if what.startswith("times") else None
        return ColumnProfile(name, position, what, drop_reason="neither numbers nor text", split=split)
    column = without_markers(cells.columns[name].take(slice(len(target.values))), markers)
    values, text = to_numeric(column)
    if column.categories is not None and text is None and name not in cells.declared:
        column = Column(values)
    missing = int(column.missing.sum())
    share = f", {format_percent(missing / len(column.values))} missing" if missing else ""
    present = column.values[~column.missing]
    if not len(present):
        return ColumnProfile(name, position, "empty", drop_reason="all cells are missing")
    known, counts = np.unique(present, return_counts=True)
    drop = drop_reason(name, column, target)
    if column.categories is not None:
        description = _describe_categories(column.categories, known, counts) + share
        mixed = text is not None and mostly_numeric(column, values) and name not in cells.declared
        if not mixed and sum(map(is_formatted_number, column.categories)) > MAJORITY * len(column.categories):
            if drop:
                drop = NONSTANDARD_NUMBERS
            else:
                description = f"{description}; {NONSTANDARD_NUMBERS}"
        reason = "numbers and words" if mixed else ""
        return ColumnProfile(
            name,
            position,
            description,
            drop,
            reason,
            has_missing=missing > 0,
            categories=len(known),
            split=recommend_split(name, column),
        )
    return ColumnProfile(
        name,
        position,
        _describe_numbers(known) + share,
        drop,
        "codes, judging by the name" if named_like_codes(name, known) else "",
        maybe_codes(known, len(present)),
        missing > 0,
        len(known) > MAX_GUESSED_CLASSES and abs(_skewness(present)) > LONG_TAIL,
        split=recommend_split(name, column),
    )


def _check_features(source: TableSource, profiles: Sequence[ColumnProfile]) -> None:
    if all(column.drop_reason for column in profiles if column.description != "the target"):
        reasons = [f"'{printable(c.name, 50)}' ({c.drop_reason})" for c in profiles if c.drop_reason][:5]
        raise source.error(
            "there is no column to learn from besides the target"
            + (f"; dropped: {', '.join(reasons)}" if reasons else "")
        )


def _describe_numbers(known: npt.NDArray[Any]) -> str:
    if len(known) == 1:
        return f"always {format_number(known[0])}"
    distinct = f", {len(known)} distinct" if len(known) <= MAX_GUESSED_CLASSES else ""
    return f"{format_number(known[0])} … {format_number(known[-1])}{distinct}"


def _describe_categories(categories: Sequence[str], known: npt.NDArray[Any], counts: npt.NDArray[Any]) -> str:
    frequent = [printable(categories[code], 20) for code in known[np.argsort(-counts, kind="stable")][:3].tolist()]
    number = "1 category" if len(known) == 1 else f"{len(known):,} categories"
    return f"{number}: {', '.join(frequent)}{', …' * (len(known) > 3)}"


def _skewness(values: npt.NDArray[Any]) -> float:
    with np.errstate(all="ignore"):
        centered = (values - values.mean()) / values.std()
        skewness = float(np.mean(centered**3))
    return skewness if np.isfinite(skewness) else 0.0

"""Conversion of a table's raw columns to targets, features and parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final, get_args

import numpy as np
import numpy.typing as npt

from engine.registry import nearest
from hpsearch.data.column_warnings import MAJORITY, categorical_warnings, number_hint
from hpsearch.data.frame import Column, category_name, to_numeric
from hpsearch.data.sources.base import Part
from hpsearch.data.sources.raw_table import RawTable
from hpsearch.errors import DataError

MAX_GUESSED_CLASSES = 20  # distinct integers in a target up to which the task is guessed to be classification
MAX_TARGET_CLASSES = 1000


@final
@dataclass(frozen=True)
class ColumnConverter:
    """Converts raw columns.

    Attributes:
        source: name of the source in error messages.
        decimal_hint: the source's advice on numbers in another notation.
    """

    source: str
    decimal_hint: str

    def targets(
        self, raw: RawTable, labels: Mapping[str, str], missing_hint: str = ""
    ) -> tuple[npt.NDArray[np.int64] | npt.NDArray[np.float64], tuple[str, ...]]:
        """Return the targets `(rows,)` and the names of the classes, none for a regression.

        Args:
            labels: label in the table → name of the class.
            missing_hint: advice about missing targets.

        Raises:
            DataError: a target is missing, is not a number in a regression, or is a class that only test rows have.
        """
        name, column = raw.target, raw.frame.columns[raw.target]
        missing = np.flatnonzero(column.missing)
        if len(missing):
            raise self._error(
                f"target '{name}' is missing in {len(missing)} of {len(column.values)} rows, first in row"
                f" {missing[0] + 1}; rows without a target cannot be learned from or tested{missing_hint}"
            )
        if raw.classification:
            return self._classes(raw, self._relabeled(column.as_categorical(), labels))
        values, text = to_numeric(column)
        if text is not None:
            raise self._error(
                f"task is regression, so target '{name}' must hold numbers,"
                f" got {text.first!r} in row {text.row + 1}{number_hint(text.first, self.decimal_hint)}"
            )
        return values.astype(np.float64), ()

    def _classes(self, raw: RawTable, column: Column) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
        classes = column.categories
        assert classes is not None
        if len(classes) > MAX_TARGET_CLASSES:
            raise self._error(
                f"target '{raw.target}' must have at most {MAX_TARGET_CLASSES:,} classes, got {len(classes):,};"
                f" is it task: regression?{number_hint(classes[0], self.decimal_hint)}"
            )
        used = np.bincount(column.values[raw.training_rows], minlength=len(classes))
        new = [label for label, count in zip(classes, used, strict=True) if not count]
        if new:
            known = [label for label, count in zip(classes, used, strict=True) if count]
            raise self._error(
                f"the test rows have a class {new[0]!r} that the other rows do not have; if it means another class:"
                f" labels: {{{new[0]!r}: …}}{nearest(new[0], known)}"
            )
        order = sorted(range(len(classes)), key=lambda code: _class_order(classes[code]))
        rank = np.argsort(order)
        return rank[column.values].astype(np.int64), tuple(classes[code] for code in order)

    def _relabeled(self, column: Column, labels: Mapping[str, str]) -> Column:
        """Replace the labels in the table by the names of their classes."""
        assert column.categories is not None
        known = {*column.categories, *map(category_name, column.categories)}
        unknown = next((label for label in labels if label not in known and category_name(label) not in known), None)
        if unknown is not None:
            raise self._error(
                f"labels: there is no class {unknown!r}{nearest(unknown, list(column.categories[:MAX_TARGET_CLASSES]))}"
            )
        by_name = {category_name(label): meant for label, meant in labels.items()}  # `true` in the file is `True`
        meant = [labels.get(name, by_name.get(category_name(name), name)) for name in column.categories]
        codes = {name: code for code, name in enumerate(dict.fromkeys(meant))}
        lookup = np.array([codes[name] for name in meant], np.int32)
        return Column(lookup[column.values], tuple(codes))

    def feature(self, name: str, column: Column, declared: bool, notices: list[str]) -> Column:
        """Return a feature column and append to `notices`; a text column that holds only numbers becomes numeric.

        Args:
            declared: the column is categorical by its dtype.

        Raises:
            DataError: the column is mostly numbers but also holds text, or it holds infinite numbers.
        """
        values, text = to_numeric(column)
        if declared or column.missing.all():
            return column
        if text is None:
            if column.categories is not None:
                notices.append(
                    f"column '{name}' is text that holds only numbers, so it is read as numbers;"
                    f" to keep it as text: categorical: ['{name}']"
                )
            infinite = np.flatnonzero(np.isinf(values))
            if len(infinite):
                got = values[infinite[0]]
                raise self._error(
                    f"column '{name}' must hold finite numbers, got {got} in row {infinite[0] + 1};"
                    f" if it marks a missing cell: missing: [{got}]"
                )
            return Column(values)
        present = int((~column.missing).sum())
        if present - text.cells > MAJORITY * present:
            raise self._error(
                f"column '{name}' holds numbers, and text in {text.cells} of {len(values)} rows: {text.first!r} in row"
                f" {text.row + 1}; if that marks a missing cell: missing: [{text.first!r}];"
                f" if the numbers are codes: categorical: [{name!r}]{number_hint(text.first, self.decimal_hint)}"
            )
        notices += categorical_warnings(name, column, self.decimal_hint)
        return column

    def parts(self, name: str, column: Column) -> dict[Part, npt.NDArray[np.intp]]:
        """Return the row indices of each part from a column of the words train, val and test.

        Raises:
            DataError: the column holds another word.
        """
        column = column.as_categorical()
        assert column.categories is not None
        words = np.array([*column.categories, ""])[column.values]
        return parts_from_words(words.tolist(), len(words), f"data: {self.source}: column '{name}'")

    def _error(self, message: str) -> DataError:
        return DataError(f"data: {self.source}: {message}")


def guess_classification(target: Column, declared: bool) -> bool:
    """Return True if a target holds text or few distinct integers, or is categorical by its dtype."""
    values, text = to_numeric(target)
    known = np.unique(values[~np.isnan(values)])
    few = len(known) <= MAX_GUESSED_CLASSES and bool((known == np.floor(known)).all())
    return declared or text is not None or few


def parts_from_words(words: Sequence[str], rows: int, where: str) -> dict[Part, npt.NDArray[np.intp]]:
    """Return the row indices of each part from one word per row: train, val or test.

    Args:
        rows: number of rows of the table.
        where: beginning of an error message.

    Raises:
        DataError: another word, another number of words, or no training row.
    """
    if len(words) != rows:
        raise DataError(f"{where}: must hold a word for each of {rows} rows, got {len(words)}")
    array, names = np.array(words), get_args(Part)
    unknown = np.flatnonzero(~np.isin(array, names))
    if len(unknown):
        raise DataError(f"{where}: row {unknown[0] + 1} must be train, val or test, got {str(array[unknown[0]])!r}")
    parts: dict[Part, npt.NDArray[np.intp]] = {part: np.flatnonzero(array == part) for part in names}
    if not len(parts["train"]):
        raise DataError(f"{where}: at least one row must be train")
    return {part: indices for part, indices in parts.items() if len(indices) or (part == "test" and len(parts["val"]))}


def _class_order(label: str) -> tuple[bool, float, str]:
    """Return a sort key of classes: numbers by value, then text."""
    try:
        return False, float(label), label
    except ValueError:
        return True, 0.0, label

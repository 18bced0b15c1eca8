"""The column that a split follows: times, which order the rows, or groups, whose rows stay together."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
import numpy.typing as npt

from engine.types import Floats
from hpsearch.data.frame import Column, to_numeric
from hpsearch.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_DATES = (
    *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d"),
    *("%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%y", "%m-%d-%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y"),
    *("%d-%b-%Y", "%d-%b-%y", "%b %Y", "%B %Y", "%m/%Y"),
)
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
MICROSECOND = "datetime64[us]"


@final
@dataclass(frozen=True, eq=False)
class SplitColumn:
    """Times or groups of the rows.

    Attributes:
        name: name of the column.
        kind: the setting of the split: times for `by`.
        values: `(rows,)`: times, or indices of groups.
        dates: times are microseconds since 1970.
        groups: names of the groups.
    """

    name: str
    kind: Literal["by", "groups"]
    values: Floats | npt.NDArray[np.int64]
    dates: bool = False
    groups: tuple[str, ...] = ()

    def take(self, rows: npt.NDArray[np.intp]) -> "SplitColumn":
        """Return the column with only these rows."""
        return SplitColumn(self.name, self.kind, self.values[rows], self.dates, self.groups)

    def label(self, row: int) -> str:
        """Return the time or the name of the group of a row."""
        value = self.values[row]
        if self.kind == "groups":
            return self.groups[int(value)]
        if not self.dates:
            return str(int(value)) if float(value).is_integer() else repr(float(value))
        text = str(np.datetime64(int(value), "us"))
        return text.removesuffix(".000000").removesuffix("T00:00:00").replace("T", " ")


def group_column(name: str, column: Column) -> SplitColumn:
    """Return the groups of a column, as written.

    Raises:
        DataError: a cell is missing.
    """
    column = column.as_categorical()
    _check_complete("groups", name, column.missing)
    return SplitColumn(name, "groups", column.values.astype(np.int64), groups=column.categories or ())


def time_column(name: str, column: Column, date_format: str | None = None, *, dates: bool = False) -> SplitColumn:
    """Return the times of a column of numbers or dates.

    Args:
        date_format: format of the dates; None to detect it.
        dates: numbers are microseconds since 1970.

    Raises:
        DataError: a cell is missing or is neither a number nor a date, or the order of day and month is unclear.
    """
    _check_complete("by", name, column.missing)
    values, text = to_numeric(column)
    if date_format is None and text is None:
        if not np.isfinite(values).all():
            raise DataError(f"split.by: column '{name}' must hold finite numbers")
        return SplitColumn(name, "by", values, dates)
    categories = column.as_categorical().categories or ()
    known = np.array(_parse_dates(name, categories, date_format), np.float64)
    return SplitColumn(name, "by", known[column.as_categorical().values], True)


def groups_from_array(name: str, values: npt.NDArray[Any]) -> SplitColumn:
    """Return the groups of an array `(rows,)` of numbers, text or dates.

    Raises:
        DataError: a value is NaN.
    """
    known, codes = np.unique(values, return_inverse=True)
    _check_complete("groups", name, values != values)  # only NaN differs from itself
    return SplitColumn(name, "groups", codes.astype(np.int64), groups=tuple(str(value) for value in known))


def times_from_array(name: str, values: npt.NDArray[Any], date_format: str | None) -> SplitColumn:
    """Return the times of an array `(rows,)` of numbers, dates or their text; errors as in `time_column`."""
    if values.dtype.kind == "M":
        return time_column(name, Column(_microseconds(values)), dates=True)
    if values.dtype.kind != "U":
        return time_column(name, Column(values.astype(np.float64)))
    known, codes = np.unique(values, return_inverse=True)
    return time_column(name, Column(codes.astype(np.int32), tuple(map(str, known))), date_format)


def times_as_numbers(cells: "pd.Series[Any]") -> tuple["pd.Series[Any]", bool]:
    """Return cells with dates converted to microseconds since 1970, and True if they were dates."""
    import datetime

    import pandas as pd

    if cells.dtype == object:
        first = cells.first_valid_index()
        if first is None or not isinstance(cells.loc[first], datetime.date):
            return cells, False
        cells = pd.to_datetime(cells, utc=isinstance(cells.loc[first], datetime.datetime))
    if cells.dtype.kind != "M":
        return cells, False
    if getattr(cells.dt, "tz", None) is not None:
        cells = cells.dt.tz_convert("UTC").dt.tz_localize(None)
    return pd.Series(_microseconds(cells.to_numpy("datetime64[us]"))), True


def _microseconds(times: npt.NDArray[np.datetime64]) -> Floats:
    values: Floats = times.astype(MICROSECOND).astype(np.int64).astype(np.float64)
    values[np.isnat(times)] = np.nan
    return values


def _check_complete(setting: str, name: str, missing: npt.NDArray[np.bool_]) -> None:
    rows = np.flatnonzero(missing)
    if len(rows):
        raise DataError(
            f"split.{setting}: column '{name}' is missing in {len(rows)} of {len(missing)} rows, first in row"
            f" {rows[0] + 1}; fill these cells, or remove the rows"
        )


def _parse_dates(name: str, texts: tuple[str, ...], date_format: str | None) -> Floats:
    """Return the times of texts in microseconds since 1970.

    Raises:
        DataError: a text is not a date of the format or of any known one, or several formats fit.
    """
    if date_format is not None:
        found = _parsed(texts, date_format)
        if found is None or (bad := np.flatnonzero(np.isnan(found))).size:
            got = texts[0] if found is None else texts[int(bad[0])]
            raise DataError(
                f"split.by: column '{name}' must hold dates such as date_format {date_format!r}, got {got!r}"
            )
        return found
    fitting: dict[str, Floats] = {}
    for candidate in ("ISO8601", *_formats(texts[0])):
        found = _parsed(texts, candidate)
        if found is not None and not np.isnan(found).any():
            fitting[candidate] = found
            if candidate == "ISO8601":
                break
    if not fitting:
        raise DataError(
            f"split.by: column '{name}' must hold numbers or dates, got {_first_unreadable(texts)!r};"
            " for another format of dates: date_format: '%d/%m/%Y'"
        )
    first, *others = fitting
    if any(not np.array_equal(fitting[first], fitting[other]) for other in others):
        raise DataError(
            f"split.by: the dates of column '{name}', such as {texts[0]!r}, fit several formats:"
            f" {' and '.join(repr(f) for f in fitting)}; set date_format"
        )
    return fitting[first]


def _formats(text: str) -> Iterator[str]:
    """Yield the known formats that a text fits."""
    import datetime

    for date, clock in product(_DATES, _CLOCKS):
        with contextlib.suppress(ValueError):
            datetime.datetime.strptime(text, date + clock)
            yield date + clock


def _first_unreadable(texts: tuple[str, ...]) -> str:
    found = _parsed(texts, "ISO8601")
    return texts[0] if found is None else texts[int(np.flatnonzero(np.isnan(found))[0])]


def _parsed(texts: tuple[str, ...], date_format: str) -> Floats | None:
    """Return the times of texts in microseconds since 1970, NaN for texts of another format; None if it is invalid."""
    import pandas as pd

    try:
        times = pd.to_datetime(pd.Series(texts, dtype=object), format=date_format, errors="coerce", utc=True)
    except (ValueError, TypeError, OverflowError):
        return None
    return _microseconds(times.dt.tz_localize(None).to_numpy(MICROSECOND))

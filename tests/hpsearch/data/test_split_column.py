"""Times and groups: numbers, dates in any common format, and what is refused."""

import datetime

import numpy as np
import pandas as pd
import pytest

from hpsearch.data.frame import Column, frame_from_pandas
from hpsearch.data.split_column import (
    SplitColumn,
    group_column,
    groups_from_array,
    time_column,
    times_as_numbers,
    times_from_array,
)
from hpsearch.errors import DataError

DAYS = [datetime.datetime(2021, 1, 5), datetime.datetime(2021, 2, 1), datetime.datetime(2020, 12, 31, 23, 59)]


def text(*cells: str | None) -> Column:
    return frame_from_pandas(pd.DataFrame({"t": pd.Series(cells, dtype=object)})).columns["t"]


def order(column: SplitColumn) -> list[int]:
    return np.argsort(column.values).tolist()


@pytest.mark.parametrize(
    "shape",
    ["%Y-%m-%d %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d %b %Y %I:%M %p", "%Y%m%dT%H%M"],
)
def test_dates_in_text(shape: str) -> None:
    found = time_column("t", text(*(day.strftime(shape) for day in [*DAYS, datetime.datetime(2021, 1, 17)])))
    assert order(found) == [2, 0, 3, 1] and found.dates
    assert [found.label(k) for k in range(3)] == ["2021-01-05", "2021-02-01", "2020-12-31 23:59:00"]


def test_numbers_are_ordered_by_value() -> None:
    found = time_column("t", text("10", "9.5", "007"))
    assert order(found) == [2, 1, 0] and [found.label(k) for k in range(3)] == ["10", "9.5", "7"]


def test_dates_that_fit_several_formats_need_one() -> None:
    unclear = text("01/02/2020", "03/01/2020")
    with pytest.raises(DataError, match=r"fit several formats: '%d/%m/%Y' and '%m/%d/%Y'; set date_format"):
        time_column("t", unclear)
    assert order(time_column("t", unclear, "%d/%m/%Y")) == [1, 0]
    assert order(time_column("t", unclear, "%m/%d/%Y")) == [0, 1]
    same = time_column("t", text("01/01/2020", "02/02/2020"))  # both formats give the same dates
    assert same.label(1) == "2020-02-02"


@pytest.mark.parametrize(
    ("column", "date_format", "words"),
    [
        (text("2020-01-01", "soon"), None, "must hold numbers or dates, got 'soon'"),
        (text("3", "x"), None, "must hold numbers or dates, got"),
        (text("2020-01-01"), "%d/%m/%Y", "such as date_format '%d/%m/%Y', got '2020-01-01'"),
        (text("2020-01-01"), "%Q", "such as date_format '%Q', got '2020-01-01'"),
        (text("2020-01-01", None, "2020-01-03"), None, "is missing in 1 of 3 rows, first in row 2"),
        (Column(np.array([1.0, np.inf])), None, "must hold finite numbers"),
    ],
    ids=["word", "mixed", "format", "invalid", "missing", "infinite"],
)
def test_times_that_cannot_be_ordered(column: Column, date_format: str | None, words: str) -> None:
    with pytest.raises(DataError, match=r"split\.by: .*'t'") as caught:
        time_column("t", column, date_format)
    assert words in str(caught.value)


def test_dates_of_pandas() -> None:
    for cells in (
        pd.Series(DAYS),
        pd.Series(DAYS).dt.tz_localize("UTC"),
        pd.Series(DAYS, dtype=object),
        pd.Series([day.replace(tzinfo=datetime.UTC) for day in DAYS], dtype=object),
    ):
        numbers, dates = times_as_numbers(cells)
        found = time_column("t", frame_from_pandas(numbers.to_frame("t")).columns["t"], dates=dates)
        assert dates and order(found) == [2, 0, 1] and found.label(2) == "2020-12-31 23:59:00"
    days, dates = times_as_numbers(pd.Series([day.date() for day in DAYS], dtype=object))
    assert dates and np.argsort(days).tolist() == [2, 0, 1]
    gap, _ = times_as_numbers(pd.Series([DAYS[0], pd.NaT]))
    assert np.isnan(gap.iloc[1])
    for cells in (pd.Series([1, 2]), pd.Series(["x"]), pd.Series([None], dtype=object)):
        assert times_as_numbers(cells)[1] is False


def test_groups_are_text_as_written() -> None:
    found = group_column("g", text("07", "7", "07", "7.0"))
    assert found.values.tolist() == [0, 1, 0, 2] and found.label(3) == "7.0"
    with pytest.raises(DataError, match=r"split\.groups: column 'g' is missing in 1 of 2 rows, first in row 2"):
        group_column("g", text("a", None))


def test_arrays() -> None:
    large = groups_from_array("g", np.array([10**18 + 1, 10**18 + 2, 10**18 + 1]))
    assert large.values.tolist() == [0, 1, 0] and large.label(1) == str(10**18 + 2)
    assert groups_from_array("g", np.array(["b", "a"])).groups == ("a", "b")
    with pytest.raises(DataError, match="is missing in 1 of 2 rows"):
        groups_from_array("g", np.array([1.0, np.nan]))
    assert order(times_from_array("t", np.array(DAYS, "datetime64[ns]"), None)) == [2, 0, 1]
    assert order(times_from_array("t", np.array([3, 1, 2]), None)) == [1, 2, 0]
    assert order(times_from_array("t", np.array(["2020-02-01", "2020-01-01"]), None)) == [1, 0]
    with pytest.raises(DataError, match="is missing in 1 of 1 rows"):
        times_from_array("t", np.array(["NaT"], "datetime64[s]"), None)

"""Columns of pandas of any type, matched with the numbers and categories of a model."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpsearch.data.frame import Column, Frame
from hpsearch.data.preprocessing import CategoryEncoding, Preprocessing
from hpsearch.errors import DataError
from hpsearch.models.input_rows import frame_of_features


def read(cells: Any, known: list[str] | None = None) -> list[Any]:
    """Return the cells that a model reads from a column, which is categorical if `known` categories are given."""
    encoding = CategoryEncoding({name: k for k, name in enumerate(known or ())}, -1, -1, len(known or ()))
    columns = {} if known is None else {"c": encoding}
    model = Preprocessing(None, None, ("c",), () if known else ("c",), np.zeros(1), categorical=columns)
    frame = frame_of_features(pd.DataFrame({"more": 1, "c": cells}, index=range(5, 5 + len(cells))), [model])
    assert list(frame.columns) == ["c"]
    column = frame.columns["c"]
    if column.categories is None:
        return [None if np.isnan(value) else value for value in column.values.tolist()]
    return [None if code < 0 else column.categories[code] for code in column.values.tolist()]


@pytest.mark.parametrize(
    ("cells", "known", "want"),
    [
        ([2139, 7], ["02139", "7", "07"], ["02139", "7"]),  # read_csv drops leading zeros
        ([2139.0, np.nan], ["02139"], ["02139", None]),
        ([10**18 + 1, 10**18 + 2], [str(10**18 + 1), str(10**18 + 2)], [str(10**18 + 1), str(10**18 + 2)]),
        ([3.1, 3.2], ["3.1", "3.10", "3.20"], ["3.1", "3.20"]),
        ([8], ["08", "8.0"], ["8"]),  # either may be meant
        (["2139", "07"], ["02139", "7"], ["2139", "07"]),  # text is what is written
        ([True, False], ["True", "False"], ["True", "False"]),
        (pd.array([True, None], "boolean"), ["True"], ["True", None]),
        (pd.array([7, None], "Int64"), ["7"], ["7", None]),
        (pd.array(["7", None], "string"), ["7"], ["7", None]),
        (pd.Categorical([1, 2]), ["01", "2"], ["01", "2"]),
        (np.array([7, "x", None], object), ["07", "x"], ["07", "x", None]),
    ],
)
def test_categories(cells: Any, known: list[str], want: list[Any]) -> None:
    assert read(cells, known) == want


@pytest.mark.parametrize(
    "cells",
    [
        np.array([1, 0]),
        np.array([True, False]),
        pd.array([True, False], "boolean"),
        pd.array([1, 0], "Int8"),
        np.array([1, 0], np.float32),
    ],
)
def test_numbers(cells: Any) -> None:
    assert read(cells) == [1, 0]


def test_missing_numbers() -> None:
    assert read(pd.array([True, None], "boolean")) == [1, None] == read(pd.array([1, None], "Int64"))


def test_columns() -> None:
    model = Preprocessing(None, None, ("age", "zone"), ("age",), np.zeros(1))
    with pytest.raises(DataError, match="rows must have the column 'zone'; did you mean 'zones'"):
        frame_of_features(pd.DataFrame({"age": [1], "zones": [2]}), [model])
    whole = Frame({"age": Column(np.ones(1)), "zone": Column(np.ones(1))})
    assert frame_of_features(whole, [model]) is whole
    with pytest.raises(DataError, match="two columns are named 'age'"):
        frame_of_features(pd.DataFrame([[1, 2, 3]], columns=["age", "age", "zone"]), [model])
    assert len(frame_of_features(pd.DataFrame({"age": [], "zone": []}), [model])) == 0

"""Columns: the same numbers and categories for all chunk boundaries and cell types."""

import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpsearch.data.frame import (
    Column,
    Frame,
    FrameBuilder,
    MixedTypesError,
    category_name,
    frame_from_pandas,
    to_numeric,
)
from hpsearch.errors import DataError


def column(*chunks: Any, **others: Any) -> Column:
    """Build one column from chunks."""
    builder = FrameBuilder(**others)
    for chunk in chunks:
        builder.add(pd.DataFrame({"a": chunk}))
    return builder.frame().columns["a"]


def cells(found: Column) -> list[Any]:
    if found.categories is None:
        assert found.values.dtype == np.float64
        return [None if np.isnan(value) else value for value in found.values.tolist()]
    assert found.values.dtype == np.int32
    return [None if code == -1 else found.categories[code] for code in found.values.tolist()]


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        (7, "7"),
        (7.0, "7"),
        (" 7 ", "7"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (np.float64(1e20), "100000000000000000000"),
        (np.int8(-3), "-3"),
        (10**400, f"1{'0' * 400}"),
        (2**63 + 1, "9223372036854775809"),
        (Decimal("2.0"), "2"),
        (Decimal("2.5"), "2.5"),
        (True, "True"),
        (np.bool_(False), "False"),
        ("true", "True"),
        ("FALSE", "False"),
        ("truest", "truest"),
        ("", ""),
        (float("inf"), "inf"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
    ids=repr,
)
def test_category_names(cell: object, name: str) -> None:
    assert category_name(cell) == name


TYPED = {
    "int8": (pd.Series([1, 2], dtype="int8"), [1, 2]),
    "uint64": (pd.Series([1, 2**63], dtype="uint64"), [1, 2.0**63]),
    "float32": (np.float32([1.5, np.nan]), [1.5, None]),
    "nullable": (pd.array([1, None], dtype="Int64"), [1, None]),
    "nullable-float": (pd.array([0.5, None], dtype="Float32"), [0.5, None]),
    "bool": ([True, False], ["True", "False"]),
    "nullable-bool": (pd.array([True, None], dtype="boolean"), ["True", None]),
    "text": (["x ", " y"], ["x", "y"]),
    "string": (pd.array(["x", None], dtype="string"), ["x", None]),
    "objects": (np.array([1, "x", None, 2.0, np.nan], object), ["1", "x", None, "2", None]),
    "categories": (pd.Categorical(["u", None, "v"]), ["u", None, "v"]),
    "whole-categories": (pd.Categorical([3, 1, 3]), ["3", "1", "3"]),
    "decimals": (np.array([Decimal("1.50"), None], object), ["1.50", None]),
    "nothing": ([None, None], [None, None]),
    "nan": ([np.nan, np.nan], [None, None]),
    "empty-text": (["", "x", " "], [None, "x", None]),
}


@pytest.mark.parametrize("name", TYPED)
def test_types(name: str) -> None:
    values, want = TYPED[name]
    found = cells(column(values))
    assert found == (["1.5", None] if name == "decimals" else want)
    assert cells(column(values, values)) == found * 2


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pd.to_datetime(["2020-01-01"]), "times"),
        (pd.to_timedelta([1], unit="s"), "times"),
        ([datetime.date(2020, 1, 1)], "date"),
        ([b"x"], "bytes"),
        (pd.Series([[1, 2]]), "lists or mappings"),
        (pd.Series([{"a": 1}]), "lists or mappings"),
        (np.array([1 + 2j]), "complex numbers"),
        (pd.Series([(1, 2)]), "tuple"),
    ],
    ids=["time", "duration", "date", "bytes", "list", "mapping", "complex", "tuple"],
)
def test_unsupported_types(values: Any, words: str) -> None:
    with pytest.raises(DataError, match=f"column 'a' holds {words}"):
        column(values)


def test_numbers_beyond_float64() -> None:
    """They are ordinary categories; as numbers they are infinite, which is rejected where numbers are used."""
    found = column(pd.Series([10**400, "x"], dtype=object))
    assert cells(found) == [f"1{'0' * 400}", "x"]
    values, text = to_numeric(column(pd.Series([10**400, -(10**400), 1], dtype=object)))
    assert text is None and values.tolist() == [np.inf, -np.inf, 1]
    for written in (frozenset[str](), frozenset({"a"})):
        with pytest.raises(DataError, match="column 'a' holds a number of thousands of digits"):
            column(pd.Series([10**5000], dtype=object), verbatim=written)


def test_missing_markers() -> None:
    assert cells(column(["x", "?", " ? ", "-"], missing=["?", "-"])) == ["x", None, None, None]
    assert cells(column([1.0, -999, 3], missing=["-999", "?"])) == [1, None, 3]
    assert cells(column([1, -999, 3], missing=["-999.0"])) == [1, None, 3]
    given = np.array([1.0, -999.0])
    column(given, missing=["-999"])
    assert given[1] == -999  # the caller's array is not changed


def test_verbatim_columns() -> None:
    values = np.array(["1.0", "1", " 01", "TRUE"], object)
    assert cells(column(values, verbatim=frozenset({"a"}))) == ["1.0", "1", "01", "TRUE"]
    assert cells(column([1.0, 2.0], verbatim=frozenset({"b"}))) == [1, 2]


def test_numbers_and_text_in_different_chunks() -> None:
    for chunks in (([1, 2], ["x"]), (["x"], [1, 2]), ([None], [1], [None], ["x"]), (["x"], [np.nan, 3])):
        with pytest.raises(MixedTypesError) as caught:
            column(*chunks)
        assert caught.value.names == {"a"}
    assert cells(column([None], ["x"], [np.nan], ["y"])) == [None, "x", None, "y"]
    assert cells(column([None], [1.5], [None])) == [None, 1.5, None]


# Of whole numbers not 1 and 0, which are True and False to Python.
CELLS = st.one_of(st.none(), st.sampled_from(["x", "y", " x", "True", "7"]), st.booleans(), st.integers(2, 9))


@settings(max_examples=80)
@given(st.lists(CELLS, min_size=1, max_size=12), st.data())
def test_chunk_boundaries_do_not_matter(values: list[Any], data: st.DataObject) -> None:
    """The chunks hold objects, like those of a mixed column."""
    ends = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=3)))
    starts = [0, *ends]
    chunks = [np.array(values[a:b], object) for a, b in zip(starts, [*ends, len(values)], strict=True)]
    whole = column(np.array([*values, "z"], object))
    assert cells(column(*chunks, np.array(["z"], object))) == cells(whole)


def test_columns() -> None:
    column = Column(np.array([7.0, np.nan, 0.5, 7.0]))
    assert column.missing.tolist() == [False, True, False, False]
    named = column.as_categorical()
    assert cells(named) == ["7", None, "0.5", "7"] and named.as_categorical() is named
    assert named.missing.tolist() == column.missing.tolist()
    assert cells(named.take(np.array([3, 1]))) == ["7", None] and cells(column.take(slice(2, 3))) == [0.5]
    assert cells(Column(np.array([np.nan])).as_categorical()) == [None]


def test_numbers_in_text() -> None:
    values, text = to_numeric(Column(np.array([0, 1, -1, 2], np.int32), ("1.5", " -2e3", "nan")))
    assert values[:2].tolist() == [1.5, -2000] and np.isnan(values[2:]).all()
    assert text == ("nan", 3, 1)
    values, text = to_numeric(Column(np.array([0, 1, 1], np.int32), ("1", "1_0")))
    assert text == ("1_0", 1, 2) and values[0] == 1
    assert to_numeric(Column(np.array([0, -1], np.int32), ("1",)))[1] is None


def test_frame() -> None:
    frame = frame_from_pandas(pd.DataFrame({1: [1, 2, 3], "b": ["x", None, "y"]}))
    assert list(frame.columns) == ["1", "b"] and len(frame) == 3 and len(Frame({})) == 0
    assert cells(frame.take(np.array([2, 0])).columns["b"]) == ["y", "x"]
    with pytest.raises(DataError, match="two columns are named '1'"):
        frame_from_pandas(pd.DataFrame([[1, 2]], columns=[1, "1"]))


def test_declared_categorical_columns() -> None:
    builder = FrameBuilder()
    builder.add(pd.DataFrame({"a": pd.Categorical([1, 2]), "b": ["x", "y"]}))
    assert builder.declared == {"a"}

"""Recommended settings of a table's columns."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpsearch.data.frame import Column, frame_from_pandas
from hpsearch.data.recommendations import (
    MAX_MARKERS,
    drop_reason,
    is_classification,
    maybe_codes,
    mostly_numeric,
    named_like_codes,
    recommend_labels,
    recommend_missing,
    without_markers,
)

TARGET = Column(np.array([0, 1] * 30, np.int32), ("no", "yes"))


def column(cells: list[Any]) -> Column:
    return frame_from_pandas(pd.DataFrame({"a": cells})).columns["a"]


def test_markers_among_numbers() -> None:
    size = column(["?" if k % 9 == 0 else str(k) for k in range(60)])
    dose = column(["-" if k % 11 == 0 else str(k % 7) for k in range(60)])
    infinite = Column(np.array([np.inf, 1.0, -np.inf]))
    assert recommend_missing({"size": size, "dose": dose}, (), TARGET) == ["-", "?"]
    assert recommend_missing({"wild": infinite}, (), TARGET) == ["-inf", "inf"]


def test_categories_of_other_columns_are_no_markers() -> None:
    size = column(["M" if k % 9 == 0 else str(k) for k in range(60)])
    sex = column(["M", "F"] * 30)
    assert recommend_missing({"size": size, "sex": sex}, (), TARGET) == []
    assert recommend_missing({"size": size}, (), Column(np.zeros(60, np.int32), ("M",))) == []
    assert recommend_missing({"size": size}, (), TARGET) == ["M"]
    assert recommend_missing({"size": size}, ("size",), TARGET) == []


def test_many_words_are_not_all_markers() -> None:
    words = [f"w{k}" for k in range(MAX_MARKERS)]
    numbers = [str(k) for k in range(60)]
    assert recommend_missing({"a": column([*words, *numbers])}, (), TARGET) == words
    assert recommend_missing({"a": column([*words, "?", *numbers])}, (), TARGET) == ["?"]


def test_marked_cells_are_missing() -> None:
    assert without_markers(column(["x", "?", "y"]), ["?"]).missing.tolist() == [False, True, False]
    assert without_markers(Column(np.array([1.0, np.inf])), []).missing.tolist() == [False, True]


def test_labels_of_test_rows() -> None:
    target = column(["up", "down", "UP ", "Down.", "sideways"])
    assert recommend_labels(target, 2) == {"UP": "up", "Down.": "down"}
    assert recommend_labels(column(["up", "Up", "UP"]), 2) == {}, "ambiguous"


@pytest.mark.parametrize(
    ("cells", "declared", "expected"),
    [(["a", "b"], False, True), ([1, 2, 1, 2], False, True), ([1, 2], False, False), ([0.5, 1, 0.5, 1], False, False),
     ([1, 2], True, True), (["1", "2", "x", "3", "4"], False, True)],
)  # fmt: skip
def test_classification(cells: list[Any], declared: bool, expected: bool) -> None:
    assert is_classification(column(cells), declared) == expected


@pytest.mark.parametrize(
    ("cells", "reason"),
    {
        "constant": ([7] * 60, "the same in all rows"),
        "constant-text": (["x"] * 60, "the same in all rows"),
        "distinct-text": ([f"n{k}" for k in range(60)], "different in almost every row"),
        "row-number": (list(range(1, 61)), "row number"),
        "equivalent": (["a", "b"] * 30, "equivalent to the target"),
        "few-rows": ([f"n{k}" for k in range(10)], ""),
        "useful": ([k % 7 for k in range(60)], ""),
        "constant-with-missing": ([None, *[7] * 59], ""),
    }.values(),
)
def test_reasons_to_drop(cells: list[Any], reason: str) -> None:
    assert drop_reason("odd", column(cells), TARGET.take(slice(len(cells)))) == reason


def test_codes() -> None:
    known = np.arange(6.0)
    assert named_like_codes("zip_code", known) and named_like_codes("Type", known) and not named_like_codes("a", known)
    assert not named_like_codes("zip_code", known / 2) and not named_like_codes("zip_code", known[:2])
    assert maybe_codes(known, 12) and not maybe_codes(known, 11) and not maybe_codes(np.arange(11.0), 60)


def test_mostly_numeric() -> None:
    found = column(["1", "2", "x", None])
    assert mostly_numeric(found, np.array([1.0, 2.0, np.nan, np.nan]))
    assert not mostly_numeric(found, np.array([1.0, np.nan, np.nan, np.nan]))
    assert not mostly_numeric(column([None]), np.array([np.nan]))

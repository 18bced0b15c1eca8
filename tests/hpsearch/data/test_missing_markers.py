"""Markers of missing cells: the standard ones, replaced ones, and those of single columns."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from table_cases import cells, refusal, table, targets, written

from hpsearch.data.dataset import prepare
from hpsearch.data.missing_markers import MissingMarkers
from hpsearch.data.sources.csv import CsvSource
from hpsearch.models.input_rows import frame_of_features
from tests.hpsearch.data.sources.test_csv import file

SLEEP = "age,job,disorder\n" + "".join(
    f"{k},{'None' if k % 3 else 'x'},{'None' if k % 2 else 'Apnea'}\n" for k in range(8)
)


def test_standard_markers_and_their_replacement() -> None:
    standard = ("NA", "")
    for setting, general in (
        (None, standard),
        (("?",), (*standard, "?")),
        ((), ("", " ")),
        (("", "?"), ("", " ", "?")),
        ({"a": ()}, standard),
        ({"*": ()}, ("", " ")),
    ):
        assert MissingMarkers.of_setting(setting).with_standard(standard).general == general
    markers = MissingMarkers.of_setting({"a": (), "b": ("-",), "*": ("?",)}).with_standard(standard)
    assert [markers.of_column(name) for name in "abc"] == [("", " "), (*standard, "-"), (*standard, "?")]


def test_a_class_that_is_called_none(tmp_path: Path) -> None:
    """The error names the mark and the setting, which then works."""
    path = file(tmp_path, SLEEP)
    message = refusal("csv", path=path)
    assert "target 'disorder' is missing in 4 of 8 rows, first in row 2" in message
    assert "marked by 'None' in 4 rows: if that is a class, set missing: {disorder: []}" in message
    assert message.endswith("to leave these rows out: missing_target: drop")
    read = table("csv", path=path, missing={"disorder": []})
    assert read.classes == ("Apnea", "None") and targets(read) == ["Apnea", "None"] * 4
    assert cells(read, "job") == ["x", None, None] * 2 + ["x", None]  # other columns keep the standard markers
    assert targets(table("csv", path=path, missing=[])) == ["Apnea", "None"] * 4
    assert cells(table("csv", path=path, missing=[]), "job")[:3] == ["x", "None", "None"]
    assert len(table("csv", path=path, missing_target="drop", task="classification", target="disorder").y) == 4


def test_advice_keeps_the_other_markers(tmp_path: Path) -> None:
    path = file(tmp_path, SLEEP)
    assert "set missing: {disorder: [], '*': ['?']};" in refusal("csv", path=path, missing=["?"])
    assert "set missing: {job: ['-'], disorder: []};" in refusal("csv", path=path, missing={"job": ["-"]})
    empty = file(tmp_path, "a,b,y\n1,2,u\n3,4,\n5,6,v\n", "empty.csv")
    message = refusal("csv", path=empty)
    assert "marked by" not in message and "; to leave these rows out: missing_target: drop" in message


@pytest.mark.parametrize("kind", ["parquet", "sql", "csv"])
def test_markers_of_single_columns(kind: str, tmp_path: Path) -> None:
    data = pd.DataFrame({"a": [1, 99, 3, 4], "b": [99, 2, 3, 1], "y": ["u", "-", "v", "u"]})
    settings = {**written(tmp_path, kind, data), "target": "y"}
    read = table(**settings, missing={"a": [99], "y": ["-"]}, missing_target="drop")
    assert cells(read, "a") == [1, 3, 4] and cells(read, "b") == [99, 3, 1]
    read = table(**settings, missing={"*": [99], "a": []}, task="classification")
    assert cells(read, "a") == [1, 99, 3, 4] and cells(read, "b") == [None, 2, 3, 1]
    assert "missing: there is no column 'aa'; did you mean 'a'?" in refusal(**settings, missing={"aa": [1]})
    if kind != "csv":
        assert "marked by '-' in 1 row" in refusal(**settings, missing=["-"])


def test_models_know_the_markers(tmp_path: Path) -> None:
    """New rows are read like the training rows."""
    rows = "".join(f"{k},{('None', 'x', '-')[k % 3]},{'uv'[k % 2]}\n" for k in range(30))
    source = CsvSource.model_validate(
        {"source": "csv", "path": file(tmp_path, f"a,job,y\n{rows}"), "target": "y", "missing": {"job": ["", "-"]}}
    )
    _, [folds] = prepare(source, 0, tmp_path)
    assert set(folds[0].categorical["job"].columns) == {"None", "x"}
    assert folds[0].input_format["missing_of"] == {"job": ["", " ", "-"]}
    frame = frame_of_features(pd.DataFrame({"a": [1, 2, 3], "job": ["None", "-", "x"]}), folds)
    assert frame.columns["job"].missing.tolist() == [False, True, False]
    assert np.isnan(frame.columns["a"].values).sum() == 0

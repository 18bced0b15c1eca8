"""Column warnings: each names the problem and a setting, and the setting solves it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from table_cases import cells, refusal, table, targets, written

from hpsearch.data import column_warnings
from hpsearch.data.column_warnings import categorical_warnings, class_warnings, target_warnings
from hpsearch.data.frame import Column, FrameBuilder
from hpsearch.data.text_files import csv_file


def categorical(*cells: str) -> Column:
    builder = FrameBuilder()
    builder.add(pd.DataFrame({"a": np.array(cells, object)}))
    return builder.frame().columns["a"]


def file(folder: Path, content: str, name: str = "t.csv") -> str:
    (folder / name).write_text(content, "utf-8")
    return str(folder / name)


def warnings_of(source: str, **settings: Any) -> list[str]:
    return [notice for notice in table(source, **settings).notices if not notice.startswith("task:")]


DESCRIPTIONS = {
    "decimal": (("-0,13", "1,5", ",25", "3,1e-4", "7"), "decimal comma ('-0,13')"),
    "small": (("0,130", "0,250"), "decimal comma ('0,130')"),
    "thousands": (("1,000", "12,345,678", "800"), "digit separators ('1,000')"),
    "european": (("1.234,50", "12.345,00"), "digit separators ('1.234,50')"),
    "spaces": (("1 000", "2 500"), "digit separators ('1 000')"),
    "iso": (("2020-01-31", "2021-12-01"), "dates ('2020-01-31')"),
    "times": (("2020-01-31T10:00:00Z", "2020-02-01 11:30"), "dates ('2020-01-31T10:00:00Z')"),
    "german": (("31.1.2020", "1.12.2021"), "dates ('31.1.2020')"),
    "american": (("1/31/20", "12/1/2021"), "dates ('1/31/20')"),
}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_descriptions_of_text(name: str) -> None:
    column, words = DESCRIPTIONS[name]
    (warning,) = categorical_warnings("a", categorical(*column), "do this")
    assert warning.startswith("column 'a' is text that looks like ") and words in warning
    assert ("do this" in warning) == (not words.startswith("dates"))
    (warning,) = target_warnings("a", categorical(*column), "do this")
    assert warning.startswith("target 'a' ") and words in warning


@pytest.mark.parametrize(
    "column",
    [("x", "y"), ("1,5", "x", "y"), ("1.2.3", "1.2.4"), ("a,b", "c,d"), ("12-3", "4-5"), ("yes", "no", "2020-01-01")],
    ids=str,
)
def test_ordinary_categories_get_no_warning(column: tuple[str, ...]) -> None:
    assert not [*categorical_warnings("a", categorical(*column), "")]


def test_values_that_occur_only_once() -> None:
    """Columns with very many categories are left to the notice of the dataset."""
    who = [f"w{k}" for k in range(30)]
    (warning,) = categorical_warnings("who", categorical(*who, *["x"] * 10), "")
    assert "30 of its 40 values occur only once" in warning and warning.endswith("drop: ['who']")
    assert not [*categorical_warnings("who", categorical(*who, *["x"] * 30), "")]
    assert not [*categorical_warnings("who", categorical(*who[:10]), "")]
    assert not [
        *categorical_warnings("who", categorical(*map("w{}".format, range(column_warnings.NOTICE_CATEGORIES + 1))), "")
    ]


def test_decimal_commas(tmp_path: Path) -> None:
    """Columns and targets get a warning; the setting reads them, also among text and without a header."""
    content = "a;b;y\n" + "".join(f"-{k},13;{k},5;{k},25\n" for k in range(60))
    path = file(tmp_path, content)
    settings: dict[str, Any] = {"path": path, "separator": ";"}
    assert refusal("csv", **settings).endswith("('0,25'): set decimal: ',', or task: classification")
    notices = warnings_of("csv", **settings, task="classification")
    assert len(notices) == 3 and all(n.endswith("set decimal: ','") for n in notices)
    assert notices[0].startswith("target 'y'") and "decimal comma ('0,25')" in notices[0]
    settings["decimal"] = ","
    assert warnings_of("csv", **settings) == []
    read = table("csv", **settings)
    assert cells(read, "a") == [float(f"-{k}.13") for k in range(60)] and read.y.tolist() == [
        k + 0.25 for k in range(60)
    ]
    as_text = table("csv", path=path, separator=";", task="classification")
    assert read.input_format["decimal"] == "," and as_text.input_format["decimal"] == "."
    bare = table("csv", **{**settings, "path": file(tmp_path, content.partition("\n")[2])})
    assert bare.features == ("0", "1") and len(bare.y) == 60
    gaps = file(tmp_path, content + "?;1,5;2,5\n")
    assert cells(table("csv", **{**settings, "path": gaps}, missing=["?"]), "a")[-2:] == [-59.13, None]
    assert "text in 1 of 61 rows: '?' in row 61" in refusal("csv", **{**settings, "path": gaps})


def test_decimal_commas_across_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One chunk holds numbers, the next one text."""
    monkeypatch.setattr(csv_file, "CHUNK_ROWS", 10)
    path = file(tmp_path, "a;y\n" + "0,5;u\n1,5;v\n" * 10 + "x;u\n")
    message = refusal("csv", path=path, separator=";", decimal=",")
    assert "column 'a' holds numbers, and text in 1 of 21 rows: 'x' in row 21" in message
    categorical = cells(table("csv", path=path, separator=";", decimal=",", categorical=["a"]), "a")
    assert categorical[:2] == ["0.5", "1.5"] and categorical[-1] == "x"


def test_errors_mention_decimal_commas(tmp_path: Path) -> None:
    """Errors about text among numbers mention decimal commas."""
    path = file(tmp_path, "a;y\n" + "1;2\n" * 9 + "1,5;2,5\n")
    assert refusal("csv", path=path, separator=";").endswith("('2,5'): set decimal: ',', or task: classification")
    message = refusal("csv", path=path, separator=";", task="regression", drop=["a"])
    assert "got '2,5' in row 10; if the comma is a decimal comma, set decimal: ','" in message
    many = file(tmp_path, "a;y\n" + "".join(f"1;{k},5\n" for k in range(1001)))
    assert "is it task: regression?; if the comma" in refusal("csv", path=many, separator=";")


@pytest.mark.parametrize("kind", ["parquet", "sql"])
def test_decimal_commas_in_other_sources(kind: str, tmp_path: Path) -> None:
    data = pd.DataFrame({"a": ["0,5", "1,5"] * 3, "y": ["u", "v", "w"] * 2})
    (notice,) = warnings_of(**written(tmp_path, kind, data))
    assert notice.endswith("decimal comma ('0,5'), and each value is a category of its own: convert it to numbers")


def test_declared_categories_get_no_warning(tmp_path: Path) -> None:
    """Columns may be declared categorical by the study file or by their type."""
    data = pd.DataFrame({"a": ["0,5", "1,5"] * 3, "y": ["u", "v", "w"] * 2})
    assert not warnings_of(**written(tmp_path, "csv", data), categorical=["a"])
    assert not warnings_of(**written(tmp_path, "parquet", data.astype({"a": "category"})))


def test_row_numbers(tmp_path: Path) -> None:
    """An index is recognized as pandas writes it, also for shuffled rows, and when read and written again."""
    data = pd.DataFrame({"a": [0.5] * 30, "y": ["u"] * 15 + ["v"] * 15})
    for frame in (data, data.sample(frac=0.7, random_state=1), data.rename_axis("index")):
        frame.to_csv(tmp_path / "t.csv")
        (notice,) = warnings_of("csv", path=str(tmp_path / "t.csv"))
        assert "numbers the rows" in notice and notice.endswith("drop: [0]")
        assert table("csv", path=str(tmp_path / "t.csv"), drop=[0]).features == ("a",)
        assert not warnings_of("csv", path=str(tmp_path / "t.csv"), drop=[0])
    pd.concat([data[["a"]], data.reset_index()], axis=1).rename(columns={"index": "Unnamed: 0"}).iloc[
        :, [1, 3, 0]
    ].to_csv(tmp_path / "t.csv", index=False)
    assert "column 'Unnamed: 0'" in warnings_of("csv", path=str(tmp_path / "t.csv"), target="y")[0]


def test_columns_that_are_not_row_numbers(tmp_path: Path) -> None:
    for first in (["0", "1", "1"], ["0.5", "1", "2"], ["0", "", "2"], ["x", "y", "z"]):
        path = file(tmp_path, ",a,y\n" + "".join(f"{cell},1,{k % 2}\n" for k, cell in enumerate(first)))
        assert not warnings_of("csv", path=path)
    assert not warnings_of("csv", path=file(tmp_path, "k,a,y\n0,1,u\n1,1,v\n"))


def test_a_header_of_years(tmp_path: Path) -> None:
    path = file(tmp_path, "2019,2020,y\n1,2,u\n3,4,v\n")
    for settings in ({"target": "y"}, {"target": 2, "drop": ["2019"]}):
        assert refusal("csv", path=path, **settings).endswith(
            "; if the first line holds the column names, set header: true"
        )
    assert table("csv", path=path, target="y", header=True).features == ("2019", "2020")
    for settings in ({"header": False}, {"header": True, "target": "z"}):
        assert "header:" not in refusal("csv", path=path, **{"target": "y", **settings})
    assert "header:" not in refusal("csv", path=file(tmp_path, "a,y\n1,u\n2,v\n"), target="z")


def test_the_task_is_guessed_from_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first rows of sorted numbers look like classes; the notice states the final task. Test rows do not count."""
    monkeypatch.setattr(csv_file, "CHUNK_ROWS", 50)
    for later in (range(40), [0.5]):
        path = file(tmp_path, "a,y\n" + "1,0\n2,1\n" * 30 + "".join(f"3,{value}\n" for value in later))
        read = table("csv", path=path)
        assert read.classes == () and read.y.tolist() == [0, 1] * 30 + list(later)
        assert [n for n in read.notices if n.startswith("task")] == [
            "task: regression, because 'y' holds numbers; otherwise set task: classification"
        ]
        assert table("csv", path=path, task="classification").classes
    path = file(tmp_path, "a,y\n" + "1,0\n2,1\n" * 30)
    assert table("csv", path=path).classes == ("0", "1")
    test = file(tmp_path, "a,y\n1,0.5\n", "test.csv")
    assert "the test rows have a class '0.5'" in refusal("csv", path=path, test_path=test)


# --- what YAML reads as numbers and truth values


def test_cells_that_yaml_reads_as_other_types(tmp_path: Path) -> None:
    path = file(tmp_path, "a,b,y\n-1,k,0\n2.5,true,1\n3,2.5,0\n4,m,1\n")
    read = table("csv", path=path, missing=[-1, 2.5, True], labels={0: "no", 1: True})
    assert cells(read, "a") == [None, None, 3, 4] and cells(read, "b") == ["k", None, None, "m"]
    assert targets(read) == ["no", "True", "no", "True"]
    for spelling in ("true", "True", "TRUE"):
        path = file(tmp_path, f"a,y\n1,{spelling}\n2,x\n")
        assert targets(table("csv", path=path, labels={True: "yes"})) == ["yes", "x"]
    data = pd.DataFrame({"a": [1, 2], "y": [True, False]})
    assert targets(table(**written(tmp_path, "parquet", data), labels={True: "yes", False: "no"})) == ["yes", "no"]
    assert "labels: there is no class '3'" in refusal("csv", path=path, labels={3: "x"})


# --- classes and infinite numbers


def test_classes_that_differ_only_in_case_or_spaces() -> None:
    (warning,) = class_warnings(["NO", "Yes", "maybe", "yes", "YES"])
    assert warning == (
        "classes 'Yes' and 'yes' and 'YES' differ only in case or spaces; if they are the same class:"
        " labels: {'yes': 'Yes', 'YES': 'Yes'}"
    )
    assert "labels: {'a  b': 'a b'}" in next(class_warnings(["a b", "a  b"]))
    assert not list(class_warnings(["yes", "no", "yes.", "1", "1.0"]))


def test_infinite_numbers_can_mark_missing_cells(tmp_path: Path) -> None:
    path = file(tmp_path, "a,y\n1,u\n+inf,v\n3,u\n-Infinity,v\n")
    message = refusal("csv", path=path)
    assert "got inf in row 2; if it marks a missing cell: missing: [inf]" in message
    assert "got -inf in row 4; if it marks a missing cell: missing: [-inf]" in refusal(
        "csv", path=path, missing=["inf"]
    )
    assert cells(table("csv", path=path, missing=["inf", "-inf"]), "a") == [1, None, 3, None]

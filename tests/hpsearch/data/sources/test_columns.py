"""Conversion of raw columns to targets, features and parts."""

from pathlib import Path

import pytest
from table_cases import cells, refusal, table, targets

from hpsearch.data.dataset import prepare
from hpsearch.data.frame import CHUNK_ROWS
from hpsearch.data.sources import SOURCES
from hpsearch.errors import DataError
from tests.hpsearch.data.sources.test_csv import SMALL, file, many


@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
def test_text_in_a_numeric_column(far: bool, tmp_path: Path) -> None:
    """The message names the row, also after 50,000 rows of numbers, and both suggested settings work."""
    content = (many() if far else SMALL) + "x,2.5,u\n"
    path, row = file(tmp_path, content), content.count("\n") - 1
    message = refusal("csv", path=path)
    assert f"column 'a' holds numbers, and text in 1 of {row} rows: 'x' in row {row};" in message
    as_gap = cells(table("csv", path=path, missing=["x"]), "a")
    assert as_gap[:2] == [0, 1] and as_gap[-1] is None
    as_categorical = cells(table("csv", path=path, categorical=["a"]), "a")
    assert as_categorical[:2] == ["0", "1"] and as_categorical[-1] == "x" and len(as_categorical) == row


def test_text_in_the_first_chunk_and_numbers_in_the_second(tmp_path: Path) -> None:
    """Numbers of the second chunk become categories, written as in the first."""
    content = "a,y\n" + "x,u\n" * CHUNK_ROWS + "7,v\n" * 5
    read = table("csv", path=file(tmp_path, content))
    assert cells(read, "a")[-1] == "7" and cells(read, "a")[0] == "x"


def test_missing_targets(tmp_path: Path) -> None:
    message = refusal("csv", path=file(tmp_path, SMALL + "1,2,\n3,4,NaN\n"))
    assert "target 'y' is missing in 2 of 12 rows, first in row 11" in message
    message = refusal("csv", path=file(tmp_path, "a,y\n1,0.5\n2,\n" + "3,0.7\n" * 30), task="regression")
    assert "target 'y' is missing in 1 of 32 rows, first in row 2" in message


def test_a_single_class(tmp_path: Path) -> None:
    source = SOURCES["csv"].model_validate({"path": file(tmp_path, "a,y\n" + "1,u\n2,u\n" * 9), "target": "y"})
    with pytest.raises(DataError, match=r"at least two classes, got 'u' in all 18 rows"):
        prepare(source, 1, tmp_path)


def test_order_of_classes(tmp_path: Path) -> None:
    read = table("csv", path=file(tmp_path, "a,y\n1,10\n2,9\n3,1.0\n4,b\n"))
    assert read.classes == ("1.0", "9", "10", "b") and targets(read) == ["10", "9", "1.0", "b"]


def test_too_many_classes(tmp_path: Path) -> None:
    """The error for 30,000 classes comes quickly."""
    path = file(tmp_path, "a,y\n" + "".join(f"{k},{k + 0.5}\n" for k in range(30_000)))
    message = refusal("csv", path=path, task="classification", labels={"0.5": "0"})
    assert "target 'y' must have at most 1,000 classes, got 30,000; is it task: regression?" in message


def test_split_column(tmp_path: Path) -> None:
    words = ["train", "val", "test", " train"] * 5
    content = "a,for,y\n" + "".join(f"{k},{word},{'uv'[k // 4 % 2]}\n" for k, word in enumerate(words))
    read = table("csv", path=file(tmp_path, content), split={"column": "for"})
    assert read.features == ("a",)
    assert {part: rows.tolist() for part, rows in read.parts.items()} == {
        "train": [k for k in range(20) if k % 4 in (0, 3)],
        "val": list(range(1, 20, 4)),
        "test": list(range(2, 20, 4)),
    }
    message = refusal("csv", path=file(tmp_path, content.replace("6,test", "6,tset")), split={"column": "for"})
    assert message.endswith("column 'for': row 7 must be train, val or test, got 'tset'")
    message = refusal("csv", path=file(tmp_path, content.replace("train", "val")), split={"column": "for"})
    assert message.endswith("column 'for': at least one row must be train")
    message = refusal("csv", path=file(tmp_path, content.replace("6,test", "6,")), split={"column": "for"})
    assert "row 7 must be train, val or test, got ''" in message

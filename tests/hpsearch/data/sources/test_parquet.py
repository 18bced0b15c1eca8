"""Parquet source: each type is numeric, categorical or rejected; files are read in chunks."""

import datetime
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from table_cases import cells, refusal, table, targets

from hpsearch.data.dataset import fingerprint
from hpsearch.data.frame import CHUNK_ROWS
from hpsearch.data.sources.parquet import ParquetFile, ParquetSource
from hpsearch.errors import DataError

Y = pa.array(["u", "v", "u"])


def file(folder: Path, **columns: Any) -> str:
    """Write an Arrow table without the metadata of pandas."""
    pq.write_table(pa.table({**columns, "y": columns.get("y", Y)}), folder / "t.parquet")
    return str(folder / "t.parquet")


TYPES: dict[str, tuple[Any, list[Any]]] = {
    "int8": (pa.array([1, None, 3], pa.int8()), [1, None, 3]),
    "uint64": (pa.array([1, None, 2**60], pa.uint64()), [1, None, 2**60]),
    "half": (pa.array(np.array([1.5, 2, 3], np.float16)), [1.5, 2, 3]),
    "float": (pa.array([0.1, None, float("nan")]), [0.1, None, None]),
    "decimal": (pa.array([Decimal("1.25"), None, Decimal("-7.00")]), [1.25, None, -7]),
    "decimal256": (pa.array([Decimal("1.5"), None, Decimal(2)], pa.decimal256(50, 3)), [1.5, None, 2]),
    "bool": (pa.array([True, None, False]), ["True", None, "False"]),
    "text": (pa.array(["x ", None, "é"]), ["x", None, "é"]),
    "large-text": (pa.array(["x", None, "y"], pa.large_string()), ["x", None, "y"]),
    "words": (pa.array(["x", None, "x"]).dictionary_encode(), ["x", None, "x"]),
    "numbered-words": (pa.array(["1", None, "2"]).dictionary_encode(), ["1", None, "2"]),
    "dictionary-of-numbers": (pa.array([7, None, 8]).dictionary_encode(), [7, None, 8]),
    "numbers-as-text": (pa.array(["1.50", None, "2"]), [1.5, None, 2]),
    "nothing": (pa.nulls(3), [None, None, None]),
}


@pytest.mark.parametrize("name", TYPES)
def test_types(name: str, tmp_path: Path) -> None:
    values, want = TYPES[name]
    assert cells(table("parquet", path=file(tmp_path, a=values)), "a") == want


REFUSED: dict[str, tuple[Any, str]] = {
    "timestamp": (pa.array([datetime.datetime(2020, 1, 1)] * 3), "holds times (datetime64"),
    "zoned": (pa.array([1, 2, 3], pa.timestamp("s", "Europe/Paris")), "holds times (datetime64"),
    "date": (pa.array([datetime.date(2020, 1, 1)] * 3), "holds date"),
    "time": (pa.array([datetime.time(1)] * 3), "holds time"),
    "duration": (pa.array([1, 2, 3], pa.duration("s")), "holds times (timedelta64"),
    "bytes": (pa.array([b"x", b"y", b"z"]), "holds bytes"),
    "list": (pa.array([[1], [2], [3]]), "holds lists"),
    "struct": (pa.array([{"a": 1}] * 3), "holds lists or mappings"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_types(name: str, tmp_path: Path) -> None:
    """The error names the column; dropping it solves the problem."""
    values, words = REFUSED[name]
    path = file(tmp_path, a=values, b=pa.array([1, 2, 3]))
    message = refusal("parquet", path=path)
    assert message.startswith(f"data: parquet: column 'a' {words}") and "drop it" in message
    assert table("parquet", path=path, drop=["a"]).features == ("b",)


def test_targets(tmp_path: Path) -> None:
    for values, classes in (
        (pa.array([3, 1, 3]), ("1", "3")),
        (pa.array([True, False, True]), ("False", "True")),
        (pa.array(["b", "a", "b"]).dictionary_encode(), ("a", "b")),
    ):
        assert table("parquet", path=file(tmp_path, a=pa.array([1, 2, 3]), y=values)).classes == classes
    many = pa.array(
        [str(k) for k in range(30)]
    ).dictionary_encode()  # more values than classes may have, but declared as names
    read = table("parquet", path=file(tmp_path, a=pa.array([1] * 30), y=many))
    assert len(read.classes) == 30
    real = table(
        "parquet", path=file(tmp_path, a=pa.array([1, 2, 3]), y=pa.array(list(map(Decimal, ("0.5", "1.0", "2.0")))))
    )
    assert real.classes == () and real.y.tolist() == [0.5, 1, 2]


def test_chunks(tmp_path: Path) -> None:
    """Row groups, batches and their different dictionaries do not change the result."""
    data = pd.DataFrame({"a": np.arange(CHUNK_ROWS + 700), "w": pd.Categorical(np.arange(CHUNK_ROWS + 700) % 7)})
    data["y"] = np.where(data.a % 2, "u", "v")
    data.to_parquet(tmp_path / "one.parquet")
    data.to_parquet(tmp_path / "many.parquet", row_group_size=9_000)
    one = table("parquet", path=str(tmp_path / "one.parquet"))
    many = table("parquet", path=str(tmp_path / "many.parquet"))
    assert fingerprint(one) == fingerprint(many) and len(one.y) == CHUNK_ROWS + 700
    source = ParquetSource.model_validate({"path": str(tmp_path / "one.parquet"), "target": "y"})
    assert [len(piece.cells) for piece in source.chunks(frozenset())] == [CHUNK_ROWS, 700]


def test_test_rows(tmp_path: Path) -> None:
    """Columns match by name; integers in one file and text in the other are categories in both."""
    path = file(tmp_path, a=pa.array([1, 2, 3]), b=pa.array([1.0, 2, 3]))
    pq.write_table(pa.table({"y": ["v", "u"], "b": [4.0, 5], "a": ["2", "x"]}), tmp_path / "test.parquet")
    message = refusal("parquet", path=path, test_path=str(tmp_path / "test.parquet"))
    assert "column 'a' holds numbers, and text in 1 of 5 rows: 'x' in row 5" in message
    read = table("parquet", path=path, test_path=str(tmp_path / "test.parquet"), categorical=["a"])
    assert cells(read, "a") == ["1", "2", "3", "2", "x"] and cells(read, "b") == [1, 2, 3, 4, 5]
    assert targets(read) == ["u", "v", "u", "v", "u"] and read.parts["test"].tolist() == [3, 4]
    pq.write_table(pa.table({"y": ["v"], "bb": [4.0], "a": [2]}), tmp_path / "test.parquet")
    message = refusal("parquet", path=path, test_path=str(tmp_path / "test.parquet"))
    assert message.endswith("test.parquet: there is no column 'b'; did you mean 'bb'?")


def test_unreadable_files(tmp_path: Path) -> None:
    path = Path(file(tmp_path, a=pa.array([1, 2, 3])))
    assert "there is no such file; a relative" in refusal("parquet", path=str(tmp_path / "none.parquet"))
    assert "it is a folder; a regular file is needed" in refusal("parquet", path=str(tmp_path))
    assert "target: there is no column 'yy'; did you mean 'y'?" in refusal("parquet", path=str(path), target="yy")
    whole = path.read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2], whole[:4] + b"\xff" * 40 + whole[44:]):
        path.write_bytes(content)
        assert "t.parquet: is not a readable Parquet file" in refusal("parquet", path=str(path))
    assert "holds no rows" in refusal("parquet", path=file(tmp_path, a=pa.array([], "int8"), y=pa.array([], "string")))
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array(["u"])], names=["a", "a", "y"])
    pq.write_table(twice, path)
    assert "two columns are named 'a'" in refusal("parquet", path=str(path))


def test_categories_that_are_numbers(tmp_path: Path) -> None:
    pd.DataFrame({1: [1.5, 2, 3], 2: ["u", "v", "u"]}).to_parquet(tmp_path / "t.parquet")
    read = table("parquet", path=str(tmp_path / "t.parquet"), target="2")
    assert read.features == ("1",) and targets(read) == ["u", "v", "u"]


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.parquet")
    for path in (tmp_path / "pipe.parquet", tmp_path, Path("/dev/zero")):
        assert "a regular file is needed" in refusal("parquet", path=str(path))


@pytest.mark.parametrize(
    "pandas",
    [
        *("{", "[]", "7", "[" * 5000, '{"columns": [{}]}', '{"columns": 7}', '{"index_columns": [{"kind": "range"}]}'),
        '{"columns": [{"name": "a", "field_name": "a", "pandas_type": 7}], "index_columns": ["a"]}',
    ],
)
def test_hostile_metadata_of_pandas(pandas: str, tmp_path: Path) -> None:
    """A part of the schema that only pandas reads: the file is read without it, or refused in one line."""
    rows = pa.table({"a": [1.0, 2.0, 3.0], "y": [1.5, 2.5, 3.5]}).replace_schema_metadata({"pandas": pandas})
    pq.write_table(rows, tmp_path / "t.parquet")
    try:
        assert sum(map(len, ParquetFile(tmp_path / "t.parquet").chunks())) == 3
    except DataError as error:
        assert "\n" not in str(error)

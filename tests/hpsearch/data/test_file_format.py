"""Detection of encoding, separator and header."""

import gzip
from pathlib import Path

import pandas as pd
import pytest

from hpsearch.data.file_format import detect_format
from hpsearch.errors import DataError

TEXT = "town,a,y\n" + "Köln,1.5,u\nBern,2,v\n" * 20


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
def test_encodings(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(TEXT.encode(encoding))
    found = detect_format(path, None)
    assert found.settings.get("encoding", "utf-8") == encoding and found.columns == ["town", "a", "y"]


def test_settings_in_the_order_of_a_study_file(tmp_path: Path) -> None:
    path, test = tmp_path / "t.csv.gz", tmp_path / "test.csv"
    path.write_bytes(gzip.compress(TEXT.encode()))
    assert list(detect_format(path, test).settings.items()) == [
        ("source", "csv"),
        ("path", str(path)),
        ("test_path", str(test)),
        ("header", True),
        ("separator", ","),
    ]
    path.write_bytes(gzip.compress(b"1;2\n3;4\n"))
    assert detect_format(path, None).settings["header"] is False and detect_format(path, None).columns == ["0", "1"]


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.PARQUET"
    pd.DataFrame({"a": [1], 2: ["x"]}).rename(columns=str).to_parquet(path)
    assert detect_format(path, None) == ({"source": "parquet", "path": str(path)}, ["a", "2"], ())


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        detect_format(tmp_path / "t.csv", None)
    (tmp_path / "t.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="Not a gzipped file"):
        detect_format(tmp_path / "t.csv.gz", None)

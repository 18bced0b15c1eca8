"""Text files: compression, files of other kinds, limits, footers and records."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from hpsearch.data.text_files import opening
from hpsearch.data.text_files.opening import (
    LimitedLines,
    NotTextError,
    WithoutFooter,
    open_bytes,
    open_text,
    records,
    split_at_whitespace,
    without_last,
)


def packed(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_compressed_files_are_recognized_by_their_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(gzip.compress(b"1,2\n"))
    with open_bytes(path) as file:
        assert file.read() == b"1,2\n"
    with open_bytes(packed(path, {"__MACOSX/x": b"", "t.csv": b"3,4\n"})) as file:
        assert file.read() == b"3,4\n"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "a zip file of 0 files"),
        ({"a.csv": b"1", "b.csv": b"2"}, "2 files (a.csv, b.csv)"),
        ({"xl/workbook.xml": b"", "a": b""}, "Excel workbook"),
        ({"x.npy": b""}, "set source: npz"),
    ],
)
def test_zip_files_that_are_no_table(members: dict[str, bytes], words: str, tmp_path: Path) -> None:
    with pytest.raises(NotTextError) as caught:
        open_bytes(packed(tmp_path / "a.zip", members))
    assert words in str(caught.value)


@pytest.mark.parametrize(("start", "words"), [(b"PAR1", "source: parquet"), (b"BZh9", "gzip or zip"), (b"%PDF", "PDF")])
def test_files_of_other_kinds(start: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(start + b"x" * 50)
    with pytest.raises(NotTextError, match=words):
        open_bytes(tmp_path / "a.csv")


def limited(content: bytes) -> bytes:
    return io.BufferedReader(LimitedLines(io.BytesIO(content), io.BytesIO()), 64).read()


def test_lines_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MAX_LINE_BYTES", 1000)
    lines = b"a,b\n" * 1000
    assert limited(lines) == lines
    with pytest.raises(NotTextError, match="a line is longer than"):
        limited(lines + b"x" * 1100)
    with pytest.raises(NotTextError, match="a quoted cell is longer than"):
        limited(lines + b'1,"x\n' + lines)
    inches = b'5",b\n' + lines + b'"x, y",1\n' + lines + b'"",2\n' + lines
    assert limited(inches) == inches


@pytest.mark.parametrize("size", [1, 7, 1 << 18])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_footers(size: int, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_BUFFER_BYTES", size)
    rows, lines = [f"{k},{k}" for k in range(30)], 2
    text = end.join([*rows, "Total", "Mean", "", ""])
    file = WithoutFooter(io.StringIO(text, newline=""), lines)
    found = "".join(iter(lambda: file.read(size), ""))
    assert found.split(end) == rows
    assert WithoutFooter(io.StringIO("a\n"), 3).read() == ""
    assert WithoutFooter(io.StringIO("a\nb\n" * 1000), 1 << 31).read() == ""


def test_skipped_lines_and_line_breaks(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"# c\r\nx,y\r\n1,2\r\n")
    with open_text(tmp_path / "a", "utf-8", 1) as file:
        assert file.read() == "x,y\r\n1,2\r\n"


def test_records() -> None:
    text = 'a,"b\nc"\n\n  \n1, 2\n'
    assert list(records(io.StringIO(text, newline=""), ",")) == [(2, ["a", "b\nc"]), (5, ["1", "2"])]
    spaced = ' 1   "x y"\t3 \n\n4 5" 6\n'
    assert list(records(io.StringIO(spaced), "whitespace")) == [(1, ["1", "x y", "3"]), (3, ["4", '5"', "6"])]
    assert [cells for _, cells in without_last(records(io.StringIO("1\n2\n3\n"), ","), 2)] == [["1"]]
    assert split_at_whitespace('"a ""b""" c') == ['a "b"', "c"]


def test_the_limit_of_cells_is_that_of_lines() -> None:
    """Cells of any length are read, and the limit of the csv module is restored."""
    import csv

    before = csv.field_size_limit()
    assert [len(cells[0]) for _, cells in records(io.StringIO("x" * 200_000 + ",1\n"), ",")] == [200_000]
    assert csv.field_size_limit() == before

"""CSV source: encodings, headers, quoting, and files that cannot be read."""

import gzip
from pathlib import Path

import pandas as pd
import pytest
from table_cases import KINDS, cells, refusal, table, targets, written

from hpsearch.data.dataset import fingerprint
from hpsearch.data.sources.csv import CsvSource
from hpsearch.data.sources.tables import CHUNK_ROWS

SMALL = "a,b,y\n" + "".join(f"{k},{k * 1.5},{'uv'[k % 2]}\n" for k in range(10))


def many(rows: int = CHUNK_ROWS + 500) -> str:
    return "a,b,y\n" + "".join(f"{k},{k * 1.5},{'uv'[k % 2]}\n" for k in range(rows))


def file(folder: Path, content: str | bytes, name: str = "t.csv") -> str:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder / name)


@pytest.mark.parametrize(
    "content",
    {
        "plain": SMALL,
        "bom": "\ufeff" + SMALL,
        "bom-quoted": "\ufeff" + SMALL.replace("a,b,y", '"a","b","y"'),
        "crlf": SMALL.replace("\n", "\r\n"),
        "cr": SMALL.replace("\n", "\r"),
        "spaces": SMALL.replace(",", ", "),
        "no-end": SMALL.rstrip(),
        "blank-lines": "\n  \n" + SMALL.replace("\n", "\n\n"),
        "quoted": SMALL.replace("u", '"u"').replace("v", ' "v"'),
    }.items(),
    ids=lambda item: item[0],
)
def test_spellings_of_the_same_table(content: tuple[str, str], tmp_path: Path) -> None:
    read = table("csv", path=file(tmp_path, content[1]))
    assert read.features == ("a", "b")
    assert cells(read, "a") == list(range(10)) and cells(read, "b") == [k * 1.5 for k in range(10)]
    assert read.classes == ("u", "v") and targets(read) == ["u", "v"] * 5


def test_compression_and_encodings(tmp_path: Path) -> None:
    packed = table("csv", path=file(tmp_path, gzip.compress(SMALL.encode()), "t.csv.gz"))
    assert fingerprint(packed) == fingerprint(table("csv", path=file(tmp_path, SMALL)))
    latin = table("csv", path=file(tmp_path, "a,y\né,ü\nb,v\n".encode("latin-1")), encoding="latin-1")
    assert cells(latin, "a") == ["é", "b"] and latin.classes == ("v", "ü")
    assert cells(table("csv", path=file(tmp_path, "a;y\n1;u\n2;v\n"), separator=";"), "a") == [1, 2]


def test_quoted_cells_with_commas_and_line_breaks(tmp_path: Path) -> None:
    read = table("csv", path=file(tmp_path, 'a,y\n"x, y\nz",u\n"say ""hi""",v\n'))
    assert cells(read, "a") == ["x, y\nz", 'say "hi"']


def test_header_detection(tmp_path: Path) -> None:
    path = file(tmp_path, "1,x,u\n2,y,v\n")
    assert table("csv", path=path).features == ("0", "1")
    with_header = table("csv", path=path, header=True)
    assert with_header.features == ("1", "x") and len(with_header.y) == 1
    assert len(table("csv", path=file(tmp_path, "k,x,u\nl,y,v\n"), header=False).y) == 2
    assert table("csv", path=file(tmp_path, "a,,y\n1,2,u\n3,4,v\n")).features == ("a", "column 1")


def test_missing_markers(tmp_path: Path) -> None:
    """Markers are those of pandas and the given ones, also with spaces around them, and numbers."""
    read = table("csv", path=file(tmp_path, "a,b,y\n1,k,u\n?,?,v\nNA,,u\n ? ,l ,v\n4, ? ,u\n"), missing=["?"])
    assert cells(read, "a") == [1, None, None, None, 4] and cells(read, "b") == ["k", None, None, "l", None]
    assert any("'a' is text that holds only numbers" in notice for notice in read.notices)
    data = pd.DataFrame({"a": [-999, 1, -999.0, 2], "y": ["u", "v", "u", "v"]})
    for kind in KINDS:
        assert cells(table(missing=["-999"], **written(tmp_path, kind, data)), "a") == [None, 1, None, 2]


@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
@pytest.mark.parametrize(("line", "count"), [("1,2", 2), ("1,2,3,4", 4)], ids=["short", "long"])
def test_rows_of_unequal_length(far: bool, line: str, count: int, tmp_path: Path) -> None:
    """The message names the line, also beyond the first chunk and when valid rows follow."""
    content = many() if far else SMALL
    for end in ("", "7,8,u\n"):
        message = refusal("csv", path=file(tmp_path, f"{content}{line}\n{end}"))
        number = content.count("\n") + 1
        assert message.endswith(f"t.csv: line {number} has {count} cells, the first line 3")


def test_a_short_row_after_missing_cells(tmp_path: Path) -> None:
    """A short row is found although cells of the last column are missing in every chunk."""
    rows = "".join(f"u,{k},{'' if k % 2 else k}\n" for k in range(CHUNK_ROWS + 10))
    assert cells(table("csv", path=file(tmp_path, "y,a,b\n" + rows), target="y"), "b")[1] is None
    message = refusal("csv", path=file(tmp_path, "y,a,b\n" + rows + "u,1\n"), target="y")
    assert f"line {CHUNK_ROWS + 12} has 2 cells" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,b,y\n", "holds no rows"),
        ("a,a,y\n1,2,u\n", "two columns are named 'a'"),
        (b"a,y\n\xe9,u\n", "is not utf-8 text: 'utf-8' codec can't decode byte 0xe9 in position 4"),
        (many().encode() + b"\xe9,1,u\n", "such as encoding: latin-1"),
        ('a,y\n1,"u\n2,v\n', "EOF inside string"),
        ("a,y\ninf,u\n1,v\n", "column 'a' must hold finite numbers, got inf in row 1"),
        (f"a,y\n1{'0' * 400},u\n1,v\n", "column 'a' must hold finite numbers, got inf in row 1"),
    ],
    ids=["empty", "lines", "header", "twice", "latin", "latin-far", "quote", "inf", "huge"],
)
def test_invalid_content(content: str | bytes, words: str, tmp_path: Path) -> None:
    assert words in refusal("csv", path=file(tmp_path, content))


def test_unreadable_files(tmp_path: Path) -> None:
    packed = gzip.compress(many().encode())
    assert "there is no such file; a relative" in refusal("csv", path=str(tmp_path / "none.csv"))
    assert "cannot be read: Is a directory" in refusal("csv", path=str(tmp_path))
    assert "Not a gzipped file" in refusal("csv", path=file(tmp_path, SMALL, "t.csv.gz"))
    assert "ended before" in refusal("csv", path=file(tmp_path, packed[: len(packed) // 2], "t.csv.gz"))
    torn = packed[:10] + b"\xff\xff\xff" + packed[13:]
    assert "cannot be read: Error -3" in refusal("csv", path=file(tmp_path, torn, "t.csv.gz"))
    assert "no encoding 'latn'" in refusal("csv", path=file(tmp_path, SMALL), encoding="latn")


def test_files_are_closed(tmp_path: Path) -> None:
    """Files are closed even if they are not read to the end; a ResourceWarning would be an error here."""
    source = CsvSource.model_validate({"path": file(tmp_path, many()), "target": "y"})
    chunks = source.chunks(frozenset())
    assert len(next(chunks).cells) == CHUNK_ROWS
    del chunks

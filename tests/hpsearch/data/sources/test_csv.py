"""CSV source: encodings, headers, quoting, and files that cannot be read."""

import gzip
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError
from table_cases import KINDS, cells, refusal, table, targets, written

from hpsearch.data.dataset import fingerprint
from hpsearch.data.frame import CHUNK_ROWS
from hpsearch.data.sources import Table
from hpsearch.data.sources.csv import CsvSource

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
        footer = "" if end else "; if it is not part of the table: skip_footer: 1"
        assert message.endswith(f"t.csv: line {number} has {count} cells, the first line 3{footer}")


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
        (b"a,y\n\xe9,u\n", "is not utf-8 text: 'utf-8' codec can't decode byte 0xe9 in position 4"),
        (many().encode() + b"\xe9,1,u\n", "such as encoding: latin-1"),
        ('a,y\n1,"u\n2,v\n', "EOF inside string"),
        ("a,y\ninf,u\n1,v\n", "column 'a' must hold finite numbers, got inf in row 1"),
        (f"a,y\n1{'0' * 400},u\n1,v\n", "column 'a' must hold finite numbers, got inf in row 1"),
    ],
    ids=["empty", "lines", "header", "latin", "latin-far", "quote", "inf", "huge"],
)
def test_invalid_content(content: str | bytes, words: str, tmp_path: Path) -> None:
    assert words in refusal("csv", path=file(tmp_path, content))


def test_unreadable_files(tmp_path: Path) -> None:
    packed = gzip.compress(many().encode())
    assert "there is no such file; a relative" in refusal("csv", path=str(tmp_path / "none.csv"))
    assert "cannot be read: it is a folder; a regular file is needed" in refusal("csv", path=str(tmp_path))
    assert "it is a device; a regular file" in refusal("csv", path="/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    assert "it is a pipe; a regular file" in refusal("csv", path=str(tmp_path / "pipe"))
    assert "Not a gzipped file" in refusal("csv", path=file(tmp_path, SMALL, "t.csv.gz"))
    assert "ended before" in refusal("csv", path=file(tmp_path, packed[: len(packed) // 2], "t.csv.gz"))
    torn = packed[:10] + b"\xff\xff\xff" + packed[13:]
    assert "cannot be read: Error -3" in refusal("csv", path=file(tmp_path, torn, "t.csv.gz"))
    for encoding in ("latn", "rot13", "zip", "hex"):  # Python has codecs of these names that are not for text
        assert f"no encoding '{encoding}'" in refusal("csv", path=file(tmp_path, SMALL), encoding=encoding)


def test_files_are_closed(tmp_path: Path) -> None:
    """Files are closed even if they are not read to the end; a ResourceWarning would be an error here."""
    source = CsvSource.model_validate({"path": file(tmp_path, many()), "target": "y"})
    chunks = source.chunks(frozenset())
    assert len(next(chunks).cells) == CHUNK_ROWS
    del chunks


# --- tables as they come


def noticed(read: Table) -> str:
    return "\n".join(read.notices)


def test_numbers_in_other_notations(tmp_path: Path) -> None:
    """Settings read them in every column, also where some cells are plain; without them there is a warning."""
    rows = [(f"${k}.50", f"{k % 3},{k:03}" if k % 3 else str(k), f"{k}%", f"({k}.5)") for k in range(40)]
    path = file(
        tmp_path,
        "price,income,share,profit,y\n"
        + "".join(f'{a},"{b}",{c},{d},{k % 2}\n' for k, (a, b, c, d) in enumerate(rows)),
    )
    read = table("csv", path=path, thousands=",", strip=["$", "%", "()"])
    assert cells(read, "price") == [k + 0.5 for k in range(40)] and cells(read, "share") == list(range(40))
    assert cells(read, "income") == [k % 3 * 1000 + k for k in range(40)]
    assert cells(read, "profit") == [-k - 0.5 for k in range(40)] and "text" not in noticed(read).replace(
        "holds text", ""
    )
    assert table("csv", path=path, target="price", strip=["$"], drop=["income"]).y.tolist() == cells(read, "price")
    plain = noticed(table("csv", path=path, target="price", drop=["income"], task="classification"))
    assert "target 'price' is text that looks like numbers in another notation ('$0.50')" in plain
    assert "set strip: ['$']" in plain and "set strip: ['%']" in plain and "set strip: ['()']" in plain
    assert "set thousands: ','; if the comma is a decimal comma, set decimal: ','" in noticed(table("csv", path=path))
    assert read.input_format["strip"] == ("$", "%", "()") and read.input_format["thousands"] == ","


def test_targets_that_look_like_numbers(tmp_path: Path) -> None:
    """They are not taken for classes that are too rare to be learned; several units are named."""
    rows = [f"{k},${k}.50,{k} {'kg' if k % 2 else 'lb'}\n" for k in range(40)]
    path = file(tmp_path, "a,price,weight\n" + "".join(rows))
    message = refusal("csv", path=path, target="price")
    assert message.endswith("looks like numbers ('$0.50'): set strip: ['$'], or task: classification")
    assert "several units ('0 lb'): convert them to one unit" in refusal("csv", path=path)
    assert len(table("csv", path=path, target="price", task="classification").classes) == 40


def test_codes_are_no_numbers(tmp_path: Path) -> None:
    """Settings of numbers leave other text alone."""
    path = file(tmp_path, "a,b,y\n" + "".join(f'"1,{k % 7}",{k % 5} m x,{"uv"[k % 2]}\n' for k in range(20)))
    read = table("csv", path=path, thousands=",", strip=["m"])
    assert cells(read, "a")[:2] == ["1,0", "1,1"] and cells(read, "b")[0] == "0 m x"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"decimal": ",", "thousands": ","}, "decimal and thousands must differ"),
        ({"thousands": "0"}, "must not be letters or digits"),
        ({"strip": ["5"]}, "marks around numbers"),
        ({"separator": "ab"}, "must be one character, or whitespace, got 'ab'"),
    ],
)
def test_settings_that_exclude_each_other(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        CsvSource.model_validate({"path": "t.csv", "target": "y", **settings})


@pytest.mark.parametrize(("word", "meaning"), [("\\t", "\t"), ("tab", "\t"), (r"\s+", "whitespace"), (";", ";")])
def test_words_for_separators(word: str, meaning: str) -> None:
    assert CsvSource.model_validate({"path": "t.csv", "target": "y", "separator": word}).separator == meaning


def test_a_header_of_numbers(tmp_path: Path) -> None:
    """Names like wavelengths are recognized and announced, and can be turned down."""
    rows = "".join(f"{k % 10 / 10},{k % 7 / 7:.4f},{k % 3 / 3:.4f},{'oak' if k % 2 else 'pine'}\n" for k in range(60))
    path = file(tmp_path, "900,902,904,species\n" + rows)
    read = table("csv", path=path, target="species")
    assert (
        read.features == ("900", "902", "904")
        and len(read.y) == 60
        and "if it is a row: header: false" in noticed(read)
    )
    assert len(table("csv", path=path, header=False).y) == 61
    assert "if the first line is a row, set header: false" in refusal("csv", path=path, target="kind")
    bare = table("csv", path=file(tmp_path, rows))
    assert len(bare.y) == 60 and "is a row, because" in noticed(bare)


def test_text_without_a_header(tmp_path: Path) -> None:
    path = file(tmp_path, "".join(f"{'good' if k % 2 else 'bad'},{'red' if k % 3 else 'blue'},x\n" for k in range(50)))
    read = table("csv", path=path, target=0)
    assert len(read.y) == 50 and "if it holds the names of the columns: header: true" in noticed(read)
    twice = table("csv", path=file(tmp_path, "f,f,u\n" + "f,t,v\nt,f,u\n" * 20), target=-1)
    assert len(twice.y) == 41


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    path = file(tmp_path, "a,b,b,y\n" + "".join(f"{k},{k},{2 * k},{'uv'[k % 2]}\n" for k in range(10)))
    read = table("csv", path=path)
    assert read.features == ("a", "b", "b.1") and "two columns are named 'b', so column 2 is 'b.1'" in noticed(read)
    assert table("csv", path=path, drop=[2]).features == ("a", "b") == table("csv", path=path, drop=["b.1"]).features
    assert read.input_format["columns"] == ["a", "b", "b.1", "y"]


def test_long_cells_and_gaps(tmp_path: Path) -> None:
    rows = "".join(f"{k},{'a' * 200_000 if k == 5 else 'b'},{'uv'[k % 2]},{'' if k == 7 else k}\n" for k in range(20))
    read = table("csv", path=file(tmp_path, "x,note,y,z\n" + rows), target="y", drop=["note"])
    assert len(read.y) == 20 and cells(read, "z")[7] is None


def test_separated_by_whitespace(tmp_path: Path) -> None:
    """It is found, also with spaces at the ends of lines, and can be set."""
    rows = "".join(f"  {k}.5   -{k}  {'uv'[k % 2]}{' ' * (k % 3)}\n" for k in range(30))
    read = table("csv", path=file(tmp_path, rows))
    assert cells(read, "0") == [k + 0.5 for k in range(30)] and read.input_format["separator"] == "whitespace"
    assert "the separator is whitespace" in noticed(read) and read.classes == ("u", "v")
    named = file(tmp_path, " a b\ty\n" + rows.replace("   -", "\t-"))
    assert cells(table("csv", path=named, separator="whitespace"), "b") == [-k for k in range(30)]
    assert "line 6 has 2 cells, the first line 3" in refusal("csv", path=file(tmp_path, rows.replace("5.5", "")))
    short = "a b y\n" + "1 2 u\n" * 5 + "1 2 v \n" + "1 2 u\n"
    assert refusal("csv", path=file(tmp_path, short), separator=" ").endswith("separator: whitespace")


def test_lines_around_the_table(tmp_path: Path) -> None:
    comments = table("csv", path=file(tmp_path, "# by me\n" + SMALL))
    assert comments.features == ("a", "b") and "the first line is a comment" in noticed(comments)
    excel = table("csv", path=file(tmp_path, "sep=;\n" + SMALL.replace(",", ";")))
    assert cells(excel, "a") == list(range(10)) and excel.input_format["separator"] == ";"
    title = file(tmp_path, "Trees\n" + SMALL)
    assert refusal("csv", path=title).endswith("if the first line is not part of the table: skip_lines: 1")
    assert table("csv", path=title, skip_lines=1).features == ("a", "b")
    footer = file(tmp_path, SMALL + "Total: 10\nend\n\n")
    assert "if the last lines are not part of the table: skip_footer: 2" in refusal("csv", path=footer)
    assert len(table("csv", path=footer, skip_footer=2).y) == 10
    names = SMALL.replace("\n", "\nr,").removesuffix("r,")
    read = table("csv", path=file(tmp_path, names))
    assert read.features == ("column 0", "a", "b") and cells(read, "a") == list(range(10))


def test_encodings_and_compression_by_content(tmp_path: Path) -> None:
    plain = table("csv", path=file(tmp_path, SMALL))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("t.csv", SMALL)
    for content in (
        SMALL.encode("utf-16"),
        SMALL.encode("utf-16-le"),
        packed.getvalue(),
        gzip.compress(SMALL.encode()),
    ):
        assert fingerprint(table("csv", path=file(tmp_path, content))) == fingerprint(plain)
    chinese = file(tmp_path, "色泽,根蒂,好瓜\n青绿,蜷缩,是\n乌黑,稍蜷,否\n".encode("gbk"))
    assert "it looks like encoding: gb18030, which reads '色泽 根蒂 好瓜'" in refusal("csv", path=chinese)
    assert "remove encoding: utf-8" in refusal("csv", path=file(tmp_path, SMALL.encode("utf-16")), encoding="utf-8")


def test_test_rows_are_read_like_the_others(tmp_path: Path) -> None:
    """The header of a short file of test rows is not guessed anew; a file without the target is refused with advice."""
    path = file(tmp_path, "".join(f"{k},{'uv'[k % 2]}\n" for k in range(30)))
    assert len(table("csv", path=path, test_path=file(tmp_path, "x,u\n", "test.csv"), categorical=[0]).y) == 31
    path, test = (
        file(tmp_path, SMALL),
        file(tmp_path, SMALL.replace(",y\n", "\n").replace(",u\n", "\n").replace(",v\n", "\n"), "test.csv"),
    )
    assert "there is no column 'y', the target, so its rows cannot test a model" in refusal(
        "csv", path=path, test_path=test
    )

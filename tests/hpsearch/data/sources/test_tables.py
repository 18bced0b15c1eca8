"""Tables: text files sound and broken, and what sources of tables have in common."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from table_cases import DATA, cells, people, refusal, table, targets, written

from hpsearch.data.dataset import fingerprint, prepare
from hpsearch.data.frame import Frame
from hpsearch.data.sources import SOURCES
from hpsearch.data.sources.csv import CsvSource
from hpsearch.data.sources.tables import CHUNK_ROWS
from hpsearch.errors import DataError

SMALL = "a,b,y\n" + "".join(f"{k},{k * 1.5},{'uv'[k % 2]}\n" for k in range(10))
KINDS = ("csv", "parquet", "sql")


def many(rows: int = CHUNK_ROWS + 500) -> str:
    return "a,b,y\n" + "".join(f"{k},{k * 1.5},{'uv'[k % 2]}\n" for k in range(rows))


def file(folder: Path, content: str | bytes, name: str = "t.csv") -> str:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder / name)


# --- text files that are sound


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
def test_the_same_table_however_it_is_written(content: tuple[str, str], tmp_path: Path) -> None:
    read = table("csv", path=file(tmp_path, content[1]))
    assert read.features == ("a", "b")
    assert cells(read, "a") == list(range(10)) and cells(read, "b") == [k * 1.5 for k in range(10)]
    assert read.classes == ("u", "v") and targets(read) == ["u", "v"] * 5


def test_packed_and_encoded(tmp_path: Path) -> None:
    packed = table("csv", path=file(tmp_path, gzip.compress(SMALL.encode()), "t.csv.gz"))
    assert fingerprint(packed) == fingerprint(table("csv", path=file(tmp_path, SMALL)))
    latin = table("csv", path=file(tmp_path, "a,y\né,ü\nb,v\n".encode("latin-1")), encoding="latin-1")
    assert cells(latin, "a") == ["é", "b"] and latin.classes == ("v", "ü")
    assert cells(table("csv", path=file(tmp_path, "a;y\n1;u\n2;v\n"), separator=";"), "a") == [1, 2]


def test_quotes_hold_commas_and_lines(tmp_path: Path) -> None:
    read = table("csv", path=file(tmp_path, 'a,y\n"x, y\nz",u\n"say ""hi""",v\n'))
    assert cells(read, "a") == ["x, y\nz", 'say "hi"']


def test_a_header_is_a_line_without_numbers(tmp_path: Path) -> None:
    path = file(tmp_path, "1,x,u\n2,y,v\n")
    assert table("csv", path=path).features == ("0", "1")
    with_header = table("csv", path=path, header=True)
    assert with_header.features == ("1", "x") and len(with_header.y) == 1
    assert len(table("csv", path=file(tmp_path, "k,x,u\nl,y,v\n"), header=False).y) == 2
    assert table("csv", path=file(tmp_path, "a,,y\n1,2,u\n3,4,v\n")).features == ("a", "column 1")


def test_marks_of_missing_cells(tmp_path: Path) -> None:
    """Those of pandas, those that are given, with spaces around them too, and numbers."""
    read = table("csv", path=file(tmp_path, "a,b,y\n1,k,u\n?,?,v\nNA,,u\n ? ,l ,v\n4, ? ,u\n"), missing=["?"])
    assert cells(read, "a") == [1, None, None, None, 4] and cells(read, "b") == ["k", None, None, "l", None]
    assert any("'a' is text that holds only numbers" in notice for notice in read.notices)
    data = pd.DataFrame({"a": [-999, 1, -999.0, 2], "y": ["u", "v", "u", "v"]})
    for kind in KINDS:
        assert cells(table(missing=["-999"], **written(tmp_path, kind, data)), "a") == [None, 1, None, 2]


def test_switches_are_names(tmp_path: Path) -> None:
    read = table("csv", path=file(tmp_path, "a,b,y\nTrue,true,u\nFALSE,no,v\n,false,u\n"))
    assert cells(read, "a") == ["True", "False", None] and cells(read, "b") == ["True", "no", "False"]
    data = pd.DataFrame({"a": [True, False, True], "y": ["u", "v", "u"]})
    assert cells(table(**written(tmp_path, "parquet", data)), "a") == ["True", "False", "True"]


# --- text files that are not


@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
@pytest.mark.parametrize(("line", "count"), [("1,2", 2), ("1,2,3,4", 4)], ids=["short", "long"])
def test_rows_of_unequal_length(far: bool, line: str, count: int, tmp_path: Path) -> None:
    """Also beyond the rows that are read at first, and when sound rows follow; the message has the line."""
    content = many() if far else SMALL
    for end in ("", "7,8,u\n"):
        message = refusal("csv", path=file(tmp_path, f"{content}{line}\n{end}"))
        number = content.count("\n") + 1
        assert message.endswith(f"t.csv: line {number} has {count} cells, the first line 3")


def test_a_short_row_among_cells_that_are_missing(tmp_path: Path) -> None:
    """Where the last column has gaps of its own, in every piece."""
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
def test_broken_text(content: str | bytes, words: str, tmp_path: Path) -> None:
    assert words in refusal("csv", path=file(tmp_path, content))


def test_broken_files(tmp_path: Path) -> None:
    packed = gzip.compress(many().encode())
    assert "there is no such file; a relative" in refusal("csv", path=str(tmp_path / "none.csv"))
    assert "cannot be read: Is a directory" in refusal("csv", path=str(tmp_path))
    assert "Not a gzipped file" in refusal("csv", path=file(tmp_path, SMALL, "t.csv.gz"))
    assert "ended before" in refusal("csv", path=file(tmp_path, packed[: len(packed) // 2], "t.csv.gz"))
    torn = packed[:10] + b"\xff\xff\xff" + packed[13:]
    assert "cannot be read: Error -3" in refusal("csv", path=file(tmp_path, torn, "t.csv.gz"))
    assert "no encoding 'latn'" in refusal("csv", path=file(tmp_path, SMALL), encoding="latn")


def test_files_are_closed(tmp_path: Path) -> None:
    """Also those that are not read to their end: a warning of one that is open is an error here."""
    source = CsvSource.model_validate({"path": file(tmp_path, many()), "target": "y"})
    pieces = source.chunks(frozenset())
    assert len(next(pieces).cells) == CHUNK_ROWS
    del pieces


# --- columns


def test_columns_by_name_and_place(tmp_path: Path) -> None:
    path = file(tmp_path, "a,b,y\n1,2,u\n3,4,v\n")
    for target in ("y", 2, -1):
        assert table("csv", path=path, target=target).features == ("a", "b")
    assert table("csv", path=path, target=-3).features == ("b", "y")
    assert table("csv", path=path, drop=[-2]).features == ("a",)
    assert cells(table("csv", path=path, categorical=[0]), "a") == ["1", "3"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"target": "yy"}, "target: there is no column 'yy'; did you mean 'y'?"),
        ({"target": 3}, "target: there are 3 columns, so a position is from 0 to 2, got 3"),
        ({"target": -4}, "target: there are 3 columns, so a position is from 0 to 2, got -4"),
        ({"drop": ["c"]}, "drop: there is no column 'c'; there is a, b, y"),
        ({"categorical": ["bb"]}, "categorical: there is no column 'bb'; did you mean 'b'?"),
        ({"drop": [-1]}, "target 'y' cannot be dropped"),
        ({"split": {"column": "y"}}, "target 'y' cannot also be split.column"),
        ({"split": {"column": "b"}, "drop": ["b"]}, "split.column 'b' cannot be dropped"),
        ({"split": {"column": "bb"}}, "split.column: there is no column 'bb'; did you mean 'b'?"),
        ({"labels": {"uu": "v"}}, "labels: there is no class 'uu'; did you mean 'u'?"),
        ({"task": "regression"}, "must hold numbers, got 'u' in row 1"),
    ],
    ids=[
        "target",
        "place",
        "negative",
        "drop",
        "categorical",
        "dropped",
        "by",
        "by-dropped",
        "by-none",
        "labels",
        "task",
    ],
)
def test_columns_that_are_not_there(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    assert words in refusal("csv", path=file(tmp_path, SMALL), **settings)


@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
def test_text_where_numbers_were(far: bool, tmp_path: Path) -> None:
    """Also after 50,000 rows of numbers: said where, and both ways out work."""
    content = (many() if far else SMALL) + "x,2.5,u\n"
    path, row = file(tmp_path, content), content.count("\n") - 1
    message = refusal("csv", path=path)
    assert f"column 'a' holds numbers, and text in 1 of {row} rows: 'x' in row {row};" in message
    as_gap = cells(table("csv", path=path, missing=["x"]), "a")
    assert as_gap[:2] == [0, 1] and as_gap[-1] is None
    as_categorical = cells(table("csv", path=path, categorical=["a"]), "a")
    assert as_categorical[:2] == ["0", "1"] and as_categorical[-1] == "x" and len(as_categorical) == row


def test_text_first_and_numbers_later(tmp_path: Path) -> None:
    """Names in the first piece, nothing but numbers in the second: all of them names, written one way."""
    content = "a,y\n" + "x,u\n" * CHUNK_ROWS + "7,v\n" * 5
    read = table("csv", path=file(tmp_path, content))
    assert cells(read, "a")[-1] == "7" and cells(read, "a")[0] == "x"


def test_gaps_in_a_whole_piece(tmp_path: Path) -> None:
    """A column that has nothing in the first 50,000 rows is what the later ones say."""
    for cell in ("1.5", "x"):
        read = table("csv", path=file(tmp_path, "a,b,y\n" + ",1,u\n" * CHUNK_ROWS + f"{cell},2,v\n" * 3))
        assert cells(read, "a")[-4:] == [None, *[float(cell) if cell == "1.5" else cell] * 3]


# --- targets


def test_targets_that_are_missing(tmp_path: Path) -> None:
    message = refusal("csv", path=file(tmp_path, SMALL + "1,2,\n3,4,NaN\n"))
    assert "target 'y' is missing in 2 of 12 rows, first in row 11" in message
    message = refusal("csv", path=file(tmp_path, "a,y\n1,0.5\n2,\n" + "3,0.7\n" * 30), task="regression")
    assert "target 'y' is missing in 1 of 32 rows, first in row 2" in message


def test_a_single_class(tmp_path: Path) -> None:
    source = SOURCES["csv"].model_validate({"path": file(tmp_path, "a,y\n" + "1,u\n2,u\n" * 9), "target": "y"})
    with pytest.raises(DataError, match=r"at least two classes, got 'u' in all 18 rows"):
        prepare(source, 1, tmp_path)


def test_the_task_is_guessed_and_said(tmp_path: Path) -> None:
    rows = "".join(f"{k},{k % 3},{k / 7}\n" for k in range(50))
    path = file(tmp_path, "a,few,real\n" + rows)
    few = table("csv", path=path, target="few")
    assert few.classes == ("0", "1", "2") and "task: classification, because 'few'" in few.notices[0]
    real = table("csv", path=path, target="real")
    assert real.classes == () and "task: regression, because 'real'" in real.notices[0]
    assert real.y.tolist() == [k / 7 for k in range(50)]
    said = table("csv", path=path, target="few", task="regression")
    assert said.classes == () and said.notices == ()
    assert table("csv", path=path, target="a").classes == ()  # 50 whole numbers


def test_classes_in_the_order_of_numbers(tmp_path: Path) -> None:
    read = table("csv", path=file(tmp_path, "a,y\n1,10\n2,9\n3,1.0\n4,b\n"))
    assert read.classes == ("1.0", "9", "10", "b") and targets(read) == ["10", "9", "1.0", "b"]


def test_too_many_classes(tmp_path: Path) -> None:
    """In no time, though there are 30,000 of them."""
    path = file(tmp_path, "a,y\n" + "".join(f"{k},{k + 0.5}\n" for k in range(30_000)))
    message = refusal("csv", path=path, task="classification", labels={"0.5": "0"})
    assert "target 'y' must have at most 1,000 classes, got 30,000; is it task: regression?" in message


# --- test rows apart


def test_columns_of_the_test_in_another_order(tmp_path: Path) -> None:
    """A target that is told by its place is that of the first file; other columns are left out."""
    train = file(tmp_path, "a,b,y\n1,2.5,1\n2,3.5,0\n")
    test = file(tmp_path, "y,more,b,a\n0,9,4.5,3\n1,9,5.5,4\n", "test.csv")
    read = table("csv", path=train, test_path=test)
    assert cells(read, "a") == [1, 2, 3, 4] and cells(read, "b") == [2.5, 3.5, 4.5, 5.5]
    assert targets(read) == ["1", "0", "0", "1"] and read.parts["test"].tolist() == [2, 3]
    assert not any("is text" in notice for notice in read.notices)


def test_test_files_that_do_not_fit(tmp_path: Path) -> None:
    path = file(tmp_path, SMALL)
    lacks = file(tmp_path, "y,b\nu,1\n", "lacks.csv")
    assert refusal("csv", path=path, test_path=lacks).endswith("lacks.csv: there is no column 'a'; there is y, b")
    unknown = file(tmp_path, "a,b,y\n1,2,u.\n", "unknown.csv")
    message = refusal("csv", path=path, test_path=unknown)
    assert (
        "the test rows have a class 'u.' that the other rows do not have" in message and "labels: {'u.': …}" in message
    )
    assert targets(table("csv", path=path, test_path=unknown, labels={"u.": "u"}))[-1] == "u"
    assert "no such file" in refusal("csv", path=path, test_path=str(tmp_path / "none.csv"))
    assert "holds no rows" in refusal("csv", path=path, test_path=file(tmp_path, "a,b,y\n", "bare.csv"))
    message = refusal("csv", path=path, test_path=path, split={"column": "a"})
    assert "split.column 'a' names the test rows, so there must be no separate test rows" in message


def test_names_that_training_has_not(tmp_path: Path) -> None:
    """They have 0 in every column of names."""
    train = file(tmp_path, "a,y\n" + "p,u\nq,v\n" * 20)
    test = file(tmp_path, "a,y\nr,u\np,v\n", "test.csv")
    source = SOURCES["csv"].model_validate({"path": train, "test_path": test, "target": "y"})
    dataset, _ = prepare(source, 1, tmp_path)
    rows = dataset.part("test")
    assert rows is not None and dataset.inputs == (2,)
    assert sorted(rows.x.tolist()) == [[0, 0], [1, 0]]


# --- rows for what, by a column


def test_a_column_says_which_rows_are_for_what(tmp_path: Path) -> None:
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
    assert message.endswith("column 'for': no row is train")
    message = refusal("csv", path=file(tmp_path, content.replace("6,test", "6,")), split={"column": "for"})
    assert "row 7 must be train, val or test, got ''" in message


# --- the same table through every source


@pytest.mark.parametrize("test", [False, True], ids=["one", "apart"])
def test_every_source_gives_the_same_rows(test: bool, tmp_path: Path) -> None:
    """To the bit: as read, and as prepared; of 1-ulp neighbours too, which a careless reading of text would join."""
    data, later = people(300), people(80, seed=4)
    data["near"] = [np.nextafter(0.1, 1) if k % 2 else 0.1 for k in range(300)]
    later["near"] = np.linspace(0, 1, 80)
    found = {}
    for kind in KINDS:
        settings = {**written(tmp_path, kind, data), "target": "income"}
        if test:
            apart = written(tmp_path, kind, later, "later")
            if kind == "sql":  # one database holds both
                apart = written(tmp_path, kind, pd.concat([data, later]), "both")
                order = "FROM both WHERE rowid"
                settings |= {"url": apart["url"], "query": f"SELECT * {order} <= 300 ORDER BY rowid"}
                settings["test_query"] = f"SELECT * {order} > 300 ORDER BY rowid"
            else:
                settings["test_path"] = apart["path"]
        source = SOURCES[settings["source"]].model_validate(settings)
        folder = tmp_path / kind
        folder.mkdir()
        dataset, _ = prepare(source, 1, folder)
        files = [(p.name, p.read_bytes()) for p in sorted(folder.glob("*.npy"))]
        found[kind] = (fingerprint(source.load()), dataset.inputs, dataset.rows, files)
        assert len(files) == 6
    assert found["csv"] == found["parquet"] == found["sql"]


# --- sensible treatment that is said


def test_what_is_said_of_columns(tmp_path: Path) -> None:
    rows = "".join(f"{k},same,3,,w{k},{'uv'[k % 2]}\n" for k in range(10_000))
    path = file(tmp_path, "a,const,three,none,who,y\n" + rows)
    dataset, _ = prepare(SOURCES["csv"].model_validate({"path": path, "target": "y"}), 1, tmp_path)
    said = "\n".join(dataset.notices)
    for words in (
        "column 'const' is the same in all rows",
        "column 'three' is the same in all rows",
        "column 'none' is empty: it becomes 0",
        "column 'who' has 10,000 categories",
        "task: classification",
    ):
        assert words in said
    assert len(dataset.notices) == 5
    x = dataset.part("train")
    assert x is not None and np.isfinite(x.x).all()
    assert dataset.inputs == (2 + 2 + 1 + 100,)  # a, three; none and its flag; const; who: 99 and the others
    assert (x.x[:, 1] == 0).all() and (x.x[:, 2] == 0).all()


def test_no_column_is_left(tmp_path: Path) -> None:
    source = SOURCES["csv"].model_validate({"path": file(tmp_path, SMALL), "target": "y", "drop": ["a", "b"]})
    with pytest.raises(DataError, match="the table must have rows and feature columns"):
        prepare(source, 1, tmp_path)


def test_settings_are_checked(tmp_path: Path) -> None:
    wrongs = (
        {"separator": ",,"},
        {"decimal": ""},
        {"path": ""},
        {"target": 1.5},
        {"min_frequency": 0},
        {"max_categories": 1},
        {"missing": "?"},
    )
    for wrong in (*wrongs, {"image": [1, 1, 2]}):
        with pytest.raises(ValidationError):
            CsvSource.model_validate({"path": "x.csv", "target": 0, **wrong})
    with pytest.raises(ValidationError):
        CsvSource.model_validate({"path": "x.csv"})


# --- the real ones


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}")
def test_adult() -> None:
    """Spaces after commas, ? for missing, labels that end in a dot in the test file."""
    paths = {"path": str(DATA / "adult-train.csv"), "test_path": str(DATA / "adult-test.csv")}
    assert "the test rows have a class '<=50K.'" in refusal("csv", **paths, missing=["?"])
    labels = {"<=50K.": "<=50K", ">50K.": ">50K"}
    read = table("csv", **paths, missing=["?"], labels=labels)
    assert isinstance(read.x, Frame) and len(read.y) == 48_842 and read.classes == ("<=50K", ">50K")
    assert len(read.parts["test"]) == 16_281 and round(float(read.y[:32_561].mean()), 4) == 0.2408
    gaps = np.any([c.missing for c in read.x.columns.values()], axis=0)
    assert gaps[:32_561].sum() == 2_399 and gaps[32_561:].sum() == 1_221
    assert [n for n, c in read.x.columns.items() if c.categories is None] == ["0", "2", "4", "10", "11", "12"]


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}")
def test_the_other_real_ones() -> None:
    california = table("csv", path=str(DATA / "california.csv"), target="median_house_value")
    assert isinstance(california.x, Frame) and len(california.y) == 20_640 and california.classes == ()
    assert california.x.columns["total_bedrooms"].missing.sum() == 207
    titanic = table("csv", path=str(DATA / "titanic.csv"), target="survived", drop=["alive"])
    assert isinstance(titanic.x, Frame) and titanic.classes == ("0", "1") and "alive" not in titanic.features
    assert sum(c.missing.sum() for c in titanic.x.columns.values()) == 869
    german = table("csv", path=str(DATA / "german.csv"))
    assert isinstance(german.x, Frame) and german.classes == ("1", "2")
    assert sum(c.categories is not None for c in german.x.columns.values()) == 13
    assert table("csv", path=str(DATA / "phoneme.csv")).classes == ("0", "1")

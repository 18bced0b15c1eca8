"""Table sources: columns by name and position, separate test rows, and the same table from every source."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from table_cases import DATA, KINDS, cells, people, refusal, table, targets, written

from hpsearch.data.dataset import fingerprint, prepare
from hpsearch.data.frame import CHUNK_ROWS, Frame
from hpsearch.data.sources import SOURCES
from hpsearch.data.sources.csv import CsvSource
from hpsearch.data.splits import with_split_file
from hpsearch.errors import DataError
from tests.hpsearch.data.sources.test_csv import SMALL, file

# --- columns


def test_columns_by_name_and_position(tmp_path: Path) -> None:
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
def test_unknown_columns(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    assert words in refusal("csv", path=file(tmp_path, SMALL), **settings)


def test_a_column_that_is_missing_in_a_whole_chunk(tmp_path: Path) -> None:
    """The type of a column that is missing in the first 50,000 rows comes from later rows."""
    for cell in ("1.5", "x"):
        read = table("csv", path=file(tmp_path, "a,b,y\n" + ",1,u\n" * CHUNK_ROWS + f"{cell},2,v\n" * 3))
        assert cells(read, "a")[-4:] == [None, *[float(cell) if cell == "1.5" else cell] * 3]


# --- targets


def test_the_task_is_guessed_and_reported(tmp_path: Path) -> None:
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


# --- separate test rows


def test_test_file_with_other_column_order(tmp_path: Path) -> None:
    """A target given by position refers to the first file; additional columns are ignored."""
    train = file(tmp_path, "a,b,y\n1,2.5,1\n2,3.5,0\n")
    test = file(tmp_path, "y,more,b,a\n0,9,4.5,3\n1,9,5.5,4\n", "test.csv")
    read = table("csv", path=train, test_path=test)
    assert cells(read, "a") == [1, 2, 3, 4] and cells(read, "b") == [2.5, 3.5, 4.5, 5.5]
    assert targets(read) == ["1", "0", "0", "1"] and read.parts["test"].tolist() == [2, 3]
    assert not any("is text" in notice for notice in read.notices)


def test_invalid_test_files(tmp_path: Path) -> None:
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


def test_categories_only_in_test_rows(tmp_path: Path) -> None:
    """All columns of the encoding are 0 for them."""
    train = file(tmp_path, "a,y\n" + "p,u\nq,v\n" * 20)
    test = file(tmp_path, "a,y\nr,u\np,v\n", "test.csv")
    source = SOURCES["csv"].model_validate({"path": train, "test_path": test, "target": "y"})
    dataset, _ = prepare(source, 1, tmp_path)
    rows = dataset.part("test")
    assert rows is not None and dataset.inputs == (2,)
    assert sorted(rows.x.tolist()) == [[0, 0], [1, 0]]


# --- the same table through every source


@pytest.mark.parametrize("test", [False, True], ids=["one", "apart"])
def test_every_source_gives_the_same_rows(test: bool, tmp_path: Path) -> None:
    """Rows are equal to the bit before and after preprocessing, also for floats that differ by 1 ulp."""
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


# --- notices


def test_notices_about_columns(tmp_path: Path) -> None:
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
    assert dataset.inputs == (
        2 + 2 + 1 + 100,
    )  # a, three; none and its flag; const; who: 99 categories and the shared column
    assert (x.x[:, 1] == 0).all() and (x.x[:, 2] == 0).all()


def test_no_feature_column(tmp_path: Path) -> None:
    source = SOURCES["csv"].model_validate({"path": file(tmp_path, SMALL), "target": "y", "drop": ["a", "b"]})
    with pytest.raises(DataError, match="the table must have rows and feature columns"):
        prepare(source, 1, tmp_path)


def test_invalid_settings(tmp_path: Path) -> None:
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


# --- public data sets


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}")
def test_adult() -> None:
    """The files have spaces after commas, ? for missing cells, and labels that end in a dot in the test file."""
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
def test_other_public_data_sets() -> None:
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


def test_truth_values_are_categories(tmp_path: Path) -> None:
    read = table("csv", path=file(tmp_path, "a,b,y\nTrue,true,u\nFALSE,no,v\n,false,u\n"))
    assert cells(read, "a") == ["True", "False", None] and cells(read, "b") == ["True", "no", "False"]
    data = pd.DataFrame({"a": [True, False, True], "y": ["u", "v", "u"]})
    assert cells(table(**written(tmp_path, "parquet", data)), "a") == ["True", "False", "True"]


# --- categories as written


def test_numbers_that_are_categories_are_read_as_written(tmp_path: Path) -> None:
    codes = ["7", "07", "3.1", "3.10", str(10**18 + 1), str(10**18 + 2), "", "true"]
    rows = "".join(f"{code},{k},{'uv'[k % 2]}\n" for k, code in enumerate(codes))
    read = table("csv", path=file(tmp_path, f"code,a,y\n{rows}"), categorical=["code"])
    assert cells(read, "code") == [*codes[:6], None, "True"]
    rows = "".join(f"{code};{k};{'uv'[k % 2]}\n" for k, code in enumerate(["-1", "07", "7", "8"]))
    path = file(tmp_path, f"code;a;y\n{rows}")
    read = table("csv", path=path, separator=";", categorical=[0], missing=["-1"])
    assert cells(read, "code") == [None, "07", "7", "8"]
    data = pd.DataFrame({"code": [10**18 + 1, 10**18 + 2, 7, 7], "a": [1, 2, 3, 4], "y": ["u", "v"] * 2})
    for kind in ("parquet", "sql"):
        read = table(**written(tmp_path, kind, data), categorical=["code"])
        assert cells(read, "code") == [str(10**18 + 1), str(10**18 + 2), "7", "7"]


# --- splits that follow a column


def visits(kind: str = "csv") -> pd.DataFrame:
    """Return 40 rows of 10 patients on 40 days, in no order; the last days come first."""
    days = pd.Timestamp("2021-03-01") - pd.to_timedelta(np.arange(40), "D")
    when: Any = pd.Series(days) if kind == "parquet" else days.strftime("%Y-%m-%d")
    patient = [f"{k % 10:03d}" for k in range(40)]
    return pd.DataFrame({"when": when, "patient": patient, "a": np.arange(40) / 7, "y": ["u", "v"] * 20})


@pytest.mark.parametrize("kind", KINDS)
def test_splits_by_time_and_by_group_from_every_source(kind: str, tmp_path: Path) -> None:
    settings = {**written(tmp_path, kind, visits(kind)), "target": "y"}
    for split in ({"by": "when"}, {"by": 0, "folds": 3}, {"groups": "patient"}, {"groups": 1, "folds": 3}):
        drop = ["when"] if "groups" in split else []  # times of Parquet are no features
        source = SOURCES[settings["source"]].model_validate({**settings, "split": split, "drop": drop})
        read = source.load()
        name = "when" if "by" in split else "patient"
        assert name not in read.features and "a" in read.features  # it is not a feature unless asked for
        (tmp_path / str(split)).mkdir()
        dataset, _ = prepare(source, 7, tmp_path / str(split))
        again, _ = prepare(source, 7, tmp_path / str(split))
        assert dataset.rows == again.rows and dataset.fingerprint == again.fingerprint
        notice = next(notice for notice in dataset.notices if notice.startswith("split "))
        assert f"'{name}'" in notice
        if split == {"by": "when"}:
            assert "train 24 rows from 2021-01-21 to 2021-02-13" in notice and "to 2021-03-01" in notice


def test_the_column_of_a_split_as_a_feature(tmp_path: Path) -> None:
    path = file(tmp_path, "year,g,a,y\n" + "".join(f"{2000 + k},0{k % 3},{k},{'uv'[k % 2]}\n" for k in range(12)))
    read = table("csv", path=path, split={"by": "year", "as_feature": True})
    assert read.features == ("year", "g", "a") and cells(read, "year")[:2] == [2000, 2001]
    assert not any("'year' is text" in notice for notice in read.notices)
    assert table("csv", path=path, split={"groups": "g"}).order.groups == ("00", "01", "02")  # type: ignore[union-attr]
    assert table("csv", path=path, split={"by": "year"}, drop=["year"]).features == ("g", "a")


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"by": "aa"}, "split.by: there is no column 'aa'; did you mean 'a'?"),
        ({"groups": "y"}, "target 'y' cannot also be split.groups"),
        ({"by": "b"}, "split.by: column 'b' is missing in 1 of 2 rows"),
    ],
    ids=["unknown", "target", "missing"],
)
def test_columns_that_cannot_split(split: dict[str, Any], words: str, tmp_path: Path) -> None:
    assert words in refusal("csv", path=file(tmp_path, "a,b,y\n1,,u\n3,4,v\n"), split=split)


def test_test_rows_and_splits_by_a_column(tmp_path: Path) -> None:
    data = visits()
    train, test = data.iloc[10:], data.iloc[:10]
    settings = written(tmp_path, "csv", train) | {"test_path": written(tmp_path, "csv", test, "test")["path"]}
    source = CsvSource.model_validate({**settings, "target": "y", "split": {"by": "when", "train": 0.8, "val": 0.2}})
    dataset, _ = prepare(source, 0, tmp_path)
    assert dict(dataset.rows) == {"train": 24, "val": 6, "test": 10}
    source = CsvSource.model_validate({**settings, "target": "y", "split": {"groups": "patient"}})
    with pytest.raises(DataError, match="must not share a group of 'patient', but they share 10 groups"):
        prepare(source, 0, tmp_path)


def test_settings_of_a_split_need_its_column() -> None:
    for split in (
        {"date_format": "%d/%m/%Y"},
        {"as_feature": True},
        {"by": "a", "groups": "b"},
        {"by": "a", "file": "f"},
    ):
        with pytest.raises(ValidationError, match=r"which is missing|already determines the split"):
            CsvSource.model_validate({"source": "csv", "path": "x", "target": "y", "split": split})


# --- rows without cells or without a target


def test_empty_rows_are_skipped(tmp_path: Path) -> None:
    """Spreadsheets leave lines of separators; a split file still counts them."""
    body = "a;b;y\n1;2;u\n;;\n3;4;v\n5;;u\n;;\n;;\n"
    settings: dict[str, Any] = {"path": file(tmp_path, body), "separator": ";"}
    read = table("csv", **settings)
    assert targets(read) == ["u", "v", "u"] and cells(read, "b") == [2, 4, None]
    assert "3 empty rows skipped" in read.notices
    (tmp_path / "parts").write_text("train\nval\ntest\nval\nval\nval\n")
    source = CsvSource.model_validate(
        {"source": "csv", "target": "y", **settings, "split": {"file": str(tmp_path / "parts")}}
    )
    fixed = with_split_file(source.load(), source.split)
    assert {part: rows.tolist() for part, rows in fixed.parts.items()} == {"train": [0], "val": [2], "test": [1]}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_without_a_target_can_be_left_out(kind: str, tmp_path: Path) -> None:
    data = visits()
    data.loc[[0, 7, 8], "y"] = None
    settings = written(tmp_path, kind, data) | {"target": "y"}
    assert "missing in 3 of 40 rows" in (message := refusal(**settings)) and "missing_target: drop" in message
    read = table(**settings, missing_target="drop", split={"groups": "patient"})
    assert len(read.y) == 37 and cells(read, "a")[0] == 1 / 7
    assert "3 rows without a target left out (missing_target: drop)" in read.notices
    assert read.order is not None and [read.order.label(k) for k in (0, 6)] == ["001", "009"]


def test_test_rows_without_a_target_can_be_left_out(tmp_path: Path) -> None:
    paths = {"path": file(tmp_path, SMALL), "test_path": file(tmp_path, "a,b,y\n5,6,\n7,8,u\n", "test.csv")}
    read = table("csv", **paths, missing_target="drop")
    assert read.parts["test"].tolist() == [len(read.y) - 1] and targets(read)[-1] == "u"

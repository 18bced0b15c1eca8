"""`hpsearch init`: the study files that it writes load, contain what was found in the table, and run."""

import gzip
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
from table_cases import DATA

from hpsearch import cli
from hpsearch.config.document import read_document
from hpsearch.config.load import load_spec
from hpsearch.config.spec import Spec
from hpsearch.config.starter import write_study_file
from hpsearch.core.space import Range
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.data.sources.tables import TableSource
from hpsearch.errors import DataError, OutputError

Call = Callable[..., tuple[int, str, str]]
HOSTILE = (
    'a: b\n  evil: 1 # "x"',
    "yes",
    "null",
    "~",
    "12",
    "- x",
    "{a: 1}",
    "[b]",
    "&a *a !!python/object:os.system",
    "üñí 😀 名前",
    "'\"\\",
    "%YAML 1.1",
    "\x1b[31mred",
    "\u202eback",
    "a\u2028b\x85c",
    "---",
    "<<",
    "=",
    "tab\tname",
)


def table(rows: int = 60, **more: Any) -> pd.DataFrame:
    generator = np.random.default_rng(2)
    x = generator.normal(size=(rows, 2)).round(3)
    y = more.pop("y", np.where(x.sum(axis=1) > 0, "up", "down"))
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], **more, "y": y})


def written(folder: Path, data: Path | pd.DataFrame | str | bytes, target: str | None = "y", **more: Any) -> Spec:
    """Write the study file for a table and return its spec."""
    if isinstance(data, pd.DataFrame):
        data.to_csv(folder / "t.csv", index=False)
    elif isinstance(data, str | bytes):
        (folder / "t.csv").write_bytes(data.encode() if isinstance(data, str) else data)
    path = data if isinstance(data, Path) else folder / "t.csv"
    out = folder / "t.yaml"
    write_study_file(path, target, out, more.get("test"), more.get("task"), force=True)
    return load_spec(out)[0]


def source(spec: Spec) -> TableSource:
    assert isinstance(spec.data, TableSource)
    return spec.data


def prepared(spec: Spec, folder: Path) -> Dataset:
    from hpsearch.config.references import preprocessing_values

    (folder / "prepared").mkdir()
    return prepare(spec.data, spec.seed, folder / "prepared", preprocessing_values(spec))[0]


def comments(folder: Path) -> str:
    return (folder / "t.yaml").read_text("utf-8")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Return a function that calls the command in this process in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def hpsearch(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hpsearch", *map(str, arguments)])
        capsys.readouterr()
        code: Any = 0
        try:
            cli.main(executor="inline")
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return hpsearch


def given_file(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


# --- real tables


def test_baselines_are_asked_for(tmp_path: Path) -> None:
    assert written(tmp_path, table()).baselines


def test_a_guess_of_the_learning_rate(tmp_path: Path) -> None:
    """Adam's usual learning rate, in the middle of the range on its scale."""
    rate = written(tmp_path, table()).parameters["learning_rate"]
    assert isinstance(rate, Range) and rate.guess is not None and rate.scale == "log"
    assert 0.3 < math.log(rate.guess / rate.min) / math.log(rate.max / rate.min) < 0.7


def test_titanic(tmp_path: Path) -> None:
    spec = written(tmp_path, given_file("titanic.csv"), "survived")
    data = source(spec)
    assert (data.target, data.task, data.drop, data.categorical) == ("survived", "classification", ("alive",), ())
    assert data.missing is None and data.split is not None and (data.split.folds, data.split.test) == (5, 0.2)
    assert spec.metric.name == "val/loss"
    assert "- alive  # equivalent to the target" in comments(tmp_path)
    assert "# categorical: [pclass, sibsp, parch]" in comments(tmp_path)
    assert prepared(spec, tmp_path).folds == 5


def test_adult(tmp_path: Path) -> None:
    spec = written(tmp_path, given_file("adult-train.csv"), "-1", test=given_file("adult-test.csv"))
    data = source(spec)
    assert (data.target, data.missing, data.drop) == (14, ("?",), ())
    assert data.labels == {"<=50K.": "<=50K", ">50K.": ">50K"}
    assert getattr(data, "header", None) is False
    assert spec.metric.name == "val/accuracy"
    rows = dict(prepared(spec, tmp_path).rows)
    assert rows == {"train": 29305, "val": 3256, "test": 16281}


@pytest.mark.parametrize(
    ("name", "target", "task", "metric", "folds"),
    [
        ("california", "median_house_value", "regression", "val/rmse", None),
        ("german", "-1", "classification", "val/loss", 5),
        ("phoneme", "5", "classification", "val/loss", None),
    ],
)
def test_other_tables(name: str, target: str, task: str, metric: str, folds: int | None, tmp_path: Path) -> None:
    spec = written(tmp_path, given_file(f"{name}.csv"), target)
    data = source(spec)
    assert (data.task, data.drop, data.missing, data.labels) == (task, (), None, {})
    assert spec.metric.name == metric and data.split is not None and data.split.folds == folds
    assert len(prepared(spec, tmp_path).rows) == 3


@pytest.mark.parametrize(("name", "target"), [("titanic", "survived"), ("german", "-1")])
def test_it_runs(name: str, target: str, call: Call, tmp_path: Path) -> None:
    code, out, err = call("init", given_file(f"{name}.csv"), "--target", target)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"Run it: hpsearch run {name}.yaml"
    assert 4 <= len(out.splitlines()) <= 9 and "classification" in out
    few: dict[str, Any] = {"stages.0.trials": 3, "stages.1.trials": 2, "stages.2.top": 1, "stages.2.seeds": 2}
    few |= {"train.epochs": 12}
    few |= {} if name == "titanic" else {"baselines": "false"}  # once is enough
    changed = [word for key, value in few.items() for word in ("--set", f"{key}={value}")]
    code, out, err = call("run", f"{name}.yaml", "--tracking-uri", "none", *changed)
    assert code == 0, err
    assert "Best: " in out and "test/accuracy" in out and (tmp_path / f"{name}.db").exists()


# --- what is found in the table


def test_markers_are_missing_cells(tmp_path: Path) -> None:
    cells = table(
        size=["?" if k % 9 == 0 else str(k * 1.5) for k in range(60)],
        dose=["-" if k % 11 == 0 else str(k % 7) for k in range(60)],
        sex=["?" if k % 13 == 0 else "mf"[k % 2] for k in range(60)],
        wild=[np.inf if k == 7 else k / 7 for k in range(60)],
    )
    spec = written(tmp_path, cells)
    assert set(source(spec).missing) == {"?", "-", "inf"}
    prepared(spec, tmp_path)


def test_categories_of_other_columns_are_no_markers(tmp_path: Path) -> None:
    """Here + and - are classes; M is a category of one column and occurs among numbers of another."""
    cells = table(
        dose=["-" if k % 11 == 0 else str(k % 7) for k in range(60)],
        size=["M" if k % 9 == 0 else str(k % 50) for k in range(60)],
        sex=["M" if k % 2 else "F" for k in range(60)],
        y=["+-"[k % 2] for k in range(60)],
    )
    spec = written(tmp_path, cells)
    assert source(spec).missing is None
    assert source(spec).categorical == ("dose", "size")
    assert prepared(spec, tmp_path).classes == ("+", "-")


@pytest.mark.parametrize(
    ("cells", "why"),
    {
        "constant": ([7] * 60, "the same in all rows"),
        "constant-name": (["x"] * 60, "the same in all rows"),
        "empty": ([None] * 60, "all cells are missing"),
        "names": ([f"n{k}" for k in range(60)], "different in almost every row"),
        "row": (list(range(1, 61)), "row number"),
        "other-words": (["no" if k % 3 else "yes" for k in range(60)], "equivalent to the target"),
    }.values(),
)
def test_columns_that_are_dropped(cells: list[Any], why: str, tmp_path: Path) -> None:
    spec = written(tmp_path, table(odd=cells, y=["l" if k % 3 else "r" for k in range(60)]))
    assert source(spec).drop == ("odd",)
    assert f"- odd  # {why}\n" in comments(tmp_path)


def test_numeric_codes_are_categorical(tmp_path: Path) -> None:
    spec = written(tmp_path, table(rooms=[k % 4 for k in range(60)], zip_code=[1000 + k % 6 for k in range(60)]))
    assert source(spec).categorical == ("zip_code",)
    assert "# categorical: [rooms]" in comments(tmp_path)


def test_the_task_is_given(tmp_path: Path) -> None:
    spec = written(tmp_path, table(y=[k % 2 for k in range(60)]), task="regression")
    assert source(spec).task == "regression" and spec.metric.name == "val/rmse"


# --- file formats


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("header", [True, False])
def test_separators(separator: str, header: bool, tmp_path: Path) -> None:
    text = table(w=["p;q, r|s", "t"] * 30).to_csv(index=False, sep=separator, header=header)
    spec = written(tmp_path, text, "-1")
    assert (getattr(spec.data, "separator", None), getattr(spec.data, "header", None)) == (separator, header)
    assert source(spec).target == ("y" if header else 3)


def test_compression_and_encoding(tmp_path: Path) -> None:
    text = table(town=["Köln", "Bern", "Genf"] * 20).to_csv(index=False)
    spec = written(tmp_path, text.encode("latin-1"))
    assert getattr(spec.data, "encoding", None) == "latin-1"
    packed = tmp_path / "p.csv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert getattr(written(tmp_path, packed).data, "encoding", "") is None


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table(when=pd.date_range("2020", periods=60), kind=pd.Categorical(["1", "2"] * 30)).to_parquet(path)
    spec = written(tmp_path, path)
    assert (source(spec).source, source(spec).drop) == ("parquet", ("when",))
    prepared(spec, tmp_path)


NUMBERS = {
    "dollars": ([f"${k * 5}.00" for k in range(60)], {"strip": ("$",)}),
    "grouped": ([f"{k % 3},{k:03}" if k % 3 else str(k) for k in range(60)], {"thousands": ","}),
    "euros": ([f"{k}.{k:03},50 €" for k in range(1, 61)], {"decimal": ",", "thousands": ".", "strip": ("€",)}),
    "negative": ([f"({k}.5)" if k % 2 else f"{k}" for k in range(60)], {"strip": ("()",)}),
    "percent": ([f"{k * 7 % 60} %" for k in range(60)], {"strip": ("%",)}),
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("target", ["y", "amount"])
def test_numbers_in_other_notations(name: str, target: str, tmp_path: Path) -> None:
    """Columns of any number of distinct values are read as numbers, features and targets alike."""
    cells, expected = NUMBERS[name]
    data = table(amount=cells)
    if "decimal" in expected:
        data = (100 * data[["a", "b"]]).astype(int).join(data[["amount", "y"]])  # no points in other columns
    spec = written(tmp_path, data, target)
    assert {key: getattr(spec.data, key) for key in expected} == expected and not source(spec).drop
    assert source(spec).task == ("regression" if target == "amount" else "classification")
    read = source(spec).load()
    values = read.y if target == "amount" else read.x.columns["amount"].values  # type: ignore[union-attr]
    assert values.dtype == float and len(np.unique(values)) == len(set(cells))


def test_numbers_that_cannot_be_read(call: Call, tmp_path: Path) -> None:
    """Several units are reported, and not taken for classes."""
    data = table(weight=[f"{k}.5 {'kg' if k % 2 else 'lb'}" for k in range(60)])
    written(tmp_path, data)
    assert "  # numbers in a format other than 1234.5\n" in comments(tmp_path)
    data.to_csv(tmp_path / "t.csv", index=False)
    code, _, err = call("init", "t.csv", "--target", "weight", "--force")
    assert code == 2 and "looks like numbers in several units" in err and "--task classification" in err
    assert call("init", "t.csv", "--target", "y", "--force")[1].count("warning:  weight: numbers in a format") == 1


def test_the_header_is_given_or_guessed(call: Call, tmp_path: Path) -> None:
    rows = "".join(f"{k % 7 / 7:.3f},{k % 5 / 5:.3f},{'oak' if k % 2 else 'elm'}\n" for k in range(60))
    (tmp_path / "t.csv").write_text("900,905,species\n" + rows)
    code, out, _ = call("init", "t.csv", "--target", "species")
    assert code == 0 and "note:     the first line (900, 905, species) holds the names" in out and "--no-header" in out
    assert call("init", "t.csv", "--target", "-1", "--no-header", "--force")[0] == 0
    assert source(load_spec(tmp_path / "t.yaml")[0]).input_format()["header"] is False
    (tmp_path / "u.csv").write_text("0.1,0.2,oak\n" + rows)
    assert "if the first line holds the names of the columns: --header" in call("init", "u.csv", "--target", "y")[2]
    assert call("init", "u.csv", "--target", "oak", "--header")[0] == 0


def test_the_encoding_is_given_or_guessed(call: Call, tmp_path: Path) -> None:
    rows = "".join(f"{k % 7},{'青绿' if k % 3 else '乌黑'},{'是' if k % 2 else '否'}\n" for k in range(60))
    (tmp_path / "t.csv").write_bytes(f"编号,色泽,好瓜\n{rows}".encode("gbk"))
    code, out, _ = call("init", "t.csv", "--target", "好瓜")
    assert code == 0 and "the encoding is probably gb18030, which reads '编号 色泽 好瓜'" in out
    (tmp_path / "u.csv").write_bytes(
        f"a,b,y\n{rows}".replace("青绿", "é")
        .replace("乌黑", "ü")
        .replace("是", "1")
        .replace("否", "0")
        .encode("latin-1")
    )
    err = call("init", "u.csv", "--target", "y")[2]
    assert "is not UTF-8 text; name its encoding with --encoding; these are plausible" in err and "latin-1 (ü é)" in err
    assert call("init", "u.csv", "--target", "y", "--encoding", "latin-1")[0] == 0
    assert (
        "there is no encoding 'klingon'"
        in call("init", "u.csv", "--target", "y", "--encoding", "klingon", "--force")[2]
    )


def test_links_in_a_circle(call: Call, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n1,2\n")
    (tmp_path / "loop").symlink_to("loop")
    for data, out in (("loop", "x.yaml"), ("t.csv", "loop")):
        code, _, err = call("init", data, "--target", "y", "--out", out)
        assert code == 2 and err.startswith("error: ") and len(err.splitlines()) == 1


def test_lines_around_the_table_and_whitespace(tmp_path: Path) -> None:
    rows = "".join(f" {k % 7 / 7:.3f}   {k % 5} {'uv'[k % 2]}{' ' * (k % 2)}\n" for k in range(60))
    spec = written(tmp_path, f"% by me\n{rows}", "-1")
    assert getattr(spec.data, "separator", "") == "whitespace" and source(spec).target == 2
    rows = "".join(f"{k % 7 / 7:.3f},{k % 5},{'uv'[k % 2]}\n" for k in range(60))
    spec = written(tmp_path, f"Trees of 2020\n\na,b,y\n{rows}Total: 60\n")
    assert (getattr(spec.data, "skip_lines", 0), getattr(spec.data, "skip_footer", 0)) == (2, 1)


# --- names


def test_output_is_printable(call: Call, tmp_path: Path) -> None:
    name = "\x1b[31m\u202ered\nname: evil"
    cells = table(**{name: ["same"] * 60}).rename(columns={"y": "t\x1b]0;x\x07"})
    cells.to_csv(tmp_path / "a b\x1b.csv", index=False)
    code, out, err = call("init", "a b\x1b.csv", "--target", "-1")
    assert (code, err) == (0, "")
    assert all(line.isprintable() for line in out.splitlines())
    spec = load_spec(tmp_path / "a b\x1b.yaml")[0]
    assert spec.name == "a-b" and source(spec).drop == (name,) and source(spec).target == "t\x1b]0;x\x07"


# --- refusals


@pytest.mark.parametrize(
    ("content", "target", "fragments"),
    {
        "no-file": (None, "y", ["t.csv", "no such file"]),
        "empty": ("", "y", ["is empty"]),
        "no-rows": ("a,b,y\n", "y", ["holds no rows"]),
        "no-target": ("a,b,y\n1,2,3\n", None, ["--target", "'a', 'b', 'y'", "perhaps --target 'y'"]),
        "many-columns": (",".join(f"c{k}" for k in range(99)) + "\n", None, ["… and 69 more", "--target 'c98'"]),
        "misspelt": ("a,size,y\n1,2,3\n", "szie", ["no column 'szie'", "did you mean 'size'?"]),
        "place": ("a,b,y\n1,2,3\n", "3", ["there are 3 columns", "from 0 to 2"]),
        "one-column": ("y\na\nb\na\nb\n", "y", ["no column to learn from"]),
        "all-dropped": ("a,y\n" + "1,p\n1,q\n" * 20, "y", ["no column to learn from", "'a' (the same in all rows)"]),
        "constant": ("a,y\n1,p\n2,p\n3,p\n", "y", ["target 'y' is 'p' in all 3 rows"]),
        "constant-number": ("a,y\n1,0.5\n2,0.5\n", "y", ["target 'y' is '0.5' in all 2 rows"]),
        "ragged": ("a,b,y\n1,2,p\n1,2\n", "y", ["line 3 has 2 cells, the first line 3"]),
        "few": ("a,y\n1,p\n2,q\n", "y", ["data"]),
    }.values(),
)
def test_refused(content: str | None, target: str | None, fragments: list[str], call: Call, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "t.csv").write_text(content)
    code, out, err = call("init", "t.csv", *(["--target", target] if target else []))
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and len(err.splitlines()) == 1
    assert all(fragment in err for fragment in fragments), err
    assert not (tmp_path / "t.yaml").exists()


def test_the_wrong_task(call: Call, tmp_path: Path) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    code, _, err = call("init", "t.csv", "--target", "y", "--task", "regression")
    assert (code == 2 and "must hold numbers, got 'down'" in err) or "got 'up'" in err
    assert call("init", "t.csv", "--target", "y", "--task", "ranking")[0] == 2


def test_nothing_is_overwritten(call: Call, tmp_path: Path) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "t.yaml").write_text("mine")
    code, _, err = call("init", "t.csv", "--target", "y")
    assert code == 2 and "--force" in err and (tmp_path / "t.yaml").read_text() == "mine"
    assert call("init", "t.csv", "--target", "y", "--force")[0] == 0
    assert call("init", "t.csv", "--target", "y", "--out", "other.yaml")[0] == 0
    assert (tmp_path / "other.yaml").read_text().count("name: other") == 1
    before = (tmp_path / "t.csv").read_bytes()
    assert call("init", "t.csv", "--target", "y", "--out", "t.csv", "--force")[0] == 2
    assert (tmp_path / "t.csv").read_bytes() == before


def test_a_file_created_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    out = tmp_path / "t.yaml"

    def meanwhile(*arguments: Any) -> Any:
        out.write_text("mine")
        return prepare(*arguments)

    monkeypatch.setattr("hpsearch.config.starter.prepare", meanwhile)
    with pytest.raises(OutputError, match="File exists"):
        write_study_file(tmp_path / "t.csv", "y", out, None, None, force=False)
    assert out.read_text() == "mine"


@pytest.mark.parametrize("out", ["nowhere/t.yaml", "folder", "\x00"])
def test_folder_that_cannot_be_written(out: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    table().to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(OutputError):
        write_study_file(tmp_path / "t.csv", "y", tmp_path / out, None, None, force=True)


def test_labels_of_the_test_rows(tmp_path: Path) -> None:
    """Labels that differ in spelling only are mapped; new ones are reported."""
    rest = table().to_csv(index=False)
    (tmp_path / "test.csv").write_text(rest.replace("up", "Up").replace("down", "sideways"))
    with pytest.raises(DataError, match="sideways"):
        written(tmp_path, rest, test=tmp_path / "test.csv")
    (tmp_path / "test.csv").write_text(rest.replace("up", "UP ").replace("down", "Down."))
    spec = written(tmp_path, rest, test=tmp_path / "test.csv")
    assert source(spec).labels == {"UP": "up", "Down.": "down"}
    assert dict(prepared(spec, tmp_path).rows)["test"] == 60


def test_the_schema_is_beside_the_study_file(call: Call, tmp_path: Path) -> None:
    """The first line of the study file names the schema, which accepts the file."""
    table().to_csv(tmp_path / "t.csv", index=False)
    code, out, _ = call("init", "t.csv", "--target", "y")
    assert code == 0 and "hpsearch-schema.json: written" in out
    assert (tmp_path / "t.yaml").read_text("utf-8").startswith("# yaml-language-server: $schema=hpsearch-schema.json\n")
    schema = json.loads((tmp_path / "hpsearch-schema.json").read_text("utf-8"))
    jsonschema.validate(read_document(tmp_path / "t.yaml").content, schema)


def test_only_schemas_of_hpsearch_are_replaced(call: Call, tmp_path: Path) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    schema = tmp_path / "hpsearch-schema.json"
    for mine in ("mine", "[]", '{"title": "mine"}'):
        schema.write_text(mine, "utf-8")
        code, _, err = call("init", "t.csv", "--target", "y")
        assert code == 2 and "is not a schema of hpsearch" in err and schema.read_text("utf-8") == mine
        assert not (tmp_path / "t.yaml").exists()
    schema.write_text('{"title": "hpsearch study file"}', "utf-8")
    assert call("init", "t.csv", "--target", "y")[0] == 0 and len(schema.read_text("utf-8")) > 1000


# --- rows without a target, classes called None, times and groups


def test_rows_without_a_target_are_left_out(tmp_path: Path) -> None:
    spec = written(
        tmp_path, "a,b,y\n" + "".join(f"{k},{k * k % 7},{'pq'[k % 2] if k % 3 else ''}\n" for k in range(90))
    )
    assert source(spec).missing_target == "drop" and source(spec).missing is None
    assert "  missing_target: drop  # leaves out the rows without a target" in comments(tmp_path)
    assert sum(count for _, count in prepared(spec, tmp_path).rows) == 60
    written(tmp_path, "a,b,y\n" + "".join(f"{k},{k % 7},{k / 3 if k % 3 else ''}\n" for k in range(90)))
    assert "30 … " not in comments(tmp_path) and "missing_target: drop" in comments(tmp_path)


def test_a_class_called_none_is_kept(tmp_path: Path) -> None:
    rows = "".join(f"{k},{'?' if k % 9 == 0 else k % 4},{'None' if k % 3 else 'Apnea'}\n" for k in range(90))
    spec = written(tmp_path, f"a,b,disorder\n{rows};;\n".replace(",", ";"), "disorder")
    assert source(spec).missing == {"disorder": (), "*": ("?",)} and source(spec).missing_target == "error"
    assert "disorder: []" in comments(tmp_path) and prepared(spec, tmp_path).classes == ("Apnea", "None")


@pytest.mark.parametrize(
    ("name", "cells", "split"),
    [
        ("when", [f"2021-0{1 + k % 9}-11" for k in range(90)], "by"),
        ("sold", [f"{1 + k % 9}/{k % 28 + 1}/2021" for k in range(90)], "by"),
        ("year", [1990 + k % 20 for k in range(90)], "by"),
        ("patient", [f"p{k // 6}" for k in range(90)], "groups"),
        ("Customer ID", [k // 6 for k in range(90)], "groups"),
        ("size", [k // 6 for k in range(90)], None),
        ("patient", list(range(90)), None),
        ("patient", ["p", None, "q"] * 30, None),
        ("city", [f"c{k // 6}" for k in range(90)], None),
    ],
)
def test_columns_that_look_like_times_or_groups(name: str, cells: list[Any], split: str | None, tmp_path: Path) -> None:
    data = table(90, **{name: cells})
    spec = written(tmp_path, data)
    lines = [line.strip() for line in comments(tmp_path).splitlines() if line.strip().startswith("# split: ")]
    if split is None:
        assert not lines
        return
    (line,) = lines
    assert "it looks like" in line
    text = comments(tmp_path).replace(f"  {line}", "").replace("  split: {folds", "  # split: {folds")
    (tmp_path / "other.yaml").write_text(text.replace("model:\n", f"  {line[2:]}\nmodel:\n", 1))
    other = load_spec(tmp_path / "other.yaml")[0]
    assert source(other).split is not None and getattr(source(other).split, split) == name
    assert sum(count for _, count in prepared(other, tmp_path).rows) == 90 and source(spec).split != source(other).split


def test_the_summary_warns_of_times_and_groups(call: Call, tmp_path: Path) -> None:
    table(90, patient=[f"p{k // 6}" for k in range(90)]).to_csv(tmp_path / "t.csv", index=False)
    code, out, _ = call("init", "t.csv", "--target", "y")
    assert code == 0
    assert (
        "warning:  patient looks like groups of rows; to keep each of them in one part: split: {groups: patient}" in out
    )

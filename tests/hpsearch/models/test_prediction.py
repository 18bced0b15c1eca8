"""Predictions of files: formats, pieces, and rows that differ from the training file."""

import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import cases
import numpy as np
import pandas as pd
import pytest
from people_cases import content, people, run_study

import hpsearch
from tests.hpsearch import test_cli

Call = test_cli.Call
call = test_cli.call  # a fixture
COMMAND = test_cli.COMMAND


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, hpsearch.StudyResult]:
    """Return the folder and the result of a study with folds and two ways of preprocessing."""
    folder = tmp_path_factory.mktemp("study")
    return folder, run_study(folder)


def test_files_without_a_header(call: Call, tmp_path: Path) -> None:
    """Columns are identified by position; the target may be present or absent."""
    table = people()
    table.to_csv(tmp_path / "people.csv", index=False, header=False, sep=";")
    data = {"source": "csv", "path": "people.csv", "target": 1, "separator": ";", "header": False}
    hpsearch.run(cases.content(**{"data": data, "train.epochs": 2}), storage="a.db", tracking_uri="none", workers=1)
    assert call("export", "a.db", "--to", "model").code == 0
    table.to_csv("with.csv", index=False, header=False, sep=";")
    table.drop(columns="happy").to_csv("without.csv", index=False, header=False, sep=";")
    for name in ("with", "without"):
        assert call("predict", "model", f"{name}.csv", "--out", f"{name}.said").code == 0
    assert Path("with.said").read_bytes() == Path("without.said").read_bytes()
    table.drop(columns=["happy", "pay"]).to_csv("few.csv", index=False, header=False, sep=";")
    said = call("predict", "model", "few.csv", "--out", "few.said")
    assert said.code == 2 and "rows must have the column '3'" in said.err and not Path("few.said").exists()


def test_numbers_in_another_notation(call: Call, tmp_path: Path) -> None:
    """A model reads them in a file and in a frame as `read_csv` gives it."""
    rows = "".join(f'"${k % 7 * 700:,}.50",{k % 5},{"uv"[k % 2]}\n' for k in range(60))
    Path("prices.csv").write_text(f"price,a,y\n{rows}")
    data = {"source": "csv", "path": "prices.csv", "target": "y", "thousands": ",", "strip": ["$"]}
    ran = hpsearch.run(
        cases.content(**{"data": data, "train.epochs": 2}), storage="a.db", tracking_uri="none", workers=1
    )
    ran.model.save(Path("model"))
    assert call("predict", "model", "prices.csv", "--out", "said.csv").code == 0
    found = hpsearch.load_model("model").predictions(pd.read_csv("prices.csv"))
    said = pd.read_csv("said.csv")
    assert (said["prediction"] == found["prediction"]).all() and len(set(said["probability of u"])) > 7


def test_parquet_and_pieces(
    ran: tuple[Path, hpsearch.StudyResult], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file read in pieces has the same predictions as in one, and so has the other format."""
    from hpsearch.data.text_files import csv_file

    table = pd.concat([people(), people(seed=6)], ignore_index=True)
    table.to_csv("new.csv", index=False)
    table.to_parquet("new.parquet")
    ran[1].model.save(Path("model"))
    assert call("predict", "model", "new.csv", "--out", "whole.csv").code == 0
    assert call("predict", "model", "new.parquet", "--out", "parquet.csv").code == 0
    monkeypatch.setattr(csv_file, "CHUNK_ROWS", 64)
    assert call("predict", "model", "new.csv", "--out", "pieces.csv").code == 0
    whole = Path("whole.csv").read_text()
    assert Path("parquet.csv").read_text() == whole == Path("pieces.csv").read_text() and len(whole.splitlines()) == 301


def test_parquet_is_read_as_in_training(ran: tuple[Path, hpsearch.StudyResult], call: Call) -> None:
    """Decimals are numbers, the suffix is case-insensitive, and empty files have the same message as CSV files."""
    table, model = people(), ran[1].model
    model.save(Path("model"))
    table["pay"] = [Decimal(f"{pay:.2f}") for pay in table["pay"]]
    table.to_parquet("new.PARQUET")
    assert call("predict", "model", "new.PARQUET", "--out", "said.csv").code == 0
    assert (pd.read_csv("said.csv")["prediction"] == model.predict(table.astype({"pay": float}))).all()
    table[:0].to_parquet("empty.parquet")
    table[:0].to_csv("empty.csv", index=False)
    for name, message in {
        "empty.parquet": "data: parquet: empty.parquet: holds no rows",
        "empty.csv": "data: csv: empty.csv: holds no rows",
        "gone.parquet": "there is no such file; a relative path",
    }.items():
        said = call("predict", "model", name, "--out", "none.csv")
        assert said.code == 2 and message in said.err and not Path("none.csv").exists()


def test_rows_are_not_overwritten(ran: tuple[Path, hpsearch.StudyResult], call: Call, tmp_path: Path) -> None:
    """The output may not be the input, however the paths are written, whatever its name."""
    ran[1].model.save(Path("model"))
    people().to_csv("t.csv", index=False)
    Path("link.csv").symlink_to("t.csv")
    Path("folder").symlink_to(".")
    before = Path("t.csv").read_bytes()
    for file, out in (
        ("t.csv", "t.csv"),
        ("t.csv", "./model/../t.csv"),
        ("t.csv", str(tmp_path / "t.csv")),
        ("t.csv", "link.csv"),
        ("link.csv", "t.csv"),
        ("t.csv", "folder/t.csv"),
    ):
        said = call("predict", "model", file, "--out", out)
        assert said.code == 2 and "writing it would overwrite the rows" in said.err, (file, out, said)
        assert Path(file).read_bytes() == before and len(said.err.splitlines()) == 1
    Path("old.csv").touch()
    assert call("predict", "model", "t.csv", "--out", "old.csv").code == 0
    assert len(pd.read_csv("old.csv")) == 150


def test_a_model_trained_from_another_source(ran: tuple[Path, hpsearch.StudyResult], call: Call) -> None:
    """Without missing markers of its own, the markers of CSV files apply, except those that are categories."""
    table, model = people(), ran[1].model
    folds = tuple(replace(fold, input_format={"columns": [], "missing": []}) for fold in model.preprocessing)
    bare = replace(model, preprocessing=folds)
    bare.save(Path("model"))
    table.to_csv("new.csv", index=False, na_rep="NA")
    assert call("predict", "model", "new.csv", "--out", "said.csv").code == 0
    assert (pd.read_csv("said.csv")["prediction"] == model.predict(table)).all()
    town = folds[0].categorical["town"]
    named = replace(town, columns={**town.columns, "NA": town.columns["Ulm"]})
    folds = tuple(replace(fold, categorical={**fold.categorical, "town": named}) for fold in folds)
    replace(model, preprocessing=folds).save(Path("model"))
    table["age"], table["town"] = table["age"].fillna(40.0), "Ulm"
    expected = model.scores(table)
    table.assign(town="NA").to_csv("new.csv", index=False)
    assert call("predict", "model", "new.csv", "--out", "said.csv").code == 0
    np.testing.assert_allclose(pd.read_csv("said.csv").iloc[:, 1:], expected, atol=1e-6)


def test_decimal_commas(ran: tuple[Path, hpsearch.StudyResult], call: Call) -> None:
    """New rows are read in the format of the training file."""
    table, model = people(), ran[1].model
    input_format = {**model.preprocessing[0].input_format, "separator": ";", "decimal": ","}
    replace(model, preprocessing=tuple(replace(f, input_format=input_format) for f in model.preprocessing)).save(
        Path("model")
    )
    table.to_csv("new.csv", index=False, sep=";", decimal=",")
    assert call("predict", "model", "new.csv", "--out", "said.csv").code == 0
    assert (pd.read_csv("said.csv")["prediction"] == model.predict(table)).all()


def test_categories_that_are_numbers(call: Call, tmp_path: Path) -> None:
    """`7` and `7.0` are one category, because pandas writes 7.0 when a cell is missing; `007` is another one."""
    table = people().assign(code=np.arange(150) % 7 + 1001, zip=[f"{k % 5:05d}" for k in range(150)])
    table["happy"] = np.where((table["code"] % 2 == 1) | (table["zip"] == "00003"), "yes", "no")
    given = content(tmp_path, table, categorical=["code", "zip"])
    given["train"] |= {"epochs": 60, "learning_rate": 0.5}
    del given["parameters"]["learning_rate"]
    model = hpsearch.run(given, storage="a.db", tracking_uri="none", workers=1).model
    whole = model.predictions(table)
    assert (whole["prediction"] == table["happy"]).mean() > 0.9
    model.save(Path("model"))
    others = {
        "float": table.astype({"code": float}),
        "missing": pd.concat([table, table[:1].assign(code=np.nan)], ignore_index=True),
    }
    for name, other in others.items():
        other.to_csv(f"{name}.csv", index=False)
        assert call("predict", "model", f"{name}.csv", "--out", f"{name}.said").code == 0
        said = pd.read_csv(f"{name}.said")
        assert (said["prediction"][:150] == whole["prediction"]).all(), name
        np.testing.assert_allclose(said.iloc[:150, 1:], whole.iloc[:, 1:], atol=1e-6)
        np.testing.assert_allclose(model.scores(other)[:150], whole.iloc[:, 1:], atol=1e-6)
    padded, unknown = (model.scores(table.assign(code=code)) for code in (table["code"].map("{:05d}".format), "-"))
    assert padded.tobytes() == unknown.tobytes()


def test_class_names_that_are_formulas(ran: tuple[Path, hpsearch.StudyResult], call: Call) -> None:
    """A spreadsheet shows them as text; numbers stay numbers, and --raw writes names as they are."""
    people().to_csv("new.csv", index=False)
    for names, expected in (
        (("=cmd|'/C calc'!A0", "-1.5"), {"'=cmd|'/C calc'!A0", "-1.5"}),
        (("@a", "+1"), {"'@a", "+1"}),
    ):
        replace(ran[1].model, classes=names).save(Path("model"))
        for options, written in (((), expected), (("--raw",), set(names))):
            assert call("predict", "model", "new.csv", "--out", "said.csv", *options).code == 0
            assert set(pd.read_csv("said.csv", dtype=str)["prediction"]) == written


def test_names_that_drafts_had_are_not_followed(ran: tuple[Path, hpsearch.StudyResult], call: Call) -> None:
    Path("victim").write_text("precious")
    ran[1].model.save(Path("model"))
    for name in ("out.csv", "out.csv.part", "model/weights.npz.part", "model/model.json.part", "model/model.onnx"):
        Path(name).symlink_to(Path("victim").absolute())
    people().to_csv("new.csv", index=False)
    assert call("predict", "model", "new.csv", "--out", "out.csv").code == 0
    assert call("export", ran[0] / "small.db", "--to", "model", "--onnx").code == 0
    assert Path("victim").read_text() == "precious" and Path("out.csv").read_text().startswith("prediction")


@pytest.mark.parametrize("out", [".", "folder", "pipe"])
def test_outputs_that_are_no_files(out: str, ran: tuple[Path, hpsearch.StudyResult], call: Call) -> None:
    ran[1].model.save(Path("model"))
    people().to_csv("new.csv", index=False)
    Path("folder").mkdir()
    os.mkfifo("pipe")
    said = call("predict", "model", "new.csv", "--out", out)
    assert said.code == 2 and "cannot be written" in said.err and len(said.err.splitlines()) == 1

"""The champion out of its database, predicting elsewhere; and the same from Python."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pandas as pd
import pytest

import hpsearch
from hpsearch.config.references import preprocessing_values
from hpsearch.data.dataset import prepare
from hpsearch.errors import DataError, OutputError, SpecError, StorageError
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.training.network import build_network
from tests.hpsearch import test_cli

Call = test_cli.Call
call = test_cli.call  # a fixture
COMMAND = test_cli.COMMAND


def people(rows: int = 150, seed: int = 5) -> pd.DataFrame:
    """Numbers and names with missing cells, and something to learn."""
    generator = np.random.default_rng(seed)
    age, pay = generator.normal(40, 12, rows), generator.lognormal(3, 1, rows)
    town = generator.choice(["Bonn", "Köln", 'the "Ruhr", west', "Ulm"], rows).astype(object)
    happy = np.where(age / 12 + (town == "Bonn") * 2 + generator.normal(0, 0.5, rows) > 3.6, "yes", "no")
    age[generator.random(rows) < 0.1] = np.nan
    town[generator.random(rows) < 0.1] = None
    return pd.DataFrame({"age": age, "happy": happy, "town": town, "pay": pay, "member": generator.random(rows) < 0.5})


def content(folder: Path, table: pd.DataFrame, **data: Any) -> dict[str, Any]:
    table.to_csv(folder / "people.csv", index=False)
    given = {"source": "csv", "path": str(folder / "people.csv"), "target": "happy", **data}
    return cases.content(**{"data": given, "train.epochs": 3, "stages.0.trials": 4, "stages.1.trials": 3})


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, hpsearch.StudyResult]:
    """A study of folds and of ways to prepare rows, and where it is."""
    folder = tmp_path_factory.mktemp("study")
    given = content(folder, people(), split={"folds": 3}, impute="filling")
    given["parameters"]["filling"] = {"values": ["indicator", "most_frequent"]}
    return folder, hpsearch.run(given, storage=folder / "small.db", tracking_uri="none", workers=1)


# --- from Python


def test_result(ran: tuple[Path, hpsearch.StudyResult]) -> None:
    folder, result = ran
    assert len(result.trials) == 7 and list(result.trials["stage"]) == ["coarse"] * 4 + ["fine"] * 3
    best = result.trials.loc[result.trials["value"].idxmin()]
    assert result.best_value == best["value"] and set(result.best_params) == set(cases.CONTENT["parameters"]) | {
        "filling"
    }
    assert all(best[f"params/{name}"] == value for name, value in result.best_params.items())
    assert best["test/roc_auc"] == result.best_metrics["test/roc_auc"] and result.trials["test/f1"].notna().sum() == 1
    again = hpsearch.load_study(folder / "small.db")
    pd.testing.assert_frame_equal(again.trials, result.trials)
    assert again.best_params == result.best_params


def test_going_on(ran: tuple[Path, hpsearch.StudyResult], tmp_path: Path) -> None:
    """Nothing is trained twice, and what a database holds is not the mapping's to change."""
    shutil.copy(ran[0] / "small.db", tmp_path / "small.db")
    given = content(ran[0], people(), split={"folds": 3}, impute="filling")
    given["parameters"]["filling"] = {"values": ["indicator", "most_frequent"]}
    given["stages"][1]["trials"] = 5
    more = hpsearch.run(given, storage=tmp_path / "small.db", tracking_uri="none", workers=1)
    assert len(more.trials) == 9 and (more.trials["value"][:7] == ran[1].trials["value"]).all()


def test_predictions_are_the_study_s(ran: tuple[Path, hpsearch.StudyResult], tmp_path: Path) -> None:
    """To the bit: what the study's own rows and weights give, for every test row."""
    _, result = ran
    spec = result.summary.spec
    dataset, prepared = prepare(spec.data, spec.seed, tmp_path, preprocessing_values(spec))
    storage = StudyDatabase.open(result.url, create=False)
    weights = storage.weights.load()[result.best.stage, result.best.number].weights
    storage.close()
    at = dataset.at(result.best.point)
    test = at.part("test")
    assert test is not None and at.folds == 3
    theta = np.frombuffer(weights, np.float32).reshape(3, -1)
    each = [build_network(spec, at, result.best.point).predict(theta[k : k + 1], test.of(k).x)[0] for k in range(3)]
    expected = np.mean(each, axis=0, dtype=np.float64).astype(np.float32)[:, 0]
    said = result.model.scores(people())[:, 1]
    assert len(said) == 150
    places = [np.flatnonzero(said == value) for value in expected]
    assert all(len(place) for place in places), "a test row is predicted otherwise than in the study"
    assert prepared[at.number][0].describe()[0] == result.model.preprocessing[0].describe()[0]


def test_frames_of_all_kinds(ran: tuple[Path, hpsearch.StudyResult]) -> None:
    """Columns in any order, more than are needed, other types of the same values, missing cells, unknown names."""
    model, table = ran[1].model, people()
    whole = model.predictions(table)
    assert list(whole) == ["prediction", "probability of no", "probability of yes"]
    assert set(whole["prediction"]) == {"yes", "no"} and len(whole) == 150
    for other in (
        table[table.columns[::-1]],
        table.drop(columns="happy").assign(more=1),
        table.assign(member=table["member"].astype(str).str.lower(), town=table["town"].astype("category")),
        table.astype({"age": "Float64", "town": "string", "member": object}),
        table.assign(age=table["age"].astype(object).where(table["age"].notna(), "NaN")),
    ):
        pd.testing.assert_frame_equal(model.predictions(other), whole)
    pd.testing.assert_frame_equal(model.predictions(table[list(model.features)].to_numpy(object)), whole)
    strange = table.assign(town="Mars", age=np.nan)
    assert np.isfinite(model.scores(strange)).all() and (model.scores(strange) != model.scores(table)).any()
    assert len(model.predictions(table[:0])) == 0
    assert model.scores(table[7:8]).tobytes() == model.scores(table)[7:8].tobytes()


def test_frames_that_do_not_fit(ran: tuple[Path, hpsearch.StudyResult]) -> None:
    model, table = ran[1].model, people()
    for frame, message in (
        (table.drop(columns="age"), "rows must have the column 'age'"),
        (table.rename(columns={"town": "twon"}), "the column 'town'; did you mean 'twon'?"),
        (table.assign(age="forty"), "column 'age' must hold numbers, got 'forty' in row 1"),
        (table.assign(pay=np.inf), "column 'pay' must hold numbers within ±3.4e+38, got inf in row 1"),
        (np.zeros((3, 2)), "rows must have 4 features, got an array of shape"),
    ):
        with pytest.raises(DataError) as caught:
            model.predict(frame)
        assert message in str(caught.value)


def test_mistakes_from_python(tmp_path: Path) -> None:
    given = content(tmp_path, people())
    given["train"]["optimizer"] = "momentm"
    with pytest.raises(SpecError, match=r"study: train.optimizer: .*did you mean 'momentum'"):
        hpsearch.run(given)
    with pytest.raises(StorageError, match=r"none\.db"):
        hpsearch.load_study(tmp_path / "none.db")
    with pytest.raises(DataError, match="contains no model"):
        hpsearch.load_model(tmp_path)
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        hpsearch.runn  # type: ignore[attr-defined]  # noqa: B018
    assert all(getattr(hpsearch, name) for name in hpsearch.__all__)


def test_a_script_without_a_guard(tmp_path: Path) -> None:
    """Worker processes need nothing of the script that starts them, and do not run it again."""
    (tmp_path / "study.json").write_text(json.dumps(content(tmp_path, people())), "utf-8")
    script = "import hpsearch; print(len(hpsearch.run('study.json', tracking_uri='none', workers=2).trials))"
    (tmp_path / "script.py").write_text(script, "utf-8")
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "7\n", "")


# --- the commands


def test_exported_and_used_elsewhere(ran: tuple[Path, hpsearch.StudyResult], tmp_path: Path) -> None:
    """By a fresh process in another folder, when the data are gone: to the bit."""
    database = tmp_path / "a" / "small.db"
    database.parent.mkdir()
    shutil.copy(ran[0] / "small.db", database)
    (tmp_path / "b").mkdir()
    people().drop(columns="happy").to_csv(tmp_path / "b" / "new.csv", index=False)
    for command in (
        ["export", "../a/small.db", "--to", "model"],
        ["export", "../a/small.db", "--to", "model"],  # over a model
        ["predict", "model", "new.csv", "--out", "said.csv"],
    ):
        done = subprocess.run([COMMAND, *command], cwd=tmp_path / "b", capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and not done.stderr, done.stderr
    assert "150 predictions" in done.stdout
    said, whole = pd.read_csv(tmp_path / "b" / "said.csv"), ran[1].model.predictions(people())
    assert (said["prediction"] == whole["prediction"]).all()
    for name in whole.columns[1:]:
        assert (said[name].to_numpy(np.float32) == whole[name].to_numpy()).all()
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["model", "new.csv", "said.csv"]
    about = json.loads((tmp_path / "b" / "model" / "model.json").read_text("utf-8"))["about"]
    assert about["study"] == "small" and about["spec"]["data"]["target"] == "happy" and len(about["data"]) == 16
    assert about["metrics"]["test/accuracy"] and f"hpsearch {hpsearch.__version__}" in about["version"]


def test_files_without_a_header(call: Call, tmp_path: Path) -> None:
    """Columns are told by their place; the target's may be there or not."""
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


def test_parquet_and_pieces(
    ran: tuple[Path, hpsearch.StudyResult], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is read in pieces gives what it gives in one, and so does the other format."""
    from hpsearch.data.sources import csv

    table = pd.concat([people(), people(seed=6)], ignore_index=True)
    table.to_csv("new.csv", index=False)
    table.to_parquet("new.parquet")
    ran[1].model.save(Path("model"))
    assert call("predict", "model", "new.csv", "--out", "whole.csv").code == 0
    assert call("predict", "model", "new.parquet", "--out", "parquet.csv").code == 0
    monkeypatch.setattr(csv, "CHUNK_ROWS", 64)
    assert call("predict", "model", "new.csv", "--out", "pieces.csv").code == 0
    whole = Path("whole.csv").read_text()
    assert Path("parquet.csv").read_text() == whole == Path("pieces.csv").read_text() and len(whole.splitlines()) == 301


def test_parquet_is_read_as_in_training(ran: tuple[Path, hpsearch.StudyResult], call: Call) -> None:
    """Decimals as numbers, whatever the letters of its ending; without rows in the words of a CSV file."""
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
    """However their path is written, nor by what is written first."""
    ran[1].model.save(Path("model"))
    people().to_csv("t.csv", index=False)
    shutil.copy("t.csv", "u.csv.part")
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
        ("u.csv.part", "u.csv"),
    ):
        said = call("predict", "model", file, "--out", out)
        assert said.code == 2 and "writing it would overwrite the rows" in said.err, (file, out, said)
        assert Path(file).read_bytes() == before and len(said.err.splitlines()) == 1
    Path("old.csv").touch()
    assert call("predict", "model", "t.csv", "--out", "old.csv").code == 0
    assert len(pd.read_csv("old.csv")) == 150


def test_a_model_of_another_source(ran: tuple[Path, hpsearch.StudyResult], call: Call) -> None:
    """Which knew no marks of missing cells: a CSV file has its own, but for those that are names to the model."""
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
    """New rows are written as those were."""
    table, model = people(), ran[1].model
    input_format = {**model.preprocessing[0].input_format, "separator": ";", "decimal": ","}
    replace(model, preprocessing=tuple(replace(f, input_format=input_format) for f in model.preprocessing)).save(
        Path("model")
    )
    table.to_csv("new.csv", index=False, sep=";", decimal=",")
    assert call("predict", "model", "new.csv", "--out", "said.csv").code == 0
    assert (pd.read_csv("said.csv")["prediction"] == model.predict(table)).all()


def test_mistakes(ran: tuple[Path, hpsearch.StudyResult], call: Call, tmp_path: Path) -> None:
    """Each is one line and exit 2, and leaves no file."""
    ran[1].model.save(Path("model"))
    table = people()
    table.assign(age="forty").to_csv("text.csv", index=False)
    table.drop(columns="age").to_csv("lacking.csv", index=False)
    table.to_csv("new.csv", index=False)
    Path("empty.csv").touch()
    Path("broken.parquet").write_text("no")
    Path("other").mkdir()
    Path("other/thing").touch()
    StudyDatabase.open(url_of("none.db"), create=True).close()
    for command, message in {
        ("export", "missing.db", "--to", "x"): "missing.db",
        ("export", "none.db", "--to", "x"): "holds no study yet",
        ("export", str(ran[0] / "small.db"), "--to", "other"): "contains other files (thing)",
        ("export", str(ran[0] / "small.db"), "--to", "new.csv"): "must be a folder",
        ("predict", "other", "new.csv", "--out", "out.csv"): "contains no model",
        ("predict", "model", "gone.csv", "--out", "out.csv"): "there is no such file",
        ("predict", "model", "empty.csv", "--out", "out.csv"): "is empty",
        ("predict", "model", "broken.parquet", "--out", "out.csv"): "is no Parquet file",
        ("predict", "model", "text.csv", "--out", "out.csv"): "text.csv: column 'age' must hold numbers, got 'forty'",
        ("predict", "model", "lacking.csv", "--out", "out.csv"): "lacking.csv: rows must have the column 'age'",
        ("predict", "model", "new.csv", "--out", "no/such/out.csv"): "no/such/out.csv: cannot be written",
    }.items():
        said = call(*command)
        assert said.code == 2 and message in said.err and len(said.err.splitlines()) == 1, (command, said)
    assert not list(tmp_path.glob("out.csv*")) and not Path("x").exists()


def test_no_model_yet(tmp_path: Path) -> None:
    given = content(tmp_path, people())
    given["parameters"]["learning_rate"] = {"min": 1e30, "max": 1e31, "scale": "log"}
    result = hpsearch.run(given, storage=tmp_path / "small.db", tracking_uri="none", workers=1)
    with pytest.raises(StorageError, match="no trial is complete"):
        _ = result.model
    with pytest.raises(StorageError, match="no trial is complete"):
        _ = result.best_params


def test_folder_that_cannot_be_written(ran: tuple[Path, hpsearch.StudyResult], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        ran[1].model.save(tmp_path / "file" / "model")


# --- what may change between training and prediction


def test_names_that_are_numbers(call: Call, tmp_path: Path) -> None:
    """`7`, `7.0` and `007` are one name however the column was read: pandas writes 7.0 once a cell is missing."""
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
        "text": table.assign(code=table["code"].map("{:05d}".format)),
        "missing": pd.concat([table, table[:1].assign(code=np.nan)], ignore_index=True),
    }
    for name, other in others.items():
        other.to_csv(f"{name}.csv", index=False)
        assert call("predict", "model", f"{name}.csv", "--out", f"{name}.said").code == 0
        said = pd.read_csv(f"{name}.said")
        assert (said["prediction"][:150] == whole["prediction"]).all(), name
        np.testing.assert_allclose(said.iloc[:150, 1:], whole.iloc[:, 1:], atol=1e-6)
        np.testing.assert_allclose(model.scores(other)[:150], whole.iloc[:, 1:], atol=1e-6)


def test_changed_before_the_first_trial(tmp_path: Path) -> None:
    """Everything may change then, and how rows are prepared with it: the model is of what was trained."""
    from hpsearch.study.session import Options, Session

    spec = {**content(tmp_path, people()), "seed": 3}
    for scale in ("none", "minmax"):
        spec["data"]["scale"] = scale
        if scale == "none":  # begun, and stopped before anything was asked
            from hpsearch.config.load import spec_from_mapping

            with Session(spec_from_mapping(spec, "study")[0], url_of(str(tmp_path / "a.db")), Options(1, "none")):
                pass
    changed = hpsearch.run(spec, storage=tmp_path / "a.db", tracking_uri="none", workers=1)
    fresh = hpsearch.run(spec, storage=tmp_path / "b.db", tracking_uri="none", workers=1)
    assert changed.model.scores(people()).tobytes() == fresh.model.scores(people()).tobytes()
    assert type(changed.model.preprocessing[0].input_scaler).__name__ == "MinMax"
    assert any("data.scale: none → minmax" in notice for notice in changed.notices)
    assert any("task: classification" in notice for notice in fresh.notices)


def test_mappings_as_python_has_them(tmp_path: Path) -> None:
    """Paths, NumPy's numbers and arrays, tuples."""
    given = content(tmp_path, people())
    given["data"] |= {"path": tmp_path / "people.csv", "drop": ("member",)}
    given["parameters"]["batch_size"] = {"values": np.array([16, 32]), "ordered": np.bool_(True)}
    given["parameters"]["l2"] = np.float32(0.5)
    result = hpsearch.run(given, storage=tmp_path / "a.db", tracking_uri="none", workers=1)
    assert set(result.trials["params/batch_size"]) <= {16, 32} and "member" not in result.model.features


@pytest.mark.parametrize(
    "split", [{"train": 0.8, "val": 0.2, "test": 0}, {"folds": 3, "test": 0}], ids=["part", "folds"]
)
def test_values_without_test_rows(split: dict[str, Any], tmp_path: Path) -> None:
    given = content(tmp_path, people(), split=split)
    given["data"] |= {"target": "pay", "task": "regression"}
    result = hpsearch.run(given, storage=tmp_path / "a.db", tracking_uri="none", workers=1)
    assert not any(name.startswith("test/") for name in result.best_metrics)
    assert np.isfinite(result.model.predict(people())).all()


def test_numbers_that_are_too_large(tmp_path: Path) -> None:
    table = people()
    for value, scale in ((1e39, "none"), (1e200, "standard")):
        with pytest.raises(DataError, match=r"column 'pay' must hold numbers within ±3.4e\+38, got 1e\+\d+ in row 8"):
            table.loc[7, "pay"] = value
            hpsearch.run(content(tmp_path, table, scale=scale), storage=tmp_path / "a.db", tracking_uri="none")


def test_rows_whose_parts_have_changed(tmp_path: Path) -> None:
    """A file that says which rows are for what belongs to the data; so do the names of classes."""
    words = np.array(["train", "val", "test"])[np.arange(150) % 3]
    file = tmp_path / "parts.txt"
    file.write_text("\n".join(words), "utf-8")
    given = content(tmp_path, people(), split={"file": str(file)})
    hpsearch.run(given, storage=tmp_path / "a.db", tracking_uri="none", workers=1)
    file.write_text("\n".join(words[::-1]), "utf-8")
    with pytest.raises(StorageError, match="the data have changed since the study began"):
        hpsearch.run(given, storage=tmp_path / "a.db", tracking_uri="none", workers=1)
    file.write_text("\n".join(words), "utf-8")
    content(tmp_path, people().replace({"happy": {"yes": "zes"}}))
    with pytest.raises(StorageError, match="the data have changed since the study began"):
        hpsearch.run(given, storage=tmp_path / "a.db", tracking_uri="none", workers=1)


def test_parts_that_nothing_says(tmp_path: Path) -> None:
    iris = {"source": "sklearn", "name": "iris", "split": {"column": "part"}}
    with pytest.raises(DataError, match=r"data.split.column: only tables \(csv, parquet, sql, openml\)"):
        hpsearch.run(cases.content(data=iris), storage=tmp_path / "a.db", tracking_uri="none")
    given = content(tmp_path, people(), split={"folds": 3, "test": 0.3}, test_path=str(tmp_path / "people.csv"))
    with pytest.raises(DataError, match="the source has 150 test rows of its own, so leave test out"):
        hpsearch.run(given, storage=tmp_path / "b.db", tracking_uri="none")


def test_no_row_leaves_with_the_model(ran: tuple[Path, hpsearch.StudyResult], call: Call) -> None:
    """The rows that a tracker shows stay in the study's own database."""
    assert ran[1].model.preprocessing[0].input_format["example"]
    assert call("export", ran[0] / "small.db", "--to", "model").code == 0
    assert "example" not in hpsearch.load_model("model").preprocessing[0].input_format
    text = Path("model/model.json").read_text("utf-8")
    assert not [value for value in people()["pay"] if repr(float(value)) in text]

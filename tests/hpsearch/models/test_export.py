"""The champion out of its database, in a folder that predicts elsewhere."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from people_cases import people, run_study

import hpsearch
from hpsearch.config.references import preprocessing_values
from hpsearch.data.dataset import prepare
from hpsearch.errors import OutputError
from hpsearch.models.export import export_model
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.training.network import build_network
from tests.hpsearch import test_cli

Call = test_cli.Call
call = test_cli.call  # a fixture
COMMAND = test_cli.COMMAND


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, hpsearch.StudyResult]:
    """Return the folder and the result of a study with folds and two ways of preprocessing."""
    folder = tmp_path_factory.mktemp("study")
    return folder, run_study(folder)


def test_predictions_equal_those_of_the_study(ran: tuple[Path, hpsearch.StudyResult], tmp_path: Path) -> None:
    """Each test row of the study, predicted from its weights, has the same bits as predicted by the model."""
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
    assert all(len(place) for place in places), "the model predicts a test row differently from the study"
    assert prepared[at.number][0].describe()[0] == result.model.preprocessing[0].describe()[0]


def test_exported_and_used_elsewhere(ran: tuple[Path, hpsearch.StudyResult], tmp_path: Path) -> None:
    """A new process in another folder, without the training data, predicts the same bits."""
    database = tmp_path / "a" / "small.db"
    database.parent.mkdir()
    shutil.copy(ran[0] / "small.db", database)
    (tmp_path / "b").mkdir()
    people().drop(columns="happy").to_csv(tmp_path / "b" / "new.csv", index=False)
    for command in (
        ["export", "../a/small.db", "--to", "model"],
        ["export", "../a/small.db", "--to", "model"],  # replaces a model
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


def test_mistakes(ran: tuple[Path, hpsearch.StudyResult], call: Call, tmp_path: Path) -> None:
    """Each prints one line, exits with 2 and leaves no file."""
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
        ("predict", "model", "broken.parquet", "--out", "out.csv"): "is not a readable Parquet file",
        ("predict", "model", "text.csv", "--out", "out.csv"): "text.csv: column 'age' must hold numbers, got 'forty'",
        ("predict", "model", "lacking.csv", "--out", "out.csv"): "lacking.csv: rows must have the column 'age'",
        ("predict", "model", "new.csv", "--out", "no/such/out.csv"): "no/such/out.csv: cannot be written",
    }.items():
        said = call(*command)
        assert said.code == 2 and message in said.err and len(said.err.splitlines()) == 1, (command, said)
    assert not list(tmp_path.glob("out.csv*")) and not Path("x").exists()


def test_no_training_row_is_exported(ran: tuple[Path, hpsearch.StudyResult], call: Call) -> None:
    """The example rows of a tracker stay in the study database."""
    assert ran[1].model.preprocessing[0].input_format["example"]
    assert call("export", ran[0] / "small.db", "--to", "model").code == 0
    assert "example" not in hpsearch.load_model("model").preprocessing[0].input_format
    text = Path("model/model.json").read_text("utf-8")
    assert not [value for value in people()["pay"] if repr(float(value)) in text]


def test_folder_that_cannot_be_written(ran: tuple[Path, hpsearch.StudyResult], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        export_model(ran[1].model, tmp_path / "file" / "model")


def test_other_files_of_a_model_are_kept(ran: tuple[Path, hpsearch.StudyResult], call: Call, tmp_path: Path) -> None:
    """An ONNX file of the replaced model is not: its weights would be those of another model."""
    pytest.importorskip("onnx", reason="needs the onnx extra")
    database = ran[0] / "small.db"
    assert call("export", database, "--to", "model", "--onnx").code == 0
    Path("model/README.md").write_text("mine")
    assert call("export", database, "--to", "model").code == 0
    assert sorted(p.name for p in Path("model").iterdir()) == ["README.md", "model.json", "weights.npz"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_killed_export_is_recovered(
    ran: tuple[Path, hpsearch.StudyResult], call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a system without an exchange of folders, a kill may leave the model beside its place; loading restores it."""
    from hpsearch.core import atomic

    ran[1].model.save(Path("model"))
    before = {p.name: p.read_bytes() for p in Path("model").iterdir()}
    prefix = atomic._prefix(tmp_path / "model")
    Path("model").rename(f"{prefix}1.old")
    Path(f"{prefix}1.new").mkdir()
    Path(f"{prefix}1.new/model.json").write_text("{")
    assert hpsearch.load_model("model").classes == ("no", "yes")
    assert {p.name: p.read_bytes() for p in Path("model").iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["model"]

"""The champion of a study that an estimator trains is a model like that of the engine."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cases
import estimator_cases
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.datasets import load_wine
from sklearn.metrics import log_loss

import hpsearch
from hpsearch.cli import commands
from hpsearch.errors import DataError, OutputError
from hpsearch.models.diagnostics import Diagnostics
from hpsearch.models.export import export_model
from hpsearch.models.model import Model
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.tracking.mlflow.model_registry import write_mlflow_files

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
]
STAGES = [
    {"name": "coarse", "trials": 5, "sampler": "random", "pruning": "promote"},
    {"name": "confirm", "top": 2, "seeds": 2},
]
PEOPLE = ("age", "town")


def people(rows: int = 90) -> pd.DataFrame:
    """Return a table with text, missing cells and a target of numbers."""
    generator = np.random.default_rng(2)
    age, town = generator.normal(40, 9, rows).round(1), generator.choice(["Rome", "Oslo"], rows).astype(object)
    pay = 500 + 20 * age + 90 * (town == "Oslo") + generator.normal(0, 9, rows)
    town[::7] = None
    return pd.DataFrame({"age": age, "town": town, "pay": pay})


def given(folder: Path, kind: str) -> dict[str, Any]:
    """Return a study file: classes, or a table with folds."""
    content = {**estimator_cases.CONTENT, "stages": STAGES}
    if kind == "classes":
        return content
    people().to_csv(folder / "people.csv", index=False)
    data = {"source": "csv", "path": str(folder / "people.csv"), "target": "pay", "split": {"folds": 3, "test": 0.2}}
    content["parameters"] = {**content["parameters"], "min_samples_leaf": 5}
    return {**content, **estimator_cases.REGRESSION, "data": data}


@pytest.fixture(scope="module", params=["classes", "table"])
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Any]:
    folder = tmp_path_factory.mktemp(request.param)
    content = given(folder, request.param)
    storage = folder / "study.db"
    result = hpsearch.run(content, storage=storage, tracking_uri="none", workers=1, executor="inline")
    return request.param, folder, result


def rows_of(kind: str) -> pd.DataFrame:
    return load_wine(as_frame=True).data if kind == "classes" else people().drop(columns="pay")


def test_an_exported_model_predicts_the_same_bits(ran: Any, tmp_path: Path) -> None:
    kind, _, result = ran
    export_model(result.model, tmp_path / "model")
    model, rows = hpsearch.load_model(tmp_path / "model"), rows_of(kind)
    assert {p.name for p in (tmp_path / "model").iterdir()} == {"model.json", "weights.npz"}
    assert model.scores(rows).tobytes() == result.model.scores(rows).tobytes()
    assert model.scores(rows.iloc[5:9]).tobytes() == model.scores(rows)[5:9].tobytes()
    assert model.about["trial"] == result.best.label
    export_model(model, tmp_path / "again")
    for name in ("model.json", "weights.npz"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()


def test_predictions_are_those_of_the_study(ran: Any) -> None:
    kind, _, result = ran
    predicted = result.model.predictions(rows_of(kind))
    if kind == "classes":
        assert list(predicted.columns) == ["prediction", *(f"probability of class_{k}" for k in range(3))]
        assert (predicted["prediction"] == np.array(load_wine().target_names)[load_wine().target]).mean() > 0.95
        assert log_loss(load_wine().target, result.model.scores(rows_of(kind))) < result.best_metrics["test/loss"] + 0.1
    else:
        assert (predicted["prediction"] - people()["pay"]).abs().mean() < 40  # in the unit of the target
    assert {"test/loss", "fit/loss"} < {*result.best_metrics} | {"fit/loss"}


def test_diagnostics_are_stored(ran: Any) -> None:
    kind, folder, result = ran
    storage = StudyDatabase.open(url_of(str(folder / "study.db")), None, create=False)
    stored = storage.weights.find(result.best)
    storage.close()
    assert stored is not None
    found = Diagnostics.from_bytes(stored.diagnostics)
    assert found is not None and found.val is not None and found.test is not None
    assert found.weights == found.activations == found.gradients == []
    if kind == "classes":
        right = np.trace(np.array(found.test.confusion)) / found.test.rows
        assert right == pytest.approx(result.best_metrics["test/accuracy"])
    else:
        assert found.val.rows == 3 * (found.val.rows // 3) and len(found.val.targets) == len(found.val.predicted) > 0


def test_commands(ran: Any, tmp_path: Path) -> None:
    kind, folder, result = ran
    rows_of(kind).to_csv(tmp_path / "rows.csv", index=False)
    run = CliRunner().invoke
    database, model, out = str(folder / "study.db"), str(tmp_path / "model"), str(tmp_path / "out.csv")
    assert run(commands, ["export", database, "--to", model]).exit_code == 0
    assert run(commands, ["predict", model, str(tmp_path / "rows.csv"), "--out", out]).exit_code == 0
    said, want = pd.read_csv(out), result.model.predictions(rows_of(kind))
    assert said["prediction"].tolist() == pytest.approx(want["prediction"].tolist(), abs=1e-9) or (
        said["prediction"].tolist() == want["prediction"].tolist()
    )
    for flag, reason in (("--onnx", "only networks of the engine can be written"), ("--ensemble", "from networks of")):
        failed = run(commands, ["export", database, "--to", model, flag])
        assert failed.exit_code != 0 and reason in f"{failed.output}{failed.exception}"
    shown = run(commands, ["show", database])
    assert shown.exit_code == 0 and result.best.label in shown.output


def test_mlflow_serves_it(ran: Any, tmp_path: Path) -> None:
    import mlflow

    kind, _, result = ran
    result.model.save(tmp_path / "model", example=True)
    write_mlflow_files(result.model, tmp_path / "model")
    served = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    pd.testing.assert_frame_equal(served.predict(rows_of(kind)), result.model.predictions(rows_of(kind)))


def test_damaged_models_are_errors_in_one_line(ran: Any, tmp_path: Path) -> None:
    _, _, result = ran
    result.model.save(tmp_path / "model")
    for number, change in enumerate(
        [
            lambda c: c.pop("estimator"),
            lambda c: c.update(network={}),
            lambda c: c["estimator"].update(inputs=[2]),
            lambda c: c["estimator"].update(inputs=[1 << 30]),
            lambda c: c["estimator"].update(name=1),
            lambda c: c["preprocessing"].append(c["preprocessing"][0]),
        ]
    ):
        folder = shutil.copytree(tmp_path / "model", tmp_path / str(number))
        content = json.loads((folder / "model.json").read_text("utf-8"))
        change(content)
        (folder / "model.json").write_text(json.dumps(content), "utf-8")
        with pytest.raises(DataError) as caught:
            Model.load(folder)
        assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_types_that_are_not_trusted_are_named_when_a_model_is_loaded(
    ran: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, result = ran
    result.model.save(tmp_path / "model")
    monkeypatch.setattr("hpsearch.training.objectives.stored_estimator.TRUSTED_PACKAGES", ())
    with pytest.raises(DataError, match=r"model: holds objects of types .* load it with HPSEARCH_TRUST=sklearn in"):
        Model.load(tmp_path / "model")
    assert Model.load(tmp_path / "model", check=False).classes == result.model.classes
    monkeypatch.setenv("HPSEARCH_TRUST", "sklearn")
    assert Model.load(tmp_path / "model").features == result.model.features


def test_no_network_no_onnx(ran: Any, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"the model is the estimator sklearn.ensemble.HistGradientBoosting"):
        export_model(ran[2].model, tmp_path / "model", onnx=True)
    assert not (tmp_path / "model").exists()


@pytest.mark.crash
@pytest.mark.soak  # the test below has two workers, and a study that is killed
def test_the_table_is_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    tables = []
    for workers in (1, 4):
        storage = tmp_path / f"{workers}.db"
        content = given(tmp_path, "classes")
        content["stages"] = [{**STAGES[0], "trials": 4}]
        hpsearch.run(content, storage=storage, tracking_uri="none", workers=workers)
        tables.append(cases.table(storage))
    assert tables[0] == tables[1]


@pytest.mark.crash
@pytest.mark.parametrize("many", [1, pytest.param(10, marks=pytest.mark.soak)])
def test_the_table_is_the_same_after_kills(many: int, tmp_path: Path) -> None:
    """The coordinator, and with it the workers, is killed at several moments; the study is then run to its end."""
    tables = []
    for kills in (0, many):
        folder = tmp_path / str(kills)
        folder.mkdir()
        content = given(folder, "classes")
        content["stages"] = [{**STAGES[0], "trials": 6}]
        (folder / "study.yaml").write_text(json.dumps(content), "utf-8")
        command = [sys.executable, "-m", "hpsearch", "run", "study.yaml", "--tracking-uri", "none", "--workers", "2"]
        database = folder / "boosting.db"
        for kill in range(kills):
            process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            deadline = time.monotonic() + 60
            before = database.stat().st_mtime_ns if database.exists() else 0
            while time.monotonic() < deadline and process.poll() is None:
                wal = database.with_name("boosting.db-wal")
                if wal.exists() and wal.stat().st_size > 0 and wal.stat().st_mtime_ns > before:
                    break
                time.sleep(0.05)
            time.sleep(0.4 * kill)
            process.kill()
            process.wait()
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=200)
        tables.append(cases.table(database))
    assert tables[0] == tables[1]

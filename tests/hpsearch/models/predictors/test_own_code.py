"""Models of a user's own training code are exported, and predict when the user asks for it."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.datasets import load_iris

import hpsearch
from hpsearch.cli import commands
from hpsearch.errors import DataError, OutputError

CENTERS = """
from pathlib import Path
import numpy as np
Path(__file__).with_name("was_run").touch()

def train(params, seed, data, state=None):
    means = np.stack([data.train.x[data.train.y == k].mean(axis=0) for k in range(len(data.classes))])
    yield {"val/loss": float(params["power"])}, lambda: means.astype(np.float32).tobytes()
"""
PREDICT = """
def predict(params, state, rows):
    means = np.frombuffer(state, np.float32).reshape(-1, rows.shape[1])
    return np.abs(rows[:, None] - means).sum(axis=2).argmin(axis=1)
"""


def study(folder: Path, module: str, **changes: Any) -> Any:
    (folder / "centers.py").write_text(module)
    content = {
        "name": "centers",
        "data": {"source": "sklearn", "name": "iris"},
        "train": {"function": "centers.py:train"},
        "parameters": {"power": {"min": 1.0, "max": 2.0}},
        "stages": [{"name": "coarse", "trials": 2, "sampler": "random"}],
        **changes,
    }
    (folder / "study.yaml").write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    return hpsearch.run(folder / "study.yaml", tracking_uri="none", workers=1, executor="inline")


def invoke(*arguments: Any) -> tuple[int, str]:
    result = CliRunner().invoke(commands, [str(argument) for argument in arguments])
    return result.exit_code, f"{result.output}{result.exception or ''}"


def test_a_function_predicts_when_asked(tmp_path: Path) -> None:
    result = study(tmp_path, CENTERS + PREDICT)
    model, rows, out = tmp_path / "model", tmp_path / "rows.csv", tmp_path / "out.csv"
    assert invoke("export", tmp_path / "centers.db", "--to", model)[0] == 0
    assert {p.name for p in model.iterdir()} == {"model.json", "state-0.bin", "sources.zip", "prepared.npz"}
    with zipfile.ZipFile(model / "sources.zip") as archive:
        assert archive.read("centers.py").decode() == CENTERS + PREDICT
    load_iris(as_frame=True).data.to_csv(rows, index=False)
    (tmp_path / "was_run").unlink()
    with pytest.raises(DataError, match=r"it predicts by your own code, centers.py:train, which is not run when a"):
        hpsearch.load_model(model)
    with pytest.raises(DataError, match=r"predicts by your own code, centers.py:train"):
        _ = result.model
    assert not (model / "was_run").exists()
    code, said = invoke("predict", model, rows, "--out", out)
    assert code == 0, said
    right = pd.read_csv(out)["prediction"] == load_iris().target_names[load_iris().target]
    assert right.mean() > 0.8 and list(pd.read_csv(out).columns)[1:] == [
        f"probability of {name}" for name in load_iris().target_names
    ]
    assert not (tmp_path / "was_run").exists() and not (model / "was_run").exists()
    assert result.export(model)["trial"] == result.best.label  # again, over the folder
    with pytest.raises(OutputError, match="your own code, and only networks"):
        result.export(model, onnx=True)


def test_a_module_without_predict_says_so(tmp_path: Path) -> None:
    study(tmp_path, CENTERS).export(tmp_path / "model")
    code, said = invoke("predict", tmp_path / "model", tmp_path / "rows.csv", "--out", tmp_path / "out.csv")
    assert code != 0 and "needs a function predict(params, state, rows) beside it: centers.py: has no 'predict'" in said


def test_what_predict_returns_is_checked(tmp_path: Path) -> None:
    wrong = CENTERS + "\ndef predict(params, state, rows):\n    return np.zeros((len(rows), 7))\n"
    study(tmp_path, wrong).export(tmp_path / "model")
    load_iris(as_frame=True).data.to_csv(tmp_path / "rows.csv", index=False)
    code, said = invoke("predict", tmp_path / "model", tmp_path / "rows.csv", "--out", tmp_path / "out.csv")
    assert code != 0 and "predict(): ValueError: must return an array (150, 3), got the shape (150, 7)" in said


def test_without_data_or_function_the_reason_is_said(tmp_path: Path) -> None:
    plain = "def train(params, seed):\n    return params['power']\n"
    study(tmp_path, plain, data=None).export(tmp_path / "model")
    assert {p.name for p in (tmp_path / "model").iterdir()} == {"model.json", "sources.zip"}
    code, said = invoke("predict", tmp_path / "model", tmp_path / "rows.csv", "--out", tmp_path / "out.csv")
    assert code != 0 and "its study has no data, so hpsearch does not know the form of its rows" in said
    content = (tmp_path / "model" / "model.json").read_text().replace('"centers.py:train",\n  "fol', 'null,\n  "fol')
    (tmp_path / "model" / "model.json").write_text(content)
    code, said = invoke("predict", tmp_path / "model", tmp_path / "rows.csv", "--out", tmp_path / "out.csv")
    assert code != 0 and "predicts by your own code, the command centers.py:train; run it" in said
    (tmp_path / "model" / "model.json").write_text(content.replace('"folds": 1', '"folds": "many"'))
    code, said = invoke("predict", tmp_path / "model", tmp_path / "rows.csv", "--out", tmp_path / "out.csv")
    assert code != 0 and "model.json has another form" in said

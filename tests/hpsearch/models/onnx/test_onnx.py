"""ONNX files: their metadata and inputs, champions of studies, and real data."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import paths
import pytest
from cases import run, small

from engine.activations import ACTIVATIONS
from engine.layers import (
    BatchNorm,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    MaxPool2d,
    MeanPool2d,
)
from engine.losses import Logistic, Loss, SoftmaxCrossEntropy, SquaredError
from engine.network import Network
from hpsearch.data.dataset import prepare
from hpsearch.data.frame import Frame
from hpsearch.data.preprocessing import (
    DTYPE,
    PreprocessingConfig,
    fit,
)
from hpsearch.data.sources import SOURCES
from hpsearch.errors import OutputError
from hpsearch.models.export import build_model
from hpsearch.models.model import Model
from hpsearch.models.onnx import graph, save
from hpsearch.models.predictors.network import NetworkPredictor
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from tests.hpsearch.models.onnx.onnx_cases import (
    agree,
    answers,
    joined,
    modeled,
    of_arrays,
    of_features,
    of_images,
    of_table,
    session,
    table,
)


def test_one_array_is_one_input() -> None:
    for net, shape in ((of_features(), [5]), (of_images(), [2, 7, 6])):
        model, x = of_arrays(net, 2)
        (only,) = session(graph(model).SerializeToString()).get_inputs()
        assert (only.name, only.type, only.shape) == ("x", "tensor(double)", ["rows", *shape])
        agree(model, x[:1])
        agree(model, x[:0])


def test_codes_as_written(tmp_path: Path) -> None:
    """Codes of a CSV file keep their digits from the table to the ONNX file."""
    codes = ["02139", "2139", str(10**18 + 1), str(10**18 + 2), "3.1", "3.10"]
    rows = "".join(f"{code},{k},{'uv'[k % 2]}\n" for k, code in enumerate(codes * 5))
    (tmp_path / "a.csv").write_text(f"code,a,y\n{rows}")
    settings = {"source": "csv", "path": str(tmp_path / "a.csv"), "target": "y", "categorical": ["code"], "drop": ["a"]}
    source = SOURCES["csv"].model_validate(settings)
    dataset, [folds] = prepare(source, 0, tmp_path)
    assert dataset.inputs == (6,) and list(folds[0].categorical["code"].columns) == sorted(codes)
    model = modeled(Network((6,), (Dense(1),), Logistic()), folds)
    read = source.load().x
    assert isinstance(read, Frame) and agree(model, read) < 1e-5
    assert len(np.unique(answers(model, read)["probabilities"])) == 12
    new = pd.read_csv(tmp_path / "a.csv", dtype={"code": str})
    assert model.scores(new).tobytes() == model.scores(read).tobytes()
    large = pd.DataFrame({"code": [10**18 + 2]})
    assert model.scores(large).tobytes() == model.scores(read)[3:4].tobytes()


def test_metadata(tmp_path: Path) -> None:
    model, x = of_arrays(of_features(), 1)
    model = replace(model, about={"study": "s", "trial": "coarse/3", "version": "0.9"})
    save(model, tmp_path / "deep" / "model.onnx")
    onnx.checker.check_model(tmp_path / "deep" / "model.onnx", full_check=True)
    of_it = session((tmp_path / "deep" / "model.onnx").read_bytes())
    meta = of_it.get_modelmeta()
    assert json.loads(meta.custom_metadata_map["classes"]) == list(model.classes)
    assert (meta.custom_metadata_map["study"], meta.custom_metadata_map["trial"]) == ("s", "coarse/3")
    assert meta.producer_name == "hpsearch" and "`prediction`" in meta.description
    made = onnx.load(tmp_path / "deep" / "model.onnx")
    assert made.ir_version == 10 and made.producer_version == "0.9"
    assert (made == graph(model)) and of_it.run(["prediction"], {"x": x})[0].tolist() == model.predict(x).tolist()


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "model.onnx", tmp_path):
        with pytest.raises(OutputError, match="cannot be written"):
            save(of_arrays(of_features(), 1)[0], place)


DATA = paths.DATA


@pytest.mark.parametrize("name", ["iris", "breast_cancer", "diabetes"])
def test_a_champion(name: str, tmp_path: Path) -> None:
    changes = {"train.epochs": 3, "stages.0.trials": 3, "stages.1.trials": 1}
    spec = small(**changes, **{"data": {"source": "sklearn", "name": name}})
    dataset, [folds] = prepare(spec.data, spec.seed, tmp_path)
    study = run(spec, dataset, tmp_path / "small.db")
    storage = StudyDatabase.open(url_of(str(tmp_path / "small.db")), create=False)
    (stored,) = storage.weights.load().values()
    storage.close()
    assert study.best is not None and stored is not None
    agree(build_model(spec, dataset, folds, study.best, stored.weights), spec.data.load().x)


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(), Logistic(), SquaredError()], ids=lambda x: type(x).__name__)
def test_ensembles_of_tables(loss: Loss) -> None:
    """One graph with one input per column, for members with other preprocessing, widths and numbers of folds."""
    frame = table()
    configs = [PreprocessingConfig("standard"), PreprocessingConfig("quantile", min_frequency=9, max_categories=2)]
    models = [of_table(frame, config, folds, loss, seed=folds) for folds, config in enumerate(configs, 1)]
    assert models[0].network.inputs != models[1].network.inputs
    ensemble = joined(*models)
    agree(ensemble, frame)
    names = [[given.name for given in graph(model).graph.input] for model in (ensemble, models[0])]
    assert names[0] == names[1]
    apart = np.abs(models[0].scores(frame) - ensemble.scores(frame)).max()
    assert apart > 0.01, "the members predict the same"


def test_ensembles_of_images() -> None:
    first, x = of_arrays(of_images(Conv2d(2, 3)), 2, "standard")
    second, _ = of_arrays(of_images(), 1, "minmax", seed=3)
    third, _ = of_arrays(of_images(Conv2d(3, 3, padding=1)), 1)
    agree(joined(first, second, third), x)


REAL: dict[str, dict[str, Any]] = {
    "titanic": {"source": "csv", "path": "titanic.csv", "target": "survived", "drop": ["alive"]},
    "california": {"source": "csv", "path": "california.csv", "target": "median_house_value"},
    "german": {"source": "csv", "path": "german.csv", "target": -1, "header": False},
    "adult": {"source": "csv", "path": "adult-test.csv", "target": -1, "header": False, "missing": ["?"]},
    "phoneme": {"source": "csv", "path": "phoneme.csv", "target": -1, "header": False, "task": "classification"},
}


@pytest.mark.parametrize("scale", ["standard", "quantile"])
@pytest.mark.parametrize("name", REAL)
def test_real_tables(name: str, scale: str) -> None:
    """Three folds on the first rows, rare categories grouped; predictions for all rows."""
    content = REAL[name] | {"path": str(DATA / REAL[name]["path"])}
    if not Path(content["path"]).exists():
        pytest.skip(f"there is no {content['path']}")
    read = SOURCES["csv"].model_validate(content).load()
    assert isinstance(read.x, Frame)
    loss = (Logistic() if len(read.classes) == 2 else SoftmaxCrossEntropy()) if read.classes else SquaredError()
    agree(of_table(read.x, PreprocessingConfig(scale, min_frequency=5, max_categories=20), 3, loss, fitted=600), read.x)


def test_real_images() -> None:
    """LeNet-5 with two folds on MNIST."""
    if not (DATA / "mnist.npz").exists():
        pytest.skip(f"there is no {DATA / 'mnist.npz'}")
    with np.load(DATA / "mnist.npz", allow_pickle=False) as file:
        x = file["Xte"][:600].reshape(-1, 784).astype(np.float64)
    relu = ACTIVATIONS["relu"]()
    layers = (Conv2d(6, 5, padding=2), relu, MaxPool2d(2), Conv2d(16, 5), relu, MeanPool2d(2), Flatten(), Dense(84))
    net = Network((1, 28, 28), (*layers, BatchNorm(), relu, Dropout(0.5), Dense(10)), SoftmaxCrossEntropy())
    numbers = [np.arange(0, 300, 2), np.arange(1, 300, 2)]
    folds = fit(
        x,
        np.zeros(len(x)),
        [str(k) for k in range(784)],
        {},
        net.inputs,
        PreprocessingConfig(),
        numbers,
        regression=False,
    )
    theta = np.stack([net.initialize(np.random.default_rng(seed), DTYPE) for seed in (1, 2)])
    agree(Model(NetworkPredictor(net, theta), folds, tuple("0123456789"), {}), x)

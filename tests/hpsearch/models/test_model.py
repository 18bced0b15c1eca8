"""Models: a loaded model predicts the same bits, in this process or another; frames and arrays that it accepts."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cases import run, small
from people_cases import people, run_study

import hpsearch
from engine.data.scaling import SCALERS
from engine.layers import Dense, Flatten
from engine.network import Network
from hpsearch.config.spec import Spec
from hpsearch.core.seeds import derive
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.data.preprocessing import DTYPE, Preprocessing
from hpsearch.data.sources import Source
from hpsearch.data.splits import part_indices
from hpsearch.errors import DataError, OutputError
from hpsearch.models.export import build_model
from hpsearch.models.model import FORMAT, Model
from hpsearch.models.predictors.network import NetworkPredictor
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase

KINDS = {"softmax": "iris", "sigmoid": "breast_cancer", "regression": "diabetes"}
CHANGES = {"train.epochs": 3, "stages.0.trials": 3, "stages.1.trials": 1}


@pytest.fixture(scope="module", params=KINDS)
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Spec, Dataset, Model, dict[str, float]]:
    """Return the champion's model of a study of each kind, and its scores."""
    folder = tmp_path_factory.mktemp(request.param)
    spec = small(**CHANGES, **{"data": {"source": "sklearn", "name": KINDS[request.param]}})
    dataset, [[scaling]] = prepare(spec.data, spec.seed, folder)
    study = run(spec, dataset, folder / "small.db")
    storage = StudyDatabase.open(url_of(str(folder / "small.db")), create=False)
    (stored,) = storage.weights.load().values()
    storage.close()
    assert study.best is not None and stored is not None
    return spec, dataset, build_model(spec, dataset, [scaling], study.best, stored.weights), dict(study.best.metrics)


def test_save_and_load(trained: tuple[Spec, Dataset, Model, dict[str, float]], tmp_path: Path) -> None:
    spec, _, model, _ = trained
    x = spec.data.load().x
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model")
    assert again.network == model.network and again.classes == model.classes and again.about == model.about
    assert (again.theta == model.theta).all() and again.theta.dtype == np.float32
    assert again.scores(x).tobytes() == model.scores(x).tobytes()
    assert (again.predict(x) == model.predict(x)).all()
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["model.json", "weights.npz"]


def test_another_process(trained: tuple[Spec, Dataset, Model, dict[str, float]], tmp_path: Path) -> None:
    """Another process needs only the folder and the rows, and imports no slow library."""
    spec, _, model, _ = trained
    x = spec.data.load().x
    model.save(tmp_path / "model")
    np.save(tmp_path / "x.npy", x, allow_pickle=False)
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from hpsearch.models.model import Model\n"
        "folder = Path(sys.argv[1])\n"
        "scores = Model.load(folder / 'model').scores(np.load(folder / 'x.npy', allow_pickle=False))\n"
        "np.save(folder / 'scores.npy', scores, allow_pickle=False)\n"
        "assert not {'mlflow', 'optuna', 'sklearn'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, capture_output=True)
    found = np.load(tmp_path / "scores.npy", allow_pickle=False)
    assert found.tobytes() == model.scores(x).tobytes()


def test_scores_are_those_of_the_study(trained: tuple[Spec, Dataset, Model, dict[str, float]]) -> None:
    """The accuracy on the raw test rows is the test accuracy of the study."""
    spec, dataset, model, metrics = trained
    rows, test = spec.data.load(), dataset.part("test")
    assert test is not None
    scores, names = model.scores(rows.x), model.predict(rows.x)
    assert names.shape == (len(rows.x),)
    if not dataset.classes:
        assert scores.shape == (len(rows.x), 1) and (scores[:, 0] == names).all()
        assert np.ptp(names) > 1 and abs(names.mean() - rows.y.mean()) < rows.y.std()  # in the units of the target
        return
    assert scores.shape == (len(rows.x), len(dataset.classes))
    assert np.allclose(scores.sum(axis=1), 1) and (scores >= 0).all()
    assert set(names) <= set(dataset.classes)
    assert model.preprocessing[0].input_scaler is not None
    unscaled = model.preprocessing[0].input_scaler.invert(test.x.astype(np.float64))
    truth = test.y.argmax(axis=1) if test.y.shape[1] > 1 else test.y[:, 0].astype(int)
    right = np.mean(model.predict(unscaled) == np.array(dataset.classes)[truth])
    assert right == pytest.approx(metrics["test/accuracy"])


def test_about(trained: tuple[Spec, Dataset, Model, dict[str, float]]) -> None:
    spec, dataset, model, metrics = trained
    assert model.about["study"] == spec.name and model.about["data"] == dataset.fingerprint
    assert model.about["metrics"] == metrics
    assert set(model.about["parameters"]) == set(spec.parameters)
    json.dumps(model.about, allow_nan=False)


def test_wrong_rows(trained: tuple[Spec, Dataset, Model, dict[str, float]]) -> None:
    _, dataset, model, _ = trained
    (features,) = dataset.inputs
    for shape in ((3, features + 1), (features,), (1, 1, features), ()):
        with pytest.raises(DataError, match=f"must have {features} features, got an array of shape"):
            model.scores(np.zeros(shape))


def build(source: Source, folder: Path) -> tuple[Dataset, Model]:
    """Return a dataset and a model of it with untrained weights."""
    spec = small().model_copy(update={"data": source})
    dataset, [[scaling]] = prepare(source, 3, folder)
    outputs = Dense(dataset.outputs)
    layers = (outputs,) if len(dataset.inputs) == 1 else (Flatten(), outputs)
    net = Network(dataset.inputs, layers, dataset.loss)
    theta = net.initialize(np.random.default_rng(1), DTYPE)[None]
    return dataset, Model(NetworkPredictor(net, theta), (scaling,), dataset.classes, {"study": spec.name})


SOURCES_BY_TASK: dict[str, dict[str, Any]] = {
    "classes": {"source": "sklearn", "name": "wine"},
    "images": {"source": "sklearn", "name": "digits", "image": [1, 8, 8]},
    "channels": {"source": "sklearn", "name": "digits", "image": [4, 8, 2]},
    "values": {"source": "formula", "name": "curve"},
    "unscaled values": {"source": "formula", "name": "curve", "target_scale": "none"},
}


@pytest.mark.parametrize("task", SOURCES_BY_TASK)
@pytest.mark.parametrize("scale", [*SCALERS, "none"])
def test_every_scaling_is_restored(scale: str, task: str, tmp_path: Path) -> None:
    """A loaded model predicts the same bits, and the outputs of the network for the prepared test rows."""
    source = small(data={**SOURCES_BY_TASK[task], "scale": scale}).data
    dataset, model = build(source, tmp_path)
    rows, test = source.load(), dataset.part("test")
    assert test is not None
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model")
    assert again.scores(rows.x).tobytes() == model.scores(rows.x).tobytes()
    for name in ("input_scaler", "target_scaler"):
        one, other = getattr(model.preprocessing[0], name), getattr(again.preprocessing[0], name)
        assert type(one) is type(other)
        if one is not None:
            assert all((getattr(one, f.name) == getattr(other, f.name)).all() for f in dataclasses.fields(one))
    raw = rows.x[part_indices(rows, source.split, derive(3, "split"))["test"]]
    outputs = model.network.predict(model.theta, test.x)[0].astype(np.float64)
    if model.preprocessing[0].target_scaler is not None:
        outputs = outputs * model.preprocessing[0].target_scaler.deviation + model.preprocessing[0].target_scaler.mean  # type: ignore[attr-defined]
    assert np.allclose(again.scores(raw), outputs, rtol=1e-6, atol=1e-6)
    assert (again.preprocessing[0].inputs(raw, dataset.inputs) == test.x).all()


@pytest.mark.parametrize("task", ["images", "channels"])
def test_images_in_both_shapes(task: str, tmp_path: Path) -> None:
    source = small(data=SOURCES_BY_TASK[task]).data
    dataset, model = build(source, tmp_path)
    x = source.load().x[:50]
    assert source.image == dataset.inputs
    images = x.reshape(50, *dataset.inputs)
    assert model.scores(images).tobytes() == model.scores(x).tobytes()
    assert (model.predict(images) == model.predict(x)).all() and len(set(model.predict(x))) > 1
    channels, height, width = dataset.inputs
    for shape in ((50, 63), (50, 8, 8), (50, height, width, channels), dataset.inputs, (50, 2, 4, 8)):
        with pytest.raises(DataError) as caught:
            model.scores(np.zeros(shape))
        want = f"rows must have 64 features or be images of {dataset.inputs}, got an array of shape {shape}"
        assert str(caught.value) == want


@pytest.mark.parametrize("damage", ["unknown scaler", "no arrays", "no scale"])
def test_bad_scaling(damage: str, tmp_path: Path) -> None:
    """A model without its scaling is refused: it would predict wrong values without an error."""
    _, model = build(small(data={"source": "sklearn", "name": "iris", "scale": "minmax"}).data, tmp_path)
    folder = tmp_path / "model"
    model.save(folder)
    content = json.loads((folder / "model.json").read_text("utf-8"))
    message = {"unknown scaler": "did you mean 'minmax'", "no arrays": "x_minimum", "no scale": "scale"}[damage]
    if damage == "unknown scaler":
        content["preprocessing"][0]["scale"]["x"] = "minmaxx"
    elif damage == "no scale":
        del content["preprocessing"][0]["scale"]
    else:
        np.savez(folder / "weights.npz", theta=model.theta)
    (folder / "model.json").write_text(json.dumps(content), "utf-8")
    with pytest.raises(DataError, match=message):
        Model.load(folder)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    spec = small(**CHANGES)
    dataset, [[scaling]] = prepare(spec.data, spec.seed, folder)
    study = run(spec, dataset, folder / "small.db")
    assert study.best is not None
    from hpsearch.training.network import build_network

    size = build_network(spec, dataset, study.best.point).size
    weights = np.zeros(size, np.float32).tobytes()
    build_model(spec, dataset, [Preprocessing(scaling.input_scaler, None)], study.best, weights).save(folder / "model")
    return folder / "model"


@pytest.mark.parametrize(
    "damage",
    [
        "nothing",
        "no folder",
        "no weights",
        "no json",
        "text for weights",
        "text for json",
        "list",
        "no network",
        "unknown layer",
        "unknown setting",
        "cut weights",
        "pickle",
        "no theta",
        "theta of another net",
    ],
)
def test_bad_folders(saved: Path, tmp_path: Path, damage: str) -> None:
    """The message names the folder."""
    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    weights, content = folder / "weights.npz", folder / "model.json"
    text = content.read_text("utf-8")
    match damage:
        case "nothing":
            assert Model.load(folder).classes
            return
        case "no folder":
            folder = tmp_path / "none"
        case "no weights":
            weights.unlink()
        case "no json":
            content.unlink()
        case "text for weights":
            weights.write_text("weights")
        case "text for json":
            content.write_text("{")
        case "list":
            content.write_text("[]")
        case "no network":
            content.write_text(text.replace('"network"', '"net"'))
        case "unknown layer":
            content.write_text(text.replace('"dense"', '"densest"'))
        case "unknown setting":
            content.write_text(text.replace('"units"', '"unit"'))
        case "cut weights":
            weights.write_bytes(weights.read_bytes()[:-80])
        case "pickle":
            np.savez(weights, theta=np.array([{}], object))
        case "no theta":
            np.savez(weights, other=np.zeros(3))
        case "theta of another net":
            np.savez(weights, theta=np.zeros((1, 3), np.float32))
    assert damage in ("no folder",) or folder.exists()
    with pytest.raises(DataError) as caught:
        Model.load(folder)
    assert str(folder) in str(caught.value)


def test_another_format(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "model")
    content = tmp_path / "model" / "model.json"
    content.write_text(content.read_text("utf-8").replace(f'"format": {FORMAT}', '"format": 999'))
    with pytest.raises(DataError, match=f"its format is 999, this version reads {FORMAT}"):
        Model.load(tmp_path / "model")


def test_keys_of_the_format(saved: Path) -> None:
    """A change of these keys needs another `FORMAT`, so that another version names the format and not a missing key."""
    content = json.loads((saved / "model.json").read_text("utf-8"))
    names = "about classes count features format input_format network others preprocessing"
    assert (FORMAT, " ".join(sorted(content))) == (5, names)
    assert sorted(content["preprocessing"][0]) == ["categorical", "missing_indicators", "numeric", "scale"]


def test_folder_that_cannot_be_written(saved: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OutputError, match="cannot be written"):
        Model.load(saved).save(file / "model")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, hpsearch.StudyResult]:
    """Return the folder and the result of a study with folds and two ways of preprocessing."""
    folder = tmp_path_factory.mktemp("study")
    return folder, run_study(folder)


def test_frames_of_all_kinds(ran: tuple[Path, hpsearch.StudyResult]) -> None:
    """Any column order, more columns, other types of the same values, missing cells, unknown categories."""
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

"""Files are data: code hidden in them never runs. Passwords in URLs are never printed."""

import io
import json
import os
import pickle
import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest

from engine.training.state import State
from engine.types import EngineError
from hpsearch.config.load import load_spec
from hpsearch.core.text import redacted
from hpsearch.data.dataset import prepare
from hpsearch.data.sources import SOURCES
from hpsearch.errors import DataError, HpsearchError, SpecError
from hpsearch.models.model import Model
from hpsearch.models.predictors.network import NetworkPredictor
from hpsearch.storage.database import display_name
from tests.crash.test_files import harmless
from tests.crash.test_names import TINY
from tests.hpsearch import test_cli

call = test_cli.call
SECRET = "hunter2"


class Canary:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """Return a folder that must not exist at the end."""
    return tmp_path / "canary"


def objects(folder: Path) -> np.ndarray[Any, Any]:
    return np.array([Canary(folder)] * 6, object)


def test_the_canary_works(canary: Path) -> None:
    """Unpickling creates the folder, so the other tests can fail."""
    pickle.loads(pickle.dumps(Canary(canary)))
    assert canary.is_dir()


ARRAYS: dict[str, np.ndarray[Any, Any]] = {"x": np.eye(6), "y": np.arange(6) % 2}


@pytest.mark.parametrize("which", ["x", "y", "test_x", "test_y", "raw pickle", "pickle in a zip"])
def test_data_with_objects(which: str, canary: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    arrays = ARRAYS | {"test_x": np.eye(6), "test_y": np.arange(6) % 2}
    if which == "raw pickle":
        path.write_bytes(pickle.dumps(Canary(canary)))
    elif which == "pickle in a zip":
        import zipfile

        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", pickle.dumps(Canary(canary)))
            archive.writestr("y.npy", pickle.dumps(Canary(canary)))
    else:
        np.savez(path, **(arrays | {which: objects(canary)}))
    names = {"test_x": "test_x", "test_y": "test_y"} if which.startswith("test") else {}
    with pytest.raises(DataError) as caught:
        SOURCES["npz"].model_validate({"path": str(path), **names}).load()
    assert str(caught.value).startswith(f"data: npz: {path}: ")
    assert not canary.exists()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a valid model."""
    from hpsearch.core.seeds import derive
    from hpsearch.training.network import build_network

    folder = tmp_path_factory.mktemp("saved")
    spec = cases.small(**TINY)
    dataset, [[scaling]] = prepare(spec.data, spec.seed, folder)
    net = build_network(
        spec, dataset, {"hidden_units": 4, "learning_rate": 0.1, "beta": 0.9, "batch_size": 16, "l2": 0.0}
    )
    theta = np.random.default_rng(derive(0, "theta")).normal(size=(1, net.size)).astype(np.float32)
    Model(NetworkPredictor(net, theta), (scaling,), dataset.classes, {"study": "small"}).save(folder / "model")
    return folder / "model"


@pytest.mark.parametrize("which", ["theta", "0_x_mean", "0_x_deviation", "raw pickle", "network"])
def test_models_with_objects(which: str, saved: Path, canary: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    assert Model.load(folder).classes
    with np.load(saved / "weights.npz", allow_pickle=False) as file:
        arrays = dict(file)
    if which == "raw pickle":
        (folder / "weights.npz").write_bytes(pickle.dumps(Canary(canary)))
    elif which == "network":
        content = json.loads((folder / "model.json").read_text("utf-8"))
        content["network"] = {"layer": "os.system", "command": f"mkdir {canary}"}
        (folder / "model.json").write_text(json.dumps(content), "utf-8")
    else:
        assert which in arrays
        np.savez(folder / "weights.npz", **(arrays | {which: objects(canary)}))
    with pytest.raises(DataError) as caught:
        Model.load(folder)
    assert str(caught.value).startswith(f"{folder}: contains no model that this version can read") and harmless(
        str(caught.value)
    )
    assert not canary.exists()


@pytest.mark.parametrize("which", ["meta", "matrices", "values", "counts", "raw pickle"])
def test_checkpoints_with_objects(which: str, canary: Path) -> None:
    """The checksum is correct: it protects against damage, not against an attacker."""
    ones = np.ones((1, 3))
    counts = np.ones(1, np.int64)
    generators = [np.random.default_rng(0)]
    state = State(ones, {"velocity": ones}, generators, 1, 1, ones, ones[:, 0], counts, ones[:, 0], counts)
    file = io.BytesIO(state.to_bytes())
    arrays = {name: np.load(file) for name in ("meta", "matrices", "values", "counts")}
    assert State.from_bytes(checkpoint(arrays)).epoch == state.epoch
    if which == "raw pickle":
        data = pickle.dumps(Canary(canary))
        data += zlib.crc32(data).to_bytes(4)
    else:
        assert which in arrays
        data = checkpoint(arrays | {which: objects(canary)})
    with pytest.raises(EngineError, match=r"not a checkpoint: (?!it is damaged)"):
        State.from_bytes(data)
    assert not canary.exists()


def checkpoint(arrays: dict[str, np.ndarray[Any, Any]]) -> bytes:
    """Return a checkpoint of the arrays with a correct checksum."""
    file = io.BytesIO()
    for array in arrays.values():
        np.save(file, array, allow_pickle=True)
    return file.getvalue() + zlib.crc32(file.getvalue()).to_bytes(4)


TAGS = (
    "!!python/object/apply:os.mkdir [{}]",
    "!!python/object/new:os.mkdir [{}]",
    "!!python/object/apply:subprocess.check_call [[mkdir, {}]]",
    "!<tag:yaml.org,2002:python/object/apply:os.mkdir> [{}]",
    "!!python/name:os.mkdir {}",
    "!!python/module:os {}",
    "!!python/tuple [{}]",
    "!!int {}",
)


@pytest.mark.parametrize("tag", TAGS)
def test_tags(tag: str, canary: Path, tmp_path: Path) -> None:
    """In the file, in `--set`, in a key, below an alias."""
    evil = tag.replace("{}", str(canary))
    sound = cases.write(tmp_path)
    study = tmp_path / "evil.yaml"
    for text in (
        f"name: {evil}\n",
        evil,
        f"? {evil}\n: 1\n",
        f"seed: &a {evil}\nname: *a\n",
        f"data: {{<<: {evil}}}\n",
    ):
        study.write_text(text)
        with pytest.raises(SpecError):
            load_spec(study)
    with pytest.raises(SpecError):
        load_spec(sound, (f"seed={evil}",))
    assert not canary.exists()


# URLs with a password and no server; drivers need not be installed.
URLS = (
    "postgresql://u:{}@127.0.0.1:1/db",
    "postgresql+psycopg2://u:{}@127.0.0.1:1/db",
    "postgresql+nonsense://u:{}@127.0.0.1:1/db",
    "mysql+pymysql://u:{}@127.0.0.1:1/db",
    "mssql://u:{}@127.0.0.1:1/db",
    "nonsense://u:{}@127.0.0.1:1/db",
    "postgresql://u:{}@127.0.0.1:port/db",
    "postgresql://u:{}@127.0.0.1:99999999/db",
    "postgresql://u:a@{}@127.0.0.1/db",
    "postgresql://u:a {}@127.0.0.1/db",
    "postgresql://127.0.0.1:1/db?user=u&password={}",
    "sqlite://u:{}@127.0.0.1/a.db",
    "sqlite://u:{}@/a.db",
    "://u:{}@127.0.0.1/db",
    "a b://u:{}@127.0.0.1/db",
    "http://u:{}@127.0.0.1:1",
)


def silent(text: str) -> bool:
    return SECRET not in text and harmless(text)


@pytest.mark.filterwarnings("ignore")  # messages of drivers
@pytest.mark.parametrize("url", URLS)
def test_passwords_of_databases(url: str, call: test_cli.Call, tmp_path: Path) -> None:
    full = url.replace("{}", SECRET)
    study = cases.write(tmp_path, **TINY)
    for arguments in (
        ("run", study, "--storage", full, "--tracking-uri", "none"),
        ("resume", full, "--tracking-uri", "none"),
        ("show", full),
        ("show", full, "--json"),
        ("check", study, "--set", f"data.path={full}"),
        ("check", full),
    ):
        said = call(*arguments)
        assert said.code == 2 and said.out == "" and said.err.startswith("error: "), said
        assert silent(said.err) and "Traceback" not in said.err
    assert not [p for p in tmp_path.rglob("*") if SECRET in p.name]


def test_passwords_of_trackers(tmp_path: Path) -> None:
    """The study completes; neither the tracker's message nor the database contains the password."""
    study = cases.write(tmp_path, **TINY)
    process = subprocess.run(
        [test_cli.COMMAND, "run", study, "--tracking-uri", f"http://u:{SECRET}@127.0.0.1:1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"},
    )
    assert process.returncode == 0 and "warning: MLflow" in process.stderr, process
    assert silent(process.stdout) and silent(process.stderr)
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()


@pytest.mark.parametrize("url", URLS)
def test_passwords_in_mlflow(url: str) -> None:
    """The tag of the experiment that names the database."""
    try:
        assert silent(display_name(url.replace("{}", SECRET)))
    except HpsearchError as error:
        assert silent(str(error))


@pytest.mark.parametrize("url", URLS)
def test_redacted(url: str) -> None:
    full = url.replace("{}", SECRET)
    for say in (redacted, lambda text: str(HpsearchError(text)), lambda text: str(DataError(f"a '{text}' b"))):
        text: Callable[[str], str] = say
        assert SECRET not in text(full) and SECRET not in text(f"{full} {full}")


def test_redacted_keeps_other_text() -> None:
    for text in ("sqlite:///a@b.db", "http://127.0.0.1:5000/x", "a: b@c", "studies/a.yaml:3: x: got 'password=3'"):
        assert redacted(text) == text

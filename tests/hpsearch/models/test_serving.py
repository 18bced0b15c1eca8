"""The champion as an MLflow model: its signature, and the same predictions wherever it is served."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pandas as pd
import pytest

from engine.layers import Dense, Flatten
from engine.network import Network
from hpsearch import __version__
from hpsearch.data.dataset import EXAMPLE_CELLS, EXAMPLE_ROWS, example_rows, prepare
from hpsearch.data.preprocessing import DTYPE
from hpsearch.errors import DataError
from hpsearch.models.model import Model
from hpsearch.models.predictors.network import NetworkPredictor
from hpsearch.tracking.mlflow.model_registry import write_mlflow_files

# Raised when MLflow is imported, by its own mappers with the installed SQLAlchemy, and by its own type hints.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
]
SECRET = "hunter-22"
ROWS = 90


def people() -> pd.DataFrame:
    """Return a table with floats, integers, text, digits as text and Booleans, each with missing cells."""
    generator = np.random.default_rng(3)
    table = pd.DataFrame(
        {
            "age": generator.integers(18, 90, ROWS).astype(object),
            "size (m)": generator.normal(size=ROWS).astype(object),
            "secret": [f"{SECRET}-{k}" for k in range(ROWS)],
            "city": generator.choice(np.array(["Ulm", "São Paulo", "a, b"], object), ROWS),
            "zone": generator.choice(np.array([1, 2, 30], object), ROWS),
            "member": generator.choice(np.array([True, False], object), ROWS),
            "income": generator.choice(np.array(["low", "high", "none"], object), ROWS),
        }
    )
    for k, name in enumerate(("age", "size (m)", "city", "zone", "member")):
        table.loc[table.index[k::7], name] = None
    return table


def data(folder: Path, kind: str) -> dict[str, Any]:
    """Return the `data` section of a study file for a kind of rows."""
    if kind in ("table", "regression"):
        path = folder / "people.csv"
        target = "income" if kind == "table" else "size (m)"
        people().dropna(subset=[target]).to_csv(path, index=False)
        table = {"source": "csv", "path": str(path), "target": target, "drop": ["secret"], "categorical": ["zone"]}
        return table if kind == "table" else {**table, "drop": ["secret", "income"]}
    if kind == "images":
        return {"source": "sklearn", "name": "digits", "image": [1, 8, 8]}
    return {"source": "sklearn", "name": kind}


KINDS = ("table", "regression", "iris", "breast_cancer", "diabetes", "images")


def built(folder: Path, kind: str) -> tuple[Model, list[list[Any]]]:
    """Return an untrained model of a kind of rows, and its example rows."""
    spec = cases.small(data=data(folder, kind))
    with contextlib.suppress(FileExistsError):
        (folder / "rows").mkdir()
    dataset, [folds] = prepare(spec.data, spec.seed, folder / "rows")
    outputs = Dense(dataset.outputs)
    layers = (outputs,) if len(dataset.inputs) == 1 else (Flatten(), outputs)
    net = Network(dataset.inputs, layers, dataset.loss)
    theta = net.initialize(np.random.default_rng(1), DTYPE)[None]
    model = Model(NetworkPredictor(net, theta), folds, dataset.classes, {"study": spec.name})
    return model, model.preprocessing[0].input_format["example"]  # type: ignore[return-value]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def saved(model: Model, folder: Path) -> Path:
    """Write the folder of a model as in MLflow, and return it."""
    model.save(folder, example=True)
    write_mlflow_files(model, folder)
    return folder


def loaded(folder: Path) -> Any:
    from mlflow import pyfunc

    return pyfunc.load_model(str(folder), suppress_warnings=True)


def answered(served: Any, request: dict[str, Any]) -> Any:
    """Return the response of MLflow's scoring server, computed in this process."""
    from mlflow.pyfunc.scoring_server import invocations

    answer = invocations(json.dumps(request), "application/json", served, served.metadata.get_input_schema())
    assert answer.status == 200
    return json.loads(answer.response)["predictions"]


def shuffled(split: dict[str, Any]) -> dict[str, Any]:
    """Return the rows with the columns in another order and an additional one."""
    columns, rows = split["columns"], split["data"]
    return {"columns": ["more", *reversed(columns)], "data": [["x", *reversed(row)] for row in rows]}


def records(split: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(split["columns"], row, strict=True)) for row in split["data"]]


def test_predictions(kind: str, tmp_path: Path) -> None:
    """The same bits for a frame and for JSON."""
    model, rows = built(tmp_path, kind)
    split = {"columns": list(model.features), "data": rows}
    frame = pd.DataFrame(rows, columns=list(model.features))
    want = model.predictions(frame)
    served = loaded(saved(model, tmp_path / "model"))
    pd.testing.assert_frame_equal(served.predict(frame), want, check_exact=True)
    pd.testing.assert_frame_equal(served.predict(served.input_example), want, check_exact=True)
    said = want.to_dict(orient="records")
    for asked in (split, shuffled(split)):
        assert answered(served, {"dataframe_split": asked}) == said
        assert answered(served, {"dataframe_records": records(asked)}) == said
    request = json.loads((tmp_path / "model" / "serving_input_example.json").read_text("utf-8"))
    assert answered(served, request) == said


CELLS_OF_CLIENTS: list[dict[str, Any]] = [
    {"age": 40, "size (m)": 0.5, "city": "Ulm", "zone": 30, "member": True},
    {"age": 40.0, "size (m)": "0.5", "city": " Ulm", "zone": "30", "member": "true"},
    {"age": None, "size (m)": None, "city": None, "zone": None, "member": None},
    {"age": 1e9, "size (m)": -1, "city": "Atlantis", "zone": 4, "member": "maybe"},
    {"age": 41, "size (m)": 0, "zone": 2, "member": False},  # a record that lacks a cell
]


@pytest.mark.parametrize("count", [1, 3, 5])
def test_accepted_cells(count: int, tmp_path: Path) -> None:
    """Missing cells, unknown categories, numbers in place of text and vice versa."""
    model, _ = built(tmp_path, "table")
    served = loaded(saved(model, tmp_path / "model"))
    columns = list(model.features)
    for rows in (CELLS_OF_CLIENTS[:count], CELLS_OF_CLIENTS[-count:]):
        cells = [[row.get(name) for name in columns] for row in rows]
        want = model.predictions(np.array(cells, object)).to_dict(orient="records")
        assert answered(served, {"dataframe_records": [{"city": None, **row} for row in rows]}) == want
        assert answered(served, {"dataframe_split": {"columns": columns, "data": cells}}) == want
    first, second = (answered(served, {"dataframe_records": [row]}) for row in CELLS_OF_CLIENTS[:2])
    assert first == second
    missing, unknown = (answered(served, {"dataframe_records": [CELLS_OF_CLIENTS[k]]}) for k in (2, 3))
    assert len({json.dumps(found) for found in (first, missing, unknown)}) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"age": "old"}, r"age.*old"),
        ({"age": 1e999}, r"age.*(finite|inf)"),
        ({"city": ["Ulm"]}, "column 'city' holds lists"),
        ({"city": None, "City": "Ulm", "-": "city"}, "rows must have the column 'city'; did you mean 'City'"),
    ],
)
def test_refused_cells(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    """The status is 400 and the message names the column."""
    from mlflow.exceptions import MlflowException

    model, _ = built(tmp_path, "table")
    served = loaded(saved(model, tmp_path / "model"))
    row = {**CELLS_OF_CLIENTS[0], **change}
    row.pop(row.pop("-", ""), None)
    with pytest.raises(MlflowException, match=words) as caught:
        answered(served, {"dataframe_records": [row]})
    assert caught.value.get_http_status_code() == 400


def test_frames_of_read_csv(tmp_path: Path) -> None:
    """Whole numbers, text that pandas reads as numbers, Booleans and nullable types, also as sent in CSV."""
    from mlflow.pyfunc.scoring_server import invocations, parse_csv_input

    model, _ = built(tmp_path, "table")
    served = loaded(saved(model, tmp_path / "model"))
    table = people().drop(columns=["income"])
    table.to_csv(tmp_path / "new.csv", index=False)
    want = model.predictions(table)
    whole = table.assign(age=np.arange(ROWS), zone=np.arange(ROWS) % 3, member=np.arange(ROWS) % 2 == 0)
    whole.to_csv(tmp_path / "whole.csv", index=False)
    read = pd.read_csv(tmp_path / "whole.csv")
    assert [str(read[name].dtype) for name in ("age", "zone", "member")] == ["int64", "int64", "bool"]
    text = pd.read_csv(tmp_path / "whole.csv", dtype={"zone": str})
    for frame in (read, read.convert_dtypes(), text, parse_csv_input(str(tmp_path / "whole.csv"))):
        pd.testing.assert_frame_equal(served.predict(frame), model.predictions(whole), check_exact=True)
    pd.testing.assert_frame_equal(served.predict(pd.read_csv(tmp_path / "new.csv")), want, check_exact=True)
    answer = invocations((tmp_path / "new.csv").read_text(), "text/csv", served, served.metadata.get_input_schema())
    assert answer.status == 200 and json.loads(answer.response)["predictions"] == want.to_dict(orient="records")
    columns = {"inputs": {name: whole[name].tolist() for name in model.features}}
    assert answered(served, columns) == model.predictions(whole).to_dict(orient="records")


def test_missing_cells_of_an_array(tmp_path: Path) -> None:
    from mlflow.exceptions import MlflowException

    model, rows = built(tmp_path, "iris")
    served = loaded(saved(model, tmp_path / "model"))
    with pytest.raises(MlflowException, match="must not have missing cells"):
        served.predict(pd.DataFrame([[None, *rows[0][1:]]], columns=list(model.features), dtype=float))


def test_signature(kind: str, tmp_path: Path) -> None:
    """The outputs are those of the predictions; the input columns, by name and in order, are in the metadata."""
    model, _ = built(tmp_path, kind)
    metadata = loaded(saved(model, tmp_path / "model")).metadata
    signature, inputs = metadata.signature, metadata.metadata["inputs"]
    outputs = [(column["name"], column["type"], column["required"]) for column in signature.outputs.to_dict()]
    assert signature.inputs is None  # MLflow would refuse whole numbers in a column of doubles
    texts = {"city", "zone", "member"} & set(model.features)
    assert len(texts) == (3 if kind in ("table", "regression") else 0)
    assert inputs == [{"name": name, "type": "string" if name in texts else "double"} for name in model.features]
    assert outputs[0] == ("prediction", "string" if model.classes else "double", True)
    assert outputs[1:] == [(f"probability of {name}", "double", True) for name in model.classes]


def test_files(kind: str, tmp_path: Path) -> None:
    """No pickle, one copy of the weights, and no path, secret or dropped column in any file."""
    model, rows = built(tmp_path, kind)
    folder = saved(model, tmp_path / "model")
    plain = {"model.json", "weights.npz"}
    beside = {"MLmodel", "serving.py", "requirements.txt", "python_env.yaml"}
    assert {p.name for p in folder.rglob("*")} == plain | beside | {"input_example.json", "serving_input_example.json"}
    again = Model.load(folder)
    assert again.theta.tobytes() == model.theta.tobytes() and again.preprocessing[0].input_format["example"] == rows
    assert (folder / "requirements.txt").read_text("utf-8") == f"hpsearch=={__version__}\n"
    for path in folder.iterdir():
        assert SECRET.encode() not in path.read_bytes() and str(tmp_path).encode() not in path.read_bytes(), path
        assert b"/hpsearch/" not in path.read_bytes(), path
    assert "pickle" not in (folder / "MLmodel").read_text("utf-8")


def test_without_an_example(tmp_path: Path) -> None:
    """A model saved without example rows has no input example."""
    model, rows = built(tmp_path, "iris")
    model.save(tmp_path / "model", example=True)
    file = tmp_path / "model" / "model.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), "input_format": {}}), "utf-8")
    write_mlflow_files(Model.load(tmp_path / "model"), tmp_path / "model")
    served = loaded(tmp_path / "model")
    assert served.input_example is None
    assert len(served.predict(pd.DataFrame(rows, columns=list(model.features)))) == len(rows)


def test_examples(tmp_path: Path) -> None:
    """A few raw training rows, in strict JSON."""
    table = people().drop(columns=["secret", "income"])
    _, rows = built(tmp_path, "table")
    assert len(rows) == EXAMPLE_ROWS and json.loads(json.dumps(rows, allow_nan=False)) == rows
    cells = {tuple(None if pd.isna(c) else str(c) if k > 1 else c for k, c in enumerate(row)) for row in table.values}
    assert all(tuple(row) in cells for row in rows)
    spec = cases.small(data=data(tmp_path, "iris"))
    table, rows = spec.data.load(), built(tmp_path, "iris")[1]
    assert all((table.x == row).all(axis=1).any() for row in rows) and len(rows) == EXAMPLE_ROWS
    for width, count in (
        (1, EXAMPLE_ROWS),
        (EXAMPLE_CELLS // EXAMPLE_ROWS, EXAMPLE_ROWS),
        (EXAMPLE_CELLS // EXAMPLE_ROWS + 1, EXAMPLE_ROWS - 1),
        (EXAMPLE_CELLS + 1, 1),
    ):
        assert len(example_rows(np.zeros((9, width)), np.arange(9))) == count
    assert len(example_rows(np.zeros((9, 4)), np.arange(2))) == 2


def test_folder_without_a_model(tmp_path: Path) -> None:
    model, _ = built(tmp_path, "iris")
    folder = saved(model, tmp_path / "model")
    (folder / "weights.npz").unlink()
    with pytest.raises(DataError, match="contains no model"):
        loaded(folder)


# ── real servers ──────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the command ran a study of a table."""
    folder = tmp_path_factory.mktemp("study")
    file = cases.write(folder, **{"data": data(folder, "table"), "train.epochs": 2, "stages.0.trials": 3})
    command = [sys.executable, "-m", "hpsearch", "run", str(file), "--quiet"]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    assert process.returncode == 0 and "warning" not in process.stderr, process
    return folder


@contextlib.contextmanager
def serving(folder: Path, health: str, *arguments: str, **environment: str) -> Iterator[str]:
    """Start an MLflow server on a free port, wait for its response, and end all of its processes afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it calls uvicorn by name
    with (folder / "server.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *arguments, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env={**os.environ, "PATH": paths, "MLFLOW_DISABLE_TELEMETRY": "true", **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + 60
    try:
        while not reached(f"{url}{health}"):
            assert process.poll() is None and time.monotonic() < end, (folder / "server.txt").read_text()
            time.sleep(0.05)
        yield url
    finally:
        pids = below(process.pid)
        process.terminate()
        process.wait(30)
        while any(map(alive, pids)):
            assert time.monotonic() < end + 60, pids
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            time.sleep(0.05)
    assert not reached(f"{url}{health}")


def reached(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def below(pid: int) -> set[int]:
    """Return the descendants of a process."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(child) for child in children} | {pid for child in children for pid in below(int(child))}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"  # a zombie waits for init
    except OSError:
        return False


def invoked(url: str, request: dict[str, Any]) -> tuple[int, Any]:
    body = json.dumps(request).encode()
    asked = urllib.request.Request(f"{url}/invocations", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.crash
def test_served_by_the_command(study: Path) -> None:
    """`mlflow models serve` of the champion's alias returns `Model.predictions`."""
    (file,) = (study / "mlruns").rglob("model.json")
    model, tracking = Model.load(file.parent), f"sqlite:///{study}/mlruns/mlflow.db"
    arguments = ("models", "serve", "-m", "models:/small@champion", "--env-manager", "local")
    columns = list(model.features)
    cells = [[row.get(name) for name in columns] for row in CELLS_OF_CLIENTS]
    want = {"predictions": model.predictions(np.array(cells, object)).to_dict(orient="records")}
    split = {"columns": columns, "data": cells}
    with serving(study, "/ping", *arguments, MLFLOW_TRACKING_URI=tracking) as url:
        for asked in (split, shuffled(split)):
            assert invoked(url, {"dataframe_split": asked}) == (200, want)
            assert invoked(url, {"dataframe_records": records(asked)}) == (200, want)
        code, words = invoked(url, {"dataframe_records": [{"age": 5}]})
        assert code == 400 and "must have the column 'size (m)'" in words
        assert invoked(url, {"dataframe_split": split}) == (200, want)


@pytest.mark.crash
def test_a_tracking_server(study: Path, tmp_path: Path) -> None:
    """Runs, files and the registered model are sent through the API; a second sync adds nothing."""
    arguments = ("server", "--workers", "1", "--backend-store-uri", f"sqlite:///{tmp_path}/m.db")
    arguments += ("--artifacts-destination", str(tmp_path / "files"))
    with serving(tmp_path, "/health", *arguments, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false") as url:
        for want in (
            r"\d+ runs uploaded, 0 unfinished runs closed, 0 runs unchanged\n",
            r"0 runs uploaded, 0 unfinished runs closed, \d+ runs unchanged\n",
        ):
            command = [sys.executable, "-m", "hpsearch", "sync", str(study / "small.db"), "--tracking-uri", url]
            process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
            assert process.returncode == 0 and not process.stderr, process
            assert re.fullmatch(want, process.stdout)
        from mlflow import MlflowClient, artifacts

        client = MlflowClient(url, url)
        (version,) = client.search_model_versions("name = 'small'")
        assert client.get_model_version_by_alias("small", "champion").version == version.version
        folder = Path(artifacts.download_artifacts(version.source, dst_path=str(tmp_path), tracking_uri=url))
        (file,) = (study / "mlruns").rglob("model.json")
        assert (folder / "weights.npz").read_bytes() == (file.parent / "weights.npz").read_bytes()
        served = loaded(folder)
        pd.testing.assert_frame_equal(
            served.predict(served.input_example), Model.load(file.parent).predictions(served.input_example)
        )

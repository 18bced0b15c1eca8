"""The contents of MLflow after a study, and that a second upload adds nothing."""

import base64
import json
import math
import platform
import sqlite3
import subprocess
import sys
import zlib
from contextlib import closing
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlparse

import cases
import numpy as np
import pytest

from hpsearch.data.dataset import prepare
from hpsearch.models.model import Model
from hpsearch.storage.records import Trial
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.study.summary import summary
from hpsearch.tracking.mlflow.loss_plot import loss_plot
from hpsearch.tracking.mlflow.run import CURVE_POINTS
from hpsearch.tracking.mlflow.saved_view import supports_views
from hpsearch.tracking.mlflow.tracker import BEST_TRIALS
from tests.hpsearch.tracking.mlflow.mlflow_cases import counts

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
]

CHANGES: dict[str, Any] = {
    "train.epochs": 40,
    "train.early_stopping": None,
    "stages.0.trials": 9,
    "stages.1.trials": 4,
    "parameters.learning_rate.max": 1e12,
}


COMMAND = [sys.executable, "-m", "hpsearch"]


def hpsearch(folder: Path, *arguments: str | Path, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder."""
    return subprocess.run([*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=timeout)


class Tracked(NamedTuple):
    """A study and its experiment."""

    folder: Path
    client: Any
    experiment: Any
    runs: dict[str, Any]  # by trial
    trials: dict[str, Trial]
    best: dict[str, Any]  # of `show --json`


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    """Return a study run by the command, tracked in the default place and read through MLflow's client."""
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("tracked") / "a%20b"
    folder.mkdir()
    process = hpsearch(folder, "run", cases.write(folder, **CHANGES), "--workers", "2")
    assert process.returncode == 0 and "warning" not in process.stderr, process
    client = MlflowClient(url_of(f"{folder}/mlruns/mlflow.db"))
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    seen = client.search_runs([experiment.experiment_id], max_results=1000)
    runs = {run.data.tags["hpsearch.trial"]: run for run in seen}
    assert len(runs) == len(seen)
    found = summary(url_of(str(folder / "small.db"))).trials
    trials = {r.label: r for stage in found for r in stage}
    best = json.loads(hpsearch(folder, "show", folder / "small.db", "--json").stdout)["best"]
    return Tracked(folder, client, experiment, runs, trials, best)


def test_one_flat_run_a_trial(tracked: Tracked) -> None:
    assert set(tracked.runs) == set(tracked.trials) and len(tracked.runs) == 13
    for label, run in tracked.runs.items():
        record = tracked.trials[label]
        assert run.info.run_name == label
        assert "mlflow.parentRunId" not in run.data.tags
        assert run.info.status == ("FINISHED" if record.state == "complete" else "FAILED")
        assert run.data.tags["hpsearch.state"] == record.state
        assert run.data.tags["hpsearch.stage"] == record.stage
        assert run.info.end_time == round(record.finished * 1000)
        assert 0 <= run.info.end_time - run.info.start_time == round(record.seconds * 1000)
    states = {r.state for r in tracked.trials.values()}
    assert states == {"complete", "diverged"}


def test_params_are_plain_numbers(tracked: Tracked) -> None:
    """Parameters on a log scale also have the log10 of their internal value: of 1 − β, not of β."""
    for label, run in tracked.runs.items():
        params, point = run.data.params, tracked.trials[label].point
        assert {name: float(params[name]) for name in point} == point
        assert params["batch_size"] in ("16", "32")
        logs = {name for name in params if name.startswith("log10_")}
        assert logs == {"log10_learning_rate", "log10_one_minus_beta"}
        assert set(params) == set(point) | logs
        assert float(params["log10_learning_rate"]) == pytest.approx(math.log10(point["learning_rate"]), abs=1e-4)  # type: ignore[arg-type]
        assert float(params["log10_one_minus_beta"]) == pytest.approx(math.log10(1 - float(point["beta"])), abs=1e-4)


def test_ordinal(tracked: Tracked) -> None:
    """The metric `trial` counts the trials over all stages."""
    for label, run in tracked.runs.items():
        stage, _, number = label.partition("/")
        assert run.data.metrics["trial"] == {"coarse": 1, "fine": 10}[stage] + int(number)


def test_data(tracked: Tracked) -> None:
    """The best runs have the one dataset as their input."""
    seen = [run.inputs.dataset_inputs for run in tracked.runs.values() if run.inputs.dataset_inputs]
    assert len(seen) == BEST_TRIALS
    assert {(len(inputs), inputs[0].dataset.name, inputs[0].tags[0].value) for inputs in seen} == {
        (1, "iris", "training")
    }
    dataset = seen[0][0].dataset
    assert (dataset.digest, dataset.source_type) == (tracked.experiment.tags["hpsearch.data"], "sklearn")
    assert json.loads(dataset.profile) == {"num_rows": 150, "num_features": 4, "num_classes": 3}
    assert counts(tracked.folder / "mlruns" / "mlflow.db")["datasets"] == 1


def test_source(tracked: Tracked) -> None:
    """Runs and experiment have source and versions, the experiment the seed; without a repository no commit."""
    for tags in (tracked.experiment.tags, *(run.data.tags for run in tracked.runs.values())):
        assert (tags["mlflow.source.name"], tags["mlflow.source.type"]) == ("hpsearch", "LOCAL")
        words = tags["hpsearch.version"].replace(",", "").split()
        assert words[::2] == ["hpsearch", "numpy", "optuna", "python", "mlflow"]
        assert words[7] == platform.python_version() and words[5] == version("optuna")
        assert "mlflow.source.git.commit" not in tags
    assert tracked.experiment.tags["hpsearch.seed"] == "5"


def test_view_and_description(tracked: Tracked) -> None:
    """The view has columns of the scores, the description names the champion and its registered model."""
    tags = tracked.experiment.tags
    if supports_views(version("mlflow")):
        state = json.loads(tags["mlflow.sharedViewState.hpsearch"])["state"].removeprefix("deflate;")
        columns = json.loads(zlib.decompress(base64.b64decode(state)))["selectedColumns"]
        metrics = set.union(*(set(run.data.metrics) for run in tracked.runs.values()))
        shown = [c.removeprefix("metrics.`").removesuffix("`") for c in columns if c.startswith("metrics.")]
        assert set(shown) <= metrics and {"objective", "best/val/accuracy", "test/loss", "test/accuracy"} <= set(shown)
        # The objective itself, and a score without a val metric, have no columns.
        assert "best/val/loss" not in shown and "test/f1" not in shown
    note = tags["mlflow.note.content"]
    assert f"**Best trial**: `{tracked.best['stage']}/{tracked.best['number']}`" in note
    assert "`test/accuracy`" in note and "models:/small@champion" in note and "small.db`" in note


def test_objective(tracked: Tracked) -> None:
    for label, run in tracked.runs.items():
        assert run.data.metrics.get("objective") == tracked.trials[label].value
    ordered = tracked.client.search_runs([tracked.experiment.experiment_id], order_by=["metrics.`objective` ASC"])
    assert ordered[0].data.tags["hpsearch.trial"] == f"{tracked.best['stage']}/{tracked.best['number']}"


def test_curves(tracked: Tracked) -> None:
    """Curves are thinned; steps are epochs, among them the first, the last and the best; no value is invented."""
    for label, run in tracked.runs.items():
        record = tracked.trials[label]
        assert set(record.history) == {"train/loss", "val/loss", "train/accuracy", "val/accuracy"}
        for name, values in record.history.items():
            points = tracked.client.get_metric_history(run.info.run_id, name)
            finite = {step: value for step, value in enumerate(values, 1) if math.isfinite(value)}
            assert len({p.step for p in points}) == len(points) <= CURVE_POINTS
            assert all(finite[p.step] == p.value for p in points)
            steps = {p.step for p in points}
            if len(values) == len(finite):
                assert {1, len(values)} <= steps and run.data.metrics[name] == values[-1]
                assert len(points) == min(len(values), CURVE_POINTS)
            if record.best_epoch:
                assert record.best_epoch in steps
            times = [p.timestamp for p in sorted(points, key=lambda p: p.step)]
            assert times == sorted(times)
            assert all(run.info.start_time <= t <= run.info.end_time for t in times)
    assert any(len(r.history["val/loss"]) > CURVE_POINTS for r in tracked.trials.values())


def artifact(tracked: Tracked, label: str, name: str) -> Path:
    uri = urlparse(tracked.runs[label].info.artifact_uri)
    assert uri.scheme == "file" and Path(uri.path).is_absolute()
    path = Path(unquote(uri.path))
    assert path.is_relative_to(tracked.folder / "mlruns")
    return path / name


def test_history_is_whole(tracked: Tracked) -> None:
    for label, record in tracked.trials.items():
        history = json.loads(artifact(tracked, label, "history.json").read_text("utf-8"))
        stored = {name: [v if isfinite(v) else None for v in values] for name, values in record.history.items()}
        assert history == stored  # JSON knows no NaN


def test_loss_plots_of_the_best(tracked: Tracked) -> None:
    complete = sorted((r for r in tracked.trials.values() if r.state == "complete"), key=lambda r: r.value or 0)
    have = {label for label in tracked.trials if artifact(tracked, label, "loss.svg").exists()}
    assert have == {r.label for r in complete[:BEST_TRIALS]}
    for label in have:
        assert artifact(tracked, label, "loss.svg").read_text("utf-8") == loss_plot(tracked.trials[label])


def test_champion(tracked: Tracked) -> None:
    """One run has the tag, the test scores and the model, which predicts the same as the stored weights."""
    label = f"{tracked.best['stage']}/{tracked.best['number']}"
    assert [k for k, run in tracked.runs.items() if run.data.tags.get("hpsearch.champion") == "true"] == [label]
    for name in ("test/loss", "test/accuracy"):
        assert tracked.runs[label].data.metrics[name] == tracked.best["metrics"][name]
        assert [k for k, run in tracked.runs.items() if name in run.data.metrics] == [label]
    assert tracked.client.get_model_version_by_alias("small", "champion").run_id == tracked.runs[label].info.run_id
    assert [v.name for v in tracked.client.search_model_versions()] == ["small"]
    model = Model.load(artifact(tracked, label, "model"))
    storage = StudyDatabase.open(url_of(str(tracked.folder / "small.db")), create=False)
    (stored,) = storage.weights.load().values()
    storage.close()
    assert model.theta.tobytes() == stored.weights
    spec = cases.small(**CHANGES)
    data = tracked.folder / "data"
    data.mkdir(exist_ok=True)
    _, [[scaling]] = prepare(spec.data, spec.seed, data)
    assert scaling.input_scaler is not None and model.preprocessing[0].input_scaler is not None
    x = spec.data.load().x
    assert model.preprocessing[0].input_scaler.apply(x).tobytes() == scaling.input_scaler.apply(x).tobytes()
    inputs = scaling.input_scaler.apply(x).astype(np.float32)
    theta = np.frombuffer(stored.weights, np.float32)[None]
    assert model.scores(x).tobytes() == model.network.predict(theta, inputs)[0].tobytes()


def test_database(tracked: Tracked) -> None:
    """It has a write-ahead log and absolute artifact locations, and no file store is created."""
    with closing(sqlite3.connect(tracked.folder / "mlruns" / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        places = [p for (p,) in connection.execute("SELECT artifact_location FROM experiments")]
    assert all(Path(urlparse(p).path).is_absolute() for p in places)
    assert tracked.experiment.tags["hpsearch.data"]
    assert not list(tracked.folder.rglob("meta.yaml"))
    assert list(tracked.folder.parent.iterdir()) == [tracked.folder], "no folder with the encoded name"


def test_second_upload_adds_nothing(tracked: Tracked) -> None:
    database = tracked.folder / "mlruns" / "mlflow.db"
    before = counts(database)
    assert before["runs"] == 13 and before["metrics"] > 500
    process = hpsearch(tracked.folder, "resume", tracked.folder / "small.db", "--quiet")
    assert process.returncode == 0 and "warning" not in process.stderr, process
    assert counts(database) == before

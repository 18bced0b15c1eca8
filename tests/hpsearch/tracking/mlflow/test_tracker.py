"""Tracking: what MLflow holds after a real study, that it is told once, and that it never fails a study."""

import base64
import dataclasses
import json
import math
import platform
import re
import shutil
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlparse

import cases
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpsearch.core.space import build_space
from hpsearch.core.text import masked
from hpsearch.data.dataset import prepare
from hpsearch.models.export import build_model
from hpsearch.models.model import Model
from hpsearch.storage.records import StoredStudy, Trial
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.study.summary import summary
from hpsearch.tracking import MlflowTracker, StudyInfo
from hpsearch.tracking.background import Call, Sender, reason_of
from hpsearch.tracking.base import StoreReplacedError, commit_of
from hpsearch.tracking.mlflow import rows
from hpsearch.tracking.mlflow.run import POINTS, STATE, TAG, Picture, thinned
from hpsearch.tracking.mlflow.tracker import PICTURES
from hpsearch.training.network import build_network

# Raised when MLflow is imported: of its own mappers, with the SQLAlchemy that is there, and of its own type hints.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
]

# Long enough for a curve to be thinned, and some trials diverge.
CHANGES: dict[str, Any] = {
    "train.epochs": 40,
    "train.early_stopping": None,
    "stages.0.trials": 9,
    "stages.1.trials": 4,
    "parameters.learning_rate.max": 1e12,
}
COMMAND = [sys.executable, "-m", "hpsearch.cli"]


def hpsearch(folder: Path, *arguments: str | Path, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=timeout)


def counts(database: Path) -> dict[str, int]:
    """Rows of every table."""
    with closing(sqlite3.connect(database)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}


class Tracked(NamedTuple):
    folder: Path
    client: Any
    experiment: Any
    runs: dict[str, Any]  # by trial
    records: dict[str, Trial]
    best: dict[str, Any]  # as `show --json` says


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    """A study, run by the command with tracking in its default place, and MLflow's own eyes on it."""
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
    found = summary(url_of(str(folder / "small.db"))).records
    records = {r.label: r for stage in found for r in stage}
    best = json.loads(hpsearch(folder, "show", folder / "small.db", "--json").stdout)["best"]
    return Tracked(folder, client, experiment, runs, records, best)


def test_one_flat_run_a_trial(tracked: Tracked) -> None:
    assert set(tracked.runs) == set(tracked.records) and len(tracked.runs) == 13
    for label, run in tracked.runs.items():
        record = tracked.records[label]
        assert run.info.run_name == label
        assert "mlflow.parentRunId" not in run.data.tags
        assert run.info.status == ("FINISHED" if record.state == "complete" else "FAILED")
        assert run.data.tags["hpsearch.state"] == record.state
        assert run.data.tags["hpsearch.stage"] == record.stage
        assert run.info.end_time == round(record.finished * 1000)
        assert 0 <= run.info.end_time - run.info.start_time == round(record.seconds * 1000)
    states = {r.state for r in tracked.records.values()}
    assert states == {"complete", "diverged"}


def test_params_are_plain_numbers(tracked: Tracked) -> None:
    """And log10 beside those with a logarithmic scale, of what is logarithmic: 1 − β, not β."""
    for label, run in tracked.runs.items():
        params, point = run.data.params, tracked.records[label].point
        assert {name: float(params[name]) for name in point} == point
        assert params["batch_size"] in ("16", "32")
        logs = {name for name in params if name.startswith("log10_")}
        assert logs == {"log10_learning_rate", "log10_one_minus_beta"}
        assert set(params) == set(point) | logs
        assert float(params["log10_learning_rate"]) == pytest.approx(math.log10(point["learning_rate"]), abs=1e-4)  # type: ignore[arg-type]
        assert float(params["log10_one_minus_beta"]) == pytest.approx(math.log10(1 - float(point["beta"])), abs=1e-4)


def test_ordinal(tracked: Tracked) -> None:
    """Of a trial in the whole study, over its stages: a number to sort by, and an axis."""
    for label, run in tracked.runs.items():
        stage, _, number = label.partition("/")
        assert run.data.metrics["trial"] == {"coarse": 1, "fine": 10}[stage] + int(number)


def test_data(tracked: Tracked) -> None:
    """Every run has them as its input, of which there is one."""
    seen = [run.inputs.dataset_inputs for run in tracked.runs.values()]
    assert {(len(inputs), inputs[0].dataset.name, inputs[0].tags[0].value) for inputs in seen} == {
        (1, "iris", "training")
    }
    dataset = seen[0][0].dataset
    assert (dataset.digest, dataset.source_type) == (tracked.experiment.tags["hpsearch.data"], "sklearn")
    assert json.loads(dataset.profile) == {"num_rows": 150, "num_features": 4, "num_classes": 3}
    assert counts(tracked.folder / "mlruns" / "mlflow.db")["datasets"] == 1


def test_whence(tracked: Tracked) -> None:
    """Source and versions of each run and of the experiment, and the study's seed; no repository, no commit."""
    for tags in (tracked.experiment.tags, *(run.data.tags for run in tracked.runs.values())):
        assert (tags["mlflow.source.name"], tags["mlflow.source.type"]) == ("hpsearch", "LOCAL")
        words = tags["hpsearch.version"].replace(",", "").split()
        assert words[::2] == ["hpsearch", "numpy", "optuna", "python", "mlflow"]
        assert words[7] == platform.python_version() and words[5] == version("optuna")
        assert "mlflow.source.git.commit" not in tags
    assert tracked.experiment.tags["hpsearch.seed"] == "5"


def test_what_is_seen_first(tracked: Tracked) -> None:
    """The view has the columns of scores that there are, the description the champion and the name of its model."""
    tags = tracked.experiment.tags
    state = json.loads(tags["mlflow.sharedViewState.hpsearch"])["state"].removeprefix("deflate;")
    columns = json.loads(zlib.decompress(base64.b64decode(state)))["selectedColumns"]
    metrics = set.union(*(set(run.data.metrics) for run in tracked.runs.values()))
    shown = [column.removeprefix("metrics.`").removesuffix("`") for column in columns if column.startswith("metrics.")]
    assert set(shown) <= metrics and {"objective", "best/val/accuracy", "test/loss", "test/accuracy"} <= set(shown)
    assert "best/val/loss" not in shown and "test/f1" not in shown  # the objective itself; of no val score
    note = tags["mlflow.note.content"]
    assert f"**Best so far**: `{tracked.best['stage']}/{tracked.best['number']}`" in note
    assert "`test/accuracy`" in note and "models:/small@champion" in note and "small.db`" in note


def test_objective(tracked: Tracked) -> None:
    for label, run in tracked.runs.items():
        assert run.data.metrics.get("objective") == tracked.records[label].value
    ordered = tracked.client.search_runs([tracked.experiment.experiment_id], order_by=["metrics.`objective` ASC"])
    assert ordered[0].data.tags["hpsearch.trial"] == f"{tracked.best['stage']}/{tracked.best['number']}"


def test_curves(tracked: Tracked) -> None:
    """Thinned, with epochs for steps; the first, the last and the best epoch are there, and no number is made up."""
    for label, run in tracked.runs.items():
        record = tracked.records[label]
        assert set(record.history) == {"train/loss", "val/loss", "train/accuracy", "val/accuracy"}
        for name, values in record.history.items():
            points = tracked.client.get_metric_history(run.info.run_id, name)
            finite = {step: value for step, value in enumerate(values, 1) if math.isfinite(value)}
            assert len({p.step for p in points}) == len(points) <= POINTS
            assert all(finite[p.step] == p.value for p in points)
            steps = {p.step for p in points}
            if len(values) == len(finite):
                assert {1, len(values)} <= steps and run.data.metrics[name] == values[-1]
                assert len(points) == min(len(values), POINTS)
            if record.best_epoch:
                assert record.best_epoch in steps
            times = [p.timestamp for p in sorted(points, key=lambda p: p.step)]
            assert times == sorted(times)
            assert all(run.info.start_time <= t <= run.info.end_time for t in times)
    assert any(len(r.history["val/loss"]) > POINTS for r in tracked.records.values())


def artifact(tracked: Tracked, label: str, name: str) -> Path:
    uri = urlparse(tracked.runs[label].info.artifact_uri)
    assert uri.scheme == "file" and Path(uri.path).is_absolute()
    path = Path(unquote(uri.path))
    assert path.is_relative_to(tracked.folder / "mlruns")
    return path / name


def test_history_is_whole(tracked: Tracked) -> None:
    for label, record in tracked.records.items():
        history = json.loads(artifact(tracked, label, "history.json").read_text("utf-8"))
        stored = {name: [v if isfinite(v) else None for v in values] for name, values in record.history.items()}
        assert history == stored  # JSON knows no NaN


def test_pictures_of_the_best(tracked: Tracked) -> None:
    complete = sorted((r for r in tracked.records.values() if r.state == "complete"), key=lambda r: r.value or 0)
    have = {label for label in tracked.records if artifact(tracked, label, "loss.png").exists()}
    assert have == {r.label for r in complete[:PICTURES]}
    for label in have:
        assert artifact(tracked, label, "loss.png").read_bytes().startswith(b"\x89PNG")


def test_champion(tracked: Tracked) -> None:
    """One run has the tag, the test scores and the model, which predicts what the study's own weights do."""
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
    """Beside the artifacts, in write-ahead mode, with absolute places, of one experiment; no stray file store."""
    with closing(sqlite3.connect(tracked.folder / "mlruns" / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        places = [p for (p,) in connection.execute("SELECT artifact_location FROM experiments")]
    assert all(Path(urlparse(p).path).is_absolute() for p in places)
    assert tracked.experiment.tags["hpsearch.data"]
    assert not list(tracked.folder.rglob("meta.yaml"))
    assert list(tracked.folder.parent.iterdir()) == [tracked.folder], "nor a folder of its encoded name"


def test_told_again_adds_nothing(tracked: Tracked) -> None:
    database = tracked.folder / "mlruns" / "mlflow.db"
    before = counts(database)
    assert before["runs"] == 13 and before["metrics"] > 500
    process = hpsearch(tracked.folder, "resume", tracked.folder / "small.db", "--quiet")
    assert process.returncode == 0 and "warning" not in process.stderr, process
    assert counts(database) == before


SHORT: dict[str, Any] = {"train.epochs": 2, "stages.0.trials": 3, "stages.1.trials": 1}


def broken(folder: Path, how: str) -> Path:
    """A place where MLflow cannot keep anything."""
    path = folder / "place" / "mlflow.db"
    if how == "a file for a folder":
        path.parent.write_text("in the way")
        return path
    path.parent.mkdir()
    if how == "text":
        path.write_text("This is no database, but it is longer than a header. " * 99)
    elif how == "another program's":
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
            connection.execute("INSERT INTO alembic_version VALUES ('none of yours')")
            connection.commit()
    elif how == "a folder for a file":
        path.mkdir()
    return path


@pytest.mark.crash
@pytest.mark.parametrize(
    "how",
    [
        "another program's",
        *(pytest.param(how, marks=pytest.mark.soak) for how in ("text", "a file for a folder", "a folder for a file")),
    ],
)
def test_broken_tracking_fails_no_study(tmp_path: Path, how: str) -> None:
    """A warning, exit code 0 and a whole study; and the next run sends what is missing."""
    study, place = cases.write(tmp_path, **SHORT), broken(tmp_path, how)
    command = ("run", study, "--quiet", "--tracking-uri", f"sqlite:///{place}")
    process = hpsearch(tmp_path, *command, timeout=100)  # MLflow by itself tries for hundreds of seconds
    assert process.returncode == 0, process
    assert "warning: " in process.stderr and "Traceback" not in process.stderr
    assert "4 of 4 records not sent (" in process.stderr and "small.db --tracking-uri" in process.stderr
    shown = json.loads(hpsearch(tmp_path, "show", "small.db", "--json").stdout)
    assert [t["state"] for t in shown["trials"]] == ["complete"] * 4
    if how == "text":
        place.unlink()
        process = hpsearch(tmp_path, "run", study, "--quiet", "--tracking-uri", f"sqlite:///{place}")
        assert process.returncode == 0 and "warning" not in process.stderr, process
        assert counts(place)["runs"] == 4


def test_numbers_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    """Dropped, because MLflow keeps infinity as 1.8e308 and loses NaN from its pages; the history has all of them."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    spec = cases.small()
    axes = build_space(spec.parameters)
    internal_params = {"learning_rate": 0.1, "one_minus_beta": 0.1, "hidden_units_index": 0, "batch_size_index": 1}
    history = {"train/loss": [1.0, math.inf], "val/loss": [2.0, math.nan]}
    lost = Trial(
        "coarse", 0, internal_params, axes.point(internal_params), "diverged", None, 2, 0, 1.5, 1e9, {}, history
    )
    failed = Trial(
        "coarse", 1, internal_params, axes.point(internal_params), "failed", finished=1e9, error="ValueError: no"
    )
    tracker = MlflowTracker(uri)
    tracker.begin(StudyInfo(spec, "identity", 1e9, {}))
    for _ in range(2):
        tracker.tell(lost)
        tracker.tell(failed)
    tracker.finish([], None)
    assert tracker.close(9) is None
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    runs = {r.info.run_name: r for r in client.search_runs([experiment.experiment_id])}
    assert len(runs) == 2
    run = runs["coarse/0"]
    assert run.data.metrics["train/loss"] == 1.0 and run.data.metrics["val/loss"] == 2.0
    assert "2" in run.data.tags["hpsearch.dropped"]
    assert "objective" not in run.data.metrics
    assert runs["coarse/1"].data.tags["hpsearch.error"] == "ValueError: no"
    assert runs["coarse/1"].info.status == "FAILED"


def test_another_study_of_the_same_name(tmp_path: Path) -> None:
    """Gets an experiment of its own, and finds it again."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    spec = cases.small()
    for identity in ("first", "second", "first", "second"):
        tracker = MlflowTracker(uri)
        tracker.begin(StudyInfo(spec, identity, 1e9, {}))
        assert tracker.close(9) is None
    names = [e.name for e in MlflowClient(uri).search_experiments()]
    assert sorted(names) == ["Default", "small", "small second"]


# ── the runs follow the records ───────────────────────────────────────────────────────────────────────────────────────
AXES = build_space(cases.small().parameters)
CURVE = {"train/loss": [1.0, 0.5, 0.25], "val/loss": [2.0, 1.5, 1.75]}


def record(number: int, state: str, finished: float = 1e9, **others: Any) -> Trial:
    internal_params = {"learning_rate": 0.1, "one_minus_beta": 0.1, "hidden_units_index": 0, "batch_size_index": 1}
    given: dict[str, Any] = {"epochs": 3, "seconds": 1.5, "metrics": {"val/loss": 1.5}, "history": CURVE}
    if state in ("complete", "pruned"):
        given |= {"value": 1.5 + number, "best_epoch": 2}
    if state == "failed":
        given = {"error": "ValueError: no"}
    return Trial(
        "coarse", number, internal_params, AXES.point(internal_params), state, finished=finished, **{**given, **others}
    )  # type: ignore[arg-type]


STATES = [
    record(0, "complete"),
    record(1, "pruned"),
    record(2, "diverged", value=None, best_epoch=0),
    record(3, "failed"),
    record(4, "complete", copied_from="coarse/0"),
]
SCORED = [r._replace(metrics={**r.metrics, "val/accuracy": 0.9}) for r in STATES]
SUBJECT = StudyInfo(cases.small(), "identity", 1e9, {})


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fresh") / "mlflow.db"
    assert MlflowTracker(f"sqlite:///{path}").close(9) is None
    return path


@pytest.fixture
def place(fresh: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(fresh, tmp_path / "mlflow.db"))


def send(
    place: Path,
    records: list[Trial],
    ranking: list[Trial] | None = None,
    model: Path | None = None,
    subject: StudyInfo = SUBJECT,
) -> MlflowTracker:
    """As a study does that is run, or run again."""
    tracker = MlflowTracker(f"sqlite:///{place}")
    tracker.begin(subject)
    for r in records:
        tracker.tell(r)
    tracker.finish([] if ranking is None else ranking, model)
    assert tracker.close(9) is None
    return tracker


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of a study's champion: two, with other weights."""
    folder = tmp_path_factory.mktemp("models")
    spec = cases.small()
    dataset, [folds] = prepare(spec.data, spec.seed, folder)
    size = build_network(spec, dataset, STATES[0].point).size
    weights = [np.random.default_rng(k).normal(size=size).astype(np.float32).tobytes() for k in range(2)]
    for k in range(2):
        build_model(spec, dataset, folds, STATES[0], weights[k]).save(folder / str(k))
    return [folder / "0", folder / "1"]


class Version(NamedTuple):
    name: str
    number: int
    run: str  # its trial
    alias: str | None


def versions(place: Path) -> list[Version]:
    """What is registered, in the order in which it was, and that all of it can be loaded."""
    query = """
        SELECT v.name, v.version, t.value, a.alias, v.source, r.artifact_uri FROM model_versions v
        JOIN runs r ON r.run_uuid = v.run_id JOIN tags t ON t.run_uuid = v.run_id AND t.key = ?
        LEFT JOIN registered_model_aliases a ON a.name = v.name AND a.version = v.version
        ORDER BY v.creation_time, v.name, v.version
    """
    with closing(sqlite3.connect(place)) as connection:
        found = connection.execute(query, [TAG]).fetchall()
        (count,) = connection.execute("SELECT count(*) FROM model_versions").fetchone()
        (names,) = connection.execute("SELECT count(*) FROM registered_models").fetchone()
    assert len(found) == count and names == len({name for name, *_ in found})
    for *_, source, artifacts in found:
        assert source == f"{artifacts}/model" and Model.load(Path(urlparse(source).path)).features
    return [Version(*row[:4]) for row in found]


def runs(place: Path) -> dict[str, Any]:
    """All that is seen of the runs but their ids."""
    found: dict[str, Any] = {}
    with closing(sqlite3.connect(place)) as connection:
        columns = "run_uuid, name, status, start_time, end_time, artifact_uri"
        for run, name, *rest, uri in connection.execute(f"SELECT {columns} FROM runs WHERE lifecycle_stage = 'active'"):
            assert name not in found, "twice"
            tables = {"tags": "key, value", "params": "key, value", "metrics": "key, step, timestamp, value"}
            files = Path(urlparse(uri).path)
            found[name] = [
                rest,
                {p.relative_to(files): p.stat().st_size for p in files.rglob("*") if p.is_file()},
                *(
                    sorted(connection.execute(f"SELECT {keys} FROM {table} WHERE run_uuid = ?", [run]))
                    for table, keys in tables.items()
                ),
            ]
    return found


def of(place: Path, label: str) -> Any:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place}")
    found = client.search_experiments(filter_string="name = 'small'")
    (run,) = client.search_runs([found[0].experiment_id], f"tags.`hpsearch.trial` = '{label}'")
    return run


def test_states_stay_apart(place: Path) -> None:
    send(place, STATES, [STATES[0], STATES[4]])
    want = {"complete": "FINISHED", "pruned": "KILLED", "diverged": "FAILED", "failed": "FAILED"}
    for r in STATES:
        run = of(place, r.label)
        assert (run.info.status, run.data.tags["hpsearch.state"]) == (want[r.state], r.state)
        assert {"objective", "best_epoch"} & set(run.data.metrics) == (
            {"objective", "best_epoch"} if r.state == "complete" else set()
        )
        assert run.data.tags.get("hpsearch.origin") == r.copied_from
    assert of(place, "coarse/1").data.metrics["val/loss"] == 1.75  # a pruned one's curve is there


class Gone(BaseException):
    """What a kill is to those who wait."""


class Dying:
    """A client, or what writes beside it, that is gone at the n-th change, before it is made or just after."""

    count = 0  # of both

    def __init__(self, client: Any, limit: int, after: bool) -> None:
        self._client, self._limit, self._after = client, limit, after

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        changes = name.startswith(("create", "log", "set", "delete", "insert", "end"))
        if not changes or (self._after and name == "set_experiment_tag"):
            return method  # a tag of the experiment: just after it is just before the next change

        def call(*arguments: Any, **named: Any) -> Any:
            Dying.count += 1
            if Dying.count == self._limit and not self._after:
                raise Gone
            answer = method(*arguments, **named)
            if Dying.count == self._limit:
                raise Gone
            return answer

        return call


@pytest.mark.parametrize(
    ("way", "after"), [("rows", False), ("rows", True), pytest.param("client", True, marks=pytest.mark.crash)]
)
def test_killed_at_any_change(fresh: Path, tmp_path: Path, models: list[Path], way: str, after: bool) -> None:
    """Told again, the runs are those of a study that was never killed; none twice, none left running; and the champion
    is registered once."""
    told, ranking, model = STATES[:2], [STATES[0]], models[0]
    (tmp_path / "whole").mkdir()
    whole = Path(shutil.copy(fresh, tmp_path / "whole" / "mlflow.db"))
    send(whole, told, ranking, model)
    limit, killed = 1, True
    while killed:
        (tmp_path / str(limit)).mkdir()
        place = Path(shutil.copy(fresh, tmp_path / str(limit) / "mlflow.db"))
        tracker = MlflowTracker(f"sqlite:///{place}")
        tracker._client = Dying(tracker._client, limit, after)
        tracker._rows = Dying(tracker._rows, limit, after) if way == "rows" else None  # type: ignore[assignment]
        Dying.count = 0
        try:
            tracker.begin(SUBJECT)
            for r in told:
                tracker.tell(r)
            tracker.finish(ranking, model)
            killed = False
        except Gone:
            again = send(place, told, ranking, model)
            assert again.sent + again.settled + again.there == 2
        assert runs(place) == runs(whole), limit
        assert versions(place) == [("small", 1, "coarse/0", "champion")], limit
        limit += 1
    assert limit > 13


def test_trained_again(place: Path, tmp_path: Path, fresh: Path) -> None:
    """Nothing old is seen of a failed trial that is trained again, nor of an outcome in the same state."""
    outcomes = [
        record(3, "failed"),
        record(3, "pruned", 1e9 + 50),
        record(3, "pruned", 1e9 + 60),
        record(3, "complete"),
    ]
    for outcome in outcomes:
        assert send(place, [STATES[0], outcome]).sent == (2 if outcome is outcomes[0] else 1)
        with closing(sqlite3.connect(place)) as connection:
            assert connection.execute("SELECT count(*) FROM runs WHERE status = 'RUNNING'").fetchone() == (0,)
        assert runs(place)["coarse/3"][2:] == expected(tmp_path, fresh, outcome)


def expected(tmp_path: Path, fresh: Path, r: Trial) -> Any:
    folder = tmp_path / f"{r.state}-{r.finished}"
    folder.mkdir()
    place = Path(shutil.copy(fresh, folder / "mlflow.db"))
    send(place, [r])
    return runs(place)[r.label][2:]


def test_doubles(place: Path) -> None:
    """Of two runs of one trial the whole one stays, whichever came first."""
    send(place, STATES)
    want = runs(place)
    tracker = MlflowTracker(f"sqlite:///{place}")
    tracker.begin(SUBJECT)
    half = tracker._client.create_run(tracker._experiment, 999_999_998_500, {TAG: "coarse/0"}, "coarse/0")
    whole = tracker._client.create_run(tracker._experiment, 5, {TAG: "coarse/1", STATE: "pruned"}, "coarse/1")
    tracker._client.set_terminated(whole.info.run_id, "KILLED", 6)
    assert half.info.status == "RUNNING"
    with pytest.raises(AssertionError, match="twice"):
        runs(place)
    assert send(place, STATES).there == len(STATES)
    assert runs(place) == want


def test_an_older_copy_of_the_study(place: Path) -> None:
    """What it does not know as finished: runs left running are settled, finished ones are left alone."""
    send(place, STATES)
    tracker = MlflowTracker(f"sqlite:///{place}")
    tracker.begin(SUBJECT)
    tracker._client.create_run(tracker._experiment, 5, {TAG: "coarse/9", STATE: "pruned"}, "coarse/9")
    before = runs(place)
    assert send(place, STATES[:1]).settled == 1
    assert "does not know" in of(place, "coarse/9").data.tags["hpsearch.settled"]
    assert of(place, "coarse/9").info.status == "KILLED"
    after = runs(place)
    del before["coarse/9"], after["coarse/9"]
    assert after == before
    send(place, [record(9, "pruned", 0.005, seconds=0.0)])  # it is finished after all
    assert (
        "hpsearch.settled" not in of(place, "coarse/9").data.tags and "val/loss" in of(place, "coarse/9").data.metrics
    )


def test_another_champion(place: Path) -> None:
    """The one before keeps no test scores."""
    first = STATES[0]._replace(metrics={"val/loss": 1.5, "test/loss": 3.0})
    send(place, STATES, [first, STATES[4]])
    send(place, STATES, [STATES[4]._replace(metrics={"val/loss": 1.0, "test/loss": 2.0}), STATES[0]])
    old, new = of(place, "coarse/0").data, of(place, "coarse/4").data
    assert "test/loss" not in old.metrics and "hpsearch.champion" not in old.tags and old.metrics["objective"] == 1.5
    assert new.metrics["test/loss"] == 2.0 and new.tags["hpsearch.champion"] == "true"


def test_registered_once(place: Path, models: list[Path]) -> None:
    """Told again nothing is written, not even its files; with other weights, or another champion, it is one more."""
    from mlflow import MlflowClient

    client, (first, second) = MlflowClient(f"sqlite:///{place}"), models
    send(place, STATES, [STATES[0], STATES[4]], first)
    before, stored = counts(place), described(place, "coarse/0")
    for _ in range(2):
        send(place, STATES, [STATES[0], STATES[4]], first)
    assert counts(place) == before and described(place, "coarse/0") == stored
    assert versions(place) == [("small", 1, "coarse/0", "champion")]
    tags = client.get_model_version("small", "1").tags
    assert tags["hpsearch.trial"] == "coarse/0" and len(tags["hpsearch.weights"]) == 64
    assert client.get_registered_model("small").tags == {"hpsearch.study": "identity"}
    send(place, STATES, [STATES[0], STATES[4]], second)
    assert versions(place) == [("small", 1, "coarse/0", None), ("small", 2, "coarse/0", "champion")]
    send(place, STATES, [STATES[4], STATES[0]], second)
    moved = [("small", 1, "coarse/0", None), ("small", 2, "coarse/0", None), ("small", 3, "coarse/4", "champion")]
    assert versions(place) == moved
    send(place, STATES, [STATES[4], STATES[0]])  # no model at hand: what is served stays
    assert versions(place) == moved
    client.set_registered_model_alias("small", "champion", "1")  # by a person
    send(place, STATES, [STATES[4], STATES[0]], second)
    assert versions(place) == moved
    client.delete_registered_model("small")
    send(place, STATES, [STATES[4], STATES[0]], second)
    assert versions(place) == [("small", 1, "coarse/4", "champion")]


def described(place: Path, label: str) -> str:
    return (Path(urlparse(of(place, label).info.artifact_uri).path) / "model" / "MLmodel").read_text("utf-8")


def test_registered_names(place: Path, models: list[Path]) -> None:
    """Studies of one name, and what a person has registered, stay apart; each finds its own again."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place}")
    subjects = [StudyInfo(cases.small(), f"{k}23456789", 1e9, {}) for k in range(3)]
    for subject in (*subjects[:2], *subjects[:2]):
        send(place, STATES[:1], [STATES[0]], models[0], subject)
    assert [(v.name, v.number, v.alias) for v in versions(place)] == [
        ("small", 1, "champion"),
        ("small-12345678", 1, "champion"),
    ]
    client.create_registered_model("small-22345678")
    for _ in range(2):
        send(place, STATES[:1], [STATES[0]], models[0], subjects[2])
    with closing(sqlite3.connect(place)) as connection:
        found = connection.execute("SELECT name, version FROM model_versions ORDER BY name").fetchall()
    assert found == [("small", 1), ("small-12345678", 1), ("small-22345678-22345678", 1)]


class Counting:
    """A client that says what was set of the experiment, and refuses when it is told to."""

    def __init__(self, client: Any, *, refuses: bool = False) -> None:
        self._client, self._refuses, self.keys = client, refuses, list[str]()

    def __getattr__(self, name: str) -> Any:
        if self._refuses and name == "get_experiment":
            raise OSError("no")
        return getattr(self._client, name)

    def set_experiment_tag(self, experiment: str, key: str, value: str) -> None:
        if self._refuses:
            raise OSError("no")
        self.keys.append(key)
        self._client.set_experiment_tag(experiment, key, value)


def dressed(place: Path, told: list[Trial], *, refuses: bool = False, subject: StudyInfo = SUBJECT) -> list[list[str]]:
    """What was set of the experiment at the beginning, while the study ran, and at its end."""
    tracker = MlflowTracker(f"sqlite:///{place}")
    tracker._client = client = Counting(tracker._client, refuses=refuses)
    set_then = []
    for step in (lambda: tracker.begin(subject), lambda: [*map(tracker.tell, told)], lambda: tracker.finish([], None)):
        step()
        set_then.append([key.removeprefix("mlflow.") for key in client.keys])
        client.keys.clear()
    return set_then


SEEN = ["note.content", "sharedViewState.hpsearch", "sharedViewState.hpsearch-every"]


def test_views_and_description_follow(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There from the beginning, written again only where they differ, not often while the study runs."""
    assert dressed(place, SCORED) == [SEEN, [], SEEN]
    assert dressed(place, SCORED) == [SEEN[1:], [], SEEN[1:]]  # scores are not known at once; the best is left there
    monkeypatch.setattr("hpsearch.tracking.mlflow.tracker.PAUSE", 0.0)
    assert dressed(place, [*SCORED, record(5, "complete", value=0.1)])[1:] == [[*SEEN[1:], SEEN[0]], []]


def test_a_view_that_fails(place: Path, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails nothing else; nor does a version of MLflow with another page, or an importance that cannot be told."""
    (tmp_path / "whole").mkdir()
    whole = Path(shutil.copy(fresh, tmp_path / "whole" / "mlflow.db"))
    send(whole, SCORED)
    assert dressed(place, SCORED, refuses=True) == [[], [], []]
    assert runs(place) == runs(whole)

    def broken(*_: Any) -> None:
        raise ValueError

    monkeypatch.setattr("hpsearch.search.importance.importance", broken)
    assert dressed(place, SCORED) == [SEEN, [], SEEN]
    monkeypatch.setattr("mlflow.__version__", "4.0.0")
    other = StudyInfo(cases.small(), "another", 1e9, {})
    assert dressed(place, SCORED, subject=other) == [SEEN[:1], [], SEEN[:1]]


def test_important_parameters_are_charted(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the importance of what was told says, at the end, when there are more than are charted."""
    heard: list[Any] = []

    def importance(spec: Any, records: Any) -> dict[str, float]:
        heard.extend(r.label for r in records)
        return {"batch_size": 0.75, "beta": 0.25}

    monkeypatch.setattr("hpsearch.search.importance.importance", importance)
    monkeypatch.setattr("hpsearch.tracking.mlflow.tracker.SCATTERS", 3)
    send(place, STATES)
    assert heard == [r.label for r in STATES]
    with closing(sqlite3.connect(place)) as connection:
        query = "SELECT value FROM experiment_tags WHERE key = 'mlflow.sharedViewState.hpsearch'"
        (value,) = connection.execute(query).fetchone()
    state = json.loads(zlib.decompress(base64.b64decode(json.loads(value)["state"].removeprefix("deflate;"))))
    places = [c["xaxis"]["key"] for c in state["compareRunCharts"] if c["type"] == "SCATTER"]
    assert places[:3] == ["trial", "batch_size", "log10_one_minus_beta"]


def test_a_description_of_a_person_stays(place: Path) -> None:
    from mlflow import MlflowClient

    send(place, STATES)
    client = MlflowClient(f"sqlite:///{place}")
    (found,) = client.search_experiments(filter_string="name = 'small'")
    client.set_experiment_tag(found.experiment_id, "mlflow.note.content", "mine")
    send(place, [*STATES, record(5, "complete", value=0.1)])
    assert client.get_experiment(found.experiment_id).tags["mlflow.note.content"] == "mine"


def test_commit(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the repository that the database is in, as it is now; no repository, no commit and no git are no trouble."""
    folder = tmp_path / "studies"
    folder.mkdir()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert commit_of(folder) is None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    assert commit_of(folder) is None
    git("commit", "-q", "--allow-empty", "-m", "one")
    stored = StoredStudy("small", "identity", {}, "digest", "then", 1e9)
    subject = StudyInfo.of(cases.small(), stored, f"sqlite:///{folder}/small.db", "hpsearch 1", None)
    assert subject.commit == git("rev-parse", "HEAD") and len(subject.commit) == 40
    send(place, STATES[:1], subject=subject)
    assert of(place, "coarse/0").data.tags["mlflow.source.git.commit"] == subject.commit
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(folder) is None


def test_pictures_share_a_figure(tmp_path: Path) -> None:
    """What was drawn before leaves no trace."""
    long = record(1, "complete", epochs=9, history={"val/loss": [10.0**-n for n in range(9)]})
    shared = Picture()
    for r in (STATES[0], long, STATES[0]):
        shared.draw(r, tmp_path / "shared.png")
        Picture().draw(r, tmp_path / "own.png")
        assert (tmp_path / "shared.png").read_bytes() == (tmp_path / "own.png").read_bytes()


def test_a_database_that_takes_no_rows(
    place: Path, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not written into MLflow's tables goes through its client, and is the same."""
    (tmp_path / "whole").mkdir()
    whole = Path(shutil.copy(fresh, tmp_path / "whole" / "mlflow.db"))
    subject = dataclasses.replace(SUBJECT, facts={"data": "562232acc926f170", "version": "1"}, known={"rows": 150})
    with monkeypatch.context() as patch:
        patch.delattr(MlflowTracker, "_fill")  # the client's way
        send(whole, STATES, subject=subject)
    with closing(sqlite3.connect(place)) as connection:
        connection.execute("ALTER TABLE runs ADD COLUMN new INTEGER")
    monkeypatch.delattr(rows, "_insert")
    send(place, STATES, subject=subject)
    assert runs(place) == runs(whole)
    assert tables(place) == tables(whole)


ELSEWHERE = ("creation_time", "last_update_time", "new")  # columns that may differ


def tables(place: Path) -> dict[str, list[str]]:
    """Every row of every table of MLflow's, and every column, but for ids, which are numbered as they come."""
    ids: dict[str, str] = {}
    found: dict[str, list[str]] = {}
    with closing(sqlite3.connect(place)) as connection:
        connection.row_factory = sqlite3.Row
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = connection.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall()
            if name == "runs":
                ids |= {row["run_uuid"]: row["name"] for row in rows}
            found[name] = sorted(
                str({k: row[k] for k in row.keys() if k not in ELSEWHERE})  # noqa: SIM118
                for row in rows
            )
    for name, lines in found.items():
        for key, label in ids.items():
            lines = [line.replace(key, label) for line in lines]
        found[name] = sorted(re.sub(r"'[0-9a-f]{32}'", "id", line).replace(str(place.parent), "") for line in lines)
    return found


class Refusing:
    """A client whose server has no registry of models."""

    def __init__(self, client: Any, words: str) -> None:
        self._client, self._words = client, words

    def __getattr__(self, name: str) -> Any:
        if "registered" in name or "version" in name:
            raise OSError(self._words)
        return getattr(self._client, name)


def test_a_registry_that_fails(place: Path, tmp_path: Path, fresh: Path, models: list[Path]) -> None:
    """The run is whole all the same, it is said in a line without passwords, and the next run makes up for it."""
    (tmp_path / "whole").mkdir()
    whole = Path(shutil.copy(fresh, tmp_path / "whole" / "mlflow.db"))
    send(whole, STATES[:2], [STATES[0]], models[0])
    made: list[MlflowTracker] = []

    def factory(uri: str) -> MlflowTracker:
        made.append(MlflowTracker(uri))
        made[-1]._client = Refusing(made[-1]._client, "no http://me:hunter-22@host/registry\nnor another")
        return made[-1]

    sender = Sender(factory, f"sqlite:///{place}")
    for call in [Call("begin", (SUBJECT,)), *(Call("tell", (r,)) for r in STATES[:2])]:
        sender.add(call)
        sender.work()
    sender.add(Call("finish", ([STATES[0]], models[0])))
    sender.end()
    assert (sender.sent.records, sender.sent.finished) == (2, False)
    assert "its model is not registered: OSError: no http://me:***@host/registry" in sender.sent.reason
    assert versions(place) == [] and len(made) == 1
    beside = ("MLmodel", "serving.py", "requirements.txt", "python_env.yaml", "input_example.json")
    found, want = runs(place), runs(whole)
    for path in [p for p in want["coarse/0"][1] if p.name.endswith(beside)]:
        del want["coarse/0"][1][path]
    assert found == want and Path("model/weights.npz") in found["coarse/0"][1]
    send(place, STATES[:2], [STATES[0]], models[0])
    assert versions(place) == versions(whole) and runs(place) == runs(whole)


def test_another_state_at_the_same_time(place: Path) -> None:
    for state in ("diverged", "complete"):
        send(place, [record(5, state, metrics={"val/loss": 1.5, "test/loss": 3.0})])
        run = of(place, "coarse/5")
        assert run.data.tags["hpsearch.state"] == state and "best/test/loss" not in run.data.metrics


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("no route to http://me:hunter-22@host:5000/x", ""),
        ("no route to postgresql+psycopg://me:hunter-22@host/db?x=1", ""),
        ("('postgresql://me:hunt@r-hunter-22/3@host/db')", ""),
        ("token hunter-22 refused", "http://me:hunter-22@host"),
        ("p%40hunter-22 or p@hunter-22", "postgresql://me:p%40hunter-22@host/db"),
        ("connect host=h password=hunter-22 port=5", ""),
        ("https://hunter-22@host/x", ""),
        ("mysql://host/db?user=me&password=hunter-22&x=1", ""),
    ],
)
def test_passwords_are_masked(text: str, uri: str) -> None:
    assert "hunter" not in masked(text, uri) and "***" in masked(text, uri)
    assert "hunter" not in reason_of(OSError(text), uri)


@pytest.mark.parametrize("text", ["http://host:5000/a", "/tmp/a@b:c", "me@host: no", "sqlite:////tmp/mlflow.db"])
def test_what_is_no_password_stays(text: str) -> None:
    assert masked(text, text) == text


class Moody:
    """A tracker that fails for some records, for a while, or for ever."""

    def __init__(self, fails: Callable[[str, int], Exception | None]) -> None:
        self.fails, self.calls, self.log = fails, 0, list[str]()

    def __call__(self, uri: str) -> "Moody":
        return self

    def _do(self, what: str) -> None:
        self.calls += 1
        error = self.fails(what, self.calls)
        if error is not None:
            raise error
        self.log.append(what)

    def begin(self, subject: StudyInfo) -> None:
        self._do("begin")

    def tell(self, record: Trial) -> None:
        self._do(record.label)

    def finish(self, ranking: list[Trial], model: Path | None) -> None:
        self._do("finish")

    def close(self, seconds: float) -> str | None:
        self._do("close")
        return None


def conversation(tracker: Moody) -> Sender:
    sender = Sender(tracker, "http://me:hunter-22@host")
    sender.open()
    for call in [Call("begin", (SUBJECT,)), *(Call("tell", (r,)) for r in STATES)]:
        sender.add(call)
        sender.work()
    sender.add(Call("finish", ([], None)))
    sender.end()
    return sender


LABELS = [r.label for r in STATES]


@pytest.mark.parametrize(
    ("fails", "want", "finished"),
    [
        (lambda what, n: None, 5, True),
        (lambda what, n: OSError("no") if what == "coarse/1" else None, 4, True),
        (lambda what, n: OSError("no") if n < 7 else None, 5, True),
        (lambda what, n: OSError("no"), 0, False),
        (lambda what, n: StoreReplacedError("deleted") if n == 4 else None, 0, False),
        (lambda what, n: StoreReplacedError("deleted") if what == "close" else None, 0, False),
        (lambda what, n: OSError("no") if what == "close" else None, 5, True),
    ],
    ids=["well", "one record", "a while", "for ever", "deleted", "deleted late", "tidying"],
)
def test_what_fails_is_tried_again(fails: Any, want: int, finished: bool) -> None:
    """Each record once, the end after them, and the number that arrived is the number that is said."""
    tracker = Moody(fails)
    sender = conversation(tracker)
    assert (sender.sent.records, sender.sent.finished) == (want, finished)
    told = [what for what in tracker.log if what in LABELS]
    assert len(told) == len(set(told)) and ("finish" in tracker.log[-2:]) >= finished
    assert want == 5 or sender.sent.reason
    assert want == 0 or len(told) == want


@given(st.integers(0, 2000), st.integers(-1, 2000))
def test_thinned(length: int, best: int) -> None:
    """In order, no place twice, no more than there is room for; the ends and the best are there, gaps are even."""
    places = thinned(length, best)
    assert len(places) == min(length, POINTS)
    assert places == sorted(set(places)) and all(0 <= p < length for p in places)
    if length:
        assert places[0] == 0 and places[-1] == length - 1
    if 0 <= best < length:
        assert best in places
    if len(places) > 1:
        assert max(np.diff(places)) <= 2 * math.ceil((length - 1) / (len(places) - 1))


def test_database_of_a_trial(place: Path) -> None:
    """At most 35 kB, everything included: four curves of 50 epochs, tags, parameters, the data, indices."""
    facts = {"data": "562232acc926f170", "version": "hpsearch 0.4.0, numpy 2.4.6, optuna 5.0.0, python 3.11.7"}
    subject = StudyInfo(cases.small(), "identity", 1e9, facts, {"rows": 150, "features": 4}, "0123456789" * 4)
    names = ("train/loss", "val/loss", "train/accuracy", "val/accuracy")
    curves = dict.fromkeys(names, np.linspace(1, 2, 50).tolist())
    given: dict[str, Any] = {"epochs": 50, "best_epoch": 30, "metrics": dict.fromkeys(names, 1.5)}
    records = [record(n, "complete", 1e9 + n, **given) for n in range(30)]
    size = []
    for part in (records[:10], records[10:]):
        tracker = MlflowTracker(f"sqlite:///{place}")
        tracker.begin(subject)
        for r in part:
            tracker.tell(r._replace(history=curves))
        tracker.close(9)
        size.append(place.stat().st_size)
    assert 10_000 < (size[1] - size[0]) / 20 <= 35_000

"""The champion in the model registry: registered once, under a name of its own."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import cases
import pytest

from hpsearch.models.members import Member
from hpsearch.models.model import Model
from hpsearch.tracking import StudyInfo
from hpsearch.tracking.mlflow.tracker import MlflowTracker
from hpsearch.tracking.sender import Message, RetryingSender
from tests.hpsearch.tracking.mlflow.mlflow_cases import STATES, STUDY, counts, run_of, runs, upload, versions

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
]


def test_registered_once(place: Path, models: list[Path]) -> None:
    """A repeated upload writes nothing; other weights or another champion make one more version."""
    from mlflow import MlflowClient

    client, (first, second) = MlflowClient(f"sqlite:///{place}"), models
    upload(place, STATES, [STATES[0], STATES[4]], first)
    before, stored = counts(place), mlmodel(place, "coarse/0")
    for _ in range(2):
        upload(place, STATES, [STATES[0], STATES[4]], first)
    assert counts(place) == before and mlmodel(place, "coarse/0") == stored
    assert versions(place) == [("small", 1, "coarse/0", "champion")]
    tags = client.get_model_version("small", "1").tags
    assert tags["hpsearch.trial"] == "coarse/0" and len(tags["hpsearch.weights"]) == 64
    assert client.get_registered_model("small").tags == {"hpsearch.study": "identity"}
    upload(place, STATES, [STATES[0], STATES[4]], second)
    assert versions(place) == [("small", 1, "coarse/0", None), ("small", 2, "coarse/0", "champion")]
    upload(place, STATES, [STATES[4], STATES[0]], second)
    moved = [("small", 1, "coarse/0", None), ("small", 2, "coarse/0", None), ("small", 3, "coarse/4", "champion")]
    assert versions(place) == moved
    upload(place, STATES, [STATES[4], STATES[0]])  # without a model the alias stays
    assert versions(place) == moved
    client.set_registered_model_alias("small", "champion", "1")  # by a user
    upload(place, STATES, [STATES[4], STATES[0]], second)
    assert versions(place) == moved
    client.delete_registered_model("small")
    upload(place, STATES, [STATES[4], STATES[0]], second)
    assert versions(place) == [("small", 1, "coarse/4", "champion")]


def mlmodel(place: Path, label: str) -> str:
    return (Path(urlparse(run_of(place, label).info.artifact_uri).path) / "model" / "MLmodel").read_text("utf-8")


def test_registered_names(place: Path, models: list[Path]) -> None:
    """Studies of one name and models registered by a user stay apart; each study finds its own model again."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place}")
    studies = [StudyInfo(cases.small(), f"{k}23456789", 1e9, {}) for k in range(3)]
    for study in (*studies[:2], *studies[:2]):
        upload(place, STATES[:1], [STATES[0]], models[0], study)
    assert [(v.name, v.number, v.alias) for v in versions(place)] == [
        ("small", 1, "champion"),
        ("small-12345678", 1, "champion"),
    ]
    client.create_registered_model("small-22345678")
    for _ in range(2):
        upload(place, STATES[:1], [STATES[0]], models[0], studies[2])
    with closing(sqlite3.connect(place)) as connection:
        found = connection.execute("SELECT name, version FROM model_versions ORDER BY name").fetchall()
    assert found == [("small", 1), ("small-12345678", 1), ("small-22345678-22345678", 1)]


def test_registered_in_the_tracking_database(place: Path, models: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever registry the user has chosen for other models."""
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://127.0.0.1:9")
    upload(place, STATES[:1], [STATES[0]], models[0])
    monkeypatch.delenv("MLFLOW_REGISTRY_URI")
    assert [v.name for v in versions(place)] == ["small"]


class RefusingClient:
    """A client whose server has no model registry."""

    def __init__(self, client: Any, message: str) -> None:
        self._client, self._message = client, message

    def __getattr__(self, name: str) -> Any:
        if "registered" in name or "version" in name:
            raise OSError(self._message)
        return getattr(self._client, name)


def test_registry_fails(place: Path, tmp_path: Path, fresh: Path, models: list[Path]) -> None:
    """The run is complete, the reason is one line without passwords, and the next upload registers the model."""
    (tmp_path / "whole").mkdir()
    whole = Path(shutil.copy(fresh, tmp_path / "whole" / "mlflow.db"))
    upload(whole, STATES[:2], [STATES[0]], models[0])
    trackers: list[MlflowTracker] = []

    def factory(uri: str) -> MlflowTracker:
        trackers.append(MlflowTracker(uri))
        trackers[-1]._client = RefusingClient(trackers[-1]._client, "no http://me:hunter-22@host/registry\nnor another")
        return trackers[-1]

    sender = RetryingSender(factory, f"sqlite:///{place}")
    for message in [Message("start_study", (STUDY,)), *(Message("log_trial", (r,)) for r in STATES[:2])]:
        sender.add(message)
        sender.send_next()
    sender.add(Message("finish_study", ([STATES[0]], models[0])))
    sender.flush()
    assert (sender.progress.trials, sender.progress.finished) == (2, False)
    assert "its model is not registered: OSError: no http://me:***@host/registry" in sender.progress.reason
    assert versions(place) == [] and len(trackers) == 1
    added = ("MLmodel", "serving.py", "requirements.txt", "python_env.yaml", "input_example.json")
    found, want = runs(place), runs(whole)
    for path in [p for p in want["coarse/0"][1] if p.name.endswith(added)]:
        del want["coarse/0"][1][path]
    assert found == want and Path("model/weights.npz") in found["coarse/0"][1]
    upload(place, STATES[:2], [STATES[0]], models[0])
    assert versions(place) == versions(whole) and runs(place) == runs(whole)


SCORES = {"val/loss": 0.5, "val/accuracy": 0.75, "test/loss": 0.625}


@pytest.fixture(scope="module")
def ensembles(models: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the models of two ensembles of both networks, in either order."""
    folder, made = tmp_path_factory.mktemp("ensembles"), [Model.load(model) for model in models]
    for number, (first, second) in enumerate((made, made[::-1])):
        about = {"study": "small", "trial": f"ensemble of coarse/{number}, coarse/7 × 2", "metrics": SCORES}
        other = Member(second.predictor, second.preprocessing, 2)
        replace(first, about=about, others=(other,)).save(folder / str(number))
    return [folder / "0", folder / "1"]


def test_an_ensemble(place: Path, models: list[Path], ensembles: list[Path]) -> None:
    """It has one run with its scores, and one more version with an alias; a repeated upload changes nothing."""
    import mlflow
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place}")
    upload(place, STATES, STATES[:1], models[0], ensemble=ensembles[0])
    before, found = counts(place), run_of(place, "ensemble", by="mlflow.runName")
    assert found.data.metrics == {"objective": 0.5, "best/val/loss": 0.5, "best/val/accuracy": 0.75, "test/loss": 0.625}
    assert found.data.params == {"members": "ensemble of coarse/0, coarse/7 × 2"}
    assert found.info.status == "FINISHED" and "hpsearch.trial" not in found.data.tags
    upload(place, STATES, STATES[:1], models[0], ensemble=ensembles[0])
    assert counts(place) == before
    aliases = {alias: client.get_model_version_by_alias("small", alias) for alias in ("champion", "ensemble")}
    assert aliases["ensemble"].run_id == found.info.run_id != aliases["champion"].run_id
    x = cases.small().data.load().x[:5]
    served = mlflow.pyfunc.load_model(aliases["ensemble"].source).predict(x)
    assert served.equals(Model.load(ensembles[0]).predictions(x))
    assert not served.equals(Model.load(models[0]).predictions(x))
    upload(place, STATES, STATES[:1], models[0], ensemble=ensembles[1])
    other = run_of(place, "ensemble", by="mlflow.runName")
    assert other.data.params == {"members": "ensemble of coarse/1, coarse/7 × 2"}
    assert client.get_model_version_by_alias("small", "ensemble").run_id == other.info.run_id
    assert client.get_model_version_by_alias("small", "champion").run_id == aliases["champion"].run_id


def test_an_ensemble_that_a_kill_left_unfinished(
    place: Path, models: list[Path], ensembles: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run is replaced by a complete one."""
    from mlflow import MlflowClient

    upload(place, STATES, STATES[:1], models[0])
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(MlflowClient, "set_terminated", lambda *_: (_ for _ in ()).throw(RuntimeError))
        upload(place, STATES, STATES[:1], models[0], ensemble=ensembles[0])
    unfinished = run_of(place, "ensemble", by="mlflow.runName").info
    assert unfinished.status == "RUNNING"
    upload(place, STATES, STATES[:1], models[0], ensemble=ensembles[0])
    found = run_of(place, "ensemble", by="mlflow.runName").info
    assert found.status == "FINISHED" and found.run_id != unfinished.run_id

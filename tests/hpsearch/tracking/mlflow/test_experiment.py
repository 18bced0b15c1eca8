"""A study's experiment: its name, description and saved views."""

import base64
import json
import shutil
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import cases
import pytest

from hpsearch.storage.records import Trial
from hpsearch.tracking import StudyInfo
from hpsearch.tracking.mlflow.tracker import MlflowTracker
from tests.hpsearch.tracking.mlflow.mlflow_cases import SCORED, STATES, STUDY, runs, trial, upload

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
]


def test_another_study_of_the_same_name(tmp_path: Path) -> None:
    """It gets its own experiment and finds it again."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    spec = cases.small()
    for identity in ("first", "second", "first", "second"):
        tracker = MlflowTracker(uri)
        tracker.start_study(StudyInfo(spec, identity, 1e9, {}))
        assert tracker.close(9) is None
    names = [e.name for e in MlflowClient(uri).search_experiments()]
    assert sorted(names) == ["Default", "small", "small second"]


class RecordingClient:
    """A client that records the tags set on the experiment, or refuses to set them."""

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


def tags_set(place: Path, trials: list[Trial], *, refuses: bool = False, study: StudyInfo = STUDY) -> list[list[str]]:
    """Return the tags set at the start of a study, while it runs and at its end."""
    tracker = MlflowTracker(f"sqlite:///{place}")
    tracker._client = client = RecordingClient(tracker._client, refuses=refuses)
    found = []
    for step in (
        lambda: tracker.start_study(study),
        lambda: [*map(tracker.log_trial, trials)],
        lambda: tracker.finish_study([], None),
    ):
        step()
        found.append([key.removeprefix("mlflow.") for key in client.keys])
        client.keys.clear()
    return found


ALL_TAGS = ["note.content", "sharedViewState.hpsearch", "sharedViewState.hpsearch-every"]


def test_views_and_description_follow(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written at the start, then only where they differ, and not often while the study runs."""
    assert tags_set(place, SCORED) == [ALL_TAGS, [], ALL_TAGS]
    assert tags_set(place, SCORED) == [
        ALL_TAGS[1:],
        [],
        ALL_TAGS[1:],
    ]  # scores are unknown at the start; the note stays
    monkeypatch.setattr("hpsearch.tracking.mlflow.experiment.UPDATE_INTERVAL", 0.0)
    assert tags_set(place, [*SCORED, trial(5, "complete", value=0.1)])[1:] == [[*ALL_TAGS[1:], ALL_TAGS[0]], []]


def test_errors_are_ignored(place: Path, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of the experiment's tags; an unsupported MLflow gets no views; unknown importance changes nothing."""
    (tmp_path / "whole").mkdir()
    whole = Path(shutil.copy(fresh, tmp_path / "whole" / "mlflow.db"))
    upload(whole, SCORED)
    assert tags_set(place, SCORED, refuses=True) == [[], [], []]
    assert runs(place) == runs(whole)

    def broken(*_: Any) -> None:
        raise ValueError

    monkeypatch.setattr("hpsearch.search.importance.importance", broken)
    assert tags_set(place, SCORED) == [ALL_TAGS, [], ALL_TAGS]
    monkeypatch.setattr("mlflow.__version__", "4.0.0")
    other = StudyInfo(cases.small(), "another", 1e9, {})
    assert tags_set(place, SCORED, study=other) == [ALL_TAGS[:1], [], ALL_TAGS[:1]]


def test_important_parameters_are_charted(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The most important parameters are charted at the end if there are more than scatter plots."""
    labels: list[Any] = []

    def importance(spec: Any, space: Any, trials: Any) -> dict[str, float]:
        labels.extend(t.label for t in trials)
        return {"batch_size": 0.75, "beta": 0.25}

    monkeypatch.setattr("hpsearch.search.importance.importance", importance)
    monkeypatch.setattr("hpsearch.tracking.mlflow.experiment.MAX_SCATTER_PLOTS", 3)
    upload(place, STATES)
    assert labels == [t.label for t in STATES]
    with closing(sqlite3.connect(place)) as connection:
        query = "SELECT value FROM experiment_tags WHERE key = 'mlflow.sharedViewState.hpsearch'"
        (value,) = connection.execute(query).fetchone()
    state = json.loads(zlib.decompress(base64.b64decode(json.loads(value)["state"].removeprefix("deflate;"))))
    places = [c["xaxis"]["key"] for c in state["compareRunCharts"] if c["type"] == "SCATTER"]
    assert places[:3] == ["trial", "batch_size", "log10_one_minus_beta"]


def test_description_of_a_user_stays(place: Path) -> None:
    from mlflow import MlflowClient

    upload(place, STATES)
    client = MlflowClient(f"sqlite:///{place}")
    (found,) = client.search_experiments(filter_string="name = 'small'")
    client.set_experiment_tag(found.experiment_id, "mlflow.note.content", "mine")
    upload(place, [*STATES, trial(5, "complete", value=0.1)])
    assert client.get_experiment(found.experiment_id).tags["mlflow.note.content"] == "mine"

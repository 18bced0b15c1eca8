"""A study's experiment: its name, description and saved views."""

import base64
import json
import shlex
import shutil
import sqlite3
import sys
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import cases
import pytest

from hpsearch.storage.records import Trial
from hpsearch.tracking import TRACKERS, BackgroundTracker, StudyInfo
from hpsearch.tracking.mlflow.database import is_beside
from hpsearch.tracking.mlflow.tracker import MlflowTracker
from hpsearch.tracking.sender import failure_reason
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


@pytest.fixture(autouse=True)
def recent_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name a version that reads saved views, whichever is installed."""
    monkeypatch.setattr("mlflow.__version__", "3.17.0")


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


# ── a folder that was moved ───────────────────────────────────────────────────────────────────────────────────────────
def located(place: Path) -> tuple[list[str], list[str]]:
    """Return the names of all experiments, and the artifacts in the folder of the database."""
    with closing(sqlite3.connect(place)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM experiments ORDER BY experiment_id")]
    root = place.parent / "artifacts"
    return names, sorted({p.name for p in root.rglob("*") if p.is_file()})


def test_a_moved_folder(fresh: Path, tmp_path: Path, models: list[Path]) -> None:
    """Runs, artifacts and model are beside the database again, the user's description stays, and nothing is lost."""
    from mlflow import MlflowClient

    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    shutil.copy(fresh, here / "mlflow.db")
    before = upload(here / "mlflow.db", STATES, STATES[:1], models[0])
    client = MlflowClient(f"sqlite:///{here}/mlflow.db")
    client.set_experiment_tag(before._experiment.id, "mlflow.note.content", "mine")
    expected = runs(here / "mlflow.db")
    here.rename(there)
    here.write_text("in the way")
    place = there / "mlflow.db"
    after = upload(place, STATES, STATES[:1], models[0])
    assert after.counts.uploaded == len(STATES) and runs(place) == expected
    note = after._experiment.note
    assert note is not None and f"its artifacts were in {here}/artifacts/small" in note
    client = MlflowClient(f"sqlite:///{place}")
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None and experiment.artifact_location == (there / "artifacts" / "small").as_uri()
    assert experiment.tags["mlflow.note.content"] == "mine"
    for run in client.search_runs([experiment.experiment_id]):
        folder = Path(run.info.artifact_uri.removeprefix("file://"))
        assert folder.is_relative_to(there) and (folder / "history.json").exists()
    champion = client.get_model_version_by_alias("small", "champion")
    assert (Path(champion.source.removeprefix("file://")) / "MLmodel").is_file() and int(champion.version) == 2
    old = client.get_experiment(before._experiment.id)
    assert old.lifecycle_stage == "deleted" and old.name == f"small (moved, {before._experiment.id})"
    found = located(place)
    again = upload(place, STATES, STATES[:1], models[0])
    assert again._experiment.note is None and again.counts.unchanged == len(STATES) and located(place) == found


def test_a_folder_under_another_name_is_not_moved(place: Path, tmp_path: Path) -> None:
    upload(place, STATES)
    (tmp_path.parent / f"{tmp_path.name}-link").symlink_to(tmp_path)
    tracker = upload(tmp_path.parent / f"{tmp_path.name}-link" / place.name, STATES)
    assert tracker._experiment.note is None and tracker.counts.unchanged == len(STATES)


@pytest.mark.parametrize(
    ("location", "beside"),
    [
        ("file:///x/artifacts/a", True),
        ("/x/artifacts/a", True),
        ("file:///x/artifacts/a%20b", True),
        ("file:///y/artifacts/a", False),
        ("file:///x/artifacts", False),
        ("/y/mlruns/1", False),
        ("s3://bucket/a", True),
        ("mlflow-artifacts:/1", True),
    ],
)
def test_where_artifacts_are(location: str, beside: bool) -> None:
    assert is_beside(location, Path("/x/artifacts")) == beside


@pytest.mark.filterwarnings("ignore:Support for class-based")  # in the command line of MLflow 3.0
def test_a_deleted_experiment_can_be_restored(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command in the message, in any folder, where it leaves no file."""
    from click.testing import CliRunner
    from mlflow.cli import cli

    first = upload(place, STATES)
    first._client.delete_experiment(first._experiment.id)
    with pytest.raises(RuntimeError, match="its experiment was deleted; restore it: ") as caught:
        upload(place, STATES)
    reason = failure_reason(caught.value, f"sqlite:///{place}")
    variable, python, *arguments = shlex.split(reason.partition("restore it: ")[2])
    assert (python, arguments[:2]) == (sys.executable, ["-m", "mlflow"])
    (elsewhere := tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(elsewhere)
    name, _, value = variable.partition("=")
    result = CliRunner().invoke(cli, arguments[2:], env={name: value})
    assert result.exit_code == 0 and list(elsewhere.iterdir()) == []
    assert upload(place, STATES).counts.unchanged == len(STATES)


@pytest.mark.crash
def test_everything_is_private(tmp_path: Path) -> None:
    """The database, its folder and all artifacts, as the tracker's process writes them."""
    tracker = BackgroundTracker("MLflow", TRACKERS["mlflow"], f"sqlite:///{tmp_path}/a/mlflow.db", str(tmp_path), bool)
    tracker.start_study(STUDY)
    tracker.log_trial(STATES[0])
    tracker.finish_study(STATES[:1], None)
    assert tracker.close(60) is None and tracker.note is None
    paths = [p for p in (tmp_path / "a").rglob("*") if p.suffix not in (".db-wal", ".db-shm")]
    assert {p.name for p in paths} >= {"mlflow.db", "artifacts", "history.json", "loss.svg"}
    assert {p.name: oct(p.stat().st_mode & 0o077) for p in (tmp_path / "a", *paths) if p.stat().st_mode & 0o077} == {}

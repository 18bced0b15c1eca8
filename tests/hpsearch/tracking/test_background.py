"""A tracker in a child process: a store that does not work fails no study."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import cases
import pytest

from tests.hpsearch.tracking.mlflow.mlflow_cases import counts, versions
from tests.hpsearch.tracking.mlflow.test_tracker import hpsearch

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
]

SHORT: dict[str, Any] = {"train.epochs": 2, "stages.0.trials": 3, "stages.1.trials": 1}


def unusable(folder: Path, how: str) -> Path:
    """Return a path where MLflow cannot store anything."""
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
    """A study gives a warning, exit code 0 and all its trials; the next run uploads what is missing."""
    study, place = cases.write(tmp_path, **SHORT), unusable(tmp_path, how)
    command = ("run", study, "--quiet", "--tracking-uri", f"sqlite:///{place}")
    process = hpsearch(tmp_path, *command, timeout=100)  # MLflow alone retries for hundreds of seconds
    assert process.returncode == 0, process
    assert "warning: " in process.stderr and "Traceback" not in process.stderr
    assert "4 of 4 trials not uploaded (" in process.stderr and "small.db --tracking-uri" in process.stderr
    shown = json.loads(hpsearch(tmp_path, "show", "small.db", "--json").stdout)
    assert [t["state"] for t in shown["trials"]] == ["complete"] * 4
    if how == "text":
        place.unlink()
        process = hpsearch(tmp_path, "run", study, "--quiet", "--tracking-uri", f"sqlite:///{place}")
        assert process.returncode == 0 and "warning" not in process.stderr, process
        assert counts(place)["runs"] == 4


@pytest.mark.crash
def test_settings_of_a_user_s_own_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another store, run and backend of plots, and warnings as errors: the study is in its own store, and complete."""
    settings = {
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        "MLFLOW_REGISTRY_URI": "http://127.0.0.1:9",
        "MLFLOW_RUN_ID": "0" * 32,
        "MLFLOW_EXPERIMENT_NAME": "another",
        "MLFLOW_ENABLE_ASYNC_LOGGING": "true",
        "MPLBACKEND": "no backend",
        "PYTHONWARNINGS": "error::UserWarning",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    place = tmp_path / "mlflow.db"
    process = hpsearch(tmp_path, "run", cases.write(tmp_path, **SHORT), "--tracking-uri", f"sqlite:///{place}")
    assert process.returncode == 0 and "warning" not in process.stderr, process
    assert counts(place)["runs"] == 4
    for name in settings:
        monkeypatch.delenv(name)
    assert [(v.name, v.alias) for v in versions(place)] == [("small", "champion")]

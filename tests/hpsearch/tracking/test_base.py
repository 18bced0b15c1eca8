"""The description of a study for trackers."""

import subprocess
from pathlib import Path

import cases
import pytest

from hpsearch.storage.records import StoredStudy
from hpsearch.tracking import StudyInfo
from hpsearch.tracking.base import git_commit
from tests.hpsearch.tracking.mlflow.mlflow_cases import STATES, run_of, upload

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
]


def test_git_commit(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit checked out in the database's folder; None without a repository, a commit or git."""
    folder = tmp_path / "studies"
    folder.mkdir()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert git_commit(folder) is None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    assert git_commit(folder) is None
    git("commit", "-q", "--allow-empty", "-m", "one")
    stored = StoredStudy("small", "identity", {}, "digest", "then", 1e9, "hash")
    study = StudyInfo.from_stored(cases.small(), stored, f"sqlite:///{folder}/small.db", "hpsearch 1", None)
    assert study.commit == git("rev-parse", "HEAD") and len(study.commit) == 40
    upload(place, STATES[:1], study=study)
    assert run_of(place, "coarse/0").data.tags["mlflow.source.git.commit"] == study.commit
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit(folder) is None

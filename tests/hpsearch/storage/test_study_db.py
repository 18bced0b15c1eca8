"""The study database as a whole: commands on it, retries, and the token of a change."""

from collections.abc import Callable
from pathlib import Path

import cases
import pytest

from hpsearch.storage.records import StoredWeights
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.training.task import TrialResult
from tests.hpsearch.storage.conftest import SPACE, trial
from tests.hpsearch.test_cli import Call, call, refused, strict  # noqa: F401

FAILED = TrialResult(1, "failed", None, 0, 0, {}, 0.25, error="ValueError: no")


def test_failed_trials_are_trained_again(database: StudyDatabase) -> None:
    """Optuna's study of their stage is mirrored again from the start."""
    database.trials.add([trial(0), trial(1), trial(0, stage="fine")])
    database.trials.save("coarse", [FAILED])
    assert database.mirror.count("coarse", 1) == 0
    assert database.retry_failed("fine") == 0 and database.mirror.counts() == {"coarse": 0}
    assert database.retry_failed("coarse") == 1
    assert database.trials.load("coarse", SPACE) == [trial(0), trial(1)]
    assert database.mirror.counts() == {}


CHANGES: dict[str, Callable[[StudyDatabase], object]] = {
    "a trial is added": lambda d: d.trials.add([trial(5)]),
    "a trial finishes": lambda d: d.trials.save("coarse", [FAILED]),
    "a stage begins": lambda d: d.stages.begin("fine", {}),
    "a stage ends": lambda d: d.stages.end("coarse", 2),
    "test scores are stored": lambda d: d.weights.save_champion(StoredWeights("coarse", 0, b"", {"test/loss": 1.0})),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_token_changes(database: StudyDatabase, change: str) -> None:
    database.stages.begin("coarse", {})
    database.trials.add([trial(0), trial(1)])
    before = database.change_token()
    assert database.change_token() == before
    CHANGES[change](database)
    assert database.change_token() != before


def test_the_token_changes_with_the_lease(database: StudyDatabase) -> None:
    before = database.change_token()
    with database.lease.hold():
        assert database.change_token() != before
    assert database.change_token() == before


def test_commands_in_a_folder_that_looks_encoded(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """All commands mean the same file, and nothing is made in another folder."""
    folder, other = tmp_path / "a%20b", tmp_path / "a b"
    folder.mkdir()
    other.mkdir()
    monkeypatch.chdir(folder)
    study = cases.write(folder, **{"train.epochs": 1, "stages.0.trials": 2, "stages.1.trials": 1})
    assert call("run", study.name, "--tracking-uri", "none").code == 0
    for where in ("small.db", folder / "small.db"):
        assert strict(call("show", where, "--json").out)["best"]["params"]
    assert call("resume", "small.db", "--tracking-uri", "none").code == 0
    assert call("export", folder / "small.db", "--to", "model").code == 0
    refused(call("ui", "small.db", "--no-open"), str(folder / "mlruns/mlflow.db"), "there is no MLflow database")
    assert str(folder / "mlruns/mlflow.db") in call("doctor", "small.db").out
    assert list(other.iterdir()) == [] and set(tmp_path.iterdir()) == {folder, other}

"""The upload of missing trials from a study database."""

from pathlib import Path
from typing import Any

import cases
import pytest
from people_cases import people, run_ensemble

from hpsearch.admin.sync import SyncReport, _ensemble, sync
from hpsearch.core.files.file_lock import locked
from hpsearch.data.dataset import prepare
from hpsearch.errors import Interrupted, StorageError, TrackingError
from hpsearch.models.model import Model
from hpsearch.storage.records import Baseline
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.tracking.mlflow.tracker import UploadCounts
from hpsearch.tracking.sender import Message, RetryingSender

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
]
SHORT: dict[str, Any] = {"train.epochs": 2, "stages.0.trials": 3, "stages.1.trials": 1}


@pytest.fixture
def interrupted(tmp_path: Path) -> str:
    """Return the URL of a study of which two trials are finished."""
    spec, database, tracker = cases.small(**SHORT), tmp_path / "small.db", cases.LimitTracker(2)
    dataset, _ = prepare(spec.data, spec.seed, tmp_path)
    with pytest.raises(Interrupted):
        cases.run(spec, dataset, database, tracker=tracker, stop=tracker.stop)
    return f"sqlite:///{database}"


def test_report() -> None:
    report = SyncReport(UploadCounts(12, 1, 68), ())
    assert report.line == "12 runs uploaded, 1 unfinished run closed, 68 runs unchanged"


def test_finished_trials_are_uploaded_once(interrupted: str, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    first = sync(interrupted, uri)
    assert first.runs.uploaded >= 2 and first == ((first.runs.uploaded, 0, 0), ())
    assert sync(interrupted, uri) == ((0, 0, first.runs.uploaded), ())


@pytest.mark.parametrize("finished", [True, False])
def test_baselines_of_a_finished_study_are_sent(
    interrupted: str, finished: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    baseline = Baseline("linear", 0, 9, {"val/loss": 0.5}, None, 1.0, 7.0)
    storage = StudyDatabase.open(interrupted, create=False)
    with storage.lease.hold():
        storage.baselines.save(baseline)
    storage.close()
    sent: list[Message] = []
    monkeypatch.setattr(RetryingSender, "add", lambda _, message: sent.append(message))
    monkeypatch.setattr("hpsearch.admin.sync._outcome", lambda study, *_: (study.ranking * finished, None, []))
    with pytest.raises(TrackingError, match="not uploaded"):
        sync(interrupted, f"sqlite:///{tmp_path}/mlflow.db")
    assert sent[-1].method == "finish_study" and sent[-1].arguments[2] == ((baseline,) if finished else ())


def test_the_ensemble_of_a_finished_study(tmp_path: Path) -> None:
    """Its model is saved for the upload; if its weights are lost, a message says so."""
    result = run_ensemble(tmp_path)
    study = result.summary
    assert study.ensemble is not None
    storage = StudyDatabase.open(result.url, create=False)
    saved, messages = _ensemble(study, storage, tmp_path)
    assert saved is not None and not messages
    assert Model.load(saved).scores(people()).tobytes() == result.ensemble.scores(people()).tobytes()
    lost = study._replace(ensemble=study.ensemble._replace(members={("coarse", 99): 1}))
    nothing, messages = _ensemble(lost, storage, tmp_path / "lost")
    assert nothing is None and "without the ensemble" in messages[0] and "coarse/99 are not stored" in messages[0]
    assert _ensemble(study._replace(ensemble=None), storage, tmp_path / "none") == (None, [])
    storage.close()


def test_refused(interrupted: str, tmp_path: Path) -> None:
    """Without a store, while the study runs, with a store of another kind, and when it is interrupted."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.raises(TrackingError, match="'none' disables tracking"):
        sync(interrupted, "none")
    with pytest.raises(StorageError, match="name two databases"):
        sync(interrupted, interrupted)
    with locked(tmp_path / "small.db"), pytest.raises(StorageError, match="run"):
        sync(interrupted, uri)
    with pytest.raises(Interrupted):
        sync(interrupted, uri, stop=lambda: True)
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 99)
    with pytest.raises(TrackingError, match=r"trials not uploaded \(its database is not a database"):
        sync(interrupted, uri)

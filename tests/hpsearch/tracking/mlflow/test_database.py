"""MLflow's database file."""

import socket
import time
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import sqlalchemy as sa

from hpsearch.errors import StorageError
from hpsearch.storage import database
from hpsearch.tracking import StudyInfo
from hpsearch.tracking.mlflow.database import open_client
from hpsearch.tracking.mlflow.tracker import MlflowTracker
from tests.hpsearch.tracking.mlflow.mlflow_cases import trial

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
]


def test_size_of_a_trial(place: Path) -> None:
    """A trial with four curves of 50 epochs takes at most 35 kB, with tags, parameters, dataset and indexes."""
    properties = {"data": "562232acc926f170", "version": "hpsearch 0.4.0, numpy 2.4.6, optuna 5.0.0, python 3.11.7"}
    study = StudyInfo(cases.small(), "identity", 1e9, properties, {"rows": 150, "features": 4}, "0123456789" * 4)
    names = ("train/loss", "val/loss", "train/accuracy", "val/accuracy")
    curves = dict.fromkeys(names, np.linspace(1, 2, 50).tolist())
    values: dict[str, Any] = {"epochs": 50, "best_epoch": 30, "metrics": dict.fromkeys(names, 1.5)}
    trials = [trial(n, "complete", 1e9 + n, **values) for n in range(30)]
    size = []
    for part in (trials[:10], trials[10:]):
        tracker = MlflowTracker(f"sqlite:///{place}")
        tracker.start_study(study)
        for t in part:
            tracker.log_trial(t._replace(history=curves))
        tracker.close(9)
        size.append(place.stat().st_size)
    assert 10_000 < (size[1] - size[0]) / 20 <= 35_000


def test_the_disk_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for the statements that create a database, which is renamed when it is complete, nor for every commit."""
    levels = list[int]()

    class Store:
        """Makes one connection, as MLflow's store."""

        def __init__(self, url: str, *_: Any) -> None:
            self.engine = sa.create_engine(url)
            with self.engine.connect() as connection:
                levels.append(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())
            self.engine.dispose()

    monkeypatch.setattr("mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore", Store)
    open_client(f"sqlite:///{tmp_path / 'mlflow.db'}")
    Store(f"sqlite:///{tmp_path / 'mlflow.db'}")
    off, normal = 0, 1
    assert levels[0] == off and len(levels) > 1 and set(levels[1:]) == {normal}


def test_a_database_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow alone would try for minutes."""
    pytest.importorskip("psycopg")
    monkeypatch.setattr(database, "CONNECT_TIMEOUT", 2)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        start = time.monotonic()
        with pytest.raises(StorageError, match="timeout"):
            open_client(f"postgresql+psycopg://127.0.0.1:{mute.getsockname()[1]}/mlflow")
        assert time.monotonic() - start < 30

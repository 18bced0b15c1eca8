"""Fresh databases of MLflow, and saved models."""

import shutil
from pathlib import Path

import cases
import numpy as np
import pytest

from hpsearch.data.dataset import prepare
from hpsearch.models.export import build_model
from hpsearch.tracking.mlflow.tracker import MlflowTracker
from hpsearch.training.network import build_network
from tests.hpsearch.tracking.mlflow.mlflow_cases import STATES


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a new database, whose migrations take seconds."""
    path = tmp_path_factory.mktemp("fresh") / "mlflow.db"
    assert MlflowTracker(f"sqlite:///{path}").close(9) is None
    return path


@pytest.fixture
def place(fresh: Path, tmp_path: Path) -> Path:
    """Return a copy of the new database."""
    return Path(shutil.copy(fresh, tmp_path / "mlflow.db"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return two models of one study's champion, with different weights."""
    folder = tmp_path_factory.mktemp("models")
    spec = cases.small()
    dataset, [folds] = prepare(spec.data, spec.seed, folder)
    size = build_network(spec, dataset, STATES[0].point).size
    weights = [np.random.default_rng(k).normal(size=size).astype(np.float32).tobytes() for k in range(2)]
    for k in range(2):
        build_model(spec, dataset, folds, STATES[0], weights[k]).save(folder / str(k))
    return [folder / "0", folder / "1"]

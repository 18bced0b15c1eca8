"""A study for the tests of reports."""

import sqlite3
from contextlib import closing
from pathlib import Path

import cases
import pytest

from hpsearch.data.dataset import prepare
from tests.hpsearch.test_cli import call, strict  # noqa: F401 (a fixture)

SHORT = {"train.epochs": 4, "stages.0.trials": 21, "stages.1.trials": 4, "parallel": 7}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a study database with conditional parameters and a diverged trial."""
    folder = tmp_path_factory.mktemp("made")
    wide = {"parameters.learning_rate": {"min": 1e-3, "max": 1e16, "scale": "log"}}
    spec = cases.small(**{**cases.RICH, **wide, **SHORT})
    dataset, _ = prepare(spec.data, spec.seed, folder)
    cases.run(spec, dataset, folder / "small.db")
    with closing(sqlite3.connect(folder / "small.db")) as connection:
        connection.execute("UPDATE hpsearch_trial SET state = 'diverged', value = NULL WHERE number = 3")
        connection.commit()
    return folder / "small.db"

"""MLflow databases of the expected schema and of an older one."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from hpsearch.tracking.mlflow.database import installed_revisions
from tests.hpsearch.admin.mlflow_stores import MAKE, OLD, ROWS, TABLES
from tests.hpsearch.test_cli import Call, call, refused  # noqa: F401


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database of an older MLflow with two studies, to be copied."""
    path = tmp_path_factory.mktemp("old") / "mlflow.db"
    subprocess.run([sys.executable, "-c", MAKE, f"sqlite:///{path}", OLD], check=True, capture_output=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(ROWS)
    return path


@pytest.fixture
def older(old: Path, tmp_path: Path) -> Path:
    """Return a copy in the default place."""
    path = tmp_path / "mlruns" / "mlflow.db"
    path.parent.mkdir()
    shutil.copy(old, path)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a database in the default place with the expected schema, but only the tables that are read."""
    path = tmp_path / "mlruns" / "mlflow.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"{TABLES}{ROWS}INSERT INTO alembic_version VALUES ('{installed_revisions()[0]}');")
    return path

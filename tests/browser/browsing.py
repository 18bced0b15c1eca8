"""Shared by the browser tests: a study, and the processes that run."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hpsearch.storage.records import Trial

COMMAND = Path(sys.executable).with_name("hpsearch")
STUDY: dict[str, Any] = {
    "name": "digits",
    "seed": 6,
    "data": {"source": "sklearn", "name": "digits", "scale": "standard"},
    "model": {"hidden": [{"units": "hidden_units", "activation": "relu"}]},
    "train": {"optimizer": "momentum", "epochs": 6},
    "parameters": {
        "learning_rate": {"min": 1e-3, "max": 1.0, "scale": "log"},
        "beta": {"min": 0.5, "max": 0.99, "scale": "one_minus_log"},
        "hidden_units": {"type": "int", "min": 16, "max": 64, "scale": "log"},
        "batch_size": {"values": [32, 64, 128], "ordered": True},
    },
    "stages": [
        {"name": "coarse", "trials": 16, "sampler": "random"},
        {"name": "fine", "trials": 8, "sampler": "random", "zoom": {"keep_top": 0.3, "margin": 0.1}},
    ],
    "pruning": "none",
    "parallel": 8,
    "workers": 2,
}
# MLflow's page requests the current user, which only a server with accounts knows. Its assistant would cover the page.
EXPECTED = "/users/current"
CLOSED = (
    "localStorage['mlflow.assistant.fab.autoOpenedOnFirstLoad_v1'] = 'true';"
    "localStorage['mlflow.assistant.panelOpen_v1'] = 'false';"
)


class FinishedStudy(NamedTuple):
    """A finished study and its trials, best first."""

    database: Path
    ranked: list[Trial]


class Process(NamedTuple):
    number: int
    parent: int
    group: int


Screenshot = Callable[[Any, str], None]


def unavailable(reason: str) -> None:
    """Skip the test, or fail it if HPSEARCH_TEST_BROWSER is `required`."""
    if os.environ.get("HPSEARCH_TEST_BROWSER") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


def processes() -> list[Process]:
    said = subprocess.run(["ps", "-eo", "pid,ppid,pgid"], capture_output=True, text=True, check=True).stdout
    return [Process(*map(int, line.split())) for line in said.splitlines()[1:]]

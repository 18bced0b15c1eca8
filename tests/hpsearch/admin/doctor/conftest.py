"""A finished and an interrupted study, and MLflow's database."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cases
import numpy as np
import pytest

from engine.training.state import State
from hpsearch.data import dataset
from hpsearch.errors import Interrupted
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.training.task import TrialResult
from tests.hpsearch.admin.doctor.doctor_cases import SHORT, Made, Tracked, ask


@pytest.fixture(scope="module")
def making(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """MLflow's database, created while other tests run."""
    folder = tmp_path_factory.mktemp("mlflow")
    script = (
        "import sys\n"
        "from mlflow import MlflowClient\n"
        "from sqlalchemy import Engine, event\n"
        "event.listen(Engine, 'connect', lambda c, _: c.execute('PRAGMA synchronous=OFF'))\n"  # halves its time
        "client = MlflowClient(sys.argv[1])\n"
        "tags = {'hpsearch.study': '', 'hpsearch.database': 'half.db'}\n"
        "client.create_run(client.create_experiment('small', artifact_location='file:///none', tags=tags))\n"
        "from mlflow.store.db.utils import _get_latest_schema_revision\n"
        "print(_get_latest_schema_revision())\n"
    )
    command = [sys.executable, "-c", script, f"sqlite:///{folder}/mlflow.db"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder, text=True) as process:
        yield folder / "mlflow.db", process


@pytest.fixture(scope="module")
def made(making: object, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    spec = cases.small(**SHORT)
    data, _ = dataset.prepare(spec.data, spec.seed, folder)
    cases.run(spec, data, folder / "done.db")
    tracker, executor = cases.LimitTracker(1), cases.HeldExecutor(lambda waiting: 0, single=True)
    with (
        pytest.raises(Interrupted),
        cases.opened(spec, data, folder / "half.db", executor, tracker=tracker, stop=tracker.stop) as unfinished,
    ):
        cases.drive(unfinished, executor)
    _checkpoint(folder / "half.db")
    return Made(folder / "done.db", folder / "half.db")


@pytest.fixture(scope="module")
def tracked(making: tuple[Path, subprocess.Popen[str]], made: Made) -> Tracked:
    database, process = making
    head = process.communicate()[0].strip()
    identity = ask(made.half, "SELECT identity FROM hpsearch_study")[0][0]
    ask(database, f"UPDATE experiment_tags SET value = '{identity}' WHERE key = 'hpsearch.study'")
    return Tracked(database, head)


def _checkpoint(database: Path) -> None:
    """Store a checkpoint of the first unfinished trial."""
    ones, counts = np.ones(1), np.zeros(1, dtype=np.int64)
    state = State(ones[None], {}, [np.random.default_rng(0)], 1, 1, ones[None], ones, counts, ones, counts)
    (stage, number), *_ = ask(database, "SELECT stage, number FROM hpsearch_trial WHERE state = 'running'")
    storage = StudyDatabase.open(url_of(str(database)), create=False)
    stands = TrialResult(int(number), "running", None, 1, 0, {"val/loss": [1.0]}, 0.1, state.to_bytes())
    storage.trials.save(stage, [stands])
    storage.close()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, which is the current one."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def done(made: Made, here: Path) -> Path:
    return Path(shutil.copy(made.done, here))


@pytest.fixture
def half(made: Made, here: Path) -> Path:
    return Path(shutil.copy(made.half, here))


@pytest.fixture
def mlflow(tracked: Tracked, here: Path) -> Path:
    (here / "mlruns").mkdir()
    copy = Path(shutil.copy(tracked.database, here / "mlruns"))
    location = (here / "mlruns" / "artifacts" / "small").as_uri()
    ask(copy, f"UPDATE experiments SET artifact_location = '{location}' WHERE name = 'small'")
    return copy

"""Large databases: CPU time of `show`, `list` and `report`, and the memory of a coordinator.

python -m pytest -n 0 -m bench -s tests/benchmarks/test_many_studies.py
"""

import os
import resource
import subprocess
import sys
from pathlib import Path

import cases
import numpy as np
import pytest
from paths import REPOSITORY

from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.data.dataset import prepare
from hpsearch.storage.records import Trial
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.training.task import TrialResult

pytestmark = pytest.mark.bench
TRIALS, STUDIES, SMALL = 10_000, 200, 50  # of the large study; of the database; trials of each other study
EPOCHS = 30
MAX_CPU = {"show": 5.0, "list": 1.0, "report": 30.0}  # seconds
MAX_GROWTH = 100.0  # MB of the coordinator, from a study of `SMALL` trials to one of `TRIALS`
CURVES = ("train/loss", "val/loss", "train/accuracy", "val/accuracy")
RESUME = """
import re, sys
from pathlib import Path
from hpsearch.study.session import Options, Session

with Session(None, sys.argv[1], Options(1, "none", study=sys.argv[2], executor="inline")) as session:
    for _ in session.run():
        pass
print(int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024)
"""


def study(name: str, count: int) -> Spec:
    stages = [{"name": "coarse", "trials": count, "sampler": "random"}]
    return cases.small(**{"train.epochs": EPOCHS}, stages=stages, name=name)


def fill(file: Path, spec: Spec, data: str) -> None:
    """Store a study whose trials have ended; they were not trained."""
    random, space = np.random.default_rng(1), search_space(spec)
    storage = StudyDatabase.open(url_of(str(file)), spec.name, create=True)
    with storage.lease.hold():
        storage.begin(spec.name, spec.model_dump(mode="json"), data, "test")
        storage.stages.begin("coarse", space.full_box())
        trials, results = [], []
        for number in range(spec.stages[0].trials or 0):
            drawn = {a.key: a.from_scaled(random.uniform(a.to_scaled(a.low), a.to_scaled(a.high))) for a in space.axes}
            internal = {a.key: round(drawn[a.key]) if a.integer else drawn[a.key] for a in space.axes}
            trials.append(Trial("coarse", number, internal, space.point(internal), "running"))
            loss = (2 / np.arange(1, EPOCHS + 1) + 0.1 * random.random(EPOCHS)).round(6).tolist()
            state, value = ("diverged", None) if number % 9 == 8 else ("complete", min(loss))
            history, best = dict.fromkeys(CURVES, loss), int(np.argmin(loss)) + 1
            results.append(TrialResult(number, state, value, EPOCHS, best, history, 0.5))  # type: ignore[arg-type]
        storage.trials.add(trials)
        storage.trials.save("coarse", results)
    storage.close()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    spec = study("large", TRIALS)
    dataset, _ = prepare(spec.data, spec.seed, folder)
    for number in range(STUDIES - 1):
        fill(folder / "many.db", study(f"small-{number}", SMALL), dataset.fingerprint)
    fill(folder / "many.db", spec, dataset.fingerprint)
    return folder / "many.db"


def cpu(*arguments: str, folder: Path) -> float:
    """Return the CPU seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "hpsearch", *arguments]
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("command", MAX_CPU)
def test_commands(database: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    named = [] if command == "list" else ["--study", "large"]
    more = ["--no-png"] if command == "report" else []
    took = cpu(command, database.name, *named, *more, folder=database.parent)
    with capsys.disabled():
        print(f"\n{command}: {took:.2f} s of CPU; {STUDIES} studies, {TRIALS:,} trials in one of them")
    assert took <= MAX_CPU[command]


def test_memory_of_a_coordinator(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It resumes a study whose trials have ended, scores the champion, and copies all trials for Optuna."""
    peaks = []
    for name in ("small-0", "large"):
        command = [sys.executable, "-c", RESUME, url_of(str(database)), name]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        peaks.append(float(done.stdout))
    with capsys.disabled():
        print(f"\ncoordinator: {peaks[0]:.0f} MB with {SMALL} trials, {peaks[1]:.0f} MB with {TRIALS:,}")
    assert peaks[1] - peaks[0] <= MAX_GROWTH

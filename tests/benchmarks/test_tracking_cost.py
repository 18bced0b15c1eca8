"""What tracking costs: processor time and database of a trial, and the whole study's time with it and without.

python -m pytest -n 0 -m bench -s tests/benchmarks/test_tracking_cost.py
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import paths
import pytest

from hpsearch.config.load import load_spec
from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.storage.records import Trial
from hpsearch.tracking import MlflowTracker, StudyInfo

pytestmark = [
    pytest.mark.bench,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
]
STUDY = paths.STUDIES / "digits.yaml"
WARM, TRIALS, EPOCHS = 20, 200, 50
MOST_CPU, MOST_BYTES, MOST_RATIO = 0.020, 35_000, 1.10
CURVES = ("train/loss", "val/loss", "train/accuracy", "val/accuracy")


def record(spec: Spec, number: int) -> Trial:
    """Of a trial with four curves that never end alike."""
    random, space = np.random.default_rng(number), search_space(spec)
    internal_params: dict[str, float | int] = {}
    for axis in space.axes:
        low, high = (np.log([axis.low, axis.high])) if axis.log else (axis.low, axis.high)
        drawn = float(random.uniform(low, high))
        internal_params[axis.key] = (
            round(np.exp(drawn) if axis.log else drawn) if axis.integer else float(np.exp(drawn))
        )
    history = {name: random.random(EPOCHS).tolist() for name in CURVES}
    metrics = {name: values[29] for name, values in history.items()}
    value = metrics["val/loss"]
    times = (0.2, 1e9 + number)
    return Trial(
        "coarse",
        number,
        internal_params,
        space.point(internal_params),
        "complete",
        value,
        EPOCHS,
        30,
        *times,
        metrics,
        history,
    )


def subject(spec: Spec) -> StudyInfo:
    facts = {"data": "562232acc926f170", "version": "hpsearch 0, numpy 2, optuna 5, python 3", "database": "digits.db"}
    return StudyInfo(spec, "identity", 1e9, facts, {"rows": 1797, "features": 64, "classes": 10}, "0123456789" * 4)


def test_a_trial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With all that is known of it: tags, parameters, curves, the data, its artifact."""
    (spec, _), database = load_spec(STUDY), tmp_path / "mlflow.db"
    tracker = MlflowTracker(f"sqlite:///{database}")
    tracker.begin(subject(spec))
    for number in range(WARM):
        tracker.tell(record(spec, number))
    tracker.close(9)
    size, records = database.stat().st_size, [record(spec, number) for number in range(WARM, WARM + TRIALS)]
    cpu, wall = time.process_time(), time.perf_counter()
    for r in records:
        tracker.tell(r)
    cpu, wall = (time.process_time() - cpu) / TRIALS, (time.perf_counter() - wall) / TRIALS
    tracker.close(9)
    grown = (database.stat().st_size - size) / TRIALS
    with capsys.disabled():
        print(f"\na trial: {cpu * 1e3:.1f} ms of CPU (at most 20), {wall * 1e3:.1f} ms, {grown / 1e3:.1f} kB (35)")
    assert tracker.sent == WARM + TRIALS
    assert grown <= MOST_BYTES
    assert cpu <= MOST_CPU


def test_a_study_of_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing grows faster than its trials: beginning, sending, sending again, ending."""
    (spec, _), took = load_spec(STUDY), dict[int, dict[str, float]]()
    for count in (500, 2000):
        records, database = [record(spec, number) for number in range(count)], tmp_path / f"{count}.db"
        ranking = sorted(records, key=lambda r: r.value or 0.0)
        took[count] = {}
        for name in ("sent", "again"):
            tracker = MlflowTracker(f"sqlite:///{database}")
            steps = {
                "begin": lambda t=tracker: t.begin(subject(spec)),
                "tell": lambda t=tracker, told=records: [t.tell(r) for r in told],
                "finish": lambda t=tracker, best=ranking: t.finish(best, None),
            }
            for step, call in steps.items():
                start = time.process_time()
                call()
                took[count][f"{step}, {name}"] = time.process_time() - start
            assert (tracker.sent, tracker.there) == ((count, 0) if name == "sent" else (0, count))
            tracker.close(9)
    with capsys.disabled():
        for step in took[500]:
            few, many = took[500][step], took[2000][step]
            print(f"\n{step}: {few:.2f} s with 500 trials, {many:.2f} s with 2,000", end="")
    for step, seconds in took[2000].items():
        assert seconds <= 4 * 1.5 * took[500][step] + 0.5, step


STUDIES = {  # and how many pairs: one of seven seconds tells little on an uneven machine
    "digits.yaml, 95 trials": (11, []),
    "415 trials, none pruned": (5, ["--set", "stages.0.trials=368", "--set", "pruning=none"]),
}


@pytest.mark.parametrize("study", STUDIES)
def test_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str], study: str) -> None:
    """The whole command, in turns, with the tracker and without; MLflow's database is there already, as it is from a
    project's second study on."""
    database = tmp_path / "mlflow.db"
    MlflowTracker(f"sqlite:///{database}").close(9)
    ratios, (pairs, changes) = [], STUDIES[study]
    for pair in range(pairs):
        seconds = {}
        for name in ("mlflow", "none")[:: 1 if pair % 2 else -1]:
            folder = tmp_path / f"{pair}-{name}"
            folder.mkdir()
            tracking = "none" if name == "none" else f"sqlite:///{database}"
            command = [sys.executable, "-m", "hpsearch.cli", "run", STUDY, "--quiet", "--tracking-uri", tracking]
            command += changes
            start = time.perf_counter()
            done = subprocess.run([*command, "--storage", folder / "digits.db"], cwd=folder, capture_output=True)
            seconds[name] = time.perf_counter() - start
            assert done.returncode == 0 and b"warning" not in done.stderr, done.stderr
        ratios.append(seconds["mlflow"] / seconds["none"])
    text = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    load = os.getloadavg()[0]
    with capsys.disabled():
        print(f"\n{study}, with tracking ÷ without: {text}, median {median(ratios):.3f} (load {load:.1f})")
    assert median(ratios) <= MOST_RATIO

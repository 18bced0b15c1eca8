"""The cost of tracking: CPU time and database size per trial, and the time of a study with and without it.

python -m pytest -n 0 -m bench -s tests/benchmarks/test_tracking_cost.py
"""

import gc
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
from hpsearch.core.interpreter import collect_rarely
from hpsearch.storage.trials import Trial
from hpsearch.tracking import StudyInfo
from hpsearch.tracking.mlflow.tracker import MlflowTracker

pytestmark = [
    pytest.mark.bench,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
]
STUDY = paths.STUDIES / "digits.yaml"
WARM_UP, BATCHES, BATCH, EPOCHS = 20, 10, 20, 50
MAX_CPU, MAX_BYTES = 0.020, 35_000  # seconds and bytes per trial
CURVES = ("train/loss", "val/loss", "train/accuracy", "val/accuracy")


def trial(spec: Spec, number: int) -> Trial:
    """Return a trial with four random curves."""
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


def study_info(spec: Spec) -> StudyInfo:
    """Describe a study."""
    properties = {
        "data": "562232acc926f170",
        "version": "hpsearch 0, numpy 2, optuna 5, python 3",
        "database": "digits.db",
    }
    return StudyInfo(spec, "identity", 1e9, properties, {"rows": 1797, "features": 64, "classes": 10}, "0123456789" * 4)


def test_cost_of_a_trial(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with tags, parameters, curves, dataset and artifact; CPU time is the least of ten batches of 20 trials."""
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # with it MLflow checks more
    before = gc.get_threshold()
    collect_rarely()  # as in the tracker's process
    (spec, _), database = load_spec(STUDY), tmp_path / "mlflow.db"
    tracker = MlflowTracker(f"sqlite:///{database}")
    tracker.start_study(study_info(spec))
    for number in range(WARM_UP):
        tracker.log_trial(trial(spec, number))
    tracker.close(9)
    size, cpu, wall = database.stat().st_size, list[float](), list[float]()
    for batch in range(BATCHES):
        first = WARM_UP + batch * BATCH
        trials = [trial(spec, number) for number in range(first, first + BATCH)]
        start = time.process_time(), time.perf_counter()
        for t in trials:
            tracker.log_trial(t)
        cpu.append((time.process_time() - start[0]) / BATCH)
        wall.append((time.perf_counter() - start[1]) / BATCH)
    tracker.close(9)
    gc.set_threshold(*before)
    grown = (database.stat().st_size - size) / (BATCHES * BATCH)
    load = os.getloadavg()[0]
    with capsys.disabled():
        least, middle = min(cpu) * 1e3, median(cpu) * 1e3
        print(
            f"\na trial: {least:.1f} ms of CPU (median {middle:.1f}; at most 20), {median(wall) * 1e3:.1f} ms", end=""
        )
        print(f", {grown / 1e3:.1f} kB (at most 35); load {load:.1f}")
    assert tracker.counts.uploaded == WARM_UP + BATCHES * BATCH
    assert grown <= MAX_BYTES
    assert min(cpu) <= MAX_CPU


def test_many_trials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The time of each step grows at most in proportion to the number of trials."""
    (spec, _), took = load_spec(STUDY), dict[int, dict[str, float]]()
    for count in (500, 2000):
        trials, database = [trial(spec, number) for number in range(count)], tmp_path / f"{count}.db"
        ranking = sorted(trials, key=lambda r: r.value or 0.0)
        took[count] = {}
        for name in ("first", "again"):
            tracker = MlflowTracker(f"sqlite:///{database}")
            steps = {
                "start": lambda t=tracker: t.start_study(study_info(spec)),
                "log": lambda t=tracker, ts=trials: [t.log_trial(x) for x in ts],
                "finish": lambda t=tracker, best=ranking: t.finish_study(best, None),
            }
            for step, call in steps.items():
                start = time.process_time()
                call()
                took[count][f"{step}, {name}"] = time.process_time() - start
            counts = tracker.counts
            assert (counts.uploaded, counts.unchanged) == ((count, 0) if name == "first" else (0, count))
            tracker.close(9)
    with capsys.disabled():
        for step in took[500]:
            few, many = took[500][step], took[2000][step]
            print(f"\n{step}: {few:.2f} s with 500 trials, {many:.2f} s with 2,000", end="")
    for step, seconds in took[2000].items():
        assert seconds <= 4 * 1.5 * took[500][step] + 0.5, step


# Longer trials: about 0.2 s each or more.
LONG = ("train.epochs=250", "train.early_stopping=null", "pruning=none", "parameters.hidden_units.min=64")
STUDIES: dict[str, tuple[int, tuple[str, ...], float]] = {  # study → pairs (short ones are noisy), changes, goal
    "digits.yaml, 95 trials": (11, (), 1.25),
    "415 trials, none pruned": (5, ("stages.0.trials=368", "pruning=none"), 1.25),
    "95 trials of 0.2 s or more": (5, LONG, 1.10),
}


@pytest.mark.parametrize("study", STUDIES)
def test_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str], study: str) -> None:
    """The command with and without tracking, in pairs; MLflow's database exists, as after a project's first study."""
    database = tmp_path / "mlflow.db"
    MlflowTracker(f"sqlite:///{database}").close(9)
    ratios, (pairs, changes, goal) = [], STUDIES[study]
    for pair in range(pairs):
        seconds = {}
        for name in ("mlflow", "none")[:: 1 if pair % 2 else -1]:
            folder = tmp_path / f"{pair}-{name}"
            folder.mkdir()
            tracking = "none" if name == "none" else f"sqlite:///{database}"
            command = [sys.executable, "-m", "hpsearch", "run", STUDY, "--quiet", "--tracking-uri", tracking]
            command += [argument for change in changes for argument in ("--set", change)]
            start = time.perf_counter()
            done = subprocess.run([*command, "--storage", folder / "digits.db"], cwd=folder, capture_output=True)
            seconds[name] = time.perf_counter() - start
            assert done.returncode == 0 and b"warning" not in done.stderr, done.stderr
        ratios.append(seconds["mlflow"] / seconds["none"])
    text = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    load = os.getloadavg()[0]
    with capsys.disabled():
        print(f"\n{study}, with tracking ÷ without: {text}, median {median(ratios):.3f} (goal {goal}, load {load:.1f})")
    assert median(ratios) <= goal

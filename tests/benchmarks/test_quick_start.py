"""How soon the first trial of a study trains, and the CPU time of `hpsearch show` and of a trial in the coordinator.

python -m pytest -n 0 -m bench -s tests/benchmarks/test_quick_start.py
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import paths
import pytest

pytestmark = pytest.mark.bench
STUDY = paths.STUDIES / "digits.yaml"
MAX_START, MAX_SHOW, MAX_CPU = 2.5, 1.7, 0.8  # times those of the libraries alone

LIBRARIES = "import numpy, pydantic, ruamel.yaml, click, sqlalchemy, optuna"
RUN = "import noted_task; from hpsearch.cli import main; main(noted_task.executor)"
SHOW_LIBRARIES = "import numpy, pydantic, sqlalchemy, click, rich.console, rich.table"
USED = """
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime)
"""
COST = f"""
from hpsearch.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
{USED}
"""
OPTUNA = """
import sys, time
import optuna
import sqlalchemy as sa

@sa.event.listens_for(sa.engine.Engine, "connect")
def pragmas(connection, record):
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")

optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(storage="sqlite:///" + sys.argv[1], sampler=optuna.samplers.TPESampler(seed=0))
first = None
for number in range(int(sys.argv[3])):
    if number == int(sys.argv[2]):
        first = time.process_time()
    trial = study.ask()
    values = [trial.suggest_float(name, 1e-4, 1.0, log=True) for name in "abc"]
    values += [trial.suggest_int(name, 16, 256, log=True) for name in "de"]
    study.tell(trial, values[0])
print((time.process_time() - first) / (int(sys.argv[3]) - int(sys.argv[2])))
"""
FEW, MANY = 20, 120  # trials of a study, of which the later ones are measured


def python(code: str, *arguments: object, folder: Path, **environment: str) -> str:
    """Run a program in a folder of its own, and return what it prints."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    settings = {**os.environ, "PYTHONPATH": path, **environment}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_first_trial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the start of the process to the first trial that trains, with tracking, against imports alone, in turn."""
    first, alone = list[float](), list[float]()
    for number in range(9):
        folder = tmp_path / str(number)
        folder.mkdir()
        start = time.time()
        python(LIBRARIES, folder=folder)
        alone.append(time.time() - start)
        arguments = ["run", STUDY, "--quiet", "--storage", folder / "a.db", "--set", "train.epochs=2"]
        start = time.time()
        python(RUN, *arguments, folder=folder, FIRST_TASK=str(folder / "noted"))
        first.append(float((folder / "noted").read_text()) - start)
    load = os.getloadavg()[0]
    with capsys.disabled():
        text = f"the first trial trains after {median(first):.2f} s (least {min(first):.2f}; goal 0.9)"
        print(f"\n{text}, {median(first) / median(alone):.2f} times the imports of its libraries; load {load:.1f}")
    assert median(first) <= MAX_START * median(alone)


def test_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """CPU of `hpsearch show` for a study of 95 trials, against imports of its libraries alone, in turn."""
    database = tmp_path / "digits.db"
    arguments = ["--storage", database, "--tracking-uri", "none", "--quiet", "--set", "train.epochs=2"]
    python(COST, "run", STUDY, *arguments, folder=tmp_path)
    shown, alone = list[float](), list[float]()
    for _ in range(9):
        alone.append(float(python(f"{SHOW_LIBRARIES}\n{USED}", folder=tmp_path)))
        shown.append(float(python(COST, "show", database, folder=tmp_path).splitlines()[-1]))
    load = os.getloadavg()[0]
    with capsys.disabled():
        text = f"`hpsearch show` takes {median(shown):.2f} s of CPU (least {min(shown):.2f}; goal 0.5)"
        print(f"\n{text}, {median(shown) / median(alone):.2f} times the imports of its libraries; load {load:.1f}")
    assert median(shown) <= MAX_SHOW * median(alone)


def test_coordinator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """CPU of the coordinator for a trial of TPE without tracking, against Optuna alone in SQLite, in turn."""
    ours, optuna = list[float](), list[float]()
    for repeat in range(3):
        used = dict[int, float]()
        for trials in (FEW, MANY):
            settings = ["train.epochs=5", f'stages=[{{"name": "search", "trials": {trials}, "sampler": "tpe"}}]']
            arguments = [argument for setting in (*settings, "pruning=none") for argument in ("--set", setting)]
            storage = ["--storage", tmp_path / f"{repeat}-{trials}.db", "--tracking-uri", "none", "--quiet"]
            used[trials] = float(python(COST, "run", STUDY, *storage, *arguments, folder=tmp_path).splitlines()[-1])
        ours.append((used[MANY] - used[FEW]) / (MANY - FEW))
        optuna.append(float(python(OPTUNA, f"{repeat}.db", FEW, MANY, folder=tmp_path)))
    load = os.getloadavg()[0]
    with capsys.disabled():
        text = f"a trial takes {min(ours) * 1e3:.1f} ms of the coordinator's CPU (median {median(ours) * 1e3:.1f}"
        print(f"\n{text}; goal 12), in Optuna alone {min(optuna) * 1e3:.1f}; load {load:.1f}")
    assert min(ours) <= MAX_CPU * min(optuna)

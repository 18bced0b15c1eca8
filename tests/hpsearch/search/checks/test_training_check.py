"""The check of training code: whether a trial repeats and resumes to the bit."""

from pathlib import Path
from typing import Any

import pytest
from code_cases import FORGETS, LEARNS, own_spec, write_code

from hpsearch.search.checks import training_check
from hpsearch.search.checks.training_check import TrainingReport, check_training, resume_summary, training_advice
from hpsearch.training.executors import Inline

UNSEEDED = LEARNS.replace("default_rng(seed)", "default_rng()")
LACKS = """
def train(params, seed, state=None):
    weight, momentum = (float(state), 0.0) if state else (1.0, 0.0)
    while True:
        momentum = 0.9 * momentum + params["rate"] * weight
        weight -= momentum
        yield {"val/loss": weight, "steps": 1.0}, lambda: repr(weight).encode()
"""


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train in this process: starting one takes a second."""
    monkeypatch.setattr(training_check, "Processes", lambda *_: Inline())


def report(folder: Path, code: str, **train: Any) -> tuple[TrainingReport, str]:
    write_code(folder, code)
    spec = own_spec(train={"function": "train.py:train", "epochs": 6, **train})
    found = check_training(spec, folder)
    return found, resume_summary(spec, found)


def test_exact(tmp_path: Path) -> None:
    found, summary = report(tmp_path, LEARNS)
    assert (found.error, found.repeats, found.resumes, summary) == (None, (), (), "resumes exactly")
    assert training_advice(found) == "" and found.seconds > 0 and found.total >= found.seconds


def test_a_state_that_lacks_the_optimizer(tmp_path: Path) -> None:
    found, summary = report(tmp_path, LACKS)
    assert (found.repeats, found.resumes, summary) == ((), ("val/loss",), "does not resume exactly")
    assert training_advice(found).startswith("val/loss differ when the second step is resumed: what is saved lacks")


def test_a_generator_without_a_seed(tmp_path: Path) -> None:
    found, summary = report(tmp_path, UNSEEDED)
    assert (found.repeats, summary) == (("val/loss",), "does not repeat exactly")
    assert "a random generator is not seeded from 'seed'" in training_advice(found)


def test_nothing_saved_and_one_step(tmp_path: Path) -> None:
    found, summary = report(tmp_path, FORGETS)
    assert (found.repeats, found.resumes) == ((), None) and summary.startswith("repeats exactly; saves nothing")
    found, summary = report(tmp_path, "def train(): return 1.0\n", epochs=1)
    assert (found.resumes, summary) == (None, "repeats exactly")


def test_a_trial_that_fails(tmp_path: Path) -> None:
    found, _ = report(tmp_path, "def train():\n    yield 1.0\n    raise ValueError('no')\n")
    assert found.error == "train.py:3: ValueError: no"

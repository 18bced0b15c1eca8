"""The state of a trial on the clock does not depend on how far the trial has trained since."""

import math

import cases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpsearch.search.schedule.clock import Arrival, Job
from hpsearch.search.schedule.told import arrival, as_told, has_ended
from hpsearch.storage.records import Trial
from hpsearch.training.task import TrialState

SPEC = cases.small(**{"train.epochs": 9, "train.early_stopping": None})
CURVE = [0.9, 0.5, 0.7, 0.4, 0.3, 0.6]


def trial(state: TrialState, epochs: int) -> Trial:
    history = {"val/loss": CURVE[:epochs], "train/loss": CURVE[:epochs]}
    return Trial("coarse", 3, {}, {}, state, 0.1 if state == "complete" else None, epochs, 1, history=history)


def job(last: int) -> Job:
    return Job(3, 0, last, 0, last, 0)


@pytest.mark.parametrize(
    ("state", "epochs", "want"),
    [
        ("running", 1, None),
        ("running", 2, Arrival(0.5, "running", False, 2)),
        ("running", 6, Arrival(0.5, "running", False, 2)),
        ("complete", 6, Arrival(0.5, "running", False, 2)),
        ("complete", 2, Arrival(0.5, "ended", True, 2)),
        ("complete", 1, Arrival(0.9, "ended", True, 1)),
        ("diverged", 2, Arrival(math.inf, "ended", False, 2)),
        ("diverged", 3, Arrival(0.5, "running", False, 2)),
        ("failed", 0, Arrival(math.inf, "ended", False, 0)),
        ("failed", 2, Arrival(0.5, "running", False, 2)),
        ("pruned", 2, Arrival(0.5, "pruned", False, 2)),
        ("pruned", 6, Arrival(0.5, "running", False, 2)),
    ],
)
def test_arrival_at_a_rung_of_two_epochs(state: TrialState, epochs: int, want: Arrival | None) -> None:
    assert arrival(SPEC, trial(state, epochs), job(2)) == want


def test_copies_do_not_count() -> None:
    copied = arrival(SPEC, trial("complete", 6)._replace(copied_from="coarse/1"), job(2))
    assert copied == Arrival(0.5, "running", False, 2, counts=False)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(0, 6), st.sampled_from(["running", "complete", "diverged", "failed", "pruned"]))
def test_known_at_an_epoch(reached: int, more: int, state: TrialState) -> None:
    """As a trial that was paused there; later epochs change nothing."""
    epochs = reached + more
    paused = as_told(SPEC, trial("running", reached), reached)
    assert (paused.state, paused.epochs, paused.value) == ("pruned", reached, min(CURVE[:reached]))
    assert paused.best_epoch == CURVE.index(min(CURVE[:reached])) + 1
    assert paused.metrics == {"val/loss": paused.value, "train/loss": paused.value}
    later = trial(state, min(epochs, 6))
    told = as_told(SPEC, later, reached)
    if has_ended(later, reached) or (state == "pruned" and later.epochs <= reached):
        assert told == later
    else:
        assert told._replace(best_epoch=0) == paused._replace(best_epoch=0)


def test_not_told_yet() -> None:
    """A trial whose first job has not ended is running, even if it is complete."""
    told = as_told(SPEC, trial("complete", 6), 0)
    assert (told.state, told.value, told.epochs, dict(told.history)) == ("running", None, 0, {})

"""Limits: planned trials, and the complete trials that a confirming stage needs."""

from typing import Any

import cases
import pytest

from hpsearch.search.schedule.limits import complete_trials_needed, planned_trials
from hpsearch.storage.records import Trial


def test_planned_trials() -> None:
    stages: list[dict[str, Any]] = [
        {"name": "a", "trials": 7},
        {"name": "b", "budget": 5},
        {"name": "c", "timeout": "1m"},
        {"name": "d", "budget": 50, "trials": 6},
        {"name": "e", "top": 2, "seeds": 3},
    ]
    spec = cases.small(stages=stages, parallel=3)
    assert [planned_trials(spec, n) for n in range(5)] == [7, 5, 3, 6, 6]
    assert [planned_trials(spec, n, begun=9) for n in (0, 1, 2)] == [7, 9, 12]
    assert planned_trials(spec, 1, begun=9, ended=4) == 4
    assert planned_trials(cases.small(stages=stages, pruning="promote", **{"train.epochs": 27}), 1) > 10


@pytest.mark.parametrize(("complete", "needed"), [(0, 3), (2, 1), (5, 0)])
def test_complete_trials_needed(complete: int, needed: int) -> None:
    """By the last searching stage; points count once."""
    coarse, fine = cases.CONTENT["stages"]
    spec = cases.small(stages=[coarse, fine, {"name": "c", "top": 3, "seeds": 2}])
    trials = [Trial("coarse", n, {"x": n % complete}, {}, "complete", 0.1) for n in range(2 * complete)]
    pruned = Trial("coarse", 99, {"x": 99}, {}, "pruned", 0.1)
    assert complete_trials_needed(spec, [[*trials, pruned]]) == needed
    assert complete_trials_needed(spec, []) == 0 and complete_trials_needed(spec, [[], []]) == 0
    assert complete_trials_needed(cases.small(stages=[coarse]), []) == 1

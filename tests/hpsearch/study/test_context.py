"""The state that stages share."""

import cases

from hpsearch.storage.records import Trial
from hpsearch.study.context import StudyState

STAGES = [{"name": "coarse", "trials": 4}, {"name": "confirm", "top": 2, "seeds": 3}]


def test_champion() -> None:
    """It is None without a complete trial and follows the trials as they complete."""
    state = StudyState(cases.small(stages=STAGES), [4, 6], [], set())
    assert state.champion is None
    running = Trial("coarse", 0, {}, {}, "running")
    state.trials.append([running, running._replace(number=1, state="complete", value=0.4)])
    assert state.champion == state.trials[0][1]
    state.trials[0][0] = running._replace(state="complete", value=0.3)
    assert state.champion == state.trials[0][0]

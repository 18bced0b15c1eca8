"""The state that stages share, and the seeds of trials."""

import cases

from hpsearch.storage.records import Trial
from hpsearch.study.context import StudyState, train_seed

STAGES = [{"name": "coarse", "trials": 4}, {"name": "confirm", "top": 2, "seeds": 3}]


def test_seeds_of_a_searching_stage_differ() -> None:
    spec = cases.small(stages=STAGES)
    seeds = [train_seed(spec, spec.stages[0], number, 4) for number in range(4)]
    assert len(set(seeds)) == 4
    assert seeds == [train_seed(spec, spec.stages[0], number, 2) for number in range(4)]


def test_points_of_a_confirming_stage_share_seeds() -> None:
    """Trials 2k and 2k + 1 train the two points with seed k; other stages have other seeds."""
    spec = cases.small(stages=STAGES)
    seeds = [train_seed(spec, spec.stages[1], number, 6) for number in range(6)]
    assert seeds[0::2] == seeds[1::2] and len(set(seeds)) == 3
    assert not set(seeds) & {train_seed(spec, spec.stages[0], number, 4) for number in range(6)}


def test_seeds_depend_on_the_seed_of_the_study() -> None:
    spec, other = cases.small(stages=STAGES), cases.small(stages=STAGES, seed=6)
    assert train_seed(spec, spec.stages[0], 0, 4) != train_seed(other, other.stages[0], 0, 4)


def test_champion() -> None:
    """It is None without a complete trial and follows the trials as they complete."""
    state = StudyState(cases.small(stages=STAGES), [4, 6], [], set())
    assert state.champion is None
    running = Trial("coarse", 0, {}, {}, "running")
    state.trials.append([running, running._replace(number=1, state="complete", value=0.4)])
    assert state.champion == state.trials[0][1]
    state.trials[0][0] = running._replace(state="complete", value=0.3)
    assert state.champion == state.trials[0][0]

"""Limits of stages: how many trials a stage is expected to have, and how many of them it must complete."""

import math
from collections.abc import Sequence

from hpsearch.config.spec import Spec
from hpsearch.core.space import point_key
from hpsearch.search.schedule.clock import expected_trials
from hpsearch.search.schedule.pruning import stage_rules
from hpsearch.storage.records import Trial


def planned_trials(spec: Spec, number: int, begun: int = 0, ended: int | None = None) -> int:
    """Return the number of trials that a stage has or is expected to have.

    Args:
        number: index of the stage in `spec.stages`.
        begun: its trials so far.
        ended: the number at which it has ended; None while it runs.
    """
    stage = spec.stages[number]
    if ended is not None:
        return ended
    if stage.trials is not None and stage.budget is None:
        return stage.trials
    if stage.budget is None:  # only its timeout ends it
        return begun + spec.parallel
    total = math.inf if stage.trials is None else stage.trials
    return max(begun, expected_trials(stage_rules(spec, stage), total))


def complete_trials_needed(spec: Spec, trials: Sequence[Sequence[Trial]]) -> int:
    """Return how many trials the last searching stage must complete, so that there are points to confirm.

    Args:
        trials: trials of the stages before it.

    Returns:
        0 for the other stages.
    """
    searching = [stage for stage in spec.stages if not stage.confirms]
    if len(trials) != len(searching) - 1:
        return 0
    complete = {point_key(t.internal_params) for stage in trials for t in stage if t.state == "complete"}
    return max(0, (spec.stages[-1].top or 1) - len(complete))

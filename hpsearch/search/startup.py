"""Samplers that learn need finished trials first: how many trials of a stage they really choose.

Wave k sees the outcomes of the waves up to k − 2, so that the first two waves of a study are never chosen by a model.
"""

import math
from collections.abc import Iterator

from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.core.space import Box, Space
from hpsearch.samplers import STARTUP_SAMPLES, startup_trials


def chosen_trials(spec: Spec, space: Space, number: int, box: Box, known: int) -> int:
    """Return the number of a stage's trials that its sampler chooses from what it has learned.

    Args:
        number: index of the stage.
        box: the box of the stage.
        known: complete and pruned trials of earlier stages in the box. Those of this stage are assumed not to fail.
    """
    stage = spec.stages[number]
    joint = [a for a in space.axes if a.zoomable and not a.when and box[a.key][0] < box[a.key][1]]
    needed = startup_trials(stage.sampler, len(joint), spec.wave)
    if stage.sampler == "cmaes":  # trials of earlier stages give only its first mean
        known = 0
    elif known >= needed:
        return stage.trials - min(stage.trials, len(stage.points) * stage.seeds)
    wave = 1 + math.ceil(max(0, needed - known) / spec.wave)  # the first wave that sees enough trials
    return max(0, stage.trials - max(wave * spec.wave, len(stage.points) * stage.seeds))


def startup_notice(spec: Spec, space: Space, number: int, box: Box, known: int) -> str | None:
    """Return a sentence on the trials that a sampler does not choose itself; None if it chooses all of them.

    Args:
        number: index of the stage.
        box: the box of the stage.
        known: complete and pruned trials of earlier stages in the box.
    """
    stage = spec.stages[number]
    if stage.confirms or stage.sampler not in STARTUP_SAMPLES:
        return None
    chosen, total = chosen_trials(spec, space, number, box, known), stage.trials
    if chosen == total - min(total, len(stage.points) * stage.seeds):
        return None
    joint = [a for a in space.axes if a.zoomable and not a.when]
    needed = startup_trials(stage.sampler, len(joint), spec.wave)
    return (
        f"{stage.sampler} chooses {chosen or 'none'} of the {total} trials, the others are"
        f" {STARTUP_SAMPLES[stage.sampler]}: it needs {needed} finished trials{' in its range' * bool(stage.zoom)}, and"
        f" a wave of {spec.wave} does not see the wave before it; use more trials or a smaller wave"
    )


def startup_notices(spec: Spec) -> Iterator[str]:
    """Yield the notices of all stages of a study that has not begun, as if a zoom kept all trials in its box."""
    space, known = search_space(spec), 0
    for number, stage in enumerate(spec.stages):
        if notice := startup_notice(spec, space, number, space.full_box(), known):
            yield f"{stage.name}: {notice}"
        known += stage.trials

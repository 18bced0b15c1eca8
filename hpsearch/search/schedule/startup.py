"""Samplers that learn need finished trials first: how many trials of a stage they really choose."""

from collections.abc import Iterator

from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.core.space import Box, Space
from hpsearch.samplers import STARTUP_SAMPLES, startup_trials
from hpsearch.search.schedule.limits import planned_trials


def chosen_trials(spec: Spec, space: Space, number: int, box: Box, known: int) -> int:
    """Return the number of a stage's trials that its sampler chooses from what it has learned.

    Every trial is assumed to train as long as the others, and not to fail; paused trials count as finished.

    Args:
        number: index of the stage.
        box: the box of the stage.
        known: complete and pruned trials of earlier stages in the box.
    """
    stage, total = spec.stages[number], planned_trials(spec, number)
    joint = [a for a in space.axes if a.zoomable and not a.when and box[a.key][0] < box[a.key][1]]
    needed = startup_trials(stage.sampler, len(joint), spec.parallel)
    if stage.sampler == "cmaes":  # trials of earlier stages give only its first mean
        known = 0
    first = 0 if known >= needed else needed - known + spec.parallel - 1  # the first trial that knows enough
    return max(0, total - max(first, stage.repeated))


def startup_notice(spec: Spec, space: Space, number: int, box: Box, known: int) -> str | None:
    """Return a sentence if a sampler chooses less than half of the trials itself, else None.

    Args:
        number: index of the stage.
        box: the box of the stage.
        known: complete and pruned trials of earlier stages in the box.
    """
    stage = spec.stages[number]
    if stage.confirms or stage.sampler not in STARTUP_SAMPLES:
        return None
    chosen, total = chosen_trials(spec, space, number, box, known), planned_trials(spec, number)
    if 2 * chosen >= total - min(total, stage.repeated):
        return None
    joint = [a for a in space.axes if a.zoomable and not a.when]
    needed = startup_trials(stage.sampler, len(joint), spec.parallel)
    return (
        f"{stage.sampler} chooses {chosen or 'none'} of the {total} trials, the others are"
        f" {STARTUP_SAMPLES[stage.sampler]}: it needs {needed} finished trials{' in its range' * bool(stage.zoom)}, and"
        f" {spec.parallel} trials train at the same time; use more trials or a lower parallel"
    )


def startup_notices(spec: Spec) -> Iterator[str]:
    """Yield the notices of all stages of a study that has not begun, as if a zoom kept all trials in its box."""
    space, known = search_space(spec), 0
    for number, stage in enumerate(spec.stages):
        if notice := startup_notice(spec, space, number, space.full_box(), known):
            yield f"{stage.name}: {notice}"
        known += planned_trials(spec, number)

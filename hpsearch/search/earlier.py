"""The trials of earlier stages, and of the parent study of a fork, that a stage may use."""

from collections.abc import Sequence

from hpsearch.core.space import Box, Space, box_contains
from hpsearch.storage.records import Trial


def distinct_outcomes(trials: Sequence[Sequence[Trial]]) -> list[Trial]:
    """Return all trials of several stages without copies; of a copied outcome, the last copy is kept."""
    return list({t.copied_from or t.label: t for stage in trials for t in stage}.values())


def in_box(space: Space, box: Box, trial: Trial) -> bool:
    """Return whether the point of a trial lies in a box; inactive parameters may have any value."""
    return all(box_contains(axis, box, trial.internal_params.get(axis.key)) for axis in space.axes)


def reusable_trials(space: Space, box: Box, earlier: Sequence[Sequence[Trial]]) -> list[Trial]:
    """Return the complete and pruned trials of earlier stages in the box of a stage; its sampler starts with them."""
    return [t for t in distinct_outcomes(earlier) if t.state in ("complete", "pruned") and in_box(space, box, t)]

"""Coarse to fine: a stage that zooms searches a smaller box around the best trials so far.

With `keep` the box is found anew every few trials; with `keep_top` it is found once, when the stage begins.

A confirming stage searches nothing: its box only has to hold the points of the stages before it.
"""

import math
from collections.abc import Callable, Sequence

from hpsearch.config.spec import Spec, Zoom
from hpsearch.core.seeds import SEEDS, derive
from hpsearch.core.space import Axis, Box, Space
from hpsearch.search.earlier import distinct_outcomes, in_box
from hpsearch.search.ranking import rank_trials
from hpsearch.storage.records import Trial

MIN_RANKED = 5  # trials from which a renewed box is found
ROUNDING = 1e-9  # relative error of log followed by exp, with a margin


def stage_box(
    spec: Spec, space: Space, stage: int, earlier: Sequence[Sequence[Trial]], transferred: Sequence[Trial] = ()
) -> Box:
    """Return the box of a stage: the full box, narrowed by the zoom of each stage up to it.

    Args:
        stage: its index in `spec.stages`.
        earlier: trials of each stage before it, all finished.
        transferred: trials of the parent study, when this study is a fork.
    """
    result = space.full_box()
    for index in range(stage + 1):
        zoom = spec.stages[index].zoom
        if zoom is None or (zoom.renewed and index == stage):  # the trials of this stage have boxes of their own
            continue
        seen = earlier[: index + zoom.renewed]  # a renewed box ends around the best of its own stage too
        inside = (t for t in distinct_outcomes((transferred, *seen)) if in_box(space, result, t))
        result = narrowed_box(space, result, rank_trials(spec, inside), zoom)
    return result


def trial_box(
    spec: Spec,
    space: Space,
    stage: int,
    outer: Box,
    trials: Sequence[Trial],
    known: Sequence[Trial],
    curves: Callable[[Trial], list[float]] | None = None,
) -> Box:
    """Return the box from which the next trial of a stage with a renewed zoom is sampled.

    It is the outer box with probability `outside`. Otherwise it is the box of the trials before it in the same run of
    `every` trials or, for the first of them, the box of the best trials known by then.

    Args:
        stage: its index in `spec.stages`.
        outer: the box of the stage.
        trials: the trials of the stage before this one.
        known: all trials in the outer box that are known, as they are known.
        curves: returns `best_so_far` of a trial.
    """
    name, zoom, number = spec.stages[stage].name, spec.stages[stage].zoom, len(trials)
    if zoom is None or not zoom.renewed or zoom.every is None or number < spec.stages[stage].repeated:
        return outer
    if derive(spec.seed, name, number, "outside") / SEEDS < (zoom.outside or 0.0):
        return outer
    run = (t.box for t in reversed(trials[number // zoom.every * zoom.every :]))
    return next((box for box in run if box and box != outer), None) or narrowed_box(
        space, outer, rank_trials(spec, known, curves), zoom
    )


def confirming_box(space: Space, boxes: Sequence[Box], transferred: Sequence[Trial] = ()) -> Box:
    """Return the smallest box that holds the boxes of all earlier stages and every transferred trial.

    Zooms do not narrow it, and neither does a range of the study file that was narrowed after an earlier stage.

    Args:
        boxes: boxes of the stages before the confirming stage.
        transferred: trials of the parent study, when this study is a fork.
    """
    held = [*boxes, *([space.full_box()] if transferred or not boxes else [])]
    result: Box = {}
    for axis in space.axes:
        bounds = [bound for box in held for bound in box[axis.key]]
        if axis.zoomable:
            bounds += [float(t.internal_params[axis.key]) for t in transferred if axis.key in t.internal_params]
        result[axis.key] = min(bounds), max(bounds)
    return result


def narrowed_box(space: Space, outer: Box, ranking: Sequence[tuple[Trial, int]], zoom: Zoom) -> Box:
    """Return the box around the best of the ranked trials in the outer box; without enough, the outer box."""
    if zoom.keep_top is not None:
        kept = max(1, math.ceil(zoom.keep_top * len(ranking)))
    else:
        kept = zoom.keep or 0 if len(ranking) >= MIN_RANKED else 0
    best = [trial for trial, _ in ranking[:kept]]
    box = dict(outer)
    for axis in space.axes:
        values = [float(t.internal_params[axis.key]) for t in best if axis.zoomable and axis.key in t.internal_params]
        if values and 2 * len(values) >= len(
            best
        ):  # an axis that is inactive in most of the best trials is not narrowed
            box[axis.key] = _narrowed_axis(axis, outer[axis.key], values, zoom.margin or 0.0)
    return box


def _narrowed_axis(
    axis: Axis, outer: tuple[float, float], values: Sequence[float], margin: float
) -> tuple[float, float]:
    """Return the interval of internal values on the axis's own scale.

    It is widened by `margin` times the outer width on each side, and does not exceed the outer interval.
    """
    low, high = map(axis.to_scaled, outer)
    scaled = list(map(axis.to_scaled, values))
    slack = margin * (high - low)
    first, last = min(scaled) - slack, max(scaled) + slack
    if not axis.integer:
        # exp(log x) may differ from x by a bit; the interval must contain the values and stay inside the outer one.
        narrow_low = outer[0] if first <= low else min(axis.from_scaled(first), *values)
        narrow_high = outer[1] if last >= high else max(axis.from_scaled(last), *values)
        return narrow_low, narrow_high
    # The integers inside, allowing for rounding: exp(log 128) is slightly below 128.
    least, most = axis.from_scaled(first) * (1 - ROUNDING), axis.from_scaled(last) * (1 + ROUNDING)
    return max(outer[0], math.ceil(least)), min(outer[1], math.floor(most))

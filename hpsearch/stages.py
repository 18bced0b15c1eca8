"""Coarse to fine: which box a stage searches, and which earlier trials it starts with."""

import math
from collections.abc import Sequence

from hpsearch.record import Record, ranked
from hpsearch.space import Axis, Box, Space, contains
from hpsearch.spec import Spec, Zoom

ROUNDING = 1e-9


def box(spec: Spec, space: Space, stage: int, earlier: Sequence[Sequence[Record]]) -> Box:
    """What a stage searches: the whole range, or, zoom by zoom, what the stages before it leave.

    Args:
        stage: its place in `spec.stages`.
        earlier: the records of each stage before it, all finished.
    """
    result = space.whole()
    for number in range(stage + 1):
        zoom = spec.stages[number].zoom
        if zoom is not None:
            result = _narrowed(spec, space, result, [r for records in earlier[:number] for r in records], zoom)
    return result


def reused(space: Space, box: Box, earlier: Sequence[Sequence[Record]]) -> list[Record]:
    """The complete trials of earlier stages that lie in the box: what a new sampler may know at once."""
    return [
        r
        for records in earlier
        for r in records
        if r.state == "complete" and all(contains(axis, box, r.raws.get(axis.key)) for axis in space.axes)
    ]


def _narrowed(spec: Spec, space: Space, outer: Box, records: Sequence[Record], zoom: Zoom) -> Box:
    inside = [r for r in records if all(contains(a, outer, r.raws.get(a.key)) for a in space.axes)]
    best = ranked(inside, spec.metric.sign, [s.name for s in spec.stages])
    best = best[: max(1, math.ceil(zoom.keep_top * len(best)))]
    if not best:
        return outer
    # Of an axis that counts at few of the best points these say little.
    found = {a.key: [r.raws[a.key] for r in best if a.key in r.raws] for a in space.axes}
    enough = {key: raws if 2 * len(raws) >= len(best) else [] for key, raws in found.items()}
    return {a.key: _axis(a, outer[a.key], enough[a.key], zoom.margin) for a in space.axes}


def _axis(
    axis: Axis, outer: tuple[float, float], raws: Sequence[float | str | bool], margin: float
) -> tuple[float, float]:
    """The interval of the best on the axis' own scale, `margin` of the outer width wider on each side, cut to it."""
    if not axis.zoomable or not raws:
        return outer
    low, high = (axis.position(end) for end in outer)
    positions = [axis.position(raw) for raw in raws]
    slack = margin * (high - low)
    ends = min(positions) - slack, max(positions) + slack
    if not axis.whole:
        # Log and back again moves a number by a bit: neither the outer ends nor the best themselves may fall out.
        found = [float(raw) for raw in raws]
        narrow_low = outer[0] if ends[0] <= low else min(axis.raw(ends[0]), *found)
        narrow_high = outer[1] if ends[1] >= high else max(axis.raw(ends[1]), *found)
        return narrow_low, narrow_high
    # The whole numbers within, with room for what log and back again loses: exp(log 128) is a bit below 128.
    first, last = axis.raw(ends[0]) * (1 - ROUNDING), axis.raw(ends[1]) * (1 + ROUNDING)
    return max(outer[0], math.ceil(first)), min(outer[1], math.floor(last))

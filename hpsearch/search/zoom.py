"""Coarse to fine: which box a stage searches, and which earlier trials it starts with."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from hpsearch.config.spec import Spec, Zoom
from hpsearch.core.space import Axis, Box, Space, Value, box_contains
from hpsearch.core.text import format_value
from hpsearch.storage.records import Trial

ROUNDING = 1e-9
EDGE = 0.03  # of the range, on its own scale
FEW = 3  # steps between the ends of whole numbers


def box(spec: Spec, space: Space, stage: int, earlier: Sequence[Sequence[Trial]], prior: Sequence[Trial] = ()) -> Box:
    """What a stage searches: the whole range, or, zoom by zoom, what the stages before it leave.

    Args:
        stage: its place in `spec.stages`.
        earlier: the records of each stage before it, all finished.
        prior: of the study it was forked from.
    """
    result = space.full_box()
    for place in range(stage + 1):
        zoom = spec.stages[place].zoom
        if zoom is not None:
            result = _narrowed(spec, space, result, outcomes((prior, *earlier[:place])), zoom)
    return result


def reused(space: Space, box: Box, earlier: Sequence[Sequence[Trial]]) -> list[Trial]:
    """The complete and pruned trials of earlier stages that lie in the box: what a new sampler may know at once."""
    return [r for r in outcomes(earlier) if r.state in ("complete", "pruned") and within(space, box, r)]


def within(space: Space, box: Box, record: Trial) -> bool:
    """Whether a trial lies in the box."""
    return all(box_contains(axis, box, record.internal_params.get(axis.key)) for axis in space.axes)


def outcomes(earlier: Sequence[Sequence[Trial]]) -> list[Trial]:
    """All records, each outcome once: one that was taken over stands with the trial it is from, too."""
    return list({r.copied_from or r.label: r for records in earlier for r in records}.values())


class Edge(NamedTuple):
    """The best point so far lies at an end of a parameter's whole range, and a stage's box with it.

    Attributes:
        wider: what would give it room.
    """

    name: str
    wider: str
    value: Value
    end: Value

    def __str__(self) -> str:
        what = f"the best {self.name} so far, {format_value(self.value)}"
        return f"{what}, lies at the end of its range, {format_value(self.end)}: {self.wider}"


def edges(space: Space, box: Box, best: Trial | None) -> list[Edge]:
    """Where the range itself may keep better points out."""
    found = []
    for axis in space.axes if best is not None else ():
        raw = best.internal_params.get(axis.key) if best is not None else None
        if raw is None or isinstance(raw, str) or not axis.zoomable:
            continue
        if axis.integer and axis.high - axis.low < FEW:  # always at an end, or next to it
            continue
        low, high = axis.to_scaled(axis.low), axis.to_scaled(axis.high)
        near = 0.0 if axis.integer and not axis.log else EDGE * (high - low)
        for end, touched in ((axis.low, box[axis.key][0] <= axis.low), (axis.high, box[axis.key][1] >= axis.high)):
            natural = end == 0 and not axis.log and not axis.choices  # nothing lies below no dropout
            if touched and not natural and abs(axis.to_scaled(raw) - axis.to_scaled(end)) <= near:
                upper = (end == axis.high) != axis.complement
                way = ("lower min", "raise max") if not axis.choices else ("add lower values", "add higher values")
                found.append(Edge(axis.name, way[upper], axis.to_value(raw), axis.to_value(end)))
    return found


def _narrowed(spec: Spec, space: Space, outer: Box, records: Sequence[Trial], zoom: Zoom) -> Box:
    inside = [r for r in records if within(space, outer, r)]
    best = _ordered(spec, inside)
    best = best[: max(1, math.ceil(zoom.keep_top * len(best)))]
    if not best:
        return outer
    # Of an axis that counts at few of the best points these say little.
    found = {a.key: [r.internal_params[a.key] for r in best if a.key in r.internal_params] for a in space.axes}
    enough = {
        key: internal_params if 2 * len(internal_params) >= len(best) else [] for key, internal_params in found.items()
    }
    return {a.key: _axis(a, outer[a.key], enough[a.key], zoom.margin) for a in space.axes}


def _ordered(spec: Spec, records: Sequence[Trial]) -> list[Trial]:
    """Complete and pruned trials, the best first.

    Of complete trials alone this is their ranking; a pruned one is neither better nor worse for the wave it was in.
    """
    return [record for record, _ in standings(spec, records)]


def standings(spec: Spec, records: Iterable[Trial]) -> list[tuple[Trial, int]]:
    """Complete and pruned trials with how many others are ahead at the epoch that both have come to, fewest first."""
    found = [r for r in records if r.state in ("complete", "pruned")]
    curves = [_best_so_far(spec, r) for r in found]
    ends = [len(curve) if r.state == "pruned" else math.inf for curve, r in zip(curves, found, strict=True)]
    numbers, ahead = range(len(found)), [0] * len(found)

    def count(of: Iterable[int], among: Iterable[int], value: Callable[[int], float]) -> None:
        values = sorted(map(value, among))
        for n in of:
            ahead[n] += bisect_left(values, value(n))

    complete = [n for n in numbers if ends[n] == math.inf]
    count(complete, complete, lambda n: spec.metric.sign * (found[n].value or 0.0))
    # Of two trials one of which was pruned the sooner pruned one says where: few places, for rungs are few.
    for end in {len(curve) for curve, r in zip(curves, found, strict=True) if r.state == "pruned"}:
        here, beyond = [n for n in numbers if ends[n] == end], [n for n in numbers if ends[n] > end]
        there = [curve[min(end, len(curve)) - 1] if curve else math.inf for curve in curves]
        count(here, [*here, *beyond], there.__getitem__)
        count(beyond, here, there.__getitem__)
    return [(found[n], ahead[n]) for n in sorted(numbers, key=ahead.__getitem__)]


def _best_so_far(spec: Spec, record: Trial) -> list[float]:
    """At each check the best of the watched curve until then, lower is better."""
    values = [spec.metric.sign * v for v in record.history.get(spec.metric.monitored, [])]
    return list(accumulate((v if math.isfinite(v) else math.inf for v in values), min))


def _axis(
    axis: Axis, outer: tuple[float, float], internal_params: Sequence[float | str | bool], margin: float
) -> tuple[float, float]:
    """The interval of the best on the axis' own scale, `margin` of the outer width wider on each side, cut to it."""
    if not axis.zoomable or not internal_params:
        return outer
    low, high = (axis.to_scaled(end) for end in outer)
    positions = [axis.to_scaled(raw) for raw in internal_params]
    slack = margin * (high - low)
    ends = min(positions) - slack, max(positions) + slack
    if not axis.integer:
        # Log and back again moves a number by a bit: neither the outer ends nor the best themselves may fall out.
        found = [float(raw) for raw in internal_params]
        narrow_low = outer[0] if ends[0] <= low else min(axis.from_scaled(ends[0]), *found)
        narrow_high = outer[1] if ends[1] >= high else max(axis.from_scaled(ends[1]), *found)
        return narrow_low, narrow_high
    # The whole numbers within, with room for what log and back again loses: exp(log 128) is a bit below 128.
    first, last = axis.from_scaled(ends[0]) * (1 - ROUNDING), axis.from_scaled(ends[1]) * (1 + ROUNDING)
    return max(outer[0], math.ceil(first)), min(outer[1], math.floor(last))

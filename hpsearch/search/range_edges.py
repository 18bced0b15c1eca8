"""Range edges: the best point lies at an end of a parameter's range, which may exclude better points."""

from collections.abc import Sequence
from typing import NamedTuple

from hpsearch.config.practice.roles import size_parameters
from hpsearch.config.spec import Spec
from hpsearch.core.space import Axis, Box, InternalValue, Space, Value, value_bounds
from hpsearch.core.text import format_value
from hpsearch.search.statistics.trends import trends
from hpsearch.storage.records import Trial

EDGE_WIDTH = 0.03  # share of the range, on its own scale, that counts as its edge
MIN_STEPS = 3  # ranges of fewer integer steps are not checked: all of their values are at an edge


class RangeEdge(NamedTuple):
    """A parameter whose best value lies at an end of its range.

    Attributes:
        name: the parameter.
        advice: how to widen its range.
        value: its best value.
        end: the end of its range.
    """

    name: str
    advice: str
    value: Value
    end: Value

    def __str__(self) -> str:
        best = f"the best {self.name} so far ({format_value(self.value)})"
        return f"{best} is at the edge of its range ({format_value(self.end)}): {self.advice}"


def range_edges(space: Space, box: Box, best: Trial | None) -> list[RangeEdge]:
    """Return the ends of ranges at which the best trial lies and to which the box extends."""
    if best is None:
        return []
    edges = []
    for axis in space.axes:
        value = best.internal_params.get(axis.key)
        if value is None or isinstance(value, str) or not axis.zoomable:
            continue
        if axis.integer and axis.high - axis.low < MIN_STEPS:
            continue
        low, high = box[axis.key]
        for end, reached in ((axis.low, low <= axis.low), (axis.high, high >= axis.high)):
            if reached and not _is_natural(axis, end) and _is_near(axis, value, end):
                edges.append(RangeEdge(axis.name, _advice(axis, end), axis.to_value(value), axis.to_value(end)))
    return edges


def supported_edges(
    spec: Spec, space: Space, box: Box, best: Trial | None, trials: Sequence[Sequence[Trial]]
) -> list[RangeEdge]:
    """Return the range edges that the trials support.

    An edge is left out if trials did significantly better in the other direction. Larger networks must have done
    significantly better.

    Args:
        trials: the trials of each stage that has begun.
    """
    edges = range_edges(space, box, best)
    if not edges:
        return []
    found, sizes, axes = trends(spec, space, trials), size_parameters(spec), {a.name: a for a in space.axes}
    kept = []
    for edge in edges:
        high = value_bounds(axes[edge.name], space.full_box())[1]
        way = 1 if edge.end == high else -1
        shown = found[edge.name].direction if edge.name in found else 0
        if shown * way >= 0 and not (edge.name in sizes and way > 0 and shown <= 0):
            kept.append(edge)
    return kept


def _is_natural(axis: Axis, end: float) -> bool:
    """Return whether an end is a natural limit of the parameter: dropout, for example, cannot be below 0."""
    return end == 0 and not axis.log and not axis.choices


def _is_near(axis: Axis, value: InternalValue, end: float) -> bool:
    """Return whether a value lies near an end of the range; integers on a linear scale must be equal to the end."""
    width = EDGE_WIDTH * (axis.to_scaled(axis.high) - axis.to_scaled(axis.low))
    near = 0.0 if axis.integer and not axis.log else width
    return abs(axis.to_scaled(value) - axis.to_scaled(end)) <= near


def _advice(axis: Axis, end: float) -> str:
    upper = (end == axis.high) != axis.complement
    return (("lower min", "raise max") if not axis.choices else ("add lower values", "add higher values"))[upper]

"""Advice on ranges: the best trial lies at an end of a range, so better values may lie beyond it."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from hpsearch.config.practice.roles import range_text, settings_of
from hpsearch.core.space import Axis, Range, Value, Values
from hpsearch.core.text import format_value
from hpsearch.report.advice.change import Advice, ProposedChange
from hpsearch.search.range_edges import supported_edges
from hpsearch.search.statistics.trends import Trend, searched_trials
from hpsearch.storage.records import Trial

if TYPE_CHECKING:
    from hpsearch.study.summary import Summary


BELOW_ONE = ("dropout", "input_dropout", "rate", "label_smoothing", "beta", "momentum", "beta1", "beta2", "rho")
MOST = 0.9  # of a share such as dropout
FACTOR = 2.0  # by which integers on a linear scale and lists of values are extended
MOST_FACTOR = 10.0  # by which a range on a logarithmic scale is extended at most


def range_advice(summary: "Summary", found: Mapping[str, Trend]) -> Iterator[Advice]:
    """Yield advice for each range at an end of which the best trial lies.

    Larger networks are proposed only if larger networks did better in this study.
    """
    best = summary.champion
    if best is None:
        return
    axes = {a.name: a for a in summary.space.axes}
    edges = supported_edges(summary.spec, summary.space, summary.space.full_box(), best, summary.trials)
    for edge in edges:
        axis = axes[edge.name]
        if _has_equals(summary, best, axis, edge.end):
            continue
        upper = edge.end == _bounds(axis)[1]
        trend = found.get(edge.name)
        if (change := widened(summary, axis, upper=upper)) is not None:
            yield Advice("range", _sentence(best, axis, edge.value, trend, upper=upper), (change,))


def _has_equals(summary: "Summary", best: Trial, axis: Axis, end: Value) -> bool:
    """Return whether a trial elsewhere in the range is as good as the best one, which therefore proves nothing."""
    equal = (
        t for t in searched_trials(summary.spec, summary.trials) if t.value == best.value and t.label != best.label
    )
    middle = (axis.to_scaled(axis.low) + axis.to_scaled(axis.high)) / 2
    upper = axis.to_scaled(axis.to_internal(end)) > middle
    scaled = (axis.to_scaled(t.internal_params[axis.key]) for t in equal if axis.key in t.internal_params)
    return any((place > middle) != upper for place in scaled)


def _sentence(best: Trial, axis: Axis, value: Value, trend: Trend | None, *, upper: bool) -> str:
    low, high = map(format_value, _bounds(axis))
    text = f"The best {axis.name}, {format_value(value)} of {best.label}, is at the {'upper' if upper else 'lower'} end"
    return f"{text} of its range, {low} to {high}" + (f"; {trend}" if trend and trend.direction else "")


def _bounds(axis: Axis) -> tuple[Value, Value]:
    low, high = axis.to_value(axis.low), axis.to_value(axis.high)
    return (high, low) if axis.complement else (low, high)


def widened(summary: "Summary", axis: Axis, *, upper: bool) -> ProposedChange | None:
    """Return the change that widens a range at one end; None at a natural limit."""
    parameter, old = summary.spec.parameters[axis.name], range_text(summary.spec, axis.name)
    roles = {s.role for s in settings_of(summary.spec, *BELOW_ONE) if s.parameter == axis.name}
    if isinstance(parameter, Values):
        new = _more_values([v for v in parameter.values if not isinstance(v, str | bool)], upper=upper)
        changed = None if new is None else {**old, "values": new}
    elif isinstance(parameter, Range):
        end = _next_end(parameter, upper=upper, share=bool(roles))
        changed = None if end is None else {**old, ("max" if upper else "min"): end}
    else:
        changed = None
    if changed is None:
        return None
    return ProposedChange(f"parameters.{axis.name}", changed, old, axis.name, 1 if upper else -1)


def _more_values(values: list[int | float], *, upper: bool) -> list[int | float] | None:
    """Return ordered values with one more at an end, in the ratio or at the distance of the last two."""
    if len(values) < 2:
        return None
    last, before = (values[-1], values[-2]) if upper else (values[0], values[1])
    ratio = last / before if before else 0.0
    new = last * ratio if ratio > 0 else last + (last - before)
    new = round(new) if all(isinstance(v, int) for v in values) else rounded_value(new)
    if new in values or (min(values) >= 1 and new < 1) or (min(values) >= 0 and new < 0):
        return None
    return [*values, new] if upper else [new, *values]


def _next_end(parameter: Range, *, upper: bool, share: bool) -> int | float | None:
    """Return an end beyond a range; None at a natural limit."""
    low, high = float(parameter.min), float(parameter.max)
    if parameter.scale == "one_minus_log":
        near, far = 1 - high, 1 - low
        factor = min(MOST_FACTOR, max(FACTOR, (far / near) ** (1 / 3)))
        end = 1 - rounded_value(near / factor) if upper else 1 - rounded_value(far * factor)
        return float(f"{end:.12g}") if end > 0 else None
    if parameter.scale == "log":
        factor = min(MOST_FACTOR, max(FACTOR, (high / low) ** (1 / 3)))
        end = high * factor if upper else low / factor
    else:
        width = (high - low) / 2
        end = high + width if upper else low - width
        end = max(0.0, end) if low >= 0 else end
    if share and upper:
        end = min(end, MOST)
    if parameter.type == "int":
        end = float(math.floor(end)) if not upper else float(math.ceil(end))
        end = max(end, 1.0) if low >= 1 else end
        return None if end in (low, high) else int(end)
    end = rounded_value(end)
    return None if end in (low, high) or (upper and end < high) or (not upper and end > low) else end


def rounded_value(value: float) -> float:
    """Return a number with two significant digits."""
    return float(f"{value:.1e}")

"""Chart axes: parameters on their sampling scale (β as 1 − β, choices side by side), metrics linear or logarithmic."""

from collections.abc import Sequence
from html import escape
from math import log10
from typing import Any

from hpsearch.core.space import Axis, InternalValue
from hpsearch.core.text import format_value, printable

GOLDEN_RATIO = 0.6180339887498949  # its multiples modulo 1 are spread evenly over [0, 1)
MAX_INTEGER_TICKS = 12  # integers that each have a tick
MAX_LOG_TICKS = 8
MAX_LABEL_LENGTH = 40  # characters
MIN_BAR_SHARE = 0.008  # minimum width of a bar, as a share of the axis


def plotly_text(text: object) -> str:
    """Return text escaped for plotly, which would interpret HTML tags, and shortened to `MAX_LABEL_LENGTH`."""
    return escape(printable(str(text), MAX_LABEL_LENGTH), quote=False)


def axis_title(axis: Axis) -> str:
    """Return the parameter's name, as `1 − beta` if 1 − β was sampled."""
    return f"1 − {plotly_text(axis.name)}" if axis.complement else plotly_text(axis.name)


def coordinate(axis: Axis, internal: InternalValue) -> float:
    """Return the coordinate of an internal value in a chart; for a choice, its index."""
    return float(internal) if axis.zoomable else float(axis.choices.index(internal))


def jittered_coordinate(axis: Axis, internal: InternalValue, trial: int) -> float:
    """Return the coordinate, with a jitter for choices so that trials do not cover each other."""
    return coordinate(axis, internal) + (jitter(trial) if axis.choices else 0.0)


def jitter(trial: int) -> float:
    """Return an offset in [−0.2, 0.2) that differs from trial to trial."""
    return 0.4 * (trial * GOLDEN_RATIO % 1) - 0.2


def axis_layout(axis: Axis) -> dict[str, Any]:
    """Return ticks, type and range of plotly's axis: the full range of the parameter and a margin."""
    if axis.choices:
        last = len(axis.choices) - 1
        labels = [plotly_text(format_value(choice)) for choice in axis.choices]
        return {"tickvals": list(range(last + 1)), "ticktext": labels, "range": [-0.5, last + 0.5]}
    if axis.integer and not axis.log and axis.high - axis.low <= MAX_INTEGER_TICKS:
        integers = range(int(axis.low), int(axis.high) + 1)
        labels = [f"{v}" for v in integers]
        return {"tickvals": list(integers), "ticktext": labels, "range": [axis.low - 0.5, axis.high + 0.5]}
    low, high = (log10(end) if axis.log else end for end in (axis.low, axis.high))
    margin = 0.04 * (high - low) or 0.5
    layout: dict[str, Any] = {"range": [low - margin, high + margin]}
    return layout | ({"type": "log"} | _log_ticks(axis.low, axis.high) if axis.log else {})


def visible_bounds(axis: Axis, low: float, high: float) -> tuple[float, float]:
    """Return the bounds of a bar, moved apart if the box is too narrow to be visible."""
    if axis.choices:
        return (low, high) if low < high else (low - 0.03, high + 0.03)
    start, end = axis.to_scaled(low), axis.to_scaled(high)
    full = axis.to_scaled(axis.high) - axis.to_scaled(axis.low) or 1.0
    missing = max(0.0, MIN_BAR_SHARE * full - (end - start)) / 2
    return (axis.from_scaled(start - missing), axis.from_scaled(end + missing)) if missing else (low, high)


def metric_layout(values: Sequence[float], ratio: float = 20) -> dict[str, Any]:
    """Return the layout of a metric's axis: logarithmic if all values are positive and max / min exceeds the ratio."""
    if len(values) > 1 and min(values) > 0 and max(values) / min(values) > ratio:
        return {"type": "log"} | _log_ticks(min(values), max(values))
    return {}


def _log_ticks(low: float, high: float) -> dict[str, Any]:
    """Return ticks at powers of ten; at 1, 2 and 5 times powers of ten if fewer than three powers are in the range."""
    exponents = range(max(-300, int(log10(low)) - 2), min(300, int(log10(high)) + 2))
    ticks = [10.0**e for e in exponents if low <= 10.0**e * 1.0001 and 10.0**e <= high * 1.0001]
    if len(ticks) < 3:
        ticks = [m * 10.0**e for e in exponents for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    if len(ticks) < 2:
        ticks = [low, high]
    ticks = ticks[:: -(-len(ticks) // MAX_LOG_TICKS)]
    return {"tickvals": ticks, "ticktext": [f"{v:g}" for v in ticks]}

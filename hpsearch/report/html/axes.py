"""A parameter on a picture's axis: on its own scale, β as 1 − β, choices side by side."""

from collections.abc import Sequence
from html import escape
from math import log10
from typing import Any

from hpsearch.core.space import Axis, InternalValue
from hpsearch.core.text import format_value, printable

GOLDEN = 0.6180339887498949
FEW = 12  # whole numbers that each have a mark
LONGEST = 40  # characters of a label


def safe(text: object) -> str:
    """Text from a file as plotly shows it: it reads tags, as a page does."""
    return escape(printable(str(text), LONGEST), quote=False)


def title(axis: Axis) -> str:
    """`1 − beta` where that is what was sampled."""
    return f"1 − {safe(axis.name)}" if axis.complement else safe(axis.name)


def place(axis: Axis, raw: InternalValue) -> float:
    """Return the coordinate of an internal value in a figure: choices by their number."""
    return float(raw) if axis.zoomable else float(axis.choices.index(raw))


def spread(axis: Axis, raw: InternalValue, trial: int) -> float:
    """The same, a little aside for choices, so that trials do not cover each other."""
    return place(axis, raw) + (aside(trial) if axis.choices else 0.0)


def aside(trial: int) -> float:
    """A step of at most 0.2 to either side, another one for each trial."""
    return 0.4 * (trial * GOLDEN % 1) - 0.2


def drawn(axis: Axis) -> dict[str, Any]:
    """The axis for plotly, from end to end of the whole range, with a little room."""
    if axis.choices:
        last = len(axis.choices) - 1
        named = [safe(format_value(choice)) for choice in axis.choices]
        return {"tickvals": list(range(last + 1)), "ticktext": named, "range": [-0.5, last + 0.5]}
    if axis.integer and not axis.log and axis.high - axis.low <= FEW:
        whole = range(int(axis.low), int(axis.high) + 1)
        named = [f"{v}" for v in whole]
        return {"tickvals": list(whole), "ticktext": named, "range": [axis.low - 0.5, axis.high + 0.5]}
    low, high = (log10(end) if axis.log else end for end in (axis.low, axis.high))
    room = 0.04 * (high - low) or 0.5
    found: dict[str, Any] = {"range": [low - room, high + room]}
    return found | ({"type": "log"} | _ticks(axis.low, axis.high) if axis.log else {})


def wide(axis: Axis, low: float, high: float) -> tuple[float, float]:
    """Ends of a bar, apart enough to be seen: a box may have shrunk to a point."""
    if axis.choices:
        return (low, high) if low < high else (low - 0.03, high + 0.03)
    whole = axis.to_scaled(axis.high) - axis.to_scaled(axis.low) or 1.0
    short = max(0.0, 0.008 * whole - (axis.to_scaled(high) - axis.to_scaled(low))) / 2
    return (
        (axis.from_scaled(axis.to_scaled(low) - short), axis.from_scaled(axis.to_scaled(high) + short))
        if short
        else (low, high)
    )


def _ticks(low: float, high: float) -> dict[str, Any]:
    """Powers of ten within; where that is fewer than three, 1, 2 and 5 times such."""
    first, last = max(-300, int(log10(low)) - 2), min(300, int(log10(high)) + 2)
    tens = [10.0**e for e in range(first, last) if low <= 10.0**e * 1.0001 and 10.0**e <= high * 1.0001]
    if len(tens) < 3:
        tens = [m * 10.0**e for e in range(first, last) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    if len(tens) < 2:
        tens = [low, high]
    tens = tens[:: -(-len(tens) // 8)]
    return {"tickvals": tens, "ticktext": [f"{v:g}" for v in tens]}


def values(found: Sequence[float], apart: float = 20) -> dict[str, Any]:
    """An axis for values of a metric: logarithmic where all are above 0 and the ends so many times apart."""
    if len(found) > 1 and min(found) > 0 and max(found) / min(found) > apart:
        return {"type": "log"} | _ticks(min(found), max(found))
    return {}

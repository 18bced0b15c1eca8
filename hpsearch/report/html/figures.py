"""What all pictures share: how a plotly figure of ours begins, its colors, its points by stage."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hpsearch.report.html.axes import safe
from hpsearch.storage.records import Trial

# Okabe and Ito 2008, "Color universal design": told apart by the color-blind too.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8A7F00")
BEST, PALE, INK = "#D55E00", "#C8CDD3", "#26303A"
SCALE = [[0.0, "#08306b"], [0.25, "#2171b5"], [0.5, "#6baed6"], [0.75, "#c6dbef"], [1.0, "#eef3f9"]]  # dark is low
GRID = "#E6E9EC"


class Picture(NamedTuple):
    """One figure of a report.

    Attributes:
        name: of its file, without the ending.
        caption: what to see in it, in a sentence or two.
    """

    name: str
    title: str
    caption: str
    figure: go.Figure


def figure(height: int = 360, rows: int = 1, columns: int = 1, **grid: Any) -> go.Figure:
    """An empty figure; with more than one row or column plots beside each other."""
    made = make_subplots(rows, columns, **grid)
    made.update_layout(
        template="none",
        height=height,
        margin={"l": 64, "r": 24, "t": 44, "b": 56},
        font={"family": "system-ui, sans-serif", "size": 12, "color": INK},
        colorway=COLORS,
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.0, "yanchor": "bottom"},
        hovermode="closest",
        hoverlabel={"namelength": -1},
    )
    made.update_xaxes(gridcolor=GRID, zeroline=False, automargin=True)
    made.update_yaxes(gridcolor=GRID, zeroline=False, automargin=True)
    made.update_annotations(font_size=13)
    return made


def color(stages: Sequence[str], stage: str) -> str:
    """A stage's."""
    return COLORS[stages.index(stage) % len(COLORS)]


def hover(record: Trial) -> str:
    """`coarse/12, complete`."""
    return f"{safe(record.label)}, {record.state}"


def lined(name: str, color: str, x: Sequence[float], y: Sequence[float], **more: Any) -> go.Scatter:
    """A curve."""
    return go.Scatter(x=list(x), y=list(y), mode="lines", name=name, line={"color": color, "width": 2}, **more)


def lined_up(made: go.Figure, names: Sequence[str], side: str = "y", **at: int) -> None:
    """Names at 0, 1, 2, … of an axis, at most forty: as categories two that are shortened alike would be one."""
    step = -(-len(names) // 40) or 1
    ticks = {"tickvals": list(range(0, len(names), step)), "ticktext": [safe(name) for name in names[::step]]}
    (made.update_yaxes if side == "y" else made.update_xaxes)(showgrid=False, **ticks, **at)


def dotted(name: str, color: str, x: Sequence[float], y: Sequence[float], **more: Any) -> go.Scatter:
    """Points; `marker` in `more` changes how they look."""
    marker = {"color": color, "size": 7, "opacity": 0.75} | more.pop("marker", {})
    return go.Scatter(x=list(x), y=list(y), mode="markers", name=name, marker=marker, **more)

"""Shared by all charts: an empty plotly figure, colors by stage, lines, points, learning curves and ticks."""

from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hpsearch.report.html.axes import plotly_text
from hpsearch.storage.records import Trial, checked_every

# Okabe and Ito 2008, "Color universal design": distinguishable with color blindness.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8A7F00")
BEST_COLOR, PALE_COLOR, TEXT_COLOR, GRID_COLOR = "#D55E00", "#C8CDD3", "#26303A", "#E6E9EC"
COLOR_SCALE = [
    [0.0, "#08306b"],
    [0.25, "#2171b5"],
    [0.5, "#6baed6"],
    [0.75, "#c6dbef"],
    [1.0, "#eef3f9"],
]  # low values are dark
MAX_CATEGORY_TICKS = 40
MAX_CURVE_POINTS = 300


class Chart(NamedTuple):
    """A chart of a report.

    Attributes:
        name: identifies the chart in the page and is the name of its PNG file, without the suffix.
        caption: explains the chart in one or two sentences.
    """

    name: str
    title: str
    caption: str
    figure: go.Figure


def new_figure(height: int = 360, rows: int = 1, columns: int = 1, **grid: Any) -> go.Figure:
    """Return an empty figure, with a grid of plots if it has more than one row or column."""
    figure = make_subplots(rows, columns, **grid)
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 64, "r": 24, "t": 44, "b": 56},
        font={"family": "system-ui, sans-serif", "size": 12, "color": TEXT_COLOR},
        colorway=PALETTE,
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.0, "yanchor": "bottom"},
        hovermode="closest",
        hoverlabel={"namelength": -1},
    )
    figure.update_xaxes(gridcolor=GRID_COLOR, zeroline=False, automargin=True)
    figure.update_yaxes(gridcolor=GRID_COLOR, zeroline=False, automargin=True)
    figure.update_annotations(font_size=13)
    return figure


def stage_color(stages: Sequence[str], stage: str) -> str:
    """Return the color of a stage."""
    return PALETTE[stages.index(stage) % len(PALETTE)]


def hover_text(trial: Trial) -> str:
    """Return the hover text of a trial: `coarse/12, complete`."""
    return f"{plotly_text(trial.label)}, {trial.state}"


def line(name: str, color: str, x: Sequence[float], y: Sequence[float], **options: Any) -> go.Scatter:
    """Return a line; `options` are passed to plotly."""
    return go.Scatter(x=list(x), y=list(y), mode="lines", name=name, line={"color": color, "width": 2}, **options)


def points(name: str, color: str, x: Sequence[float], y: Sequence[float], **options: Any) -> go.Scatter:
    """Return points; `options` are passed to plotly, where `marker` overrides size, opacity or symbol."""
    marker = {"color": color, "size": 7, "opacity": 0.75} | options.pop("marker", {})
    return go.Scatter(x=list(x), y=list(y), mode="markers", name=name, marker=marker, **options)


def set_category_ticks(figure: go.Figure, names: Sequence[str], side: str = "y", **subplot: int) -> None:
    """Label 0, 1, 2, … of an axis with names, 40 of them at most.

    Plotly's category axes would merge names that are shortened to the same text.
    """
    step = -(-len(names) // MAX_CATEGORY_TICKS) or 1
    ticks = {"tickvals": list(range(0, len(names), step)), "ticktext": [plotly_text(name) for name in names[::step]]}
    update = figure.update_yaxes if side == "y" else figure.update_xaxes
    update(showgrid=False, **ticks, **subplot)


def thinned_curve(trial: Trial, name: str) -> tuple[list[int], list[float]]:
    """Return epochs and finite values of a learning curve, at most about `MAX_CURVE_POINTS`, with the best epoch."""
    values = trial.history.get(name, [])
    interval = checked_every(trial.epochs, trial.history)
    step = max(1, -(-len(values) // MAX_CURVE_POINTS))
    kept = sorted({*range(0, len(values), step), len(values) - 1, trial.best_epoch // interval - 1})
    kept = [i for i in kept if 0 <= i < len(values) and isfinite(values[i])]
    return [(i + 1) * interval for i in kept], [values[i] for i in kept]

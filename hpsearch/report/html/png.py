"""Our plotly figures as PNG, drawn by matplotlib: plotly itself would need a browser for it.

It draws the kinds of traces that our pictures are made of, and refuses any other.
"""

import warnings
from html import unescape
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure

from hpsearch.report.html.figures import GRID, INK, Picture

WIDTH, DPI = 1000, 144  # pixels as a page has them, of which an inch has 96
SYMBOLS = {"star": "*", "circle-open": "o"}
DASHES = {"dot": ":", "dash": "--"}
STYLE: Any = {"text.parse_math": False, "font.size": 9, "axes.edgecolor": "#B8C0C7", "axes.labelcolor": INK}
STYLE |= dict.fromkeys(("text.color", "xtick.color", "ytick.color"), INK)


def draw(picture: Picture, file: Path) -> None:
    """Writes the picture, 1,500 pixels wide.

    Raises:
        TypeError: a trace of a kind that is not drawn.
    """
    layout = picture.figure.layout
    with mpl.rc_context(STYLE):
        made = Figure(figsize=(WIDTH / 96, (layout.height + 40) / 96), facecolor="white")
        FigureCanvasAgg(made)
        made.suptitle(picture.title, x=0.01, y=1 - 6 / (layout.height + 40), ha="left", va="top", weight="bold")
        if picture.figure.data and picture.figure.data[0].type == "parcoords":
            _parallel(made.add_axes((0.06, 0.06, 0.88, 0.74)), picture.figure.data[0])
        else:
            _plots(made, picture.figure)
        with warnings.catch_warnings():  # letters that no font has are drawn as boxes
            warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
            made.savefig(file, dpi=DPI)


def _plots(made: Figure, figure: Any) -> None:
    if unknown := {trace.type for trace in figure.data} - KINDS.keys():
        raise TypeError(f"a trace of type {unknown.pop()} is not drawn")
    layout, plots = figure.layout, dict[tuple[str, str], Axes]()
    for trace in figure.data:
        names = (trace.xaxis or "x", trace.yaxis or "y")
        if names not in plots:
            plots[names] = _axes(made, figure, *names)
        KINDS[trace.type](plots[names], trace)
    for names, axes in plots.items():
        x, y = (layout[f"{name[0]}axis{name[1:]}"] for name in names)
        _scale(axes, x, "x")
        _scale(axes, y, "y")
    for root in {axis.matches for axis in figure.select_yaxes() if axis.matches}:
        shared = [a for (_, y), a in plots.items() if root in (y, layout[f"yaxis{y[1:]}"].matches)]
        ends = [end for axes in shared for end in axes.get_ylim()]
        if not any(axes.yaxis_inverted() for axes in shared):  # those have equal ends anyway
            for axes in shared:
                axes.set_ylim(min(ends), max(ends))
    frame = _frame(figure)
    for note in layout.annotations:
        x = frame[0] + note.x * frame[2]
        y = frame[1] + note.y * frame[3] + 0.006
        made.text(x, y, _plain(note.text), ha="center", va="bottom")
    _legend(made, plots)


def _frame(figure: Any) -> tuple[float, float, float, float]:
    """Where plots are, in shares of the figure: left, bottom, width, height."""
    height = figure.layout.height + 40
    names = [text for axis in figure.select_yaxes() for text in axis.ticktext or ()]
    longest = max((len(_plain(name)) for name in names), default=0)
    left, right, top, bottom = max(0.105, 0.04 + 0.0066 * longest), 0.985, 1 - 78 / height, 54 / height
    return left, bottom, right - left, top - bottom


def _axes(made: Figure, figure: Any, x: str, y: str) -> Axes:
    left, bottom, width, height = _frame(figure)
    across = figure.layout[f"xaxis{x[1:]}"].domain or (0.0, 1.0)
    up = figure.layout[f"yaxis{y[1:]}"].domain or (0.0, 1.0)
    place = (left + across[0] * width, bottom + up[0] * height, (across[1] - across[0]) * width)
    axes = made.add_axes((*place, (up[1] - up[0]) * height))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    return axes


def _scatter(axes: Axes, trace: Any) -> None:
    label = _plain(trace.name) if trace.name and trace.showlegend is not False else None
    alpha = 1.0 if trace.opacity is None else trace.opacity
    if "lines" in (trace.mode or ""):
        line = trace.line
        style = DASHES.get(line.dash or "", "-")
        steps = "steps-post" if line.shape == "hv" else "default"
        width = 0.75 * (line.width or 2)
        ends = "butt" if width > 6 else "round"
        axes.plot(
            trace.x, trace.y, color=line.color, linewidth=width, linestyle=style, drawstyle=steps, label=label,
            alpha=alpha, solid_capstyle=ends, zorder=3 if width < 6 else 2,
        )  # fmt: skip
        return
    marker = trace.marker
    hollow = (marker.symbol or "").endswith("-open")
    shade = to_rgba(marker.color, marker.opacity if marker.opacity is not None else 0.75)
    axes.scatter(
        trace.x, trace.y, s=(0.75 * marker.size) ** 2, marker=SYMBOLS.get(marker.symbol, "o"), label=label, zorder=4,
        facecolors="none" if hollow else shade, edgecolors=shade if hollow else "none", linewidths=1.0,
    )  # fmt: skip
    if trace.error_x.array is not None:
        axes.errorbar(
            trace.x, trace.y, xerr=trace.error_x.array, fmt="none", ecolor=marker.color, elinewidth=2, capsize=4
        )


def _bars(axes: Axes, trace: Any) -> None:
    """One trace upon another where there are several: ours are stacked then."""
    across = trace.orientation == "h"
    places, lengths = (trace.y, trace.x) if across else (trace.x, trace.y)
    width = 0.7 if trace.width is None else trace.width
    before = np.sum([[bar.get_width() if across else bar.get_height() for bar in c] for c in axes.containers], axis=0)
    label = _plain(trace.name) if trace.name and trace.showlegend is not False else None
    color = trace.marker.color
    if across:
        bars = axes.barh(places, lengths, width, before, color=color, label=label, zorder=3)
    else:
        bars = axes.bar(places, lengths, width, before, color=color, label=label, zorder=3)
    if trace.text is not None:
        axes.bar_label(bars, list(map(_plain, trace.text)), padding=3, fontsize=8)
        axes.margins(x=0.12)


def _cells(axes: Axes, trace: Any) -> None:
    z = np.asarray(trace.z, float)
    low = float(z.min()) if trace.zmin is None else trace.zmin
    high = float(z.max()) if trace.zmax is None else trace.zmax
    colors = _colors(trace.colorscale)
    alpha = 1.0 if trace.opacity is None else trace.opacity
    lines = {"edgecolors": GRID, "linewidth": 0.3} if trace.texttemplate else {"rasterized": True}
    axes.pcolormesh(
        trace.x, trace.y, z, cmap=colors, vmin=low, vmax=high, alpha=alpha, shading="nearest", zorder=0.5, **lines
    )
    for y, words in zip(trace.y, trace.text if trace.texttemplate else (), strict=False):
        for x, word in zip(trace.x, words, strict=True):
            shade = "white" if z[y, x] > 0.55 * high else INK
            axes.text(x, y, word, ha="center", va="center", fontsize=8, color=shade)


KINDS = {"scatter": _scatter, "bar": _bars, "heatmap": _cells}


def _colors(scale: Any) -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list("plotly", [(float(at), color) for at, color in scale], N=1024)


def _scale(axes: Axes, axis: Any, side: Literal["x", "y"]) -> None:
    """What plotly knows of an axis, for matplotlib."""
    logarithmic = axis.type == "log"
    if logarithmic:
        (axes.set_xscale if side == "x" else axes.set_yscale)("log")
    if axis.tickvals is not None:
        ticks = (axes.set_xticks, axes.set_yticks)[side == "y"]
        names = list(map(_plain, axis.ticktext))
        ticks(list(axis.tickvals), names)
        ticks([], minor=True)
        if side == "x" and sum(map(len, names)) > 100 * axes.get_position().width:
            axes.tick_params("x", rotation=90)
    if axis.range is not None:
        ends = [10.0**end for end in axis.range] if logarithmic else list(axis.range)
        (axes.set_xlim if side == "x" else axes.set_ylim)(*ends)
    elif axis.autorange == "reversed":
        axes.invert_yaxis()
    if axis.tickformat == ".0%":
        (axes.xaxis if side == "x" else axes.yaxis).set_major_formatter(lambda value, _: f"{value:.0%}")
    if axis.showgrid is not False:
        axes.grid(axis="x" if side == "x" else "y", color=GRID)
    title = axis.title.text
    if title:
        (axes.set_xlabel if side == "x" else axes.set_ylabel)(_plain(title))
    if axis.matches or axis.showticklabels is False:
        axes.tick_params(side, **{"labelleft" if side == "y" else "labelbottom": axis.showticklabels is not False})


def _legend(made: Figure, plots: dict[tuple[str, str], Axes]) -> None:
    named: dict[str, Any] = {}
    for axes in plots.values():
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    if named:
        height = made.get_figheight() * 96
        made.legend(
            list(named.values()), list(named), loc="upper right", ncols=min(6, len(named)), frameon=False, fontsize=8,
            bbox_to_anchor=(0.99, 1 - 2 / height),
        )  # fmt: skip


def _parallel(axes: Axes, trace: Any) -> None:
    """A line a trial through parallel axes, each from its own end to end."""
    columns = []
    axes.set(xlim=(0, len(trace.dimensions) - 1), ylim=(-0.02, 1.02), yticks=[], xticks=[])
    axes.spines[:].set_visible(False)
    for place, dimension in enumerate(trace.dimensions):
        values = np.asarray(dimension["values"], float)
        low, high = dimension.range or (values.min(), values.max())
        low, high = (low, high) if high > low else (low - 0.5, low + 0.5)
        columns.append((values - low) / (high - low))
        axes.axvline(place, color=INK, linewidth=0.8, zorder=5)
        axes.text(place, 1.06, _plain(dimension.label), ha="center", va="bottom")
        marks = zip(dimension.tickvals, dimension.ticktext, strict=True) if dimension.tickvals is not None else ()
        for at, text in marks or [(v, f"{v:.4g}") for v in np.linspace(low, high, 5)]:
            words: dict[str, Any] = {"ha": "left", "va": "center", "fontsize": 8, "zorder": 6}
            axes.text(place + 0.02, (at - low) / (high - low), _plain(text), **words)
    shown = np.asarray(trace.line.color, float)
    order = np.argsort(shown if trace.line.reversescale else -shown)  # the best on top
    lines = np.stack([np.broadcast_to(np.arange(len(columns)), (len(shown), len(columns))), np.array(columns).T], -1)
    colors = _colors([[float(at), color] for at, color in trace.line.colorscale])
    made = LineCollection(
        list(lines[order]), array=shown[order], cmap=colors.reversed() if trace.line.reversescale else colors
    )
    made.set(linewidth=1.1, alpha=0.8)
    axes.add_collection(made)


def _plain(text: object) -> str:
    """As it was before it was made safe for a page."""
    return unescape(str(text)).replace("<br>", "\n")

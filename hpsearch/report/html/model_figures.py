"""The pictures of a champion: how it learned, where it errs, what goes on in its layers."""

from collections.abc import Iterator, Sequence

import plotly.graph_objects as go

from hpsearch.core.text import format_value
from hpsearch.models.diagnostics import Diagnostics, Fit, Regions, Spread
from hpsearch.report.html import axes as scales
from hpsearch.report.html.axes import safe
from hpsearch.report.html.content import Story
from hpsearch.report.html.figures import BEST, COLORS, INK, Picture, dotted, figure, lined, lined_up
from hpsearch.report.html.search_figures import curve
from hpsearch.storage.records import Trial

NUMBERED = 25  # classes whose confusion matrix has its counts written in
LAYERS = 12  # in a picture, the first ones
ACROSS = 3  # histograms in a row


def pictures(story: Story) -> Iterator[Picture]:
    """Those there is something to show for."""
    best, seen = story.found.champion, story.diagnostics
    if best is None:
        return
    yield _learning(best)
    if seen is None:
        return
    parts = [(name, fit) for name, fit in (("val", seen.val), ("test", seen.test)) if fit is not None]
    tables = [(name, fit) for name, fit in parts if fit.confusion]
    if tables and story.classes:
        yield _confusion(tables, story.classes)
    values = [(name, fit) for name, fit in parts if fit.truth]
    if values:
        yield _predicted(values)
    if seen.regions is not None:
        yield _regions(seen.regions, story.classes)
    if seen.activations:
        yield _spreads("activations", "Activations by layer", seen.activations, _ACTIVATIONS)
    if seen.gradients:
        yield _spreads("gradients", "Gradients by layer", seen.gradients, _GRADIENTS)
    if seen.weights:
        yield _weights(seen)


_ACTIVATIONS = (
    "What each layer puts out for a batch of training rows. All at one number, or at the ends of a sigmoid, is a layer "
    "that says nothing; a width that grows or shrinks from layer to layer is what an initializer should prevent."
)
_GRADIENTS = (
    "The loss's derivatives by each layer's weights and biases, of the same batch. Widths that shrink towards the "
    "first layer are gradients that vanish."
)


def _learning(best: Trial) -> Picture:
    """Its curves of training and val rows, losses beside scores."""
    kinds = list(dict.fromkeys(name.partition("/")[2] for name in best.history))
    kinds = [k for k in kinds if not k.endswith("_std")][:3]
    made = figure(360, 1, max(1, len(kinds)), subplot_titles=[safe(k) for k in kinds], horizontal_spacing=0.09)
    for column, kind in enumerate(kinds, 1):
        ends: list[float] = []
        for part, shade in (("train", COLORS[0]), ("val", COLORS[1])):
            x, y = curve(best, f"{part}/{kind}")
            if y:
                ends += y
                trace = lined(part, shade, x, y, legendgroup=part, showlegend=column == 1)
                trace.update(hovertemplate=f"{part}, epoch %{{x}}: %{{y:.4g}}<extra></extra>")
                made.add_trace(trace, 1, column)
        if ends:
            stop = [best.best_epoch, best.best_epoch]
            mark = lined("best epoch", BEST, stop, [min(ends), max(ends)], legendgroup="best")
            mark.update(line={"dash": "dot", "width": 1.5}, hoverinfo="skip", showlegend=column == 1)
            made.add_trace(mark, 1, column)
        made.update_xaxes(title="epoch", row=1, col=column)
        made.update_yaxes(**scales.values(ends, 5), row=1, col=column)
    made.update_layout(legend={"y": 1.12})
    caption = f"{best.label}, with the weights of epoch {best.best_epoch} kept of {best.epochs}."
    return Picture("learning", "How the best learned", caption, made)


def _confusion(tables: Sequence[tuple[str, Fit]], classes: Sequence[str]) -> Picture:
    size = min(620, max(300, 130 + 26 * len(classes)))
    titles = [f"{name}: {_right(fit):,} of {fit.rows:,} right" for name, fit in tables]
    made = figure(size + 60, 1, len(tables), subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.06)
    places = list(range(len(classes)))
    for column, (_, fit) in enumerate(tables, 1):
        shares = [[count / max(1, sum(row)) for count in row] for row in fit.confusion]
        cells = go.Heatmap(
            x=places,
            y=places,
            z=shares,
            customdata=fit.confusion,
            colorscale=[[0, "#FFFFFF"], [0.02, "#E3EEF7"], [0.3, "#6BAED6"], [1, "#08306B"]],
            zmin=0,
            zmax=1,
            showscale=False,
            hovertemplate="%{y}, predicted as %{x}: %{customdata} rows, %{z:.1%} of its own<extra></extra>",
        )
        if len(classes) <= NUMBERED:
            cells.update(text=[[str(c or "") for c in row] for row in fit.confusion], texttemplate="%{text}")
        made.add_trace(cells, 1, column)
        at = {"row": 1, "col": column}
        lined_up(made, classes, "x", **at)
        lined_up(made, classes, "y", **at)
        made.update_xaxes(title="predicted", **at)
        made.update_yaxes(title="true" if column == 1 else "", autorange="reversed", **at)
    caption = "A row is a true class, shaded by how its rows were predicted; the diagonal is right."
    worst = _worst(*tables[-1], classes)
    return Picture("confusion", "Confusion", f"{caption} {worst}".strip(), made)


def _right(fit: Fit) -> int:
    return sum(row[place] for place, row in enumerate(fit.confusion))


def _worst(part: str, fit: Fit, classes: Sequence[str]) -> str:
    wrong = [(count, t, p) for t, row in enumerate(fit.confusion) for p, count in enumerate(row) if p != t and count]
    count, true, said = max(wrong, key=lambda w: w[0], default=(0, 0, 0))
    words = f"Of the {part} rows most often, {count:,} times, {classes[true]} is taken for {classes[said]}."
    return words if count > 1 else ""


def _predicted(values: Sequence[tuple[str, Fit]]) -> Picture:
    """Predicted against true, and below how far off."""
    titles = [f"{name}, {fit.rows:,} rows" for name, fit in values] + ["residuals" for _ in values]
    made = figure(640, 2, len(values), subplot_titles=titles, vertical_spacing=0.16, row_heights=[0.65, 0.35])
    for column, (name, fit) in enumerate(values, 1):
        text = [
            f"true {format_value(t)}<br>predicted {format_value(p)}"
            for t, p in zip(fit.truth, fit.predicted, strict=True)
        ]
        look = {"size": 4, "opacity": 0.5}
        dots = dotted("", COLORS[0], fit.truth, fit.predicted, marker=look, text=text, hoverinfo="text")
        dots.update(showlegend=False)
        made.add_trace(dots, 1, column)
        ends = [min(fit.truth), max(fit.truth)]
        made.add_trace(lined("", BEST, ends, ends, hoverinfo="skip", showlegend=False), 1, column)
        middles = [(a + b) / 2 for a, b in zip(fit.edges, fit.edges[1:], strict=False)]
        width = fit.edges[1] - fit.edges[0]
        bars = go.Bar(x=middles, y=fit.residuals, width=width, marker={"color": COLORS[0]}, showlegend=False)
        bars.update(hovertemplate="%{x:.4g}: %{y} rows<extra></extra>")
        made.add_trace(bars, 2, column)
        made.update_xaxes(title=f"true ({name})", row=1, col=column)
        made.update_xaxes(title="predicted − true", row=2, col=column)
        if column == 1:
            made.update_yaxes(title="predicted", row=1, col=column)
            made.update_yaxes(title="rows", row=2, col=column)
    caption = (
        "On the line a prediction is right. Residuals that lean to one side, or fan out, are something to learn yet."
    )
    shown = max(len(fit.truth) for _, fit in values)
    caption += f" {shown:,} rows are drawn, evenly taken." if any(len(f.truth) < f.rows for _, f in values) else ""
    return Picture("predicted", "Predicted against true", caption, made)


def _regions(regions: Regions, classes: Sequence[str]) -> Picture:
    made = figure(520)
    sides = [safe(name) for name in regions.names]
    if classes:
        shades = [COLORS[n % len(COLORS)] for n in range(len(classes))]
        steps = [[edge, shade] for n, shade in enumerate(shades) for edge in (n / len(classes), (n + 1) / len(classes))]
        field = go.Heatmap(x=regions.x, y=regions.y, z=regions.said, zmin=-0.5, zmax=len(classes) - 0.5, opacity=0.35)
        words = [[safe(classes[int(v)]) for v in row] for row in regions.said]
        field.update(colorscale=steps, showscale=False, text=words, customdata=regions.sure)
        field.update(hovertemplate="%{text}, by %{customdata:.0%}<extra></extra>")
        made.add_trace(field)
        for n, name in enumerate(classes):
            of_it = [d for d in regions.dots if int(d[2]) == n]
            look = {"size": 5, "opacity": 0.9, "line": {"width": 0.5, "color": "white"}}
            x, y = [d[0] for d in of_it], [d[1] for d in of_it]
            made.add_trace(dotted(safe(name), shades[n], x, y, marker=look, hoverinfo="name"))
    else:
        field = go.Heatmap(x=regions.x, y=regions.y, z=regions.said, colorscale="Viridis", opacity=0.8)
        field.update(hovertemplate="%{z:.4g}<extra></extra>")
        made.add_trace(field)
        text = [format_value(d[2]) for d in regions.dots]
        x, y = [d[0] for d in regions.dots], [d[1] for d in regions.dots]
        look = {"size": 4, "opacity": 0.7}
        made.add_trace(dotted("training rows", INK, x, y, marker=look, text=text, hoverinfo="text", showlegend=False))
    made.update_xaxes(title=sides[0], showgrid=False, range=[regions.x[0], regions.x[-1]])
    made.update_yaxes(title=sides[1], showgrid=False, range=[regions.y[0], regions.y[-1]])
    what = "Which class is predicted where" if classes else "What is predicted where"
    return Picture("regions", "Decision regions", f"{what}; the dots are training rows.", made)


def _spreads(name: str, title: str, spreads: Sequence[Spread], caption: str) -> Picture:
    """A histogram for each layer."""
    some = spreads[:LAYERS]
    columns = min(ACROSS, len(some))
    rows = -(-len(some) // columns)
    titles = [safe(s.layer) for s in some]
    made = figure(60 + 210 * rows, rows, columns, subplot_titles=titles, vertical_spacing=0.44 / (rows + 1))
    for place, s in enumerate(some):
        middles = [(a + b) / 2 for a, b in zip(s.edges, s.edges[1:], strict=False)]
        width = s.edges[1] - s.edges[0]
        bars = go.Bar(x=middles, y=s.counts, width=width, marker={"color": COLORS[2 * (name == "gradients")]})
        bars.update(showlegend=False, hovertemplate="%{x:.3g}: %{y}<extra></extra>")
        at = {"row": place // columns + 1, "col": place % columns + 1}
        made.add_trace(bars, **at)
        words = f"mean {s.mean:.2g}, deviation {s.deviation:.2g}"
        made.update_xaxes(title={"text": words, "standoff": 4, "font": {"size": 11}}, nticks=5, **at)
        made.update_yaxes(nticks=4, **at)
    made.update_layout(bargap=0)
    left = f" The first {LAYERS} of {len(spreads)} layers are shown." if len(spreads) > LAYERS else ""
    return Picture(name, title, caption + left, made)


def _weights(seen: Diagnostics) -> Picture:
    """How large each layer's weights are, and how many are next to nothing."""
    layers = seen.weights[: 2 * LAYERS]
    titles = ["mean |w|", "share of |w| ≤ 0.01"]
    made = figure(140 + 28 * len(layers), 1, 2, subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.06)
    sizes = [w.total / max(1, w.numbers) for w in layers]
    shares = [w.little / max(1, w.numbers) for w in layers]
    for column, (values, words, shade) in enumerate(
        [(sizes, [f"{v:.3g}" for v in sizes], COLORS[0]), (shares, [f"{v:.1%}" for v in shares], COLORS[4])], 1
    ):
        bars = go.Bar(
            x=values,
            y=list(range(len(layers))),
            orientation="h",
            text=words,
            textposition="outside",
            marker={"color": shade},
        )
        bars.update(showlegend=False, hoverinfo="skip", cliponaxis=False)
        made.add_trace(bars, 1, column)
    made.update_xaxes(tickformat=".0%", range=[0, 1], row=1, col=2)
    lined_up(made, [w.layer for w in layers])
    made.update_yaxes(autorange="reversed")
    total, count = sum(w.total for w in seen.weights), sum(w.numbers for w in seen.weights)
    zero, little = sum(w.zero for w in seen.weights), sum(w.little for w in seen.weights)
    caption = (
        f"{count:,} weights without biases, Σ|W| {total:,.4g}; {little:,} are at most 0.01, {zero:,} at most 0.0001."
    )
    return Picture("weights", "Weights", caption, made)

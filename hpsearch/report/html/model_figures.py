"""Charts of the best model: its learning curves, its errors, and its layers."""

from collections.abc import Iterator, Sequence

import plotly.graph_objects as go

from hpsearch.core.text import format_value
from hpsearch.models.diagnostics import DecisionRegions, Diagnostics, LayerHistogram, PartPredictions
from hpsearch.report.html.axes import metric_layout, plotly_text
from hpsearch.report.html.content import ReportContent
from hpsearch.report.html.figures import (
    BEST_COLOR,
    PALETTE,
    TEXT_COLOR,
    Chart,
    line,
    new_figure,
    points,
    set_category_ticks,
    thinned_curve,
)
from hpsearch.storage.records import Trial

MAX_COUNTED_CLASSES = 25  # with more classes the cells of a confusion matrix show no counts
MAX_LAYERS = 12  # in a chart
HISTOGRAM_COLUMNS = 3
ACTIVATIONS_CAPTION = (
    "Outputs of each layer for a batch of training rows. A layer whose outputs are all equal or saturated passes on no "
    "information. With a suitable initializer the width of the histograms is similar in all layers."
)
GRADIENTS_CAPTION = (
    "Derivatives of the loss with respect to each layer's weights and biases, for the same batch. Histograms that "
    "become narrower toward the first layer indicate vanishing gradients."
)


def model_charts(content: ReportContent) -> Iterator[Chart]:
    """Yield the charts of the best model for which data are available, in the order of the page."""
    best, diagnostics = content.summary.champion, content.diagnostics
    if best is None:
        return
    yield _learning(best)
    if diagnostics is None:
        return
    parts = [(name, fit) for name, fit in (("val", diagnostics.val), ("test", diagnostics.test)) if fit is not None]
    classified = [(name, fit) for name, fit in parts if fit.confusion]
    if classified and content.classes:
        yield _confusion(classified, content.classes)
    predicted = [(name, fit) for name, fit in parts if fit.targets]
    if predicted:
        yield _predicted(predicted)
    if diagnostics.regions is not None:
        yield _regions(diagnostics.regions, content.classes)
    if diagnostics.activations:
        yield _histograms("activations", "Activations by layer", diagnostics.activations, ACTIVATIONS_CAPTION)
    if diagnostics.gradients:
        yield _histograms("gradients", "Gradients by layer", diagnostics.gradients, GRADIENTS_CAPTION)
    if diagnostics.weights:
        yield _weights(diagnostics)


def _learning(best: Trial) -> Chart:
    """Draw the training and validation curves of the best trial, one plot for each metric."""
    kinds = list(dict.fromkeys(name.partition("/")[2] for name in best.history))
    kinds = [k for k in kinds if not k.endswith("_std")][:3]
    figure = new_figure(
        360, 1, max(1, len(kinds)), subplot_titles=[plotly_text(k) for k in kinds], horizontal_spacing=0.09
    )
    for column, kind in enumerate(kinds, 1):
        values: list[float] = []
        for part, color in (("train", PALETTE[0]), ("val", PALETTE[1])):
            x, y = thinned_curve(best, f"{part}/{kind}")
            if y:
                values += y
                trace = line(part, color, x, y, legendgroup=part, showlegend=column == 1)
                trace.update(hovertemplate=f"{part}, epoch %{{x}}: %{{y:.4g}}<extra></extra>")
                figure.add_trace(trace, 1, column)
        if values:
            epochs = [best.best_epoch, best.best_epoch]
            mark = line("best epoch", BEST_COLOR, epochs, [min(values), max(values)], legendgroup="best")
            mark.update(line={"dash": "dot", "width": 1.5}, hoverinfo="skip", showlegend=column == 1)
            figure.add_trace(mark, 1, column)
        figure.update_xaxes(title="epoch", row=1, col=column)
        figure.update_yaxes(**metric_layout(values, 5), row=1, col=column)
    figure.update_layout(legend={"y": 1.12})
    caption = f"{best.label}: trained for {best.epochs} epochs; the model has the weights of epoch {best.best_epoch}."
    return Chart("learning", "Learning curves of the best trial", caption, figure)


def _confusion(tables: Sequence[tuple[str, PartPredictions]], classes: Sequence[str]) -> Chart:
    size = min(620, max(300, 130 + 26 * len(classes)))
    titles = [f"{name}: {_correct(fit):,} of {fit.rows:,} correct" for name, fit in tables]
    figure = new_figure(size + 60, 1, len(tables), subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.06)
    numbers = list(range(len(classes)))
    for column, (_, fit) in enumerate(tables, 1):
        shares = [[count / max(1, sum(row)) for count in row] for row in fit.confusion]
        cells = go.Heatmap(
            x=numbers,
            y=numbers,
            z=shares,
            customdata=fit.confusion,
            colorscale=[[0, "#FFFFFF"], [0.02, "#E3EEF7"], [0.3, "#6BAED6"], [1, "#08306B"]],
            zmin=0,
            zmax=1,
            showscale=False,
            hovertemplate="%{y}, predicted as %{x}: %{customdata} rows, %{z:.1%} of the class<extra></extra>",
        )
        if len(classes) <= MAX_COUNTED_CLASSES:
            cells.update(text=[[str(c or "") for c in row] for row in fit.confusion], texttemplate="%{text}")
        figure.add_trace(cells, 1, column)
        at = {"row": 1, "col": column}
        set_category_ticks(figure, classes, "x", **at)
        set_category_ticks(figure, classes, "y", **at)
        figure.update_xaxes(title="predicted", **at)
        figure.update_yaxes(title="true" if column == 1 else "", autorange="reversed", **at)
    caption = (
        "Rows are true classes, columns are predicted classes, and the shade is the share of the true class. "
        "Predictions on the diagonal are correct."
    )
    confused = _most_confused(*tables[-1], classes)
    return Chart("confusion", "Confusion matrix", f"{caption} {confused}".strip(), figure)


def _correct(fit: PartPredictions) -> int:
    return sum(row[number] for number, row in enumerate(fit.confusion))


def _most_confused(part: str, fit: PartPredictions, classes: Sequence[str]) -> str:
    """Return a sentence on the most frequent error; empty if no error occurs more than once."""
    wrong = [(count, t, p) for t, row in enumerate(fit.confusion) for p, count in enumerate(row) if p != t and count]
    count, true, predicted = max(wrong, key=lambda w: w[0], default=(0, 0, 0))
    if count < 2:
        return ""
    error = f"{classes[true]} is predicted as {classes[predicted]}"
    return f"The most frequent error on {part} rows ({count:,} times): {error}."


def _predicted(values: Sequence[tuple[str, PartPredictions]]) -> Chart:
    """Draw predicted against true values, and below them a histogram of the residuals."""
    titles = [f"{name}, {fit.rows:,} rows" for name, fit in values] + ["residuals" for _ in values]
    figure = new_figure(640, 2, len(values), subplot_titles=titles, vertical_spacing=0.16, row_heights=[0.65, 0.35])
    for column, (name, fit) in enumerate(values, 1):
        text = [
            f"true {format_value(t)}<br>predicted {format_value(p)}"
            for t, p in zip(fit.targets, fit.predicted, strict=True)
        ]
        marker = {"size": 4, "opacity": 0.5}
        dots = points("", PALETTE[0], fit.targets, fit.predicted, marker=marker, text=text, hoverinfo="text")
        dots.update(showlegend=False)
        figure.add_trace(dots, 1, column)
        ends = [min(fit.targets), max(fit.targets)]
        figure.add_trace(line("", BEST_COLOR, ends, ends, hoverinfo="skip", showlegend=False), 1, column)
        centers = [(a + b) / 2 for a, b in zip(fit.edges, fit.edges[1:], strict=False)]
        width = fit.edges[1] - fit.edges[0]
        bars = go.Bar(x=centers, y=fit.residuals, width=width, marker={"color": PALETTE[0]}, showlegend=False)
        bars.update(hovertemplate="%{x:.4g}: %{y} rows<extra></extra>")
        figure.add_trace(bars, 2, column)
        figure.update_xaxes(title=f"true ({name})", row=1, col=column)
        figure.update_xaxes(title="predicted − true", row=2, col=column)
        if column == 1:
            figure.update_yaxes(title="predicted", row=1, col=column)
            figure.update_yaxes(title="rows", row=2, col=column)
    caption = (
        "Predictions on the line are exact. Residuals that are not symmetric around 0, or whose spread grows, show "
        "structure that the model has not learned."
    )
    if any(len(f.targets) < f.rows for _, f in values):
        shown = max(len(f.targets) for _, f in values)
        caption += f" The chart shows {shown:,} rows, taken at equal distances."
    return Chart("predicted", "Predicted and true values", caption, figure)


def _regions(regions: DecisionRegions, classes: Sequence[str]) -> Chart:
    figure = new_figure(520)
    x_title, y_title = (plotly_text(name) for name in regions.features)
    if classes:
        colors = [PALETTE[n % len(PALETTE)] for n in range(len(classes))]
        steps = [[edge, color] for n, color in enumerate(colors) for edge in (n / len(classes), (n + 1) / len(classes))]
        field = go.Heatmap(
            x=regions.x, y=regions.y, z=regions.predicted, zmin=-0.5, zmax=len(classes) - 0.5, opacity=0.35
        )
        labels = [[plotly_text(classes[int(v)]) for v in row] for row in regions.predicted]
        field.update(colorscale=steps, showscale=False, text=labels, customdata=regions.probability)
        field.update(hovertemplate="%{text}, probability %{customdata:.0%}<extra></extra>")
        figure.add_trace(field)
        for n, name in enumerate(classes):
            rows = [d for d in regions.training_rows if int(d[2]) == n]
            marker = {"size": 5, "opacity": 0.9, "line": {"width": 0.5, "color": "white"}}
            x, y = [d[0] for d in rows], [d[1] for d in rows]
            figure.add_trace(points(plotly_text(name), colors[n], x, y, marker=marker, hoverinfo="name"))
    else:
        field = go.Heatmap(x=regions.x, y=regions.y, z=regions.predicted, colorscale="Viridis", opacity=0.8)
        field.update(hovertemplate="%{z:.4g}<extra></extra>")
        figure.add_trace(field)
        text = [format_value(d[2]) for d in regions.training_rows]
        x, y = [d[0] for d in regions.training_rows], [d[1] for d in regions.training_rows]
        dots = points("training rows", TEXT_COLOR, x, y, marker={"size": 4, "opacity": 0.7}, text=text)
        figure.add_trace(dots.update(hoverinfo="text", showlegend=False))
    figure.update_xaxes(title=x_title, showgrid=False, range=[regions.x[0], regions.x[-1]])
    figure.update_yaxes(title=y_title, showgrid=False, range=[regions.y[0], regions.y[-1]])
    shading = "Predicted class" if classes else "Predicted value"
    return Chart("regions", "Decision regions", f"{shading} by features; the dots are training rows.", figure)


def _histograms(name: str, title: str, spreads: Sequence[LayerHistogram], caption: str) -> Chart:
    """Draw a histogram for each layer."""
    layers = spreads[:MAX_LAYERS]
    columns = min(HISTOGRAM_COLUMNS, len(layers))
    rows = -(-len(layers) // columns)
    titles = [plotly_text(s.layer) for s in layers]
    figure = new_figure(60 + 210 * rows, rows, columns, subplot_titles=titles, vertical_spacing=0.44 / (rows + 1))
    for number, s in enumerate(layers):
        centers = [(a + b) / 2 for a, b in zip(s.edges, s.edges[1:], strict=False)]
        width = s.edges[1] - s.edges[0]
        bars = go.Bar(x=centers, y=s.counts, width=width, marker={"color": PALETTE[2 * (name == "gradients")]})
        bars.update(showlegend=False, hovertemplate="%{x:.3g}: %{y}<extra></extra>")
        at = {"row": number // columns + 1, "col": number % columns + 1}
        figure.add_trace(bars, **at)
        moments = f"mean {s.mean:.2g}, standard deviation {s.deviation:.2g}"
        figure.update_xaxes(title={"text": moments, "standoff": 4, "font": {"size": 11}}, nticks=5, **at)
        figure.update_yaxes(nticks=4, **at)
    figure.update_layout(bargap=0)
    note = f" The chart shows the first {MAX_LAYERS} of {len(spreads)} layers." if len(spreads) > MAX_LAYERS else ""
    return Chart(name, title, caption + note, figure)


def _weights(diagnostics: Diagnostics) -> Chart:
    """Draw the mean magnitude of each layer's weights, and the share of weights near zero."""
    layers = diagnostics.weights[: 2 * MAX_LAYERS]
    titles = ["mean |w|", "share of |w| ≤ 0.01"]
    figure = new_figure(140 + 28 * len(layers), 1, 2, subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.06)
    sizes = [w.total / max(1, w.size) for w in layers]
    shares = [w.little / max(1, w.size) for w in layers]
    for column, (values, labels, color) in enumerate(
        [(sizes, [f"{v:.3g}" for v in sizes], PALETTE[0]), (shares, [f"{v:.1%}" for v in shares], PALETTE[4])], 1
    ):
        bars = go.Bar(
            x=values,
            y=list(range(len(layers))),
            orientation="h",
            text=labels,
            textposition="outside",
            marker={"color": color},
        )
        bars.update(showlegend=False, hoverinfo="skip", cliponaxis=False)
        figure.add_trace(bars, 1, column)
    figure.update_xaxes(tickformat=".0%", range=[0, 1], row=1, col=2)
    set_category_ticks(figure, [w.layer for w in layers])
    figure.update_yaxes(autorange="reversed")
    total, count = sum(w.total for w in diagnostics.weights), sum(w.size for w in diagnostics.weights)
    zero, little = sum(w.zero for w in diagnostics.weights), sum(w.little for w in diagnostics.weights)
    caption = (
        f"{count:,} weights without biases, Σ|W| {total:,.4g}; {little:,} have a magnitude of at most 0.01, "
        f"{zero:,} of at most 0.0001."
    )
    return Chart("weights", "Weights", caption, figure)

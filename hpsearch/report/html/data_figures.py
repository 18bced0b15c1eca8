"""The chart of the learning curve by data: the metric by the number of training rows."""

from collections.abc import Iterator

from hpsearch.report.html import axes as chart_axes
from hpsearch.report.html.axes import plotly_text
from hpsearch.report.html.content import ReportContent
from hpsearch.report.html.figures import PALETTE, Chart, line, new_figure, points
from hpsearch.search.statistics.data_curve import data_curve


def data_charts(content: ReportContent) -> Iterator[Chart]:
    """Yield the chart, if the study varies the number of training rows."""
    curve = data_curve(content.spec, content.trials)
    if curve is None:
        return
    figure = new_figure()
    x = [rows for rows, values in curve.values.items() for _ in values]
    y = [value for values in curve.values.values() for value in values]
    metric = plotly_text(curve.metric)
    figure.add_trace(points("trials", PALETTE[0], x, y, hovertemplate="%{x:,} rows: %{y:.4g}<extra></extra>"))
    figure.add_trace(line("median", PALETTE[1], list(curve.medians), list(curve.medians.values()), hoverinfo="skip"))
    sizes = list(curve.values)
    ticks = {"tickvals": sizes, "ticktext": [f"{rows:,}" for rows in sizes]} if len(sizes) <= 8 else {}
    figure.update_xaxes(title="training rows", type="log", **ticks)
    figure.update_yaxes(title=metric, **chart_axes.metric_layout(y, 5))
    caption = f"{curve.metric} of complete trials by the number of training rows. {curve.sentence}"
    yield Chart("data", "Learning curve by data", caption, figure)

"""Charts of the search: stages, history, parameter importance, the parameters themselves, epochs and time."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, islice, product
from math import isfinite, log10

import plotly.graph_objects as go

from hpsearch.core.space import Axis
from hpsearch.core.text import format_duration, format_value
from hpsearch.report.html import axes as chart_axes
from hpsearch.report.html.axes import plotly_text
from hpsearch.report.html.content import ReportContent
from hpsearch.report.html.figures import (
    BEST_COLOR,
    COLOR_SCALE,
    PALE_COLOR,
    PALETTE,
    TEXT_COLOR,
    Chart,
    hover_text,
    line,
    new_figure,
    points,
    set_category_ticks,
    stage_color,
    thinned_curve,
)
from hpsearch.report.tables import format_parameters, point_letters, renewed_boxes
from hpsearch.search.confirm import CONFIDENCE, Finalist
from hpsearch.search.importance import MIN_BEST
from hpsearch.storage.records import Trial

MAX_PARAMETERS = 12  # in a chart
MAX_CURVES = 10
MAX_EPOCH_BINS = 50
STATE_MARKERS = {"complete": {}, "pruned": {"symbol": "circle-open", "opacity": 0.6}}
PRUNED_NOTE = " A pruned trial is drawn at its best value before pruning."
STRIP_GAP = 50  # pixels between the strips of two parameters
BOX_SPREAD = 0.7  # height of the bars of all renewed boxes of a stage, in rows


def search_charts(content: ReportContent) -> Iterator[Chart]:
    """Yield the charts of the search for which data are available, in the order of the page."""
    drawn = [t for t in content.trials if t.state in STATE_MARKERS and _has_value(t)]
    complete = [t for t in drawn if t.state == "complete"]
    axes = content.axes[:MAX_PARAMETERS]
    if content.summary.finalists and complete:
        yield _confirmed(content)
    if axes:
        yield _stages(content, axes)
    if complete:
        yield _history(content)
    if content.importance:
        yield _importance(content)
    if axes and len(drawn) > 1:
        yield _parallel(content, axes, drawn)
        yield _slices(content, axes, drawn)
    if complete:
        yield _curves(content)
    if any(t.epochs for t in content.trials):
        yield _epochs(content)
        yield _epoch_budget(content)
        yield _time(content)


def _has_value(trial: Trial) -> bool:
    """Return whether the trial has a value; if the metric is the number of epochs, a pruned trial has none."""
    return trial.value is not None and isfinite(trial.value)


def _numbers(content: ReportContent) -> dict[str, int]:
    """Return the number of each trial in the whole study, from 1, by its label."""
    return {t.label: n for n, t in enumerate(content.trials, 1)}


def _metric(content: ReportContent) -> str:
    return plotly_text(content.spec.metric.name)


def _parameter_text(trial: Trial, axis: Axis) -> str:
    return f"{hover_text(trial)}<br>{plotly_text(axis.name)} {plotly_text(format_value(trial.point[axis.name]))}"


def _value_text(content: ReportContent, trial: Trial) -> str:
    return f"{_metric(content)} {format_value(trial.value or 0.0)}"


def _stages(content: ReportContent, axes: Sequence[Axis]) -> Chart:
    """Draw a strip for each parameter with a row for each stage that searches."""
    summary, spec = content.summary, content.spec
    searching = [s.name for s, _ in zip(spec.stages, summary.boxes, strict=False) if not s.confirms]
    height = 90 + (STRIP_GAP + 26 * len(searching)) * len(axes)
    figure = new_figure(height, rows=len(axes), vertical_spacing=STRIP_GAP / (height - 90) if len(axes) > 1 else 0)
    best = summary.champion
    for number, axis in enumerate(axes, 1):
        for row, stage in enumerate(searching):
            for trace in _stage_traces(content, axis, stage, row):
                figure.add_trace(trace, number, 1)
        if best is not None and axis.key in best.internal_params:
            row = searching.index(best.stage) if best.stage in searching else len(searching) - 1
            at = [chart_axes.coordinate(axis, best.internal_params[axis.key])]
            star = {"symbol": "star", "size": 13, "opacity": 1.0, "color": BEST_COLOR}
            text = [_parameter_text(best, axis)]
            trace = points("best", BEST_COLOR, at, [row], marker=star, text=text, hoverinfo="text")
            figure.add_trace(trace.update(showlegend=number == 1), number, 1)
        title = {"text": chart_axes.axis_title(axis), "standoff": 4}
        figure.update_xaxes(title=title, **chart_axes.axis_layout(axis), row=number, col=1)
        ticks = {"tickvals": list(range(len(searching))), "ticktext": [plotly_text(name) for name in searching]}
        figure.update_yaxes(range=[len(searching) - 0.5, -0.5], showgrid=False, **ticks, row=number, col=1)
    caption = (
        "Each strip is a parameter on its sampling scale: the thin line is its full range, the bar is the range the "
        "stage searched (if renewed, one bar each, from top to bottom), dots are trials, the star is the best trial."
    )
    return Chart("stages", "Stages", caption, figure)


def _stage_traces(content: ReportContent, axis: Axis, stage: str, row: int) -> Iterator[go.Scatter]:
    """Yield the full range, the searched range and the trials of one stage along one parameter."""
    names = content.spec.stage_names
    number = names.index(stage)
    full = [chart_axes.coordinate(axis, end) for end in (axis.low, axis.high)] if axis.zoomable else [0, axis.high]
    yield _bar(full, row, PALE_COLOR, 3, "")
    renewed = renewed_boxes(content.summary.trials[number]) if axis.zoomable else []
    for place, (first, box) in enumerate(renewed or [(0, content.summary.boxes[number])]):
        low, high = box[axis.key] if axis.zoomable else full
        height = row + BOX_SPREAD * ((place + 0.5) / max(1, len(renewed)) - 0.5)  # the first on top
        label = f"{plotly_text(stage)}{f', from trial {first}' * bool(renewed)}: {_bounds(axis, low, high)}"
        width = max(1, 12 // len(renewed)) if renewed else 15
        yield _bar(chart_axes.visible_bounds(axis, low, high), height, stage_color(names, stage), width, label)
    trials = [t for t in content.summary.trials[number] if axis.key in t.internal_params]
    at = [chart_axes.coordinate(axis, t.internal_params[axis.key]) for t in trials]
    rows = [row + chart_axes.jitter(t.number) for t in trials]
    marker = {"size": 4, "opacity": 0.8, "color": TEXT_COLOR}
    text = [_parameter_text(t, axis) for t in trials]
    yield points("", TEXT_COLOR, at, rows, marker=marker, text=text, hoverinfo="text", showlegend=False)


def _bar(bounds: Sequence[float], row: float, color: str, width: int, text: str) -> go.Scatter:
    hover = {"hoverinfo": "text", "text": [text, text]} if text else {"hoverinfo": "skip"}
    style = {"line": {"color": color, "width": width}, "opacity": 0.45 if text else 1.0}
    return go.Scatter(x=list(bounds), y=[row, row], mode="lines", showlegend=False, **style, **hover)


def _bounds(axis: Axis, low: float, high: float) -> str:
    if not axis.zoomable:
        return ", ".join(plotly_text(format_value(choice)) for choice in axis.choices)
    bounds = [axis.to_value(low), axis.to_value(high)]
    return " … ".join(plotly_text(format_value(bound)) for bound in (reversed(bounds) if axis.complement else bounds))


def _history(content: ReportContent) -> Chart:
    """Draw the value of every trial, and the best value so far."""
    spec, numbers = content.spec, _numbers(content)
    names, sign = spec.stage_names, spec.metric.sign
    figure = new_figure()
    drawn = [t for t in content.trials if t.state in STATE_MARKERS and _has_value(t)]
    for name, (state, marker) in product(names, STATE_MARKERS.items()):
        trials = [t for t in drawn if t.stage == name and t.state == state]
        if trials:
            text = [f"{hover_text(t)}<br>{_value_text(content, t)}" for t in trials]
            x, y = [numbers[t.label] for t in trials], [t.value or 0.0 for t in trials]
            color = stage_color(names, name)
            figure.add_trace(points(_legend(name, state), color, x, y, marker=marker, text=text, hoverinfo="text"))
    complete = [t for t in drawn if t.state == "complete"]
    best = [sign * v for v in accumulate((sign * (t.value or 0.0) for t in complete), min)]
    figure.add_trace(line("best so far", TEXT_COLOR, [numbers[t.label] for t in complete], best, hoverinfo="skip"))
    figure.update_traces(line_shape="hv", selector={"name": "best so far"})
    figure.update_xaxes(title="trial")
    figure.update_yaxes(title=_metric(content), **chart_axes.metric_layout([t.value or 0.0 for t in drawn]))
    missing = sum(t.state != "running" for t in content.trials) - len(drawn)
    caption = f"All trials in the order in which they were sampled.{_pruned_note(drawn)}"
    caption += f" {missing:,} trials without a value are not shown." if missing else ""
    return Chart("history", "History", caption, figure)


def _legend(stage: str, state: str) -> str:
    return plotly_text(stage) if state == "complete" else f"{plotly_text(stage)}, {state}"


def _pruned_note(trials: Sequence[Trial]) -> str:
    return PRUNED_NOTE if any(t.state == "pruned" for t in trials) else ""


def _importance(content: ReportContent) -> Chart:
    shares = list(reversed(list(content.importance.items())[: 2 * MAX_PARAMETERS]))
    figure = new_figure(110 + 26 * len(shares))
    figure.add_trace(
        go.Bar(
            x=[share for _, share in shares],
            y=list(range(len(shares))),
            orientation="h",
            marker={"color": PALETTE[0]},
            text=[f"{share:.0%}" for _, share in shares],
            textposition="outside",
            hoverinfo="skip",
            showlegend=False,
        )
    )
    figure.update_xaxes(title="share", tickformat=".0%", range=[0, 1.12 * max(share for _, share in shares)])
    set_category_ticks(figure, [name for name, _ in shares])
    caption = (
        f"How much each parameter distinguishes the best tenth of all trials (at least {MIN_BEST}) from the others: "
        "PED-ANOVA, Watanabe et al. 2023. Importance is relative to the searched ranges."
    )
    return Chart("importance", "Parameter importance", caption, figure)


def _parallel(content: ReportContent, axes: Sequence[Axis], trials: Sequence[Trial]) -> Chart:
    """Draw each trial as a line through all parameters.

    Trials with inactive parameters are left out; if they are the majority, these parameters are left out instead.
    """
    fully_active = [t for t in trials if all(a.key in t.internal_params for a in axes)]
    drawn = fully_active if 2 * len(fully_active) >= len(trials) else list(trials)
    active = [a for a in axes if all(a.key in t.internal_params for t in drawn)]
    values = [t.value or 0.0 for t in drawn]
    dimensions = []
    for axis in active:
        along = [chart_axes.coordinate(axis, t.internal_params[axis.key]) for t in drawn]
        dimensions.append(_dimension(chart_axes.axis_title(axis), chart_axes.axis_layout(axis), along))
    dimensions.append(_dimension(_metric(content), chart_axes.metric_layout(values), values))
    colors = dimensions[-1]["values"]  # logarithms if the metric's axis is logarithmic
    figure = new_figure(420)
    figure.add_trace(
        go.Parcoords(
            dimensions=dimensions,
            line={"color": colors, "colorscale": COLOR_SCALE, "reversescale": content.spec.metric.sign < 0},
            labelfont={"size": 12},
            tickfont={"size": 11},
            rangefont={"size": 10, "color": "rgba(0,0,0,0)"},
        )
    )
    figure.update_layout(margin={"l": 80, "r": 60, "t": 60, "b": 24})
    caption = f"Darker lines are better trials. Drag along an axis to select a range.{_pruned_note(drawn)}"
    left_out = len(trials) - len(drawn)
    caption += f" {left_out:,} trials with an inactive parameter are left out." if left_out else ""
    inactive = [a.name for a in axes if a not in active]
    caption += f" Parameters that are inactive in some trials are left out: {', '.join(inactive)}." if inactive else ""
    return Chart("parallel", "Parallel coordinates", caption, figure)


def _dimension(title: str, layout: dict[str, object], values: Sequence[float]) -> dict[str, object]:
    """Return an axis of parallel coordinates, which have no log scale: exponents, with the values as tick labels."""
    dimension: dict[str, object] = {"label": title, "values": list(values)}
    logarithmic = layout.get("type") == "log"
    if logarithmic:
        dimension["values"] = [log10(v) for v in values]
    if "tickvals" in layout:
        ticks = layout["tickvals"]
        assert isinstance(ticks, list)
        dimension |= {"tickvals": [log10(v) for v in ticks] if logarithmic else ticks, "ticktext": layout["ticktext"]}
    if "range" in layout:
        dimension["range"] = layout["range"]  # exponents already if logarithmic
    return dimension


def _slices(content: ReportContent, axes: Sequence[Axis], trials: Sequence[Trial]) -> Chart:
    """Draw the metric along each parameter."""
    columns = min(3, len(axes))
    rows = -(-len(axes) // columns)
    names = content.spec.stage_names
    figure = new_figure(70 + 260 * rows, rows, columns, shared_yaxes=True, vertical_spacing=0.36 / (rows + 0.5))
    value_layout = chart_axes.metric_layout([t.value or 0.0 for t in trials])
    for number, axis in enumerate(axes):
        at = {"row": number // columns + 1, "col": number % columns + 1}
        for name, state in product(names, STATE_MARKERS):
            selected = [t for t in trials if (t.stage, t.state) == (name, state) and axis.key in t.internal_params]
            if not selected:
                continue
            x = [chart_axes.jittered_coordinate(axis, t.internal_params[axis.key], t.number) for t in selected]
            text = [f"{_parameter_text(t, axis)}<br>{_value_text(content, t)}" for t in selected]
            legend, color = _legend(name, state), stage_color(names, name)
            first = not any(trace.name == legend for trace in figure.data)
            dots = points(legend, color, x, [t.value or 0.0 for t in selected], text=text, hoverinfo="text")
            dots.update(legendgroup=legend, showlegend=first, marker=STATE_MARKERS[state])
            figure.add_trace(dots, **at)
        title = {"text": chart_axes.axis_title(axis), "standoff": 4}
        figure.update_xaxes(title=title, **chart_axes.axis_layout(axis), **at)
        figure.update_yaxes(**value_layout, **at)
        if at["col"] == 1:
            figure.update_yaxes(title=_metric(content), **at)
    caption = f"The metric along each parameter, on the parameter's sampling scale.{_pruned_note(trials)}"
    return Chart("slices", "Slices", caption, figure)


def _curves(content: ReportContent) -> Chart:
    """Draw the learning curves of the best trials."""
    figure, metric = new_figure(), content.spec.metric.monitored
    values: list[float] = []
    for number, t in enumerate(content.summary.ranking[:MAX_CURVES]):
        x, y = thinned_curve(t, metric)
        values += y
        trace = line(f"{plotly_text(t.label)}", PALETTE[number % len(PALETTE)], x, y)
        trace.update(line_width=1.3 if number else 3, opacity=0.75 if number else 1.0)
        trace.update(hovertemplate=f"{plotly_text(t.label)}<br>epoch %{{x}}: %{{y:.4g}}<extra></extra>")
        figure.add_trace(trace)
    figure.update_xaxes(title="epoch")
    figure.update_yaxes(title=plotly_text(metric), **chart_axes.metric_layout(values, 5))
    figure.update_layout(legend={"orientation": "v", "x": 1.01, "xanchor": "left", "y": 1, "yanchor": "top"})
    caption = f"{metric} by epoch; the thick line is the best trial."
    return Chart("curves", "Learning curves of the best trials", caption, figure)


def _epochs(content: ReportContent) -> Chart:
    """Draw a histogram of the epochs that trials were trained."""
    allowed = content.spec.train.epochs
    bins = min(allowed, MAX_EPOCH_BINS)
    figure = new_figure()
    for state, color in (("complete", PALETTE[0]), ("pruned", PALETTE[1]), ("diverged", BEST_COLOR)):
        trained = [t.epochs for t in content.trials if t.state == state and t.copied_from is None]
        if trained:
            counts = [0] * bins
            for epochs in trained:
                counts[min(bins - 1, max(0, (2 * epochs - 1) * bins // (2 * allowed)))] += 1
            x = [(n + 0.5) * allowed / bins + 0.5 for n in range(bins)]
            figure.add_trace(go.Bar(x=x, y=counts, width=allowed / bins, name=state, marker={"color": color}))
    figure.update_layout(barmode="stack", bargap=0)
    figure.update_traces(marker_line={"width": 0.5, "color": "white"}, hovertemplate="%{y} trials<extra></extra>")
    figure.update_xaxes(title=f"epochs trained, of {allowed:,} allowed", range=[0, allowed + 1])
    figure.update_yaxes(title="trials")
    caption = " ".join(content.epoch_usage()) or "Number of epochs that trials were trained."
    return Chart("epochs", "Epochs per trial", caption, figure)


def _epoch_budget(content: ReportContent) -> Chart:
    """Draw how the allowed epochs of each stage were used."""
    allowed = content.spec.train.epochs
    names = [s.name for s, _ in zip(content.spec.stages, content.summary.trials, strict=False)]
    parts: dict[str, list[int]] = {}
    for trials in content.summary.trials:
        own = [t for t in trials if t.copied_from is None]
        unused = {s: sum(allowed - t.epochs for t in own if t.state == s) for s in ("complete", "pruned", "diverged")}
        for part, epochs in (
            ("trained", sum(t.epochs for t in own if t.state in unused)),
            ("early stopping saved", unused["complete"]),
            ("pruning saved, at most", unused["pruned"]),
            ("lost to divergence", unused["diverged"]),
        ):
            parts.setdefault(part, []).append(epochs)
    figure = new_figure(130 + 40 * len(names))
    for (part, counts), color in zip(parts.items(), (PALETTE[0], PALETTE[4], PALETTE[1], PALE_COLOR), strict=True):
        if any(counts):
            bar = go.Bar(x=counts, y=list(range(len(names))), orientation="h", name=part, marker={"color": color})
            figure.add_trace(bar.update(hovertemplate=f"{part}: %{{x:,}} epochs<extra></extra>"))
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title="epochs")
    set_category_ticks(figure, names)
    figure.update_yaxes(autorange="reversed")
    caption = "Allowed epochs of the trials of each stage, by use."
    return Chart("saved", "Epoch budget by stage", caption, figure)


def _time(content: ReportContent) -> Chart:
    """Draw the training time of each trial that was trained in this study."""
    numbers, names = _numbers(content), content.spec.stage_names
    figure, trained = new_figure(), [t for t in content.trials if t.seconds > 0 and t.copied_from is None]
    for name in names:
        trials = [t for t in trained if t.stage == name]
        if trials:
            text = [f"{t.seconds:.3g} s, {t.epochs} epochs<br>{plotly_text(format_parameters(t))}" for t in trials]
            text = [f"{hover_text(t)}<br>{tip}" for t, tip in zip(trials, text, strict=True)]
            x, y = [numbers[t.label] for t in trials], [t.seconds for t in trials]
            figure.add_trace(points(plotly_text(name), stage_color(names, name), x, y, text=text, hoverinfo="text"))
    figure.update_xaxes(title="trial")
    figure.update_yaxes(title="seconds", **chart_axes.metric_layout([t.seconds for t in trained]))
    total = format_duration(sum(t.seconds for t in trained))
    caption = f"Training took {total} on one core. Trials that were trained in one batch share its time equally."
    return Chart("time", "Training time by trial", caption, figure)


def _confirmed(content: ReportContent) -> Chart:
    """Draw the confirmed points: each seed, and the mean with its confidence interval."""
    finalists = content.summary.finalists
    figure = new_figure(120 + 46 * len(finalists))
    letters = list(islice(point_letters(), len(finalists)))
    for row, (letter, f) in enumerate(zip(letters, finalists, strict=True)):
        figure.add_traces(_finalist(letter, f, row))
    figure.update_xaxes(title=_metric(content))
    ticks = {"tickvals": list(range(len(finalists))), "ticktext": letters}
    figure.update_yaxes(range=[len(finalists) - 0.5, -0.5], showgrid=False, **ticks)
    named = zip(letters, finalists, strict=True)
    parameters = "; ".join(f"{letter}: {format_parameters(f.trials[0])}" for letter, f in named)
    caption = f"Means over seeds with {CONFIDENCE:.0%} confidence intervals; pale dots are single seeds. {parameters}."
    return Chart("confirmed", "Confirmed points", caption, figure)


def _finalist(letter: str, f: Finalist, row: int) -> list[go.Scatter]:
    color = PALETTE[row % len(PALETTE)]
    trials = [t for t in f.trials if _has_value(t)]
    values, text = [t.value or 0.0 for t in trials], [hover_text(t) for t in trials]
    seeds = points("", color, values, [row] * len(values), text=text, hoverinfo="text+x", showlegend=False)
    seeds.update(marker_opacity=0.35)
    if not isfinite(f.mean):
        return [seeds]
    half = f.half_width if isfinite(f.half_width) else 0.0
    label = f"{letter}: {f.mean:.4g} ± {half:.2g}"
    mean = points("", color, [f.mean], [row], text=[label], hoverinfo="text", showlegend=False)
    mean.update(marker={"size": 11, "opacity": 1.0}, error_x={"type": "data", "array": [half], "thickness": 2.5})
    return [seeds, mean]

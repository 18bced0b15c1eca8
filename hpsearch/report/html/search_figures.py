"""The pictures of a search: its stages, its history, what mattered, what it cost."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, islice, product
from math import isfinite, log10

import plotly.graph_objects as go

from hpsearch.core.space import Axis
from hpsearch.core.text import format_duration, format_value
from hpsearch.report.html import axes as scales
from hpsearch.report.html.axes import safe
from hpsearch.report.html.content import Story
from hpsearch.report.html.figures import (
    BEST,
    COLORS,
    INK,
    PALE,
    SCALE,
    Picture,
    color,
    dotted,
    figure,
    hover,
    lined,
    lined_up,
)
from hpsearch.report.tables import format_parameters, point_letters
from hpsearch.search.confirm import CONFIDENCE, Finalist
from hpsearch.search.importance import FEWEST
from hpsearch.storage.records import Trial, checked_every

MOST = 12  # parameters in a picture
CURVES = 10
POINTS = 300  # of a curve
LOOKS = {"complete": {}, "pruned": {"symbol": "circle-open", "opacity": 0.6}}
PRUNED = " A pruned trial stands at the best that it had come to."
STRIP = 50  # pixels between two strips


def pictures(story: Story) -> Iterator[Picture]:
    """Those that the study has something to show for, in the order in which they are told."""
    shown = [r for r in story.trials if r.state in ("complete", "pruned") and _known(r)]
    trials = [r for r in shown if r.state == "complete"]
    axes = story.axes[:MOST]
    if story.found.finalists and trials:
        yield _confirmed(story)
    if axes:
        yield _stages(story, axes)
    if trials:
        yield _history(story)
    if story.importance:
        yield _importance(story)
    if axes and len(shown) > 1:
        yield _parallel(story, axes, shown)
        yield _slices(story, axes, shown)
    if trials:
        yield _curves(story)
    if any(r.epochs for r in story.trials):
        yield _epochs(story)
        yield _saved(story)
        yield _time(story)


def _known(record: Trial) -> bool:
    """Whether it has a value: a pruned trial has none of the epochs that it would have taken."""
    return record.value is not None and isfinite(record.value)


def _numbers(story: Story) -> dict[str, int]:
    """Label → a trial's number in the whole study, from 1."""
    return {r.label: n for n, r in enumerate(story.trials, 1)}


def _metric(story: Story) -> str:
    return safe(story.spec.metric.name)


def _stages(story: Story, axes: Sequence[Axis]) -> Picture:
    """A strip for each parameter, a line in it for each stage: how it zooms in."""
    found, spec = story.found, story.spec
    begun = [s for s, _ in zip(spec.stages, found.boxes, strict=False) if not s.confirms]
    names = [s.name for s in spec.stages]
    height = 90 + (STRIP + 26 * len(begun)) * len(axes)
    made = figure(height, rows=len(axes), vertical_spacing=STRIP / (height - 90) if len(axes) > 1 else 0)
    best = found.champion
    for row, axis in enumerate(axes, 1):
        for line, stage in enumerate(begun):
            place = names.index(stage.name)
            whole = [scales.place(axis, end) for end in (axis.low, axis.high)] if axis.zoomable else [0, axis.high]
            low, high = found.boxes[place][axis.key] if axis.zoomable else whole
            shade = color(names, stage.name)
            made.add_trace(_band(whole, line, PALE, 3, ""), row, 1)
            label = f"{safe(stage.name)}: {_ends(axis, low, high)}"
            made.add_trace(_band(scales.wide(axis, low, high), line, shade, 15, label), row, 1)
            inside = [r for r in found.records[place] if axis.key in r.internal_params]
            at = [scales.place(axis, r.internal_params[axis.key]) for r in inside]
            lines = [line + scales.aside(r.number) for r in inside]
            text = [f"{hover(r)}<br>{safe(axis.name)} {safe(format_value(r.point[axis.name]))}" for r in inside]
            look = {"size": 4, "opacity": 0.8, "color": INK}
            made.add_trace(
                dotted("", INK, at, lines, marker=look, text=text, hoverinfo="text", showlegend=False),
                row,
                1,
            )
        if best is not None and axis.key in best.internal_params:
            line = next((n for n, s in enumerate(begun) if s.name == best.stage), len(begun) - 1)
            at = [scales.place(axis, best.internal_params[axis.key])]
            look = {"symbol": "star", "size": 13, "opacity": 1.0, "color": BEST}
            text = [f"{hover(best)}<br>{safe(axis.name)} {safe(format_value(best.point[axis.name]))}"]
            made.add_trace(
                dotted("best", BEST, at, [line], marker=look, text=text, hoverinfo="text", showlegend=row == 1),
                row,
                1,
            )
        made.update_xaxes(title={"text": scales.title(axis), "standoff": 4}, **scales.drawn(axis), row=row, col=1)
        ticks = {"tickvals": list(range(len(begun))), "ticktext": [safe(s.name) for s in begun]}
        made.update_yaxes(range=[len(begun) - 0.5, -0.5], showgrid=False, **ticks, row=row, col=1)
    caption = (
        "Each strip is a parameter on the scale on which it was sampled; the thin line is its whole range, the bar "
        "what a stage searched of it, the dots its trials, the star the best one."
    )
    return Picture("stages", "Stages", caption, made)


def _band(ends: Sequence[float], line: int, shade: str, width: int, text: str) -> go.Scatter:
    style = {"color": shade, "width": width}
    opacity = 1.0 if not text else 0.45
    hovering = {"hoverinfo": "text", "text": [text, text]} if text else {"hoverinfo": "skip"}
    return go.Scatter(
        x=list(ends), y=[line, line], mode="lines", line=style, opacity=opacity, showlegend=False, **hovering
    )


def _ends(axis: Axis, low: float, high: float) -> str:
    if not axis.zoomable:
        return ", ".join(safe(format_value(choice)) for choice in axis.choices)
    ends = [axis.to_value(low), axis.to_value(high)]
    return " … ".join(safe(format_value(end)) for end in (reversed(ends) if axis.complement else ends))


def _history(story: Story) -> Picture:
    """The value of every trial, and the best so far."""
    spec, numbers = story.spec, _numbers(story)
    names, sign = [s.name for s in spec.stages], spec.metric.sign
    made = figure()
    shown = [r for r in story.trials if r.state in ("complete", "pruned") and _known(r)]
    for name in names:
        for state, look in LOOKS.items():
            of_it = [r for r in shown if r.stage == name and r.state == state]
            if of_it:
                words = safe(name) if state == "complete" else f"{safe(name)}, pruned"
                text = [f"{hover(r)}<br>{_metric(story)} {format_value(r.value or 0.0)}" for r in of_it]
                x, y = [numbers[r.label] for r in of_it], [r.value or 0.0 for r in of_it]
                made.add_trace(dotted(words, color(names, name), x, y, marker=look, text=text, hoverinfo="text"))
    complete = [r for r in shown if r.state == "complete"]
    so_far = [sign * v for v in accumulate((sign * (r.value or 0.0) for r in complete), min)]
    made.add_trace(lined("best so far", INK, [numbers[r.label] for r in complete], so_far, hoverinfo="skip"))
    made.update_traces(line_shape="hv", selector={"name": "best so far"})
    made.update_xaxes(title="trial")
    made.update_yaxes(title=_metric(story), **scales.values([r.value or 0.0 for r in shown]))
    lost = sum(r.state != "running" for r in story.trials) - len(shown)
    caption = "Every trial in the order in which it was asked."
    caption += PRUNED if any(r.state == "pruned" for r in shown) else ""
    caption += f" {lost:,} without a value are not shown." if lost else ""
    return Picture("history", "History", caption, made)


def _importance(story: Story) -> Picture:
    shares = list(reversed(list(story.importance.items())[: 2 * MOST]))
    made = figure(110 + 26 * len(shares))
    made.add_trace(
        go.Bar(
            x=[share for _, share in shares],
            y=list(range(len(shares))),
            orientation="h",
            marker={"color": COLORS[0]},
            text=[f"{share:.0%}" for _, share in shares],
            textposition="outside",
            hoverinfo="skip",
            showlegend=False,
        )
    )
    made.update_xaxes(title="share", tickformat=".0%", range=[0, 1.12 * max(share for _, share in shares)])
    lined_up(made, [name for name, _ in shares])
    caption = (
        f"By which parameters the best tenth of all trials, the best {FEWEST} at least, stands out from the others "
        "(PED-ANOVA, Watanabe et al. 2023). It says what decided between these ranges, not what a net needs in general."
    )
    return Picture("importance", "What mattered", caption, made)


def _parallel(story: Story, axes: Sequence[Axis], trials: Sequence[Trial]) -> Picture:
    """Trials as lines over all parameters: those at which one does not count are left out, or, being many, it is."""
    whole = [r for r in trials if all(a.key in r.internal_params for a in axes)]
    whole = whole if 2 * len(whole) >= len(trials) else list(trials)
    always = [a for a in axes if all(a.key in r.internal_params for r in whole)]
    values = [r.value or 0.0 for r in whole]
    dimensions = [
        _dimension(scales.title(a), scales.drawn(a), [scales.place(a, r.internal_params[a.key]) for r in whole])
        for a in always
    ]
    dimensions.append(_dimension(_metric(story), scales.values(values), values))
    shown = dimensions[-1]["values"]  # where the metric's axis is logarithmic, its colors are
    made = figure(420)
    made.add_trace(
        go.Parcoords(
            dimensions=dimensions,
            line={"color": shown, "colorscale": SCALE, "reversescale": story.spec.metric.sign < 0},
            labelfont={"size": 12},
            tickfont={"size": 11},
            rangefont={"size": 10, "color": "rgba(0,0,0,0)"},
        )
    )
    made.update_layout(margin={"l": 80, "r": 60, "t": 60, "b": 24})
    caption = "The better the darker. Drag along an axis to keep what runs through that stretch."
    caption += PRUNED if any(r.state == "pruned" for r in whole) else ""
    left = len(trials) - len(whole)
    caption += f" {left:,} are left out, where one of the parameters does not count." if left else ""
    unsteady = [a.name for a in axes if a not in always]
    caption += f" Not drawn, as they do not count everywhere: {', '.join(unsteady)}." if unsteady else ""
    return Picture("parallel", "Parallel coordinates", caption, made)


def _dimension(title: str, axis: dict[str, object], found: Sequence[float]) -> dict[str, object]:
    """Parallel coordinates know no logarithmic axes: exponents, with the numbers as their marks."""

    kept: dict[str, object] = {"label": title, "values": list(found)}
    logarithmic = axis.get("type") == "log"
    if logarithmic:
        kept["values"] = [log10(v) for v in found]
    if "tickvals" in axis:
        ticks = axis["tickvals"]
        assert isinstance(ticks, list)
        kept |= {"tickvals": [log10(v) for v in ticks] if logarithmic else ticks, "ticktext": axis["ticktext"]}
    if "range" in axis:
        kept["range"] = axis["range"]  # of a logarithmic axis exponents already
    return kept


def _slices(story: Story, axes: Sequence[Axis], trials: Sequence[Trial]) -> Picture:
    """The metric along each parameter by itself."""
    columns = min(3, len(axes))
    rows = -(-len(axes) // columns)
    names = [s.name for s in story.spec.stages]
    made = figure(70 + 260 * rows, rows, columns, shared_yaxes=True, vertical_spacing=0.36 / (rows + 0.5))
    values = scales.values([r.value or 0.0 for r in trials])
    for place, axis in enumerate(axes):
        at = {"row": place // columns + 1, "col": place % columns + 1}
        for name, state in product(names, ("complete", "pruned")):
            of_it = [r for r in trials if (r.stage, r.state) == (name, state) and axis.key in r.internal_params]
            if not of_it:
                continue
            words = safe(name) if state == "complete" else f"{safe(name)}, pruned"
            x = [scales.spread(axis, r.internal_params[axis.key], r.number) for r in of_it]
            text = [f"{hover(r)}<br>{safe(axis.name)} {safe(format_value(r.point[axis.name]))}" for r in of_it]
            text = [f"{t}<br>{_metric(story)} {format_value(r.value or 0.0)}" for t, r in zip(text, of_it, strict=True)]
            first = not any(t.name == words for t in made.data)
            dots = dotted(words, color(names, name), x, [r.value or 0.0 for r in of_it], text=text, hoverinfo="text")
            dots.update(legendgroup=words, showlegend=first, marker=LOOKS[state])
            made.add_trace(dots, **at)
        made.update_xaxes(title={"text": scales.title(axis), "standoff": 4}, **scales.drawn(axis), **at)
        made.update_yaxes(**values, **at)
        if at["col"] == 1:
            made.update_yaxes(title=_metric(story), **at)
    caption = "The metric along each parameter, on the scale on which that was sampled."
    caption += PRUNED if any(r.state == "pruned" for r in trials) else ""
    return Picture("slices", "Slices", caption, made)


def _curves(story: Story) -> Picture:
    """Of the best."""
    made, watched = figure(), story.spec.metric.monitored
    seen: list[float] = []
    for place, r in enumerate(story.found.ranking[:CURVES]):
        x, y = curve(r, watched)
        seen += y
        trace = lined(f"{safe(r.label)}", COLORS[place % len(COLORS)], x, y)
        trace.update(line_width=3 if not place else 1.3, opacity=1.0 if not place else 0.75)
        trace.update(hovertemplate=f"{safe(r.label)}<br>epoch %{{x}}: %{{y:.4g}}<extra></extra>")
        made.add_trace(trace)
    made.update_xaxes(title="epoch")
    made.update_yaxes(title=safe(watched), **scales.values(seen, 5))
    made.update_layout(legend={"orientation": "v", "x": 1.01, "xanchor": "left", "y": 1, "yanchor": "top"})
    return Picture("curves", "Curves of the best", f"{watched} by epoch; the best trial has the thick line.", made)


def curve(record: Trial, name: str) -> tuple[list[int], list[float]]:
    """Epochs and values of a trial's curve, thinned, the best epoch kept; what is not finite is left out."""
    values = record.history.get(name, [])
    every = checked_every(record.epochs, record.history)
    step = -(-len(values) // POINTS)
    kept = sorted({*range(0, len(values), max(1, step)), len(values) - 1, record.best_epoch // every - 1})
    kept = [i for i in kept if 0 <= i < len(values) and isfinite(values[i])]
    return [(i + 1) * every for i in kept], [values[i] for i in kept]


def _epochs(story: Story) -> Picture:
    """How long trials trained, of what they were allowed."""
    allowed = story.spec.train.epochs
    bins = min(allowed, 50)
    made = figure()
    for state, shade in (("complete", COLORS[0]), ("pruned", COLORS[1]), ("diverged", BEST)):
        of_it = [r.epochs for r in story.trials if r.state == state and r.copied_from is None]
        if of_it:
            counts = [0] * bins
            for epochs in of_it:
                counts[min(bins - 1, max(0, (2 * epochs - 1) * bins // (2 * allowed)))] += 1
            x = [(n + 0.5) * allowed / bins + 0.5 for n in range(bins)]
            made.add_trace(go.Bar(x=x, y=counts, width=allowed / bins, name=state, marker={"color": shade}))
    made.update_layout(barmode="stack", bargap=0)
    made.update_traces(marker_line={"width": 0.5, "color": "white"}, hovertemplate="%{y} trials<extra></extra>")
    made.update_xaxes(title=f"epochs trained, of {allowed:,} allowed", range=[0, allowed + 1])
    made.update_yaxes(title="trials")
    return Picture(
        "epochs",
        "Early stopping: epochs of those allowed",
        " ".join(story.epochs()) or "How long trials trained.",
        made,
    )


def _saved(story: Story) -> Picture:
    """Where the epochs went that were allowed, stage by stage."""
    allowed = story.spec.train.epochs
    names = [s.name for s, _ in zip(story.spec.stages, story.found.records, strict=False)]
    words = ("trained", "early stopping saved", "pruning saved, at most", "lost to divergence")
    rows: dict[str, list[int]] = {word: [] for word in words}
    for records in story.found.records:
        own = [r for r in records if r.copied_from is None and r.state in ("complete", "pruned", "diverged")]
        rows["trained"].append(sum(r.epochs for r in own))
        rows["early stopping saved"].append(sum(allowed - r.epochs for r in own if r.state == "complete"))
        rows["pruning saved, at most"].append(sum(allowed - r.epochs for r in own if r.state == "pruned"))
        rows["lost to divergence"].append(sum(allowed - r.epochs for r in own if r.state == "diverged"))
    made = figure(130 + 40 * len(names))
    for (word, counts), shade in zip(rows.items(), (COLORS[0], COLORS[4], COLORS[1], PALE), strict=True):
        if any(counts):
            bar = go.Bar(x=counts, y=list(range(len(names))), orientation="h", name=word, marker={"color": shade})
            bar.update(hovertemplate=f"{word}: %{{x:,}} epochs<extra></extra>")
            made.add_trace(bar)
    made.update_layout(barmode="stack")
    made.update_xaxes(title="epochs")
    lined_up(made, names)
    made.update_yaxes(autorange="reversed")
    return Picture("saved", "Where the epochs went", "Of what each stage's trials were allowed.", made)


def _time(story: Story) -> Picture:
    numbers, names = _numbers(story), [s.name for s in story.spec.stages]
    made, shown = figure(), [r for r in story.trials if r.seconds > 0 and r.copied_from is None]
    for name in names:
        of_it = [r for r in shown if r.stage == name]
        if of_it:
            text = [
                f"{hover(r)}<br>{r.seconds:.3g} s, {r.epochs} epochs<br>{safe(format_parameters(r))}" for r in of_it
            ]
            x, y = [numbers[r.label] for r in of_it], [r.seconds for r in of_it]
            made.add_trace(dotted(safe(name), color(names, name), x, y, text=text, hoverinfo="text"))
    made.update_xaxes(title="trial")
    made.update_yaxes(title="seconds", **scales.values([r.seconds for r in shown]))
    words = format_duration(sum(r.seconds for r in shown))
    caption = f"Training took {words} in all, on one core; a trial that trained in company has its share."
    return Picture("time", "Time by trial", caption, made)


def _confirmed(story: Story) -> Picture:
    """The points that were trained again: each seed, and the mean with its interval."""
    finalists = story.found.finalists
    made = figure(120 + 46 * len(finalists))
    letters = list(islice(point_letters(), len(finalists)))
    for place, (letter, f) in enumerate(zip(letters, finalists, strict=True)):
        shade = COLORS[place % len(COLORS)]
        made.add_traces(_finalist(story, letter, f, place, shade))
    made.update_xaxes(title=_metric(story))
    ticks = {"tickvals": list(range(len(finalists))), "ticktext": letters}
    made.update_yaxes(range=[len(finalists) - 0.5, -0.5], showgrid=False, **ticks)
    points = "; ".join(
        f"{letter}: {format_parameters(f.trials[0])}" for letter, f in zip(letters, finalists, strict=True)
    )
    caption = f"Means over seeds with their {CONFIDENCE:.0%} intervals; pale dots are the single seeds. {points}."
    return Picture("confirmed", "Luck or skill", caption, made)


def _finalist(story: Story, letter: str, f: Finalist, place: int, shade: str) -> list[go.Scatter]:
    values = [r.value for r in f.trials if r.value is not None and isfinite(r.value)]
    text = [hover(r) for r in f.trials if r.value is not None and isfinite(r.value)]
    seeds = dotted("", shade, values, [place] * len(values), text=text, hoverinfo="text+x", showlegend=False)
    seeds.update(marker_opacity=0.35)
    if not isfinite(f.mean):
        return [seeds]
    half = f.half if isfinite(f.half) else 0.0
    words = f"{letter}: {f.mean:.4g} ± {half:.2g}"
    mean = dotted("", shade, [f.mean], [place], text=[words], hoverinfo="text", showlegend=False)
    mean.update(marker={"size": 11, "opacity": 1.0}, error_x={"type": "data", "array": [half], "thickness": 2.5})
    return [seeds, mean]

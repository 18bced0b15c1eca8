"""Charts of the search: every number at its position, in a study made by hand and in real studies."""

import math
from math import log10
from typing import Any

import numpy as np
import paths
import pytest

from hpsearch.config.references import search_space
from hpsearch.core.space import value_bounds
from hpsearch.report.html import search_figures
from hpsearch.report.tables import renewed_boxes
from tests.hpsearch import test_cli
from tests.hpsearch.report.html.handmade import (
    COARSE,
    CONTENTS,
    FINE,
    KEYS,
    TITLES,
    TRIALS,
    along,
    axis,
    bars,
    chart,
    darkness,
    figure,
    names,
)
from tests.hpsearch.report.html.report_cases import charts, content_of

call = test_cli.call
REPOSITORY = paths.REPOSITORY


@pytest.mark.parametrize(("name", "best", "line"), [("classes", 7, 1), ("confirmed", 7, 1), ("coarse is best", 1, 0)])
def test_stages(name: str, best: int, line: int) -> None:
    """Boxes and trials are in the row of their stage, on each parameter's scale; confirming stages have no row."""
    stages, choices = (COARSE, FINE), {"tanh": 0, "relu": 1}
    made = figure("stages", name)
    assert [axis(made, t, "x").title.text for t in made.data if t.marker.symbol == "star"] == [
        "1 − beta", "activation", "learning_rate", "hidden_units", "batch_size",
    ]  # fmt: skip
    for place, (key, title) in enumerate(zip(KEYS, TITLES, strict=True)):
        found = along(made, title)
        internal_params = [choices.get(row[2][place], row[2][place]) for row in TRIALS]
        points = [t for t in found if t.mode == "markers"]
        (star,), dots = ([t for t in points if (t.marker.symbol == "star") == s] for s in (True, False))
        assert (tuple(star.x), tuple(star.y)) == ((internal_params[best],), (line,))
        sides = axis(made, star, "y")
        assert tuple(sides.ticktext) == stages and tuple(sides.tickvals) == (0, 1) and sides.range[0] > sides.range[1]
        shown = [(x, stages[round(y)]) for t in dots for x, y in zip(t.x, t.y, strict=True)]
        assert shown == [(raw, row[0]) for raw, row in zip(internal_params, TRIALS, strict=True)]
        assert all(abs(y - round(y)) <= 0.2 for t in dots for y in t.y)
        bands = [t for t in found if t.mode == "lines" and t.hoverinfo == "text"]
        ends = [(0, 1) if key == "activation" else box[key] for box in CONTENTS[name]().summary.boxes[:2]]
        assert [tuple(t.x) for t in bands] == [pytest.approx(e, abs=0.1 if place > 1 else 1e-12) for e in ends]
        assert [tuple(t.y) for t in bands] == [(0, 0), (1, 1)]


def test_history() -> None:
    """Trials are numbered in the whole study, including failed ones; only complete trials count as the best so far."""
    for name, best in (("classes", [0.9, 0.4, 0.4, 0.1, 0.1]), ("maximize", [0.9] * 5)):
        made = figure("history", name)
        dots = {t.name: (tuple(t.x), tuple(t.y)) for t in made.data if t.mode == "markers"}
        assert dots == {
            "coarse": ((1, 2, 5), (0.9, 0.4, 0.6)), "coarse, pruned": ((3,), (2.5,)),
            "fine": ((8, 9), (0.1, 0.3)), "fine, pruned": ((7,), (0.8,)),
        }  # fmt: skip
        assert {axis(made, t, "y").type for t in made.data} == {"log"}
        line = next(t for t in made.data if t.mode == "lines")
        assert line.line.shape == "hv"
        assert list(line.x) == [1, 2, 5, 8, 9] and list(line.y) == best


def test_importance() -> None:
    """The greatest share is on top, where a bar chart has its last bar."""
    made = figure("importance")
    (bar,) = made.data
    want = list(reversed(CONTENTS["classes"]().importance.items()))
    assert list(zip(names(made, bar, "y"), bar.x, strict=True)) == want
    assert list(bar.text) == ["5%", "15%", "25%", "55%"]
    assert list(bar.y) == sorted(bar.y) and axis(made, bar, "y").autorange is None


@pytest.mark.parametrize(("name", "metric"), [("classes", "val/loss"), ("maximize", "val/accuracy")])
def test_parallel(name: str, metric: str) -> None:
    """Each trial is a line through its coordinates; better trials are darker."""
    made = figure("parallel", name)
    (trace,) = made.data
    rows = [row for row in TRIALS if row[3] in ("complete", "pruned")]
    values = {d.label: list(d["values"]) for d in trace.dimensions}
    assert list(values) == ["1 − beta", "activation", "learning_rate", "hidden_units", "batch_size", metric]
    assert values["1 − beta"] == pytest.approx([log10(row[2][1]) for row in rows])
    assert values["learning_rate"] == pytest.approx([log10(row[2][0]) for row in rows])
    assert values["hidden_units"] == [row[2][2] for row in rows]
    assert values["activation"] == [row[2][4] == "relu" for row in rows]
    assert values[metric] == pytest.approx([log10(row[4]) for row in rows]) == list(trace.line.color)
    for dimension in trace.dimensions[:-1]:
        assert dimension.range[0] < min(dimension["values"]) <= max(dimension["values"]) < dimension.range[1]
    first, last = (darkness(shade) for _, shade in (trace.line.colorscale[0], trace.line.colorscale[-1]))
    shades = [darkness(shade) for _, shade in trace.line.colorscale]
    assert shades == sorted(shades, reverse=True) and shades[0] - shades[-1] > 0.5
    assert (first > last) != bool(trace.line.reversescale) if name == "classes" else (first > last)
    assert bool(trace.line.reversescale) == (name == "maximize")


def test_slices() -> None:
    """Each trial's value over its coordinate on the sampling scale: 1 − β; the hover text shows β."""
    made = figure("slices")
    rows = {name: [r for r in TRIALS if r[3] == state and r[0] == stage] for name, stage, state in (
        ("coarse", "coarse", "complete"), ("coarse, pruned", "coarse", "pruned"),
        ("fine", "fine", "complete"), ("fine, pruned", "fine", "pruned"),
    )}  # fmt: skip
    for place, title in enumerate(TITLES):
        found = along(made, title)
        assert [t.name for t in found] == list(rows)
        for t in found:
            assert list(t.y) == [row[4] for row in rows[t.name]]
            internal_params = [row[2][place] for row in rows[t.name]]
            near = [{"tanh": 0, "relu": 1}.get(r, r) for r in internal_params]
            assert list(t.x) == pytest.approx(near, abs=0.2 if place > 1 else 1e-12)
            layout = axis(made, t, "x")
            assert layout.type == ("log" if place < 2 else None)
            ends = [10**end for end in layout.range] if layout.type else layout.range
            assert all(ends[0] < x < ends[1] for x in t.x)
            assert axis(made, t, "y").type == "log"
    (pruned,) = [t for t in along(made, "1 − beta") if t.name == "coarse, pruned"]
    assert "beta 0.98" in pruned.text[0]
    (ticks,) = {axis(made, t, "x").ticktext for t in along(made, "hidden_units")}
    assert tuple(ticks) == ("4", "8")


def test_curves_of_the_best() -> None:
    of, found = CONTENTS["classes"](), list(figure("curves").data)
    assert [t.name for t in found] == ["fine/1", "fine/2", "coarse/1", "coarse/4", "coarse/0"]
    for t in found:
        r = next(r for r in of.trials if r.label == t.name)
        assert list(t.x) == list(range(1, r.epochs + 1)) and list(t.y) == r.history["val/loss"]
    assert max(found, key=lambda t: t.line.width).name == "fine/1"


def test_epochs() -> None:
    """Each trained trial is in the bar of its epochs; trials copied from another study are in none."""
    made = figure("epochs")
    assert made.layout.barmode == "stack"
    found = {t.name: {span: n for span, n in bars(t).items() if n} for t in made.data}
    assert [t.name for t in made.data] == ["complete", "pruned", "diverged"]  # stacked in this order
    assert found == {
        "complete": {(36.5, 38.5): 1, (48.5, 50.5): 1, (98.5, 100.5): 2},
        "pruned": {(0.5, 2.5): 1, (2.5, 4.5): 1},
        "diverged": {(0.5, 2.5): 1},
    }
    assert made.layout.bargap == 0
    assert [bars(t) for t in figure("epochs", "three epochs").data] == [{(0.5, 1.5): 0, (1.5, 2.5): 1, (2.5, 3.5): 1}]


def test_saved() -> None:
    """Epochs trained, and saved by early stopping and by pruning, for each stage."""
    made = figure("saved")
    assert made.layout.barmode == "stack"
    found = {t.name.partition(" saved")[0]: dict(zip(names(made, t, "y"), t.x, strict=True)) for t in made.data}
    assert {word: found[word] for word in ("trained", "early stopping", "pruning")} == {
        "trained": {"coarse": 100 + 37 + 2 + 1, "fine": 3 + 50 + 100},
        "early stopping": {"coarse": 63, "fine": 50},
        "pruning": {"coarse": 98, "fine": 97},
    }
    assert [t.name for t in made.data][:3] == ["trained", "early stopping saved", "pruning saved, at most"]
    assert [t.x[1] for t in made.data][:3] == [153, 50, 97]  # stacked: 0 to 153, to 203, to 300
    assert sum(t.x[0] for t in made.data) in (
        300,
        400,
    )  # remaining epochs of diverged trials are in another bar, or in none
    assert axis(made, made.data[0], "y").autorange == "reversed"  # the first stage on top


def test_time() -> None:
    """Only trials that this study trained have a time."""
    found = {t.name: (tuple(t.x), tuple(t.y)) for t in figure("time").data}
    assert found == {"coarse": ((1, 2, 3, 4), (3.0, 2.0, 0.25, 0.125)), "fine": ((7, 8, 9), (0.5, 1.5, 4.0))}
    assert "11 s" in chart("time").caption


def test_confirmed() -> None:
    """Each point has a row, the best on top, with its seeds and their mean and interval."""
    made = figure("confirmed", "confirmed")
    means = [t for t in made.data if t.error_x.array is not None]
    seeds = [t for t in made.data if t.error_x.array is None]
    assert [(*t.x, *t.y) for t in means] == [(pytest.approx(0.13), 0), (pytest.approx(0.3), 1)]
    assert [(tuple(t.x), tuple(t.y)) for t in seeds] == [((0.12, 0.14), (0, 0)), ((0.35, 0.25), (1, 1))]
    half = 12.7062 / 2 * 0.02  # t · s / √n, where s / √n of two is half their distance
    assert means[0].error_x.array[0] == pytest.approx(half, rel=1e-5)
    assert axis(made, means[0], "y").range[0] > axis(made, means[0], "y").range[1]


def test_the_charts_of_each_study(ran: Any) -> None:
    """A study has exactly the charts that it has data for."""
    search = ["stages", "history", "parallel", "slices", "curves", "epochs", "saved", "time"]
    layers = ["activations", "gradients", "weights"]
    full = list(charts(ran("full")))
    assert full == ["confirmed", *search[:2], "importance", *search[2:], "learning", "confusion", *layers]
    assert list(charts(ran("one point"))) == ["history", *search[4:], "learning", "confusion", *layers]
    values = list(charts(ran("values")))
    assert "predicted" in values and "confusion" not in values and "confirmed" not in values
    assert "regions" in charts(ran("evil")) and "regions" not in full


def test_stages_are_drawn_as_they_were_searched(ran: Any) -> None:
    """Thin lines are full ranges and bars are the boxes of the stages, on each parameter's scale."""
    content = content_of(ran("full"))
    made = charts(ran("full"))["stages"].figure
    axes = content.axes
    assert {a.name for a in axes} == {a.name for a in search_space(content.spec).axes}
    for number, parameter in enumerate(axes, 1):
        side = "x" if number == 1 else f"x{number}"
        layout = made.layout[f"xaxis{'' if number == 1 else number}"]
        assert layout.title.text == (f"1 − {parameter.name}" if parameter.complement else parameter.name)
        assert (layout.type == "log") == parameter.log
        drawn = [t for t in made.data if t.xaxis == side and t.mode == "lines"]
        bars = [t for t in drawn if t.hoverinfo == "text"]
        thin = [t for t in drawn if t.hoverinfo == "skip"]
        renewed = [box for _, box in renewed_boxes(content.summary.trials[1])]
        assert len(thin) == 2 and len(renewed) >= 1  # the confirming stage searches nothing
        boxes = [content.summary.boxes[0], *(renewed if parameter.zoomable else [content.summary.boxes[1]])]
        assert [t.y[0] for t in bars] == sorted(t.y[0] for t in bars), "from top to bottom"
        for bar, box in zip(bars, boxes, strict=True):
            ends = box[parameter.key] if parameter.zoomable else (0, len(parameter.choices) - 1)
            assert tuple(bar.x) == pytest.approx(ends)
            assert min(thin[0].x) <= ends[0] <= ends[1] <= max(thin[0].x)
        dots = [t for t in made.data if t.xaxis == side and t.mode == "markers" and t.marker.symbol is None]
        for records, points in zip(content.summary.trials, dots, strict=False):
            internal_params = [r.internal_params[parameter.key] for r in records]
            assert list(points.x) == [
                parameter.choices.index(r) if not parameter.zoomable else r for r in internal_params
            ]
    zoomed = [a for a in axes if a.zoomable and renewed[0][a.key] != content.summary.boxes[0][a.key]]
    assert zoomed, "the second stage must zoom"
    low, high = value_bounds(next(a for a in axes if a.complement), content.summary.boxes[0])
    assert (low, high) == (0.5, 0.99)


@pytest.mark.parametrize("name", ["full", "maximize", "values"])
def test_history_of_a_study(ran: Any, name: str) -> None:
    """Finished trials with a value are at their numbers, and the line of the best value never gets worse."""
    content = content_of(ran(name))
    made = charts(ran(name))["history"].figure
    trials = [r for each in content.summary.trials for r in each]
    points = {int(x): y for t in made.data if t.mode == "markers" for x, y in zip(t.x, t.y, strict=True)}
    want = {n: r.value for n, r in enumerate(trials, 1) if r.state in ("complete", "pruned")}
    assert points == want
    best = next(t for t in made.data if t.name == "best so far")
    steps = np.diff(best.y) * content.spec.metric.sign
    values = [r.value for r in trials if r.state == "complete" and r.value is not None]
    assert (steps <= 0).all() and best.y[-1] == (min if content.spec.metric.sign > 0 else max)(values)
    pruned = [t for t in made.data if t.marker.symbol == "circle-open"]
    assert bool(pruned) == any(r.state == "pruned" for r in trials)


def test_slices_and_parallel(ran: Any) -> None:
    """Each trial is drawn once on each parameter's scale (1 − β for β); parallel axes have exponents."""
    content = content_of(ran("full"))
    drawn = charts(ran("full"))
    trials = [r for r in content.trials if r.state in ("complete", "pruned")]
    beta = next(a for a in content.axes if a.name == "beta")
    place = content.axes.index(beta) + 1
    side = "x" if place == 1 else f"x{place}"
    shown = [v for t in drawn["slices"].figure.data if t.xaxis == side for v in t.x]
    assert sorted(shown) == pytest.approx(sorted(1 - float(r.point["beta"]) for r in trials))
    assert drawn["slices"].figure.layout[f"xaxis{'' if place == 1 else place}"].type == "log"
    lines = drawn["parallel"].figure.data[0]
    of_beta = next(d for d in lines.dimensions if d.label == "1 − beta")
    assert list(of_beta["values"]) == pytest.approx([math.log10(1 - float(r.point["beta"])) for r in trials])
    assert lines.dimensions[-1].label == "val/loss" and len(lines.line.color) == len(trials)
    assert list(of_beta.ticktext) == [f"{10**v:g}" for v in of_beta.tickvals]


def test_parallel_leaves_out_inactive_parameters(ran: Any) -> None:
    content = content_of(ran("conditional"))
    drawn = charts(ran("conditional"))["parallel"]
    trials = [r for r in content.trials if r.state == "complete"]
    always = {a.name for a in content.axes if all(a.key in r.internal_params for r in trials)}
    assert len(drawn.figure.data[0].line.color) == len(trials) > len(always) > 1
    shown = {d.label.removeprefix("1 − ") for d in drawn.figure.data[0].dimensions} - {"val/loss"}
    assert shown == always and all(a.name in drawn.caption for a in content.axes if a.name not in always)
    some = [r for r in trials if "beta1" in r.point][:9]
    sure = search_figures._parallel(
        content, [a for a in content.axes if a.name == "beta1"], [*some, *trials[:1], trials[-1]]
    )
    assert len(sure.figure.data[0].line.color) in (9, 10, 11) and ("left out" in sure.caption) == (
        sum("beta1" in r.point for r in (trials[0], trials[-1])) < 2
    )


@pytest.mark.parametrize("name", ["full", "conditional", "one point"])
def test_epochs_add_up(ran: Any, name: str) -> None:
    """Epochs trained and saved add up to the epochs allowed; every trial is in one bin."""
    content, drawn = content_of(ran(name)), charts(ran(name))
    counted = [r for r in content.trials if r.copied_from is None and r.state in ("complete", "pruned", "diverged")]
    assert sum(sum(t.y) for t in drawn["epochs"].figure.data) == len(counted)
    bars = drawn["saved"].figure.data
    assert sum(sum(t.x) for t in bars) == content.spec.train.epochs * len(counted)
    assert sum(bars[0].x) == sum(r.epochs for r in counted)


def test_confirmed_points_of_a_study(ran: Any) -> None:
    content = content_of(ran("full"))
    made = charts(ran("full"))["confirmed"].figure
    means = [t for t in made.data if t.error_x.array is not None]
    assert [t.x[0] for t in means] == [f.mean for f in content.summary.finalists if math.isfinite(f.mean)]
    assert [t.error_x.array[0] for t in means] == [
        f.half_width for f in content.summary.finalists if math.isfinite(f.mean)
    ]
    sure = " ".join(content.certainty())
    assert f"{content.summary.finalists[0].mean:.4g}" in sure and "2 seeds" in sure


def test_a_pruned_trial_without_a_value(ran: Any) -> None:
    """If the metric is the number of epochs, a pruned trial has no value and is not drawn."""
    content, drawn = content_of(ran("epochs")), charts(ran("epochs"))
    assert any(r.state == "pruned" and r.value is None for r in content.trials)
    known = [r.value for r in content.trials if r.value is not None and r.state in ("complete", "pruned")]
    assert sorted(drawn["parallel"].figure.data[0].dimensions[-1]["values"]) == sorted(known) and min(known) > 0
    lost = len(content.trials) - len(known)
    assert f"{lost} trials without a value are not shown" in drawn["history"].caption

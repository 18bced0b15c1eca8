"""What the report's pictures show, of a study made by hand: every number at its place, in plotly's figures and in the
page's tables."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from itertools import chain, pairwise
from math import log10
from typing import Any

import cases
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset
from hpsearch.models.diagnostics import Diagnostics, Fit, Regions, Spread, Weights
from hpsearch.report.html import model_figures as champion
from hpsearch.report.html import page
from hpsearch.report.html import search_figures as pictures
from hpsearch.report.html.content import Story
from hpsearch.report.html.figures import Picture
from hpsearch.storage.records import StoredStudy, Trial, with_result
from hpsearch.study.summary import Summary
from hpsearch.training.task import TrialResult

EPOCHS = 100  # twice as many as there are bars
CLASSES = ("setosa", "versicolor", "virginica")
STUDY: dict[str, Any] = {
    "train.epochs": EPOCHS,
    "train.early_stopping": {"patience": 20},
    "parameters.activation": {"values": ["tanh", "relu"]},
    "model.hidden": [{"units": "hidden_units", "activation": "activation"}],
    "stages": [
        {"name": "coarse", "trials": 6, "sampler": "random"},
        {"name": "fine", "trials": 4, "zoom": {"keep_top": 0.5, "margin": 0.2}},
    ],
}
CONFIRMED = {**STUDY, "stages": [*STUDY["stages"], {"name": "confirm", "top": 2, "seeds": 2}]}
COARSE, FINE = "coarse", "fine"

# Stage, number, (learning rate, 1 − β, hidden units, batch size, activation) as sampled, state, value, epochs, the best
# one, seconds, copied_from. The values are far enough apart for a logarithmic axis.
TRIALS: list[tuple[Any, ...]] = [
    (COARSE, 0, (0.01, 0.5, 0, 0, "tanh"), "complete", 0.9, 100, 90, 3.0),
    (COARSE, 1, (0.1, 0.1, 1, 1, "relu"), "complete", 0.4, 37, 22, 2.0),
    (COARSE, 2, (0.5, 0.02, 0, 1, "relu"), "pruned", 2.5, 2, 2, 0.25),
    (COARSE, 3, (0.9, 0.3, 1, 0, "tanh"), "diverged", None, 1, 0, 0.125),
    (COARSE, 4, (0.05, 0.2, 1, 0, "tanh"), "complete", 0.6, 64, 50, 40.0, "old:coarse/7"),
    (COARSE, 5, (0.004, 0.4, 0, 0, "relu"), "failed", None, 0, 0, 0.0),
    (FINE, 0, (0.3, 0.04, 0, 0, "tanh"), "pruned", 0.8, 3, 3, 0.5),
    (FINE, 1, (0.2, 0.05, 1, 0, "relu"), "complete", 0.1, 50, 31, 1.5),
    (FINE, 2, (0.15, 0.06, 1, 1, "tanh"), "complete", 0.3, 100, 77, 4.0),
    (FINE, 3, (0.25, 0.07, 0, 0, "tanh"), "running", None, 0, 0, 0.0),
]
AGAIN: list[tuple[Any, ...]] = [
    ("confirm", 0, TRIALS[7][2], "complete", 0.12, 51, 33, 1.0),
    ("confirm", 1, TRIALS[8][2], "complete", 0.35, 90, 71, 1.0),
    ("confirm", 2, TRIALS[7][2], "complete", 0.14, 52, 34, 1.0),
    ("confirm", 3, TRIALS[8][2], "complete", 0.25, 91, 72, 1.0),
]
KEYS = ("learning_rate", "one_minus_beta", "hidden_units_index", "batch_size_index", "activation")
TITLES = ("learning_rate", "1 − beta", "hidden_units", "batch_size", "activation")
LIMITS = {"one_minus_beta": (0.03, 0.2), "learning_rate": (0.05, 0.6), "hidden_units_index": (1, 1)}

CONFUSION = [[40, 10, 0], [3, 6, 1], [0, 20, 5]]  # true class, then predicted one
LAYERS = Diagnostics(
    val=Fit(25, confusion=[[9, 1, 0], [2, 5, 1], [0, 3, 4]]),
    test=Fit(85, confusion=CONFUSION),
    regions=None,
    activations=[Spread("1 Dense", [5, 1, 4], [0.0, 2.0, 4.0, 6.0], 1.0, 2.0), Spread("2", [7, 9], [-1, 0, 1], 0, 1)],
    gradients=[Spread("1 Dense", [2, 8], [-0.2, 0.0, 0.2], 0.0, 0.1), Spread("2", [6, 3], [-4, 0, 4], 0, 2)],
    weights=[Weights("1 Dense", 30.0, 100, 17, 5), Weights("2 Dense", 24.0, 12, 3, 2)],
)
REGIONS = Regions(
    names=["width", "length"],
    x=[1.0, 2.0, 3.0, 4.0],
    y=[-10.0, 0.0, 10.0],
    said=[[0, 0, 1, 2], [0, 1, 1, 2], [2, 2, 2, 2]],
    sure=[[0.9, 0.8, 0.7, 0.6]] * 3,
    dots=[[1.5, -9.0, 0], [3.5, 8.0, 2], [2.5, 1.0, 1], [3.7, 7.0, 2]],
)
VALUES = Diagnostics(
    val=Fit(4, [], [1.0, 5.0, 2.0, 9.0], [1.5, 4.0, 2.0, 12.0], [1, 1, 2], [-1.0, 0.5, 2.0, 3.5]),
    test=Fit(3, [], [20.0, 30.0, 25.0], [21.0, 36.0, 27.0], [2, 0, 1], [0.0, 2.0, 4.0, 6.0]),
    regions=REGIONS._replace(said=[[0.5, 1.5, 2.5, 3.5], [4.5, 5.5, 6.5, 7.5], [8.5, 9.5, 10.5, 11.5]], sure=[]),
    activations=[],
    gradients=[],
    weights=[],
)


def trial(
    spec: Spec,
    stage: str,
    number: int,
    internal_params: Sequence[Any],
    state: Any,
    value: float | None,
    epochs: int,
    best: int,
    seconds: float,
    copied_from: str | None = None,
) -> Trial:
    """One that came to its value at its best epoch; its four curves differ."""
    name = spec.metric.name
    curve = [(value or 0.0) + spec.metric.sign * 0.001 * abs(epoch - best) for epoch in range(1, epochs + 1)]
    history = {"train/loss": [0.5 * v for v in curve], "val/loss": curve, "train/accuracy": [0.7 * v for v in curve]}
    history["val/accuracy"] = curve if name == "val/accuracy" else [0.6 * v for v in curve]
    asked = dict(zip(KEYS, internal_params, strict=True))
    record = Trial(stage, number, asked, search_space(spec).point(asked), "running", copied_from=copied_from)
    return with_result(record, TrialResult(number, state, value, epochs, best, history, seconds), 0.0)


def story(rows: Sequence[Sequence[Any]] = TRIALS, best: tuple[str, int] = (FINE, 1), **changes: Any) -> Story:
    """The study as it stands after these trials."""
    spec = cases.small(**{**STUDY, **changes})
    trials = [trial(spec, *row) for row in rows]
    records = [found for s in spec.stages if (found := [r for r in trials if r.stage == s.name])]
    whole = search_space(spec).full_box()
    boxes = [whole, whole | LIMITS, whole][: len(records)]
    crown = ("confirm", 0) if len(records) > 2 else best
    crowned = next((r for r in trials if (r.stage, r.number) == crown), None)
    study = StoredStudy("small", "id", spec.model_dump(mode="json"), "0123", "test", 0.0)
    summary = Summary(spec, records, boxes, [0] * len(records), [s.trials for s in spec.stages], crowned)
    dataset = Dataset("", (4,), 3, CLASSES, "0123", (("train", 100), ("val", 25), ("test", 85)))
    important = {"beta": 0.55, "activation": 0.25, "learning_rate": 0.15, "hidden_units": 0.05}
    return Story("small.db", None, study, summary, dataset, LAYERS, important)


def regression() -> Story:
    of = story()
    assert of.dataset is not None
    return of._replace(dataset=replace(of.dataset, classes=(), inputs=(2,)), diagnostics=VALUES)


STORIES: Mapping[str, Callable[[], Story]] = {
    "classes": lambda: story()._replace(diagnostics=LAYERS._replace(regions=REGIONS)),
    "values": regression,
    "confirmed": lambda: story([*TRIALS, *AGAIN], **CONFIRMED),
    "coarse is best": lambda: story(best=(COARSE, 1)),
    "three epochs": lambda: story([TRIALS[2], TRIALS[6]], **{**STUDY, "train.epochs": 3}),
    "maximize": lambda: story(metric={"name": "val/accuracy"}),
}


@cache
def telling(name: str) -> tuple[dict[str, Picture], Iterator[Picture]]:
    """A story's pictures, which nobody changes: those that were made, and the others."""
    of = STORIES[name]()
    return {}, chain(pictures.pictures(of), champion.pictures(of))


def picture(what: str, name: str = "classes") -> Picture:
    made, others = telling(name)
    while what not in made:
        found = next(others)
        made[found.name] = found
    return made[what]


def figure(what: str, name: str = "classes") -> Any:
    return picture(what, name).figure


def every() -> list[Picture]:
    """Of the story of classes, in order."""
    made, others = telling("classes")
    made |= {p.name: p for p in others}
    return list(made.values())


def axis(figure: Any, trace: Any, side: str) -> Any:
    """Of a trace: that of its plot."""
    return figure.layout[f"{side}axis{(trace[f'{side}axis'] or side)[1:]}"]


def along(figure: Any, title: str) -> list[Any]:
    """The traces of the plots whose x axis is called so."""
    return [t for t in figure.data if axis(figure, t, "x").title.text == title]


def names(figure: Any, trace: Any, side: str) -> list[str]:
    """What stands at the places of a trace along an axis with names."""
    layout = axis(figure, trace, side)
    marks = dict(zip(layout.tickvals or (), layout.ticktext or (), strict=True))
    return [marks.get(at, at) for at in trace[side]]


def heading(figure: Any, trace: Any) -> str:
    """What stands over a trace's plot: the note in the middle of it, and nearest above."""
    across, up = axis(figure, trace, "x").domain, axis(figure, trace, "y").domain
    over = [n for n in figure.layout.annotations if across[0] < n.x < across[1] and n.y >= up[1] - 1e-9]
    return str(min(over, key=lambda n: n.y).text)


def bars(trace: Any) -> dict[tuple[float, float], float]:
    """From where to where each bar stands, and how high."""
    found = zip(trace.x, trace.y, strict=True)
    return {(round(x - trace.width / 2, 9), round(x + trace.width / 2, 9)): y for x, y in found}


def darkness(color: Any) -> float:
    """0 is white, 1 is black."""
    return float(1 - np.dot(to_rgb(color[:3] if not isinstance(color, str) else color), (0.2126, 0.7152, 0.0722)))


# Figures of a search.


@pytest.mark.parametrize(("name", "best", "line"), [("classes", 7, 1), ("confirmed", 7, 1), ("coarse is best", 1, 0)])
def test_stages(name: str, best: int, line: int) -> None:
    """Boxes and trials on the line of their stage, the best too, on each axis' own scale; what confirms has no line."""
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
        ends = [(0, 1) if key == "activation" else box[key] for box in STORIES[name]().found.boxes[:2]]
        assert [tuple(t.x) for t in bands] == [pytest.approx(e, abs=0.1 if place > 1 else 1e-12) for e in ends]
        assert [tuple(t.y) for t in bands] == [(0, 0), (1, 1)]


def test_history() -> None:
    """By the number of the trial in the study, the failed ones counted; the best so far is of complete ones."""
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
    """The shares that were given, the greatest on top, where a bar chart's last one is."""
    made = figure("importance")
    (bar,) = made.data
    want = list(reversed(STORIES["classes"]().importance.items()))
    assert list(zip(names(made, bar, "y"), bar.x, strict=True)) == want
    assert list(bar.text) == ["5%", "15%", "25%", "55%"]
    assert list(bar.y) == sorted(bar.y) and axis(made, bar, "y").autorange is None


@pytest.mark.parametrize(("name", "metric"), [("classes", "val/loss"), ("maximize", "val/accuracy")])
def test_parallel(name: str, metric: str) -> None:
    """A trial is one line through all its coordinates; the better, the darker."""
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
    """Each trial's value over its coordinate as it was sampled: 1 − β, and not β, which the hover tells."""
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
    of, found = STORIES["classes"](), list(figure("curves").data)
    assert [t.name for t in found] == ["fine/1", "fine/2", "coarse/1", "coarse/4", "coarse/0"]
    for t in found:
        r = next(r for r in of.trials if r.label == t.name)
        assert list(t.x) == list(range(1, r.epochs + 1)) and list(t.y) == r.history["val/loss"]
    assert max(found, key=lambda t: t.line.width).name == "fine/1"


def test_epochs() -> None:
    """Each trained trial in the bar that stands at its epochs; none that was taken over from another study."""
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
    """By stage: what was trained, what early stopping saved, what pruning did."""
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
    assert sum(t.x[0] for t in made.data) in (300, 400)  # of what diverged the rest is another bar, or none
    assert axis(made, made.data[0], "y").autorange == "reversed"  # the first stage on top


def test_time() -> None:
    """Of trials that this study trained: what a taken-over one took was not its own."""
    found = {t.name: (tuple(t.x), tuple(t.y)) for t in figure("time").data}
    assert found == {"coarse": ((1, 2, 3, 4), (3.0, 2.0, 0.25, 0.125)), "fine": ((7, 8, 9), (0.5, 1.5, 4.0))}
    assert "11 s" in picture("time").caption


def test_confirmed() -> None:
    """A line a point, the best on top: its seeds, and their mean with its interval."""
    made = figure("confirmed", "confirmed")
    means = [t for t in made.data if t.error_x.array is not None]
    seeds = [t for t in made.data if t.error_x.array is None]
    assert [(*t.x, *t.y) for t in means] == [(pytest.approx(0.13), 0), (pytest.approx(0.3), 1)]
    assert [(tuple(t.x), tuple(t.y)) for t in seeds] == [((0.12, 0.14), (0, 0)), ((0.35, 0.25), (1, 1))]
    half = 12.7062 / 2 * 0.02  # t · s / √n, where s / √n of two is half their distance
    assert means[0].error_x.array[0] == pytest.approx(half, rel=1e-5)
    assert axis(made, means[0], "y").range[0] > axis(made, means[0], "y").range[1]


# Figures of the champion.


def test_learning() -> None:
    """The mark is at the epoch whose weights are kept."""
    made, best = figure("learning"), story().found.champion
    assert best is not None and (best.best_epoch, best.epochs) == (31, 50)
    seen = set()
    for t in made.data:
        kind = heading(made, t)
        if t.name in ("train", "val"):
            assert list(t.x) == list(range(1, 51)) and list(t.y) == best.history[f"{t.name}/{kind}"]
        else:
            assert list(t.x) == [31, 31]
            both = [*best.history[f"train/{kind}"], *best.history[f"val/{kind}"]]
            assert list(t.y) == [min(both), max(both)]
        seen.add((t.name, kind))
    assert seen == {(name, kind) for name in ("train", "val", "best epoch") for kind in ("loss", "accuracy")}


def test_confusion() -> None:
    """True classes down, the first on top, predicted ones across; shades are shares of a true class."""
    made = figure("confusion")
    for t, name, table in zip(made.data, ("val", "test"), (LAYERS.val, LAYERS.test), strict=True):
        assert table is not None and heading(made, t).startswith(f"{name}: ")
        assert [list(row) for row in t.customdata] == table.confusion
        assert [[int(word or 0) for word in row] for row in t.text] == table.confusion
        np.testing.assert_allclose(t.z, [[count / sum(row) for count in row] for row in table.confusion])
        assert tuple(names(made, t, "x")) == tuple(names(made, t, "y")) == CLASSES
        dark = [darkness(shade) for _, shade in t.colorscale]
        assert dark == sorted(dark) and dark[0] < 0.01 and dark[-1] > 0.6 and (t.zmin, t.zmax) == (0, 1)
        assert axis(made, t, "x").title.text == "predicted" and axis(made, t, "y").autorange == "reversed"
    assert axis(made, made.data[0], "y").title.text == "true"
    assert "val: 18 of 25" in heading(made, made.data[0]) and "test: 51 of 85" in heading(made, made.data[1])
    assert picture("confusion").caption.endswith("20 times, virginica is taken for versicolor.")


def test_predicted() -> None:
    """Predicted over true, the line where they are the same, and each part's residuals beneath it."""
    made = figure("predicted", "values")
    for name, fit in (("val", VALUES.val), ("test", VALUES.test)):
        assert fit is not None
        dots, line = along(made, f"true ({name})")
        assert (list(dots.x), list(dots.y)) == (fit.truth, fit.predicted)
        assert list(line.x) == list(line.y) == [min(fit.truth), max(fit.truth)]
        assert heading(made, dots).startswith(f"{name}, {fit.rows} rows")
        (below,) = [
            t for t in made.data if t.type == "bar" and axis(made, t, "x").domain == axis(made, dots, "x").domain
        ]
        assert bars(below) == dict(zip(pairwise(fit.edges), fit.residuals, strict=True))


def test_regions() -> None:
    """What is said at each point of the grid, rows in their own class' color."""
    made = figure("regions")
    field, *dots = made.data
    assert (list(field.x), list(field.y)) == (REGIONS.x, REGIONS.y)
    assert [list(row) for row in field.z] == REGIONS.said
    assert [list(row) for row in field.text] == [[CLASSES[int(n)] for n in row] for row in REGIONS.said]
    assert {t.name: list(zip(t.x, t.y, strict=True)) for t in dots} == {
        "setosa": [(1.5, -9.0)], "versicolor": [(2.5, 1.0)], "virginica": [(3.5, 8.0), (3.7, 7.0)],
    }  # fmt: skip
    assert axis(made, field, "x").title.text == "width" and axis(made, field, "y").title.text == "length"
    assert list(axis(made, field, "x").range) == [1, 4] and list(axis(made, field, "y").range) == [-10, 10]
    for number, t in enumerate(dots):  # the steps of the scale within which the class lies
        share = (number - field.zmin) / (field.zmax - field.zmin)
        below = [shade for at, shade in field.colorscale if at < share][-1]
        above = next(shade for at, shade in field.colorscale if at > share)
        assert below == above == t.marker.color
    assert len({t.marker.color for t in dots}) == 3


def test_regions_of_values() -> None:
    seen = VALUES.regions
    assert seen is not None
    field, dots = figure("regions", "values").data
    assert (list(field.x), list(field.y), [list(row) for row in field.z]) == (seen.x, seen.y, seen.said)
    assert list(zip(dots.x, dots.y, map(float, dots.text), strict=True)) == [tuple(d) for d in seen.dots]


@pytest.mark.parametrize(("name", "spreads"), [("activations", LAYERS.activations), ("gradients", LAYERS.gradients)])
def test_spreads(name: str, spreads: Sequence[Spread]) -> None:
    """A layer's own histogram under its name."""
    made = figure(name)
    for t, spread in zip(made.data, spreads, strict=True):
        assert heading(made, t) == spread.layer
        assert bars(t) == dict(zip(pairwise(spread.edges), spread.counts, strict=True))


def test_weights() -> None:
    """Of each layer, the first on top: the mean |w| = Σ|w| / n, and the share of those at most 0.01."""
    made = figure("weights")
    found = {heading(made, t): dict(zip(names(made, t, "y"), t.x, strict=True)) for t in made.data}
    assert list(found.values()) == [{"1 Dense": 0.3, "2 Dense": 2.0}, {"1 Dense": 0.17, "2 Dense": 0.25}]
    assert ["mean" in words for words in found] == [True, False] and "0.01" in list(found)[1]
    assert all(names(made, t, "y") == ["1 Dense", "2 Dense"] for t in made.data)
    assert axis(made, made.data[0], "y").autorange == "reversed"
    for words in ("112 weights", "Σ|W| 54", "20 are at most 0.01", "7 at most 0.0001"):
        assert words in picture("weights").caption


# The page.


class Read(HTMLParser):
    """The tables of a page, a cell its text and its number; and its other texts with the tag that they stand in."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[tuple[str, float | None]]]] = []
        self.words: list[tuple[str, str]] = []
        self.plots: list[str] = []
        self._tag = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag, given = tag, dict(attrs)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            number = given.get("data-v")
            self.tables[-1][-1].append(("", None if number is None else float(number)))
        if given.get("data-figure"):
            self.plots.append(given["data-figure"] or "")

    def handle_data(self, data: str) -> None:
        if self._tag in ("td", "th", "strong", "button") and self.tables and self.tables[-1] and self.tables[-1][-1]:
            text, number = self.tables[-1][-1][-1]
            self.tables[-1][-1][-1] = (text + data.strip(), number)
        if data.strip():
            self.words.append((self._tag, data.strip()))

    def table(self, first: str) -> list[list[tuple[str, float | None]]]:
        """The one whose first cell is that."""
        return next(t for t in self.tables if t[0][0][0] == first)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Read]]:
    """A story, pictures of its search and its champion → the page, without plotly itself: that takes half a second."""
    monkeypatch.setattr(page, "_plotly", lambda: "")
    yield lambda of, *pictures: Read(page.page(of, *(pictures or ([], []))))


def test_the_table_of_trials(read: Callable[..., Read]) -> None:
    """Every number under its own heading, in full for sorting; nothing where there is none."""
    heads, *rows = read(story()).table("trial")
    names = [text for text, _ in heads]
    assert names == [
        "trial", "state", "val/loss", "learning_rate", "beta", "hidden_units", "batch_size", "activation", "epochs",
        "best epoch", "seconds", "val/accuracy",
    ]  # fmt: skip
    assert len(rows) == len(TRIALS)
    for row, (stage, number, internal_params, state, value, epochs, best, seconds, *_) in zip(
        rows, TRIALS, strict=True
    ):
        cells = dict(zip(names, row, strict=True))
        assert [cells[n][0] for n in ("trial", "state", "activation")] == [
            f"{stage}/{number}",
            state,
            internal_params[4],
        ]
        want = {
            "val/loss": value, "learning_rate": internal_params[0], "beta": 1 - internal_params[1],
            "hidden_units": (4, 8)[internal_params[2]], "batch_size": (16, 32)[internal_params[3]],
            "epochs": epochs, "best epoch": best or None, "seconds": seconds,
            "val/accuracy": 0.6 * value if value else None,
        }  # fmt: skip
        for name, number in want.items():
            text, sorts = cells[name]
            assert sorts == (None if number is None else pytest.approx(number)), (name, row)
            assert text == "–" if number is None else float(text) == pytest.approx(number, rel=1e-3), (name, row)
        assert [cells[n][1] for n in ("trial", "state", "activation")] == [None] * 3


def test_the_answer(read: Callable[..., Read]) -> None:
    """The champion's scores and parameters, each beside its name; the time that was its own study's."""
    of = story()
    best = of.found.champion
    assert best is not None
    tests = {"test/loss": 0.17, "test/accuracy": 0.9}
    best = best._replace(metrics={**best.metrics, **tests})
    seen = read(of._replace(found=of.found._replace(champion=best)))
    pairs = [(a[1], float(b[1])) for a, b in pairwise(seen.words) if (a[0], b[0]) == ("span", "strong")]
    assert dict(pairs) == {"val/loss": 0.1, "val/accuracy": 0.06, **tests} and pairs[0][0] == "val/loss"
    found = {row[0][0]: [cell[0] for cell in row[1:]] for row in seen.table("parameter")[1:]}
    assert {name: value for name, (value, _) in found.items()} == {
        "learning_rate": "0.2", "beta": "0.95", "hidden_units": "8", "batch_size": "16", "activation": "relu",
        "l2": "0.0001",
    }  # fmt: skip
    words = ("0.5", "0.99", "0.001", "tanh")
    ends = {name: [word for word in words if word in where] for name, (_, where) in found.items()}
    assert (ends["beta"], ends["learning_rate"], ends["activation"]) == (["0.5", "0.99"], ["0.001"], ["tanh"])
    facts = {row[0][0]: row[1][0] for row in seen.table("study")}
    assert facts["training"].startswith("11") and facts["fingerprint of the data"] == "0123"


def test_each_picture_under_its_own_title(read: Callable[..., Read]) -> None:
    """In the order in which they are told, the best's after the search's."""
    want = every()
    place = [p.name for p in want].index("learning")
    seen = read(story(), want[:place], want[place:])
    assert seen.plots == [p.name for p in want]
    assert [text for tag, text in seen.words if tag == "figcaption"] == [p.caption for p in want]
    titles = [text for tag, text in seen.words if tag == "h3"]
    assert [t for t in titles if t in {p.title for p in want}] == [p.title for p in want]
    loaded = next(json.loads(text) for tag, text in seen.words if tag == "script" and text.startswith("{"))
    assert loaded == {p.name: json.loads(p.figure.to_json()) for p in want}

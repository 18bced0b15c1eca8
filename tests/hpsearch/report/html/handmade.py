"""Studies made by hand for the tests of charts and pages, and functions that read a plotly figure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain
from typing import Any

import cases
import numpy as np
from matplotlib.colors import to_rgb

from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset
from hpsearch.models.diagnostics import DecisionRegions, Diagnostics, LayerHistogram, LayerWeights, PartPredictions
from hpsearch.report.html.content import ReportContent
from hpsearch.report.html.figures import Chart
from hpsearch.report.html.model_figures import model_charts
from hpsearch.report.html.search_figures import search_charts
from hpsearch.storage.records import StoredStudy, Trial, with_result
from hpsearch.study.summary import Summary
from hpsearch.training.task import TrialResult

EPOCHS = 100  # two for each bar
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

CONFUSION = [[40, 10, 0], [3, 6, 1], [0, 20, 5]]  # [true class][predicted class]
LAYERS = Diagnostics(
    val=PartPredictions(25, confusion=[[9, 1, 0], [2, 5, 1], [0, 3, 4]]),
    test=PartPredictions(85, confusion=CONFUSION),
    regions=None,
    activations=[
        LayerHistogram("1 Dense", [5, 1, 4], [0.0, 2.0, 4.0, 6.0], 1.0, 2.0),
        LayerHistogram("2", [7, 9], [-1, 0, 1], 0, 1),
    ],
    gradients=[
        LayerHistogram("1 Dense", [2, 8], [-0.2, 0.0, 0.2], 0.0, 0.1),
        LayerHistogram("2", [6, 3], [-4, 0, 4], 0, 2),
    ],
    weights=[LayerWeights("1 Dense", 30.0, 100, 17, 5), LayerWeights("2 Dense", 24.0, 12, 3, 2)],
)
REGIONS = DecisionRegions(
    features=["width", "length"],
    x=[1.0, 2.0, 3.0, 4.0],
    y=[-10.0, 0.0, 10.0],
    predicted=[[0, 0, 1, 2], [0, 1, 1, 2], [2, 2, 2, 2]],
    probability=[[0.9, 0.8, 0.7, 0.6]] * 3,
    training_rows=[[1.5, -9.0, 0], [3.5, 8.0, 2], [2.5, 1.0, 1], [3.7, 7.0, 2]],
)
VALUES = Diagnostics(
    val=PartPredictions(4, [], [1.0, 5.0, 2.0, 9.0], [1.5, 4.0, 2.0, 12.0], [1, 1, 2], [-1.0, 0.5, 2.0, 3.5]),
    test=PartPredictions(3, [], [20.0, 30.0, 25.0], [21.0, 36.0, 27.0], [2, 0, 1], [0.0, 2.0, 4.0, 6.0]),
    regions=REGIONS._replace(
        predicted=[[0.5, 1.5, 2.5, 3.5], [4.5, 5.5, 6.5, 7.5], [8.5, 9.5, 10.5, 11.5]], probability=[]
    ),
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
    """Return a trial with its value at its best epoch and four different curves."""
    name = spec.metric.name
    curve = [(value or 0.0) + spec.metric.sign * 0.001 * abs(epoch - best) for epoch in range(1, epochs + 1)]
    history = {"train/loss": [0.5 * v for v in curve], "val/loss": curve, "train/accuracy": [0.7 * v for v in curve]}
    history["val/accuracy"] = curve if name == "val/accuracy" else [0.6 * v for v in curve]
    asked = dict(zip(KEYS, internal_params, strict=True))
    record = Trial(stage, number, asked, search_space(spec).point(asked), "running", copied_from=copied_from)
    return with_result(record, TrialResult(number, state, value, epochs, best, history, seconds), 0.0)


def handmade_content(
    rows: Sequence[Sequence[Any]] = TRIALS, best: tuple[str, int] = (FINE, 1), **changes: Any
) -> ReportContent:
    """Return the content of a report on a study with these trials."""
    spec = cases.small(**{**STUDY, **changes})
    trials = [trial(spec, *row) for row in rows]
    records = [found for s in spec.stages if (found := [r for r in trials if r.stage == s.name])]
    space = search_space(spec)
    full = space.full_box()
    boxes = [full, full | LIMITS, full][: len(records)]
    key = ("confirm", 0) if len(records) > 2 else best
    champion = next((r for r in trials if (r.stage, r.number) == key), None)
    study = StoredStudy("small", "id", spec.model_dump(mode="json"), "0123", "test", 0.0, "hash")
    summary = Summary(spec, space, records, boxes, [0] * len(records), [s.trials for s in spec.stages], champion)
    dataset = Dataset("", (4,), 3, CLASSES, "0123", (("train", 100), ("val", 25), ("test", 85)))
    importance = {"beta": 0.55, "activation": 0.25, "learning_rate": 0.15, "hidden_units": 0.05}
    return ReportContent("small.db", None, study, summary, dataset, LAYERS, importance)


def regression() -> ReportContent:
    of = handmade_content()
    assert of.dataset is not None
    return of._replace(dataset=replace(of.dataset, classes=(), inputs=(2,)), diagnostics=VALUES)


CONTENTS: Mapping[str, Callable[[], ReportContent]] = {
    "classes": lambda: handmade_content()._replace(diagnostics=LAYERS._replace(regions=REGIONS)),
    "values": regression,
    "confirmed": lambda: handmade_content([*TRIALS, *AGAIN], **CONFIRMED),
    "coarse is best": lambda: handmade_content(best=(COARSE, 1)),
    "three epochs": lambda: handmade_content([TRIALS[2], TRIALS[6]], **{**STUDY, "train.epochs": 3}),
    "maximize": lambda: handmade_content(metric={"name": "val/accuracy"}),
}


@cache
def charts_of(name: str) -> tuple[dict[str, Chart], Iterator[Chart]]:
    """Return the charts of a study that have been made, and an iterator over the others."""
    of = CONTENTS[name]()
    return {}, chain(search_charts(of), model_charts(of))


def chart(key: str, name: str = "classes") -> Chart:
    made, others = charts_of(name)
    while key not in made:
        found = next(others)
        made[found.name] = found
    return made[key]


def figure(key: str, name: str = "classes") -> Any:
    return chart(key, name).figure


def all_charts() -> list[Chart]:
    """Return all charts of the study named `classes`."""
    made, others = charts_of("classes")
    made |= {p.name: p for p in others}
    return list(made.values())


def axis(figure: Any, trace: Any, side: str) -> Any:
    """Return the layout of a trace's x or y axis."""
    return figure.layout[f"{side}axis{(trace[f'{side}axis'] or side)[1:]}"]


def along(figure: Any, title: str) -> list[Any]:
    """Return the traces of the plots whose x axis has this title."""
    return [t for t in figure.data if axis(figure, t, "x").title.text == title]


def names(figure: Any, trace: Any, side: str) -> list[str]:
    """Return the tick labels at a trace's coordinates."""
    layout = axis(figure, trace, side)
    marks = dict(zip(layout.tickvals or (), layout.ticktext or (), strict=True))
    return [marks.get(at, at) for at in trace[side]]


def heading(figure: Any, trace: Any) -> str:
    """Return the subplot title of a trace: the nearest annotation above the middle of its plot."""
    across, up = axis(figure, trace, "x").domain, axis(figure, trace, "y").domain
    over = [n for n in figure.layout.annotations if across[0] < n.x < across[1] and n.y >= up[1] - 1e-9]
    return str(min(over, key=lambda n: n.y).text)


def bars(trace: Any) -> dict[tuple[float, float], float]:
    """Return the height of each bar by its left and right end."""
    found = zip(trace.x, trace.y, strict=True)
    return {(round(x - trace.width / 2, 9), round(x + trace.width / 2, 9)): y for x, y in found}


def darkness(color: Any) -> float:
    """Return the darkness of a color: 0 is white, 1 is black."""
    return float(1 - np.dot(to_rgb(color[:3] if not isinstance(color, str) else color), (0.2126, 0.7152, 0.0722)))

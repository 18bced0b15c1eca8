"""Charts of the best model: every number at its position."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import paths
import pytest

from hpsearch.models.diagnostics import LayerHistogram
from tests.hpsearch import test_cli
from tests.hpsearch.report.html.handmade import (
    CLASSES,
    LAYERS,
    REGIONS,
    VALUES,
    along,
    axis,
    bars,
    chart,
    darkness,
    figure,
    handmade_content,
    heading,
    names,
)
from tests.hpsearch.report.html.report_cases import charts, content_of

call = test_cli.call
REPOSITORY = paths.REPOSITORY


def test_learning() -> None:
    """The mark is at the best epoch, whose weights the model has."""
    made, best = figure("learning"), handmade_content().summary.champion
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
    """Rows are true classes from top to bottom, columns are predicted classes, shades are shares of the true class."""
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
    assert chart("confusion").caption.endswith("test rows (20 times): virginica is predicted as versicolor.")


def test_predicted() -> None:
    """Predicted over true values with the line of equality, above the histogram of residuals."""
    made = figure("predicted", "values")
    for name, fit in (("val", VALUES.val), ("test", VALUES.test)):
        assert fit is not None
        dots, line = along(made, f"true ({name})")
        assert (list(dots.x), list(dots.y)) == (fit.targets, fit.predicted)
        assert list(line.x) == list(line.y) == [min(fit.targets), max(fit.targets)]
        assert heading(made, dots).startswith(f"{name}, {fit.rows} rows")
        (below,) = [
            t for t in made.data if t.type == "bar" and axis(made, t, "x").domain == axis(made, dots, "x").domain
        ]
        assert bars(below) == dict(zip(pairwise(fit.edges), fit.residuals, strict=True))


def test_regions() -> None:
    """The predicted class at each grid point, and training rows in the color of their class."""
    made = figure("regions")
    field, *dots = made.data
    assert (list(field.x), list(field.y)) == (REGIONS.x, REGIONS.y)
    assert [list(row) for row in field.z] == REGIONS.predicted
    assert [list(row) for row in field.text] == [[CLASSES[int(n)] for n in row] for row in REGIONS.predicted]
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
    assert (list(field.x), list(field.y), [list(row) for row in field.z]) == (seen.x, seen.y, seen.predicted)
    assert list(zip(dots.x, dots.y, map(float, dots.text), strict=True)) == [tuple(d) for d in seen.training_rows]


@pytest.mark.parametrize(("name", "spreads"), [("activations", LAYERS.activations), ("gradients", LAYERS.gradients)])
def test_histograms(name: str, spreads: Sequence[LayerHistogram]) -> None:
    """Each layer's histogram is below its name."""
    made = figure(name)
    for t, spread in zip(made.data, spreads, strict=True):
        assert heading(made, t) == spread.layer
        assert bars(t) == dict(zip(pairwise(spread.edges), spread.counts, strict=True))


def test_weights() -> None:
    """Mean |w| = Σ|w| / n and share of |w| ≤ 0.01 of each layer, the first on top."""
    made = figure("weights")
    found = {heading(made, t): dict(zip(names(made, t, "y"), t.x, strict=True)) for t in made.data}
    assert list(found.values()) == [{"1 Dense": 0.3, "2 Dense": 2.0}, {"1 Dense": 0.17, "2 Dense": 0.25}]
    assert ["mean" in words for words in found] == [True, False] and "0.01" in list(found)[1]
    assert all(names(made, t, "y") == ["1 Dense", "2 Dense"] for t in made.data)
    assert axis(made, made.data[0], "y").autorange == "reversed"
    for words in ("112 weights", "Σ|W| 54", "20 have a magnitude of at most 0.01", "7 of at most 0.0001"):
        assert words in chart("weights").caption


def test_confusion_and_curves(ran: Any) -> None:
    content, drawn = content_of(ran("full")), charts(ran("full"))
    assert (
        content.diagnostics is not None
        and content.diagnostics.test is not None
        and content.summary.champion is not None
    )
    table = drawn["confusion"].figure.data[1]
    np.testing.assert_array_equal(np.array(table.customdata), content.diagnostics.test.confusion)
    best = content.summary.champion
    rows = np.array(content.diagnostics.test.confusion)
    assert np.trace(rows) / rows.sum() == pytest.approx(best.metrics["test/accuracy"], abs=1e-6)
    curve = next(t for t in drawn["learning"].figure.data if t.name == "val")
    assert list(curve.y) == best.history["val/loss"] and list(curve.x) == list(range(1, best.epochs + 1))
    thick = [t for t in drawn["curves"].figure.data if t.line.width == 3]
    assert [t.name for t in thick] == [best.label]


def test_classes_with_equal_short_names(ran: Any) -> None:
    """Each class has its own row and column."""
    made = charts(ran("names"))["confusion"].figure
    assert [list(t.x) for t in made.data] == [[0, 1, 2], [0, 1, 2]] == [list(t.y) for t in made.data]
    assert len(content_of(ran("names")).classes) == 3 and len(made.layout.xaxis.ticktext) == 3

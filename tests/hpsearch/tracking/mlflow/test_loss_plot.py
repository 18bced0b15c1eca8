"""Plots of losses: their curves, ticks and texts, read back from the picture."""

import itertools
import math
from xml.etree import ElementTree

import pytest

from hpsearch.storage.records import Trial
from hpsearch.tracking.mlflow.loss_plot import BOTTOM, LEFT, MAX_TICKS, RIGHT, TOP, epoch_ticks, loss_plot, loss_ticks
from tests.hpsearch.tracking.mlflow.mlflow_cases import STATES, trial

SVG = "{http://www.w3.org/2000/svg}"


def parts(of: Trial, tag: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(loss_plot(of)).findall(f"{SVG}{tag}")


def drawn(of: Trial) -> list[list[tuple[float, float]]]:
    """Return the points of each curve, in pixels."""
    return [
        [(float(x), float(y)) for x, y in (pair.split(",") for pair in curve.attrib["points"].split())]
        for curve in parts(of, "polyline")
    ]


def test_curves() -> None:
    """A point for each epoch, evenly spaced, with equal distances for equal ratios of the loss."""
    curves = {"train/loss": [1.0, 0.1, 0.01, 0.001], "val/loss": [1.0, 0.1, 0.01, 0.1]}
    train, val = drawn(trial(1, "complete", epochs=4, best_epoch=3, history=curves))
    width = (RIGHT - LEFT) / 4
    assert [x for x, _ in train] == pytest.approx([LEFT + width * epoch for epoch in (1, 2, 3, 4)])
    heights = [y for _, y in train]
    steps = [b - a for a, b in itertools.pairwise(heights)]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.11)
    assert TOP < heights[0] < heights[3] < BOTTOM
    assert val[3][1] == val[1][1]


def test_best_epoch_and_texts() -> None:
    best = trial(1, "complete", epochs=4, best_epoch=3, history={"val/loss": [4.0, 3.0, 2.0, 3.0]})
    (marked,) = [line for line in parts(best, "line") if "stroke-dasharray" in line.attrib]
    assert float(marked.attrib["x1"]) == drawn(best)[0][2][0]
    texts = [text.text for text in parts(best._replace(stage="<a & b>"), "text")]
    assert {"<a & b>/1", "epoch", "loss", "val/loss", "best, epoch 3", "2"} <= set(texts)


@pytest.mark.parametrize(
    "values", [[], [0.5], [0.5] * 3, [math.nan, math.inf, 0.5], [0.0, -1.0], [1e-300, 1e300], [1.0, 1.0 + 1e-12]]
)
def test_any_values(values: list[float]) -> None:
    """Values that a log scale cannot show are left out; everything else lies within the axes."""
    for_trial = trial(1, "complete", epochs=max(1, len(values)), best_epoch=1, history={"val/loss": values})
    (curve,) = drawn(for_trial)
    assert len(curve) == sum(math.isfinite(value) and value > 0 for value in values)
    assert all(LEFT <= x <= RIGHT and TOP <= y <= BOTTOM for x, y in curve)
    assert drawn(STATES[0])


def test_ticks() -> None:
    assert epoch_ticks(1) == [0, 1] and epoch_ticks(50) == [0, 10, 20, 30, 40, 50]
    assert all(2 <= len(epoch_ticks(last)) <= MAX_TICKS for last in range(1, 2000))
    assert loss_ticks(-1.1, 0.1) == pytest.approx([0.1, 0.2, 0.5, 1.0])
    assert loss_ticks(-4.5, 1.5) == pytest.approx([1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0])
    for low, high in ((-0.1, -0.05), (-300, 300), (0.0, 1e-9), (-2.0, 3.0)):
        ticks = loss_ticks(low, high)
        assert 2 <= len(ticks) <= MAX_TICKS and all(low <= math.log10(tick) <= high for tick in ticks)

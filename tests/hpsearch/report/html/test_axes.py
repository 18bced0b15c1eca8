"""Axes of charts: ticks, log scales and bars that would be too narrow."""

import paths
import pytest

from hpsearch.core.space import Axis
from hpsearch.report.html import axes as chart_axes
from tests.hpsearch import test_cli

call = test_cli.call
REPOSITORY = paths.REPOSITORY


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(1e-4, 1.0, ["0.0001", "0.001", "0.01", "0.1", "1"]), (16, 256, ["20", "50", "100", "200"]), (3, 4, ["3", "4"])],
)
def test_ticks_of_a_log_axis(low: float, high: float, ticks: list[str]) -> None:
    found = chart_axes.axis_layout(Axis("a", "a", low, high, log=True))
    assert found["ticktext"] == ticks and found["type"] == "log"
    assert 10 ** found["range"][0] < low < high < 10 ** found["range"][1]


@pytest.mark.parametrize(
    ("values", "log"),
    [([0.1, 5.0], True), ([0.1, 0.2], False), ([0.0, 5.0], False), ([-1.0, 5.0], False), ([0.1], False), ([], False)],
)
def test_a_wide_range_of_values_has_a_log_axis(values: list[float], log: bool) -> None:
    assert (chart_axes.metric_layout(values).get("type") == "log") == log


@pytest.mark.parametrize("log", [False, True])
def test_an_empty_box_is_visible(log: bool) -> None:
    axis = Axis("a", "a", 1.0, 100.0, log=log)
    low, high = chart_axes.visible_bounds(axis, 10.0, 10.0)
    assert low < 10.0 < high and axis.to_scaled(high) - axis.to_scaled(low) == pytest.approx(
        0.008 * (axis.to_scaled(100.0) - axis.to_scaled(1.0))
    )
    assert chart_axes.visible_bounds(axis, 10.0, 50.0) == (10.0, 50.0)
    assert chart_axes.visible_bounds(Axis("a", "a", 0, 2, integer=True, choices=(1, 2, 3)), 1, 1) == (0.97, 1.03)

"""The learning curve by data, of a real study."""

from pathlib import Path

import cases

import hpsearch
from hpsearch.report.html.content import ReportContent
from hpsearch.report.html.data_figures import data_charts


def test_learning_curve_by_data(tmp_path: Path) -> None:
    """Every trial at its number of rows; the line passes through the medians, and the caption says what follows."""
    parameters = {**cases.CONTENT["parameters"], "rows": {"values": [20, 90]}}
    stages = [{"name": "a", "points": [{"rows": 20}, {"rows": 90}], "seeds": 3}]
    study = cases.write(
        tmp_path,
        data={"source": "sklearn", "name": "iris", "train_rows": "rows"},
        parameters=parameters,
        stages=stages,
        **{"train.epochs": 2},
    )
    result = hpsearch.run(study, tracking_uri="none", executor="inline")
    (chart,) = data_charts(ReportContent.read(result.url))
    dots, line = chart.figure.data
    assert sorted(dots.x) == [20] * 3 + [90] * 3 and tuple(line.x) == (20, 90)
    assert sorted(dots.y) == sorted(result.trials.value)
    assert "More training rows" in chart.caption and len(result.trials) == 6

"""The table of the baselines, and the sentences that compare the champion with them."""

from typing import Any

import cases
import pytest

from hpsearch.config.spec import Metric
from hpsearch.report.baselines import baseline_lines, baseline_rows
from hpsearch.report.export import as_json
from hpsearch.report.text import as_text
from hpsearch.storage.records import Baseline, Trial
from hpsearch.study.summary import Summary
from tests.hpsearch.report.report_summary import drawn, summary

SCORES = {"val/loss": 0.5, "val/accuracy": 0.75, "val/f1": 0.6, "test/loss": 0.55, "test/accuracy": 0.7, "test/f1": 0.5}
POINT = {"learning_rate": 0.1, "beta": 0.8, "hidden_units": 4, "batch_size": 16, "l2": 1e-4}


def baseline(name: str, accuracy: float, error: str | None = None, rows: int = 100) -> Baseline:
    scores = {name: accuracy if "accuracy" in name else value for name, value in SCORES.items()}
    return Baseline(name, 0, rows, {} if error else scores, error, 1.5, 7.0)


def made(*baselines: Baseline, metric: str = "val/accuracy", test: bool = True) -> Summary:
    spec = cases.small(stages=[{"name": "a", "trials": 1}]).model_copy(update={"metric": Metric(name=metric)})
    scores = {"val/loss": 0.4, "val/accuracy": 0.9, **({"test/loss": 0.45, "test/accuracy": 0.8} if test else {})}
    value = scores.get(metric, 7.0)
    trial = Trial("a", 0, {}, POINT, "complete", value, 3, 2, 1.0, 7.0, scores, {n: [v] for n, v in scores.items()})
    return summary(spec, [trial], trial)._replace(baselines=baselines)


THREE = (baseline("constant", 0.3), baseline("linear", 0.6), baseline("boosting", 0.7))


def test_the_table() -> None:
    assert baseline_rows(made(*THREE)) == [
        ["", "val/accuracy", "test/accuracy"],
        ["constant", "0.3", "0.3"],
        ["linear model", "0.6", "0.6"],
        ["gradient boosting", "0.7", "0.7"],
        ["network (a/0)", "0.9", "0.8"],
    ]
    assert baseline_rows(made()) == [] == list(baseline_lines(made()))
    assert baseline_rows(made(*THREE)._replace(champion=None)) == []
    losses = baseline_rows(made(*THREE, metric="val/loss", test=False))
    assert losses[0] == ["", "val/loss", "val/accuracy"] and losses[-1] == ["network (a/0)", "0.4", "0.9"]
    epochs = baseline_rows(made(*THREE, metric="epochs"))
    assert epochs[0][:2] == ["", "epochs"] and epochs[1][1] == "–" and epochs[-1][1] == "7"


def test_remarks() -> None:
    """Why a baseline has no scores, and to how many of the rows it was fitted."""
    failed = baseline("linear", 0.6, "ValueError: one\x1b[31m line"), baseline("boosting", 0.7, rows=40)
    rows = baseline_rows(made(THREE[0], *failed))
    assert rows[0] == ["", "val/accuracy", "test/accuracy", ""]
    assert rows[2] == ["linear model", "–", "–", "ValueError: one\\x1b[31m line"]
    assert rows[3] == ["gradient boosting", "0.7", "0.7", "fitted to 40 of 100 rows"]
    assert rows[4][-1] == ""


@pytest.mark.parametrize(
    ("boosting", "metric", "test", "expected"),
    [
        (0.7, "val/accuracy", True, "better than gradient boosting by 0.1: test/accuracy 0.8 against 0.7."),
        (0.85, "val/accuracy", True, "worse than gradient boosting by 0.05: test/accuracy 0.8 against 0.85."),
        (0.8, "val/accuracy", True, "as good as gradient boosting: test/accuracy 0.8 against 0.8."),
        (0.85, "val/accuracy", False, "better than gradient boosting by 0.05: val/accuracy 0.9 against 0.85."),
        (0.7, "val/loss", True, "better than gradient boosting by 0.1: test/loss 0.45 against 0.55."),
    ],
)
def test_what_the_network_is_worth(boosting: float, metric: str, test: bool, expected: str) -> None:
    found = made(*THREE[:2], baseline("boosting", boosting), metric=metric, test=test)
    assert list(baseline_lines(found)) == [f"The network is {expected}"]


def test_a_network_that_is_worth_nothing() -> None:
    lines = list(baseline_lines(made(baseline("constant", 0.8), *THREE[1:])))
    assert lines[1:] == ["The network is no better than the constant: test/accuracy 0.8."]
    assert list(baseline_lines(made(THREE[0], baseline("boosting", 0.7, "an error")))) == []
    assert list(baseline_lines(made(*THREE, metric="epochs"))) == []


def test_text_and_json() -> None:
    found = made(*THREE[:2], baseline("boosting", 0.7, "ValueError: [red]no"))
    text = drawn(as_text(found))
    assert "Baselines on the same rows" in text and "linear model" in text and "ValueError: [red]no" in text
    assert "The network is better than gradient boosting by 0.1" in drawn(as_text(made(*THREE)))
    listed: list[dict[str, Any]] = as_json(found)["baselines"]
    assert [b["name"] for b in listed] == ["constant", "linear", "boosting"]
    assert listed[0] == {"name": "constant", "rows": 100, "seconds": 1.5, "metrics": dict(THREE[0].scores)}
    assert listed[2]["error"] == "ValueError: [red]no" and listed[2]["metrics"] == {}
    assert "Baselines" not in drawn(as_text(made())) and as_json(made())["baselines"] == []

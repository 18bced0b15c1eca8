"""The ensemble in reports: its scores beside those of its best member and of the best trial."""

from typing import Any

import cases
import pytest

from hpsearch.report.ensemble import ensemble_line, ensemble_table
from hpsearch.report.export import as_json
from hpsearch.report.text import as_text
from hpsearch.storage.records import StoredEnsemble, Trial
from hpsearch.study.summary import Summary
from tests.hpsearch.report.report_summary import drawn, summary

POINT = {"learning_rate": 0.1, "beta": 0.8, "hidden_units": 4, "batch_size": 16, "l2": 1e-4}
BEST = {
    "train/loss": 0.1,
    "val/loss": 0.4,
    "val/accuracy": 0.9,
    "test/loss": 0.45,
    "test/accuracy": 0.8,
}
SCORES = {"val/loss": 0.35, "val/accuracy": 0.95, "val/f1": 0.7, "test/loss": 0.41, "test/accuracy": 0.85}
SINGLE = {"val/loss": 0.38, "val/accuracy": 0.91, "val/f1": 0.6, "test/loss": 0.44, "test/accuracy": 0.75}
ENSEMBLE = StoredEnsemble(3, (("a", 0), ("a", 1), ("b", 2)), {("b", 2): 2, ("a", 1): 1}, SCORES, SINGLE)


def made(ensemble: StoredEnsemble | None = ENSEMBLE, metric: str = "val/loss") -> Summary:
    spec = cases.small(stages=[{"name": "a", "trials": 1}], metric={"name": metric})
    trial = Trial("a", 0, {}, POINT, "complete", BEST.get(metric, 7.0), 3, 2, 1.0, 7.0, BEST)
    return summary(spec, [trial], trial)._replace(ensemble=ensemble)


def test_the_table() -> None:
    assert ensemble_table(made()) == [
        ["", "trials", "val/loss", "val/accuracy", "test/loss", "test/accuracy"],
        ["ensemble", "b/2 × 2, a/1", "0.35", "0.95", "0.41", "0.85"],
        ["its best member", "b/2", "0.38", "0.91", "0.44", "0.75"],
        ["best trial", "a/0", "0.4", "0.9", "0.45", "0.8"],
    ]
    assert ensemble_table(made(None)) == [] and ensemble_line(made(None)) is None
    assert ensemble_table(made()._replace(champion=None)) == []


@pytest.mark.parametrize(
    ("metric", "changes", "expected"),
    [
        ("val/accuracy", {}, "test/accuracy 0.85, against 0.75 of its best member b/2 and 0.8 of the best trial a/0."),
        ("val/loss", {}, "test/loss 0.41, against 0.44 of its best member b/2 and 0.45 of the best trial a/0."),
        ("train/loss", {}, "test/loss 0.41, against 0.44 of its best member b/2 and 0.45 of the best trial a/0."),
        ("val/loss", {"scores": {"val/loss": 0.35}}, "val/loss 0.35, against 0.38 of its best member b/2 and 0.4 of"),
        ("val/loss", {"members": {("a", 0): 2, ("b", 2): 1}}, "test/loss 0.41, against 0.44 of its best member a/0."),
        (
            "val/loss",
            {"members": {("a", 0): 1}},
            "No mean of several trials is better on the validation rows than a/0 alone.",
        ),
        ("val/loss", {"scores": {}}, "No mean of several trials"),
    ],
)
def test_the_gain(metric: str, changes: dict[str, Any], expected: str) -> None:
    line = ensemble_line(made(ENSEMBLE._replace(**changes), metric))
    assert line is not None and expected in line


def test_in_text_and_json() -> None:
    assert "The ensemble of b/2 × 2, a/1: test/loss 0.41" in drawn(as_text(made()))
    assert as_json(made())["ensemble"] == {
        "size": 3,
        "candidates": 3,
        "members": [{"trial": "b/2", "count": 2}, {"trial": "a/1", "count": 1}],
        "metrics": SCORES,
        "best_member": SINGLE,
    }
    assert as_json(made(None))["ensemble"] is None

"""The saved views of a study: table and charts."""

import base64
import json
import zlib
from typing import Any

import cases
import pytest

from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.tracking.mlflow.saved_view import (
    ALL_RUNS_VIEW,
    MAX_SCATTER_PLOTS,
    STUDY_VIEW,
    supports_views,
    view_link,
    view_tags,
)
from hpsearch.tracking.mlflow.tags import VIEW_TAG_PREFIX

SEARCHED = ["learning_rate", "beta", "hidden_units", "batch_size"]
LOGS = ["log10_learning_rate", "log10_one_minus_beta", "hidden_units", "batch_size"]


def state(spec: Spec, name: str = STUDY_VIEW, **others: Any) -> dict[str, Any]:
    """Return the state of a view as MLflow's page reads it."""
    tag = json.loads(view_tags(spec, 1e9, **others)[VIEW_TAG_PREFIX + name])
    assert (tag["name"], tag["createdAt"]) == (name, 10**12)
    kind, _, packed = tag["state"].partition(";")
    assert kind == "deflate"
    found: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return found


def charts(found: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    assert {c["metricSectionId"] for c in found["compareRunCharts"]} == {s["uuid"] for s in found["compareRunSections"]}
    return [c for c in found["compareRunCharts"] if c["type"] == kind]


def test_table() -> None:
    """Columns are the metric, parameters, scores, stage, epochs and state; the best run is first."""
    found = state(cases.small(), scores=["best/val/loss", "test/loss"])
    params = [f"params.`{name}`" for name in SEARCHED]
    scores = ["metrics.`best/val/loss`", "metrics.`test/loss`"]
    last = ["tags.`hpsearch.stage`", "metrics.`epochs`", "tags.`hpsearch.state`"]
    assert found["selectedColumns"] == ["metrics.`objective`", *params, *scores, *last]
    assert (found["orderByKey"], found["orderByAsc"]) == ("metrics.`objective`", True)
    assert not state(cases.small(**{"metric": {"name": "val/accuracy"}}))["orderByAsc"]


def test_charts() -> None:
    """Parallel coordinates show all runs on log axes; curves show the visible ones, the best ten."""
    found = state(cases.small())
    (parallel,) = charts(found, "PARALLEL")
    assert parallel["selectedParams"] == LOGS and parallel["selectedMetrics"] == ["objective"]
    assert parallel["showAllRuns"] and found["runsHiddenMode"] == "FIRST_10_RUNS"
    assert [c["metricKey"] for c in charts(found, "LINE")] == ["val/loss", "train/loss"]
    trial, *others = charts(found, "SCATTER")
    assert trial["xaxis"] == {"key": "trial", "type": "METRIC"}
    assert [c["xaxis"] for c in others] == [{"key": name, "type": "PARAM"} for name in LOGS]
    assert {c["yaxis"]["key"] for c in (trial, *others)} == {"objective"}
    assert len({c["uuid"] for c in found["compareRunCharts"]}) == len(found["compareRunCharts"])


def test_view_of_all_runs() -> None:
    found = state(cases.small(), ALL_RUNS_VIEW)
    assert found["runsHiddenMode"] == "SHOW_ALL" and not charts(found, "LINE")
    assert len(charts(found, "SCATTER")) == 5


def test_important_parameters_come_first() -> None:
    """The first scatter plots show the most important parameters; unknown names are ignored."""
    spec = cases.small(**cases.RICH)
    others = charts(state(spec), "SCATTER")[1:]
    assert [c["displayName"] for c in others] == [
        f"{a.name} and metric" for a in search_space(spec).axes[:MAX_SCATTER_PLOTS]
    ]
    found = state(spec, important={"batch_size": 0.6, "gone": 0.3, "dropout": 0.1})
    names = [c["xaxis"]["key"] for c in charts(found, "SCATTER")[1:]]
    assert names[:2] == ["batch_size", "dropout"] and len(names) == MAX_SCATTER_PLOTS < len(search_space(spec).axes)
    assert names[2:] == ["log10_learning_rate", "optimizer", "log10_one_minus_beta", "beta1"]


def test_conditional_parameters() -> None:
    """Parallel coordinates show only parameters that all trials have; MLflow would leave out the other runs."""
    spec = cases.small(**cases.RICH)
    (parallel,) = charts(state(spec), "PARALLEL")
    always = {a.name for a in search_space(spec).axes if not a.when}
    assert len(parallel["selectedParams"]) == len(always) < len(search_space(spec).axes)
    assert "dropout" not in parallel["selectedParams"] and "depth" in parallel["selectedParams"]


def test_many_parameters() -> None:
    """MLflow accepts 20,000 characters."""
    assert max(map(len, view_tags(with_many_parameters(), 1e9).values())) < 20_000


def with_many_parameters() -> Spec:
    """Return a study with 300 parameters."""
    names = [f"a_rather_long_name_of_units_{i}" for i in range(300)]
    many = {name: {"type": "int", "min": 1, "max": 9, "scale": "log"} for name in names}
    parameters = {k: v for k, v in cases.CONTENT["parameters"].items() if k != "hidden_units"} | many
    return cases.small(**{"parameters": parameters, "model": {"hidden": [{"units": name} for name in names]}})


@pytest.mark.parametrize(
    ("version", "supported"), [("3.14.9", False), ("3.15.0", True), ("3.17.2", True), ("4.0.0", False), ("dev", False)]
)
def test_versions(version: str, supported: bool) -> None:
    assert supports_views(version) == supported


def test_link() -> None:
    want = "http://host:5000/#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey=hpsearch"
    assert view_link("http://host:5000", "7") == view_link("http://host:5000/", "7") == want
    assert view_link("", "7", ALL_RUNS_VIEW).startswith("#/experiments/7/runs?") and view_link(
        "", "7", ALL_RUNS_VIEW
    ).endswith(ALL_RUNS_VIEW)

"""The saved view and the description: what they show follows from the study, and nothing in a name is Markdown."""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import cases
import pytest

from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.storage.records import Trial
from hpsearch.tracking import StudyInfo
from hpsearch.tracking.mlflow.description import LONGEST, SIGNED, code, description, escaped
from hpsearch.tracking.mlflow.saved_view import EVERY, SCATTERS, TAG, VIEW, knows_views, view_link, views

SEARCHED = ["learning_rate", "beta", "hidden_units", "batch_size"]
LOGS = ["log10_learning_rate", "log10_one_minus_beta", "hidden_units", "batch_size"]


def state(spec: Spec, name: str = VIEW, **others: Any) -> dict[str, Any]:
    """As MLflow's page reads it."""
    tag = json.loads(views(spec, 1e9, **others)[TAG + name])
    assert (tag["name"], tag["createdAt"]) == (name, 10**12)
    kind, _, packed = tag["state"].partition(";")
    assert kind == "deflate"
    found: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return found


def charts(found: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    assert {c["metricSectionId"] for c in found["compareRunCharts"]} == {s["uuid"] for s in found["compareRunSections"]}
    return [c for c in found["compareRunCharts"] if c["type"] == kind]


def test_table() -> None:
    """The metric, the parameters as people see them, scores, stage, epochs and state; best first."""
    found = state(cases.small(), scores=["best/val/loss", "test/loss"])
    params = [f"params.`{name}`" for name in SEARCHED]
    scores = ["metrics.`best/val/loss`", "metrics.`test/loss`"]
    last = ["tags.`hpsearch.stage`", "metrics.`epochs`", "tags.`hpsearch.state`"]
    assert found["selectedColumns"] == ["metrics.`objective`", *params, *scores, *last]
    assert (found["orderByKey"], found["orderByAsc"]) == ("metrics.`objective`", True)
    assert not state(cases.small(**{"metric": {"name": "val/accuracy"}}))["orderByAsc"]


def test_charts() -> None:
    """Parallel coordinates of every run, on logarithmic axes; curves of the runs that are switched on, the best ten."""
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


def test_every_run_in_the_other_view() -> None:
    found = state(cases.small(), EVERY)
    assert found["runsHiddenMode"] == "SHOW_ALL" and not charts(found, "LINE")
    assert len(charts(found, "SCATTER")) == 5


def test_important_parameters_come_first() -> None:
    """As many as there is room for; a name that is not searched is left out."""
    spec = cases.small(**cases.RICH)
    others = charts(state(spec), "SCATTER")[1:]
    assert [c["displayName"] for c in others] == [f"{a.name} and metric" for a in search_space(spec).axes[:SCATTERS]]
    found = state(spec, important={"batch_size": 0.6, "gone": 0.3, "dropout": 0.1})
    names = [c["xaxis"]["key"] for c in charts(found, "SCATTER")[1:]]
    assert names[:2] == ["batch_size", "dropout"] and len(names) == SCATTERS < len(search_space(spec).axes)
    assert names[2:] == ["log10_learning_rate", "optimizer", "log10_one_minus_beta", "beta1"]


def test_parameters_that_count_at_some_points_only() -> None:
    """MLflow leaves a run out of parallel coordinates that has not all of them."""
    spec = cases.small(**cases.RICH)
    (parallel,) = charts(state(spec), "PARALLEL")
    always = {a.name for a in search_space(spec).axes if not a.when}
    assert len(parallel["selectedParams"]) == len(always) < len(search_space(spec).axes)
    assert "dropout" not in parallel["selectedParams"] and "depth" in parallel["selectedParams"]


def test_many_parameters() -> None:
    """MLflow takes 20,000 characters."""
    names = [f"a_rather_long_name_of_units_{i}" for i in range(300)]
    many = {name: {"type": "int", "min": 1, "max": 9, "scale": "log"} for name in names}
    parameters = {k: v for k, v in cases.CONTENT["parameters"].items() if k != "hidden_units"} | many
    spec = cases.small(**{"parameters": parameters, "model": {"hidden": [{"units": name} for name in names]}})
    assert max(map(len, views(spec, 1e9).values())) < 20_000
    text = description(subject(spec), "1")
    assert len(text) + 1000 > LONGEST and len(text) < 20_000 and text.endswith(SIGNED)


@pytest.mark.parametrize(
    ("version", "known"), [("3.14.9", False), ("3.15.0", True), ("3.17.2", True), ("4.0.0", False), ("dev", False)]
)
def test_versions(version: str, known: bool) -> None:
    assert knows_views(version) == known


def test_link() -> None:
    want = "http://host:5000/#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey=hpsearch"
    assert view_link("http://host:5000", "7") == view_link("http://host:5000/", "7") == want
    assert view_link("", "7", EVERY).startswith("#/experiments/7/runs?") and view_link("", "7", EVERY).endswith(EVERY)


# ── the description ───────────────────────────────────────────────────────────────────────────────────────────────────
def subject(spec: Spec, database: str = "my studies/small.db") -> StudyInfo:
    return StudyInfo(spec, "identity", 1e9, {"database": database}, {"rows": 1500, "classes": 3})


def test_description() -> None:
    """What was searched, the best so far, how to go on and what to do with it."""
    spec = cases.small(**{"stages": cases.FULL["stages"]})
    metrics = {"val/loss": 0.25, "test/accuracy": 0.875, "fit/loss": 0.1}
    point = {"learning_rate": 0.01234567, "hidden_units": 8}
    best = Trial("fine", 3, {}, point, "complete", 0.25, metrics=metrics)
    text = description(subject(spec), "7", best, "small")
    for part in (
        "**Study small**, seed 5: the best `val/loss`",
        "`iris` (sklearn), 1,500 rows, 3 classes",
        "`hidden_units tanh`",
        "Stage `coarse`: 18 trials, random",
        "Stage `fine`: 11 trials, tpe, zoomed",
        "Stage `confirm`: top 3 × 2 seeds",
        "| `learning_rate` | 0.001 … 1 | `log` |",
        "| `hidden_units` | 4, 8 | ordered values |",
        "| `l2` | 0.0001 | fixed |",
        "**Best so far**: `fine/3`",
        "- `val/loss` 0.25",
        "- `test/accuracy` 0.875",
        "- `learning_rate` = 0.01235",
        "`hpsearch resume 'my studies/small.db'`",
        "`hpsearch export 'my studies/small.db' --to model/`",
        'hpsearch.load_model("model/")',
        'mlflow.pyfunc.load_model("models:/small@champion")',
        f"]({view_link('', '7')})",
    ):
        assert part in text, part
    assert "fit/loss" not in text and text.endswith(SIGNED)
    early = description(subject(spec), "7")
    assert "no trial is complete" in early and "@champion" not in early


NASTY = "<img src=x onerror=alert(1)> | `a` ](javascript:alert) ${SHELL} *b*\n# c &lt;"


@pytest.mark.parametrize("text", [NASTY, "`", "a|b", "<b>", "x\ny", "[a](b)`"])
def test_nothing_in_a_name_is_markup(text: str) -> None:
    """Every character that could begin something is written by its number; a plain one stands between backticks."""
    written = code(text)
    assert not set(written) & set("<>|`*[]#\n\"'\\_!") - {"#"} and written.count("#") == written.count("&#")
    assert code("log10_a") == "`log10_a`" and escaped("a<b") == "a&#60;b"


def test_names_from_the_file(tmp_path: Path) -> None:
    content = cases.content()
    content["data"] = {"source": "csv", "path": "rows/<script>|`x`.csv", "target": "y"}
    content["parameters"]["activation"] = {"values": ["tanh", "relu"]}
    content["model"]["hidden"][0]["activation"] = "activation"
    spec = cases.small(**{key: content[key] for key in ("data", "parameters", "model")})
    point = {"<i>": "<u>|`"}
    record = Trial("fine", 3, {}, point, "complete", 0.25, metrics={"val/<b>": 1.0})
    text = description(subject(spec, "<p>`|.db"), "7", record)
    for tag in ("<script>", "<i>", "<u>", "<b>", "<p>"):
        assert tag not in text
    assert "`x`" not in text


@pytest.mark.parametrize(
    "database", ["postgresql://me:hunter-22@host/db", "mysql://host/db?password=hunter-22", "<a password=hunter-22"]
)
def test_no_passwords(database: str) -> None:
    assert "hunter" not in description(subject(cases.small(), database), "7")

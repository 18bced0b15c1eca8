"""MLflow's saved views of a study: the runs table, best first, and the charts of the experiment's page.

The state of a view is an internal format of MLflow's page since version 3.15; it is written only for versions below 4.
The page loads 100 runs at a time, in the order of the table. Parallel coordinates show all loaded runs; every other
chart shows the visible ones: the first ten in the view `STUDY_VIEW`, all in `ALL_RUNS_VIEW`.
"""

import base64
import json
import re
import zlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.core.space import Axis
from hpsearch.tracking.mlflow.tags import OBJECTIVE_METRIC, ORDINAL_METRIC, VIEW_TAG_PREFIX, param_name

STUDY_VIEW, ALL_RUNS_VIEW = "hpsearch", "hpsearch-every"  # ids of the views
MAX_SCATTER_PLOTS = 6  # the most important parameters, if there are more


def view_link(base: str, experiment: str, view: str = STUDY_VIEW) -> str:
    """Return the address of an experiment's page with a saved view.

    Args:
        base: address of MLflow's server, `http://127.0.0.1:5000`; empty for a link on one of its pages.
        experiment: id of the experiment.
        view: id of the view.
    """
    page = f"{base.rstrip('/')}/#/experiments/{experiment}/runs" if base else f"#/experiments/{experiment}/runs"
    return f"{page}?workflowType=machine_learning&viewStateShareKey={view}"


def supports_views(version: str) -> bool:
    """Return whether this version of MLflow reads the saved views that `view_tags` writes."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return match is not None and (3, 15) <= (int(match[1]), int(match[2])) < (4, 0)


def view_tags(
    spec: Spec, created: float, important: Iterable[str] = (), scores: Collection[str] = ()
) -> dict[str, str]:
    """Return the experiment's tags that contain its saved views.

    Args:
        created: Unix time.
        important: parameters, the most important first; if empty, in the order of the study file.
        scores: further metrics with a column, in this order.
    """
    tags = {}
    for name in (STUDY_VIEW, ALL_RUNS_VIEW):
        state = json.dumps(_state(spec, important, scores, all_runs=name == ALL_RUNS_VIEW), separators=(",", ":"))
        packed = "deflate;" + base64.b64encode(zlib.compress(state.encode(), 9)).decode()
        tags[VIEW_TAG_PREFIX + name] = json.dumps({"name": name, "createdAt": round(created * 1000), "state": packed})
    return tags


def _state(spec: Spec, important: Iterable[str], scores: Collection[str], *, all_runs: bool) -> dict[str, Any]:
    axes = {axis.name: axis for axis in search_space(spec).axes}
    first = [axes[name] for name in [*important, *axes] if name in axes]
    first = list(dict.fromkeys(first))[:MAX_SCATTER_PLOTS]
    charts = [_parallel([axis for axis in axes.values() if not axis.when] or list(axes.values()))]
    charts += [_scatter("trials", "metric by trial", {"key": ORDINAL_METRIC, "type": "METRIC"})]
    charts += [_scatter(f"of-{i}", f"{a.name} and metric", _param(a)) for i, a in enumerate(first)]
    charts += [] if all_runs else [_curve(name) for name in ("val/loss", "train/loss")]
    sections = [_section("parallel", "Every run", 1), _section("search", "Metric by trial and by parameter", 3)]
    sections += [] if all_runs else [_section("curves", "Best ten", 2)]
    columns = [f"metrics.`{OBJECTIVE_METRIC}`", *(f"params.`{name}`" for name in axes)]
    columns += [f"metrics.`{name}`" for name in scores]
    columns += ["tags.`hpsearch.stage`", "metrics.`epochs`", "tags.`hpsearch.state`"]
    return {
        "searchFilter": "",
        "orderByKey": f"metrics.`{OBJECTIVE_METRIC}`",
        "orderByAsc": spec.metric.sign > 0,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": columns,
        "columnOrder": [],
        "columnWidths": {},
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "runsHiddenMode": "SHOW_ALL" if all_runs else "FIRST_10_RUNS",
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "autoRefreshEnabled": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def _section(key: str, title: str, columns: int) -> dict[str, Any]:
    fixed = {"display": True, "isReordered": True, "deleted": False, "isGenerated": False}
    return {"uuid": key, "name": title, "columns": columns, **fixed}


def _chart(key: str, kind: str, section: str, title: str, **others: Any) -> dict[str, Any]:
    fixed = {"deleted": False, "isGenerated": False, "runsCountToCompare": 100}
    return {"uuid": key, "type": kind, "metricSectionId": section, "displayName": title, **fixed, **others}


def _parallel(axes: Iterable[Axis]) -> dict[str, Any]:
    """Return the parallel coordinates; MLflow leaves out runs that lack one of the parameters."""
    names = [param_name(axis) for axis in axes]
    content: Mapping[str, Any] = {"selectedParams": names, "selectedMetrics": [OBJECTIVE_METRIC], "showAllRuns": True}
    return _chart("parallel", "PARALLEL", "parallel", "Parallel coordinates", **content)


def _scatter(key: str, title: str, x: Mapping[str, str]) -> dict[str, Any]:
    return _chart(key, "SCATTER", "search", title, xaxis=x, yaxis={"key": OBJECTIVE_METRIC, "type": "METRIC"})


def _param(axis: Axis) -> dict[str, str]:
    return {"key": param_name(axis), "type": "PARAM"}


def _curve(name: str) -> dict[str, Any]:
    return _chart(
        name.replace("/", "-"),
        "LINE",
        "curves",
        name,
        metricKey=name,
        selectedMetricKeys=[name],
        lineSmoothness=0,
        xAxisScaleType="linear",
        scaleType="log",
        xAxisKey="step",
        selectedXAxisMetricKey="",
        range={},
        yAxisKey="metric",
        yAxisExpressions=[],
        useGlobalXaxisKey=False,
        useGlobalLineSmoothing=False,
    )

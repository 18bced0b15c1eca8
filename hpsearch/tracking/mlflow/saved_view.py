"""MLflow's saved view of a study: the table, best first, and the charts that people see when they follow its link.

The state is an internal format of MLflow's page, which has it since 3.15; it is written for 3.x alone.
The page loads 100 runs at a time, in the order of the table. Parallel coordinates show all that are loaded, every other
chart the runs that the table has switched on: the first ten here, all of them in the view `EVERY`.
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

VIEW, EVERY = "hpsearch", "hpsearch-every"  # their ids
TAG = "mlflow.sharedViewState."
SCATTERS = 6  # more parameters are drawn by importance
ORDINAL, METRIC = "trial", "objective"  # metrics of each run


def view_link(base: str, experiment: str, view: str = VIEW) -> str:
    """The page that shows it.

    Args:
        base: of MLflow's server, `http://127.0.0.1:5000`; empty for a link on one of its pages.
        experiment: its id.
    """
    page = f"{base.rstrip('/')}/#/experiments/{experiment}/runs" if base else f"#/experiments/{experiment}/runs"
    return f"{page}?workflowType=machine_learning&viewStateShareKey={view}"


def knows_views(version: str) -> bool:
    """Whether this version of MLflow has saved views as they are written here."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is not None and (3, 15) <= (int(found[1]), int(found[2])) < (4, 0)


def views(spec: Spec, created: float, important: Iterable[str] = (), scores: Collection[str] = ()) -> dict[str, str]:
    """The tags of an experiment that are its saved views.

    Args:
        created: Unix time.
        important: parameters, the most important first; the first ones searched when there are none.
        scores: metrics of the runs, in the order of their columns.
    """
    tags = {}
    for name in (VIEW, EVERY):
        state = json.dumps(_state(spec, important, scores, every=name == EVERY), separators=(",", ":"))
        packed = "deflate;" + base64.b64encode(zlib.compress(state.encode(), 9)).decode()
        tags[TAG + name] = json.dumps({"name": name, "createdAt": round(created * 1000), "state": packed})
    return tags


def logarithm(axis: Axis) -> str:
    """The parameter of a run that is log10 of the axis' internal value: MLflow's charts have no log axis."""
    return f"log10_{axis.key}" if axis.log else axis.name


def _state(spec: Spec, important: Iterable[str], scores: Collection[str], *, every: bool) -> dict[str, Any]:
    axes = {axis.name: axis for axis in search_space(spec).axes}
    first = [axes[name] for name in [*important, *axes] if name in axes]
    first = list(dict.fromkeys(first))[:SCATTERS]
    charts = [_parallel([axis for axis in axes.values() if not axis.when] or list(axes.values()))]
    charts += [_scatter("trials", "metric by trial", {"key": ORDINAL, "type": "METRIC"})]
    charts += [_scatter(f"of-{i}", f"{a.name} and metric", _place(a)) for i, a in enumerate(first)]
    charts += [] if every else [_curve(name) for name in ("val/loss", "train/loss")]
    sections = [_section("parallel", "Every run", 1), _section("search", "Metric by trial and by parameter", 3)]
    sections += [] if every else [_section("curves", "Best ten", 2)]
    columns = [f"metrics.`{METRIC}`", *(f"params.`{name}`" for name in axes)]
    columns += [f"metrics.`{name}`" for name in scores]
    columns += ["tags.`hpsearch.stage`", "metrics.`epochs`", "tags.`hpsearch.state`"]
    return {
        "searchFilter": "",
        "orderByKey": f"metrics.`{METRIC}`",
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
        "runsHiddenMode": "SHOW_ALL" if every else "FIRST_10_RUNS",
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
    """A run that has not all of the axes is left out by MLflow, so those that only count at some points are."""
    names = [logarithm(axis) for axis in axes]
    shown: Mapping[str, Any] = {"selectedParams": names, "selectedMetrics": [METRIC], "showAllRuns": True}
    return _chart("parallel", "PARALLEL", "parallel", "Parallel coordinates", **shown)


def _scatter(key: str, title: str, x: Mapping[str, str]) -> dict[str, Any]:
    return _chart(key, "SCATTER", "search", title, xaxis=x, yaxis={"key": METRIC, "type": "METRIC"})


def _place(axis: Axis) -> dict[str, str]:
    return {"key": logarithm(axis), "type": "PARAM"}


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

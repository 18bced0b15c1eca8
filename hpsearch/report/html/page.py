"""The HTML page of a report: self-contained, with plotly.js compressed inside it."""

import base64
import json
import shlex
import time
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from engine.metrics import POSITIVE_METRICS
from hpsearch.core.space import Axis, value_bounds
from hpsearch.core.text import format_count, format_duration, format_value, printable, without_controls
from hpsearch.report.baselines import baseline_lines, baseline_rows
from hpsearch.report.ensemble import ensemble_line, ensemble_table
from hpsearch.report.html.content import ReportContent
from hpsearch.report.html.figures import Chart
from hpsearch.report.tables import MISSING, box_tables, format_range, seed_tables, stage_table
from hpsearch.storage.records import FINISHED, Trial
from hpsearch.training.scores import positive_class

FOLDER = Path(__file__).parent
MAX_CAPTION_LENGTH = 3000  # characters


class Section(NamedTuple):
    """A section of charts.

    Attributes:
        id: anchor in the page.
        stages: rows of the table of stages, the heading first; empty in sections without it.
    """

    id: str
    title: str
    charts: Sequence[Chart]
    stages: Sequence[Sequence[str]] = ()


class TableCell(NamedTuple):
    """A cell of the table of trials: its text, and the number that it is sorted by if it is a number."""

    text: str
    number: float | None = None


class TableColumn(NamedTuple):
    """The heading of a column, and whether its cells are numbers."""

    name: str
    numeric: bool


def render_page(content: ReportContent, search: Sequence[Chart], model: Sequence[Chart]) -> str:
    """Return the page. All text from the study is escaped.

    Args:
        search: charts of the search.
        model: charts of the best model.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    sections = [
        Section("search", "Search", search, _stage_rows(content)),
        Section("best", "Best model", model),
    ]
    figures = {chart.name: json.loads(chart.figure.to_json()) for chart in (*search, *model)}
    text = json.dumps(figures, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    rows = _trial_rows(content)
    jinja = Environment(autoescape=True, loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, trim_blocks=True)
    page = jinja.get_template("report.html").render(
        name=content.spec.name,
        identity=content.study.identity,
        subtitle=_subtitle(content),
        status=content.status,
        sections=[s for s in sections if s.charts],
        captions={chart.name: printable(chart.caption, MAX_CAPTION_LENGTH) for chart in (*search, *model)},
        seed_tables=[*seed_tables(content.summary), *box_tables(content.summary)],
        best=_best(content),
        ensemble=ensemble_table(content.summary),
        gain=ensemble_line(content.summary),
        baselines=baseline_rows(content.summary),
        worth=list(baseline_lines(content.summary)),
        certainty=list(content.certainty()),
        diagnosis=list(map(printable, content.diagnosis())),
        advice=content.advice(),
        warnings=list(map(printable, content.warnings())),
        columns=_columns(content, rows),
        rows=rows,
        facts=list(_facts(content)),
        study_file=_study_file(content),
        css=Markup((FOLDER / "report.css").read_text("utf-8")),
        js=Markup((FOLDER / "report.js").read_text("utf-8")),
        figures=Markup(text),
        plotly=Markup(_compressed_plotly()),
    )
    return without_controls(page)


@cache
def _compressed_plotly() -> str:
    """Return plotly.js, which `report.js` decompresses: 2 MB instead of 5 MB."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(zlib.compress(get_plotlyjs().encode(), 9)).decode()


def _subtitle(content: ReportContent) -> str:
    finished = sum(t.state in FINISHED for t in content.trials)
    goal = "lower" if content.spec.metric.sign > 0 else "higher"
    return " · ".join(
        [
            f"{format_count(finished, 'finished trial')} in {format_count(len(content.summary.trials), 'stage')}",
            f"metric: {_metric_name(content)} ({goal} is better)",
            *_data(content),
        ]
    )


def _metric_name(content: ReportContent) -> str:
    """Return the name of the metric, for F1, precision and recall with their class."""
    spec, dataset = content.spec, content.dataset
    positive = None if dataset is None else positive_class(spec, dataset)
    if spec.metric.of not in POSITIVE_METRICS or dataset is None or positive is None:
        return str(spec.metric.name)
    return f"{spec.metric.name} of class '{dataset.classes[positive]}'"


def _data(content: ReportContent) -> Iterator[str]:
    """Yield the source of the data, and its rows, inputs and classes if the database holds them."""
    if content.spec.data is None:
        return
    dataset, source = content.dataset, content.spec.data.model_dump(mode="json", exclude_none=True)
    name = source.get("name") or source.get("path") or ""
    yield f"data: {source['source']} {name}".strip()
    if dataset is not None:
        parts = ", ".join(f"{count:,} {part}" for part, count in dataset.rows if count)
        folds = f" in each of {dataset.folds} folds" if dataset.folds > 1 else ""
        inputs = f"{'×'.join(map(str, dataset.inputs))} inputs"
        kind = f"{len(dataset.classes)} classes" if dataset.classes else "regression"
        split = content.spec.data.split
        by_column = split is not None and (split.by is not None or split.groups is not None)
        how = f", split {split.described.partition(':')[0]}" if split is not None and by_column else ""
        yield f"{parts} rows{folds}, {inputs}, {kind}{how}"


def _best(content: ReportContent) -> dict[str, Any] | None:
    best = content.summary.champion
    if best is None:
        return None
    axes = {a.name: a for a in content.axes}
    parameters = [
        {"name": name, "value": format_value(value), "range": _range(axes[name]) if name in axes else "not searched"}
        for name, value in best.point.items()
    ]
    folder, shared = shlex.quote(f"{content.spec.name}-model"), content.summary.shared
    named = f"{content.database!r}" + f", study={content.spec.name!r}" * shared
    or_ensemble = "   # or with --ensemble" if content.summary.ensemble else ""
    usage = (
        f"hpsearch export {content.arguments} --to {folder}{or_ensemble}\n"
        f"hpsearch predict {folder} ROWS.csv --out predictions.csv\n\n"
        f"from hpsearch import load_study   # or load_model({f'{content.spec.name}-model'!r})\n"
        f"model = load_study({named}).model\n"
        "model.predict(rows)"
    )
    return {"label": best.label, "scores": list(_scores(content, best)), "parameters": parameters, "usage": usage}


def _range(axis: Axis) -> str:
    return format_range(value_bounds(axis, {axis.key: (axis.low, axis.high)}), axis.zoomable)


def _scores(content: ReportContent, best: Trial) -> Iterator[dict[str, Any]]:
    """Yield validation scores and test scores of the same metrics, the study's metric first."""
    metric = str(content.spec.metric.name)
    names = [n for n in best.metrics if n.startswith("val/") and not n.endswith("_std")]
    names += [n for n in best.metrics if n.startswith("test/") and f"val/{n[5:]}" in best.metrics]
    if metric not in names and best.value is not None:
        yield {"name": metric, "value": format_value(best.value), "first": True, "deviation": ""}
    for name in sorted(names, key=lambda n: n != metric):
        deviation = best.metrics.get(f"{name}_std")
        text = "" if deviation is None else format_value(deviation)
        yield {"name": name, "value": format_value(best.metrics[name]), "first": name == metric, "deviation": text}


def _stage_rows(content: ReportContent) -> list[list[str]]:
    """Return the table of stages as in `hpsearch show`, but with a row for each stage."""
    return [list(row) for row in zip(*stage_table(content.summary), strict=True)]


def _columns(content: ReportContent, rows: Sequence[Sequence[TableCell]]) -> list[TableColumn]:
    metric, axes = str(content.spec.metric.name), content.summary.space.axes
    others = _other_scores(content)
    names = ["trial", "state", metric, *(a.name for a in axes), "epochs", "best epoch", "seconds", *others]
    return [TableColumn(n, any(row[number].number is not None for row in rows)) for number, n in enumerate(names)]


def _other_scores(content: ReportContent) -> list[str]:
    """Return the names of validation scores other than the study's metric."""
    names = dict.fromkeys(n for t in content.trials for n in t.metrics if n.startswith("val/"))
    return [n for n in names if n != content.spec.metric.name]


def _trial_rows(content: ReportContent) -> list[list[TableCell]]:
    axes, others = content.summary.space.axes, _other_scores(content)
    return [
        [
            TableCell(t.label),
            TableCell(t.state),
            _cell(t.value),
            *(_cell(t.point.get(a.name)) for a in axes),
            _cell(t.epochs),
            _cell(t.best_epoch or None),
            _cell(round(t.seconds, 3)),
            *(_cell(t.metrics.get(n)) for n in others),
        ]
        for t in content.trials
    ]


def _cell(value: bool | float | str | None) -> TableCell:
    if value is None or value != value:
        return TableCell(MISSING)
    if isinstance(value, bool | str):
        return TableCell(format_value(value))
    return TableCell(format_value(value), float(f"{value:.9g}"))


def _facts(content: ReportContent) -> Iterator[tuple[str, str]]:
    study = content.study
    yield "study", f"{study.name}, created {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(study.created))}"
    if study.forked:
        yield "forked from", study.forked
    yield "database", content.database
    yield "versions", study.version
    yield "seed", str(content.spec.seed)
    yield "data fingerprint", study.fingerprint
    seconds = sum(t.seconds for t in content.trials if t.copied_from is None)
    yield "training time", f"{format_duration(seconds)} on one core, all trials"


def _study_file(content: ReportContent) -> str:
    """Return the study file as YAML, including defaults."""
    from ruamel.yaml import YAML

    text, yaml = StringIO(), YAML(typ="safe", pure=True)
    yaml.default_flow_style = None  # short lists and mappings on one line
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # keep the order of keys
    yaml.width = 110
    yaml.dump(content.spec.model_dump(mode="json"), text)
    return text.getvalue()

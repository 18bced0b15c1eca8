"""A story and its pictures → one HTML file that asks nothing of any other: plotly itself is in it, compressed."""

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

from hpsearch.config.references import search_space
from hpsearch.core.space import Axis, value_bounds
from hpsearch.core.text import format_count, format_duration, format_value, printable
from hpsearch.report.html.content import Story
from hpsearch.report.html.figures import Picture
from hpsearch.report.tables import format_range, seed_tables, stage_table
from hpsearch.storage.records import FINISHED, Trial

HERE = Path(__file__).parent


class Chapter(NamedTuple):
    """A section of pictures, and above them the table of stages, its heading first."""

    id: str
    title: str
    pictures: Sequence[Picture]
    stages: Sequence[Sequence[str]] = ()


class Cell(NamedTuple):
    """Of the table of trials: what is read, and what is sorted by where it is a number."""

    text: str
    number: float | None = None


class Column(NamedTuple):
    """Its heading."""

    name: str
    number: bool


def page(story: Story, search: Sequence[Picture], champion: Sequence[Picture]) -> str:
    """The whole file. Everything from the study is escaped: its names may be anything."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    chapters = [Chapter("search", "The search", search, _stages(story)), Chapter("best", "The best", champion)]
    figures = {p.name: json.loads(p.figure.to_json()) for p in (*search, *champion)}
    text = json.dumps(figures, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    rows = _rows(story)
    made = Environment(autoescape=True, loader=FileSystemLoader(HERE), undefined=StrictUndefined, trim_blocks=True)
    return made.get_template("report.html").render(
        name=story.spec.name,
        subtitle=_subtitle(story),
        standing=story.standing,
        chapters=[c for c in chapters if c.pictures],
        captions={p.name: printable(p.caption, 3000) for p in (*search, *champion)},
        over_seeds=list(seed_tables(story.found)),
        best=_best(story),
        sure=list(story.sure()),
        reading=story.reading(),
        warnings=list(map(printable, story.warnings())),
        columns=_columns(story, rows),
        rows=rows,
        facts=list(_facts(story)),
        file=_file(story),
        css=Markup((HERE / "report.css").read_text("utf-8")),
        js=Markup((HERE / "report.js").read_text("utf-8")),
        figures=Markup(text),
        plotly=Markup(_plotly()),
    )


@cache
def _plotly() -> str:
    """The library, for `report.js` to inflate: 2 MB instead of 5."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(zlib.compress(get_plotlyjs().encode(), 9)).decode()


def _subtitle(story: Story) -> str:
    finished = sum(r.state in FINISHED for r in story.trials)
    goal = "lower" if story.spec.metric.sign > 0 else "higher"
    words = [
        f"{format_count(finished, 'trial')} finished in {format_count(len(story.found.records), 'stage')}",
        f"searched for {story.spec.metric.name}, {goal} is better",
        *_data(story),
    ]
    return " · ".join(words)


def _data(story: Story) -> Iterator[str]:
    """What the rows are."""
    dataset, source = story.dataset, story.spec.data.model_dump(mode="json", exclude_none=True)
    name = source.get("name") or source.get("path") or ""
    yield f"data: {source['source']} {name}".strip()
    if dataset is not None:
        parts = ", ".join(f"{count:,} {part}" for part, count in dataset.rows if count)
        folds = f" in each of {dataset.folds} folds" if dataset.folds > 1 else ""
        shape = "×".join(map(str, dataset.inputs))
        what = f"{len(dataset.classes)} classes" if dataset.classes else "a regression"
        yield f"{parts} rows{folds}, inputs of {shape}, {what}"


def _best(story: Story) -> dict[str, Any] | None:
    best = story.found.champion
    if best is None:
        return None
    axes = {a.name: a for a in story.axes}
    parameters = [
        {
            "name": name,
            "value": format_value(value),
            "range": _range(axes[name]) if name in axes else "not searched",
        }
        for name, value in best.point.items()
    ]
    database, folder = shlex.quote(story.where), shlex.quote(f"{story.spec.name}-model")
    use = (
        f"hpsearch export {database} --to {folder}\n"
        f"hpsearch predict {folder} ROWS.csv --out predictions.csv\n\n"
        f"from hpsearch import load_study   # or load_model({f'{story.spec.name}-model'!r})\n"
        f"model = load_study({story.where!r}).model\n"
        "model.predict(rows)"
    )
    return {"label": best.label, "scores": list(_scores(story, best)), "parameters": parameters, "use": use}


def _range(axis: Axis) -> str:
    return format_range(value_bounds(axis, {axis.key: (axis.low, axis.high)}), axis.zoomable)


def _scores(story: Story, best: Trial) -> Iterator[dict[str, Any]]:
    """Those of the val and test rows, the metric first."""
    metric = str(story.spec.metric.name)
    names = [n for n in best.metrics if n.startswith("val/") and not n.endswith("_std")]
    names += [n for n in best.metrics if n.startswith("test/") and f"val/{n[5:]}" in best.metrics]
    if metric not in names and best.value is not None:
        yield {"name": metric, "value": format_value(best.value), "first": True, "spread": ""}
    for name in sorted(names, key=lambda n: n != metric):
        spread = best.metrics.get(f"{name}_std")
        words = "" if spread is None else format_value(spread)
        yield {"name": name, "value": format_value(best.metrics[name]), "first": name == metric, "spread": words}


def _stages(story: Story) -> list[list[str]]:
    """As `hpsearch show` has them, a row a stage."""
    return [list(row) for row in zip(*stage_table(story.found), strict=True)]


def _columns(story: Story, rows: Sequence[Sequence[Cell]]) -> list[Column]:
    metric, axes = str(story.spec.metric.name), search_space(story.spec).axes
    others = [n for n in _others(story) if n != metric]
    names = ["trial", "state", metric, *(a.name for a in axes), "epochs", "best epoch", "seconds", *others]
    return [Column(n, any(row[place].number is not None for row in rows)) for place, n in enumerate(names)]


def _others(story: Story) -> list[str]:
    """Scores of val rows beside the metric."""
    seen = dict.fromkeys(n for r in story.trials for n in r.metrics if n.startswith("val/"))
    return [n for n in seen if n != story.spec.metric.name]


def _rows(story: Story) -> list[list[Cell]]:
    axes, others = search_space(story.spec).axes, _others(story)
    return [
        [
            Cell(r.label),
            Cell(r.state),
            _cell(r.value),
            *(_cell(r.point.get(a.name)) for a in axes),
            _cell(r.epochs),
            _cell(r.best_epoch or None),
            _cell(round(r.seconds, 3)),
            *(_cell(r.metrics.get(n)) for n in others),
        ]
        for r in story.trials
    ]


def _cell(value: bool | float | str | None) -> Cell:
    if value is None or value != value:
        return Cell("–")
    if isinstance(value, bool | str):
        return Cell(format_value(value))
    return Cell(format_value(value), float(f"{value:.9g}"))


def _facts(story: Story) -> Iterator[tuple[str, str]]:
    study = story.study
    yield "study", f"{study.name}, begun {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(study.created))}"
    if study.forked:
        yield "forked from", study.forked
    yield "database", story.where
    yield "made with", study.version
    yield "seed", str(story.spec.seed)
    yield "fingerprint of the data", study.fingerprint
    yield (
        "training",
        f"{format_duration(sum(r.seconds for r in story.trials if r.copied_from is None))} on one core, all trials",
    )


def _file(story: Story) -> str:
    """The study file as YAML, with all defaults."""
    from ruamel.yaml import YAML

    text, yaml = StringIO(), YAML(typ="safe", pure=True)
    yaml.default_flow_style = None  # short lists and mappings in a line
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # as they come
    yaml.width = 110
    yaml.dump(story.spec.model_dump(mode="json"), text)
    return text.getvalue()

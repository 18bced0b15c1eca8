"""A study → text and JSON."""

import math
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hpsearch.record import FINISHED, Record
from hpsearch.service import Summary
from hpsearch.space import Value, bounds, space

TOP = 10


def as_json(summary: Summary) -> dict[str, Any]:
    """Everything but histories; numbers that are not finite are null."""
    spec = summary.spec
    axes = space(spec.parameters).axes
    ranking = summary.ranking
    stages = []
    for number, stage in enumerate(spec.stages):
        begun = number < len(summary.boxes)
        stages.append(
            {
                "name": stage.name,
                "sampler": stage.sampler,
                "trials": stage.trials,
                "finished": sum(r.state in FINISHED for r in summary.records[number]) if begun else 0,
                "reused": summary.reused[number] if begun else 0,
                "box": {a.name: list(bounds(a, summary.boxes[number])) for a in axes} if begun else None,
            }
        )
    return {
        "study": spec.name,
        "spec": spec.model_dump(mode="json"),
        "stages": stages,
        "trials": [_trial(r) for records in summary.records for r in records],
        "best": _trial(ranking[0]) if ranking else None,
    }


def _trial(record: Record) -> dict[str, Any]:
    return {
        "number": record.number,
        "stage": record.stage,
        "state": record.state,
        "value": _finite(record.value),
        "params": dict(record.point),
        "epochs": record.epochs,
        "seconds": round(record.seconds, 6),
        "metrics": {name: _finite(value) for name, value in record.metrics.items()},
        **({"error": record.error} if record.error else {}),
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def as_text(summary: Summary, *, every: bool) -> RenderableType:
    """Stages with their boxes and the best trials, and with `every` all trials."""
    parts: list[RenderableType] = [_stages(summary)]
    ranking = summary.ranking
    if ranking:
        parts.append(_trials(summary, f"Best {min(TOP, len(ranking))}", ranking[:TOP]))
    if every:
        parts.append(_trials(summary, "Every trial", [r for records in summary.records for r in records]))
    if ranking:
        parts.append(best_line(ranking[0]))
    return Group(*parts)


def _stages(summary: Summary) -> Table:
    spec = summary.spec
    axes = space(spec.parameters).axes
    table = Table(title=f"Study {escape(spec.name)}", box=SIMPLE_HEAD, title_justify="left")
    for column in ("stage", "sampler", "finished", "reused", *(a.name for a in axes)):
        table.add_column(escape(column), justify="left", no_wrap=True)
    for number, stage in enumerate(spec.stages):
        if number < len(summary.boxes):
            done = sum(r.state in FINISHED for r in summary.records[number])
            ranges = [_range(bounds(a, summary.boxes[number]), a.zoomable) for a in axes]
            row = [stage.name, stage.sampler, f"{done}/{stage.trials}", str(summary.reused[number]), *ranges]
        else:
            row = [stage.name, stage.sampler, f"0/{stage.trials}", "", *("" for _ in axes)]
        table.add_row(*map(escape, row))
    return table


def _range(ends: Sequence[Value], zoomable: bool) -> str:
    return f"{number(ends[0])} … {number(ends[1])}" if zoomable else ", ".join(map(number, ends))


def _trials(summary: Summary, title: str, records: Sequence[Record]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    axes = space(summary.spec.parameters).axes
    for column in ("trial", "state", summary.spec.metric.name, "val/accuracy", *(a.name for a in axes), "epochs"):
        table.add_column(escape(column), justify="left" if column in ("trial", "state") else "right", no_wrap=True)
    for r in records:
        value = "" if r.value is None else number(r.value)
        accuracy = number(r.metrics["val/accuracy"]) if "val/accuracy" in r.metrics else ""
        points = [number(r.point[a.name]) for a in axes]
        table.add_row(*map(escape, [r.label, r.state, value, accuracy, *points, str(r.epochs)]))
    return table


def best_line(record: Record) -> Text:
    """The best trial: its scores and its parameters."""
    scores = ", ".join(f"{name} {number(value)}" for name, value in record.metrics.items() if name[:3] != "tra")
    text = Text.assemble((f"Best: {record.label}", "bold"), f"   {scores}\n")
    return text.append("  " + parameters(record))


def parameters(record: Record) -> str:
    """`learning_rate 0.0292, beta 0.979`."""
    return ", ".join(f"{name} {number(value)}" for name, value in record.point.items())


def number(value: Value) -> str:
    """Four digits; whole numbers and words as they are."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)

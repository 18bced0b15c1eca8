"""A study → text, JSON and CSV."""

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, product
from statistics import median
from string import ascii_uppercase
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from engine.analysis.diagnostics import diagnose
from engine.analysis.range_test import RangeTest
from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.core.space import Value, value_bounds
from hpsearch.core.text import format_value, printable
from hpsearch.samplers import MEMORYLESS
from hpsearch.search.confirm import CONFIDENCE, Finalist
from hpsearch.search.importance import importance
from hpsearch.search.lr_range import LrRange
from hpsearch.storage.records import FINISHED, Trial, checked_every, repeats
from hpsearch.study.summary import COLUMNS, Summary
from hpsearch.training.task import TrialState

TOP = 10
BAR = 40  # columns of the longest bar
CURVE = 60  # of a curve
HEIGHTS = "▁▂▃▄▅▆▇█"
LR_RANGE_ROWS, LR_RANGE_WIDTH = 16, 40  # rows and longest bar of a learning-rate range test


def as_json(summary: Summary) -> dict[str, Any]:
    """Everything but histories; numbers that are not finite are null."""
    spec = summary.spec
    axes = search_space(spec).axes
    again = repeats(r for records in summary.records for r in records)
    stages = []
    for place, stage in enumerate(spec.stages):
        begun = place < len(summary.boxes)
        records = summary.records[place] if begun else []
        stages.append(
            {
                "name": stage.name,
                "sampler": None if stage.confirms else stage.sampler,
                "trials": summary.totals[place],
                "finished": sum(r.state in FINISHED for r in records),
                "pruned": sum(r.state == "pruned" for r in records),
                "epochs": sum(r.epochs for r in records if r.copied_from is None),
                "epochs_saved": saved(spec, records),
                "reused": summary.reused[place] if begun else 0,
                "box": {a.name: list(value_bounds(a, summary.boxes[place])) for a in axes} if begun else None,
                "edges": [str(edge) for edge in summary.edges[place]] if begun else [],
            }
        )
    return {
        "study": spec.name,
        "spec": spec.model_dump(mode="json"),
        "stages": stages,
        "trials": [_trial(r, again) for records in summary.records for r in records],
        "confirmed": [_finalist(f) for f in summary.finalists],
        "importance": importance(spec, (r for records in summary.records for r in records)),
        "best": _trial(summary.champion, again) if summary.champion else None,
    }


def as_csv(summary: Summary) -> str:
    """A row a trial, all of them, as RFC 4180 has it; numbers in full. What is text in it is a word of a menu or the
    study file's own name of a stage, never the data's: letters, digits, `_` and `-`. A spreadsheet can take a name that
    begins with `-` for a formula, but one that calls nothing."""
    rows, text = summary.rows, io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)])))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _trial(record: Trial, again: Mapping[str, str]) -> dict[str, Any]:
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
        **({"repeats": again[record.label]} if record.label in again else {}),
        **({"origin": record.copied_from} if record.copied_from else {}),
    }


def _finalist(finalist: Finalist) -> dict[str, Any]:
    return {
        "params": dict(finalist.point),
        "trials": [r.label for r in finalist.trials],
        "mean": _finite(finalist.mean),
        "half_width": _finite(finalist.half),
        "behind": _finite(finalist.behind),
        "behind_half_width": _finite(finalist.behind_half),
        "tied": finalist.tied,
    }


def saved(spec: Spec, records: Sequence[Trial]) -> int:
    """Epochs that pruned trials were not trained: as many at most, for they might have stopped early by themselves."""
    return sum(spec.train.epochs - r.epochs for r in records if r.state == "pruned" and r.copied_from is None)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def console(terminal: Console) -> Console:
    """The terminal itself, or, where the output goes to a file or a program, a page wide enough for any table."""
    return terminal if terminal.is_terminal else Console(width=400, file=terminal.file)


def as_text(summary: Summary, *, every: bool = False, closer: bool = False) -> RenderableType:
    """Stages with their boxes and the best trials.

    Args:
        every: all trials too.
        closer: what made the difference, and how the best trial learned, too.
    """
    parts: list[RenderableType] = [_stages(summary), *_over_seeds(summary)]
    ranking = summary.ranking
    parts += [Text(line) for line in _pruned(summary)]
    for stage, edges in zip(summary.spec.stages, summary.edges, strict=False):
        parts += [Text(f"{stage.name}: {edge}.") for edge in edges]
    if summary.finalists:
        parts += [_confirmed(summary), Text(verdict(summary.finalists))]
    if ranking:
        parts.append(_trials(summary, f"Best {min(TOP, len(ranking))}", ranking[:TOP]))
    if every:
        parts.append(_trials(summary, "Every trial", [r for records in summary.records for r in records]))
    if closer:
        parts += looks(summary)
    errors = Counter(r.error for records in summary.records for r in records if r.error)
    parts += [Text(printable(f"{count} failed: {error}")) for error, count in errors.most_common()]
    if ranking:
        parts.append(best_line(ranking[0]))
    return Group(*parts)


def looks(summary: Summary) -> Iterator[RenderableType]:
    """How important each parameter was, and the curve of the best trial, as far as there is something to see."""
    if shares := importance(summary.spec, (r for records in summary.records for r in records)):
        yield _bars("Importance for being among the best", shares)
    if summary.champion is not None and (drawn := curve(summary.spec, summary.champion)) is not None:
        yield drawn


def outline(summary: Summary) -> Iterator[RenderableType]:
    """What is worth seeing of a study while it runs and quickly drawn: the best trial's curve, the stages, the best."""
    if summary.champion is not None and (drawn := curve(summary.spec, summary.champion)) is not None:
        yield drawn
    yield _stages(summary)
    if ranking := summary.ranking[:TOP]:
        yield _trials(summary, f"Best {len(ranking)}", ranking)


def _bars(title: str, shares: Mapping[str, float]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", show_header=False)
    most = max(shares.values())
    for name, share in shares.items():
        table.add_row(escape(name), "█" * round(BAR * share / most), f"{share:.0%}")
    return table


def curve(spec: Spec, record: Trial) -> Text | None:
    """The watched curve by epoch, on a linear scale from its least to its most, the best epoch marked; None of a trial
    that was checked less than twice."""
    name = spec.metric.watched
    values = record.history.get(name, [])
    finite = [v for v in values if math.isfinite(v)]
    if len(values) < 2 or not finite or not record.best_epoch:
        return None
    every = checked_every(record.epochs, record.history)
    best, width = record.best_epoch // every - 1, min(CURVE, len(values))
    low, high = min(finite), max(finite)
    ends = [place * len(values) // width for place in range(width + 1)]
    marked = next(place for place in range(width) if best < ends[place + 1])
    shown = [values[ends[place + 1] - 1] for place in range(width)]
    shown[marked] = values[best]
    words = [f"{what} {format_value(values[n])}" for what, n in (("first", 0), ("best", best), ("last", -1))]
    text = Text(f"{name} of {record.label}, epochs {every} to {record.epochs}:\n  ", no_wrap=True)
    text.append("".join(_height(v, low, high) for v in shown))
    return text.append(f"\n  {' ' * marked}▲\n  {words[0]}, {words[1]} at epoch {record.best_epoch}, {words[2]}\n")


def _height(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return " "
    return HEIGHTS[round((len(HEIGHTS) - 1) * (value - low) / (high - low))] if high > low else HEIGHTS[0]


def _stages(summary: Summary) -> Table:
    heading, *rows = stages(summary)
    table = Table(title=f"Study {escape(summary.spec.name)}", box=SIMPLE_HEAD, title_justify="left")
    for name in heading:
        table.add_column(escape(name))
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def stages(summary: Summary) -> list[list[str]]:
    """A column a stage, a row a parameter; the first row is the heading."""
    spec, axes = summary.spec, search_space(summary.spec).axes
    states = [Counter(r.state for r in records) for records in summary.records]
    apart = [s for s in FINISHED[1:] if any(counts[s] for counts in states)]  # what is not complete
    rows: list[list[str]] = [
        [""],
        ["sampler"],
        ["finished"],
        *([str(s)] for s in apart),
        ["reused"],
        *([a.name] for a in axes),
    ]
    for place, stage in enumerate(spec.stages):
        begun = place < len(summary.boxes)
        counts: Counter[TrialState] = states[place] if begun else Counter()
        searches = begun and not stage.confirms
        cells = [stage.name, stage.how, f"{sum(counts[s] for s in FINISHED)}/{summary.totals[place]}"]
        cells += [str(counts[s]) if begun else "" for s in apart]
        cells.append(str(summary.reused[place]) if searches and stage.sampler not in MEMORYLESS else "")
        for axis in axes:
            cells.append(ranges(value_bounds(axis, summary.boxes[place]), axis.zoomable) if searches else "")
        for row, cell in zip(rows, cells, strict=True):
            row.append(cell)
    return rows


def ranges(ends: Sequence[Value], zoomable: bool) -> str:
    """`0.0001 … 1`, or all values."""
    return f"{format_value(ends[0])} … {format_value(ends[1])}" if zoomable else ", ".join(map(format_value, ends))


def _pruned(summary: Summary) -> Iterator[str]:
    """How many epochs pruning saved."""
    records = [r for records in summary.records for r in records]
    ended = sum(r.state == "pruned" for r in records)
    if ended:
        epochs, most = sum(r.epochs for r in records if r.copied_from is None), saved(summary.spec, records)
        yield f"Pruned {ended} of {len(records)} trials: {epochs:,} epochs trained, at most {most:,} saved."


def _confirmed(summary: Summary) -> Table:
    """The points that were trained again, the winner first."""
    spec = summary.spec
    title = f"{spec.stages[-1].name}: means over {spec.stages[-1].seeds} seeds, {CONFIDENCE:.0%} intervals"
    table = Table(title=escape(title), box=SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    names = [a.name for a in search_space(spec).axes]
    for column in (spec.metric.name, "behind A", *names):
        table.add_column(escape(column), justify="right", overflow="fold")
    for letter, f in zip(_letters(), summary.finalists, strict=False):
        mean = _interval(f.mean, f.half) if math.isfinite(f.mean) else "not all complete"
        against = "" if f.behind is None or not math.isfinite(f.behind) else _interval(f.behind, f.behind_half)
        points = [format_value(f.point[name]) if name in f.point else "–" for name in names]
        table.add_row(*map(escape, [letter, mean, against, *points]))
    return table


def _interval(middle: float, half: float) -> str:
    return f"{format_value(middle)} ± {half:.2g}"


def _letters() -> Iterator[str]:
    """A, B, …, Z, AA, AB, …"""
    for length in count(1):
        yield from map("".join, product(ascii_uppercase, repeat=length))


def verdict(finalists: Sequence[Finalist]) -> str:
    """Who is the winner, and from whom it cannot be told apart."""
    if not math.isfinite(finalists[0].mean):
        return "There is no winner: none of them completed with every seed."
    named = list(zip(_letters(), finalists, strict=False))
    tied = [letter for letter, f in named[1:] if f.tied]
    if len(finalists) == 1:
        return "A was the only point to confirm."
    if not tied:
        return "A is the winner."
    *others, last = tied
    them = f"{', '.join(others)} and {last}" if others else last
    return f"A is the winner by its mean, but cannot be told apart from {them}."


def _over_seeds(summary: Summary) -> Iterator[Table]:
    for title, (heading, *rows) in over_seeds(summary):
        table = Table(title=escape(title), box=SIMPLE_HEAD, title_justify="left")
        for column in heading:
            table.add_column(escape(column), justify="right", overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        yield table


def over_seeds(summary: Summary) -> Iterator[tuple[str, list[list[str]]]]:
    """Of stages whose points were trained with several seeds: the metric of each point over them, the heading first."""
    for stage, records in zip(summary.spec.stages, summary.records, strict=False):
        if stage.seeds == 1 or stage.confirms:
            continue
        points = stage.points or ({},)
        names = list(dict.fromkeys(name for point in points for name in point))
        rows = [[*names, "complete", f"median {summary.spec.metric.name}", "least", "most"]]
        for place, point in enumerate(points):
            repeated = records[place : len(points) * stage.seeds : len(points)]
            if any(r.point != repeated[0].point for r in repeated):
                continue  # what the point leaves open was sampled
            values = [r.value for r in repeated if r.state == "complete" and r.value is not None]
            cells = [format_value(point[name]) if name in point else "–" for name in names]
            spread = [format_value(float(f(values))) for f in (median, min, max)] if values else ["–"] * 3
            rows.append([*cells, f"{len(values)}/{stage.seeds}", *spread])
        if len(rows) > 1:
            yield f"{stage.name}: over {stage.seeds} seeds", rows


def _trials(summary: Summary, title: str, records: Sequence[Trial]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0))
    axes = search_space(summary.spec).axes
    metric = summary.spec.metric.name
    states = len({r.state for r in records}) > 1
    again = repeats(r for each in summary.records for r in each)
    again = {r.label: r.copied_from or again.get(r.label, "") for r in records if r.copied_from or r.label in again}
    table.add_column("trial", no_wrap=True)
    if states:
        table.add_column("state", no_wrap=True)
    if again:
        table.add_column("as", no_wrap=True)
    own = [] if metric == "epochs" and all(r.state == "complete" for r in records) else ["epochs"]
    for column in (metric, *(a.name for a in axes), *own):
        table.add_column(escape(column), justify="right", overflow="fold")
    for r in records:
        value = "" if r.value is None else format_value(r.value)
        points = [format_value(r.point[a.name]) if a.name in r.point else "–" for a in axes]
        words = [r.label, *([r.state] * states), *([again.get(r.label, "")] * bool(again)), value, *points]
        table.add_row(*map(escape, words + [str(r.epochs)] * len(own)))
    return table


def best_line(record: Trial) -> Text:
    """The best trial: its scores and its parameters."""
    text = Text.assemble((f"Best: {record.label}", "bold"), f"   {scores(record.metrics)}")
    text.append(f"\n  {parameters(record)}" if record.point else "")
    return text.append(f"\n  {diagnosis}" if (diagnosis := reading(record)) else "")


def scores(metrics: Mapping[str, float]) -> str:
    """Those of the rows to choose by, with their deviation over folds, and the same of the test rows."""
    words = []
    for name, value in metrics.items():
        part, _, what = name.partition("/")
        if (part == "val" and not what.endswith("_std")) or (part == "test" and f"val/{what}" in metrics):
            spread = metrics.get(f"{name}_std")
            words.append(f"{name} {format_value(value)}" + (f" ± {format_value(spread)}" if spread is not None else ""))
    return ", ".join(words)


def reading(record: Trial) -> str:
    """Bias and variance of the champion by its accuracies (R² for a regression); nothing where it has not both."""
    errors = [1 - _accuracy(record.metrics, part) for part in ("fit", "val")]
    if not all(map(math.isfinite, errors)):
        return ""
    diagnosis = str(diagnose(*(max(0.0, error) for error in errors)))
    return f"{diagnosis[0].upper()}{diagnosis[1:]}."


def _accuracy(metrics: Mapping[str, float], part: str) -> float:
    return metrics.get(f"{part}/accuracy", metrics.get(f"{part}/r2", math.nan))


def parameters(record: Trial) -> str:
    """`learning_rate 0.0292, beta 0.979`."""
    return ", ".join(f"{name} {format_value(value)}" for name, value in record.point.items())


def lr_range_as_text(found: LrRange) -> RenderableType:
    """Return the averaged loss at each learning rate as bars, and the range worth searching."""
    table = Table(title="Learning-rate range test", box=SIMPLE_HEAD, title_justify="left")
    table.add_column("learning rate", justify="right")
    table.add_column("loss", justify="right")
    table.add_column("")
    for cells in _lr_range_rows(found.test):
        table.add_row(*cells)
    test = found.test
    steepest, end = float(test.best[0]), float(test.blown[0])
    fell, blew = np.isfinite(steepest), np.isfinite(end)
    lines = [f"The loss falls most steeply at {steepest:.2g}." if fell else "The loss never fell."]
    lines += [f"It blew up at {end:.2g}; a tenth of that is {end / 10:.2g}." if blew else "It never blew up."]
    if fell:
        top = max(float(test.tenth[0]), steepest)
        lines.append(f"Worth searching: learning_rate: {{min: {steepest / 10:.1g}, max: {top:.1g}, scale: log}}")
    return Group(table, Text("\n".join(lines)))


def _lr_range_rows(test: RangeTest) -> Iterator[tuple[str, str, str]]:
    losses = test.losses[0]
    there = np.flatnonzero(np.isfinite(losses))
    most = (float(losses[there].max()) if len(there) else 0.0) or 1.0
    for place in there[:: max(1, -(-len(there) // LR_RANGE_ROWS))]:
        bar = "█" * max(1, round(LR_RANGE_WIDTH * losses[place] / most))
        yield f"{test.rates[place]:.2g}", f"{losses[place]:.4g}", bar

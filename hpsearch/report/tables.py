"""Tables and sentences of a report: stages, seeds, ranges, scores and the winner."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, product
from statistics import median
from string import ascii_uppercase

from hpsearch.config.spec import Spec
from hpsearch.core.space import Box, Value, value_bounds
from hpsearch.core.text import format_value
from hpsearch.samplers import MEMORYLESS
from hpsearch.search.confirm import CONFIDENCE, Finalist
from hpsearch.storage.records import FINISHED, Trial
from hpsearch.study.summary import Summary
from hpsearch.training.task import TrialState

MISSING = "–"  # a cell without a value


def stage_table(summary: Summary) -> list[list[str]]:
    """Return a table with a column for each stage: its sampler, its trials and the range of each parameter.

    The first row is the heading. Stages that have not begun have empty cells.
    """
    spec, axes = summary.spec, summary.space.axes
    states = [Counter(t.state for t in trials) for trials in summary.trials]
    not_complete = [s for s in FINISHED[1:] if any(counts[s] for counts in states)]
    rows: list[list[str]] = [
        [""],
        ["sampler"],
        ["finished"],
        *([str(s)] for s in not_complete),
        ["reused"],
        *([a.name] for a in axes),
    ]
    for number, stage in enumerate(spec.stages):
        has_begun = number < len(summary.boxes)
        counts: Counter[TrialState] = states[number] if has_begun else Counter()
        searches = has_begun and not stage.confirms
        cells = [stage.name, stage.how, f"{sum(counts[s] for s in FINISHED)}/{summary.totals[number]}"]
        cells += [str(counts[s]) if has_begun else "" for s in not_complete]
        cells.append(str(summary.reused[number]) if searches and stage.sampler not in MEMORYLESS else "")
        for axis in axes:
            bounds = value_bounds(axis, summary.boxes[number]) if searches else ()
            cells.append(format_range(bounds, axis.zoomable) if searches else "")
        for row, cell in zip(rows, cells, strict=True):
            row.append(cell)
    return rows


def seed_tables(summary: Summary) -> Iterator[tuple[str, list[list[str]]]]:
    """Yield title and rows of a table for each stage that trains listed points with several seeds.

    A row holds a point and the median, least and greatest metric over its seeds; the first row is the heading.
    """
    for stage, trials in zip(summary.spec.stages, summary.trials, strict=False):
        if stage.seeds == 1 or stage.confirms:
            continue
        points = stage.points or ({},)
        names = list(dict.fromkeys(name for point in points for name in point))
        rows = [[*names, "complete", f"median {summary.spec.metric.name}", "min", "max"]]
        for number, point in enumerate(points):
            repeated = trials[number : len(points) * stage.seeds : len(points)]
            if any(t.point != repeated[0].point for t in repeated):
                continue  # parameters that the point does not set were sampled
            values = [t.value for t in repeated if t.state == "complete" and t.value is not None]
            cells = [format_value(point[name]) if name in point else MISSING for name in names]
            spread = [format_value(float(f(values))) for f in (median, min, max)] if values else [MISSING] * 3
            rows.append([*cells, f"{len(values)}/{stage.seeds}", *spread])
        if len(rows) > 1:
            yield f"{stage.name}: over {stage.seeds} seeds", rows


def renewed_boxes(trials: Sequence[Trial]) -> list[tuple[int, Box]]:
    """Return the boxes of a stage with a renewed zoom, each with the number of the first trial sampled in it."""
    boxes: list[tuple[int, Box]] = []
    for t in trials:
        if t.box is not None and (not boxes or boxes[-1][1] != t.box):
            boxes.append((t.number, t.box))
    return boxes


def box_tables(summary: Summary) -> Iterator[tuple[str, list[list[str]]]]:
    """Yield title and rows of a table for each stage whose box was renewed: the ranges, from which trial on."""
    axes = [axis for axis in summary.space.axes if axis.zoomable]
    for stage, box, trials in zip(summary.spec.stages, summary.boxes, summary.trials, strict=False):
        boxes = renewed_boxes(trials)
        if not boxes or not axes:
            continue
        rows = [["from trial", *(axis.name for axis in axes)]]
        for number, one in [(0, box), *boxes] if boxes[0][0] else boxes:
            rows.append([str(number), *(format_range(value_bounds(axis, one), True) for axis in axes)])
        yield f"{stage.name}: the ranges around its best trials", rows


def format_range(bounds: Sequence[Value], zoomable: bool) -> str:
    """Format a parameter's range: `0.0001 … 1`, or all values if they are not ordered."""
    if zoomable:
        return f"{format_value(bounds[0])} … {format_value(bounds[1])}"
    return ", ".join(map(format_value, bounds))


def epochs_saved(spec: Spec, trials: Sequence[Trial]) -> int:
    """Return the epochs that pruning saved: an upper bound, because pruned trials might have stopped early."""
    return sum(spec.train.epochs - t.epochs for t in trials if t.state == "pruned" and t.copied_from is None)


def pruning_line(summary: Summary) -> str | None:
    """Return a sentence on the epochs that pruning saved, or None if no trial was pruned."""
    trials = [t for stage in summary.trials for t in stage]
    pruned = sum(t.state == "pruned" for t in trials)
    if not pruned:
        return None
    trained = sum(t.epochs for t in trials if t.copied_from is None)
    saved = epochs_saved(summary.spec, trials)
    return f"Pruned {pruned} of {len(trials)} trials: {trained:,} epochs trained, at most {saved:,} saved."


def point_letters() -> Iterator[str]:
    """Yield A, B, …, Z, AA, AB, …, the names of confirmed points."""
    for length in count(1):
        yield from map("".join, product(ascii_uppercase, repeat=length))


def winner_line(finalists: Sequence[Finalist]) -> str:
    """Return a sentence that names the winner and the points from which it does not differ significantly."""
    if not math.isfinite(finalists[0].mean):
        return "No winner: no point completed with every seed."
    tied = [letter for letter, f in list(zip(point_letters(), finalists, strict=False))[1:] if f.tied]
    if len(finalists) == 1:
        return "A was the only point to confirm."
    if not tied:
        return "A is the winner."
    *others, last = tied
    letters = f"{', '.join(others)} and {last}" if others else last
    return f"A has the best mean but does not differ significantly from {letters} ({CONFIDENCE:.0%})."


def format_scores(metrics: Mapping[str, float]) -> str:
    """Format the validation scores and the test scores of the same metrics, with standard deviations over folds."""
    parts = []
    for name, value in metrics.items():
        rows, _, metric = name.partition("/")
        if (rows == "val" and not metric.endswith("_std")) or (rows == "test" and f"val/{metric}" in metrics):
            deviation = metrics.get(f"{name}_std")
            spread = f" ± {format_value(deviation)}" if deviation is not None else ""
            parts.append(f"{name} {format_value(value)}{spread}")
    return ", ".join(parts)


def format_parameters(trial: Trial) -> str:
    """Format a trial's point: `learning_rate 0.0292, beta 0.979`."""
    return ", ".join(f"{name} {format_value(value)}" for name, value in trial.point.items())

"""A study as text for the terminal: stages, winner, best trials, parameter importance and a learning curve."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hpsearch.config.spec import Spec
from hpsearch.core.text import format_value, printable
from hpsearch.report.advice.collect import advise
from hpsearch.report.advice.errors import diagnosis_lines
from hpsearch.report.baselines import baseline_lines, baseline_rows
from hpsearch.report.ensemble import ensemble_line
from hpsearch.report.tables import (
    MISSING,
    box_tables,
    format_parameters,
    format_scores,
    point_letters,
    pruning_line,
    seed_tables,
    stage_table,
    winner_line,
)
from hpsearch.search.confirm import CONFIDENCE
from hpsearch.search.importance import importance
from hpsearch.search.statistics.data_curve import data_curve
from hpsearch.storage.records import Trial, checked_every, repeats
from hpsearch.study.summary import Summary

TOP_TRIALS = 10
IMPORTANCE_WIDTH = 40  # columns of the longest bar
CURVE_WIDTH = 60  # columns of a learning curve
LEVELS = "▁▂▃▄▅▆▇█"
FILE_WIDTH = 400  # columns of output that is not a terminal: wide enough for any table


def output_console(console: Console) -> Console:
    """Return the console itself, or a wide one if its output is a file or another program."""
    return console if console.is_terminal else Console(width=FILE_WIDTH, file=console.file)


def as_text(summary: Summary, *, all_trials: bool = False, details: bool = False) -> RenderableType:
    """Return the stages with their ranges, the winner and the best trials.

    Args:
        all_trials: also list all trials.
        details: also add parameter importance and the learning curve of the best trial.
    """
    parts: list[RenderableType] = [_stages(summary), *_seeds(summary)]
    trials, ranking = [t for stage in summary.trials for t in stage], summary.ranking
    if pruned := pruning_line(summary):
        parts.append(Text(pruned))
    for stage, edges in zip(summary.spec.stages, summary.edges, strict=False):
        parts += [Text(f"{stage.name}: {edge}.") for edge in edges]
    if summary.finalists:
        parts += [_confirmed(summary), Text(winner_line(summary.finalists))]
    if ranking:
        parts.append(_trials(summary, f"Best {min(TOP_TRIALS, len(ranking))}", ranking[:TOP_TRIALS]))
    parts += _baselines(summary)
    if line := ensemble_line(summary):
        parts.append(Text(line))
    if (curve := data_curve(summary.spec, trials)) is not None:
        parts.append(Text(curve.sentence))
    if all_trials:
        parts.append(_trials(summary, "All trials", trials))
    if details:
        parts += _details(summary, trials)
    parts += map(Text, failure_lines(summary))
    if ranking:
        parts.append(best_trial_text(summary))
    return Group(*parts)


def failure_lines(summary: Summary) -> list[str]:
    """Return a line for each error that made trials fail, with their number: `2 failed: ZeroDivisionError: …`."""
    errors = Counter(t.error for trials in summary.trials for t in trials if t.error)
    return [printable(f"{count} failed: {error}") for error, count in errors.most_common()]


def _details(summary: Summary, trials: Sequence[Trial]) -> Iterator[RenderableType]:
    """Yield parameter importance and the best trial's learning curve, if they are available."""
    if shares := importance(summary.spec, summary.space, trials):
        yield _bars("Parameter importance", shares)
    if summary.champion is not None and (curve := learning_curve(summary.spec, summary.champion)) is not None:
        yield curve


def overview(summary: Summary) -> Iterator[RenderableType]:
    """Yield the parts of a study that are quick to compute while it runs: learning curve, stages and best trials."""
    if summary.champion is not None and (curve := learning_curve(summary.spec, summary.champion)) is not None:
        yield curve
    yield _stages(summary)
    if ranking := summary.ranking[:TOP_TRIALS]:
        yield _trials(summary, f"Best {len(ranking)}", ranking)


def _bars(title: str, shares: Mapping[str, float]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", show_header=False)
    greatest = max(shares.values())
    for name, share in shares.items():
        table.add_row(escape(name), "█" * round(IMPORTANCE_WIDTH * share / greatest), f"{share:.0%}")
    return table


def learning_curve(spec: Spec, trial: Trial) -> Text | None:
    """Return a trial's monitored metric by epoch on a linear scale, with the best epoch marked.

    Returns:
        None if the trial was evaluated fewer than two times, or has no finite value.
    """
    name = spec.metric.monitored
    values = trial.history.get(name, [])
    finite = [v for v in values if math.isfinite(v)]
    if len(values) < 2 or not finite or not trial.best_epoch:
        return None
    interval = checked_every(trial.epochs, trial.history)
    best, width = trial.best_epoch // interval - 1, min(CURVE_WIDTH, len(values))
    low, high = min(finite), max(finite)
    ends = [column * len(values) // width for column in range(width + 1)]
    marked = next(column for column in range(width) if best < ends[column + 1])
    columns = [values[end - 1] for end in ends[1:]]
    columns[marked] = values[best]
    first, at_best, last = (format_value(values[n]) for n in (0, best, -1))
    text = Text(f"{name} of {trial.label}, epochs {interval} to {trial.epochs}:\n  ", no_wrap=True)
    text.append("".join(_level(v, low, high) for v in columns))
    legend = f"first {first}, best {at_best} at epoch {trial.best_epoch}, last {last}"
    return text.append(f"\n  {' ' * marked}▲\n  {legend}\n")


def _level(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return " "
    return LEVELS[round((len(LEVELS) - 1) * (value - low) / (high - low))] if high > low else LEVELS[0]


def _stages(summary: Summary) -> Table:
    heading, *rows = stage_table(summary)
    table = Table(title=f"Study {escape(summary.spec.name)}", box=SIMPLE_HEAD, title_justify="left")
    for name in heading:
        table.add_column(escape(name))
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _seeds(summary: Summary) -> Iterator[Table]:
    for title, (heading, *rows) in (*seed_tables(summary), *box_tables(summary)):
        table = Table(title=escape(title), box=SIMPLE_HEAD, title_justify="left")
        for column in heading:
            table.add_column(escape(column), justify="right", overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        yield table


def _confirmed(summary: Summary) -> Table:
    """Return the confirmed points with means and confidence intervals, the winner first."""
    spec = summary.spec
    title = f"{spec.stages[-1].name}: means over {spec.stages[-1].seeds} seeds, {CONFIDENCE:.0%} intervals"
    table = Table(title=escape(title), box=SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    names = [a.name for a in summary.space.axes]
    for column in (spec.metric.name, "behind A", *names):
        table.add_column(escape(column), justify="right", overflow="fold")
    for letter, f in zip(point_letters(), summary.finalists, strict=False):
        mean = _interval(f.mean, f.half_width) if math.isfinite(f.mean) else "not all complete"
        behind = "" if f.behind is None or not math.isfinite(f.behind) else _interval(f.behind, f.behind_half_width)
        point = [format_value(f.point[name]) if name in f.point else MISSING for name in names]
        table.add_row(*map(escape, [letter, mean, behind, *point]))
    return table


def _baselines(summary: Summary) -> Iterator[RenderableType]:
    """Yield the table of the baselines and what the champion is worth, if they were fitted."""
    if rows := baseline_rows(summary):
        table = Table(title="Baselines on the same rows", box=SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0))
        for number, column in enumerate(rows[0]):
            table.add_column(escape(column), justify="right" if number and column else "left", overflow="fold")
        for row in rows[1:]:
            table.add_row(*map(escape, row))
        yield table
        yield from map(Text, baseline_lines(summary))


def _interval(mean: float, half_width: float) -> str:
    return f"{format_value(mean)} ± {half_width:.2g}"


def _trials(summary: Summary, title: str, trials: Sequence[Trial]) -> Table:
    """Return a table of trials; the columns "state" and "repeats" are left out if they would say nothing."""
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0))
    axes = summary.space.axes
    metric = summary.spec.metric.name
    states = len({t.state for t in trials}) > 1
    repeated = repeats(t for stage in summary.trials for t in stage)
    originals = {t.label: t.copied_from or repeated[t.label] for t in trials if t.copied_from or t.label in repeated}
    table.add_column("trial", no_wrap=True)
    if states:
        table.add_column("state", no_wrap=True)
    if originals:
        table.add_column("repeats", no_wrap=True)
    epochs = [] if metric == "epochs" and all(t.state == "complete" for t in trials) else ["epochs"]
    for column in (metric, *(a.name for a in axes), *epochs):
        table.add_column(escape(column), justify="right", overflow="fold")
    for t in trials:
        value = "" if t.value is None else format_value(t.value)
        point = [format_value(t.point[a.name]) if a.name in t.point else MISSING for a in axes]
        cells = [t.label, *([t.state] * states), *([originals.get(t.label, "")] * bool(originals)), value, *point]
        table.add_row(*map(escape, cells + [str(t.epochs)] * len(epochs)))
    return table


def best_trial_text(summary: Summary) -> Text:
    """Return the scores, the parameters, the diagnosis and the advice of a study with a complete trial."""
    trial = summary.ranking[0]
    text = Text.assemble((f"Best: {trial.label}", "bold"), f"   {format_scores(trial.metrics)}")
    text.append(f"\n  {format_parameters(trial)}" if trial.point else "")
    for line in diagnosis_lines(summary):
        text.append(f"\n  {printable(line)}")
    for number, advice in enumerate(advise(summary), 1):
        text.append(f"\n  {number}. {printable(str(advice))}")
    return text

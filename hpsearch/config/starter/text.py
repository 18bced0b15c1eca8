"""The text of a first study file: YAML with a comment on each choice, and a summary for the terminal."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpsearch.config.schema import SCHEMA_FILE
from hpsearch.config.starter.defaults import StudySize, choose_metric, choose_size
from hpsearch.core.text import format_number, format_percent, printable
from hpsearch.data.dataset import Dataset
from hpsearch.data.profile import NONSTANDARD_NUMBERS, ColumnProfile, TableProfile

MAX_COLUMNS = 30  # that the header describes
UNGROUPED_CATEGORIES = 50  # with more categories in a column, rare ones share an input
SPLIT_REASONS = {
    "by": "times; to test on the latest rows",
    "groups": "groups of rows; to keep each of them in one part",
}
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_RESERVED = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"}  # in some version of YAML


def study_text(profile: TableProfile, dataset: Dataset, split: Mapping[str, Any], out: Path, name: str) -> str:
    """Return the text of a study file.

    Args:
        profile: profile of the table.
        dataset: the table, prepared with this split.
        split: the study file's `data.split`.
        out: path of the study file.
        name: name of the study.
    """
    size = choose_size(dataset)
    lines = [
        f"# yaml-language-server: $schema={SCHEMA_FILE}",
        *_header(profile, size, name, out),
        f"name: {scalar(name)}",
        "seed: 0",
        "",
        *_data(profile, dataset, split),
        "",
        *_model(),
        "",
        *_train(size),
        "",
        *_metric(profile, dataset),
        "",
        *_parameters(profile, size),
        "",
        *_stages(size),
    ]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def scalar(value: bool | float | str) -> str:
    """Return a value as YAML 1.2 on one line; any text is read back unchanged."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _RESERVED:
        return value
    return '"' + "".join(map(_quoted, value)) + '"'


def _quoted(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _header(profile: TableProfile, size: StudySize, name: str, out: Path) -> Iterator[str]:
    file, database = shlex.quote(str(out)), shlex.quote(str(out.with_name(f"{name}.db")))
    rows = f"{profile.rows:,} rows" + (f" and {profile.test:,} test rows" if profile.test else "")
    yield f"# Searches hyperparameters of a small neural network that predicts {_target(profile)} from the other"
    yield f"# columns of {_shown(profile.settings['path'], 80)}: {rows}, {len(profile.columns)} columns."
    yield "# Written by hpsearch init. Every choice is only a starting point."
    yield "#"
    commands = [
        (f"hpsearch run {file}", f"{size.duration} on two cores; may be interrupted and run again"),
        (f"hpsearch show {database}", "results"),
        (f"hpsearch export {database} --to model", "the best model, in a folder"),
    ]
    width = min(60, max(len(printable(command)) for command, _ in commands))
    yield from (f"#   {printable(command):{width}}   {what}" for command, what in commands)
    yield "#"
    yield from _columns(profile.columns)
    yield ""


def _columns(columns: Sequence[ColumnProfile]) -> Iterator[str]:
    yield "# Columns:"
    described = columns[:MAX_COLUMNS]
    width = max(len(_shown(c.name)) for c in described)
    for c in described:
        yield f"#   {_shown(c.name):{width}}  {c.description}" + (
            f" (dropped: {c.drop_reason})" if c.drop_reason else ""
        )
    if len(columns) > MAX_COLUMNS:
        yield f"#   … and {len(columns) - MAX_COLUMNS:,} more"


def _data(profile: TableProfile, dataset: Dataset, split: Mapping[str, Any]) -> Iterator[str]:
    yield "data:"
    yield from _source(profile)
    yield from _preprocessing(profile)
    rows = dict(dataset.rows)
    parts = ", ".join(f"{part} {number:,}" for part, number in rows.items() if number)
    what = f"{split['folds']} folds, so that every row is validated once" if "folds" in split else "rows"
    yield f"  split: {{{', '.join(f'{k}: {v}' for k, v in split.items())}}}  # {what}: {parts}"
    for column in split_columns(profile):
        reference = column.name if profile.settings.get("header", True) else column.position
        yield f"  # split: {{{column.split}: {scalar(reference)}}}  # it looks like {SPLIT_REASONS[str(column.split)]}"


def _source(profile: TableProfile) -> Iterator[str]:
    """Yield the lines of the recommended source settings."""
    by_name = profile.settings.get("header", True)
    why = {
        "path": "relative to the folder in which hpsearch runs",
        "test_path": "used once, at the end",
        "header": "the first line has the names" if profile.settings.get("header") else "columns are numbered from 0",
        "encoding": "it is not UTF-8",
        "skip_lines": "lines before the table",
        "skip_footer": "lines after the table",
        "thousands": "separator of groups of digits",
        "strip": "removed from numbers",
        "target": _shown(profile.target) if profile.target != str(profile.settings["target"]) else "",
        "task": _task(profile),
        "missing": "markers of missing cells, in addition to empty ones, NA, NaN …",
        "missing_target": "leaves out the rows without a target",
        "labels": "the test file spells them differently",
    }
    for key, value in profile.settings.items():
        if key == "drop":
            yield "  drop:"
            dropped = zip(value, (c for c in profile.columns if c.drop_reason), strict=True)
            yield from (f"    - {scalar(v)}" + f"  # {_named(v, c)}{c.drop_reason}" for v, c in dropped)
        elif key == "categorical":
            yield "  categorical:  # numbers that are categories"
            named = zip(value, (c for c in profile.columns if c.categorical_reason and not c.drop_reason), strict=True)
            yield from (f"    - {scalar(v)}" + f"  # {_named(v, c)}{c.categorical_reason}" for v, c in named)
        elif isinstance(value, dict):
            reason = (
                "a word may be a class; [] for no markers, * for the other columns" if key == "missing" else why[key]
            )
            yield f"  {key}:  # {reason}"
            yield from (f"    {scalar(a)}: {_value(b)}" for a, b in value.items())
        else:
            text = _value(value)
            yield f"  {key}: {text}" + (f"  # {why[key]}" if why.get(key) else "")
    codes = [
        c.name if by_name else c.position
        for c in profile.columns
        if c.maybe_codes and not c.drop_reason and not c.categorical_reason
    ]
    if codes:
        some = ", ".join(map(scalar, codes[:8]))
        yield f"  # categorical: [{some}]  # few whole numbers; if they are codes, not amounts, add this line"


def _value(value: Any) -> str:
    return f"[{', '.join(map(scalar, value))}]" if isinstance(value, list) else scalar(value)


def split_columns(profile: TableProfile) -> list[ColumnProfile]:
    """Return the columns that look like times or groups, at most one of each kind."""
    first = {column.split: column for column in reversed(profile.columns) if column.split}
    return [column for column in profile.columns if column.split and column is first[column.split]]


def _preprocessing(profile: TableProfile) -> Iterator[str]:
    used = [c for c in profile.columns if not c.drop_reason]
    if any(c.has_missing for c in used):
        yield "  impute: indicator  # the median, and a 0/1 column for missing cells; or median, most_frequent"
    most = max((c.categories for c in used), default=0)
    if most > UNGROUPED_CATEGORIES:
        yield f"  min_frequency: 5  # a column has {most:,} categories; those of fewer than 5 rows share an input"
    tails = [c for c in used if c.long_tail]
    if tails:
        yield f"  scale: scale  # searched: {len(tails)} column{'s have' if len(tails) > 1 else ' has'} a long tail"
    else:
        yield "  scale: standard  # or robust, quantile, minmax, none; fitted to the training rows"


def _model() -> Iterator[str]:
    yield "model:"
    yield "  depth: depth  # number of hidden layers, all alike"
    yield "  hidden: [{units: units, activation: relu, dropout: dropout}]"


def _train(size: StudySize) -> Iterator[str]:
    yield "train:"
    yield "  optimizer: adam"
    yield f"  epochs: {size.epochs}  # at most"
    yield f"  early_stopping: {{patience: {max(3, size.epochs // 6)}}}  # epochs without improvement"


def _metric(profile: TableProfile, dataset: Dataset) -> Iterator[str]:
    name, why = choose_metric(profile, dataset)
    yield "metric:"
    yield f"  name: {name}  # {why}"


def _parameters(profile: TableProfile, size: StudySize) -> Iterator[str]:
    batches, units = (", ".join(map(str, values)) for values in (size.batches, size.units))
    yield "parameters:"
    yield "  learning_rate: {min: 1e-4, max: 3e-2, scale: log, guess: 2e-3}  # the most important one; usual for adam"
    yield f"  batch_size: {{values: [{batches}], ordered: true}}"
    yield f"  depth: {{type: int, min: 1, max: {size.depth}}}"
    yield f"  units: {{values: [{units}], ordered: true}}"
    yield "  dropout: {min: 0.0, max: 0.5}  # against overfitting, like l2"
    yield "  l2: {min: 1e-6, max: 1e-2, scale: log}"
    if any(c.long_tail and not c.drop_reason for c in profile.columns):
        yield "  scale: {values: [standard, quantile]}  # quantile flattens long tails"


def _stages(size: StudySize) -> Iterator[str]:
    yield "stages:"
    yield "  - name: coarse  # the whole space"
    yield f"    budget: {size.coarse}  # as many epochs as {size.coarse} full trainings, most of them short"
    yield "    sampler: random"
    yield f"    pruning: {{kind: promote, min_epochs: {size.first_rung}}}  # one of three trials continues at each rung"
    yield "  - name: fine"
    yield f"    budget: {size.fine}"
    yield "    sampler: tpe"
    yield "    zoom: {keep: 6, every: 8}  # the box around the best six trials, renewed every eight trials"
    yield f"    pruning: {{kind: promote, rungs: [{', '.join(map(str, size.late_rungs))}]}}"
    yield "  - {name: confirm, top: 3, seeds: 5}  # the best three again, to rule out luck"
    yield f"parallel: {size.parallel}  # trials that train at the same time; unlike workers, it affects the results"
    yield "baselines: true  # also fits a constant, a linear model and gradient boosting, for comparison"


def _task(profile: TableProfile) -> str:
    if not profile.classes:
        return f"{format_number(profile.range[0])} … {format_number(profile.range[1])}"
    shares = [f"{_shown(name, 20)} {format_percent(n / profile.rows)}" for name, n in list(profile.classes.items())[:5]]
    more = ", …" if len(profile.classes) > 5 else ""
    return f"{len(profile.classes)} classes: {', '.join(shares)}{more}"


def summary_lines(profile: TableProfile, dataset: Dataset, split: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a summary of the table and of the choices, for the terminal."""
    size, metric = choose_size(dataset), choose_metric(profile, dataset)[0]
    parts = ", ".join(f"{part} {number:,}" for part, number in dataset.rows if number)
    yield f"target:   {_target(profile)}, {profile.settings['task']}: {_task(profile)}"
    used = sum(not c.drop_reason for c in profile.columns) - 1
    yield f"columns:  {used:,}, which become {dataset.inputs[0]:,} inputs"
    dropped = [f"{_shown(c.name)} ({c.drop_reason})" for c in profile.columns if c.drop_reason]
    if dropped:
        more = f", … and {len(dropped) - 3} more" if len(dropped) > 3 else ""
        yield f"dropped:  {', '.join(dropped[:3])}{more}"
    nonstandard = [
        _shown(c.name)
        for c in profile.columns
        if NONSTANDARD_NUMBERS in (c.drop_reason, c.description.rpartition("; ")[2])
    ]
    if nonstandard:
        listed = ", ".join(nonstandard[:3]) + ", …" * (len(nonstandard) > 3)
        yield f"warning:  {listed}: {NONSTANDARD_NUMBERS}, dropped or read as categories; write them in one unit"
    missing = profile.settings.get("missing", [])
    if isinstance(missing, dict):
        missing = [f"{name} {' '.join(marks) or 'without markers'}" for name, marks in missing.items()]
    if missing:
        yield f"missing:  {' '.join(map(_shown, missing))}"
    if "missing_target" in profile.settings:
        yield "targets:  rows without one are left out"
    for column in split_columns(profile):
        what = SPLIT_REASONS[str(column.split)]
        yield f"warning:  {_shown(column.name)} looks like {what}: split: {{{column.split}: {_shown(column.name)}}}"
    notation = {key: profile.settings[key] for key in ("decimal", "thousands", "strip") if key in profile.settings}
    if notation:
        yield f"numbers:  {', '.join(f'{key} {_list(value)}' for key, value in notation.items())}"
    yield f"rows:     {parts}" + (f", in {split['folds']} folds" if "folds" in split else "")
    yield from (f"note:     {printable(notice)}" for notice in profile.notices)
    epochs = f"epochs of {size.coarse} + {size.fine} full trainings"
    yield f"search:   {epochs} and 15 trials to confirm, by {metric}: {size.duration} on two cores"


def _list(value: str | list[str]) -> str:
    return " ".join(map(_shown, [value] if isinstance(value, str) else value))


def _target(profile: TableProfile) -> str:
    return _shown(profile.target) if profile.settings.get("header", True) else f"column {profile.target}"


def _shown(name: str, longest: int = 32) -> str:
    return printable(name, longest)


def _named(reference: str | int, column: ColumnProfile) -> str:
    """Return the column's name as a prefix if the study file refers to it by position; else nothing."""
    return "" if isinstance(reference, str) or column.name == str(reference) else f"{_shown(column.name)}: "

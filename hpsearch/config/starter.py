"""A study file to begin with, from a look at a table: what somebody with experience would try first, and why."""

import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hpsearch.config.load import load_spec
from hpsearch.core.text import format_number, format_percent, printable
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.data.profile import NONSTANDARD_NUMBERS, ColumnProfile, TableProfile, TaskType, profile_table
from hpsearch.data.sources import SOURCES
from hpsearch.data.splits import default_split
from hpsearch.errors import OutputError, SpecError

FOLDED = 2000  # rows below which one part of them is too few to choose by
FOLDS = 5
IMBALANCED = 0.2  # the share of the rarer of two classes below which accuracy says little
COARSE = 2000  # rows to choose by, below which accuracy moves in steps too coarse
SHOWN = 30  # columns that are described
WIDE = 500  # inputs that many units would make slow
MANY_NAMES = 50  # in a column, beyond which rare ones share a column
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"}  # to some reader of YAML


class Written(NamedTuple):
    """A study file that was written.

    Attributes:
        said: what a person should know of it, line by line.
    """

    out: Path
    said: tuple[str, ...]


class _Size(NamedTuple):
    """How much is trained.

    Attributes:
        coarse, fine: trials of the two stages.
        minutes: about how long that takes on two cores.
    """

    epochs: int
    batches: tuple[int, ...]
    units: tuple[int, ...]
    depth: int
    coarse: int
    fine: int
    minutes: str


def write(
    data: Path, target: str | None, out: Path | None, test: Path | None, task: TaskType | None, *, force: bool
) -> Written:
    """Looks at a table and writes a study file that runs as it is: its rows have been prepared once.

    Args:
        out: `<data>.yaml` in the current folder when not given.
        force: a file that is there is overwritten.

    Raises:
        DataError: the table cannot be read or learned from.
        OutputError: the file is there already, or cannot be written.
    """
    stem = data.name.removesuffix(".gz").rpartition(".")[0] or data.name
    out = out or Path(f"{stem}.yaml")
    _check_out(out, (data, test), force)
    found = profile_table(data, target, test, task)
    with tempfile.TemporaryDirectory(prefix="hpsearch-") as folder:
        split = _split(found)
        source = SOURCES[found.settings["source"]].model_validate({**found.settings, "split": split})
        dataset, _ = prepare(source, 0, Path(folder))
        text = study_file(found, dataset, split, out)
        _check(text, Path(folder), {**found.settings, "split": split})
    try:
        with out.open("w" if force else "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from None
    return Written(out, tuple(_said(found, dataset, split, out)))


def study_file(found: TableProfile, dataset: Dataset, split: Mapping[str, Any], out: Path) -> str:
    """The text of a study file.

    Args:
        dataset: its rows as they are prepared with this split.
        split: `data.split`.
        out: where it will be.
    """
    size, name = _size(dataset), _name(out)
    lines = [
        *_header(found, size, name, out),
        f"name: {scalar(name)}",
        "seed: 0",
        "",
        *_data(found, dataset, split),
        "",
        *_model(size),
        "",
        *_train(size, dataset),
        "",
        *_metric(found, dataset),
        "",
        *_parameters(found, size),
        "",
        *_stages(size),
    ]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def scalar(value: bool | float | str) -> str:
    """A value as YAML 1.2 on one line, which any text comes back from as it is."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if _BARE.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return '"' + "".join(map(_quoted, value)) + '"'


def _quoted(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# --- what is chosen


def _split(found: TableProfile) -> dict[str, Any]:
    """Folds for a small table, where each class has enough rows for them; else fractions by the number of rows."""
    test = 0.0 if found.test else default_split(found.rows).test
    learned = found.rows * (1 - test)
    rarest = min(found.classes.values(), default=found.rows) * (1 - test)
    if learned < FOLDED and learned >= 4 * FOLDS and rarest >= FOLDS + 1:
        return {"folds": FOLDS} if found.test else {"folds": FOLDS, "test": test}
    chosen = default_split(found.rows)
    if not found.test:
        return {"train": chosen.train, "val": chosen.val, "test": chosen.test}
    val = {0.2: 0.2, 0.1: 0.1}.get(chosen.val, 0.01)
    return {"train": round(1 - val, 2), "val": val, "test": 0}


def _size(dataset: Dataset) -> _Size:
    rows, inputs = dict(dataset.rows)["train"], dataset.inputs[0]
    smallest = next((2**k for k in range(9, 4, -1) if 2**k <= rows / 64), 16)
    batches = [b for b in (smallest, 2 * smallest, 4 * smallest, 8 * smallest) if b <= rows] or [smallest]
    epochs = next(e for most, e in ((10_000, 60), (100_000, 30), (500_000, 12), (10**18, 6)) if rows <= most)
    units: tuple[int, ...] = (16, 32, 64) if inputs > WIDE else (16, 32, 64, 128)
    depth = 2 if rows < FOLDED else 3
    passes = epochs * rows
    load = passes * dataset.folds * (inputs + 2 * max(units)) / 1e6 + passes / smallest / 20  # arithmetic, and steps
    coarse, fine = next(t for most, t in ((900, (48, 32)), (2000, (32, 16)), (1e18, (16, 16))) if load <= most)
    minutes = (5 + load * (coarse + fine) / 1000) / 60  # as measured
    told = "about a minute" if minutes < 1.75 else f"about {minutes:.0f} minutes" if minutes < 100 else "hours"
    return _Size(epochs, tuple(batches), units, depth, coarse, fine, told)


def _chosen_by(found: TableProfile, dataset: Dataset) -> tuple[str, str]:
    """The metric, and why."""
    if not found.classes:
        return "val/rmse", "the usual error, in the units of the target; also val/mae, val/r2, val/loss"
    val = dict(dataset.rows)["val"] * dataset.folds
    few = found.rarest * len(found.classes) < 2 * IMBALANCED
    rarest = f"the rarest class has {format_percent(found.rarest)} of the rows, so accuracy says little"
    if few and found.rarest * dict(dataset.rows)["val"] >= 3:
        if len(found.classes) == 2:
            return "val/roc_auc", f"{rarest}; also val/f1, val/balanced_accuracy"
        return "val/balanced_accuracy", f"{rarest}; also val/f1, val/roc_auc"
    if few or val < COARSE:
        return (
            "val/loss",
            f"{val:,} rows to choose by: finer than accuracy, with steps of {format_percent(1 / val)}",
        )
    return (
        "val/accuracy",
        f"the rarest class has {format_percent(found.rarest)} of the rows; also val/loss, val/roc_auc, val/f1",
    )


# --- what is written


def _header(found: TableProfile, size: _Size, name: str, out: Path) -> Iterator[str]:
    file, database = shlex.quote(str(out)), shlex.quote(str(out.with_name(f"{name}.db")))
    rows = f"{found.rows:,} rows" + (f" and {found.test:,} for the test" if found.test else "")
    yield f"# Searches the settings of a small neural net that predicts {_target(found)} from the other columns of"
    yield f"# {_told(found.settings['path'], 80)}: {rows}, {len(found.columns)} columns."
    yield "# Written by hpsearch init. Every choice is only a place to begin."
    yield "#"
    commands = [
        (f"hpsearch run {file}", f"{size.minutes} on two cores; may be stopped and run again"),
        (f"hpsearch show {database}", "what was found"),
        (f"hpsearch export {database} --to model", "the best model, in a folder of its own"),
    ]
    width = min(60, max(len(printable(command)) for command, _ in commands))
    yield from (f"#   {printable(command):{width}}   {what}" for command, what in commands)
    yield "#"
    yield from _columns(found.columns)
    yield ""


def _columns(columns: Sequence[ColumnProfile]) -> Iterator[str]:
    yield "# Columns:"
    shown = columns[:SHOWN]
    width = max(len(_told(c.name)) for c in shown)
    for c in shown:
        yield f"#   {_told(c.name):{width}}  {c.description}" + (
            f" (dropped: {c.drop_reason})" if c.drop_reason else ""
        )
    if len(columns) > SHOWN:
        yield f"#   … and {len(columns) - SHOWN:,} more"


def _data(found: TableProfile, dataset: Dataset, split: Mapping[str, Any]) -> Iterator[str]:
    why = {
        "path": "relative to the folder that hpsearch is run in",
        "test_path": "read once, at the end",
        "header": "the first line holds the names"
        if found.settings.get("header")
        else "columns are told by their place",
        "encoding": "it is not UTF-8",
        "target": _told(found.target) if found.target != str(found.settings["target"]) else "",
        "task": _of_task(found),
        "missing": "what stands for a missing cell, beside an empty one, NA, NaN …",
        "labels": "the test file writes them otherwise",
    }
    yield "data:"
    for key, value in found.settings.items():
        if key == "drop":
            yield "  drop:"
            dropped = zip(value, (c for c in found.columns if c.drop_reason), strict=True)
            yield from (f"    - {scalar(v)}" + f"  # {_named(v, c)}{c.drop_reason}" for v, c in dropped)
        elif key == "categorical":
            yield "  categorical:  # numbers that are names"
            named = zip(value, (c for c in found.columns if c.categorical_reason and not c.drop_reason), strict=True)
            yield from (f"    - {scalar(v)}" + f"  # {_named(v, c)}{c.categorical_reason}" for v, c in named)
        elif isinstance(value, dict):
            yield f"  {key}:  # {why[key]}"
            yield from (f"    {scalar(a)}: {scalar(b)}" for a, b in value.items())
        else:
            written = f"[{', '.join(map(scalar, value))}]" if isinstance(value, list) else scalar(value)
            yield f"  {key}: {written}" + (f"  # {why[key]}" if why.get(key) else "")
    by_name = found.settings.get("header", True)
    codes = [
        c.name if by_name else c.position
        for c in found.columns
        if c.maybe_codes and not c.drop_reason and not c.categorical_reason
    ]
    if codes:
        some = ", ".join(map(scalar, codes[:8]))
        yield f"  # categorical: [{some}]  # few whole numbers; for codes, not amounts, add this line"
    used = [c for c in found.columns if not c.drop_reason]
    if any(c.has_missing for c in used):
        yield "  impute: indicator  # the median, and a column that says that it was missing; or median, most_frequent"
    most = max((c.categories for c in used), default=0)
    if most > MANY_NAMES:
        yield f"  min_frequency: 5  # a column has {most:,} names: those of fewer than 5 rows share an input"
    tails = [c for c in used if c.long_tail]
    yield (
        f"  scale: scale  # searched, for {len(tails)} column{'s have' if len(tails) > 1 else ' has'} a long tail"
        if tails
        else "  scale: standard  # or robust, quantile, minmax, none; fitted on the rows that are learned from"
    )
    rows = dict(dataset.rows)
    parts = ", ".join(f"{part} {number:,}" for part, number in rows.items() if number)
    what = f"{split['folds']} folds, so that all rows are chosen by" if "folds" in split else "rows"
    yield f"  split: {{{', '.join(f'{k}: {v}' for k, v in split.items())}}}  # {what}: {parts}"


def _model(size: _Size) -> Iterator[str]:
    yield "model:"
    yield "  depth: depth  # how many hidden layers, all alike"
    yield "  hidden: [{units: units, activation: relu, dropout: dropout}]"


def _train(size: _Size, dataset: Dataset) -> Iterator[str]:
    yield "train:"
    yield "  optimizer: adam"
    yield f"  epochs: {size.epochs}  # at most"
    yield f"  early_stopping: {{patience: {max(3, size.epochs // 6)}}}  # epochs without a better value"


def _metric(found: TableProfile, dataset: Dataset) -> Iterator[str]:
    name, why = _chosen_by(found, dataset)
    yield "metric:"
    yield f"  name: {name}  # {why}"


def _parameters(found: TableProfile, size: _Size) -> Iterator[str]:
    batches, units = (", ".join(map(str, values)) for values in (size.batches, size.units))
    yield "parameters:"
    yield "  learning_rate: {min: 1e-4, max: 3e-2, scale: log}  # what matters most"
    yield f"  batch_size: {{values: [{batches}], ordered: true}}"
    yield f"  depth: {{type: int, min: 1, max: {size.depth}}}"
    yield f"  units: {{values: [{units}], ordered: true}}"
    yield "  dropout: {min: 0.0, max: 0.5}  # this and l2 against overfitting"
    yield "  l2: {min: 1e-6, max: 1e-2, scale: log}"
    if any(c.long_tail and not c.drop_reason for c in found.columns):
        yield "  scale: {values: [standard, quantile]}  # quantile flattens long tails"


def _stages(size: _Size) -> Iterator[str]:
    yield "stages:"
    yield f"  - {{name: coarse, trials: {size.coarse}, sampler: random}}  # the whole space"
    zoom = "zoom: {keep_top: 0.25, margin: 0.1}"
    yield f"  - {{name: fine, trials: {size.fine}, sampler: tpe, {zoom}}}  # the box of the best quarter"
    yield "  - {name: confirm, top: 3, seeds: 5}  # the best three again, to tell luck from skill"
    first = max(1, size.epochs // 9)
    yield f"pruning: {{kind: successive_halving, min_epochs: {first}}}  # from there on one trial of three goes on"


def _of_task(found: TableProfile) -> str:
    if not found.classes:
        return f"{format_number(found.range[0])} … {format_number(found.range[1])}"
    shares = [f"{_told(name, 20)} {format_percent(n / found.rows)}" for name, n in list(found.classes.items())[:5]]
    more = ", …" if len(found.classes) > 5 else ""
    return f"{len(found.classes)} classes: {', '.join(shares)}{more}"


def _said(found: TableProfile, dataset: Dataset, split: Mapping[str, Any], out: Path) -> Iterator[str]:
    size, metric = _size(dataset), _chosen_by(found, dataset)[0]
    parts = ", ".join(f"{part} {number:,}" for part, number in dataset.rows if number)
    yield f"target:   {_target(found)}, {found.settings['task']}: {_of_task(found)}"
    used = sum(not c.drop_reason for c in found.columns) - 1
    yield f"columns:  {used:,} to learn from, which become {dataset.inputs[0]:,} inputs"
    dropped = [f"{_told(c.name)} ({c.drop_reason})" for c in found.columns if c.drop_reason]
    if dropped:
        more = f", … and {len(dropped) - 3} more" if len(dropped) > 3 else ""
        yield f"dropped:  {', '.join(dropped[:3])}{more}"
    odd = [
        _told(c.name)
        for c in found.columns
        if NONSTANDARD_NUMBERS in (c.drop_reason, c.description.rpartition("; ")[2])
    ]
    if odd:
        more = ", …" * (len(odd) > 3)
        yield f"mind:     {', '.join(odd[:3])}{more}: {NONSTANDARD_NUMBERS}, so they are taken for names"
    if "missing" in found.settings:
        yield f"missing:  {' '.join(_told(mark) for mark in found.settings['missing'])}"
    yield f"rows:     {parts}" + (f", in {split['folds']} folds" if "folds" in split else "")
    yield f"search:   {size.coarse} + {size.fine} trials and 15 to confirm, by {metric}: {size.minutes} on two cores"


def _target(found: TableProfile) -> str:
    return _told(found.target) if found.settings.get("header", True) else f"column {found.target}"


def _told(name: str, longest: int = 32) -> str:
    return printable(name, longest)


def _named(written: str | int, column: ColumnProfile) -> str:
    """Which column a place is."""
    return "" if isinstance(written, str) or column.name == str(written) else f"{_told(column.name)}: "


# --- the file


def _name(out: Path) -> str:
    """Of the study, and so of its database."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", out.stem).strip("-_")[:100] or "study"


def _check_out(out: Path, inputs: Sequence[Path | None], force: bool) -> None:
    try:
        same = any(other is not None and out.resolve() == other.resolve() for other in inputs)
        there = out.exists()
    except (OSError, ValueError) as error:  # a name with a zero byte
        raise OutputError(f"{out}: cannot be written: {error}") from None
    if same:
        raise OutputError(f"{out}: is the table itself; name another file: --out")
    if there and not force:
        raise OutputError(f"{out}: is there already; name another file: --out, or overwrite it: --force")


def _check(text: str, folder: Path, data: Mapping[str, Any]) -> None:
    """That a study file loads, and means what was meant.

    Raises:
        RuntimeError: it does not, which is a mistake of ours.
    """
    draft = folder / "study.yaml"
    draft.write_text(text, "utf-8")
    try:
        spec, _ = load_spec(draft)
    except SpecError as error:
        raise RuntimeError(f"hpsearch init wrote a study file that does not load: {error}") from error
    meant = SOURCES[data["source"]].model_validate(data)
    found = {key: getattr(spec.data, key) for key in data}
    if found != {key: getattr(meant, key) for key in data}:
        raise RuntimeError(f"hpsearch init wrote a study file that says something else: {found}")

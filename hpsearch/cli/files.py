"""Commands that work on files: `hpsearch check`, `init`, `schema`, `inspect`, `range-test` and `predict`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpsearch.cli.options import SET, load_study_file, say
from hpsearch.core.text import format_count, natural_order
from hpsearch.errors import PracticeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpsearch.config.document import KeyPath
    from hpsearch.config.spec import Spec


@click.command("check")
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--train", is_flag=True, help="Also train one trial for two steps, to see that it resumes exactly.")
@click.option("--data", "with_data", is_flag=True, help="Also read the rows and compare val and test with train.")
@click.option("--strict", is_flag=True, help="Exit with code 2 if there is a note on good practice.")
@SET
def check_command(study: Path, train: bool, with_data: bool, strict: bool, overrides: tuple[str, ...]) -> None:
    """Check the study file STUDY, note what the literature advises against, and summarize its stages."""
    from hpsearch.config.load import load_with_lines
    from hpsearch.search.schedule.ahead import idle_notice, worker_count
    from hpsearch.search.schedule.startup import startup_notices

    spec, notices, where = load_with_lines(study, overrides)
    for notice in filter(None, [*notices, *startup_notices(spec), idle_notice(spec, worker_count(spec))]):
        say(f"note: {notice}", err=True)
    lines, count = _practice(spec, where, with_data)
    if strict and count:
        raise PracticeError(f"{study}: {format_count(count, 'note')} on good practice, which --strict refuses")
    stages = ", ".join(f"{s.name} {s.trials or s.size}: {s.how}" for s in spec.stages)
    split = "" if spec.data is None or spec.data.split is None else f"; rows split {spec.data.split.described}"
    _check_code(spec, study.parent)
    say(f"{study}: ok: study '{spec.name}', {spec.metric.described}; {stages}{split}")
    for line in lines:
        say(line)
    if train:
        _check_training(spec, study.parent)


def _practice(spec: "Spec", where: "Callable[[KeyPath], str]", with_data: bool) -> tuple[list[str], int]:
    """Print notes on good practice in the order of the lines; return sentences about the rows, and their count."""
    from hpsearch.config.practice import practice_notes

    notes, lines = list(practice_notes(spec)), list[str]()
    if with_data:
        from hpsearch.report.inspection.rows import inspect_rows

        lines, of_rows = inspect_rows(spec)
        paths = {note.path for note in of_rows}
        notes = [*(note for note in notes if note.path not in paths), *of_rows]
    for note in sorted(notes, key=lambda note: natural_order(where(note.path))):
        say(f"note: {where(note.path)}: {note}", err=True)
    return lines, len(notes)


def _check_code(spec: "Spec", folder: Path) -> None:
    """Check the training code of a study, without running it."""
    from hpsearch.config.spec import CommandTraining, FunctionTraining
    from hpsearch.data.dataset import Dataset

    if isinstance(spec.train, FunctionTraining | CommandTraining):
        from hpsearch.training.objectives import objective_of
        from hpsearch.training.objectives.code import find_code

        _, notes = objective_of(spec).settle(spec, Dataset.empty(""), find_code(spec, folder))
        for note in notes:
            say(f"note: {note}", err=True)


def _check_training(spec: "Spec", folder: Path) -> None:
    """Train one trial for two steps in several ways, and print whether they agree, and what the study costs."""
    from hpsearch.core.text import format_duration, format_value
    from hpsearch.errors import TrainingCodeError
    from hpsearch.search.checks.training_check import check_training, resume_summary, training_advice
    from hpsearch.search.schedule.ahead import worker_count

    report = check_training(spec, folder)
    at = ", ".join(f"{name} {format_value(value)}" for name, value in report.point.items())
    if report.error is not None:
        raise TrainingCodeError(f"the trial failed (at {at}): {report.error}")
    step, total = format_duration(report.seconds), format_duration(report.total)
    workers = min(worker_count(spec), spec.parallel)
    say(f"training: {resume_summary(spec, report)} (at {at})")
    say(f"          a step takes {step}, the study at most {total} with {format_count(workers, 'worker')}")
    if advice := training_advice(report):
        raise TrainingCodeError(advice)


@click.command("schema")
@click.option("--out", type=click.Path(path_type=Path), help="File to write. [default: standard output]")
def schema_command(out: Path | None) -> None:
    """Print the JSON Schema of study files, which editors use for completion and checks."""
    from hpsearch.config.schema import schema_text, write_schema

    if out is None:
        click.echo(schema_text(), nl=False)
    else:
        write_schema(out)
        say(f"{out}: written; first line of a study file: # yaml-language-server: $schema={out}")


@click.command("init")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--target", metavar="COLUMN", help="Column to predict: its name, or its index (negative from the end).")
@click.option("--out", type=click.Path(path_type=Path), help="File to write. [default: DATA.yaml in this folder]")
@click.option("--test", type=click.Path(path_type=Path), help="File of the test rows, if they are separate.")
@click.option("--task", type=click.Choice(["classification", "regression"]), help="[default: inferred from the target]")
@click.option("--header/--no-header", default=None, help="The first line holds the names. [default: guessed]")
@click.option("--encoding", help="Encoding of a text file, such as cp1252. [default: guessed]")
@click.option("--force", is_flag=True, help="Overwrite the file.")
def init_command(
    data: Path,
    target: str | None,
    out: Path | None,
    test: Path | None,
    task: Any,
    header: bool | None,
    encoding: str | None,
    force: bool,
) -> None:
    """Write a study file, ready to run, for the table DATA (CSV or Parquet)."""
    from hpsearch.config.starter import write_study_file

    written = write_study_file(data, target, out, test, task, header=header, encoding=encoding, force=force)
    say("\n".join([f"{written.study}: written", *(f"  {line}" for line in written.summary)]))
    say(f"{written.schema}: written; editors use it to complete and check the study file")
    say(f"Run it: hpsearch run {shlex.quote(str(written.study))}")


@click.command("inspect")
@click.argument("study", type=click.Path(path_type=Path))
@SET
def inspect_command(study: Path, overrides: tuple[str, ...]) -> None:
    """Inspect the network at the center of STUDY's space before training: layers, gradients, first loss, one batch."""
    from rich.console import Console

    from hpsearch.report.inspection.network import inspect_network
    from hpsearch.report.inspection.text import inspection_text
    from hpsearch.report.text import output_console

    output_console(Console()).print(inspection_text(inspect_network(load_study_file(study, overrides))))


@click.command("range-test")
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--low", type=float, default=1e-5, show_default=True, help="First learning rate.")
@click.option("--high", type=float, default=10.0, show_default=True, help="Last learning rate.")
@click.option("--steps", type=int, default=200, show_default=True, help="Number of mini-batches.")
@SET
def range_test_command(study: Path, low: float, high: float, steps: int, overrides: tuple[str, ...]) -> None:
    """Find learning rates worth searching: train once at the center of STUDY's space while the rate grows."""
    from rich.console import Console

    from engine.types import EngineError
    from hpsearch.report.range_test import lr_range_as_text
    from hpsearch.report.text import output_console
    from hpsearch.search.checks.lr_range import lr_range_test

    spec = load_study_file(study, overrides)
    try:
        lr_range = lr_range_test(spec, low, high, steps)
    except EngineError as error:
        raise click.UsageError(str(error)) from None
    output_console(Console()).print(lr_range_as_text(lr_range))


@click.command("predict")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("rows", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="CSV file to write.")
@click.option("--raw", is_flag=True, help="Do not put ' before class names that begin with = + - @.")
def predict_command(model: Path, rows: Path, out: Path, raw: bool) -> None:
    """Predict the ROWS of a CSV or Parquet file with the exported MODEL."""
    from hpsearch.models.prediction import predict_file
    from hpsearch.models.predictors.own_code import predicting_model

    with predicting_model(model) as loaded:
        count = predict_file(loaded, rows, out, raw=raw)
    say(f"{out}: {count:,} predictions")

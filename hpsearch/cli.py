"""The commands: each reads its options and calls one function. Nothing heavy is imported before it is needed."""

import atexit
import contextlib
import gc
import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpsearch.core.text import printable, redacted
from hpsearch.core.version import __version__
from hpsearch.errors import HpsearchError, Interrupted

if TYPE_CHECKING:
    from hpsearch.config.spec import Spec
    from hpsearch.study.session import ExecutorFactory, Options

WORKERS = click.option("--workers", type=click.IntRange(1), help="Processes that train. Changes no result.")
TRACKING = click.option("--tracking-uri", help="Where MLflow is; 'none' for nowhere. [default: mlruns/mlflow.db]")
QUIET = click.option("--quiet", is_flag=True, help="Print the result only.")
RETRY = click.option("--retry-failed", is_flag=True, help="Train failed trials again.")
SET = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="E.g. --set stages.0.trials=8")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hpsearch")
def commands() -> None:
    """Hyperparameter search for small neural nets: one study file in; a searched, tracked study out."""


@commands.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--storage", metavar="URL", help="The study database. [default: NAME.db beside the study file]")
@TRACKING
@WORKERS
@SET
@RETRY
@click.option("--fork", metavar="NEWNAME", help="Start another study, in NEWNAME.db, with what this one has found.")
@QUIET
def run(
    study: Path,
    storage: str | None,
    tracking_uri: str | None,
    workers: int | None,
    overrides: tuple[str, ...],
    retry_failed: bool,
    fork: str | None,
    quiet: bool,
) -> None:
    """Start or resume the study in file STUDY."""
    _start_forkserver()
    spec = _load(study, overrides)
    from hpsearch.storage.database import forked_url
    from hpsearch.storage.sqlite_file import default_tracking_uri, default_url, url_of
    from hpsearch.study.session import Options

    url, parent = url_of(storage) if storage else default_url(study, spec.name), None
    if fork is not None:
        from hpsearch.config.load import load_spec

        spec, _ = load_spec(study, (*overrides, f"name={json.dumps(fork)}"))
        url, parent = forked_url(url, spec.name), url
    options = Options(workers, tracking_uri or default_tracking_uri(), retry_failed=retry_failed, parent=parent)
    _run(spec, url, options, tracking_uri, quiet)


@commands.command()
@click.argument("database")
@TRACKING
@WORKERS
@RETRY
@QUIET
def resume(database: str, tracking_uri: str | None, workers: int | None, retry_failed: bool, quiet: bool) -> None:
    """Resume the study in DATABASE, a file or a URL; its study file is not needed."""
    _start_forkserver()
    from hpsearch.storage.sqlite_file import default_tracking_uri
    from hpsearch.study.session import Options

    options = Options(workers, tracking_uri or default_tracking_uri(), retry_failed=retry_failed)
    _run(None, _url(database), options, tracking_uri, quiet)


@commands.command()
@click.argument("database")
@click.option("--json", "as_json", is_flag=True, help="Print all data as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a CSV table with a row for each trial.")
@click.option("--all", "all_trials", is_flag=True, help="List all trials, not only the best.")
@click.option("--watch", is_flag=True, help="Follow the study while it runs; Ctrl-C ends that, not the study.")
def show(database: str, as_json: bool, as_csv: bool, all_trials: bool, watch: bool) -> None:
    """Show stages, best trials and parameter importance of the study in DATABASE (read-only)."""
    if as_json + as_csv + watch > 1:
        raise click.UsageError("--json, --csv and --watch exclude each other")
    from hpsearch.report.show import print_study

    output: Any = "json" if as_json else "csv" if as_csv else "text"
    print_study(_url(database), output, all_trials=all_trials, follow=watch)


@commands.command()
@click.argument("study", type=click.Path(path_type=Path))
@SET
def check(study: Path, overrides: tuple[str, ...]) -> None:
    """Check the study file STUDY, and say what it searches."""
    spec = _load(study, overrides)
    stages = ", ".join(f"{s.name} {s.trials}: {s.how}" for s in spec.stages)
    _say(f"{study}: ok: study '{spec.name}', {spec.metric.name}; {stages}")


@commands.command()
@click.option("--out", type=click.Path(path_type=Path), help="File to write. [default: standard output]")
def schema(out: Path | None) -> None:
    """Print the JSON Schema of study files, with which editors complete and check them."""
    from hpsearch.config.schema import schema_text, write_schema

    if out is None:
        click.echo(schema_text(), nl=False)
    else:
        write_schema(out)
        _say(f"{out}: written; first line of a study file: # yaml-language-server: $schema={out}")


@commands.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--target", metavar="COLUMN", help="The column to predict: its name, or its place from 0, or from -1 backwards."
)
@click.option("--out", type=click.Path(path_type=Path), help="The file to write. [default: DATA.yaml in this folder]")
@click.option("--test", type=click.Path(path_type=Path), help="The file of the test rows, if they are apart.")
@click.option("--task", type=click.Choice(["classification", "regression"]), help="[default: guessed from the target]")
@click.option("--force", is_flag=True, help="Overwrite the file.")
def init(data: Path, target: str | None, out: Path | None, test: Path | None, task: Any, force: bool) -> None:
    """Write a study file for the table DATA, a CSV or Parquet file, that runs as it is."""
    from hpsearch.config.starter import write_study_file

    written = write_study_file(data, target, out, test, task, force=force)
    _say("\n".join([f"{written.study}: written", *(f"  {line}" for line in written.summary)]))
    _say(f"{written.schema}: written; editors complete and check the study file with it")
    _say(f"Run it: hpsearch run {shlex.quote(str(written.study))}")


@commands.command()
@click.argument("databases", nargs=-1, metavar="[DATABASE]...")
@TRACKING
def doctor(databases: tuple[str, ...], tracking_uri: str | None) -> None:
    """Check the installation, the machine, MLflow and studies (those found here, when none is given)."""
    from hpsearch.admin.doctor import examine
    from hpsearch.storage.sqlite_file import default_tracking_uri

    failed = False
    for finding in examine(databases, tracking_uri or default_tracking_uri()):
        _say(str(finding))
        failed = failed or finding.level == "FAIL"
    if failed:
        sys.exit(1)


@commands.command()
@click.argument("database")
@TRACKING
@QUIET
def sync(database: str, tracking_uri: str | None, quiet: bool) -> None:
    """Upload trials of the study in DATABASE that are missing from MLflow."""
    from hpsearch.admin import sync as syncing
    from hpsearch.storage.sqlite_file import default_tracking_uri

    with _stoppable() as stopping:
        report = syncing.sync(_url(database), tracking_uri or default_tracking_uri(), lambda: bool(stopping))
    for notice in report.notices:
        _say(f"note: {notice}", err=True)
    if not quiet:
        _say(report.line)


@commands.command()
@click.argument("study", required=False, metavar="[DATABASE or STUDY.yaml]")
@click.option("--tracking-uri", help="MLflow's file, or a server's address. [default: mlruns/mlflow.db]")
@click.option("--port", type=click.IntRange(0, 65535), help="0 for any. [default: 5000, or the next that is free]")
@click.option("--no-open", "closed", is_flag=True, help="Print the link; open no browser.")
def ui(study: str | None, tracking_uri: str | None, port: int | None, closed: bool) -> None:
    """Show a study, or the latest, in MLflow's page, until Ctrl-C."""
    from hpsearch.admin import ui as page
    from hpsearch.storage.sqlite_file import default_tracking_uri

    url = study and _url(study)
    with _stoppable() as stopping:
        try:
            for line in page.show_study(
                tracking_uri or default_tracking_uri(), url, port, not closed, lambda: bool(stopping)
            ):
                _say(line)
        except page.ServerEnded as error:
            _say(f"error: {error}", err=True)
            sys.exit(1)


@commands.group()
def db() -> None:
    """Look after MLflow's database."""


@db.command()
@click.option("--tracking-uri", help="MLflow's file. [default: mlruns/mlflow.db]")
def upgrade(tracking_uri: str | None) -> None:
    """Bring MLflow's database to the schema of the installed MLflow; a copy of what it was stays beside it."""
    from hpsearch.admin import mlflow_upgrade as upgrading
    from hpsearch.storage.sqlite_file import default_tracking_uri

    done = upgrading.upgrade(tracking_uri or default_tracking_uri())
    if done.backup is None:
        _say(f"{done.path}: schema {done.after}, as the installed MLflow expects; nothing to do")
    else:
        _say(f"{done.path}: upgraded from schema {done.before} to {done.after}\nAs it was: {done.backup}")


@commands.command()
@click.argument("database")
@click.option("--to", "folder", type=click.Path(path_type=Path), required=True, help="A new folder, or a model's.")
@click.option("--onnx", is_flag=True, help="Write model.onnx too: the whole pipeline.")
def export(database: str, folder: Path, onnx: bool) -> None:
    """Write the best model of the study in DATABASE to a folder that needs nothing else."""
    from hpsearch.api import load_study
    from hpsearch.models.export import export_model
    from hpsearch.report.tables import format_scores

    model = export_model(load_study(_url(database)).model, folder, onnx=onnx)
    _say(f"{folder}: {model.about['study']} {model.about['trial']}, {format_scores(model.about['metrics'])}")


@commands.command()
@click.argument("database")
@click.option("--out", type=click.Path(path_type=Path), help="The HTML file. [default: NAME-report.html beside it]")
@click.option(
    "--png/--no-png",
    default=None,
    help="Write the charts as PNG files too. [default: if kaleido and Chrome or Chromium are installed]",
)
def report(database: str, out: Path | None, png: bool | None) -> None:
    """Write a report of the study in DATABASE: a self-contained HTML file, and its charts as PNG files."""
    from hpsearch.report.html.report import write_report

    written = write_report(_url(database), out, png=png)
    _say(f"{written.page}: {written.page.stat().st_size / 1e6:.1f} MB, self-contained")
    if written.images:
        _say(f"{written.images[0].parent}: {len(written.images)} PNG files")
    if written.notice is not None:
        _say(f"note: {written.notice}", err=True)


@commands.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("rows", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The CSV file to write.")
def predict(model: Path, rows: Path, out: Path) -> None:
    """Predict the ROWS of a CSV or Parquet file with the exported MODEL."""
    from hpsearch.models.model import Model
    from hpsearch.models.prediction import predict_file

    count = predict_file(Model.load(model), rows, out)
    _say(f"{out}: {count:,} predictions")


@commands.command("range-test")
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--low", type=float, default=1e-5, show_default=True, help="The first learning rate.")
@click.option("--high", type=float, default=10.0, show_default=True, help="The last one.")
@click.option("--steps", type=int, default=200, show_default=True, help="Batches to train on.")
@SET
def range_test(study: Path, low: float, high: float, steps: int, overrides: tuple[str, ...]) -> None:
    """Find learning rates worth searching: train once while the rate grows, at the middle of STUDY's space."""
    from rich.console import Console

    from engine.types import EngineError
    from hpsearch.report.range_test import lr_range_as_text
    from hpsearch.report.text import output_console
    from hpsearch.search.lr_range import lr_range_test

    spec = _load(study, overrides)
    try:
        found = lr_range_test(spec, low, high, steps)
    except EngineError as error:
        raise click.UsageError(str(error)) from None
    output_console(Console()).print(lr_range_as_text(found))


def _start_forkserver() -> None:
    from hpsearch.core import processes

    processes.start_forkserver()


def _url(database: str) -> str:
    """Of a database, or of that of a study file."""
    from hpsearch.storage.sqlite_file import default_url, url_of

    if database.endswith((".yaml", ".yml")):
        return default_url(Path(database), _load(Path(database), ()).name)
    return url_of(database)


def _load(study: Path, overrides: tuple[str, ...]) -> "Spec":
    from hpsearch.config.load import load_spec

    spec, notices = load_spec(study, overrides)
    for notice in notices:
        _say(f"note: {notice}", err=True)
    return spec


def _run(spec: "Spec | None", url: str, options: "Options", given: str | None, quiet: bool) -> None:
    from rich.console import Console

    from hpsearch.report.live import LiveDisplay
    from hpsearch.report.text import as_text, best_trial_text, output_console
    from hpsearch.storage.database import display_name
    from hpsearch.study.progress import Halted
    from hpsearch.study.session import Session

    console = Console()
    executor, tracking = click.get_current_context().obj or options.executor, options.tracking
    display = LiveDisplay(console, quiet=quiet)
    resume_hint = f"Resume with: hpsearch resume {shlex.quote(display_name(url))}"
    if given and redacted(given) == given:  # an address with a password in it is not repeated
        resume_hint += f" --tracking-uri {shlex.quote(given)}"
    with _stoppable() as stopping:
        try:
            with Session(spec, url, options._replace(stop=lambda: bool(stopping), executor=executor)) as session:
                for notice in session.notices:
                    _say(f"note: {notice}", err=True)
                metric = session.spec.metric.name
                with display.live():
                    for progress in session.run():
                        for note in progress.notes:
                            display.note(note)
                        display.update(progress, metric)
                found = session.summary()
        except (Interrupted, KeyboardInterrupt):
            _say(f"stopped; everything finished is saved. {resume_hint}", err=True)
            sys.exit(130)
        except Halted as error:
            _say(f"error: {error}; everything finished is saved. {resume_hint}", err=True)
            sys.exit(1)
    if not quiet:
        output_console(console).print(as_text(found))
    elif found.ranking:
        console.print(best_trial_text(found.ranking[0]), soft_wrap=True)
    _say(f"Database: {display_name(url)}   (hpsearch show {shlex.quote(display_name(url))})")
    if session.untracked:
        _say(f"warning: {session.untracked}", err=True)
    elif tracking.startswith("sqlite"):
        elsewhere = f" --tracking-uri {shlex.quote(_relative(tracking))}" if given else ""
        _say(f"MLflow:   {_beside_python('hpsearch')} ui{elsewhere}")
    if found.ranking:
        _say(f"Report:   {_beside_python('hpsearch')} report {shlex.quote(display_name(url))}")
    else:
        _say("error: no trial is complete; nothing was found", err=True)
        sys.exit(1)


@contextlib.contextmanager
def _stoppable() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM are noted in the list and heard between two steps; a second one ends the process at once."""
    caught: list[int] = []

    def note(number: int, _frame: Any) -> None:
        if caught:
            os._exit(130)  # at once, without cleanup, which may wait for MLflow
        caught.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: str, *, err: bool = False) -> None:
    """Lines that a terminal only shows, whatever a path or a message holds."""
    click.echo("\n".join(printable(line, 5000) for line in text.split("\n")), err=err)


def _beside_python(command: str) -> str:
    path = Path(sys.executable).with_name(command)
    return _under_here(path) if path.exists() else command


def _relative(uri: str) -> str:
    return f"sqlite:///{_under_here(Path(uri.removeprefix('sqlite:///')))}"


def _under_here(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def main(executor: "str | ExecutorFactory" = "processes") -> None:
    """The installed command. Exit 0 done, 2 a person's mistake, 130 interrupted, 1 anything else.

    Args:
        executor: name of the executor that trains, or a function that makes one.
    """
    # Skips the garbage collection of all imported modules at exit: 0.2 s in place of 2.0 s with MLflow and Optuna.
    atexit.register(gc.freeze)
    try:
        sys.exit(commands.main(standalone_mode=False, obj=executor))
    except HpsearchError as error:
        _say(f"error: {error}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (Interrupted, click.Abort):
        sys.exit(130)


if __name__ == "__main__":
    main()

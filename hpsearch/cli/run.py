"""`hpsearch run` and `hpsearch resume`: train a study, with live progress, and print its result."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpsearch.cli.options import (
    QUIET,
    RETRY,
    SET,
    STORAGE_MODE,
    STUDY_NAME,
    TRACKING,
    WORKERS,
    command_path,
    database_url,
    load_study_file,
    on_cluster,
    relative_path,
    say,
    signals_recorded,
    tracking_or_default,
)
from hpsearch.cli.output import make_output_optional, output_warning
from hpsearch.core.text import redacted
from hpsearch.errors import Interrupted

if TYPE_CHECKING:
    from rich.console import Console

    from hpsearch.cli.options import ClusterOptions
    from hpsearch.config.spec import Spec
    from hpsearch.study.session import Options, Session


@click.command("run")
@click.argument("study", type=click.Path(path_type=Path))
@click.option(
    "--storage", metavar="URL", help="Study database, a file or a server. [default: NAME.db beside the study file]"
)
@STORAGE_MODE
@TRACKING
@WORKERS
@SET
@RETRY
@on_cluster
@click.option("--fork", metavar="NEWNAME", help="Start a new study in NEWNAME.db that reuses this one's trials.")
@QUIET
def run_command(
    study: Path,
    storage: str | None,
    storage_mode: str,
    tracking_uri: str | None,
    workers: int | None,
    overrides: tuple[str, ...],
    retry_failed: bool,
    cluster: "ClusterOptions",
    fork: str | None,
    quiet: bool,
) -> None:
    """Start the study in the file STUDY, or resume it."""
    make_output_optional()
    _start_forkserver()
    spec = load_study_file(study, overrides)
    from hpsearch.storage.database import forked_url, named_url
    from hpsearch.storage.sqlite_file import default_url
    from hpsearch.study.session import Options

    url, parent, parent_study = named_url(storage) if storage else default_url(study, spec.name), None, spec.name
    if fork is not None:
        from hpsearch.config.load import load_spec

        spec, _ = load_spec(study, (*overrides, f"name={json.dumps(fork)}"))
        url, parent = forked_url(url, spec.name), url
    options = Options(workers, tracking_or_default(tracking_uri), retry_failed=retry_failed)
    options = options._replace(parent=parent, parent_study=parent_study, rollback=storage_mode == "rollback")
    options = options._replace(cluster=cluster[0], certificates=cluster[1], folder=study.parent)
    _run(spec, url, options, tracking_uri, quiet)


@click.command("resume")
@click.argument("database")
@STORAGE_MODE
@TRACKING
@WORKERS
@RETRY
@STUDY_NAME
@on_cluster
@QUIET
def resume_command(
    database: str,
    storage_mode: str,
    tracking_uri: str | None,
    workers: int | None,
    retry_failed: bool,
    study_name: str | None,
    cluster: "ClusterOptions",
    quiet: bool,
) -> None:
    """Resume the study in DATABASE, a file or a URL, without its study file."""
    make_output_optional()
    _start_forkserver()
    from hpsearch.study.session import Options

    options = Options(workers, tracking_or_default(tracking_uri), retry_failed=retry_failed, study=study_name)
    options = options._replace(cluster=cluster[0], certificates=cluster[1], rollback=storage_mode == "rollback")
    _run(None, database_url(database), options, tracking_uri, quiet)


def _start_forkserver() -> None:
    """Start importing what workers need while this process loads the study file."""
    from hpsearch.core import processes

    processes.start_forkserver()


def _run(spec: "Spec | None", url: str, options: "Options", given_uri: str | None, quiet: bool) -> None:
    from rich.console import Console

    from hpsearch.errors import Halted
    from hpsearch.storage.database import display_name
    from hpsearch.study.session import Session
    from hpsearch.training.kernel import compilation_notice

    console = Console()
    options = options._replace(executor=click.get_current_context().obj or options.executor)
    options = options._replace(notify=lambda text: say(f"note: {text}", err=True))
    if notice := compilation_notice(spec):
        say(f"note: {notice}", err=True)
    arguments = [shlex.quote(display_name(url))]  # of a command; the session knows whether the study must be named
    with signals_recorded() as caught:
        try:
            with Session(spec, url, options._replace(stop=lambda: bool(caught))) as session:
                arguments[0] = session.arguments
                _train(session, console, quiet)
        except (Interrupted, KeyboardInterrupt):
            say(f"stopped; everything finished is saved. {_resume(arguments[0], given_uri, options)}", err=True)
            sys.exit(130)
        except Halted as error:
            say(f"error: {error}; everything finished is saved. {_resume(arguments[0], given_uri, options)}", err=True)
            sys.exit(1)
    _print_result(session, url, console, given_uri, quiet)
    if warning := output_warning():
        say(f"warning: {warning}", err=True)


def _resume(arguments: str, given_uri: str | None, options: "Options") -> str:
    """Return the command that resumes a study.

    Args:
        arguments: the database and, if needed, the study.
    """
    resume = f"Resume with: hpsearch resume {arguments}"
    if given_uri and redacted(given_uri) == given_uri:  # a URI that contains a password is not repeated
        resume += f" --tracking-uri {shlex.quote(given_uri)}"
    given = {"cluster": options.cluster, **{f"tls-{name}": p for name, p in options.certificates._asdict().items()}}
    return resume + "".join(f" --{name} {shlex.quote(str(value))}" for name, value in given.items() if value)


def _train(session: "Session", console: "Console", quiet: bool) -> None:
    from hpsearch.report.live import LiveDisplay

    display = LiveDisplay(console, quiet=quiet)
    for notice in session.notices:
        say(f"note: {notice}", err=True)
    metric = session.spec.metric.name
    with display.live():
        for progress in session.run():
            for note in progress.notes:
                display.note(note)
            display.update(progress, metric)


def _print_result(session: "Session", url: str, console: "Console", given_uri: str | None, quiet: bool) -> None:
    from hpsearch.report.text import as_text, best_trial_text, failure_lines, output_console
    from hpsearch.storage.database import display_name

    summary, database = session.summary(), display_name(url)
    if not quiet:
        output_console(console).print(as_text(summary))
    else:
        for line in failure_lines(summary):
            say(f"warning: {line}", err=True)
        if summary.ranking:
            console.print(best_trial_text(summary), soft_wrap=True)
    say(f"Database: {database}   (hpsearch show {summary.arguments(url)})")
    if session.tracking_note:
        say(f"note: MLflow: {session.tracking_note}", err=True)
    if session.untracked:
        say(f"warning: {session.untracked}", err=True)
    elif given_uri is None:
        say(f"MLflow:   {command_path('hpsearch')} ui")
    elif given_uri.startswith("sqlite"):
        uri = f"sqlite:///{relative_path(Path(given_uri.removeprefix('sqlite:///')))}"
        say(f"MLflow:   {command_path('hpsearch')} ui --tracking-uri {shlex.quote(uri)}")
    if not summary.ranking:
        say("error: no trial is complete, so there is no best model", err=True)
        sys.exit(1)
    say(f"Report:   {command_path('hpsearch')} report {summary.arguments(url)}")

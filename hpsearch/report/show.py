"""A study on standard output: as text, JSON or CSV; once, or repeatedly while it runs."""

import json
from typing import Literal

import click
from rich.console import Console

from hpsearch.core.text import printable
from hpsearch.report.export import as_csv, as_json
from hpsearch.report.text import as_text, output_console
from hpsearch.study.summary import status_line, summary

OutputFormat = Literal["text", "json", "csv", "raw csv"]


def print_study(
    url: str,
    output: OutputFormat = "text",
    *,
    study: str | None = None,
    all_trials: bool = False,
    follow: bool = False,
) -> None:
    """Print a study without writing to its database.

    Args:
        url: URL of the study database.
        study: name of the study; None for the only one of the database.
        output: format; JSON and CSV contain all trials.
        all_trials: list all trials in the text, not only the best.
        follow: show the progress of a running study until it ends; Ctrl-C stops the display, not the study.

    Raises:
        StorageError: the database holds no study.
    """
    console = Console()
    try:
        if follow:
            from hpsearch.report.watch import watch

        found = watch(url, console, study=study) if follow else summary(url, study)
    except KeyboardInterrupt:
        if follow:
            return
        raise
    if output == "json":
        click.echo(json.dumps(as_json(found), indent=2, allow_nan=False))
    elif output in ("csv", "raw csv"):
        click.echo(as_csv(found, raw=output == "raw csv"), nl=False)
    else:
        output_console(console).print(as_text(found, all_trials=all_trials, details=True))
        if not (follow and found.trained) and (status := status_line(url, found)) is not None:
            click.echo(printable(status, 5000))

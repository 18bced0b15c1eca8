"""Commands that read a study database: `hpsearch list`, `show`, `report`, `next` and `export`."""

import json
from pathlib import Path
from typing import Any

import click

from hpsearch.cli.options import STUDY_NAME, database_url, say


@click.command("list")
@click.argument("database")
@click.option("--json", "as_json", is_flag=True, help="Print the studies as JSON.")
def list_command(database: str, as_json: bool) -> None:
    """List all studies of DATABASE, a file or a URL: state, progress, best value, and the process that runs each."""
    from hpsearch.report.listing import listing_json, listing_text
    from hpsearch.study.overview import list_studies

    studies = list_studies(database_url(database))
    if as_json:
        click.echo(json.dumps(listing_json(studies), indent=2, allow_nan=False))
    else:
        say(listing_text(studies))


@click.command("show")
@click.argument("database")
@click.option("--json", "as_json", is_flag=True, help="Print all data as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a CSV table with a row for each trial.")
@click.option("--raw", is_flag=True, help="With --csv: do not put ' before text that begins with = + - @.")
@click.option("--all", "all_trials", is_flag=True, help="List all trials, not only the best.")
@click.option("--watch", is_flag=True, help="Follow the study while it runs; Ctrl-C stops following, not the study.")
@STUDY_NAME
def show_command(
    database: str,
    as_json: bool,
    as_csv: bool,
    raw: bool,
    all_trials: bool,
    watch: bool,
    study_name: str | None,
) -> None:
    """Show stages, best trials and parameter importance of the study in DATABASE (read-only)."""
    if as_json + as_csv + watch > 1:
        raise click.UsageError("--json, --csv and --watch exclude each other")
    if raw and not as_csv:
        raise click.UsageError("--raw needs --csv")
    from hpsearch.report.show import print_study

    output: Any = "json" if as_json else "raw csv" if raw else "csv" if as_csv else "text"
    print_study(database_url(database), output, study=study_name, all_trials=all_trials, follow=watch)


@click.command("report")
@click.argument("database")
@click.option("--out", type=click.Path(path_type=Path), help="HTML file. [default: DATABASE-report.html beside it]")
@click.option(
    "--png/--no-png",
    default=None,
    help="Write the charts as PNG files too. [default: if kaleido and Chrome or Chromium are installed]",
)
@STUDY_NAME
def report_command(database: str, out: Path | None, png: bool | None, study_name: str | None) -> None:
    """Write a report of the study in DATABASE: a self-contained HTML file, and its charts as PNG files."""
    from hpsearch.report.html.report import write_report

    written = write_report(database_url(database), out, study=study_name, png=png)
    say(f"{written.page}: {written.page.stat().st_size / 1e6:.1f} MB, self-contained")
    if written.replaced:
        say(f"note: {written.page}: replaced the report of another study; name another file with --out", err=True)
    if written.images:
        say(f"{written.images[0].parent}: {len(written.images)} PNG files")
    if written.notice is not None:
        say(f"note: {written.notice}", err=True)


@click.command("next")
@click.argument("database")
@click.option("--out", type=click.Path(path_type=Path), help="Study file to write. [default: NAME-2.yaml]")
@STUDY_NAME
def next_command(database: str, out: Path | None, study_name: str | None) -> None:
    """Write the study file that follows from the advice on the study in DATABASE: moved ranges, more epochs."""
    from hpsearch.report.advice.followup import follow_up, follow_up_lines, write_follow_up
    from hpsearch.storage.access.names import command_arguments
    from hpsearch.storage.database import display_name
    from hpsearch.study.summary import summary

    url = database_url(database)
    study = summary(url, study_name)
    found = follow_up(study)
    out = out or Path(f"{found.name}.yaml")
    if found.text is not None:
        write_follow_up(found, out)
    say("\n".join(follow_up_lines(found, study.spec, out, command_arguments(display_name(url), None))))


@click.command("export")
@click.argument("database")
@click.option(
    "--to", "folder", type=click.Path(path_type=Path), required=True, help="New folder, or one that holds a model."
)
@click.option("--ensemble", is_flag=True, help="Write the ensemble instead of the best single network.")
@click.option("--onnx", is_flag=True, help="Write model.onnx too: preprocessing and network.")
@STUDY_NAME
def export_command(database: str, folder: Path, ensemble: bool, onnx: bool, study_name: str | None) -> None:
    """Write the best model of the study in DATABASE to a self-contained folder."""
    from hpsearch.api import load_study
    from hpsearch.report.tables import format_scores

    result = load_study(database_url(database), study=study_name)
    about = result.export(folder, ensemble=ensemble, onnx=onnx)
    say(f"{folder}: {about['study']} {about['trial']}, {format_scores(about['metrics'])}")

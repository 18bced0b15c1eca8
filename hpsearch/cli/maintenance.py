"""Commands that maintain an installation: `hpsearch ui`, `sync`, `doctor` and `db upgrade`."""

import sys

import click

from hpsearch.cli.options import QUIET, STUDY_NAME, TRACKING, database_url, say, signals_recorded, tracking_or_default


@click.command("doctor")
@click.argument("databases", nargs=-1, metavar="[DATABASE]...")
@TRACKING
@STUDY_NAME
def doctor_command(databases: tuple[str, ...], tracking_uri: str | None, study_name: str | None) -> None:
    """Check the installation, the machine, MLflow and studies (by default those in this folder)."""
    from hpsearch.admin.doctor import examine

    failed = False
    for finding in examine(databases, tracking_or_default(tracking_uri), study_name):
        say(str(finding))
        failed = failed or finding.level == "FAIL"
    if failed:
        sys.exit(1)


@click.command("sync")
@click.argument("database")
@TRACKING
@STUDY_NAME
@QUIET
def sync_command(database: str, tracking_uri: str | None, study_name: str | None, quiet: bool) -> None:
    """Upload trials of the study in DATABASE that are missing from MLflow."""
    from hpsearch.admin.sync import sync

    with signals_recorded() as caught:
        result = sync(database_url(database), tracking_or_default(tracking_uri), lambda: bool(caught), study_name)
    for notice in result.notices:
        say(f"note: {notice}", err=True)
    if not quiet:
        say(result.line)


@click.command("ui")
@click.argument("study", required=False, metavar="[DATABASE or STUDY.yaml]")
@click.option("--tracking-uri", help="MLflow's file, or the address of a server. [default: mlruns/mlflow.db]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 for any. [default: 5000, or the next free port]")
@click.option("--no-open", "no_browser", is_flag=True, help="Print the link without opening a browser.")
@STUDY_NAME
def ui_command(
    study: str | None, tracking_uri: str | None, port: int | None, no_browser: bool, study_name: str | None
) -> None:
    """Show a study, or the latest one, in MLflow's UI until Ctrl-C."""
    from hpsearch.admin.ui import ServerEnded, show_study

    url, uri = study and database_url(study), tracking_or_default(tracking_uri)
    with signals_recorded() as caught:
        try:
            for line in show_study(uri, url, port, not no_browser, lambda: bool(caught), study_name):
                say(line)
        except ServerEnded as error:
            say(f"error: {error}", err=True)
            sys.exit(1)


@click.group("db")
def db_group() -> None:
    """Maintain MLflow's database."""


@db_group.command("upgrade")
@click.option("--tracking-uri", help="MLflow's file. [default: mlruns/mlflow.db]")
def upgrade_command(tracking_uri: str | None) -> None:
    """Upgrade MLflow's database to the schema of the installed MLflow, and keep a backup beside it."""
    from hpsearch.admin.mlflow_upgrade import upgrade

    result = upgrade(tracking_or_default(tracking_uri))
    if result.backup is None:
        say(f"{result.path}: schema {result.after}, as the installed MLflow expects; nothing to do")
    else:
        say(f"{result.path}: upgraded from schema {result.before} to {result.after}\nBackup: {result.backup}")

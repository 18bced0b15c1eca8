"""The commands. Each reads its options and calls one function; slow libraries are imported when needed."""

import atexit
import contextlib
import gc
import os
import sys
from typing import TYPE_CHECKING

import click

from hpsearch.cli.files import (
    check_command,
    init_command,
    inspect_command,
    predict_command,
    range_test_command,
    schema_command,
)
from hpsearch.cli.maintenance import db_group, doctor_command, sync_command, ui_command
from hpsearch.cli.options import ended_by_signals, replace_unencodable, say
from hpsearch.cli.output import guarded_output
from hpsearch.cli.run import resume_command, run_command
from hpsearch.cli.server import (
    archive_command,
    cancel_command,
    fetch_command,
    queue_command,
    serve_command,
    submit_command,
    token_command,
    watch_command,
)
from hpsearch.cli.studies import export_command, list_command, next_command, report_command, show_command
from hpsearch.core.interpreter import collect_rarely
from hpsearch.core.resources import check_address_space, exhausted_resource
from hpsearch.core.version import __version__
from hpsearch.errors import HpsearchError, Interrupted, OutputError

if TYPE_CHECKING:
    from hpsearch.study.session import ExecutorFactory


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hpsearch")
def commands() -> None:
    """Hyperparameter search and experiment tracking for small neural networks.

    A study file describes the data, the model and the search; the result is a tracked study and its best model.
    """
    check_address_space()
    try:
        os.getcwd()
    except FileNotFoundError:
        raise OutputError("the current folder was deleted; change to another one: cd FOLDER") from None


for command in (
    *(run_command, resume_command, list_command, show_command, report_command, export_command, predict_command),
    *(next_command, check_command, init_command, schema_command, inspect_command, range_test_command),
    *(ui_command, sync_command, doctor_command, db_group),
    *(
        serve_command,
        token_command,
        submit_command,
        queue_command,
        watch_command,
        fetch_command,
        cancel_command,
        archive_command,
    ),
):
    commands.add_command(command)


def main(executor: "str | ExecutorFactory" = "processes") -> None:
    """Run the installed command. Exit codes: 0 success, 1 failure, 2 user error, 130 interrupted.

    Args:
        executor: the name of the executor that trains, or a function that returns one.
    """
    # Skips the garbage collection of all imported modules at exit: 0.2 s instead of 2.0 s with MLflow and Optuna.
    atexit.register(gc.freeze)
    collect_rarely()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # looking for some takes 15 ms
    replace_unencodable()
    try:
        with ended_by_signals(), guarded_output():
            code = commands.main(standalone_mode=False, obj=executor)
        sys.exit(code)
    except HpsearchError as error:
        with contextlib.suppress(OSError):  # standard error is closed
            say(f"error: {error}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (Interrupted, KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except Exception as error:
        reason = exhausted_resource(error)
        if reason is None:
            raise
        say(f"error: {reason}", err=True)
        sys.exit(1)

"""Shared by the commands: options, printing, loading study files, database URLs, and signals."""

import contextlib
import functools
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpsearch.core.text import printable

if TYPE_CHECKING:
    from hpsearch.config.spec import Spec
    from hpsearch.training.executors.dask.address import Certificates

    ClusterOptions = tuple[str | None, Certificates]

_HANGUP: list[int] = [signal.SIGHUP] if hasattr(signal, "SIGHUP") else []  # the terminal was closed
PRINTED_LENGTH = 5000  # maximum length of a line, in characters

WORKERS = click.option("--workers", type=click.IntRange(1), help="Number of worker processes; does not affect results.")
TRACKING = click.option(
    "--tracking-uri", help="MLflow tracking URI; 'none' disables tracking. [default: mlruns/mlflow.db]"
)
STORAGE_MODE = click.option(
    "--storage-mode",
    type=click.Choice(["wal", "rollback"]),
    default="wal",
    help="'rollback': a database file without a write-ahead log, for a network disk with sound locks. [default: wal]",
)
STUDY_NAME = click.option("--study", "study_name", metavar="NAME", help="The study, if the database holds several.")
CLUSTER = click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Train on a Dask cluster: tls://HOST:PORT of its scheduler, tcp://127.0.0.1:PORT, or local:N.",
)
_FILE = click.Path(path_type=Path)
TLS_CA = click.option("--tls-ca", metavar="FILE", type=_FILE, help="Authorities that the cluster is trusted with.")
TLS_CERT = click.option("--tls-cert", metavar="FILE", type=_FILE, help="Certificate of this machine, for the cluster.")
TLS_KEY = click.option("--tls-key", metavar="FILE", type=_FILE, help="Private key of this machine, for the cluster.")


QUIET = click.option("--quiet", is_flag=True, help="Print only the result, and warnings on standard error.")
RETRY = click.option("--retry-failed", is_flag=True, help="Train failed trials again.")
SET = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a setting: --set stages.0.trials=8"
)


def on_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a cluster to a command, which receives them as `cluster`: address and certificates."""

    @CLUSTER
    @TLS_CA
    @TLS_CERT
    @TLS_KEY
    @functools.wraps(command)
    def with_cluster(
        *args: Any,
        cluster: str | None,
        tls_ca: Path | None,
        tls_cert: Path | None,
        tls_key: Path | None,
        **options: Any,
    ) -> None:
        from hpsearch.training.executors.dask.address import Certificates

        command(*args, cluster=(cluster, Certificates(tls_ca, tls_cert, tls_key)), **options)

    return with_cluster


def replace_unencodable() -> None:
    """Print `?` for characters that the encoding of the output lacks, as in an ASCII or Latin-1 locale."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")


def say(text: str, *, err: bool = False) -> None:
    """Print lines that are safe for a terminal, whatever a path or a message contains."""
    lines = "\n".join(printable(line, PRINTED_LENGTH) for line in text.split("\n"))
    click.echo(lines, sys.stderr if err else sys.stdout)  # click's own streams are UTF-8 in an ASCII locale


def tracking_or_default(uri: str | None) -> str:
    """Return the tracking URI of the option, or the default."""
    from hpsearch.storage.sqlite_file import default_tracking_uri

    return uri or default_tracking_uri()


def database_url(name: str) -> str:
    """Return the URL of a database that a user names by file, URL or study file."""
    from hpsearch.storage.database import named_url
    from hpsearch.storage.sqlite_file import default_url

    if name.endswith((".yaml", ".yml")):
        return default_url(Path(name), load_study_file(Path(name), ()).name)
    return named_url(name)


def load_study_file(study: Path, overrides: tuple[str, ...]) -> "Spec":
    """Load a study file, and print its notices."""
    from hpsearch.config.load import load_spec

    spec, notices = load_spec(study, overrides)
    for notice in notices:
        say(f"note: {notice}", err=True)
    return spec


@contextlib.contextmanager
def signals_recorded() -> Iterator[list[int]]:
    """Yield a list that collects SIGINT, SIGTERM and SIGHUP, to be checked between steps; a second exits at once."""
    caught: list[int] = []

    def record(number: int, _frame: Any) -> None:
        if caught:
            os._exit(130)  # at once, without cleanup, which may wait for MLflow
        caught.append(number)

    hangup = [number for number in _HANGUP if signal.getsignal(number) is not signal.SIG_IGN]  # not under `nohup`
    handlers = {number: signal.signal(number, record) for number in (signal.SIGINT, signal.SIGTERM, *hangup)}
    try:
        yield caught
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM and SIGHUP as on Ctrl-C, so that drafts are removed; kept if ignored."""
    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, *_HANGUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                handlers[number] = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def command_path(name: str) -> str:
    """Return the path of a command in the folder of this Python, relative to the current folder if possible."""
    path = Path(sys.executable).with_name(name)
    return relative_path(path) if path.exists() else name


def relative_path(path: Path) -> str:
    """Return a path relative to the current folder, unchanged if it is outside."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)

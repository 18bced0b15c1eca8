"""MLflow's tracking database or server, and unfinished runs in it."""

import base64
import shlex
import sys
from collections.abc import Sequence
from http.client import HTTPException
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from hpsearch.admin.doctor.base import CHECK_TIMEOUT, PIP_INSTALL, CheckResult, CheckResults, sqlite_path
from hpsearch.admin.doctor.studies import is_running
from hpsearch.core.text import format_count

if TYPE_CHECKING:
    import sqlalchemy as sa


def check_file_store() -> CheckResults:
    """Look for a file store, which MLflow no longer supports but still uses by default."""
    for path in filter(Path.exists, map(Path, ("mlruns/meta.yaml", "mlruns/0/meta.yaml"))):
        text = f"MLflow: because of {path}, MLflow's own commands use a file store, which MLflow no longer supports"
        yield CheckResult("warn", text, f"mv {path} {path}.old")


def check_store(tracking_uri: str, names: Sequence[str]) -> CheckResults:
    """Check a tracking database or server.

    Args:
        names: study databases, as the user named them on the command line.
    """
    from hpsearch.tracking.mlflow.database import open_readonly

    scheme = tracking_uri.partition("://")[0].partition("+")[0]
    path = sqlite_path(tracking_uri)
    if tracking_uri == "none":
        yield CheckResult("ok", "MLflow: not used")
    elif scheme in ("http", "https"):
        yield check_server(tracking_uri)
    elif scheme not in ("sqlite", "postgresql", "mysql", "mssql"):
        remedy = "--tracking-uri sqlite:///mlruns/mlflow.db"
        yield CheckResult("FAIL", f"MLflow: {tracking_uri} is not a tracking database", remedy)
    elif scheme == "sqlite" and path and not path.exists():
        yield CheckResult("ok", f"MLflow: {path} does not exist yet; the first run creates it")
    else:
        with open_readonly(tracking_uri, CHECK_TIMEOUT) as connection:
            yield (result := check_schema(f"MLflow: {path or tracking_uri}", tracking_uri, connection))
            if result.level == "ok":
                yield from check_runs(tracking_uri, connection, names)
                if path is not None:
                    yield from check_artifacts(tracking_uri, connection, path, names)


def check_schema(where: str, tracking_uri: str, connection: "sa.Connection") -> CheckResult:
    """Check that a tracking database is not damaged and has the schema that the installed MLflow expects."""
    from hpsearch.tracking.mlflow import database

    if not database.is_tracking_database(connection):
        return CheckResult("FAIL", f"{where}: a database, but not MLflow's", "name another one with --tracking-uri")
    if damage := database.damage(connection):
        remedy = "restore a copy, or move it away (the next run creates a new one) and run: hpsearch sync DATABASE"
        return CheckResult("FAIL", f"{where}: is damaged ({damage})", remedy)
    head, older = database.installed_revisions()
    current = database.schema_revision(connection)
    text = f"{where}: schema {current}, MLflow {metadata.version('mlflow')}"
    if current == head:
        return CheckResult("ok", f"{text} expects it")
    if current in older:
        command = f"hpsearch db upgrade{_option(tracking_uri)}"
        if sqlite_path(tracking_uri) is None:
            upgrade = f"{shlex.quote(sys.executable)} -m mlflow db upgrade {shlex.quote(tracking_uri)}"
            command = f"make a copy, then run: {upgrade}"
        return CheckResult("FAIL", f"{text} expects the newer {head}", command)
    return CheckResult("FAIL", f"{text} does not know it: a newer MLflow made it", f"{PIP_INSTALL} --upgrade mlflow")


def check_runs(tracking_uri: str, connection: "sa.Connection", names: Sequence[str]) -> CheckResults:
    """Look for unfinished runs of studies that are not running."""
    from hpsearch.tracking.mlflow.database import unfinished_runs

    for identity, database, count in unfinished_runs(connection):
        known = ((name, is_running(name, identity)) for name in (*names, database or ""))
        name, running = next((pair for pair in known if pair[1] is not None), (database or "DATABASE", False))
        if not running:
            text = f"MLflow: {format_count(count, 'run')} of {name} RUNNING, but the study is not running"
            yield CheckResult("warn", text, f"hpsearch sync {shlex.quote(name)}{_option(tracking_uri)}")


def check_artifacts(tracking_uri: str, connection: "sa.Connection", path: Path, names: Sequence[str]) -> CheckResults:
    """Look for studies whose artifacts MLflow expects elsewhere, because the folder was moved or copied."""
    from hpsearch.tracking.mlflow.database import artifact_root, moved_experiments

    for database, location in moved_experiments(connection, artifact_root(path)):
        stem = Path(database or "").name
        name = next((name for name in names if Path(name).name == stem), database or "DATABASE")
        text = f"MLflow: the artifacts of {name} are expected in {location}, not beside {path}: the folder was moved"
        remedy = f"hpsearch sync {shlex.quote(name)}{_option(tracking_uri)}, which uploads runs and model anew"
        yield CheckResult("warn", text, remedy)


def check_server(tracking_uri: str) -> CheckResult:
    """Check that a tracking server answers."""
    parts = urlsplit(tracking_uri)
    user, _, host = parts.netloc.rpartition("@")
    address = f"{parts.scheme}://{host}{parts.path}"
    request = Request(f"{address.rstrip('/')}/health")
    if user:
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(unquote(user).encode()).decode()}")
    try:
        with urlopen(request, timeout=CHECK_TIMEOUT) as answer:
            if answer.read(99).strip() == b"OK":
                return CheckResult("ok", f"MLflow: {address} answers")
            problem = "is not an MLflow server"
    except HTTPError as error:
        problem = f"answers {error.code}"
    except (OSError, HTTPException, ValueError) as error:
        problem = f"does not answer ({getattr(error, 'reason', error)})"
    remedy = "start it, or run with another --tracking-uri or none, and later: hpsearch sync DATABASE"
    return CheckResult("FAIL", f"MLflow: {address} {problem}", remedy)


def _option(tracking_uri: str) -> str:
    """Return the option that names a tracking database; empty for the default one."""
    default = Path("mlruns/mlflow.db").absolute() == sqlite_path(tracking_uri)
    return "" if default else f" --tracking-uri {shlex.quote(tracking_uri)}"

"""MLflow: its tracking database or server, and runs in it that nobody will end."""

import base64
import re
import shlex
import sys
from collections.abc import Sequence
from http.client import HTTPException
from importlib import metadata, util
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from hpsearch.admin.doctor.base import PATIENCE, PIP, Finding, Findings, Reader, file_at, reading
from hpsearch.admin.doctor.studies import is_running
from hpsearch.core.text import format_count


def strays() -> Findings:
    for path in filter(Path.exists, map(Path, ("mlruns/meta.yaml", "mlruns/0/meta.yaml"))):
        what = f"MLflow: {path} makes MLflow's own commands choose its file store, which is no more"
        yield Finding("warn", what, f"mv {path} {path}.old")


def store(tracking: str, names: Sequence[str]) -> Findings:
    scheme = tracking.partition("://")[0].partition("+")[0]
    path = file_at(tracking)
    if tracking == "none":
        yield Finding("ok", "MLflow: not used")
    elif scheme in ("http", "https"):
        yield health(tracking)
    elif scheme not in ("sqlite", "postgresql", "mysql", "mssql"):
        remedy = "--tracking-uri sqlite:///mlruns/mlflow.db"
        yield Finding("FAIL", f"MLflow: {tracking} is no tracking database", remedy)
    elif scheme == "sqlite" and path and not path.exists():
        yield Finding("ok", f"MLflow: {path} is not there yet; the first run makes it")
    else:
        with reading(tracking) as database:
            yield (found := schema(f"MLflow: {path or tracking}", tracking, database))
            if found.level == "ok":
                yield from unsettled(tracking, database, names)


def schema(where: str, tracking: str, database: Reader) -> Finding:
    """Whether the tracking database is whole, and of the revision that the installed MLflow expects."""
    if not {"alembic_version", "experiments", "runs"} <= database.tables():
        return Finding("FAIL", f"{where}: a database, but not MLflow's", "name another one with --tracking-uri")
    if harm := database.damage():
        away = "move it away (the next run makes a new one), then: hpsearch sync DATABASE"
        return Finding("FAIL", f"{where}: is damaged ({harm})", f"restore a copy, or {away}")
    head, older = revisions()
    current = revision(database)
    text = f"{where}: schema {current}, MLflow {metadata.version('mlflow')}"
    if current == head:
        return Finding("ok", f"{text} expects it")
    if current in older:
        ours = Path("mlruns/mlflow.db").absolute() == file_at(tracking)
        command = "hpsearch db upgrade" + f" --tracking-uri {shlex.quote(tracking)}" * (not ours)
        if file_at(tracking) is None:
            command = f"after a copy: {shlex.quote(sys.executable)} -m mlflow db upgrade {shlex.quote(tracking)}"
        return Finding("FAIL", f"{text} expects the newer {head}", command)
    return Finding("FAIL", f"{text} does not know it: it is a newer one's", f"{PIP} --upgrade mlflow")


def revision(database: Reader) -> str:
    """The schema of a tracking database; none of one that is not MLflow's, or was never finished."""
    rows = database.rows("SELECT version_num FROM alembic_version") if "alembic_version" in database.tables() else []
    return str(rows[0][0]) if rows else "none"


def revisions() -> tuple[str, set[str]]:
    """The schema that the installed MLflow expects, and those before it, without importing it."""
    spec = util.find_spec("mlflow")
    assert spec is not None and spec.origin is not None
    files = (Path(spec.origin).parent / "store/db_migrations/versions").glob("*.py")
    text = "\n".join(file.read_text("utf-8") for file in files)
    lines = {start: " ".join(re.findall(rf"^{start}\b.*=.*$", text, re.M)) for start in ("revision", "down_revision")}
    names, older = (set(re.findall(r"[\"'](\w+)[\"']", line)) for line in lines.values())
    (head,) = names - older
    return head, older


def unsettled(tracking: str, database: Reader, names: Sequence[str]) -> Findings:
    """Runs that nobody will end."""
    query = "SELECT t.value AS identity, max(d.value) AS name, count(*) AS runs FROM runs r"
    query += " JOIN experiment_tags t ON t.experiment_id = r.experiment_id AND t.key = 'hpsearch.study'"
    query += " LEFT JOIN experiment_tags d ON d.experiment_id = r.experiment_id AND d.key = 'hpsearch.database'"
    query += " WHERE r.status = 'RUNNING' AND r.lifecycle_stage = 'active' GROUP BY t.value"
    for row in database.rows(query):
        known = ((name, is_running(name, row.identity)) for name in (*names, row.name or ""))
        name, runs = next((pair for pair in known if pair[1] is not None), (row.name or "DATABASE", False))
        if not runs:
            what = f"MLflow: {format_count(row.runs, 'run')} of {name} left RUNNING, which nobody runs"
            usual = Path("mlruns/mlflow.db").absolute() == file_at(tracking)
            remedy = f"hpsearch sync {shlex.quote(name)}" + f" --tracking-uri {shlex.quote(tracking)}" * (not usual)
            yield Finding("warn", what, remedy)


def health(tracking: str) -> Finding:
    """Whether a tracking server answers."""
    parts = urlsplit(tracking)
    user, _, host = parts.netloc.rpartition("@")
    address = f"{parts.scheme}://{host}{parts.path}"
    request = Request(f"{address.rstrip('/')}/health")
    if user:
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(unquote(user).encode()).decode()}")
    try:
        with urlopen(request, timeout=PATIENCE) as answer:
            if answer.read(99).strip() == b"OK":
                return Finding("ok", f"MLflow: {address} answers")
            said = "is no MLflow server"
    except HTTPError as error:
        said = f"answers {error.code}"
    except (OSError, HTTPException, ValueError) as error:
        said = f"does not answer ({getattr(error, 'reason', error)})"
    again = "start it, or run with another --tracking-uri, or none; later: hpsearch sync DATABASE"
    return Finding("FAIL", f"MLflow: {address} {said}", again)

"""MLflow's page of a study: a server over its database for as long as this process lives, and the link to the view."""

import contextlib
import os
import socket
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from hpsearch.admin.doctor.base import Reader, reading
from hpsearch.admin.doctor.mlflow import health, schema
from hpsearch.admin.doctor.studies import study_snapshot
from hpsearch.admin.supervisor import Kept, kept, reason
from hpsearch.core.text import printable
from hpsearch.errors import TrackingError
from hpsearch.storage.database import file_of
from hpsearch.storage.sqlite_file import url_of
from hpsearch.tracking.mlflow.saved_view import STUDY_VIEW, view_link
from hpsearch.tracking.mlflow.tags import VIEW_TAG_PREFIX

HOST, PORT, TRIED = "127.0.0.1", 5000, 100
STARTING = 120.0  # seconds the server gets until it answers; it takes 5 on a quiet machine
CALM = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
VIEW_TAG = f"{VIEW_TAG_PREFIX}{STUDY_VIEW}"  # of an experiment that has the view


class ServerEnded(Exception):
    """The server ended by itself, or never answered; its text says why, as far as the server did."""


def shown(tracking: str, study: str | None, port: int | None, opens: bool, stop: Callable[[], bool]) -> Iterator[str]:
    """Shows a study, or the latest, and yields what to tell the person; ends once `stop` says so.

    Args:
        tracking: MLflow's SQLite file, a path or a URI, or the address of a server that runs.
        study: URL of a study's database.
        port: 0 for any that is free; None for the usual one, or the next that is free.
        opens: also in a browser.

    Raises:
        TrackingError: there is no such database, study, or port, or the installed MLflow cannot read it.
        StorageError: a database cannot be read.
        ServerEnded: although it should not.
    """
    identity = study and identity_of(study)
    if _is_server(tracking):
        yield from _announced(_link_there(tracking, identity), opens)
        return
    path = tracking_file(tracking)
    with reading(url_of(str(path))) as database:
        check(path, database)
        page = _link(database, identity, path)
    free, taken = _free(port)
    if taken:
        yield f"Port {taken} is taken; this one is {free}."
    with kept(_command(path, free), CALM) as server:
        end = time.monotonic() + STARTING
        while not stop() and not _answers(free):
            _alive(server, 0.1)
            if time.monotonic() > end:
                raise ServerEnded(f"MLflow's server does not answer after {STARTING:.0f} s{_last_words(server)}")
        if not stop():
            yield from _announced(page(f"http://{HOST}:{free}"), opens)
            yield "Ctrl-C ends the server."
        while not stop():
            _alive(server, 0.5)


def _is_server(tracking: str) -> bool:
    """Whether a tracking URI is a server's address.

    Raises:
        TrackingError: it is no address.
    """
    try:
        return urlsplit(tracking).scheme in ("http", "https")
    except ValueError as error:  # of brackets
        raise TrackingError(f"'{tracking}' is no address ({error}); write http://127.0.0.1:5000, for example") from None


def tracking_file(tracking: str) -> Path:
    """The SQLite file that a tracking URI names.

    Raises:
        TrackingError: it names none, or one that is not there.
    """
    path = file_of(url_of(tracking)) if tracking != "none" else None
    if path is None:
        raise TrackingError(f"'{tracking}' is no SQLite file; write sqlite:///mlruns/mlflow.db, for example")
    if not path.exists():
        raise TrackingError(f"{path}: there is no MLflow database; the first study makes it: hpsearch run STUDY.yaml")
    return path


def check(path: Path, database: Reader) -> None:
    """Whether the installed MLflow can read it.

    Raises:
        TrackingError: it cannot.
    """
    found = schema(str(path), url_of(str(path)), database)
    if found.level != "ok":
        raise TrackingError(f"{found.what}; {found.remedy}")


def identity_of(study: str) -> str:
    """Of the study in a database.

    Raises:
        StorageError: it cannot be read, or holds no study.
    """
    with study_snapshot(study) as database:
        return database.study.load().identity


def _link(database: Reader, identity: str | None, path: Path) -> Callable[[str], str]:
    """Where the study's page is below a base; of all studies that whose trials, or whose beginning, are the latest."""
    query = "SELECT e.experiment_id AS id, t.value AS identity, v.key AS view FROM experiments e"
    query += " JOIN experiment_tags t ON t.experiment_id = e.experiment_id AND t.key = 'hpsearch.study'"
    query += f" LEFT JOIN experiment_tags v ON v.experiment_id = e.experiment_id AND v.key = '{VIEW_TAG}'"
    query += " LEFT JOIN runs r ON r.experiment_id = e.experiment_id WHERE e.lifecycle_stage = 'active'"
    query += " GROUP BY e.experiment_id ORDER BY max(e.last_update_time, coalesce(max(r.end_time), 0)) DESC"
    rows = [row for row in database.rows(query) if identity in (None, row.identity)]
    if not rows:
        raise TrackingError(f"{path}: {_absent(identity)}")
    return lambda base: _page(base, str(rows[0].id), rows[0].view is not None)


def _link_there(tracking: str, identity: str | None) -> str:
    """The same, from a server that runs; its address without the password."""
    found = health(tracking)
    if found.level != "ok":
        raise TrackingError(f"{found.what}; {found.remedy}")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    parts = urlsplit(tracking)
    base = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")
    client = MlflowClient(tracking)
    wanted = "LIKE '%'" if identity is None else f"= '{identity}'"
    try:
        studies: list[Any] = list(client.search_experiments(filter_string=f"tags.`hpsearch.study` {wanted}"))
        if not studies:
            raise TrackingError(f"{base}: {_absent(identity)}")
        ids = [study.experiment_id for study in studies]
        last = client.search_runs(ids, order_by=["attributes.end_time DESC"], max_results=1)
    except MlflowException as error:
        raise TrackingError(f"{base}: {str(error).splitlines()[0]}") from None
    ended = {run.info.experiment_id: run.info.end_time or 0 for run in last}
    latest = max(studies, key=lambda study: max(study.last_update_time, ended.get(study.experiment_id, 0)))
    return _page(base, latest.experiment_id, VIEW_TAG in latest.tags)


def _absent(identity: str | None) -> str:
    if identity is None:
        return "there is no study in it; start one: hpsearch run STUDY.yaml"
    return "the study is not in it; send it there: hpsearch sync DATABASE"


def _page(base: str, experiment: str, viewed: bool) -> str:
    link = view_link(base, experiment)
    return link if viewed else link.partition("&viewStateShareKey=")[0]


def _announced(link: str, opens: bool) -> Iterator[str]:
    yield f"MLflow: {link}"
    seen = sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))
    if opens and seen:  # without a display Python would open a browser in this terminal
        webbrowser.open(link)


def _free(port: int | None) -> tuple[int, int | None]:
    """A port nobody listens on, and the usual one if that is not it.

    Raises:
        TrackingError: the port that was asked for is taken, or all are.
    """
    for candidate in range(PORT, PORT + TRIED) if port is None else (port,):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: one that has ended is none
            probe.bind((HOST, candidate))
            return probe.getsockname()[1], PORT if port is None and candidate != PORT else None
    if port is None:
        raise TrackingError(f"the ports {PORT} to {PORT + TRIED - 1} are taken; name another: --port 0 takes any")
    raise TrackingError(f"--port {port}: is taken, or not allowed; name another, or none: the next free one is taken")


def _command(path: Path, port: int) -> list[str]:
    """MLflow's server on loopback; its files are where the tracker puts them."""
    artifacts = path.parent.absolute() / "artifacts"
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", url_of(str(path.absolute()))]
    return [*command, "--no-serve-artifacts", "--default-artifact-root", artifacts.as_uri()]


def _answers(port: int) -> bool:
    connection = HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().read(99).strip() == b"OK"
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _alive(server: Kept, seconds: float) -> None:
    """Waits so long.

    Raises:
        ServerEnded: it has.
    """
    if server.ended(seconds):
        raise ServerEnded(f"MLflow's server has ended{_last_words(server)}")


def _last_words(server: Kept) -> str:
    lines = server.log()
    return f": {printable(reason(lines), 300)}" if lines else ""

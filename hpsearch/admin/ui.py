"""MLflow's page of a study: a local server on its database, and the link to the study's saved view."""

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

from hpsearch.admin.doctor.mlflow import check_schema, check_server
from hpsearch.admin.supervisor import ManagedProcess, error_line, managed_process
from hpsearch.core.text import printable
from hpsearch.errors import TrackingError
from hpsearch.storage.database import display_name, file_of
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import read
from hpsearch.tracking.mlflow.database import artifact_root, open_readonly, study_experiments
from hpsearch.tracking.mlflow.saved_view import STUDY_VIEW, view_link
from hpsearch.tracking.mlflow.tags import STUDY_TAG, VIEW_TAG_PREFIX

HOST, PORT, PORTS_TRIED = "127.0.0.1", 5000, 100
START_TIMEOUT = 120.0  # seconds to wait for the server to answer; on an idle machine it needs 5
_ENVIRONMENT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


class ServerEnded(Exception):
    """MLflow's server ended or did not answer; the message includes the error that it printed, if any."""


def show_study(
    tracking_uri: str,
    study: str | None,
    port: int | None,
    browser: bool,
    stop: Callable[[], bool],
    name: str | None = None,
) -> Iterator[str]:
    """Serve MLflow's page of a study and yield messages for the user, until `stop` returns True.

    Args:
        tracking_uri: MLflow's SQLite file, a path or a URI, or the address of a running server.
        study: URL of the study's database; None for the latest study.
        port: 0 for any free port; None for 5000 or the next free one.
        browser: also open the page in a browser.
        name: name of the study; None for the only one of the database.

    Raises:
        TrackingError: the tracking database, study or port does not exist, or the installed MLflow cannot read it.
        StorageError: a database cannot be read.
        ServerEnded: the server ended too early.
    """
    identity = study and study_identity(study, name)
    if _is_server(tracking_uri):
        yield from _announce(_server_link(tracking_uri, identity), browser)
        return
    path = tracking_file(tracking_uri)
    experiment, has_view = _find_experiment(path, identity)
    free, taken = _free_port(port)
    if taken:
        yield f"Port {taken} is in use; using {free}."
    with managed_process(_command(path, free), _ENVIRONMENT) as server:
        end = time.monotonic() + START_TIMEOUT
        while not stop() and not _answers(free):
            _wait(server, 0.1)
            if time.monotonic() > end:
                raise ServerEnded(f"MLflow's server does not answer after {START_TIMEOUT:.0f} s{_error(server)}")
        if not stop():
            yield from _announce(_page(f"http://{HOST}:{free}", experiment, has_view), browser)
            yield "Press Ctrl-C to stop the server."
        while not stop():
            _wait(server, 0.5)


def study_identity(url: str, study: str | None = None) -> str:
    """Return the identity of a study.

    Args:
        url: URL of its database.
        study: its name; None for the only one of the database.

    Raises:
        StorageError: the database cannot be read.
        TrackingError: the database contains no study.
    """
    stored = read(url, lambda database: database.study.find(), study)
    if stored is None:
        raise TrackingError(f"{display_name(url)}: contains no study; start one: hpsearch run STUDY.yaml")
    return stored.identity


def tracking_file(tracking_uri: str) -> Path:
    """Return the SQLite file that a tracking URI names.

    Raises:
        TrackingError: the URI names no SQLite file, or the file does not exist.
    """
    path = file_of(url_of(tracking_uri)) if tracking_uri != "none" else None
    if path is None:
        raise TrackingError(f"'{tracking_uri}' is not a SQLite file; write sqlite:///mlruns/mlflow.db, for example")
    if not path.exists():
        create = "the first study creates it: hpsearch run STUDY.yaml"
        raise TrackingError(f"{path}: there is no MLflow database; {create}")
    return path


def _is_server(tracking_uri: str) -> bool:
    """Return whether a tracking URI is the address of a server.

    Raises:
        TrackingError: the URI is not valid.
    """
    try:
        return urlsplit(tracking_uri).scheme in ("http", "https")
    except ValueError as error:  # unbalanced brackets of an IPv6 address
        example = "write http://127.0.0.1:5000, for example"
        raise TrackingError(f"'{tracking_uri}' is not a valid address ({error}); {example}") from None


def _find_experiment(path: Path, identity: str | None) -> tuple[str, bool]:
    """Return the id of a study's experiment, or of the latest study's, and whether it has a saved view.

    Raises:
        TrackingError: the installed MLflow cannot read the database, or the study is not in it.
        StorageError: the database cannot be read.
    """
    uri = url_of(str(path))
    with open_readonly(uri) as connection:
        schema = check_schema(str(path), uri, connection)
        if schema.level != "ok":
            raise TrackingError(f"{schema.text}; {schema.remedy}")
        for experiment in study_experiments(connection):
            if identity in (None, experiment.identity):
                return experiment.id, STUDY_VIEW in experiment.views
    raise TrackingError(f"{path}: {_absent(identity)}")


def _server_link(tracking_uri: str, identity: str | None) -> str:
    """Return the link to a study on a running server, without the password.

    Raises:
        TrackingError: the server does not answer, or the study is not on it.
    """
    health = check_server(tracking_uri)
    if health.level != "ok":
        raise TrackingError(f"{health.text}; {health.remedy}")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    parts = urlsplit(tracking_uri)
    base = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")
    client = MlflowClient(tracking_uri)
    condition = "LIKE '%'" if identity is None else f"= '{identity}'"
    try:
        studies: list[Any] = list(client.search_experiments(filter_string=f"tags.`{STUDY_TAG}` {condition}"))
        if not studies:
            raise TrackingError(f"{base}: {_absent(identity)}")
        ids = [study.experiment_id for study in studies]
        last = client.search_runs(ids, order_by=["attributes.end_time DESC"], max_results=1)
    except MlflowException as error:
        raise TrackingError(f"{base}: {str(error).splitlines()[0]}") from None
    ended = {run.info.experiment_id: run.info.end_time or 0 for run in last}
    latest = max(studies, key=lambda study: max(study.last_update_time, ended.get(study.experiment_id, 0)))
    return _page(base, latest.experiment_id, f"{VIEW_TAG_PREFIX}{STUDY_VIEW}" in latest.tags)


def _absent(identity: str | None) -> str:
    if identity is None:
        return "contains no study; start one: hpsearch run STUDY.yaml"
    return "the study is not in it; upload it: hpsearch sync DATABASE"


def _page(base: str, experiment: str, has_view: bool) -> str:
    link = view_link(base, experiment)
    return link if has_view else link.partition("&viewStateShareKey=")[0]


def _announce(link: str, browser: bool) -> Iterator[str]:
    yield f"MLflow: {link}"
    display = sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))
    if browser and display:  # without a display Python would open a browser in the terminal
        webbrowser.open(link)


def _free_port(port: int | None) -> tuple[int, int | None]:
    """Return a free port, and the default port if that is in use.

    Raises:
        TrackingError: the requested port or all default ports are in use.
    """
    for candidate in range(PORT, PORT + PORTS_TRIED) if port is None else (port,):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # as servers do, so that a port that was just closed counts as free
            probe.bind((HOST, candidate))
            return probe.getsockname()[1], PORT if port is None and candidate != PORT else None
    if port is None:
        last = PORT + PORTS_TRIED - 1
        raise TrackingError(f"the ports {PORT} to {last} are in use; name another: --port 0 takes any free one")
    raise TrackingError(f"--port {port}: in use, or not allowed; name another, or omit --port for the next free one")


def _command(path: Path, port: int) -> list[str]:
    """Return the command of MLflow's server on the loopback address, with the tracker's folder of artifacts."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", url_of(str(path.absolute()))]
    return [*command, "--no-serve-artifacts", "--default-artifact-root", artifact_root(path).as_uri()]


def _answers(port: int) -> bool:
    connection = HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().read(99).strip() == b"OK"
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _wait(server: ManagedProcess, seconds: float) -> None:
    """Wait while the server runs.

    Raises:
        ServerEnded: the server has ended.
    """
    if server.ended(seconds):
        raise ServerEnded(f"MLflow's server has ended{_error(server)}")


def _error(server: ManagedProcess) -> str:
    lines = server.log()
    return f": {printable(error_line(lines), 300)}" if lines else ""

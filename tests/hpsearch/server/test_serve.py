"""The command: what it refuses, what it prints, and that it ends with its studies."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpsearch.core.files.file_lock import locked
from hpsearch.errors import ServerError
from hpsearch.server.client import Client
from hpsearch.server.serve import ServerOptions, names_of, serve
from tests.hpsearch.server.conftest import serving, study_text


def test_other_machines_need_tls(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "10.0.0.1", "example.org", "::"):
        with pytest.raises(ServerError, match=r"give it a certificate with --tls-cert and --tls-key"):
            serve(ServerOptions(tmp_path / "root", host), print)
    assert not (tmp_path / "root").exists()


def test_one_server_for_a_folder(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with locked(root / "server.lock", create=True), pytest.raises(ServerError, match="another server uses this folder"):
        serve(ServerOptions(root, port=0), print)
    (tmp_path / "file").touch()
    with pytest.raises(ServerError, match="cannot be written"):
        serve(ServerOptions(tmp_path / "file"), print)


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=rf"--port {port}: cannot be used: Address already in use"):
            serve(ServerOptions(tmp_path / "root", port=port), print)


def test_names() -> None:
    hosts, origins = names_of(ServerOptions(Path(), allowed_hosts=("Search.example.org",)), 8080)
    assert {"127.0.0.1:8080", "localhost:8080", "[::1]:8080", "search.example.org"} <= hosts
    assert "127.0.0.1" not in hosts and {"http://127.0.0.1:8080", "https://search.example.org"} <= origins
    hosts, origins = names_of(ServerOptions(Path(), "10.0.0.5", tls=(Path(), Path())), 443)
    assert hosts == {"10.0.0.5:443"} and origins == {"https://10.0.0.5:443"}


@pytest.mark.crash
def test_the_command(tmp_path: Path) -> None:
    """It prints a link with a token; SIGTERM ends it with its studies, and it continues them."""
    root = tmp_path / "root"
    command = [sys.executable, "-m", "hpsearch", "serve", "--root", str(root), "--port", "0", "--tracking-uri", "none"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        client = Client(process.stdout.readline().strip())
        study = tmp_path / "study.yaml"
        study.write_text(study_text(**{"train.epochs": 400, "stages": [{"name": "coarse", "trials": 12}]}))
        id = client.submit(study)["id"]
        while client.study(id)["finished"] < 2:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGTERM)
    assert (root / "tokens.json").stat().st_mode & 0o077 == 0
    with serving(root) as server:
        assert server.wait(id, "done", "failed")["finished"] == 12

"""The recipes for proxies in the README: a real nginx and a real Caddy with TLS, in front of a real server."""

import hashlib
import json
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import cases
import pytest
from paths import REPOSITORY
from test_server import server

pytestmark = pytest.mark.crash
NGINX = "daemon off; pid PREFIX/pid; error_log PREFIX/error; events {} http { access_log off; TEMPORARY RECIPE }"
KINDS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def recipe(language: str) -> str:
    text = (REPOSITORY / "hpsearch/server/README.md").read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)[0]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def certificate(folder: Path) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    options += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(["openssl", "req", *options], check=True, capture_output=True)
    return cert, key


def nginx(folder: Path, port: int, behind: str, cert: Path, key: Path) -> list[str]:
    """Return the command of an nginx with the recipe."""
    text = recipe("nginx").replace("443", f"127.0.0.1:{port}").replace("hpsearch.example.org", "localhost")
    text = text.replace("/etc/ssl/hpsearch/cert.pem", str(cert)).replace("/etc/ssl/hpsearch/key.pem", str(key))
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in KINDS)
    whole = NGINX.replace("TEMPORARY", temporary).replace("PREFIX", str(folder))
    (folder / "nginx.conf").write_text(whole.replace("RECIPE", text.replace("127.0.0.1:8080", behind)))
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def caddy(folder: Path, port: int, behind: str, cert: Path, key: Path) -> list[str]:
    """Return the command of a Caddy with the recipe, and a certificate of ours."""
    text = recipe("caddyfile").replace("hpsearch.example.org {", f"https://localhost:{port} {{\n    tls {cert} {key}")
    options = "{\n    admin off\n    auto_https disable_redirects\n}\n"
    (folder / "Caddyfile").write_text(options + text.replace("127.0.0.1:8080", behind))
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


@contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[None]:
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=said, env={"HOME": str(folder), "PATH": "/usr/sbin:/usr/bin:/bin"}
        )
    try:
        end = time.monotonic() + 20
        while True:
            assert process.poll() is None and time.monotonic() < end, (folder / "said").read_text()
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("proxy", [nginx, caddy], ids=["nginx", "caddy"])
def test_a_proxy(tmp_path: Path, proxy: Any) -> None:
    """TLS, uploads of some MB, events that do not wait, a cookie for TLS only, and other origins refused."""
    if shutil.which(proxy.__name__) is None or shutil.which("openssl") is None:
        pytest.skip(f"{proxy.__name__} or openssl is not installed")
    port, (cert, key) = free_port(), certificate(tmp_path)
    context = ssl.create_default_context(cafile=str(cert))
    with ExitStack() as stack:
        _, client = stack.enter_context(server(tmp_path / "root", allowed=f"localhost:{port}"))
        behind = client.url.removeprefix("http://")
        stack.enter_context(running(proxy(tmp_path, port, behind, cert, key), port, tmp_path))

        def ask(method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
            connection = stack.enter_context(closing(HTTPSConnection("localhost", port, timeout=20, context=context)))
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, {"Authorization": f"Bearer {client._token}", **named})
            return connection.getresponse()

        assert ask("GET", "/healthz").status == 200
        own = f"https://localhost:{port}"
        session = ask("POST", "/api/v1/session", Origin=own)
        assert session.status == 204 and "Secure" in session.getheader("set-cookie", "")
        assert ask("POST", "/api/v1/session", Origin="https://evil.example").status == 403
        if proxy is nginx:  # Caddy does not pass on another name
            assert ask("GET", "/healthz", Host="evil.example").status == 421
        content = b"a,b\n" * 800_000
        digest = hashlib.sha256(content).hexdigest()
        put = ask("PUT", f"/api/v1/data/{digest}", content, Content_Type="application/octet-stream", Origin=own)
        assert put.status == 201 and json.loads(put.read())["size"] == len(content)
        study = {"train": {"epochs": 40, "early_stopping": None}, "stages": [{"name": "coarse", "trials": 30}]}
        id = client.submit(cases.write(tmp_path, **study, pruning="none"))["id"]
        events = ask("GET", f"/api/v1/studies/{id}/events")
        assert events.status == 200 and events.readline() == b"event: state\n"
        assert client.study(id)["state"] in ("queued", "running")  # it did not wait for the end
        lines = list(iter(events.readline, b""))
        assert lines.count(b"event: trial\n") == 30 and b"event: done\n" in lines

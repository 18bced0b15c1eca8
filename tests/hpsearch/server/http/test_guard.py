"""Requests that are refused before they reach a route."""

import socket
import time
from typing import Any

import pytest

from hpsearch.server.http import guard
from tests.hpsearch.server.conftest import TestServer


def raw(server: TestServer, text: bytes) -> bytes:
    """Send bytes, and return the answer."""
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(text.replace(b"HOST", f"127.0.0.1:{server.port}".encode()))
        answer = b""
        while block := connection.recv(65536):
            answer += block
            if b"\r\n\r\n" in answer and b"content-length: 0" not in answer and b"}" in answer:
                break
        return answer


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example", "[::1]", "", "127.0.0.1@evil"]
)
def test_names_of_the_server(server: TestServer, host: str) -> None:
    """A page whose name leads to this machine has another name, or another port."""
    assert server.ask("GET", "/healthz", Host=host).status == 421
    assert server.ask("GET", "/healthz", Host=f"localhost:{server.port}").status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:PORT"},
        {"Origin": "http://127.0.0.1:PORT.evil.example"},
        {"Origin": "http://127.0.0.1:PORT/"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
    ids=str,
)
def test_other_origins(server: TestServer, done: str, method: str, headers: dict[str, str]) -> None:
    sent = {name: value.replace("PORT", str(server.port)) for name, value in headers.items()}
    assert server.ask(method, f"studies/{done}", token="boss", **sent).status == 403
    assert server.ask("GET", f"studies/{done}").json["state"] == "done"


def test_a_cookie_needs_an_origin(server: TestServer, done: str) -> None:
    """A form of another page would send the cookie, if a browser let it, but never this header."""
    session = server.ask("POST", "session", token="boss")
    cookie = session.headers["set-cookie"]
    assert session.status == 204 and "HttpOnly" in cookie and "SameSite=strict" in cookie
    own = {"Cookie": cookie.partition(";")[0]}
    assert server.ask("GET", f"studies/{done}", token=None, **own).status == 200
    assert server.ask("POST", f"studies/{done}/priority", {"priority": 1}, token=None, **own).status == 403
    own["Origin"] = server.url
    assert server.ask("POST", f"studies/{done}/priority", {"priority": 0}, token=None, **own).status == 200


@pytest.mark.parametrize(
    "media", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "text/html"]
)
def test_media_types(server: TestServer, media: str) -> None:
    assert server.ask("POST", "studies", b"name: a", media=media).status == 415


def test_methods(server: TestServer) -> None:
    for method in ("PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"):
        assert server.ask(method, "/healthz").status == 405
    overridden = server.ask("GET", "studies", X_HTTP_Method_Override="DELETE")
    assert overridden.status == 200


def test_large_bodies(server: TestServer) -> None:
    """By their length as told, and as sent."""
    assert server.ask("POST", "studies", b"x" * (guard.MAX_STUDY + 1)).status == 413
    assert server.ask("POST", "init", b"x" * (guard.MAX_BODY + 1), token=None).status == 413
    head = b"POST /api/v1/studies HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\n"
    assert b" 413 " in raw(server, head + b"Content-Length: 99999999999\r\n\r\n").split(b"\r\n")[0]
    for length in (b"-1", b"1e3", b"9" * 40, b"+5"):
        assert b" 400 " in raw(server, head + b"Content-Length: " + length + b"\r\n\r\n").split(b"\r\n")[0]
    token = b"Authorization: Bearer " + b"a" * 20 + b"\r\n"
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    assert b" 413 " in raw(server, head + token + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 17).split(b"\r\n")[0]


@pytest.mark.parametrize("length", ["Content-Length: 1200000", "Transfer-Encoding: chunked"])
def test_a_refusal_arrives_while_the_body_is_sent(server: TestServer, length: str) -> None:
    """A connection that is closed with unread data is reset, and the answer with it."""
    head = f"POST /api/v1/studies HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
    block = b"x" * 60_000 if "Length" in length else b"ea60\r\n" + b"x" * 60_000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(f"{head}Authorization: Bearer {'a' * 20}\r\n{length}\r\n\r\n".encode())
        for _ in range(20):
            time.sleep(0.01)
            connection.sendall(block)
        connection.sendall(b"" if "Length" in length else b"0\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")


def test_slow_bodies(server: TestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.3)
    head = b"POST /api/v1/studies HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: 10\r\n"
    begun = time.monotonic()
    answer = raw(server, head + b"Authorization: Bearer " + b"a" * 20 + b"\r\n\r\n{")
    assert b" 408 " in answer.split(b"\r\n")[0] and time.monotonic() - begun < 10


def test_repeated_headers(server: TestServer) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: HOST\r\n"
    for header in (b"Host: evil", b"Authorization: a\r\nAuthorization: b", b"Origin: a\r\nOrigin: b"):
        assert b" 400 " in raw(server, head + header + b"\r\n\r\n").split(b"\r\n")[0]


@pytest.mark.parametrize(
    "path",
    [
        *("/static/../tokens.json", "/static/%2e%2e%2ftokens.json", "/static/..%5ctokens.json", "/static/app.js%00"),
        *("//etc/passwd", "/api/v1/studies/../../tokens.json", "/api/v1/studies/%2e%2e/log"),
        "/api/v1/studies/0000000000000000%00/log",
    ],
)
def test_paths(server: TestServer, path: str) -> None:
    answer = server.ask("GET", path)
    assert answer.status in (400, 404, 422) and b"token" not in answer.body.replace(b"a valid token", b"")


def test_headers_of_every_answer(server: TestServer) -> None:
    for path in ("/", "/static/app.js", "/healthz", "/api/v1/studies", "/nothing", "/api/v1/openapi.json"):
        headers: Any = server.ask("GET", path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert (
            "default-src 'none'" in headers["content-security-policy"]
            and "unsafe" not in headers["content-security-policy"]
        )
        assert "access-control-allow-origin" not in headers and "server" not in headers


def test_requests_whose_end_is_unclear(idle: TestServer) -> None:
    """They are refused, and what follows them on the connection is not read as another request."""
    id, token = idle.submit(), b"Authorization: Bearer " + b"a" * 20 + b"\r\n"
    hidden = f"DELETE /api/v1/studies/{id} HTTP/1.1\r\nHost: HOST\r\n".encode() + token + b"\r\n"
    head = b"POST /api/v1/studies HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\n"
    for lengths in (
        b"Content-Length: 4\r\nTransfer-Encoding: chunked",
        b"Content-Length: 5, 6",
        b"Content-Length: 1e1",
    ):
        answer = raw(idle, head + token + lengths + b"\r\n\r\n0\r\n\r\n" + hidden)
        assert answer.startswith(b"HTTP/1.1 400") and answer.count(b"HTTP/1.1") == 1
    assert idle.ask("GET", f"studies/{id}").status == 200


def test_refusals_that_leave_the_connection_open(idle: TestServer) -> None:
    """A client that still sends its body would lose the answer with the connection."""
    head = (
        b"PATCH /api/v1/studies HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"
    )
    last = b"GET /nothing HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", idle.port), 20) as connection:
        connection.sendall((head + last).replace(b"HOST", f"127.0.0.1:{idle.port}".encode()))
        answer = b""
        while block := connection.recv(65536):
            answer += block
    assert answer.count(b"HTTP/1.1 405") == 1 == answer.count(b"HTTP/1.1 404") and b"allow: GET, HEAD, POST" in answer

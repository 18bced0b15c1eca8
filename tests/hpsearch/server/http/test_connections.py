"""Connections that hold up a server are closed; others are served meanwhile."""

import socket
import time
from contextlib import ExitStack, suppress

import pytest

from hpsearch.server.http import connections
from tests.hpsearch.server.conftest import TestServer


def opened(stack: ExitStack, server: TestServer, sent: bytes = b"") -> socket.socket:
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
    connection.sendall(sent)
    return connection


def ended(connection: socket.socket) -> bytes:
    """Return what arrives until the connection is closed."""
    found = b""
    with suppress(ConnectionResetError):
        while block := connection.recv(65536):
            found += block
    return found


def test_slow_headers(idle: TestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """None at all, a part of them, one after the other, and those of a second request."""
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.3)
    whole = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{idle.port}\r\n".encode()
    begun = time.monotonic()
    with ExitStack() as stack:
        slow = [opened(stack, idle, sent) for sent in (b"", b"G", whole, whole + b"\r\n")]
        assert slow[3].recv(65536).startswith(b"HTTP/1.1 200")
        slow[3].sendall(whole)
        dripping = opened(stack, idle, whole)
        with suppress(OSError):
            for _ in range(5):
                time.sleep(0.1)
                dripping.sendall(b"X-A: b\r\n")
        assert all(b" 408 Request Timeout" in ended(connection) for connection in slow)
        assert ended(dripping)[9:12] in (b"408", b"")
    assert time.monotonic() - begun < 5


def test_many_connections_of_one_client(idle: TestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest without a request gives way, so that a new one is always heard; the number of all is limited."""
    monkeypatch.setattr(connections, "SILENT_PER_CLIENT", 5)
    monkeypatch.setattr(connections, "SILENT_SECONDS", 0.2)
    monkeypatch.setattr(connections, "PER_CLIENT", 20)
    request = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{idle.port}\r\n\r\n".encode()
    with ExitStack() as stack:
        silent = [opened(stack, idle) for _ in range(12)]
        time.sleep(0.3)
        assert all(idle.ask("GET", "/healthz").status == 200 for _ in range(8))
        assert [ended(connection) for connection in silent[:7]] == [b""] * 7
        heard = [opened(stack, idle, request) for _ in range(19)]  # at once: that none was silent
        assert all(connection.recv(65536).startswith(b"HTTP/1.1 200") for connection in heard)
        assert idle.ask("GET", "/healthz").status == 200  # the last silent one has given way
        more = [opened(stack, idle) for _ in range(3)]
        assert ended(more[0]) == b""
    time.sleep(0.1)
    assert idle.ask("GET", "/healthz").status == 200


def test_a_client_that_does_not_read(idle: TestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "READING_SECONDS", 0.2)
    request = f"GET /static/app.js HTTP/1.1\r\nHost: 127.0.0.1:{idle.port}\r\n\r\n".encode()
    with ExitStack() as stack:
        connection = socket.socket()
        stack.enter_context(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", idle.port))
        with suppress(OSError):
            for _ in range(2000):
                connection.sendall(request)
        time.sleep(0.5)
        assert ended(connection).count(b"HTTP/1.1 200") < 1000
    assert idle.ask("GET", "/healthz").status == 200

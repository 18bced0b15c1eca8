"""The connection to a scheduler, and its version."""

import asyncio
import gc
import socket
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import distributed
import pytest

from hpsearch.errors import ClusterError
from hpsearch.training.executors.dask import connection
from hpsearch.training.executors.dask.address import NO_CERTIFICATES, Certificates


def client_of(version: str | None) -> Any:
    async def versions() -> Any:
        return {} if version is None else {"packages": {"distributed": version}}

    return SimpleNamespace(scheduler=SimpleNamespace(versions=versions))


@pytest.mark.parametrize("version", [distributed.__version__, None])
def test_same_version(version: str | None) -> None:
    assert asyncio.run(connection.version_note(client_of(version))) is None


def test_another_version() -> None:
    note = asyncio.run(connection.version_note(client_of("2026.1.1"))) or ""
    assert note.startswith("the scheduler runs distributed 2026.1.1, this machine ")
    assert note.endswith("pip install distributed==2026.1.1")


def test_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is closed, not left to the garbage collector."""
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.3)
    with pytest.raises(OSError, match="the connection is refused"):
        asyncio.run(connection.connected_client("tcp://127.0.0.1:1", NO_CERTIFICATES))
    gc.collect()


def test_a_server_that_is_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as that of a web page."""
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 1.0)

    async def page(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        writer.close()

    async def ask() -> None:
        async with await asyncio.start_server(page, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await connection.connected_client(f"tcp://127.0.0.1:{port}", NO_CERTIFICATES)

    with pytest.raises((OSError, ClusterError)) as caught:
        asyncio.run(ask())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("certificates", "option"), [(NO_CERTIFICATES, "--tls-ca"), (Certificates(ca=Path(__file__)), "--tls-cert")]
)
def test_certificates_that_are_missing(certificates: Certificates, option: str) -> None:
    with pytest.raises(ClusterError) as caught:
        asyncio.run(connection.connected_client("tls://127.0.0.1:1", certificates))
    wanted = "needs --tls-ca, --tls-cert and --tls-key"
    assert str(caught.value) == f"tls://127.0.0.1:1: {option} is missing; {wanted}"


def test_a_file_that_is_no_certificate() -> None:
    with pytest.raises(ClusterError, match="the file of --tls-ca holds no certificate"):
        asyncio.run(connection.connected_client("tls://127.0.0.1:1", Certificates(*[Path(__file__)] * 3)))


def test_a_scheduler_without_tls() -> None:
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    error.reason = "WRONG_VERSION_NUMBER"
    assert connection._tls_reason([OSError(), error]).endswith(
        "does not use TLS; start the scheduler with certificates"
    )


@pytest.mark.parametrize(
    ("protocol", "text"), [("tls", "refuse the certificate of --tls-cert"), ("tcp", "need tls://")]
)
def test_a_scheduler_that_hangs_up(protocol: str, text: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"{protocol}://127.0.0.1:{silent.getsockname()[1]}"
        assert asyncio.run(connection._connect_reason(address)) == f"no answer within 10 s; it may {text}"


def test_a_connection_that_is_refused() -> None:
    for address in ("tcp://127.0.0.1:1", "tls://localhost:1"):
        assert asyncio.run(connection._connect_reason(address)) == "the connection is refused"

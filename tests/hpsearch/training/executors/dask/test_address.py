"""Addresses of clusters: only encrypted connections leave this machine."""

from pathlib import Path

import pytest

from hpsearch.errors import ClusterError
from hpsearch.training.executors.dask.address import Certificates, ClusterAddress


@pytest.mark.parametrize(
    "text", ["tcp://127.0.0.1:8786", "tcp://localhost:8786", "tcp://[::1]:8786", "tls://node-1.example.org:8786"]
)
def test_scheduler(text: str) -> None:
    assert ClusterAddress.parse(text) == ClusterAddress(text)


def test_local() -> None:
    assert ClusterAddress.parse("local:4") == ClusterAddress(None, 4)


@pytest.mark.parametrize(
    "text",
    [
        *("", "127.0.0.1:8786", "tcp://127.0.0.1", "tcp://127.0.0.1:0", "tcp://127.0.0.1:70000", "local", "local:-1"),
        *("http://127.0.0.1:8786", "ucx://127.0.0.1:8786", "inproc://127.0.0.1:1", "tls://host:8786/path"),
    ],
)
def test_not_an_address(text: str) -> None:
    with pytest.raises(ClusterError, match=r"^cluster: must be tls://HOST:PORT, .* or local:N.*; got '"):
        ClusterAddress.parse(text)


def test_password() -> None:
    """Dask has none, and a text that looks like one is not repeated."""
    with pytest.raises(ClusterError) as caught:
        ClusterAddress.parse("tls://me:secret@c:8786")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["local:0", "local:99999"])
def test_number_of_local_workers(text: str) -> None:
    with pytest.raises(ClusterError, match="must have 1 to 1024 workers"):
        ClusterAddress.parse(text)


@pytest.mark.parametrize(
    "text", ["tcp://10.0.0.1:8786", "tcp://example.org:8786", "tcp://[2001:db8::1]:8786", "tcp://127.0.0.1.evil:1"]
)
def test_other_machines_need_encryption(text: str) -> None:
    with pytest.raises(ClusterError, match="must be encrypted"):
        ClusterAddress.parse(text)


def test_certificates(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    certificates = Certificates(tmp_path / "ca.pem")
    assert ClusterAddress.parse("tls://a:1", certificates).certificates == certificates
    with pytest.raises(ClusterError, match=r"begins with tls://"):
        ClusterAddress.parse("tcp://127.0.0.1:1", certificates)
    with pytest.raises(ClusterError, match=r"^--tls-key: .*none\.pem is not a file"):
        ClusterAddress.parse("tls://a:1", Certificates(key=tmp_path / "none.pem"))

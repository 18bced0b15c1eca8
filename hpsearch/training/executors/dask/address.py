"""The address of a Dask cluster, and the certificates for it, as a user gives them."""

import ipaddress
import re
from pathlib import Path
from typing import NamedTuple, Self

from hpsearch.errors import ClusterError

_LOCAL = re.compile(r"local:(\d+)")
_REMOTE = re.compile(r"(?P<protocol>tcp|tls)://(?P<host>\[[^\]]+\]|[^:/\[\]]+):(?P<port>\d{1,5})")
_FORMS = "must be tls://HOST:PORT, tcp://127.0.0.1:PORT or local:N, the number of workers"
MAX_LOCAL = 1024


class Certificates(NamedTuple):
    """Files for connections with TLS; None for those that Dask's own configuration names.

    Attributes:
        ca: certificates of the authorities that the scheduler and the workers are trusted with.
        cert: the certificate of this machine.
        key: its private key.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @property
    def given(self) -> bool:
        return any(path is not None for path in self)


NO_CERTIFICATES = Certificates()


class ClusterAddress(NamedTuple):
    """A cluster to connect to, or one to start on this machine.

    Attributes:
        scheduler: the address of its scheduler; None for a cluster on this machine.
        local: the number of workers to start on this machine.
    """

    scheduler: str | None
    local: int = 0
    certificates: Certificates = NO_CERTIFICATES

    @classmethod
    def parse(cls, text: str, certificates: Certificates = NO_CERTIFICATES) -> Self:
        """Return the address that a text names.

        Access to a scheduler's port is enough to run code on the cluster, so other machines are reached with TLS only.

        Raises:
            ClusterError: the text is not an address, the connection would not be encrypted, or a file is missing.
        """
        if found := _LOCAL.fullmatch(text):
            if not 1 <= int(found[1]) <= MAX_LOCAL:
                raise ClusterError(f"cluster: local:N must have 1 to {MAX_LOCAL} workers, got {found[1]}")
            return cls(None, int(found[1]))
        found = _REMOTE.fullmatch(text)
        if found is None or not 0 < int(found["port"]) < 1 << 16:
            raise ClusterError(f"cluster: {_FORMS}; got '{text}'")
        if found["protocol"] == "tcp" and not _is_loopback(found["host"].strip("[]")):
            raise ClusterError(
                f"cluster: {text}: a connection to another machine must be encrypted, because access to the"
                " scheduler is enough to run code; start the scheduler with TLS and write tls://HOST:PORT, with"
                " --tls-ca, --tls-cert and --tls-key"
            )
        if found["protocol"] == "tcp" and certificates.given:
            raise ClusterError(f"cluster: {text}: certificates need an address that begins with tls://")
        for option, path in zip(("--tls-ca", "--tls-cert", "--tls-key"), certificates, strict=True):
            if path is not None and not path.is_file():
                raise ClusterError(f"{option}: {path} is not a file")
        return cls(text, 0, certificates)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, which may lead to any machine
        return False

"""The connection of the coordinator to a scheduler."""

import asyncio
import contextlib
import ssl
import warnings
from typing import TYPE_CHECKING, Any

from hpsearch.core.text import first_line
from hpsearch.errors import ClusterError
from hpsearch.training.executors.dask.address import Certificates

if TYPE_CHECKING:
    from distributed import Client

CLOSE_SECONDS = 5.0
PROBE_SECONDS = 3.0
CONNECT_SECONDS = 10.0  # for one attempt
SEND_INTERVAL = 0.001  # seconds for which messages to the scheduler are collected
_TLS_ADVICE = {
    "WRONG_VERSION_NUMBER": "the server does not use TLS; start the scheduler with certificates",
    "KEY_VALUES_MISMATCH": "the file of --tls-key is not the key of --tls-cert",
    "NO_CERTIFICATE_OR_CRL_FOUND": "the file of --tls-ca holds no certificate",
}


async def connected_client(address: str, certificates: Certificates) -> "Client":
    """Return a client that is connected to a scheduler.

    Raises:
        ClusterError: the certificates are not accepted, or cannot be read.
        OSError: the scheduler does not answer.
    """
    from distributed import Client

    options: dict[str, Any] = {"asynchronous": True, "set_as_default": False, "name": "hpsearch"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about versions, which `Machine` and `version_note` check
        client: Client | None = None
        try:
            security = _security(address, certificates) if address.startswith("tls://") else None
            client = Client(address, timeout=CONNECT_SECONDS, security=security, **options)
            await client
            send_soon(client)
            return client
        except ClusterError:
            raise
        except Exception as error:
            if client is not None:
                await close(client)
            reasons = list(_chain(error))
            if any(isinstance(e, ssl.SSLError) for e in reasons):
                raise ClusterError(f"{address}: {_tls_reason(reasons)}") from None
            if isinstance(error, OSError | asyncio.TimeoutError):
                raise OSError(await _connect_reason(address)) from None
            raise ClusterError(f"{address}: cannot be used: {first_line(error)}") from None


def send_soon(client: "Client") -> None:
    """Shorten the 10 ms for which Dask collects messages: the release of a finished task held up the next task."""
    comm: Any = client.scheduler_comm
    if hasattr(comm, "interval"):
        comm.interval = SEND_INTERVAL


async def close(client: "Client") -> None:
    """Close a client, whatever has happened to its scheduler."""
    with contextlib.suppress(Exception):
        await asyncio.wait_for(client._close(fast=True), CLOSE_SECONDS)


async def version_note(client: "Client") -> str | None:
    """Return a sentence if the scheduler runs another version of Dask than this process; None if it does not."""
    import distributed

    with contextlib.suppress(OSError, LookupError, TypeError):
        answer = await client.scheduler.versions()
        there, here = answer["packages"]["distributed"], distributed.__version__
        if there != here:
            return (
                f"the scheduler runs distributed {there}, this machine {here}; if the cluster cannot be used, install"
                f" here: pip install distributed=={there}"
            )
    return None


def _security(address: str, certificates: Certificates) -> Any:
    """Return Dask's own configuration of TLS, with the certificates that are given.

    Raises:
        ClusterError: the certificates of the authorities or of this machine are missing.
    """
    from distributed.security import Security

    given = {
        "tls_ca_file": certificates.ca,
        "tls_client_cert": certificates.cert,
        "tls_client_key": certificates.key,
    }
    security = Security(require_encryption=True, **{key: str(path) for key, path in given.items() if path is not None})
    for option, value in (("--tls-ca", security.tls_ca_file), ("--tls-cert", security.tls_client_cert)):
        if not value:
            raise ClusterError(f"{address}: {option} is missing; needs --tls-ca, --tls-cert and --tls-key")
    return security


def _chain(error: BaseException | None) -> Any:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _tls_reason(reasons: list[BaseException]) -> str:
    error = next(e for e in reasons if isinstance(e, ssl.SSLError))
    reason = error.reason or first_line(error)
    advice = _TLS_ADVICE.get(
        reason, "both sides need a certificate of the same authority: --tls-ca, --tls-cert and --tls-key"
    )
    return f"TLS is refused: {reason}; {advice}"


async def _connect_reason(address: str) -> str:
    """Return why a scheduler does not answer, for which Dask has one exception."""
    host, _, port = address.partition("://")[2].rpartition(":")
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host.strip("[]"), int(port)), PROBE_SECONDS)
    except ConnectionRefusedError:
        return "the connection is refused"
    except OSError:
        return f"no answer within {CONNECT_SECONDS:.0f} s"
    writer.close()
    refused = "refuse the certificate of --tls-cert" if address.startswith("tls://") else "need tls://"
    return f"no answer within {CONNECT_SECONDS:.0f} s; it may {refused}"

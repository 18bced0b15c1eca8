"""Start a server: its folder, tokens and queue, then the HTTP interface until a signal ends it."""

import contextlib
import ipaddress
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from hpsearch.core.files.file_lock import LockTakenError, locked
from hpsearch.core.resources import physical_memory
from hpsearch.errors import ServerError
from hpsearch.server.http.guard import Limits
from hpsearch.server.live.views import Views
from hpsearch.server.places import Places
from hpsearch.server.policy import Policy
from hpsearch.server.products import end_commands
from hpsearch.server.queue import Queue
from hpsearch.server.runner import Runner, Share
from hpsearch.server.tokens import TokenFile

TOKEN_FILE = "tokens.json"
KEEP_ALIVE, SHUTDOWN = 5, 5  # seconds that a connection may be idle; that requests have to end
MAX_CONNECTIONS = 500
MAX_ROWS_BYTES = 1 << 24
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


class ServerOptions(NamedTuple):
    """Options of a server.

    Attributes:
        root: folder of its studies, uploads, tokens and queue.
        jobs: studies at once.
        workers: worker processes of all studies together; None for one for each CPU.
        memory: bytes that each process of a study may allocate; None for an equal share of this machine's memory.
        storage: URL of the database of the queue; None for a file in the root folder.
        tracking: MLflow tracking URI; None for a file in the root folder.
        cluster: address of a Dask cluster that trains; None without one.
        allowed_hosts: further names that the server answers to.
        allow_code: studies may use all sources of data, and variables of the environment.
        data_root: a folder whose files studies may read.
        quota: bytes on disk.
        upload: bytes of an upload.
        most_queued: studies that wait or run.
        tls: files of the certificate and its key; None for plain HTTP.
    """

    root: Path
    host: str = "127.0.0.1"
    port: int = 8080
    jobs: int = 1
    workers: int | None = None
    memory: int | None = None
    storage: str | None = None
    tracking: str | None = None
    cluster: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    allow_code: bool = False
    data_root: Path | None = None
    quota: int = 20 << 30
    upload: int = 1 << 30
    most_queued: int = 1000
    tls: tuple[Path, Path] | None = None


def serve(options: ServerOptions, say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; then stop the studies, which are queued again.

    Args:
        say: prints a line.

    Raises:
        ServerError: the server cannot start.
    """
    try:
        import uvicorn

        from hpsearch.server.routes.app import create_app
        from hpsearch.server.routes.common import Service, slow_threads
    except ImportError as error:  # a version of MLflow that does not bring them
        raise ServerError(f"the server needs {error.name}; install it with: pip install fastapi uvicorn") from None

    _check_exposed(options)
    places = _places(options)
    with ExitStack() as stack:
        stack.enter_context(_only_server(places))
        number = stack.enter_context(listening(options))
        tokens = TokenFile(places.root / TOKEN_FILE)
        queue = Queue(options.storage or places.queue)
        stack.callback(queue.close)
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        count = options.workers or cpus
        tracking = options.tracking or places.tracking
        memory = options.memory or physical_memory() // (options.jobs + 1)
        share = Share(options.jobs, max(1, count // options.jobs), options.cluster, tracking, memory)
        runner = Runner(queue, places, share)
        port = number.getsockname()[1]
        limits = Limits(*names_of(options, port), options.upload, MAX_ROWS_BYTES)
        policy = Policy(options.allow_code, options.data_root)
        views = Views(queue, places)
        stack.callback(views.close)
        slow = stack.enter_context(slow_threads())
        stack.callback(end_commands)
        service = Service(queue, places, runner, views, slow, policy, tokens, limits, options.most_queued)
        stack.callback(runner.stop)
        runner.start()
        _announce(options, port, tokens, places, say)
        server = uvicorn.Server(uvicorn.Config(create_app(service), **http_settings(options)))
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again after it has ended
            server.run(sockets=[number])


def http_settings(options: ServerOptions) -> dict[str, Any]:
    """Return the settings of uvicorn."""
    from hpsearch.server.http.connections import LimitedConnection

    settings: dict[str, Any] = {"timeout_keep_alive": KEEP_ALIVE, "timeout_graceful_shutdown": SHUTDOWN}
    settings |= {"limit_concurrency": MAX_CONNECTIONS, "log_level": "warning", "access_log": False}
    settings |= {
        "server_header": False,
        "date_header": False,
        "proxy_headers": False,
        "ws": "none",
        "http": LimitedConnection,
    }
    if options.tls is not None:
        settings |= {"ssl_certfile": str(options.tls[0]), "ssl_keyfile": str(options.tls[1])}
    return settings


def _places(options: ServerOptions) -> Places:
    try:
        return Places(options.root, options.quota)
    except OSError as error:
        raise ServerError(f"{options.root}: cannot be written: {error.strerror}") from None


def _check_exposed(options: ServerOptions) -> None:
    """Raise `ServerError` for a server that other machines reach without TLS."""
    if options.tls is None and not _is_loopback(options.host):
        raise ServerError(
            f"--host {options.host}: other machines could reach the server, and read tokens on the way; give it a"
            " certificate with --tls-cert and --tls-key, or keep it on 127.0.0.1 behind a proxy with TLS"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextlib.contextmanager
def _only_server(places: Places) -> Iterator[None]:
    """Hold the lock of the root folder."""
    try:
        with locked(places.root / "server.lock", create=True):
            yield
    except LockTakenError:
        raise ServerError(f"{places.root}: another server uses this folder; choose another one with --root") from None


@contextlib.contextmanager
def listening(options: ServerOptions) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    with socket.socket(family) as number:
        number.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            number.bind((options.host, options.port))
            number.listen(128)  # requests that come before the server is ready wait
        except OSError as error:
            message = f"--host {options.host} --port {options.port}: cannot be used: {error.strerror}"
            raise ServerError(message) from None
        yield number


def names_of(options: ServerOptions, port: int) -> tuple[frozenset[str], frozenset[str]]:
    """Return the values of Host and Origin that the server answers to."""
    plain = f"[{options.host}]" if ":" in options.host else options.host
    further = {name.lower() for name in options.allowed_hosts}  # behind a proxy, on its port
    own = {plain.lower(), *(LOOPBACK_NAMES if _is_loopback(options.host) else ())}
    with_ports = {f"{name}:{port}" for name in own | further}
    scheme = "http" if options.tls is None else "https"
    origins = {f"{scheme}://{name}" for name in with_ports} | {f"https://{name}" for name in further}
    return frozenset(with_ports | further), frozenset(origins)


def _announce(options: ServerOptions, port: int, tokens: TokenFile, places: Places, say: Callable[[str], None]) -> None:
    """Print the address, with a token that may do everything, for the browser."""
    plain = f"[{options.host}]" if ":" in options.host else options.host
    url = f"{'http' if options.tls is None else 'https'}://{plain}:{port}"
    admin = next((token for token, right in tokens.known.values() if right == "admin"), None)
    say(f"{url}/{'' if admin is None else f'#token={admin}'}")
    say(f"Studies and tokens: {places.root}")
    say(f"Submit a study: HPSEARCH_SERVER={url} HPSEARCH_TOKEN=… hpsearch submit STUDY.yaml")
    say("Press Ctrl-C to stop the server; it continues its studies when it is started again.")

"""A server in this process, with real child processes for its studies."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import cases
import pytest
import uvicorn

from hpsearch.server.http.guard import Limits
from hpsearch.server.live.views import Views
from hpsearch.server.places import Places
from hpsearch.server.policy import Policy
from hpsearch.server.queue import Queue
from hpsearch.server.routes.app import create_app
from hpsearch.server.routes.common import Service, slow_threads
from hpsearch.server.runner import Runner, Share
from hpsearch.server.serve import TOKEN_FILE, ServerOptions, http_settings, listening, names_of
from hpsearch.server.tokens import TokenFile, Tokens

STUDY: dict[str, Any] = {
    "train": {"optimizer": "momentum", "epochs": 3, "early_stopping": None},
    "stages": [{"name": "coarse", "trials": 5}, {"name": "fine", "trials": 3, "sampler": "tpe"}],
    "pruning": "none",
}
TOKENS = Tokens(
    {"boss": ("a" * 20, "admin"), "ann": ("b" * 20, "submit"), "bob": ("c" * 20, "submit"), "eve": ("d" * 20, "read")}
)


def study_text(**changes: Any) -> str:
    """Return a study file, in JSON, which is YAML."""
    return json.dumps(cases.content(**{**STUDY, **changes}))


class Answer(NamedTuple):
    """An answer of the server."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class TestServer(NamedTuple):
    """A running server."""

    __test__ = False
    service: Service
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = "boss",
        media: str = "application/json",
        **headers: str,
    ) -> Answer:
        """Send a request. The body is sent as JSON unless it is bytes."""
        sent = {"Content-Type": media} if body is not None else {}
        sent |= {"Authorization": f"Bearer {TOKENS.known[token][0]}"} if token else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path if path.startswith("/") else f"/api/v1/{path}", content, sent)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def submit(self, token: str = "boss", **changes: Any) -> str:
        """Submit a study; return its id."""
        answer = self.ask("POST", "studies", {"study": study_text(**changes)}, token)
        assert answer.status == 202, answer.body
        return str(answer.json["id"])

    def wait(self, id: str, *states: str) -> Any:
        """Wait until a study is in one of the states, and return its state."""
        end = time.monotonic() + 120
        while (study := self.ask("GET", f"studies/{id}").json)["state"] not in states:
            assert time.monotonic() < end, study
            time.sleep(0.05)
        return study


@contextmanager
def serving(root: Path, *, jobs: int = 1, run: bool = True, **policy: Any) -> Iterator[TestServer]:
    """Serve a folder; with `run=False` studies stay in the queue."""
    options = ServerOptions(root, port=0)
    with ExitStack() as stack:
        number = stack.enter_context(listening(options))
        port = number.getsockname()[1]
        places = Places(root, 1 << 30)
        queue = Queue(places.queue)
        stack.callback(queue.close)
        runner = Runner(queue, places, Share(jobs, 1, None, "none"))
        limits = Limits(*names_of(options, port), 1 << 20, 1 << 20)
        TOKENS.save(root / TOKEN_FILE)
        views, tokens = Views(queue, places), TokenFile(root / TOKEN_FILE)
        stack.callback(views.close)
        slow = stack.enter_context(slow_threads())
        service = Service(queue, places, runner, views, slow, Policy(**policy), tokens, limits, 50)
        settings = http_settings(options) | {"log_level": "critical", "timeout_graceful_shutdown": 1}
        server = uvicorn.Server(uvicorn.Config(create_app(service), **settings))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [number]})
        if run:
            runner.start()
            stack.callback(runner.stop)
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield TestServer(service, port)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")  # not longer: tests of other modules change the clock, which its event loop reads
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    """Yield a server that runs its studies."""
    with serving(tmp_path_factory.mktemp("server"), jobs=2) as running:
        yield running


@pytest.fixture(scope="module")
def done(server: TestServer) -> str:
    """Return the id of a study that is done."""
    id = server.submit("ann")
    assert server.wait(id, "done", "failed")["state"] == "done", server.ask("GET", f"studies/{id}/log").body
    return id


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[TestServer]:
    """Yield a server that runs nothing."""
    with serving(tmp_path / "server", run=False) as running:
        yield running

"""A client of a server: submits studies with the tables that they name, follows them, and fetches what they yield."""

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from hpsearch.config.load import load_spec
from hpsearch.core.atomic import atomic_file
from hpsearch.errors import Mistake, OutputError, ServerError, SpecError
from hpsearch.server.policy import LOCAL_SOURCES
from hpsearch.training.objectives.code import find_code

ANSWER_SECONDS = 60.0  # without an answer
STREAM_SILENCE = 60.0  # without a sign of life on an event stream
OUTAGE_SECONDS = 900.0  # seconds without a server, after which an event stream is given up
PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # seconds between attempts to open it again; the last one from then on
_ABSENT = (502, 503, 504)  # a proxy has no server to ask, or the server is about to end
CONFIG = Path("~/.config/hpsearch/server.json")
_PATHS = ("path", "test_path")


def connect(url: str | None = None, token: str | None = None) -> "Client":
    """Return a client of a server: `hpsearch.connect("http://127.0.0.1:8080").submit("study.yaml")`.

    Args:
        url: its address, also the link that it prints; None for that in `HPSEARCH_SERVER` or in
            `~/.config/hpsearch/server.json`.
        token: None for that in `HPSEARCH_TOKEN` or in the same file, which only its user may read.

    Raises:
        ServerError: there is no address, or it is not valid.
    """
    return Client(url, token)


@final
class Client:
    """Talks to a server; see `connect`."""

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        stored = _stored() if url is None or token is None else {}
        url = url or os.environ.get("HPSEARCH_SERVER") or stored.get("server")
        if not url:
            raise ServerError("no server is named; use --server URL or the variable HPSEARCH_SERVER")
        parsed = urlsplit(url)
        if parsed.scheme not in ("http", "https") or not parsed.hostname or parsed.username is not None:
            raise ServerError("the address of the server must be like http://127.0.0.1:8080, without a password")
        self.url = f"{parsed.scheme}://{parsed.netloc}"
        fragment = parsed.fragment.removeprefix("token=") if parsed.fragment.startswith("token=") else ""
        self._token = token or fragment or os.environ.get("HPSEARCH_TOKEN") or stored.get("token") or ""
        local = parsed.hostname in ("127.0.0.1", "localhost", "::1")
        self._opener = build_opener(_NoRedirects(), *([ProxyHandler({})] if local else []))

    def submit(self, study: str | os.PathLike[str], *, priority: int = 0, key: str | None = None) -> dict[str, Any]:
        """Submit a study file with the tables and the training code that it names; return the submission.

        Args:
            key: identifies the request, so that repeating it submits nothing again.

        Raises:
            SpecError: the file has mistakes.
            TrainingCodeError: a file of its training code cannot be read.
            ServerError: the server refuses the study, or does not answer.
        """
        path = Path(study)
        spec, _ = load_spec(path)
        files = {}
        if spec.data is not None and spec.data.source in LOCAL_SOURCES:
            named = [getattr(spec.data, name, None) for name in _PATHS]
            split = getattr(spec.data.split, "file", None)
            files = {name: self.upload(Path(name)) for name in [*named, split] if name and not os.path.isabs(name)}
        for name, _ in find_code(spec, path.parent).files:
            files[name] = self.upload(Path(path.parent, name))
        body = {"study": path.read_text("utf-8"), "files": files, "priority": priority}
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        return self._json("POST", "/studies", json.dumps(body).encode(), headers)

    def upload(self, file: Path) -> str:
        """Store a file on the server unless it is there; return its digest.

        Raises:
            ServerError: the file cannot be read, or the server refuses it.
        """
        try:
            with file.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
                content.seek(0)
                headers = {"Content-Type": "application/octet-stream", "Content-Length": str(file.stat().st_size)}
                self._json("PUT", f"/data/{digest}", content, headers)
        except OSError as error:
            raise ServerError(f"{file}: cannot be read: {error.strerror or error}") from None
        return digest

    def studies(self, *, archived: bool = False) -> list[dict[str, Any]]:
        """Return all studies of the server in the order of their submission, or those that are archived."""
        found: list[dict[str, Any]] = []
        kind = "&archived=true" if archived else ""
        while page := self._json("GET", f"/studies?after={found[-1]['number'] if found else 0}{kind}")["studies"]:
            found += page
        return found

    def study(self, id: str) -> dict[str, Any]:
        """Return the state of a study."""
        return self._json("GET", f"/studies/{id}")

    def events(self, id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the events of a study, as (kind, content), until it has ended.

        A stream that breaks off, as when the server is restarted, is opened again after the last event. Each time an
        event of the kind `waiting` is yielded first.

        Raises:
            ServerError: the server has no such study, does not answer at first, or is away for `OUTAGE_SECONDS`.
        """
        last, tries, heard, answered = "0", 0, time.monotonic(), False
        while True:
            try:
                headers = {"Last-Event-ID": last}
                with self._open("GET", f"/studies/{id}/events", None, headers, STREAM_SILENCE) as answer:
                    answered = True
                    for number, kind, content in _events(answer):
                        last, tries, heard = number or last, 0, time.monotonic()
                        yield kind, content
                        if kind == "done":
                            return
                reason = "the stream has ended"
            except _Absent as error:
                if not answered or time.monotonic() - heard > OUTAGE_SECONDS:
                    raise
                reason = str(error)
            except (OSError, HTTPException) as error:
                reason = str(error)
            if tries == 0:
                yield "waiting", {"reason": reason}
            time.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
            tries += 1

    def cancel(self, id: str) -> dict[str, Any]:
        """Cancel a study that waits or runs; what is trained is kept."""
        return self._json("POST", f"/studies/{id}/cancel")

    def resume(self, id: str) -> dict[str, Any]:
        """Queue a study again that has ended."""
        return self._json("POST", f"/studies/{id}/resume")

    def archive(self, id: str) -> dict[str, Any]:
        """Compress the database of a study that has ended, and leave it out of the list."""
        return self._json("POST", f"/studies/{id}/archive")

    def restore(self, id: str) -> dict[str, Any]:
        """Bring back an archived study."""
        return self._json("POST", f"/studies/{id}/restore")

    def predict(self, id: str, rows: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the predictions of the best model for rows, mappings of the model's columns."""
        body, headers = json.dumps(list(map(dict, rows))).encode(), {"Content-Type": "application/json"}
        found: list[dict[str, Any]] = self._json("POST", f"/studies/{id}/predict", body, headers)["predictions"]
        return found

    def fetch(self, id: str, product: str, file: Path) -> None:
        """Write a product of a study to a file.

        Args:
            product: `report`, `model.zip`, `model.onnx`, `log` or `trials?format=csv`.

        Raises:
            OutputError: the file cannot be written.
            ServerError: the study has no such product yet.
        """
        with self._open("GET", f"/studies/{id}/{product}", None, {}, 600.0) as answer:
            try:
                with atomic_file(file) as draft:
                    while block := answer.read(1 << 20):
                        draft.write(block)
            except OSError as error:
                raise OutputError(f"{file}: cannot be written: {error.strerror or error}") from None

    def _json(
        self, method: str, path: str, body: "bytes | IO[bytes] | None" = None, headers: Mapping[str, str] = {}
    ) -> dict[str, Any]:
        try:
            with self._open(method, path, body, headers, ANSWER_SECONDS) as answer:
                content = json.loads(answer.read() or b"{}")
                if not isinstance(content, dict):
                    raise ValueError("it is not an object")
                return content
        except (OSError, HTTPException, ValueError) as error:
            raise ServerError(f"{self.url}: the answer cannot be read: {error}") from None

    def _open(self, method: str, path: str, body: Any, headers: Mapping[str, str], seconds: float) -> Any:
        """Return the answer to a request.

        Raises:
            ServerError: the server refuses it or does not answer.
            SpecError: the study that it submits has mistakes.
        """
        request = Request(f"{self.url}/api/v1{path}", body, dict(headers), method=method)
        if self._token:
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        try:
            return self._opener.open(request, timeout=seconds)
        except HTTPError as error:
            raise _refusal(self.url, error) from None
        except URLError as error:
            raise _Absent(f"{self.url}: does not answer: {error.reason}") from None
        except (OSError, HTTPException) as error:
            raise _Absent(f"{self.url}: does not answer: {error}") from None


class _Absent(ServerError):
    """A server that does not answer now, but may later."""


class _NoRedirects(HTTPRedirectHandler):
    """A server of ours redirects nowhere, and a token must not follow another's redirect."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _refusal(url: str, error: HTTPError) -> Exception:
    with error:
        try:
            content = json.loads(error.read())
        except (OSError, HTTPException, ValueError):
            content = {}
    if content.get("mistakes"):
        return SpecError([Mistake(*(str(m[key]) for key in ("where", "path", "message"))) for m in content["mistakes"]])
    if error.code == 401:
        return ServerError(f"{url}: the token is missing or unknown; use the variable HPSEARCH_TOKEN")
    kind = _Absent if error.code in _ABSENT else ServerError
    return kind(f"{url}: {content.get('detail') or f'HTTP status {error.code}'}")


def _events(lines: Iterable[bytes]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (id, kind, content) of server-sent events; the id is empty for those without one."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, text = line.decode().rstrip("\r\n").partition(": ")
        fields[name] = text
        if line == b"\n":  # before it, the event may be incomplete
            if "data" in fields:
                yield fields.get("id", ""), fields.get("event", ""), json.loads(fields["data"])
            fields = {}


def _stored() -> dict[str, str]:
    """Return the address and the token in the user's file; empty without one.

    Raises:
        ServerError: others can read the file, or it cannot be read.
    """
    file = CONFIG.expanduser()
    try:
        if os.name == "posix" and stat.S_IMODE(file.stat().st_mode) & 0o077:
            raise ServerError(f"{file}: others can read it; change that: chmod 600 {file}")
        return dict(json.loads(file.read_text("utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise ServerError(f"{file}: cannot be read: {error}") from None

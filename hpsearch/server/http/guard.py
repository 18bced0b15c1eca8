"""Refusal of requests before they reach a route: unknown hosts, other origins, large or slow bodies, other media types.

Written against the interface of ASGI, so that bodies are counted while they arrive.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple, final

from starlette.exceptions import HTTPException

HttpMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[HttpMessage]]
Send = Callable[[HttpMessage], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

SAFE = ("GET", "HEAD")
METHODS = (*SAFE, "POST", "PUT", "DELETE")
MEDIA_TYPES = ("application/json", "application/yaml", "text/csv", "application/octet-stream")
MAX_STUDY, MAX_BODY = 1 << 20, 1 << 16  # bytes of a study; of other bodies, but for uploads and rows to predict
DRAINED_BYTES, DRAIN_SECONDS = 1 << 24, 1.0  # of a body that is refused
BODY_SECONDS, BODY_RATE = 30.0, 4096  # for a body, and for each further part of it, in bytes a second
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Limits(NamedTuple):
    """The limits of a server.

    Attributes:
        hosts: values of the header Host, with their ports.
        origins: values of the header Origin of requests that change something.
        upload: bytes of an upload.
        rows: bytes of rows to predict.
    """

    hosts: frozenset[str]
    origins: frozenset[str]
    upload: int
    rows: int


class _Refused(HTTPException):
    """A refusal; the application answers one that a route raises while it reads the body."""


@final
class Guard:
    """The outermost part of the application."""

    def __init__(self, app: App, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with the reason for its refusal."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        started = False

        async def guarded_send(message: HttpMessage) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if message["status"] >= 400:
                    await body.drain()
                present = {name.lower() for name, _ in message.get("headers", ())}
                extra = [pair for pair in _HEADERS if pair[0] not in present]
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        body = _Body(receive, expected=any(name.lower() == b"expect" for name, _ in scope["headers"]))
        try:
            if scope["type"] != "http":  # a websocket, of which there are none
                raise _Refused(403, "not a request of this server")
            body.largest = self._check(scope)
            await self._app(scope, body.receive, guarded_send)
        except _Refused as refused:
            if scope["type"] == "http" and not started:
                await _answer(guarded_send, refused.status_code, refused.detail)

    def _check(self, scope: MutableMapping[str, Any]) -> int:
        """Check the headers of a request; return the number of bytes that its body may have."""
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        if any(len(headers.get(name, ())) > 1 for name in (b"host", b"origin", b"authorization", b"content-type")):
            raise _Refused(400, "a header must not be repeated")
        if b"content-length" in headers and b"transfer-encoding" in headers:  # a proxy may see other ends of requests
            raise _Refused(400, "a request must not have both Content-Length and Transfer-Encoding")
        host = _first(headers, b"host").lower()
        if host not in self._limits.hosts:
            raise _Refused(421, "this server does not answer to that name; allow it with --allow-host")
        method = scope["method"]
        if method not in METHODS:
            raise _Refused(405, f"method must be one of {', '.join(METHODS)}")
        if b"\0" in scope.get("raw_path", b"") or "\0" in scope["path"]:
            raise _Refused(400, "the path must not contain a zero byte")
        if method not in SAFE:
            self._check_origin(headers)
        largest = self._largest(scope["path"])
        if _length(headers) > largest:
            raise _Refused(413, f"the body must have at most {largest:,} bytes")
        return largest

    def _check_origin(self, headers: dict[bytes, list[bytes]]) -> None:
        """Check that a page of another origin has not sent a request that changes something."""
        origin = _first(headers, b"origin")
        if origin and origin.lower() not in self._limits.origins:
            raise _Refused(403, "the request comes from another origin")
        if _first(headers, b"sec-fetch-site") not in ("", "same-origin", "none"):
            raise _Refused(403, "the request comes from another site")
        if b"cookie" in headers and b"authorization" not in headers and not origin:
            raise _Refused(403, "a request with a cookie must name its origin")
        media = _first(headers, b"content-type").partition(";")[0].strip().lower()
        has_body = _length(headers) > 0 or b"transfer-encoding" in headers
        if has_body and media not in MEDIA_TYPES:
            raise _Refused(415, f"the content type must be one of {', '.join(MEDIA_TYPES)}")

    def _largest(self, path: str) -> int:
        if path.startswith("/api/v1/data/"):
            return self._limits.upload
        if path.endswith("/predict"):
            return self._limits.rows
        return MAX_STUDY if path == "/api/v1/studies" else MAX_BODY


def _first(headers: dict[bytes, list[bytes]], name: bytes) -> str:
    return headers.get(name, [b""])[0].decode("latin-1").strip()


def _length(headers: dict[bytes, list[bytes]]) -> int:
    text = _first(headers, b"content-length")
    if text and not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise _Refused(400, "the content length must be a number")
    return int(text or 0)


@final
class _Body:
    """The body of a request, which must be neither larger nor slower than allowed."""

    def __init__(self, receive: Receive, *, expected: bool) -> None:
        self.largest = 0  # bytes
        self._expected = expected  # the client sends it once it is asked for it
        self._receive = receive
        self._received, self._begun = 0, time.monotonic()
        self._ended = False  # what follows is the end of the connection, however late

    async def receive(self) -> HttpMessage:
        try:
            left = self._begun + BODY_SECONDS + self._received / BODY_RATE - time.monotonic()
            message = await (self._receive() if self._ended else asyncio.wait_for(self._receive(), max(0.0, left)))
        except TimeoutError:
            raise _Refused(408, "the body did not arrive in time") from None
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            self._ended = not message.get("more_body", False)
            if self._received > self.largest:
                raise _Refused(413, f"the body must have at most {self.largest:,} bytes")
        return message

    async def drain(self) -> None:
        """Read what is left of a body that is refused, within limits.

        A connection that is closed with unread data is reset, and the client may lose the answer.
        """
        left = 0 if self._expected and not self._received else DRAINED_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self._ended and left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    self._ended = not message.get("more_body", False)


async def _answer(send: Send, status: int, message: str) -> None:
    body = json.dumps({"detail": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += (
        [(b"connection", b"close")] if status in (400, 408, 413) else []
    )  # what follows may be a part of the body
    headers += [(b"allow", ", ".join(METHODS).encode())] if status == 405 else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

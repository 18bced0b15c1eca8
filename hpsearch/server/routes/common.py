"""The parts of the server that the routes share, and the rights that a request needs."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

from fastapi import Cookie, Depends, Header, HTTPException, Request
from pydantic import Field

from hpsearch.server.tokens import Identity, Right

if TYPE_CHECKING:
    from hpsearch.server.http.guard import Limits
    from hpsearch.server.live.views import Views
    from hpsearch.server.places import Places
    from hpsearch.server.policy import Policy
    from hpsearch.server.queue import Queue
    from hpsearch.server.runner import Runner
    from hpsearch.server.tokens import TokenFile

COOKIE = "hpsearch_token"
SLOW_THREADS, MOST_WAITING = 2, 32  # for requests that take seconds; requests that wait for one
_Result = TypeVar("_Result")
StudyId = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
UploadDigest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
ANSWERS: dict[int | str, dict[str, Any]] = {
    code: {"description": text}
    for code, text in (
        (400, "The request is not valid."),
        (401, "No token, or an unknown one."),
        (403, "The token lacks the right, or the request comes from another origin."),
        (404, "There is no such study, upload or product."),
        (409, "The state of the study, or the idempotency key, does not allow it."),
        (413, "The body is too large, or a quota is used up."),
        (415, "The content type is not accepted."),
        (421, "The server does not answer to this name."),
        (422, "The study or a parameter has mistakes."),
        (429, "Too many studies or event streams."),
        (503, "The server cannot do it now."),
    )
}


class Service(NamedTuple):
    """The parts of a running server.

    Attributes:
        slow: the threads of requests that take seconds, so that others do not wait for them.
        most_queued: studies that may wait or run; more are refused.
    """

    queue: "Queue"
    places: "Places"
    runner: "Runner"
    views: "Views"
    slow: ThreadPoolExecutor
    policy: "Policy"
    tokens: "TokenFile"
    limits: "Limits"
    most_queued: int

    async def slowly(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        """Return the result of a function that takes seconds.

        Raises:
            HTTPException: too many requests wait for such functions.
        """
        if self.slow._work_queue.qsize() >= MOST_WAITING:
            raise HTTPException(429, "the server is busy; try again later", {"Retry-After": "5"})
        return await asyncio.get_running_loop().run_in_executor(self.slow, partial(function, *arguments))


@contextlib.contextmanager
def slow_threads() -> Iterator[ThreadPoolExecutor]:
    """Return threads for requests that take seconds; at the end of the block, those that wait are dropped."""
    threads = ThreadPoolExecutor(SLOW_THREADS, "slow")
    try:
        yield threads
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


async def service_of(request: Request) -> Service:
    """Return the parts of the server that a request has reached."""
    return request.app.state.service  # type: ignore[no-any-return]


# Asynchronous dependencies need no thread.
ServiceOf = Annotated[Service, Depends(service_of)]


class Needs(NamedTuple):
    """A dependency: the bearer of the token, who must have a right."""

    right: Right

    async def __call__(
        self,
        service: ServiceOf,
        authorization: Annotated[str | None, Header()] = None,
        hpsearch_token: Annotated[str | None, Cookie()] = None,
    ) -> Identity:
        """Return the bearer of the token.

        Raises:
            HTTPException: there is no valid token, or it lacks the right.
        """
        kind, _, token = (authorization or "").partition(" ")
        given = token.strip() if kind.lower() == "bearer" else hpsearch_token
        identity = service.tokens.identity(given) if given else None
        if identity is None:
            raise HTTPException(401, "a valid token is needed", {"WWW-Authenticate": "Bearer"})
        if not identity.may(self.right):
            has = f"it has the right to {identity.right}"
            raise HTTPException(403, f"the token '{identity.name}' may not do this; {has}")
        return identity


Reader = Annotated[Identity, Depends(Needs("read"))]
Submitter = Annotated[Identity, Depends(Needs("submit"))]


def check_owner(service: Service, id: str, identity: Identity) -> None:
    """Check that a bearer may change a study: its own, or any with the right `admin`.

    Raises:
        HTTPException: the study belongs to another token.
        ServerError: there is no such study.
    """
    if service.queue.get(id).owner != identity.name and not identity.may("admin"):
        raise HTTPException(403, "the study belongs to another token")

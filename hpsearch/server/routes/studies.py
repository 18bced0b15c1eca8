"""Routes that submit, show and change studies."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel, Field

from hpsearch.errors import ServerError
from hpsearch.server import products
from hpsearch.server.archive import archive_study, unarchive_study
from hpsearch.server.live.content import submission_content, trial_content
from hpsearch.server.live.reader import with_curves
from hpsearch.server.live.views import joined
from hpsearch.server.places import TooLarge
from hpsearch.server.queue import SubmissionState
from hpsearch.server.routes.common import ANSWERS, Reader, ServiceOf, StudyId, Submitter, UploadDigest, check_owner
from hpsearch.server.submissions import Submitted, submit
from hpsearch.server.tokens import Identity

EVENT_SECONDS, COMMENT_SECONDS = 0.5, 15.0  # between two looks for events; between two signs of life
MAX_STREAMS = 200  # event streams at the same time
MAX_COMPARED = 20
_PAGE, _CURVE_PAGE = 1000, 100  # trials in an answer
STUDY_ROUTES = APIRouter(prefix="/api/v1", responses=ANSWERS)
After = Annotated[int, Query(ge=0, lt=1 << 31)]
Priority = Annotated[int, Field(strict=True, ge=-100, le=100, description="Studies with a higher priority run first.")]


class StudyRequest(BaseModel):
    """A study to submit: the text of its file, and the uploads that it reads."""

    study: str = Field(description="The study file, YAML.", max_length=1 << 20)
    files: dict[str, str] = Field(
        default_factory=dict, description="Name of a file as the study names it → SHA-256 of its upload."
    )
    priority: Priority = 0


class PriorityRequest(BaseModel):
    """A new priority."""

    priority: Priority


_STUDY_BODY = {
    "required": True,
    "content": {
        "application/yaml": {"schema": {"type": "string"}},
        "application/json": {"schema": StudyRequest.model_json_schema()},
    },
}


@STUDY_ROUTES.put("/data/{digest}", status_code=201)
async def _upload(digest: UploadDigest, request: Request, service: ServiceOf, _: Submitter) -> Any:
    """Store a file under the SHA-256 of its content."""
    if service.places.upload(digest).is_file():
        return JSONResponse({"digest": digest, "new": False}, 200)
    try:
        size = await service.places.store(digest, request.stream(), service.limits.upload)
    except TooLarge:
        raise
    except ServerError as error:
        raise HTTPException(400, str(error)) from None
    return {"digest": digest, "size": size, "new": True}


@STUDY_ROUTES.post("/studies", status_code=202, openapi_extra={"requestBody": _STUDY_BODY})
async def _create(
    request: Request,
    service: ServiceOf,
    identity: Submitter,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> dict[str, Any]:
    """Queue a study: a file in YAML, or JSON with the file, its uploads and a priority."""
    body = await request.body()
    given = _study_request(body, request.headers.get("content-type", ""))
    submitted = Submitted(given.study, given.files, given.priority, hashlib.sha256(body).hexdigest())
    if service.places.left < 0:
        raise TooLarge(service.places.full)
    for owner, most in ((None, service.most_queued), (identity.name, service.most_queued // 2)):  # no token takes all
        counts = await run_in_threadpool(service.queue.counts, owner)
        if counts["queued"] + counts["running"] >= most:
            whose = "" if owner is None else f" of the token '{owner}'"
            raise HTTPException(429, f"{most} studies{whose} are waiting or running; try again later")
    arguments = service.queue, service.places, service.policy, submitted, identity.name, idempotency_key
    submission, notices = await service.slowly(submit, *arguments)
    service.runner.wake()
    return submission_content(submission) | {"notices": notices}


@STUDY_ROUTES.get("/studies")
def _list(
    service: ServiceOf, _: Reader, state: SubmissionState | None = None, after: After = 0, archived: bool = False
) -> dict[str, Any]:
    """List studies in the order of their submission, at most 1,000 after the one with the number `after`.

    Archived studies are listed with `archived=true`, apart from the others.
    """
    listed = service.queue.listed(state, after, archived=archived)
    return {"studies": [submission_content(s) | {"number": s.number} for s in listed]}


@STUDY_ROUTES.get("/studies/{id}")
async def _study(id: StudyId, service: ServiceOf, _: Reader) -> Response:
    """Return the state of a study: its place in the queue as it is now, its trials as they were some seconds ago."""
    return Response((await service.views.current(id)).content, media_type="application/json")


@STUDY_ROUTES.get("/studies/{id}/trials", responses={200: {"content": {"text/csv": {}}}})
def _trials(
    id: StudyId,
    service: ServiceOf,
    _: Reader,
    after: After = 0,
    curve: bool = False,
    format: Annotated[str, Query(pattern="^(json|csv)$")] = "json",
) -> Any:
    """Return finished trials in the order in which they finished, without the first `after`.

    There are at most 1,000 of them, or 100 with their curves.
    """
    view = products.checked_view(service.views.get(id))
    if format == "csv":
        return PlainTextResponse(products.trials_csv(service.places, view), media_type="text/csv")
    trials = service.views.finished(id, after, _CURVE_PAGE if curve else _PAGE)
    if not curve or view.study is None:
        return {"trials": [trial_content(t) for t in trials], "next": after + len(trials)}
    name = view.study.spec.metric.monitored
    found = with_curves(service.places.database(id), view.study.space, trials)
    return {"trials": [trial_content(t, curve=name) for t in found], "next": after + len(found)}


@STUDY_ROUTES.get("/studies/{id}/events", response_class=StreamingResponse)
async def _events(
    id: StudyId, service: ServiceOf, identity: Reader, last_event_id: Annotated[str | None, Header()] = None
) -> StreamingResponse:
    """Stream what happens as server-sent events: `stage`, `trial`, `best`, `state` and `done`."""
    await run_in_threadpool(service.queue.get, id)
    if _STREAMS.count >= MAX_STREAMS:
        raise HTTPException(429, "too many event streams are open")
    after = int(last_event_id) if last_event_id and last_event_id.isdecimal() and len(last_event_id) < 10 else 0
    return StreamingResponse(_stream(service, identity, id, after), media_type="text/event-stream")


@STUDY_ROUTES.get("/studies/{id}/log", response_class=PlainTextResponse)
def _log(id: StudyId, service: ServiceOf, _: Reader) -> PlainTextResponse:
    """Return the end of what the process of the study has printed."""
    return PlainTextResponse(products.log(service.places, service.queue.get(id).id))


@STUDY_ROUTES.post("/studies/{id}/cancel")
def _cancel(id: StudyId, service: ServiceOf, identity: Submitter) -> dict[str, Any]:
    """Cancel a study that waits or runs; what is trained is kept."""
    check_owner(service, id, identity)
    return submission_content(service.runner.cancel(id))


@STUDY_ROUTES.post("/studies/{id}/resume")
def _resume(id: StudyId, service: ServiceOf, identity: Submitter) -> dict[str, Any]:
    """Queue a study again that has ended."""
    check_owner(service, id, identity)
    return submission_content(service.runner.resume(id))


@STUDY_ROUTES.post("/studies/{id}/archive")
async def _archive(id: StudyId, service: ServiceOf, identity: Submitter) -> dict[str, Any]:
    """Archive a study that has ended: its database is compressed, and it is listed apart from the others."""
    check_owner(service, id, identity)
    content = (await service.views.current(id)).content
    submission = await service.slowly(archive_study, service.queue, service.places, id, content)
    service.views.forget(id)
    return submission_content(submission)


@STUDY_ROUTES.post("/studies/{id}/restore")
async def _restore(id: StudyId, service: ServiceOf, identity: Submitter) -> dict[str, Any]:
    """Bring back an archived study."""
    check_owner(service, id, identity)
    submission = await service.slowly(unarchive_study, service.queue, service.places, id)
    service.views.forget(id)
    return submission_content(submission)


@STUDY_ROUTES.post("/studies/{id}/priority")
def _priority(id: StudyId, given: PriorityRequest, service: ServiceOf, identity: Submitter) -> dict[str, Any]:
    """Set the priority of a study."""
    check_owner(service, id, identity)
    return submission_content(service.queue.set_priority(id, given.priority))


@STUDY_ROUTES.delete("/studies/{id}", status_code=204)
def _delete(id: StudyId, service: ServiceOf, identity: Submitter) -> Response:
    """Delete a study that does not run, with its database and model."""
    check_owner(service, id, identity)
    service.queue.hold(id)
    service.views.forget(id)
    service.places.delete_study(id)
    service.queue.delete(id)
    return Response(status_code=204)


@STUDY_ROUTES.get("/compare")
async def _compare(studies: Annotated[str, Query(max_length=1000)], service: ServiceOf, _: Reader) -> Response:
    """Return the states of several studies, `studies=ID,ID`, beside each other."""
    ids = studies.split(",")
    if len(ids) > MAX_COMPARED:
        raise HTTPException(422, f"at most {MAX_COMPARED} studies can be compared")
    return Response(joined([await service.views.current(id) for id in ids]), media_type="application/json")


def _study_request(body: bytes, media: str) -> StudyRequest:
    try:
        if media.partition(";")[0].strip().lower() == "application/json":
            return StudyRequest.model_validate(json.loads(body))
        return StudyRequest(study=body.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # pydantic's error is one
        raise HTTPException(422, f"the request is not valid: {str(error).splitlines()[0]}") from None


class _Streams:
    """How many event streams are open."""

    count = 0


_STREAMS = _Streams()


async def _stream(service: ServiceOf, identity: Identity, id: str, after: int) -> AsyncIterator[bytes]:
    """Yield server-sent events until the study has ended, or the token of the client is removed."""
    _STREAMS.count += 1
    state, silent = "", 0.0
    try:
        while service.tokens.may_still(identity):
            view = await service.views.current(id)
            if view.study is not None and after > len(view.journal):
                after = 0  # of a server before this one, which had read them in another order
            begun = after
            while True:
                page, after = view.journal.page(after)
                if not page:
                    break
                yield page
            silent = 0.0 if after > begun else silent + EVENT_SECONDS
            if view.submission.state != state:
                state, silent = view.submission.state, 0.0
                yield b"event: state\ndata: " + view.content + b"\n\n"
            if state not in ("queued", "running"):
                yield b"event: done\ndata: " + view.content + b"\n\n"
                return
            if silent >= COMMENT_SECONDS:
                silent = 0.0
                yield b": still here\n\n"
            await asyncio.sleep(EVENT_SECONDS)
    finally:
        _STREAMS.count -= 1

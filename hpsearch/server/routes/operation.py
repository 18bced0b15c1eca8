"""Routes for the operation of the server and for the web page: health, metrics, the session of a browser, files."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse

from hpsearch.core.version import __version__
from hpsearch.server.routes.common import ANSWERS, COOKIE, Reader, ServiceOf

PAGES = Path(__file__).parents[1] / "pages"
_TYPES = {"app.js": "text/javascript", "charts.js": "text/javascript", "style.css": "text/css"}
_DENIED: dict[int | str, dict[str, Any]] = {code: ANSWERS[code] for code in (401, 403, 421)}
PAGE_ROUTES = APIRouter(include_in_schema=False)
OPERATION_ROUTES = APIRouter(responses=_DENIED)


@PAGE_ROUTES.get("/")
def _index() -> FileResponse:
    return FileResponse(PAGES / "index.html", media_type="text/html")


@PAGE_ROUTES.get("/static/{name}")
def _static(name: str) -> FileResponse:
    if name not in _TYPES:
        raise HTTPException(404, "not found")
    return FileResponse(PAGES / name, media_type=_TYPES[name], headers={"Cache-Control": "no-cache"})


@OPERATION_ROUTES.get("/healthz", responses={503: ANSWERS[503]})
def _health(service: ServiceOf) -> dict[str, str]:
    """Return whether the server runs studies."""
    if service.runner.failure is not None:
        raise HTTPException(503, service.runner.failure)
    return {"status": "ok", "version": __version__}


@OPERATION_ROUTES.get("/metrics", response_class=PlainTextResponse)
def _metrics(service: ServiceOf, _: Reader) -> str:
    """Return numbers in the text format of Prometheus."""
    lines = ["# HELP hpsearch_studies Studies by state.", "# TYPE hpsearch_studies gauge"]
    lines += [f'hpsearch_studies{{state="{state}"}} {n}' for state, n in service.queue.counts().items()]
    lines += ["# HELP hpsearch_disk_bytes Bytes of uploads and studies.", "# TYPE hpsearch_disk_bytes gauge"]
    return "\n".join([*lines, f"hpsearch_disk_bytes {service.places.quota - service.places.left}", ""])


@OPERATION_ROUTES.post("/api/v1/session", status_code=204, responses={422: ANSWERS[422]})
def _session(request: Request, _: Reader, authorization: Annotated[str, Header()]) -> Response:
    """Set a cookie with the token, for the web page."""
    response, token = Response(status_code=204), authorization.partition(" ")[2].strip()
    secure = request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")  # by a proxy
    response.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure, path="/")
    return response

"""The application: the routes, and how errors are answered."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from hpsearch.core.version import __version__
from hpsearch.errors import MAX_MESSAGE_LENGTH, DataError, HpsearchError, ServerError, SpecError
from hpsearch.server.http.guard import Guard
from hpsearch.server.places import TooLarge
from hpsearch.server.queue import KeyReused
from hpsearch.server.routes.common import Service
from hpsearch.server.routes.operation import OPERATION_ROUTES, PAGE_ROUTES
from hpsearch.server.routes.products import PRODUCT_ROUTES
from hpsearch.server.routes.studies import STUDY_ROUTES

SCHEMA = "/api/v1/openapi.json"


def create_app(service: Service) -> Guard:
    """Return the application of a server."""
    addresses: dict[str, Any] = {"docs_url": None, "redoc_url": None, "openapi_url": SCHEMA, "redirect_slashes": False}
    app = FastAPI(title="hpsearch", version=__version__, **addresses)
    app.state.service = service
    for router in (PAGE_ROUTES, OPERATION_ROUTES, STUDY_ROUTES, PRODUCT_ROUTES):
        app.include_router(router)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HpsearchError, _answer_error)
    app.add_exception_handler(KeyReused, _answer_error)
    return Guard(app, service.limits)


async def _answer_invalid(_request: Request, error: Exception) -> JSONResponse:
    """Name the mistakes of a request. Its values are not repeated: JSON has no form for some of them."""
    assert isinstance(error, RequestValidationError)
    mistakes = [f"{'.'.join(map(str, mistake['loc'][1:])) or 'body'}: {mistake['msg']}" for mistake in error.errors()]
    return JSONResponse({"detail": "; ".join(mistakes)[:MAX_MESSAGE_LENGTH]}, 422)


async def _answer_error(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, SpecError):
        mistakes = [{"where": m.where, "path": m.path, "message": m.message} for m in error.mistakes]
        return JSONResponse({"detail": str(error), "mistakes": mistakes}, 422)
    if isinstance(error, KeyReused):
        return JSONResponse({"detail": "this Idempotency-Key belongs to another request"}, 409)
    if isinstance(error, ServerError):
        code = 413 if isinstance(error, TooLarge) else 404 if "not found" in str(error) else 409
        return JSONResponse({"detail": str(error)}, code)
    return JSONResponse({"detail": str(error)}, 422 if isinstance(error, DataError) else 503)

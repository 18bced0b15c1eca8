"""Routes for what a study yields: its report, its model and predictions; and study files for tables."""

import asyncio
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, PlainTextResponse
from pydantic import BaseModel, Field

from hpsearch.server import products
from hpsearch.server.routes.common import ANSWERS, Reader, ServiceOf, StudyId, Submitter

PRODUCT_ROUTES = APIRouter(prefix="/api/v1", responses=ANSWERS)
_INLINE = "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
REPORT_POLICY = f"sandbox allow-scripts; default-src 'none'; {_INLINE}"  # the report is of another origin, and alone
_ROWS_ANSWER: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {}}}}
_BODIES = asyncio.Semaphore(8)  # rows to predict that are in memory
_ROWS_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
        "text/csv": {"schema": {"type": "string"}},
    },
}


class InitRequest(BaseModel):
    """An upload for which a study file is written."""

    name: str = Field(description="Name of the table, such as table.csv.", max_length=200)
    digest: str = Field(description="SHA-256 of the upload.", pattern="^[0-9a-f]{64}$")
    target: str | None = Field(None, description="Column to predict.", max_length=1000)


@PRODUCT_ROUTES.post("/init")
async def _init(given: InitRequest, service: ServiceOf, _: Submitter) -> dict[str, Any]:
    """Return a study file for an uploaded table, as `hpsearch init` writes it."""
    arguments = service.places, given.name, given.digest, given.target
    return {"study": await service.slowly(products.study_file, *arguments)}


@PRODUCT_ROUTES.get("/studies/{id}/report", response_class=FileResponse)
async def _report(id: StudyId, service: ServiceOf, _: Reader) -> FileResponse:
    """Return the report of a study, one HTML file."""
    products.checked_view(await service.views.current(id))
    file = await service.slowly(products.report, service.places, id)
    return FileResponse(file, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})


@PRODUCT_ROUTES.get("/studies/{id}/model.zip", response_class=FileResponse)
async def _model(id: StudyId, service: ServiceOf, _: Reader) -> FileResponse:
    """Return the folder of the best model, as `hpsearch export` writes it."""
    name = f"{products.checked_view(await service.views.current(id)).submission.name}.zip"
    file = await service.slowly(products.model_archive, service.places, id)
    return FileResponse(file, media_type="application/zip", filename=name)


@PRODUCT_ROUTES.get("/studies/{id}/model.onnx", response_class=FileResponse)
async def _onnx(id: StudyId, service: ServiceOf, _: Reader) -> FileResponse:
    """Return the best model in the format ONNX, with its preprocessing."""
    name = f"{products.checked_view(await service.views.current(id)).submission.name}.onnx"
    file = await service.slowly(products.onnx_file, service.places, id)
    return FileResponse(file, media_type="application/octet-stream", filename=name)


@PRODUCT_ROUTES.get("/studies/{id}/columns")
async def _columns(id: StudyId, service: ServiceOf, _: Reader) -> dict[str, Any]:
    """Return the columns that the model reads, with the categories of those that have some."""
    return await service.slowly(
        products.columns, products.checked_view(await service.views.current(id)), service.places
    )


@PRODUCT_ROUTES.post("/studies/{id}/predict", openapi_extra={"requestBody": _ROWS_BODY}, responses=_ROWS_ANSWER)
async def _predict(id: StudyId, request: Request, service: ServiceOf, _: Reader) -> Any:
    """Predict rows: JSON, a list of objects with the model's columns, or CSV with a header."""
    view = products.checked_view(await service.views.current(id))
    if _BODIES.locked():
        raise HTTPException(429, "too many rows are being predicted; try again later", {"Retry-After": "5"})
    async with _BODIES:
        body, media = await request.body(), request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media == "text/csv":
            text = await service.slowly(products.predict_csv, view, service.places, body)
            return PlainTextResponse(text, media_type=media)
        return {"predictions": await service.slowly(products.predict_json, view, service.places, body)}

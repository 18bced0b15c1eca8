"""Reports, models and predictions through the HTTP interface equal those that the commands write."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest

from hpsearch.models.model import Model
from hpsearch.server import products
from tests.hpsearch.server.conftest import TestServer

ROWS = [{"sepal length (cm)": 5.1, "sepal width (cm)": 3.5, "petal length (cm)": 1.4, "petal width (cm)": 0.2}]


def test_model(server: TestServer, done: str, tmp_path: Path) -> None:
    """The archive is a model, whose predictions are those of the server."""
    answer = server.ask("GET", f"studies/{done}/model.zip", token="eve")
    assert answer.status == 200 and 'filename="small.zip"' in answer.headers["content-disposition"]
    zipfile.ZipFile(io.BytesIO(answer.body)).extractall(tmp_path)
    model = Model.load(tmp_path / "model")
    columns = server.ask("GET", f"studies/{done}/columns").json
    assert [c["name"] for c in columns["columns"]] == list(model.features) and columns["classes"] == list(model.classes)
    rows = [dict.fromkeys(model.features, 1.5), dict.fromkeys(model.features, 0.5)]
    predicted = server.ask("POST", f"studies/{done}/predict", rows, token="eve").json["predictions"]
    import pandas as pd

    assert predicted == json.loads(json.dumps(model.predictions(pd.DataFrame(rows)).to_dict("records"), default=float))
    text = "\n".join([",".join(f'"{name}"' for name in model.features), ",".join("1.5" for _ in model.features)])
    answer = server.ask("POST", f"studies/{done}/predict", text.encode(), media="text/csv")
    assert answer.status == 200 and answer.body.decode().split("\n")[1].startswith(predicted[0]["prediction"])


@pytest.mark.parametrize(
    ("body", "media", "text"),
    [
        (b"[]", "application/json", "must be a list of objects"),
        (b"{}", "application/json", "must be a list of objects"),
        (b"[1]", "application/json", "must be a list of objects"),
        (b"[" * 100_000, "application/json", "rows: "),
        (b'[{"a": 1}]', "application/json", "column"),
        (b"a\n1\n", "text/csv", "rows.csv: "),
        (b"", "text/csv", "rows.csv: "),
    ],
)
def test_rows_that_cannot_be_predicted(server: TestServer, done: str, body: bytes, media: str, text: str) -> None:
    answer = server.ask("POST", f"studies/{done}/predict", body, media=media)
    assert answer.status == 422 and text in answer.json["detail"] and "/tmp" not in answer.json["detail"]


def test_too_many_rows(server: TestServer, done: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "MAX_PREDICTED", 2)
    assert "at most 2 rows" in server.ask("POST", f"studies/{done}/predict", [{}] * 3).json["detail"]
    assert (
        "at most 2 rows" in server.ask("POST", f"studies/{done}/predict", b"a\n" * 5, media="text/csv").json["detail"]
    )


def test_report(server: TestServer, done: str) -> None:
    """Its scripts run in a page of their own origin, which can reach nothing; it is made once."""
    answer = server.ask("GET", f"studies/{done}/report", token="eve")
    assert answer.status == 200 and answer.body.startswith(b"<!doctype html>")
    assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts; default-src 'none'")
    file = server.service.places.study(done) / "report.html"
    before = file.stat().st_mtime_ns
    assert server.ask("GET", f"studies/{done}/report").body == answer.body and file.stat().st_mtime_ns == before


def test_a_study_that_has_not_begun(idle: TestServer) -> None:
    id = idle.submit()
    for product in ("report", "model.zip", "model.onnx", "columns"):
        answer = idle.ask("GET", f"studies/{id}/{product}")
        assert answer.status == 422 and "has" in answer.json["detail"]
    assert idle.ask("GET", f"studies/{id}/log").body == b""
    assert idle.ask("POST", f"studies/{id}/predict", ROWS).status == 422
    assert idle.ask("GET", f"studies/{'0' * 16}/report").status == 404


def test_study_files(idle: TestServer) -> None:
    content = b"x,y,label\n" + b"".join(f"{n},{n % 7},{'ab'[n % 2]}\n".encode() for n in range(60))
    digest = hashlib.sha256(content).hexdigest()
    idle.ask("PUT", f"data/{digest}", content, media="application/octet-stream")
    body = {"name": "my table.csv", "digest": digest, "target": "label"}
    text = idle.ask("POST", "init", body).json["study"]
    assert "name: my-table" in text
    answer = idle.ask("POST", "studies", {"study": text, "files": {"my table.csv": digest}})
    assert answer.status == 202 and answer.json["name"] == "my-table"
    assert idle.ask("POST", "init", {**body, "target": "none"}).status == 422
    assert idle.ask("POST", "init", {**body, "digest": "0" * 64}).status == 404
    assert idle.ask("POST", "init", {**body, "name": "../x.csv"}).status == 409

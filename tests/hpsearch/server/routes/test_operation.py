"""Health, metrics, and the files of the page."""

from tests.hpsearch.server.conftest import TestServer


def test_health(idle: TestServer) -> None:
    assert idle.ask("GET", "/healthz", token=None).json["status"] == "ok"
    idle.service.runner.failure = "the disk is full"
    answer = idle.ask("GET", "/healthz", token=None)
    assert (answer.status, answer.json["detail"]) == (503, "the disk is full")


def test_metrics(idle: TestServer) -> None:
    idle.submit()
    assert idle.ask("GET", "/metrics", token=None).status == 401
    text = idle.ask("GET", "/metrics", token="eve").body.decode()
    assert 'hpsearch_studies{state="queued"} 1\n' in text and 'hpsearch_studies{state="done"} 0\n' in text


def test_page(idle: TestServer) -> None:
    """It holds nothing of a study, so it needs no token."""
    index = idle.ask("GET", "/", token=None)
    assert index.status == 200 and b'<script src="/static/app.js">' in index.body
    for name, media in (("app.js", "text/javascript"), ("charts.js", "text/javascript"), ("style.css", "text/css")):
        answer = idle.ask("GET", f"/static/{name}", token=None)
        assert answer.status == 200 and answer.headers["content-type"].startswith(media)
        assert b"innerHTML" not in answer.body
    assert idle.ask("GET", "/static/other.js", token=None).status == 404

"""Studies through the HTTP interface: submitted, shown, followed, changed."""

import hashlib
import json
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import pytest

from hpsearch.server.routes import studies
from tests.hpsearch.server.conftest import TOKENS, TestServer, study_text


def read_events(server: TestServer, id: str, last: str | None = None) -> list[tuple[str, str, Any]]:
    """Return (id, kind, content) of all events until the stream ends."""
    headers = {"Authorization": f"Bearer {TOKENS.known['eve'][0]}", **({"Last-Event-ID": last} if last else {})}
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request("GET", f"/api/v1/studies/{id}/events", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200 and answer.getheader("content-type", "").startswith("text/event-stream")
        found = []
        for block in answer.read().decode().split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
            if "data" in lines:
                found.append((lines.get("id", ""), lines["event"], json.loads(lines["data"])))
        return found


def test_a_study_is_shown(server: TestServer, done: str) -> None:
    study = server.ask("GET", f"studies/{done}", token="eve").json
    assert (study["state"], study["owner"], study["finished"], study["planned"]) == ("done", "ann", 8, 8)
    assert [(s["name"], s["complete"]) for s in study["stages"]] == [("coarse", 5), ("fine", 3)]
    assert study["best"]["value"] > 0 and study["metric"] == "val/loss" and study["direction"] == "minimize"
    listed = server.ask("GET", "studies?state=done", token="eve").json["studies"]
    (mine,) = (s for s in listed if s["id"] == done)
    assert mine["name"] == "small" and server.ask("GET", f"studies?after={mine['number']}&state=done").json != {}
    assert server.ask("GET", f"compare?studies={done},{done}").json == {"studies": [study, study]}


def test_trials(server: TestServer, done: str) -> None:
    every = server.ask("GET", f"studies/{done}/trials?curve=true").json
    assert every["next"] == 8 == len(every["trials"]) and all(len(t["curve"]) == 3 for t in every["trials"])
    later = server.ask("GET", f"studies/{done}/trials?after=6").json
    assert [t["label"] for t in later["trials"]] == [t["label"] for t in every["trials"][6:]] and later["next"] == 8
    text = server.ask("GET", f"studies/{done}/trials?format=csv").body.decode()
    assert text.startswith("stage,number,state,") and text.count("\n") == 9


def test_events(server: TestServer, done: str) -> None:
    """A reader who names the last event it has seen misses nothing, and sees nothing twice."""
    events = read_events(server, done)
    trials = [(id, content["label"]) for id, kind, content in events if kind == "trial"]
    assert [id for id, _ in trials] == [str(n) for n in range(1, 9)] and len(set(trials)) == 8
    assert [content["stage"] for _, kind, content in events if kind == "stage"] == ["coarse", "fine"]
    assert events[-1][1] == "done" and events[-1][2]["state"] == "done" and events[-2][1] == "state"
    best = [content["value"] for _, kind, content in events if kind == "best"]
    assert best == sorted(best, reverse=True) and best[-1] == min(c["value"] for _, k, c in events if k == "trial")
    later = [(id, content["label"]) for id, kind, content in read_events(server, done, "5") if kind == "trial"]
    assert later == trials[5:]


def test_events_of_a_study_that_waits(idle: TestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment says that the connection is alive; the stream ends when the study is cancelled."""
    monkeypatch.setattr(studies, "COMMENT_SECONDS", 0.0)
    monkeypatch.setattr(studies, "EVENT_SECONDS", 0.02)
    id = idle.submit()
    headers = {"Authorization": f"Bearer {TOKENS.known['boss'][0]}"}
    with closing(HTTPConnection("127.0.0.1", idle.port, timeout=20)) as connection:
        connection.request("GET", f"/api/v1/studies/{id}/events", headers=headers)
        answer = connection.getresponse()
        lines = [answer.readline() for _ in range(5)]
        assert lines[0] == b"event: state\n" and b": still here\n" in lines
        assert idle.ask("POST", f"studies/{id}/cancel").json["state"] == "cancelled"
        assert b"event: done" in answer.read()
    monkeypatch.setattr(studies, "MAX_STREAMS", 0)
    assert idle.ask("GET", f"studies/{id}/events").status == 429


def test_mistakes_have_lines(server: TestServer) -> None:
    text = "name: a\nseed: x\ndata: {source: sklearn, name: iris}\nmodel: {hiden: 3}\n"
    answer = server.ask("POST", "studies", text.encode(), media="application/yaml")
    assert answer.status == 422
    found = {(m["where"], m["path"]) for m in answer.json["mistakes"]}
    assert {
        ("study.yaml:2", "seed"),
        ("study.yaml:4", "model.hiden"),
    } <= found
    assert "did you mean" in answer.json["detail"]


@pytest.mark.parametrize(
    ("body", "media"),
    [
        *((b"", "application/json"), (b"[", "application/json"), (b"[" * 100_000, "application/json")),
        *((b"\xff", "application/yaml"), (b'{"study": 1}', "application/json"), (b"- a", "application/yaml")),
        *((b'{"study": "name: a", "priority": 1000}', "application/json"), (b"a: &a [*a]", "application/yaml")),
        (b"&a [1]: " * 1000, "application/yaml"),
    ],
)
def test_requests_that_are_no_study(server: TestServer, body: bytes, media: str) -> None:
    answer = server.ask("POST", "studies", body, media=media)
    assert answer.status == 422 and answer.json["detail"]


def test_what_is_not_allowed(server: TestServer) -> None:
    text = study_text(data={"source": "csv", "path": "/etc/passwd", "target": "y"})
    answer = server.ask("POST", "studies", {"study": text})
    assert answer.status == 422 and "was not uploaded" in answer.json["detail"]
    for name, status in (("../a.csv", 409), ("study.db", 409)):
        assert server.ask("POST", "studies", {"study": study_text(), "files": {name: "0" * 64}}).status == status
    missing = server.ask("POST", "studies", {"study": study_text(), "files": {"a.csv": "0" * 64}})
    assert missing.status == 404 and "send it with PUT" in missing.json["detail"]


def test_repeated_requests(idle: TestServer) -> None:
    body = {"study": study_text()}
    first, again = (idle.ask("POST", "studies", body, Idempotency_Key="k") for _ in range(2))
    assert first.json["id"] == again.json["id"] and len(idle.ask("GET", "studies").json["studies"]) == 1
    assert idle.ask("POST", "studies", {**body, "priority": 1}, Idempotency_Key="k").status == 409


def test_uploads(idle: TestServer) -> None:
    content = b"a,b\n1,2\n"
    digest = hashlib.sha256(content).hexdigest()
    media = "application/octet-stream"
    assert idle.ask("PUT", f"data/{digest}", content, media=media).json == {"digest": digest, "size": 8, "new": True}
    assert idle.ask("PUT", f"data/{digest}", content, media=media).json == {"digest": digest, "new": False}
    assert idle.ask("PUT", f"data/{'0' * 64}", content, media=media).status == 400
    assert idle.ask("PUT", f"data/{digest[:-1]}", content, media=media).status == 422
    assert idle.ask("PUT", f"data/{'0' * 64}", b"x" * (1 << 21), media=media).status == 413


def test_rights(idle: TestServer) -> None:
    """A token changes its own studies, and one with all rights those of others."""
    id = idle.submit("ann")
    assert idle.ask("GET", f"studies/{id}", token=None).status == 401
    assert idle.ask("GET", f"studies/{id}", token=None, Authorization="Bearer wrong").status == 401
    assert idle.ask("POST", "studies", {"study": study_text()}, token="eve").status == 403
    for token, status in (("eve", 403), ("bob", 403), ("ann", 200), ("boss", 200)):
        assert idle.ask("POST", f"studies/{id}/priority", {"priority": 3}, token=token).status == status
    assert idle.ask("DELETE", f"studies/{id}", token="bob").status == 403
    assert idle.ask("DELETE", f"studies/{id}", token="ann").status == 204
    assert idle.ask("GET", f"studies/{id}").status == 404 == idle.ask("POST", f"studies/{id}/cancel").status


def test_a_full_queue(idle: TestServer) -> None:
    for token in ("ann", "bob"):  # each takes its half
        for _ in range(25):
            idle.submit(token)
        answer = idle.ask("POST", "studies", {"study": study_text()}, token=token)
        assert answer.status == 429
        if token == "ann":
            assert "25 studies of the token 'ann' are waiting" in answer.json["detail"]
    answer = idle.ask("POST", "studies", {"study": study_text()})
    assert answer.status == 429 and "50 studies are waiting" in answer.json["detail"]

"""Views of a study are read no more often than needed, and are never older than its state."""

import pytest

from hpsearch.server import views
from hpsearch.server.views import Views, events
from tests.hpsearch.server.conftest import TestServer


def test_a_settled_study_is_read_once(server: TestServer, done: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = Views(server.service.queue, server.service.places)
    first = fresh.get(done)
    monkeypatch.setattr(views.StudyPoller, "poll", None)  # not called again
    assert fresh.get(done) == first and len(first.finished) == 8 and first.study is not None


def test_recent(server: TestServer, done: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many readers at the same time read nothing more; after a while, and when it was deleted, it is read again."""
    fresh = Views(server.service.queue, server.service.places)
    assert fresh.recent(done) is None
    view = fresh.get(done)
    assert fresh.recent(done) is view
    monkeypatch.setattr(views, "REFRESH", -1.0)
    assert fresh.recent(done) is None
    monkeypatch.undo()
    fresh.forget(done)
    assert fresh.recent(done) is None


def test_few_are_kept(server: TestServer, done: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "KEPT", 1)
    fresh, other = Views(server.service.queue, server.service.places), server.submit()
    assert fresh.get(done).study is not None
    server.wait(other, "done", "failed")
    assert fresh.get(other).study is not None and list(fresh._entries) == [other]


def test_events_from_any_place(server: TestServer, done: str) -> None:
    """Those from a place on are the last ones of all."""
    view = server.service.views.get(done)
    every = events(view, 0)
    for after in range(9):
        later = [event for event in events(view, after) if event[1] != "stage"]
        assert later == [event for event in every if event[0] > after and event[1] != "stage"]
    assert events(view, 99) == []

"""Views of a study are read no more often than needed, and are never older than its state."""

import asyncio
from collections.abc import Iterator

import pytest

from hpsearch.server.live import views
from hpsearch.server.live.views import View, Views
from tests.hpsearch.server.conftest import TestServer


@pytest.fixture
def fresh(server: TestServer) -> Iterator[Views]:
    made = Views(server.service.queue, server.service.places)
    yield made
    made.close()


def test_a_settled_study_is_read_once(fresh: Views, done: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fresh.get(done)
    monkeypatch.setattr(views.StudyReader, "poll", None)  # not called again
    assert fresh.get(done) is first and len(first.journal) == 8 and first.study is not None
    assert asyncio.run(fresh.current(done)) is first


def test_clients_share_one_look(fresh: Views, done: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many that ask at the same time; one that comes later sees a change of the queue at once."""
    looks, get = [], fresh.get
    monkeypatch.setattr(fresh, "get", lambda id: (looks.append(id), get(id))[1])

    async def ask() -> list[View]:
        return await asyncio.gather(*(fresh.current(done) for _ in range(50)))

    found = asyncio.run(ask())
    assert len(looks) == 1 and all(view is found[0] for view in found)
    asyncio.run(ask())
    assert len(looks) == 1
    fresh._queue.set_priority(done, 7)
    changed = asyncio.run(ask())
    assert len(looks) == 2 and changed[0].submission.priority == 7 and b'"priority":7' in changed[0].content
    fresh._queue.set_priority(done, 0)


def test_few_are_kept(server: TestServer, fresh: Views, done: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their number, and by the number of their trials."""
    other = server.submit()
    server.wait(other, "done", "failed")
    for name, value in (("KEPT", 1), ("KEPT_TRIALS", 10)):
        with monkeypatch.context() as patch:
            patch.setattr(views, name, value)
            assert fresh.get(done).study is not None
            assert fresh.get(other).study is not None and list(fresh._entries) == [other]


def test_a_study_that_takes_long_is_read_less_often(fresh: Views, done: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0])
    monkeypatch.setattr(views.time, "thread_time", lambda: next(clock))
    fresh.get(done)
    assert fresh._entries[done].pause == 1.0 / views.READING

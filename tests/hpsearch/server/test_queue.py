"""The queue: which study is next, states and their transitions, requests that are repeated."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hpsearch.errors import ServerError
from hpsearch.server.queue import KeyReused, Queue, Submission
from hpsearch.storage.sqlite_file import url_of


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(url_of(str(tmp_path / "server.db")))


def add(queue: Queue, owner: str = "ann", priority: int = 0) -> Submission:
    return queue.release(queue.add("study", owner, priority, {"table.csv": "0" * 64}, "body")[0].id)


def test_what_is_added_is_found(queue: Queue) -> None:
    first, second = add(queue), add(queue, "bob", 3)
    assert queue.get(first.id) == first and queue.listed() == [first, second] == queue.listed("queued")
    assert queue.listed(after=first.number) == [second] and queue.listed(limit=1) == [first]
    assert (first.state, first.owner, first.files, first.attempts) == ("queued", "ann", {"table.csv": "0" * 64}, 0)
    assert (second.priority, first.started, first.error) == (3, None, None)
    with pytest.raises(ServerError, match="not found"):
        queue.get("none")


def test_a_study_waits_until_its_folder_is_complete(queue: Queue) -> None:
    held = queue.add("study", "ann", 0, {}, "body")[0]
    assert queue.next() is None and queue.listed() == []
    assert queue.held() == [held.id]
    with pytest.raises(ServerError, match="not found"):
        queue.get(held.id)
    queue.delete(held.id)
    assert queue.held() == []
    added = add(queue)
    queue.delete(added.id)
    assert queue.held() == [] and queue.get(added.id) == added


def test_order(queue: Queue) -> None:
    """Priority first, then those who have the least, then those who have waited longest."""
    ann = [add(queue) for _ in range(3)]
    bob, urgent = add(queue, "bob"), add(queue, "bob", 9)
    order = []
    while (following := queue.next()) is not None:
        order.append(following.id)
        queue.change(following.id, "running", "queued", started=float(len(order)))
        if following.id == ann[0].id:
            queue.change(following.id, "done", "running")
    assert order == [urgent.id, ann[0].id, ann[1].id, bob.id, ann[2].id]


def test_transitions(queue: Queue) -> None:
    submission = add(queue)
    running = queue.change(submission.id, "running", "queued", started=5.0)
    assert (running.state, running.started) == ("running", 5.0)
    with pytest.raises(ServerError, match=r"is running; it must be queued or failed"):
        queue.change(submission.id, "done", "queued", "failed")
    with pytest.raises(ServerError, match="is running; cancel it first"):
        queue.hold(submission.id)
    queue.change(submission.id, "failed", "running", error="why")
    assert queue.get(submission.id).error == "why" and queue.counts()["failed"] == 1
    assert queue.set_priority(submission.id, 7).priority == 7
    queue.hold(submission.id)
    assert queue.held() == [submission.id]
    assert queue.listed() == [] and set(queue.counts().values()) == {0}


def test_repeated_requests(queue: Queue) -> None:
    """The same key and body add nothing; keys belong to their owners."""
    first, new = queue.add("study", "ann", 0, {}, "body", "key")
    assert new
    queue.release(first.id)
    again, new = queue.add("study", "ann", 0, {}, "body", "key")
    assert again.id == first.id and not new
    with pytest.raises(KeyReused):
        queue.add("study", "ann", 0, {}, "another body", "key")
    assert queue.add("study", "bob", 0, {}, "another body", "key")[1]
    assert queue.add("study", "ann", 0, {}, "body")[1]


def test_it_is_kept(tmp_path: Path) -> None:
    url = url_of(str(tmp_path / "server.db"))
    queue = Queue(url)
    submission = add(queue)
    queue.close()
    assert Queue(url).listed() == [submission] and (tmp_path / "server.db").stat().st_mode & 0o077 == 0


def test_a_cancelled_study_stays_cancelled(tmp_path: Path) -> None:
    """The server stores a change before it answers, so a kill after the answer loses nothing."""
    queue = Queue(url_of(str(tmp_path / "server.db")))
    waiting, running, ended = add(queue), add(queue), add(queue)
    assert queue.cancel(waiting.id).state == "cancelled"
    for submission in (running, ended):
        queue.change(submission.id, "running", "queued")
    queue.leave(ended.id, "done", ended=1.0)
    for id in (waiting.id, ended.id):
        with pytest.raises(ServerError, match="it must be queued or running"):
            queue.cancel(id)
    assert (cancelled := queue.cancel(running.id)).cancelling and cancelled.state == "running"
    queue.close()
    again = Queue(url_of(str(tmp_path / "server.db")))
    left = again.leave(running.id, "failed", error="killed")
    assert (left.state, left.error, left.cancelling) == ("cancelled", None, False) and left.ended
    with pytest.raises(ServerError, match="it must be running"):
        again.leave(running.id, "queued")
    assert again.get(ended.id).ended == 1.0


def test_a_table_of_another_version(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "server.db")) as connection, connection:
        connection.execute("CREATE TABLE hpsearch_submission (number INTEGER, id TEXT, name TEXT)")
    with pytest.raises(ServerError, match=r"another version of hpsearch .*no column archived"):
        Queue(url_of(str(tmp_path / "server.db")))

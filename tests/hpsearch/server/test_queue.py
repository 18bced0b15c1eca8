"""The queue: which study is next, states and their transitions, requests that are repeated."""

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
    assert queue.delete_held() == [held.id] and queue.delete_held() == []
    add(queue)
    assert queue.delete_held() == []


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
        queue.delete(submission.id)
    queue.change(submission.id, "failed", "running", error="why")
    assert queue.get(submission.id).error == "why" and queue.counts()["failed"] == 1
    assert queue.set_priority(submission.id, 7).priority == 7
    queue.delete(submission.id)
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

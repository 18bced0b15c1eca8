"""Deadlines of sockets and of databases that ask."""

import socket
import threading
import time

import pytest

from hpsearch.core.reading.deadline import Deadline


def test_a_mute_server_is_left() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        deadline, start = Deadline(0.1), time.monotonic()
        with deadline.limit(ours.fileno()):
            assert ours.recv(1) == b"" and deadline.passed
        assert time.monotonic() - start < 5


def test_an_answer_in_time() -> None:
    """The connection stays open, because the timer is canceled."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        deadline, before = Deadline(99), set(threading.enumerate())
        with deadline.limit(ours.fileno()):
            (timer,) = set(threading.enumerate()) - before
            theirs.send(b"x")
            assert ours.recv(1) == b"x"
            assert isinstance(timer, threading.Timer) and not timer.finished.is_set()
        assert timer.finished.is_set() and not deadline.passed


def test_a_database_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [7.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    deadline = Deadline(0.05)
    assert deadline.check() == 0
    with deadline.limit():
        now[0] += 0.04
        assert deadline.check() == 0
        now[0] += 0.02
        assert deadline.check() == 1 and deadline.passed

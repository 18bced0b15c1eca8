"""Deadlines of sockets and of databases that ask."""

import socket
import time

from hpsearch.core.reading.deadline import Deadline


def test_a_mute_server_is_left() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        deadline, start = Deadline(0.1), time.monotonic()
        with deadline.limit(ours.fileno()):
            assert ours.recv(1) == b"" and deadline.passed
        assert time.monotonic() - start < 5


def test_an_answer_in_time() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        deadline = Deadline(0.1)
        with deadline.limit(ours.fileno()):
            theirs.send(b"x")
            assert ours.recv(1) == b"x"
        time.sleep(0.15)
        theirs.send(b"y")
        assert ours.recv(1) == b"y" and not deadline.passed


def test_a_database_asks() -> None:
    deadline = Deadline(0.05)
    assert deadline.check() == 0
    with deadline.limit():
        assert deadline.check() == 0
        time.sleep(0.06)
        assert deadline.check() == 1 and deadline.passed

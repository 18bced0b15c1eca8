"""Signals during reading."""

import contextlib
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator

import pytest

from hpsearch.core.reading.interruption import interrupted_at_once, is_interrupted


@pytest.fixture
def recorded() -> Iterator[list[int]]:
    """Handlers that only record the signals, as those of `hpsearch run`."""
    found: list[int] = []
    handlers = {n: signal.signal(n, lambda number, _: found.append(number)) for n in (signal.SIGINT, signal.SIGTERM)}
    yield found
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_reading(number: signal.Signals, recorded: list[int]) -> None:
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), interrupted_at_once():
        threading.Timer(0.05, os.kill, [os.getpid(), number]).start()
        time.sleep(10)
    assert recorded == [number] and time.monotonic() - start < 5 and not is_interrupted()
    signal.raise_signal(number)  # recorded again, and nothing else
    assert recorded == [number] * 2


def test_a_callback_may_swallow_it(recorded: list[int]) -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection, interrupted_at_once():
        connection.set_progress_handler(lambda: None, 1000)
        threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGINT]).start()
        with pytest.raises((KeyboardInterrupt, sqlite3.OperationalError)):
            connection.execute("WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n) SELECT max(k) FROM n")
        assert is_interrupted()


def test_other_threads_change_nothing(recorded: list[int]) -> None:
    before, failed = signal.getsignal(signal.SIGINT), list[BaseException]()

    def work() -> None:
        with interrupted_at_once():
            if signal.getsignal(signal.SIGINT) is not before:
                failed.append(AssertionError("the handler has changed"))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failed

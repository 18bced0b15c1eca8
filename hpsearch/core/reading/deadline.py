"""A limit of the time that a server may take."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import final

from hpsearch.core.reading.interruption import is_interrupted


@final
class Deadline:
    """Ends a connection that takes too long.

    Args:
        seconds: time that each `limit` allows.

    Attributes:
        passed: the time was over.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.passed = False
        self._end = float("inf")

    @contextlib.contextmanager
    def limit(self, socket_number: int | None = None) -> Iterator[None]:
        """Limit the time of the block.

        Args:
            socket_number: file descriptor of the connection's socket, which is shut down when the time is over.
        """
        self._end = time.monotonic() + self.seconds
        timer = threading.Timer(self.seconds, self._shut_down, [socket_number])
        timer.daemon = True
        if socket_number is not None:
            timer.start()
        try:
            yield
        finally:
            timer.cancel()
            self._end = float("inf")

    def check(self) -> int:
        """Return 1 if the time is over or a signal was received; for databases that ask while they compute."""
        self.passed = self.passed or time.monotonic() > self._end
        return int(self.passed or is_interrupted())

    def _shut_down(self, number: int) -> None:
        self.passed = True
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as connection:
            connection.shutdown(socket.SHUT_RDWR)

"""Connections that hold up a server: they send their request too slowly, do not read the answer, or are too many."""

import asyncio
from collections.abc import Callable
from typing import Any, final

from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECONDS = 10.0  # for the headers of a request
READING_SECONDS = 60.0  # without reading an answer that waits to be sent
PER_CLIENT = 250  # connections of one address; half of all
SILENT_PER_CLIENT, SILENT_SECONDS = 64, 1.0  # of them without a request for as long; the oldest gives way
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@final
class LimitedConnection(H11Protocol):
    """A connection of uvicorn with limits."""

    _request_timer: asyncio.TimerHandle | None = None  # while the headers of a request are awaited
    _reading_timer: asyncio.TimerHandle | None = None  # while the client does not read

    def connection_made(self, transport: Any) -> None:
        """Begin a connection; close another one if its client has too many."""
        super().connection_made(transport)
        others = [other for other in self.connections if isinstance(other, LimitedConnection)]
        same = [other for other in others if other.client and self.client and other.client[0] == self.client[0]]
        unheard = sorted((timer.when(), id(other)) for other in same if (timer := other._request_timer) is not None)
        silent = sum(end - REQUEST_SECONDS < self.loop.time() - SILENT_SECONDS for end, _ in unheard)
        if unheard and (silent > SILENT_PER_CLIENT or len(same) > PER_CLIENT):
            oldest = next(other for other in same if id(other) == unheard[0][1])
            oldest._stop_waiting()  # it is counted no more
            oldest.transport.abort()
        elif len(same) > PER_CLIENT:
            transport.abort()
            return
        self._request_timer = self._later(REQUEST_SECONDS, self._refuse)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._request_timer is None:  # the next request of the connection has begun
            self._request_timer = self._later(REQUEST_SECONDS, self._refuse)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection."""
        self._stop_waiting()
        if self._reading_timer is not None:
            self._reading_timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait until the client has read what was sent."""
        super().pause_writing()
        self._reading_timer = self._later(READING_SECONDS, lambda: self.transport.abort())

    def resume_writing(self) -> None:
        """Continue to send."""
        super().resume_writing()
        if self._reading_timer is not None:
            self._reading_timer.cancel()

    def _later(self, seconds: float, action: Callable[[], None]) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, action)

    def _stop_waiting(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _refuse(self) -> None:
        self.transport.write(_TOO_SLOW)
        self.transport.close()

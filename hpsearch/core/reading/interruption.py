"""Signals that end reading at once, even while a database or a driver computes."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

_received: list[int] = []  # signals during `interrupted_at_once`


@contextlib.contextmanager
def interrupted_at_once() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGINT, SIGTERM and SIGHUP, after the handlers installed for them have run.

    Signals without a handler of Python keep their effect. Only the main thread can change handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])):
        handler = signal.getsignal(number)
        if callable(handler) and handler is not signal.default_int_handler:
            before[number] = handler

    def interrupt(number: int, frame: Any) -> None:
        before[number](number, frame)
        _received.append(number)
        raise KeyboardInterrupt

    for caught in before:
        signal.signal(caught, interrupt)
    try:
        yield
    finally:
        for caught, handler in before.items():
            signal.signal(caught, handler)
        _received.clear()


def is_interrupted() -> bool:
    """Return True after a signal, within `interrupted_at_once`; C code that called back may swallow the exception."""
    return bool(_received)

"""Databases on a server: a connection that is lost is made again."""

import re
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from sqlalchemy.exc import DBAPIError, OperationalError

from hpsearch.errors import Interrupted, StorageError

PATIENCE = 300.0  # seconds to wait for a server that does not answer
FIRST_DELAY, LONGEST_DELAY = 0.1, 5.0  # seconds between two attempts to connect
_LOST = re.compile(r"08...|57P0[1235]")  # SQLSTATE: connection exceptions, shut down, starting up

Answer = TypeVar("Answer")


class Waiting(NamedTuple):
    """How a process waits for a server that does not answer.

    Attributes:
        notify: tells the user that it waits.
        stop: called between attempts; when it returns True, the study stops.
    """

    notify: Callable[[str], None] = lambda _: None
    stop: Callable[[], bool] = lambda: False


def is_lost(error: BaseException | None) -> bool:
    """Return whether an error, or the error that caused it, says that the connection to a server was lost."""
    while error is not None and not isinstance(error, DBAPIError):
        error = error.__cause__
    if error is None:
        return False
    if error.connection_invalidated or not type(error.orig).__module__.startswith("psycopg"):
        return error.connection_invalidated
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    if state is None:  # it could not connect
        return isinstance(error, OperationalError)
    return _LOST.fullmatch(state) is not None


def retrying(name: str, attempt: Callable[[], Answer], waiting: Waiting) -> Answer:
    """Return the result of an attempt, which is repeated while the connection to a server is lost.

    Args:
        name: the database, as messages name it.
        attempt: uses a new connection each time, and does the same however often it is called.

    Raises:
        Exception: the error of an attempt that did not lose the connection.
        StorageError: the server does not answer.
        Interrupted: the study was stopped while the server did not answer.
    """
    end, delay = 0.0, FIRST_DELAY
    while True:
        try:
            return attempt()
        except Exception as error:
            if not is_lost(error):
                raise
            now = time.monotonic()
            if not end:  # the pool may have held the connection since the server was started
                end = now + PATIENCE
                continue
            if waiting.stop():
                raise Interrupted from error
            if now > end:
                raise StorageError(
                    f"{name}: the server has not answered for {PATIENCE / 60:.0f} min; everything finished is stored; "
                    "resume the study when it answers"
                ) from error
            if delay == FIRST_DELAY:
                waiting.notify(f"{name}: the server does not answer; waiting up to {PATIENCE / 60:.0f} min for it")
            time.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY)

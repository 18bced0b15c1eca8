"""The running time of a stage, over all sessions."""

import time
from typing import final


@final
class StageTime:
    """Measures how long a stage has run and whether its time limit has passed.

    Args:
        used: seconds that the stage ran in earlier sessions.
        timeout: its time limit in seconds; None for no limit.
    """

    def __init__(self, used: float, timeout: float | None) -> None:
        self._last = time.monotonic()
        self._deadline = self._last + (timeout or float("inf")) - used

    @property
    def expired(self) -> bool:
        """True when the time limit has passed."""
        return time.monotonic() > self._deadline

    def lap(self) -> float:
        """Return the seconds since the last call, or since the session began the stage."""
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        return seconds

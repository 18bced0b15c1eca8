"""Garbage collection in processes of our own."""

import gc

# Allocations that are not freed before a collection; by default 700 (2,000 since Python 3.13).
_THRESHOLD = 100_000


def collect_rarely() -> None:
    """Let this process look for reference cycles rarely.

    By default this takes a quarter of a coordinator's time, because each look passes over the objects of all imported
    modules, and finds next to nothing.
    """
    gc.set_threshold(_THRESHOLD, 50, 100)

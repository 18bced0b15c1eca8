"""The menu of trackers."""

from collections.abc import Callable

from hpsearch.trackers.base import Silent, Subject, Tracker

TRACKERS: dict[str, Callable[[Subject, str], Tracker]] = {}

__all__ = ["TRACKERS", "Silent", "Subject", "Tracker"]

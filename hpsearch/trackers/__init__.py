"""The menu of trackers."""

from collections.abc import Callable

from hpsearch.trackers.base import Silent, Subject, Tracker
from hpsearch.trackers.mlflow import MlflowTracker

TRACKERS: dict[str, Callable[[Subject, str], Tracker]] = {
    "mlflow": MlflowTracker,
}

__all__ = ["TRACKERS", "MlflowTracker", "Silent", "Subject", "Tracker"]

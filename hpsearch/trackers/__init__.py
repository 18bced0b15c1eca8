"""The menu of trackers."""

from collections.abc import Callable

from hpsearch.trackers.base import Silent, Subject, Tracker, masked
from hpsearch.trackers.beside import Beside
from hpsearch.trackers.mlflow import MlflowTracker

TRACKERS: dict[str, Callable[[str], Tracker]] = {
    "mlflow": MlflowTracker,
}

__all__ = ["TRACKERS", "Beside", "MlflowTracker", "Silent", "Subject", "Tracker", "masked"]

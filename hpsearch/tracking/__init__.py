"""The menu of trackers."""

from collections.abc import Callable

from hpsearch.tracking.background import Beside
from hpsearch.tracking.base import Silent, Subject, Tracker, masked
from hpsearch.tracking.mlflow.tracker import MlflowTracker

TRACKERS: dict[str, Callable[[str], Tracker]] = {
    "mlflow": MlflowTracker,
}

__all__ = ["TRACKERS", "Beside", "MlflowTracker", "Silent", "Subject", "Tracker", "masked"]

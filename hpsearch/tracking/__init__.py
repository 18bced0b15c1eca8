"""The registry of trackers, by name."""

from collections.abc import Callable

from hpsearch.tracking.background import BackgroundTracker
from hpsearch.tracking.base import NullTracker, StudyInfo, Tracker
from hpsearch.tracking.mlflow.tracker import MlflowTracker

TRACKERS: dict[str, Callable[[str], Tracker]] = {
    "mlflow": MlflowTracker,
}

__all__ = ["TRACKERS", "BackgroundTracker", "MlflowTracker", "NullTracker", "StudyInfo", "Tracker"]

"""The registry of trackers, by name."""

from hpsearch.tracking.background import BackgroundTracker
from hpsearch.tracking.base import NullTracker, StudyInfo, Tracker
from hpsearch.tracking.sender import TrackerFactory


def _mlflow(uri: str) -> Tracker:
    from hpsearch.tracking.mlflow.tracker import MlflowTracker  # imported where it runs, in the child process

    return MlflowTracker(uri)


TRACKERS: dict[str, TrackerFactory] = {
    "mlflow": _mlflow,
}

__all__ = ["TRACKERS", "BackgroundTracker", "NullTracker", "StudyInfo", "Tracker", "TrackerFactory"]

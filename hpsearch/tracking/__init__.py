"""The registry of trackers, by name."""

from hpsearch.tracking.background import BackgroundTracker
from hpsearch.tracking.base import NullTracker, StudyInfo, Tracker
from hpsearch.tracking.sender import Preparation, TrackerFactory, no_preparation


def _mlflow(uri: str) -> Tracker:
    from hpsearch.tracking.mlflow.tracker import MlflowTracker  # imported where it runs, in the child process

    return MlflowTracker(uri)


def _import_mlflow(uri: str) -> None:
    from hpsearch.tracking.mlflow.database import import_client

    import_client(uri)


TRACKERS: dict[str, TrackerFactory] = {
    "mlflow": _mlflow,
}
PREPARATIONS: dict[str, Preparation] = {
    "mlflow": _import_mlflow,
}

__all__ = [
    "PREPARATIONS",
    "TRACKERS",
    "BackgroundTracker",
    "NullTracker",
    "StudyInfo",
    "Tracker",
    "TrackerFactory",
    "no_preparation",
]

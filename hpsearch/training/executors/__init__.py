"""Executors by name."""

from collections.abc import Callable

from hpsearch.training.executors.base import Executor, LimitExceeded, WorkerDied, WorkerKilled
from hpsearch.training.executors.dask import local_cluster, open_cluster
from hpsearch.training.executors.inline import Inline
from hpsearch.training.executors.processes import Processes

EXECUTORS: dict[str, Callable[[int, str], Executor]] = {
    "inline": Inline,
    "processes": Processes,
    "dask": local_cluster,
}

__all__ = [
    "EXECUTORS",
    "Executor",
    "Inline",
    "LimitExceeded",
    "Processes",
    "WorkerDied",
    "WorkerKilled",
    "open_cluster",
]

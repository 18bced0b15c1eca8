"""The menu of executors."""

from collections.abc import Callable

from hpsearch.executors.base import Executor, WorkerDied
from hpsearch.executors.inline import Inline
from hpsearch.executors.processes import Processes

EXECUTORS: dict[str, Callable[[int, str], Executor]] = {
    "inline": Inline,
    "processes": Processes,
}

__all__ = ["EXECUTORS", "Executor", "Inline", "Processes", "WorkerDied"]

"""Executors by name."""

from collections.abc import Callable

from hpsearch.training.executors.base import Executor, WorkerDied, WorkerKilled
from hpsearch.training.executors.inline import Inline
from hpsearch.training.executors.processes import Processes
from hpsearch.training.task import TaskFunction
from hpsearch.training.trial import advance


def _local_dask(workers: int, scratch: str, run_task: TaskFunction = advance) -> Executor:
    from hpsearch.training.executors.dask.address import ClusterAddress
    from hpsearch.training.executors.dask.executor import Dask

    return Dask(ClusterAddress(None, workers), scratch, run_task)


EXECUTORS: dict[str, Callable[[int, str], Executor]] = {
    "inline": Inline,
    "processes": Processes,
    "dask": _local_dask,
}

__all__ = ["EXECUTORS", "Executor", "Inline", "Processes", "WorkerDied", "WorkerKilled"]

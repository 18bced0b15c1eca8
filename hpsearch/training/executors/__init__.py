"""Executors by name."""

from collections.abc import Callable

from hpsearch.errors import ClusterError
from hpsearch.training.executors.base import Executor, WorkerDied, WorkerKilled
from hpsearch.training.executors.dask.address import ClusterAddress
from hpsearch.training.executors.inline import Inline
from hpsearch.training.executors.processes import Processes
from hpsearch.training.task import TaskFunction
from hpsearch.training.trial import advance


def open_cluster(address: ClusterAddress, scratch: str, run_task: TaskFunction = advance) -> Executor:
    """Return an executor that trains on a Dask cluster.

    Args:
        scratch: a temporary folder that is removed with the coordinator.
        run_task: function that workers call with each task; must be importable by name.

    Raises:
        ClusterError: Dask is not installed, the scheduler does not answer, or it refuses the connection.
    """
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise ClusterError(f"cluster: needs Dask ({error}); install it with: pip install 'hpsearch[cluster]'") from None
    from hpsearch.training.executors.dask.executor import Dask

    return Dask(address, scratch, run_task)


def _local_cluster(workers: int, scratch: str, run_task: TaskFunction = advance) -> Executor:
    return open_cluster(ClusterAddress(None, workers), scratch, run_task)


EXECUTORS: dict[str, Callable[[int, str], Executor]] = {
    "inline": Inline,
    "processes": Processes,
    "dask": _local_cluster,
}

__all__ = ["EXECUTORS", "Executor", "Inline", "Processes", "WorkerDied", "WorkerKilled", "open_cluster"]

"""Training on a Dask cluster.

- `address`: the address of a cluster, and certificates.
- `connection`, `local`: the connection to a scheduler; a cluster on this machine.
- `remote`: the functions that workers run. `rows`: the rows, sent to each worker once.
- `workers`, `serving`: the workers as the coordinator sees them; tasks, as long as one connection lasts.
- `executor`: the executor, which connects again when the scheduler was lost.
"""

from hpsearch.errors import ClusterError
from hpsearch.training.executors.base import Executor
from hpsearch.training.executors.dask.address import ClusterAddress
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


def local_cluster(workers: int, scratch: str, run_task: TaskFunction = advance) -> Executor:
    """Return an executor that trains on a Dask cluster of this machine, which it starts."""
    return open_cluster(ClusterAddress(None, workers), scratch, run_task)

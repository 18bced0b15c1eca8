"""Errors of Dask that a user can do something about."""

from hpsearch.errors import ClusterError
from hpsearch.training.executors.dask import serving


def test_a_scheduler_without_hpsearch() -> None:
    """Dask's text has five lines, and names neither the machine nor the package."""
    text = "Error during deserialization of the task graph. This frequently\noccurs if the Scheduler and Client have"
    explained = serving._explained(RuntimeError(text))
    assert type(explained) is ClusterError and "\n" not in str(explained)
    assert str(explained).startswith("cluster: the scheduler cannot read tasks; install on its machine")
    other = ValueError("another")
    assert serving._explained(other) is other

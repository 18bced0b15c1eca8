"""Settings of all tests."""

import os


def pytest_xdist_auto_num_workers() -> int:
    """Return one process more than CPUs, because many tests wait for other processes."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)

"""Settings of all tests."""

import contextlib
import os

import numpy as np
import pytest

from engine.kernels.choice import KernelUnavailable, load_kernel


def pytest_configure(config: pytest.Config) -> None:
    """Compile the kernel once, before the processes that share the tests load it.

    Generated inputs may take any time: on a busy machine it depends on what else runs there.
    """
    if not hasattr(config, "workerinput") and not config.option.collectonly:
        engine = any("engine" in path or path.rstrip("/").endswith("tests") for path in config.args)
        with contextlib.suppress(KernelUnavailable):
            for dtype in (
                (np.float32, np.float64) if engine else (np.float32,)
            ):  # float64 is for contracts of the engine
                load_kernel(np.dtype(dtype))
    try:
        from hypothesis import HealthCheck, settings
    except ImportError:  # the extra `bench` alone
        return
    settings.register_profile("any time", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("any time")


def pytest_xdist_auto_num_workers() -> int:
    """Return one process more than CPUs, because many tests wait for other processes."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)

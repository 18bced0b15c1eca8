"""Tests run in as many processes as there are CPUs, but for those that measure, and where their output is wanted."""

import pytest


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """None: as many as xdist finds."""
    measures = str(config.option.markexpr) == "bench"
    return 0 if measures or config.option.capture == "no" else None

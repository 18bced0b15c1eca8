"""Shared by the benchmarks: run rivals in turn, and print figures with the BLAS kernels."""

import time
from collections.abc import Callable

import numpy as np
import pytest
from threadpoolctl import threadpool_info


def interleaved(runs: dict[str, Callable[[], float]], least: float = 0.9, repeats: int = 9) -> dict[str, float]:
    """Return the seconds of the shortest run of each rival; they run in turn, so that a busy machine slows all of them.

    Args:
        runs: each returns its accuracy or R², which must be above `least`: it must have learned.
    """
    shortest = dict.fromkeys(runs, np.inf)
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            reached = run()
            shortest[name] = min(shortest[name], time.perf_counter() - start)
            assert reached > least, f"{name} learned nothing: {reached}"
    return shortest


def report(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """Print past pytest's capture, with the BLAS kernels, which OPENBLAS_CORETYPE can restrict."""
    kernels = ", ".join(str(b["architecture"]) for b in threadpool_info() if b["internal_api"] == "openblas")
    with capsys.disabled():
        print(f"\n{text} ({kernels})")

"""Contracts of the engine are tested for both kernels."""

from collections.abc import Iterator

import engine_cases
import pytest

from engine.kernels.choice import Kernel


@pytest.fixture(params=["numpy", "compiled"], scope="module")
def kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    """Make `engine_cases.train` use each kernel in turn."""
    if request.param == "compiled":
        pytest.importorskip("numba", reason="needs the fast extra")
    engine_cases.KERNEL = request.param
    yield request.param
    engine_cases.KERNEL = "numpy"

"""Errors of the elementary functions in float32, in units in the last place, and their special values."""

from collections.abc import Callable

import numpy as np
import pytest

numba = pytest.importorskip("numba", reason="needs the fast extra")

from engine.kernels import functions  # noqa: E402
from engine.kernels.jit import compiled  # noqa: E402


@compiled
def _exp(x: np.ndarray, y: np.ndarray) -> None:
    for i in range(x.size):
        y[i] = functions.exp(x[i])


@compiled
def _tanh(x: np.ndarray, y: np.ndarray) -> None:
    for i in range(x.size):
        y[i] = functions.tanh(x[i])


@compiled
def _expm1(x: np.ndarray, y: np.ndarray) -> None:
    for i in range(x.size):
        y[i] = functions.expm1(x[i])


@compiled
def _log1p(x: np.ndarray, y: np.ndarray) -> None:
    for i in range(x.size):
        y[i] = functions.log1p(x[i])


# (ours, NumPy's, range, error in ulp as in the docstring)
CASES: dict[str, tuple[Callable[..., None], np.ufunc, tuple[float, float], float]] = {
    "exp": (_exp, np.exp, (-86.9, 87.9), 1),
    "tanh": (_tanh, np.tanh, (-20, 20), 7),
    "expm1": (_expm1, np.expm1, (-30, 0), 6),
    "log1p": (_log1p, np.log1p, (0, 1), 2),
}


def computed(name: str, x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    CASES[name][0](x, y)
    return y


@pytest.mark.parametrize("name", CASES)
def test_errors(name: str) -> None:
    _, exact, (low, high), most = CASES[name]
    rng = np.random.default_rng(0)
    signs = np.sign([v for v in (low, high) if v])
    tiny = rng.choice(signs, 100_000) * 10 ** rng.uniform(-30, 0, 100_000)
    x = np.concatenate([rng.uniform(low, high, 500_000), rng.uniform(max(low, -1), min(high, 1), 500_000), tiny])
    x = x.astype(np.float32)
    expected = exact(x.astype(np.float64))
    ulp = np.spacing(np.abs(expected).astype(np.float32)).astype(np.float64)
    errors = np.abs(computed(name, x) - expected) / ulp
    assert errors.max() <= most, (errors.max(), x[errors.argmax()])
    assert f"within {most} ulp" in str(getattr(functions, name).__doc__)


@pytest.mark.parametrize("name", CASES)
def test_float64_is_the_c_library_s(name: str) -> None:
    _, exact, (low, high), _ = CASES[name]
    x = np.random.default_rng(0).uniform(low, high, 10_000)
    np.testing.assert_allclose(computed(name, x), exact(x), rtol=1e-15)


def test_special_values() -> None:
    """NaN stays NaN, so that divergence is seen; large arguments have finite results."""
    for name in CASES:
        assert np.isnan(computed(name, np.array([np.nan], np.float32))).all()
    large = np.array([-np.inf, -1e30, 1e30, np.inf], np.float32)
    assert computed("tanh", large).tolist() == [-1, -1, 1, 1]
    assert np.isfinite(computed("exp", large)).all() and computed("exp", large)[0] < 1e-37
    assert computed("exp", np.zeros(1, np.float32)) == 1 and computed("tanh", np.zeros(1, np.float32)) == 0

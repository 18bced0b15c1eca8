"""The Sobol' sequence."""

import inspect
import statistics

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sampler_cases import BOX, complete, context, mixed, searched
from scipy.stats import qmc


def test_sobol_is_the_sequence() -> None:
    """SciPy's sequence with one dimension per axis, also for inactive axes."""
    generator = np.random.default_rng(context(0).stage_seed)
    keyword = "rng" if "rng" in inspect.signature(qmc.Sobol).parameters else "seed"  # since SciPy 1.15
    sequence = qmc.Sobol(len(BOX), scramble=True, **{keyword: generator}).random(32)
    for (params, _), row in zip(searched("sobol", mixed, 32, parallel=5), sequence, strict=True):
        at = dict(zip(BOX, row.tolist(), strict=True))
        assert params["rate"] == pytest.approx(1e-4 ** (1 - at["rate"]), rel=1e-12)
        assert params["share"] == 2 * at["share"] - 1
        assert params["kind"] == "abc"[int(3 * at["kind"])]
        assert params["batch"] == int(5 * at["batch"])
        assert params["units"] == round(0.5 * 401 ** at["units"])
        if "more" in params:
            assert params["more"] == 1 + int(9 * at["more"])


def test_sobol_fills_the_box_evenly() -> None:
    box = {name: FloatDistribution(0, 1) for name in "xyz"}
    spread: dict[str, list[float]] = {"sobol": [], "random": []}
    for name, found in spread.items():
        for seed in range(12):
            trials = searched(name, lambda n, p: complete(0.0), 32, seed=seed, box=box)
            found.append(qmc.discrepancy(np.array([list(p.values()) for p, _ in trials])))
    assert statistics.median(spread["sobol"]) < statistics.median(spread["random"]) / 10
    assert max(spread["sobol"]) < min(spread["random"])


def test_sobol_counts_equally() -> None:
    """2ⁿ points fall equally often into each of 2ᵏ equal parts of an axis."""
    parts = {"kind": CategoricalDistribution(tuple("abcd")), "whole": IntDistribution(-3, 4)}
    trials = [p for p, _ in searched("sobol", lambda n, p: complete(0.0), 64, box=parts)]
    assert [[p["kind"] for p in trials].count(kind) for kind in "abcd"] == [16] * 4
    assert [[p["whole"] for p in trials].count(whole) for whole in range(-3, 5)] == [8] * 8

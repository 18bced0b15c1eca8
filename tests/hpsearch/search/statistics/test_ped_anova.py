"""PED-ANOVA against Optuna's, for every kind of axis."""

import warnings
from typing import Any, cast

import numpy as np
import optuna
import pytest
from optuna.importance import PedAnovaImportanceEvaluator

from hpsearch.core.space import Axis, InternalValue
from hpsearch.samplers.base import from_unit
from hpsearch.search.statistics.ped_anova import divergence

AXES = [
    Axis("x", "x", 0.5, 3.0),
    Axis("x", "x", 1e-6, 1.0, log=True),
    Axis("x", "one_minus_x", 0.001, 0.1, log=True, complement=True),
    Axis("x", "x", 3, 9, integer=True),
    Axis("x", "x", 1, 400, integer=True),
    Axis("x", "x", 1, 400, integer=True, log=True),
    Axis("x", "x", 7, 8, integer=True, log=True),
    Axis("x", "x_index", 0, 3, integer=True, choices=(16, 32, 64, 128)),
    Axis("x", "x", 0, 2, choices=("a", "b", True), zoomable=False),
]


@pytest.mark.parametrize("count", [2, 30, 200])
@pytest.mark.parametrize("axis", AXES, ids=str)
def test_equals_that_of_optuna(axis: Axis, count: int) -> None:
    """With a tenth of the trials as the best, uniform and in one place."""
    distribution, rng = axis.distribution(axis.low, axis.high), np.random.default_rng(count)
    for power in (1, 8):
        values: list[InternalValue] = [from_unit(distribution, rng.random() ** power) for _ in range(count)]
        best = max(1, count // 10)
        study = optuna.create_study()
        study.add_trials(
            [
                optuna.create_trial(value=rank, params={axis.key: v}, distributions={axis.key: distribution})
                for rank, v in enumerate(values)
            ]
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantile, kind = (best - 0.5) / count, cast(Any, PedAnovaImportanceEvaluator)
            try:
                expected = kind(target_quantile=quantile).evaluate(study)[axis.key]
            except TypeError:  # Optuna before 4.7, which does not square the share, and wants two best trials
                earlier = kind(baseline_quantile=quantile)
                earlier._min_n_top_trials = 1
                expected = best / count * earlier.evaluate(study)[axis.key]
        assert (best / count) ** 2 * divergence(axis, values[:best], values) == pytest.approx(expected, rel=1e-9)

"""Rank correlations of parameters with success, compared with SciPy's."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr, t

from hpsearch.search.statistics.student_t import two_sided_p_value
from hpsearch.search.statistics.trends import Trend, rank_correlation, trends
from hpsearch.study.summary import Summary
from tests.hpsearch.report.advice.advice_cases import study, summary_of


def trends_of(of: Summary) -> dict[str, Trend]:
    return trends(of.spec, of.space, of.trials)


@pytest.mark.parametrize("seed", range(5))
def test_correlations_and_p_values_are_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 9, 20).astype(float), rng.normal(size=20)
    expected = spearmanr(a, b)
    rho = rank_correlation(list(zip(a, b, strict=True)))
    assert rho == pytest.approx(expected.statistic, abs=1e-12)
    statistic = rho * math.sqrt(18 / (1 - rho**2))
    assert two_sided_p_value(statistic, 18) == pytest.approx(expected.pvalue, abs=1e-9)
    for degrees in (1, 2, 7):
        assert two_sided_p_value(-1.3, degrees) == pytest.approx(2 * t.sf(1.3, degrees), abs=1e-9)


@pytest.mark.parametrize("metric", ["val/accuracy", "val/loss"])
def test_the_direction_that_did_better(metric: str) -> None:
    spec = study(metric={"name": metric})
    found = trends_of(summary_of(spec, lambda p: spec.metric.sign * -math.log(p["hidden_units"])))  # type: ignore[arg-type]
    assert found["hidden_units"].direction == 1 and found["hidden_units"].p < 1e-6
    assert str(found["hidden_units"]).startswith(
        "larger hidden_units did better (rank correlation +1.00, p < 1e-10, 24"
    )
    assert found["l2"].direction == 0 and "l2 is not related to the metric" in str(found["l2"])


def test_diverged_trials_are_the_worst() -> None:
    """Without them the learning rate would look as if larger were better."""
    rate = "learning_rate"
    found = trends_of(summary_of(study(), lambda p: None if p[rate] > 0.05 else 0.5 + p[rate]))  # type: ignore[operator]
    assert found[rate].rho < 0.2


def test_few_trials_have_no_trend() -> None:
    assert trends_of(summary_of(study(stages=[{"name": "coarse", "trials": 7}]), lambda p: 0.5)) == {}
    assert rank_correlation([(1.0, 2.0), (1.0, 3.0)]) is None

"""Quantiles of Student's t against SciPy."""

import math

import pytest
from scipy.stats import beta

from hpsearch.search.statistics.student_t import two_sided_quantile


@pytest.mark.parametrize("degrees", [*range(1, 40), 99, 100, 999, 1000])
@pytest.mark.parametrize("probability", [0.5, 0.95, 0.999])
def test_quantiles(probability: float, degrees: int) -> None:
    """T² / (ν + T²) has the distribution Beta(1/2, ν/2); older releases of SciPy know `t.ppf` to ten digits."""
    share, rest = beta.ppf(probability, 1 / 2, degrees / 2), beta.ppf(1 - probability, degrees / 2, 1 / 2)
    expected = math.sqrt(degrees * share / rest)
    assert two_sided_quantile(probability, degrees) == pytest.approx(expected, rel=1e-12)

"""Quantiles of Student's t against SciPy."""

import pytest
from scipy.stats import t

from hpsearch.search.statistics.student_t import two_sided_quantile


@pytest.mark.parametrize("degrees", [*range(1, 40), 99, 100, 999, 1000])
@pytest.mark.parametrize("probability", [0.5, 0.95, 0.999])
def test_quantiles(probability: float, degrees: int) -> None:
    expected = float(t.ppf((1 + probability) / 2, degrees))
    assert two_sided_quantile(probability, degrees) == pytest.approx(expected, rel=1e-12)

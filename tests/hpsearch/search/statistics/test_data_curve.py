"""Learning curves by data: groups, and sentences that follow from Welch's test, with SciPy as the referee."""

from typing import Any

import cases
import numpy as np
import pytest
from scipy.stats import ttest_ind

from hpsearch.search.statistics.data_curve import DataCurve, data_curve
from hpsearch.search.statistics.data_curve import _welch_p as welch_p
from hpsearch.storage.records import Trial

DATA = {"source": "sklearn", "name": "iris", "train_rows": "rows"}


def curve(before: list[float], after: list[float], sign: int = 1) -> DataCurve:
    return DataCurve("val/loss", sign, {100: [9.0], 200: before, 400: after})


@pytest.mark.parametrize("seed", range(8))
def test_welch(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.normal(0, 1, 4 + seed).tolist(), rng.normal(seed / 4, 2, 9).tolist()
    found = ttest_ind(one, other, equal_var=False)
    whole = int(found.df)  # degrees of freedom are rounded down
    from scipy.stats import t

    assert welch_p(one, other) == pytest.approx(2 * t.sf(abs(found.statistic), whole), rel=1e-9)


def test_equal_values() -> None:
    assert welch_p([1.0, 1.0, 1.0], [1.0, 1.0, 1.0]) == 1 and welch_p([1.0, 1.0, 1.0], [2.0, 2.0, 2.0]) == 0


@pytest.mark.parametrize(
    ("before", "after", "sign", "begins"),
    [
        ([0.5, 0.51, 0.49], [0.3, 0.31, 0.29], 1, "More training rows are likely to help: mean val/loss 0.5 with 200"),
        ([0.5, 0.51, 0.49], [0.3, 0.31, 0.29], -1, "More training rows did not help: "),
        ([0.5, 0.41, 0.39], [0.4, 0.51, 0.29], 1, "More training rows are unlikely to help much: "),
        ([0.5, 0.41], [0.1, 0.2, 0.1], 1, "Too few trials to say whether more training rows help: "),
    ],
)
def test_sentences(before: list[float], after: list[float], sign: int, begins: str) -> None:
    assert curve(before, after, sign).sentence.startswith(begins)


def trial(rows: int, value: float | None, **changes: Any) -> Trial:
    return Trial("a", 0, {}, {"rows": rows}, "complete", value)._replace(**changes)


def test_groups() -> None:
    parameters = {**cases.CONTENT["parameters"], "rows": {"values": [20, 40, 80]}}
    spec = cases.small(data=DATA, parameters=parameters)
    trials = [trial(80, 0.2), trial(20, 0.5), trial(80, 0.1), trial(40, 0.9, state="pruned"), trial(20, None)]
    found = data_curve(spec, trials)
    assert (
        found is not None and found.values == {20: [0.5], 80: [0.2, 0.1]} and found.medians[80] == pytest.approx(0.15)
    )
    assert data_curve(spec, trials[:1]) is None and data_curve(cases.small(), trials) is None

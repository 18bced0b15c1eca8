"""Bias and variance: published examples, intervals compared with SciPy's, sentences and thresholds."""

import numpy as np
import pytest
from scipy.stats import binomtest

from engine.analysis.diagnosis import Diagnosis, ErrorEstimate, diagnose
from engine.types import EngineError

# Ng 2018, "Machine Learning Yearning", chapters 21 and 22: train and dev error of a cat classifier with optimal error
# of 0, and of speech recognition with an optimal error of 14 %; the last one is ours.
NG = [
    (0.01, 0.11, 0.0, "high variance"),
    (0.15, 0.16, 0.0, "high bias"),
    (0.15, 0.30, 0.0, "high bias and high variance"),
    (0.005, 0.01, 0.0, "neither high bias nor high variance"),
    (0.15, 0.30, 0.14, "high variance"),
    (0.15, 0.16, 0.14, "neither high bias nor high variance"),
]


@pytest.mark.parametrize(("train", "val", "base", "verdict"), NG)
def test_examples_of_ng(train: float, val: float, base: float, verdict: str) -> None:
    found = diagnose(train, val, base)
    assert found.verdict == verdict
    assert found.bias == pytest.approx(train - base) and found.variance == pytest.approx(val - train)


@pytest.mark.parametrize(("wrong", "rows"), [(0, 10), (3, 10), (57, 400), (400, 400)])
def test_intervals_of_shares_are_wilsons(wrong: int, rows: int) -> None:
    expected = binomtest(wrong, rows).proportion_ci(0.95, method="wilson")
    assert ErrorEstimate(wrong / rows, rows).interval[1:] == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_intervals_of_regressions() -> None:
    """A row's deviation gives the standard error; without it, that of normal residuals: √2 of the error."""
    assert ErrorEstimate(0.2, 100, 0.3).interval[1:] == pytest.approx((0.2 - 0.0588, 0.2 + 0.0588), abs=1e-4)
    assert ErrorEstimate(1.5, 50).interval.half_width == pytest.approx(1.96 * 1.5 * np.sqrt(2 / 50), rel=1e-3)
    assert ErrorEstimate(0.01, 4, 0.3).interval.low == 0.0


def test_the_interval_of_a_difference() -> None:
    """Newcombe 1998, table II, method 10: 56/70 − 48/80 lies in 0.0524 to 0.3339."""
    found = ErrorEstimate(56 / 70, 70).minus(ErrorEstimate(48 / 80, 80))
    assert found == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_a_gap_counts_only_beyond_its_interval() -> None:
    def of(rows: int) -> Diagnosis:
        return Diagnosis(ErrorEstimate(0.02, 10 * rows), ErrorEstimate(0.1, rows))

    assert not of(10).high_variance and of(1000).high_variance
    few = Diagnosis(ErrorEstimate(0.1, 20), ErrorEstimate(0.1, 20), base_error=0.05)
    many = Diagnosis(ErrorEstimate(0.1, 2000), ErrorEstimate(0.1, 2000), base_error=0.05)
    assert not few.high_bias and many.high_bias


def test_test_rows_show_what_few_val_rows_cannot() -> None:
    found = Diagnosis(ErrorEstimate(0.0, 990), ErrorEstimate(0.0, 10), ErrorEstimate(0.143, 10_000))
    assert found.verdict == "high variance" and not found.val_gap.low > 0
    assert found.test_against_val.low < 0 < found.test_against_val.high  # ten rows contradict nothing
    against = Diagnosis(ErrorEstimate(0.0, 990), ErrorEstimate(0.0, 500), ErrorEstimate(0.143, 10_000)).test_against_val
    assert against.low > 0


def test_val_below_train_is_no_bias() -> None:
    below = Diagnosis(ErrorEstimate(0.045, 1000), ErrorEstimate(0.01, 1000))
    assert below.val_below_train and not below.high_bias and "bias cannot be judged" in below.verdict
    assert not Diagnosis(ErrorEstimate(0.045, 30), ErrorEstimate(0.01, 30)).val_below_train  # by chance


def test_an_unknown_base_error_gives_no_bias() -> None:
    found = diagnose(0.15, 0.16, None)
    assert found.verdict == "no high variance; bias unknown" and not found.high_bias and np.isnan(found.bias)
    assert diagnose(0.01, 0.02, None).verdict == "neither high bias nor high variance"


def test_a_diagnosis_as_a_sentence() -> None:
    assert str(diagnose(0.01, 0.11)) == "high variance: train error 1.0%, val error 11.0%"
    assert str(diagnose(0.15, 0.16, 0.14)) == (
        "neither high bias nor high variance: train error 15.0%, val error 16.0%; 14.0% is unavoidable"
    )
    assert str(Diagnosis(ErrorEstimate(0.0, 10), None, ErrorEstimate(0.5, 100))) == (
        "high variance: train error 0.0% (0.0% to 27.8%), test error 50.0% (40.4% to 59.6%)"
    )


def test_high_bias_and_variance() -> None:
    assert diagnose(0.04, 0.04).high_bias and not diagnose(0.02, 0.02).high_bias
    assert diagnose(0.02, 0.02, high=0.01).high_bias and not diagnose(0.2, 0.5, high=0.4).high_variance
    assert not diagnose(0.1, 0.05).high_variance  # val better than train
    assert diagnose(np.float32(0.5), np.float64(1)) == Diagnosis(ErrorEstimate(0.5), ErrorEstimate(1.0))


def test_invalid_errors() -> None:
    for errors, message in (
        ((-0.1, 0.1), "an error must be at least 0 and finite, got -0.1"),
        ((0.1, float("nan")), "an error must be at least 0 and finite, got nan"),
        ((0.1, 0.1, float("inf")), "base_error must be at least 0 and finite, got inf"),
        ((0.1, 0.1, 0.0, 0.0), "high must be above 0, got 0.0"),
    ):
        with pytest.raises(EngineError, match=f"^diagnosis: {message}$"):
            diagnose(*errors)
    with pytest.raises(EngineError, match="rows must be at least 1, got 0"):
        ErrorEstimate(0.1, 0)


def test_rows_set_aside_tell_variance_from_a_mismatch() -> None:
    """Ng 2018, chapter 41: errors of train, train-dev and dev of 1, 9 and 10 %, then 1, 1.5 and 10 %."""

    def of(aside: float) -> Diagnosis:
        rows = 20_000
        errors = (ErrorEstimate(e, rows) for e in (0.01, 0.10, aside))
        train, val, train_dev = errors
        return Diagnosis(train, val, train_dev=train_dev)

    assert of(0.09).verdict == "high variance" and not of(0.09).mismatch
    assert of(0.015).verdict == "data mismatch" and not of(0.015).high_variance
    assert str(of(0.015)).startswith("data mismatch: train error 1.0% (0.9% to 1.1%), train_dev error 1.5%")

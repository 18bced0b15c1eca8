"""Bias and variance: published examples, sentences and thresholds."""

import numpy as np
import pytest

from engine.analysis.diagnosis import Diagnosis, diagnose
from engine.types import EngineError

# Ng 2018, "Machine Learning Yearning", chapters 21 and 22: train and dev error of a cat classifier with optimal error
# of 0, and of speech recognition with an optimal error of 14 %; the last one is ours.
NG = [
    (0.01, 0.11, 0.0, "high variance", ("more data", "regularization", "another architecture")),
    (0.15, 0.16, 0.0, "high bias", ("a larger network", "longer training", "another architecture")),
    (
        *(0.15, 0.30, 0.0, "high bias and high variance"),
        ("a larger network", "longer training", "more data", "regularization", "another architecture"),
    ),
    (0.005, 0.01, 0.0, "neither high bias nor high variance", ()),
    (0.15, 0.30, 0.14, "high variance", ("more data", "regularization", "another architecture")),
    (0.15, 0.16, 0.14, "neither high bias nor high variance", ()),
]


@pytest.mark.parametrize(("train", "val", "base", "verdict", "advice"), NG)
def test_examples_of_ng(train: float, val: float, base: float, verdict: str, advice: tuple[str, ...]) -> None:
    found = diagnose(train, val, base)
    assert (found.verdict, found.advice) == (verdict, advice)
    assert found.bias == pytest.approx(train - base) and found.variance == pytest.approx(val - train)


def test_a_diagnosis_as_a_sentence() -> None:
    assert str(diagnose(0.01, 0.11)) == (
        "high variance: train error 1.0%, val error 11.0%; try more data, regularization, another architecture"
    )
    assert str(diagnose(0.15, 0.16, 0.14)) == (
        "neither high bias nor high variance: train error 15.0%, val error 16.0%, of which 14.0% is unavoidable"
    )


def test_high_bias_and_variance() -> None:
    assert diagnose(0.04, 0.04).high_bias and not diagnose(0.02, 0.02).high_bias
    assert diagnose(0.02, 0.02, high=0.01).high_bias and not diagnose(0.2, 0.5, high=0.4).high_variance
    assert not diagnose(0.1, 0.05).high_variance  # val better than train
    assert diagnose(np.float32(0.5), np.float64(1)) == Diagnosis(0.5, 1.0)  # type: ignore[arg-type]


def test_invalid_errors() -> None:
    for errors, message in (
        ((-0.1, 0.1), "train_error must be at least 0 and finite, got -0.1"),
        ((0.1, float("nan")), "val_error must be at least 0 and finite, got nan"),
        ((0.1, 0.1, float("inf")), "base_error must be at least 0 and finite, got inf"),
        ((0.1, 0.1, 0.0, 0.0), "high must be above 0, got 0.0"),
    ):
        with pytest.raises(EngineError, match=f"^diagnosis: {message}$"):
            diagnose(*errors)

"""Drift between parts: none by chance, shifts of columns and categories, and differences of spread."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hpsearch.data.checks.drift import Drift, area_under_curve, classifier_auc, compare_rows

RNG = np.random.default_rng(0)


def compared(train: np.ndarray, part: np.ndarray) -> Drift:
    found = compare_rows("val", train, part, [f"c{k}" for k in range(train.shape[1])])
    assert found is not None
    return found


def test_the_area_is_scikit_learns() -> None:
    a, b = RNG.integers(0, 6, 50).astype(float), RNG.integers(1, 8, 70).astype(float)
    label = np.repeat([0, 1], [50, 70])
    assert area_under_curve(a, b) == pytest.approx(roc_auc_score(label, np.concatenate([a, b])), abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_rows_of_one_distribution_do_not_differ(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.normal(size=(300, 8)), rng.random((300, 3)) < 0.3], axis=1)
    found = compared(rows[:220], rows[220:])
    assert not found.notable and not found.shifts


def test_a_shifted_column_and_a_category_are_named_first() -> None:
    train = np.concatenate([RNG.normal(size=(400, 3)), (RNG.random((400, 1)) < 0.5)], axis=1)
    part = np.concatenate([RNG.normal([0, 1.0, 0], size=(200, 3)), (RNG.random((200, 1)) < 0.9)], axis=1)
    found = compared(train, part)
    assert found.notable and {shift.column for shift in found.shifts} == {"c1", "c3"}
    texts = {shift.column: str(shift) for shift in found.shifts}
    assert texts["c1"].startswith("'c1' +") and texts["c1"].endswith("standard deviations")
    assert "of its rows" in texts["c3"] and found.shifts[0].part > found.shifts[0].train
    assert str(found).startswith(f"a classifier tells val rows from training rows with an AUC of {found.auc:.2f}")


def test_a_difference_of_spread_is_seen_without_a_shift() -> None:
    found = compared(RNG.normal(size=(400, 2)), 3 * RNG.normal(size=(400, 2)))
    assert found.notable and not found.shifts


def test_few_rows_and_constant_columns() -> None:
    assert compare_rows("val", np.zeros((5, 2)), np.zeros((50, 2)), ["a", "b"]) is None
    assert classifier_auc(np.zeros((20, 2)), np.zeros((20, 2))) == 0.5

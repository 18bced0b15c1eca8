"""The range test of a study: its point, its learning rates, and models that do not fit the data."""

import cases
import numpy as np
import pytest

from hpsearch.errors import DataError
from hpsearch.search.checks.lr_range import center_point, lr_range_test


def test_center_of_each_range() -> None:
    """Centers are on each parameter's own scale; unordered values have no center, so the first is taken."""
    train = {"optimizer": "opt", "epochs": 4}
    parameters = {
        "learning_rate": {"min": 1e-4, "max": 1.0, "scale": "log"},
        "beta": {"min": 0.9, "max": 0.999, "scale": "one_minus_log"},
        "hidden_units": {"type": "int", "min": 2, "max": 7},
        "batch_size": {"values": [8, 16, 32], "ordered": True},
        "l1": {"min": 0.0, "max": 0.5},
        "l2": 1e-4,
        "opt": {"values": ["momentum", "nesterov"]},
    }
    point = center_point(cases.small(train=train, parameters=parameters))
    assert point.pop("learning_rate") == pytest.approx(1e-2)
    assert point.pop("beta") == pytest.approx(0.99)
    assert point.pop("hidden_units") in (4, 5)
    assert point == {"batch_size": 16, "l1": 0.25, "l2": 1e-4, "opt": "momentum"}


def test_rates_and_repeatability() -> None:
    """Rates grow by a constant factor from `low` to `high`; the same study gives the same losses."""
    found = lr_range_test(cases.small(), 1e-3, 10.0, 30)
    assert found.point == center_point(cases.small())
    assert (found.test.rates[0], found.test.rates[-1]) == pytest.approx((1e-3, 10.0))
    assert len(found.test.rates) == 30
    np.testing.assert_allclose(found.test.rates[1:] / found.test.rates[:-1], 1e4 ** (1 / 29))
    assert np.isfinite(found.test.losses[0, :10]).all()
    np.testing.assert_array_equal(lr_range_test(cases.small(), 1e-3, 10.0, 30).test.losses, found.test.losses)
    other = lr_range_test(cases.small(seed=6), 1e-3, 10.0, 30)
    assert not np.array_equal(other.test.losses, found.test.losses)


def test_a_metric_of_another_task() -> None:
    with pytest.raises(DataError, match="val/rmse is for regression"):
        lr_range_test(cases.small(metric={"name": "val/rmse"}), 1e-3, 10.0, 5)

"""Scalers: compared with scikit-learn; constant columns become 0, and scaling can be inverted."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import datasets
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, RobustScaler, StandardScaler

from engine.data import scaling
from engine.data.scaling import QUANTILES, SCALERS, MinMax, Quantile, Robust, Standard

REFEREES: dict[str, Any] = {
    "standard": lambda rows: StandardScaler(),
    "minmax": lambda rows: MinMaxScaler(),
    "robust": lambda rows: RobustScaler(),
    "quantile": lambda rows: QuantileTransformer(n_quantiles=min(1000, rows), subsample=None),
}
GENERATOR = np.random.default_rng(8)
ROWS: dict[str, Any] = {
    "normal": GENERATOR.normal(3, 7, (400, 5)),
    "many rows": GENERATOR.exponential(2, (3001, 2)),
    "ties": GENERATOR.integers(0, 4, (300, 6)).astype(np.float64),
    "units": GENERATOR.normal(0, 1, (200, 3)) * [1e-6, 1.0, 1e9],
    "digits": datasets.load_digits().data,  # ties, constant columns, and almost constant ones
    "diabetes": datasets.load_diabetes().data,
}
COLUMNS = st.integers(2, 40).flatmap(
    lambda rows: hnp.arrays(np.float64, (rows, 3), elements=st.floats(-1e6, 1e6, width=32))
)


def test_every_scaler_has_a_reference() -> None:
    assert set(REFEREES) == set(SCALERS)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("name", SCALERS)
def test_like_scikit_learn(name: str, rows: str) -> None:
    """Fitted on one half; both halves are scaled, so that values beyond the training rows are compared too."""
    x = ROWS[rows]
    train = x[: len(x) // 2]
    scaler, referee = SCALERS[name].fit(train), REFEREES[name](len(train)).fit(train)
    if isinstance(scaler, Quantile):
        # Its quantiles have rounding errors (scikit-learn 1.9): some equal rows seem to differ, and
        # their values are wrong by half a level. Ours are the rows themselves (see below).
        assert np.allclose(scaler.quantiles, referee.quantiles_, rtol=1e-12, atol=1e-8)
        referee.quantiles_ = scaler.quantiles
    assert np.allclose(scaler.apply(x), referee.transform(x), rtol=1e-9, atol=1e-9)
    assert np.allclose(scaler.invert(scaler.apply(train)), referee.inverse_transform(referee.transform(train)))


@pytest.mark.parametrize("name", SCALERS)
def test_invert(name: str) -> None:
    x = ROWS["ties"]
    scaler = SCALERS[name].fit(x)
    assert np.allclose(scaler.invert(scaler.apply(x)), x, rtol=1e-12, atol=1e-12)


@settings(max_examples=60)
@given(COLUMNS)
def test_statistics_of_the_training_rows(x: np.ndarray) -> None:
    """Scaled training rows have mean 0, range 0 to 1 or median 0; constant columns are left out."""
    wide = np.ptp(x, axis=0) > 1e-3
    standard, minmax = Standard.fit(x).apply(x)[:, wide], MinMax.fit(x).apply(x)[:, wide]
    robust, quantile = Robust.fit(x).apply(x)[:, wide], Quantile.fit(x).apply(x)
    assert np.allclose(standard.mean(axis=0), 0, atol=1e-5) and np.allclose(standard.std(axis=0), 1, atol=1e-5)
    assert np.allclose(minmax.min(axis=0), 0) and np.allclose(minmax.max(axis=0), 1)
    assert np.allclose(np.median(robust, axis=0), 0, atol=1e-5)
    assert (quantile >= 0).all() and (quantile <= 1).all()
    order = x.argsort(axis=0)
    rising = np.diff(np.take_along_axis(quantile, order, axis=0), axis=0)
    assert (rising >= -1e-12).all()


@pytest.mark.parametrize("value", [0.0, 0.1, -7.5, 1e-7, 123456.789, 1e12])
@pytest.mark.parametrize("name", SCALERS)
def test_a_constant_column_becomes_zero(name: str, value: float) -> None:
    """Except for the rounding error of a mean."""
    x = np.column_stack([np.full(37, value), np.arange(37.0)])
    scaler = SCALERS[name].fit(x)
    scaled = scaler.apply(x)
    assert np.abs(scaled[:, 0]).max() <= 1e-12 * max(1, abs(value))
    assert np.ptp(scaled[:, 1]) >= 1
    assert np.allclose(scaler.invert(scaled), x)
    other = scaler.apply(np.array([[value + 2.5, 0.0], [value - 2.5, 0.0]]))[:, 0]  # rows that are not constant
    assert np.allclose(other, [1, 0] if name == "quantile" else [2.5, -2.5])


@pytest.mark.parametrize("name", SCALERS)
def test_float32_is_computed_in_float64(name: str) -> None:
    """Every attribute and result equals that of the same numbers in float64."""
    x = np.random.default_rng(1).normal(1000, 1, (500, 3)).astype(np.float32)
    one, other = SCALERS[name].fit(x), SCALERS[name].fit(x.astype(np.float64))
    for f in dataclasses.fields(one):  # type: ignore[arg-type]
        assert getattr(one, f.name).dtype == np.float64
        assert np.allclose(getattr(one, f.name), getattr(other, f.name), rtol=1e-13)
    assert one.apply(x).dtype == np.float64
    assert np.allclose(one.apply(x), other.apply(x.astype(np.float64)), rtol=1e-9, atol=1e-9)


def test_standard_scaling_is_exact() -> None:
    """NumPy's own mean and deviation to the bit, when all rows fit in a block."""
    x = ROWS["digits"]
    found = Standard.fit(x)
    assert (found.mean == x.mean(axis=0)).all()
    assert (found.deviation == np.where(x.std(axis=0) > 0, x.std(axis=0), 1)).all()


def test_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows read in blocks give the same deviation."""
    x = ROWS["normal"]
    whole = Standard.fit(x).deviation
    monkeypatch.setattr(scaling, "BLOCK", 7 * 5)
    assert np.allclose(Standard.fit(x).deviation, whole, rtol=1e-13)


def test_number_of_quantiles_is_limited() -> None:
    assert Quantile.fit(np.arange(5000.0)[:, None]).quantiles.shape == (QUANTILES, 1) == (1000, 1)
    assert Quantile.fit(np.arange(8.0)[:, None]).quantiles.shape == (8, 1)
    assert Quantile.fit(np.array([[3.0]])).apply(np.array([[3.0]])).tolist() == [[0.0]]


@pytest.mark.parametrize("rows", ["normal", "ties", "digits", "diabetes"])
def test_quantiles_of_few_rows_are_the_rows(rows: str) -> None:
    """Equal to the bit, so that a value gets the middle of the ranks of its ties."""
    x = ROWS[rows][:1000]
    scaler = Quantile.fit(x)
    assert (scaler.quantiles == np.sort(x, axis=0)).all()
    column, found = x[:, 2], scaler.apply(x)[:, 2]
    for value in np.unique(column)[1:-1]:
        ranks = np.flatnonzero(np.sort(column) == value)
        assert np.allclose(found[column == value], ranks.mean() / (len(column) - 1))


def test_outliers_do_not_affect_robust_scaling() -> None:
    x = np.random.default_rng(0).normal(0, 1, (1000, 1))
    wild = x.copy()
    wild[:20] = 1e9
    calm, shaken = Robust.fit(x), Robust.fit(wild)
    assert np.allclose(calm.median, shaken.median, atol=0.1) and np.allclose(calm.spread, shaken.spread, rtol=0.1)


@pytest.mark.parametrize("name", SCALERS)
def test_scalers_are_frozen_and_hold_arrays_only(name: str) -> None:
    kind: Any = SCALERS[name]
    assert kind.__dataclass_params__.frozen and getattr(kind, "__final__", False)
    made = kind.fit(ROWS["normal"])
    assert all(isinstance(getattr(made, f.name), np.ndarray) for f in dataclasses.fields(kind))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, dataclasses.fields(kind)[0].name, 1)


def test_study_files_accept_every_scaler() -> None:
    from hpsearch.data.preprocessing import SCALES

    assert tuple(SCALES) == (*SCALERS, "none")

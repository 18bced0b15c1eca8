"""Formula source: values recomputed without noise, sizes, seeds and noise."""

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn import datasets

from hpsearch.data.sources import Split, Table
from hpsearch.data.sources.formula import CLOUDS, EXPERIMENTS, FormulaSource
from tests.hpsearch.data.sources.test_contract import check_contract

FORMULAS = (*EXPERIMENTS, *CLOUDS)


def formula(name: str, **settings: object) -> Table:
    return FormulaSource.model_validate({"name": name, **settings}).load()


def xy(table: Table, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of a fixed part, or those that are in no part."""
    if part in table.parts:
        rows = table.parts[part]  # type: ignore[index]
    else:
        rows = np.setdiff1d(np.arange(len(table.y)), np.concatenate(list(table.parts.values())))
    return table.x[rows], table.y[rows]


@pytest.mark.parametrize("name", FORMULAS)
def test_contract(name: str) -> None:
    table = formula(name)
    check_contract(table)
    assert table.features == (("x",) if name in ("curve", "overfit") else ("x", "y"))
    assert table.classes == {"curve": (), "overfit": (), "bank": ("0", "1", "2")}.get(name, ("0", "1"))
    fixed = {"overfit": {"train", "val", "test"}}.get(name, {"test"} if name in EXPERIMENTS else set())
    assert set(table.parts) == fixed
    assert table.split == (Split(train=0.9, val=0.1, test=0.0) if fixed == {"test"} else None)


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [("curve", 1000, 200), ("arc", 400, 100), ("bank", 1000, 500), ("overfit", 25, 100)],
)
def test_number_of_rows_of_the_experiments(name: str, train: int, test: int) -> None:
    """`rows` is the number of training rows, which may be odd."""
    assert len(xy(formula(name), "train")[0]) == train and len(xy(formula(name), "test")[0]) == test
    table = formula(name, rows=31)
    assert len(xy(table, "train")[0]) == 31 and len(xy(table, "test")[0]) == test
    check_contract(table)


@pytest.mark.parametrize("name", CLOUDS)
def test_number_of_rows_of_the_other_formulas(name: str) -> None:
    table = formula(name)
    assert len(table.y) == 1000 and abs(table.y.mean() - 0.5) < (0.1 if name == "xor" else 1e-9)
    assert [len(formula(name, rows=rows).y) for rows in (2, 33, 5000)] == [2, 33, 5000]


@pytest.mark.parametrize("name", sorted(set(FORMULAS) - {"overfit"}))
def test_seeds(name: str) -> None:
    settings = {} if name in EXPERIMENTS else {"noise": 0.1}
    one, again, other = (formula(name, seed=seed, **settings) for seed in (3, 3, 4))
    assert one.x.tobytes() == again.x.tobytes() and one.y.tobytes() == again.y.tobytes()
    assert one.x.tobytes() != other.x.tobytes()
    assert formula(name, **settings).x.tobytes() == formula(name, seed=0, **settings).x.tobytes()


def test_the_global_generator_is_not_used() -> None:
    np.random.seed(1)
    before = np.random.random()
    np.random.seed(1)
    for name in FORMULAS:
        formula(name)
    assert np.random.random() == before


def test_curve() -> None:
    """Values are computed by hand at 0, 1/2 and 1; the noise is uniform within ±.05 and independent of x."""
    x, y = xy(formula("curve"), "test")
    assert (x[:, 0] == np.arange(200) / 199).all() or np.allclose(x[:, 0], np.arange(200) / 199, rtol=1e-14)
    truth = np.polynomial.Polynomial([-0.3, 0, 0.4])(x[:, 0])
    truth += 0.3 * x[:, 0] * np.sin(15 * x[:, 0]) + 0.01 * np.cos(50 * x[:, 0])
    assert np.allclose(y, truth, atol=1e-14)
    assert y[0] == pytest.approx(-0.29) and y[-1] == pytest.approx(0.1 + 0.3 * 0.6502878402 + 0.01 * 0.9649660285)
    x, y = xy(formula("curve", rows=20_000), "train")
    assert x.min() >= 0 and x.max() <= 1 and abs(x.mean() - 0.5) < 0.01 and abs(x.std() - 12**-0.5) < 0.01
    noise = y - (0.4 * x**2 + 0.3 * x * np.sin(15 * x) + 0.01 * np.cos(50 * x) - 0.3)[:, 0]
    assert 0.0499 < np.abs(noise).max() <= 0.05 and abs(noise.std() - 0.1 * 12**-0.5) < 1e-3
    assert abs(np.corrcoef(noise, x[:, 0])[0, 1]) < 0.03


def test_overfit() -> None:
    """Test and validation rows are the same, without the fast sine; no value is random."""
    table = formula("overfit")
    assert (table.parts["val"] == table.parts["test"]).all()
    assert np.intersect1d(table.parts["train"], table.parts["test"]).size == 0
    x, y = xy(table, "train")
    assert np.allclose(x[:, 0], np.arange(25) * np.pi / 12)
    # sin and sin 5x at 0, π/12·6 = π/2: 1 and 1; at 3π/2: −1 and −1.
    assert np.allclose(y[[0, 6, 12, 18]], [0, 4 / np.pi * 1.2, 0, -4 / np.pi * 1.2])
    assert y[2] == pytest.approx(4 / np.pi * (0.5 + 0.5 / 5))  # sin 30° and sin 150°
    x, y = xy(table, "test")
    assert np.allclose(x[:, 0], np.arange(100) * 2 * np.pi / 99) and np.allclose(y, np.sin(x[:, 0]) * 1.2732395447)
    assert formula("overfit", seed=9).y.tobytes() == table.y.tobytes()


def test_arc() -> None:
    for part, count in (("train", 200), ("test", 50)):
        x, y = xy(formula("arc"), part)
        assert np.bincount(y).tolist() == [count, count]
        for label in (0, 1):
            points = x[y == label]
            assert np.allclose(points[:, 0], np.arange(count) * 3.14 / (count - 1))
            noise = points[:, 1] - np.sin(points[:, 0]) - 0.65 * label
            assert 0.1 < np.abs(noise).max() <= 0.125 and abs(noise.std() - 0.25 * 12**-0.5) < 0.015
    x, y = xy(formula("arc"), "train")
    assert not np.allclose(x[y == 0][:, 1] + 0.65, x[y == 1][:, 1])  # each has noise of its own


def test_bank() -> None:
    for part in ("train", "test"):
        x, y = xy(formula("bank"), part)
        assert np.abs(x).max() <= 0.5
        for (a, b), label in zip(x.tolist(), y.tolist(), strict=True):
            inner = -0.2 < a < 0.2 and -0.2 < b < 0.2
            assert label == (0 if inner else 1 if a * a + b * b < 0.2025 else 2)
    y = formula("bank", rows=40_000).y
    areas = [0.16, np.pi * 0.45**2 - 0.16, 1 - np.pi * 0.45**2]  # the square lies in the disc
    assert np.allclose(np.bincount(y) / len(y), areas, atol=0.01)


@pytest.mark.parametrize("rows", [10, 101])
def test_moons_and_circles_equal_those_of_scikit_learn(rows: int) -> None:
    for name, make in (
        ("moons", datasets.make_moons),
        ("circles", lambda *a, **k: datasets.make_circles(*a, factor=0.5, **k)),
    ):
        want, labels = make(rows, shuffle=False, noise=None)
        table = formula(name, rows=rows, noise=0.0)
        assert (table.y == labels).all() and np.allclose(table.x, want, atol=1e-15)


def test_spirals() -> None:
    """The angle is proportional to the radius; one arm is the other one rotated by half a turn."""
    table = formula("spirals", rows=400, noise=0.0)
    zero, one = (table.x[table.y == label] for label in (0, 1))
    assert np.allclose(zero, -one)
    radius = np.hypot(*zero.T)
    assert np.allclose(radius, np.arange(1, 201) / 200)
    turns = np.unwrap(np.arctan2(zero[:, 0], zero[:, 1]))
    assert np.allclose((turns - turns[0]) / (2 * np.pi), 1.75 * (radius - radius[0]))


def test_xor() -> None:
    table = formula("xor", rows=5000)
    assert np.abs(table.x).max() <= 1 and np.abs(table.x).max() > 0.99
    assert (table.y == (table.x[:, 0] * table.x[:, 1] < 0)).all()


@pytest.mark.parametrize(("name", "noise"), [("spirals", 0.02), ("circles", 0.1), ("moons", 0.1), ("xor", 0.0)])
def test_noise(name: str, noise: float) -> None:
    """Noise is normal with the given deviation in both directions; giving the default changes no bit."""
    quiet, loud = (formula(name, rows=4000, noise=n).x for n in (0.0, 0.3))
    for column in (loud - quiet).T:
        assert abs(column.std() - 0.3) < 0.02 and abs(column.mean()) < 0.03
        assert 0.65 < (np.abs(column) < 0.3).mean() < 0.72
    assert formula(name).x.tobytes() == formula(name, noise=noise).x.tobytes()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments_reject_a_noise_setting(name: str) -> None:
    with pytest.raises(ValidationError, match=f"noise: the noise of {name} is part of its formula"):
        formula(name, noise=0.1)


def test_formulas_know_their_noise() -> None:
    """The curve: σ² of U(−.05, .05) over the variance of the targets; xor: 2·P(flip)·(1 − P(flip)) of two signs."""
    curve = FormulaSource(name="curve")
    assert curve.base_error() == pytest.approx(0.0204, abs=2e-3)
    assert all(FormulaSource.model_validate({"name": name}).base_error() == 0 for name in ("arc", "bank", "xor"))
    flip = 0.2 / np.sqrt(2 * np.pi)  # ∫ Φ(−x/σ) dx over [0, 1], for σ far below 1
    noisy = FormulaSource(name="xor", noise=0.2).base_error()
    assert noisy == pytest.approx(2 * flip * (1 - flip), abs=0.01)
    assert FormulaSource(name="moons").base_error() < 0.005

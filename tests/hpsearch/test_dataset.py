"""Rows: split in proportion and complete, scaled by what the training rows say, known by their fingerprint."""

from pathlib import Path

import numpy as np
import pytest
from cases import small
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.losses import Logistic, SoftmaxCrossEntropy, SquaredError
from hpsearch.dataset import fingerprint, prepare, split
from hpsearch.errors import DataError
from hpsearch.sources import SOURCES, Source, Split, Table
from hpsearch.sources.sklearn import SklearnSource

PARTS = ("train", "val", "test")


def source(name: str, **settings: object) -> Source:
    return SklearnSource.model_validate({"name": name, **settings})


def table(labels: list[int]) -> Table:
    y = np.array(labels, np.int64)
    x = np.arange(len(y) * 2, dtype=np.float64).reshape(-1, 2)
    return Table(x, y, ("a", "b"), tuple(f"class {k}" for k in range(max(labels) + 1)))


FRACTIONS = st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(0, 8)).map(
    lambda f: Split(train=f[0] / sum(f), val=f[1] / sum(f), test=f[2] / sum(f))
)


@settings(max_examples=60)
@given(st.lists(st.integers(5, 60), min_size=2, max_size=4), FRACTIONS, st.integers(0, 2**64 - 1))
def test_split(counts: list[int], fractions: Split, seed: int) -> None:
    """Every row in one part, parts of the size asked for, every class in proportion to within a row or two."""
    rows = table([k for k, count in enumerate(counts) for _ in range(count)])
    try:
        parts = split(rows, fractions, seed)
    except DataError as error:
        assert "data.split" in str(error)
        return
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(rows.y)))
    for part in PARTS:
        share = getattr(fractions, part)
        assert abs(len(parts[part]) - share * len(rows.y)) <= 1
        for k, count in enumerate(counts):
            assert abs((rows.y[parts[part]] == k).sum() - share * count) < 2
    assert all((parts[p] == again).all() for p, again in split(rows, fractions, seed).items())


def test_split_by_hand() -> None:
    """60, 20 and 20 % of 50, 30 and 20 rows."""
    rows = table([0] * 50 + [1] * 30 + [2] * 20)
    parts = split(rows, Split(train=0.6, val=0.2, test=0.2), 5)
    found = [np.bincount(rows.y[parts[p]]).tolist() for p in PARTS]
    assert found == [[30, 18, 12], [10, 6, 4], [10, 6, 4]]


def test_split_depends_on_the_seed_and_mixes_classes() -> None:
    rows = table([0] * 50 + [1] * 50)
    one, other = split(rows, Split(), 1), split(rows, Split(), 2)
    assert any((one[p] != other[p]).any() for p in PARTS)
    labels = rows.y[one["train"]]
    assert 10 < (labels[1:] != labels[:-1]).sum() < 50  # neither in blocks nor in turns


def test_split_of_a_regression() -> None:
    values = np.linspace(0, 1, 50)
    parts = split(Table(values[:, None], values, ("x",), ()), Split(train=0.5, val=0.5, test=0.0), 3)
    assert [len(parts[p]) for p in PARTS] == [25, 25, 0]
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(50))
    assert (np.diff(parts["train"]) < 0).any()


def test_split_that_leaves_a_part_empty() -> None:
    with pytest.raises(DataError, match="leave none for val"):
        split(table([0, 1, 0]), Split(train=0.9, val=0.05, test=0.05), 0)


def test_scaling_is_of_the_training_rows(tmp_path: Path) -> None:
    """Mean 0 and deviation 1 there; val and test by the same numbers, so not exactly."""
    dataset, scaling = prepare(source("wine"), 1, tmp_path)
    train, val, test = (dataset.part(p) for p in PARTS)
    assert train is not None and val is not None and test is not None
    assert np.allclose(train.x.mean(axis=0), 0, atol=1e-5) and np.allclose(train.x.std(axis=0), 1, atol=1e-4)
    assert not np.allclose(val.x.mean(axis=0), 0, atol=1e-3)
    assert scaling.x is not None and scaling.y is None
    rows = source("wine").load()
    want = scaling.x.apply(rows.x).astype(np.float32)
    found = np.concatenate([train.x, val.x, test.x])
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, want.tolist()))


def test_unscaled(tmp_path: Path) -> None:
    dataset, scaling = prepare(source("iris", scale="none"), 1, tmp_path)
    assert scaling.x is None
    parts = [dataset.part(p) for p in PARTS]
    found = np.concatenate([rows.x for rows in parts if rows])
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, source("iris").load().x.astype(np.float32).tolist()))


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "loss", "rows"),
    [
        ("digits", 64, 10, SoftmaxCrossEntropy(), 1797),
        ("iris", 4, 3, SoftmaxCrossEntropy(), 150),
        ("wine", 13, 3, SoftmaxCrossEntropy(), 178),
        ("breast_cancer", 30, 1, Logistic(), 569),
        ("diabetes", 10, 1, SquaredError(), 442),
    ],
)
def test_bundled_data(name: str, inputs: int, outputs: int, loss: object, rows: int, tmp_path: Path) -> None:
    dataset, scaling = prepare(source(name), 1, tmp_path)
    assert (dataset.inputs, dataset.outputs, dataset.loss) == (inputs, outputs, loss)
    assert sum(dict(dataset.rows).values()) == rows
    assert len(dataset.classes) == {"diabetes": 0, "breast_cancer": 2, "digits": 10}.get(name, 3)
    for part in PARTS:
        found = dataset.part(part)
        assert found is not None and found.x.shape == (dict(dataset.rows)[part], inputs)
        assert found.x.dtype == found.y.dtype == np.float32
        assert found.y.shape == (len(found.x), outputs)
    if name == "diabetes":  # targets are scaled, so that losses do not depend on their unit
        train = dataset.part("train")
        assert train is not None and scaling.y is not None
        assert np.isclose(train.y.mean(), 0, atol=1e-5) and np.isclose(train.y.std(), 1, atol=1e-4)
        y = source("diabetes").load().y
        parts = split(source("diabetes").load(), Split(), 0)
        assert np.allclose(scaling.y.invert(scaling.y.apply(y[parts["val"]][:, None]))[:, 0], y[parts["val"]])


def test_no_test_rows(tmp_path: Path) -> None:
    dataset, _ = prepare(source("iris", split={"train": 0.5, "val": 0.5, "test": 0.0}), 1, tmp_path)
    assert dataset.part("test") is None


@pytest.mark.parametrize("where", ["x", "y", "dtype", "shape"])
def test_fingerprint(where: str) -> None:
    """Of every value, and of how they are laid out."""
    one, other = table([0, 1, 1]), table([0, 1, 1])
    assert fingerprint(one) == fingerprint(other)
    if where == "x":
        other.x[2, 1] = np.nextafter(other.x[2, 1], 9)
    elif where == "y":
        other.y[1] = 0
    elif where == "dtype":
        other = Table(other.x, other.y.astype(np.float64), other.features, other.classes)
    else:
        other = Table(other.x.reshape(2, 3), other.y, other.features, other.classes)
    assert fingerprint(one) != fingerprint(other)


def test_fingerprint_does_not_depend_on_seed_or_memory(tmp_path: Path) -> None:
    assert prepare(source("iris"), 1, tmp_path)[0].fingerprint == prepare(source("iris"), 2, tmp_path)[0].fingerprint
    rows = table([0, 1, 1])
    turned = Table(np.asfortranarray(rows.x), rows.y, rows.features, rows.classes)
    assert fingerprint(rows) == fingerprint(turned)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none(value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table([0, 1] * 20)
    rows.x[3, 1] = value
    monkeypatch.setattr(SklearnSource, "load", lambda self: rows)
    with pytest.raises(DataError, match="NaN or infinite"):
        prepare(source("iris"), 1, tmp_path)


@pytest.mark.parametrize("name", SOURCES)
def test_sources_keep_the_contract(name: str) -> None:
    """What every source of the menu says of its rows; the default settings of a study file are enough."""
    if name != "sklearn":
        pytest.skip("needs settings of its own")
    made = small().data
    rows = made.load()
    assert made.source == name
    assert rows.x.dtype == np.float64 and rows.x.ndim == 2 and rows.y.shape == (len(rows.x),)
    assert len(rows.features) == rows.x.shape[1]
    assert set(np.unique(rows.y).tolist()) == set(range(len(rows.classes)))

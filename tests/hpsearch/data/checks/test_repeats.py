"""Repeated rows: hashes, rows of a part that are trained, and the error that equal inputs leave."""

import numpy as np
import pytest

from hpsearch.data.checks.repeats import noise_floor, repeated_rows, row_keys

RNG = np.random.default_rng(1)


def keys(*arrays: np.ndarray) -> np.ndarray:
    found = row_keys(*arrays)
    assert found is not None
    return found


def test_equal_rows_have_equal_keys_and_others_do_not() -> None:
    x = RNG.normal(size=(5000, 4)).astype(np.float32)
    x[10] = x[20]
    x[30], x[31] = 0.0, -0.0
    found = keys(x)
    assert found[10] == found[20] and found[30] == found[31] and len(np.unique(found)) == 4998
    y = np.zeros((5000, 1))
    y[20] = 1
    assert keys(x, y)[10] != keys(x, y)[20]
    assert row_keys(np.zeros((3, 0))) is None


def test_small_whole_numbers_do_not_collide() -> None:
    x = np.stack(np.meshgrid(*[np.arange(12.0)] * 3), -1).reshape(-1, 3)
    assert len(np.unique(keys(x))) == 12**3


def test_repeated_rows_beyond_the_usual() -> None:
    train = RNG.normal(size=(400, 3))
    part = np.concatenate([train[:40], RNG.normal(size=(160, 3))])
    found = repeated_rows("test", keys(train), keys(part))
    assert (found.rows, found.repeated, found.usual, found.share) == (200, 40, 0.0, 0.2) and found.notable
    coarse = RNG.integers(0, 3, (600, 3)).astype(float)  # a table whose rows repeat anyway
    assert not repeated_rows("val", keys(coarse[:400]), keys(coarse[400:])).notable
    assert not repeated_rows("val", keys(train), keys(RNG.normal(size=(50, 3)))).notable


def test_the_noise_floor_by_hand() -> None:
    """Inputs a, a, a, b, b, c: labels 0 0 1, 1 0, 1, so two rows are wrong; values vary around 1, 2 and 3."""
    x = np.array([0, 0, 0, 1, 1, 2.0])[:, None]
    labels = np.array([0, 0, 1, 1, 0, 1.0])[:, None]
    assert noise_floor(keys(x), labels, classes=True) == pytest.approx(2 / 6)
    one_hot = np.eye(3)[[0, 0, 2, 2, 0, 2]]
    assert noise_floor(keys(x), one_hot, classes=True) == pytest.approx(2 / 6)
    y = np.array([0, 1, 2, 1, 3, 3.0])[:, None]
    assert noise_floor(keys(x), y, classes=False) == pytest.approx((2 + 2) / np.square(y - y.mean()).sum())
    assert noise_floor(keys(np.arange(6.0)[:, None]), labels, classes=True) == 0

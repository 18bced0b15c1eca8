"""Label leaks: columns that predict the target alone are found, good ordinary columns are not."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

from hpsearch.data.checks.leaks import find_leaks

RNG = np.random.default_rng(2)


def found(x: np.ndarray, y: np.ndarray, *, classes: bool) -> list[str]:
    order = RNG.permutation(len(x))
    first, second = order[: 2 * len(x) // 3], order[2 * len(x) // 3 :]
    names = [f"c{k}" for k in range(x.shape[1])]
    return [leak.column for leak in find_leaks((x[first], y[first]), (x[second], y[second]), names, classes=classes)]


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer, load_digits])
def test_ordinary_columns_are_no_leaks(load: object) -> None:
    data = load()  # type: ignore[operator]
    y = np.eye(int(data.target.max()) + 1)[data.target]
    assert found(data.data, y, classes=True) == []


def test_a_copy_of_the_target_is_a_leak() -> None:
    x, y = RNG.normal(size=(300, 4)), RNG.integers(0, 2, 300)
    x[:, 2] = 5.0 - 3 * y
    assert found(x, y[:, None].astype(float), classes=True) == ["c2"]
    codes = RNG.integers(0, 4, 300)
    x[:, 1] = np.array([7.0, 1.0, 3.0, 2.0])[codes]  # not in the order of the classes
    assert found(x, np.eye(4)[codes], classes=True) == ["c1"]


def test_a_function_of_the_target_is_a_leak_of_a_regression() -> None:
    x = RNG.normal(size=(400, 3))
    y = x[:, 0] + 0.5 * RNG.normal(size=400)
    assert found(x, y[:, None], classes=False) == []
    x[:, 2] = 3 * y + 0.01 * RNG.normal(size=400)
    assert found(x, y[:, None], classes=False) == ["c2"]


def test_a_single_column_is_no_leak() -> None:
    x = RNG.normal(size=(100, 1))
    assert found(x, 2 * x, classes=False) == []

"""Data sets bundled with scikit-learn."""

import numpy as np
import pytest
from sklearn import datasets

from hpsearch.data.sources.sklearn import SklearnSource
from tests.hpsearch.data.sources.test_contract import check_contract


@pytest.mark.parametrize("name", ["digits", "iris", "wine", "breast_cancer", "diabetes"])
def test_rows_are_those_of_scikit_learn(name: str) -> None:
    found = SklearnSource.model_validate({"name": name}).load()
    bunch = getattr(datasets, f"load_{name}")()
    check_contract(found)
    assert np.array_equal(found.x, bunch.data) and np.array_equal(found.y, bunch.target)
    assert found.features == tuple(map(str, bunch.feature_names)) and (found.classes == ()) == (name == "diabetes")
    assert not found.parts and found.split is None

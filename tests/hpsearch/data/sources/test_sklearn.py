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
    if name != "diabetes":
        assert found.classes == tuple(map(str, bunch.target_names))


@pytest.mark.parametrize("name", ["digits", "iris", "wine", "breast_cancer"])
def test_scikit_learn_is_not_imported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing it takes longer than all else before the first trial; without its file, it loads the data."""
    monkeypatch.setattr(datasets, f"load_{name}", refused)
    source = SklearnSource.model_validate({"name": name})
    source.load()
    monkeypatch.setattr("hpsearch.data.sources.sklearn._FILES", {})
    with pytest.raises(AssertionError, match="loaded by scikit-learn"):
        source.load()


def refused() -> None:
    raise AssertionError("loaded by scikit-learn")

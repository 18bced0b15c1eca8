"""Estimators stored without pickle: equal bytes, the list of trusted types, and damaged content."""

import functools
import io
import os
import sys
import types
import zipfile
import zlib
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from hpsearch.errors import DataError
from hpsearch.training.objectives.stored_estimator import (
    TRUST_VARIABLE,
    check_estimator_types,
    dump_estimator,
    estimator_outputs,
    load_estimator,
)

RANDOM = np.random.default_rng(4)
X = RANDOM.normal(size=(60, 3)).astype(np.float32)
Y = (X.sum(axis=1) > 0).astype(int)
KINDS: list[Any] = [
    HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=3, random_state=1),
    ExtraTreesClassifier(3, random_state=1),
    LogisticRegression(),
    KNeighborsClassifier(),
    SVC(),
    DecisionTreeClassifier(random_state=2),
]


@pytest.mark.parametrize("estimator", KINDS, ids=lambda e: type(e).__name__)
def test_equal_estimators_have_equal_bytes(estimator: Any) -> None:
    content = dump_estimator(estimator.fit(X, Y))
    again = load_estimator(content)
    assert dump_estimator(estimator.fit(X, Y)) == dump_estimator(again) == content
    assert (estimator_outputs(again, X, 2) == estimator_outputs(estimator, X, 2)).all()


def test_outputs_have_the_form_of_a_network() -> None:
    three = np.arange(60) % 3
    assert estimator_outputs(DecisionTreeClassifier().fit(X, three), X, 3).tolist() == np.eye(3)[three].tolist()
    seen = three.copy()
    seen[seen == 1] = 0
    outputs = estimator_outputs(DecisionTreeClassifier().fit(X, seen), X, 3)
    assert (outputs[:, 1] == 0).all() and (outputs.argmax(axis=1) == seen).all()
    assert estimator_outputs(SVC().fit(X, Y), X, 2).shape == (60, 1)  # without probabilities
    with pytest.raises(ValueError, match="must be a value for each"):
        estimator_outputs(types.SimpleNamespace(predict=lambda x: np.zeros((len(x), 2))), X, 0)


class Own(BaseEstimator):  # type: ignore[misc]
    """An estimator of a package that is not on the list."""


@pytest.fixture
def own_package(monkeypatch: pytest.MonkeyPatch) -> str:
    module = types.ModuleType("own_package")
    module.Own = Own  # type: ignore[attr-defined]
    monkeypatch.setattr(Own, "__module__", "own_package")
    monkeypatch.setitem(sys.modules, "own_package", module)
    return "own_package"


def test_types_that_are_not_on_the_list_are_named(own_package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = dump_estimator(Own())
    for read in (load_estimator, check_estimator_types):
        with pytest.raises(DataError, match=r"trusted types: own_package.Own; .* load it with HPSEARCH_TRUST=own_pack"):
            read(content)
    assert isinstance(load_estimator(content, [own_package]), Own)
    monkeypatch.setenv(TRUST_VARIABLE, "other,own_package")
    assert isinstance(load_estimator(content), Own)
    monkeypatch.setenv(TRUST_VARIABLE, "own_package.Own")
    assert isinstance(load_estimator(content), Own)


@pytest.mark.parametrize("call", [os.system, functools.partial(os.system, "true"), eval, zlib.compress])
def test_functions_of_other_packages_are_not_loaded(call: Any) -> None:
    content = dump_estimator(FunctionTransformer(call))
    with pytest.raises(DataError, match=r"not on the list of trusted types|cannot be"):
        load_estimator(content)


def test_functions_of_a_trusted_package_are_not_loaded() -> None:
    from sklearn.datasets import load_svmlight_file

    content = dump_estimator(FunctionTransformer(load_svmlight_file))
    with pytest.raises(DataError, match="load_svmlight_file"):
        load_estimator(content)


def test_what_cannot_be_stored() -> None:
    estimator = FunctionTransformer()
    estimator.itself = estimator
    with pytest.raises(DataError, match="FunctionTransformer cannot be stored without pickle"):
        dump_estimator(estimator)


def test_damaged_content_is_an_error_in_one_line() -> None:
    content = dump_estimator(LogisticRegression().fit(X, Y))
    plain = bytearray(zlib.decompress(content))
    damaged = [b"", b"PK", content[:-9], zlib.compress(b"nothing")]
    for place in RANDOM.integers(0, len(plain), 40):
        changed = bytearray(plain)
        changed[place] ^= 0xFF
        damaged.append(zlib.compress(bytes(changed)))
    refused = 0
    for broken in damaged:
        try:
            load_estimator(broken)
        except DataError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 30  # bytes of a file's header that are read nowhere may change


def test_content_that_unpacks_to_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", "{}")
    with pytest.raises(DataError, match="another form"):
        load_estimator(zlib.compress(file.getvalue()))
    monkeypatch.setattr("hpsearch.training.objectives.stored_estimator.MAX_UNPACKED", 1000)
    with pytest.raises(DataError, match="too many bytes"):
        load_estimator(zlib.compress(bytes(10**6)))

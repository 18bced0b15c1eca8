"""Evidence of a champion: computed with its diagnostics, stored with them, and checked when it is read."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fold_cases import FOLDS, VALUES

from hpsearch.data.checks.drift import ColumnShift, Drift
from hpsearch.data.checks.leaks import Leak
from hpsearch.models.diagnostics import Diagnostics
from hpsearch.models.evidence import Evidence
from tests.hpsearch.models.test_diagnostics import seen


@pytest.mark.parametrize("changes", [{}, FOLDS, VALUES], ids=["classes", "folds", "folds of values"])
def test_evidence_is_stored_with_diagnostics(tmp_path: Path, changes: dict[str, Any]) -> None:
    found, _, _, made, result = seen(tmp_path, **changes)
    assert found.evidence is not None and result.weights is not None
    shifts = [ColumnShift("a=b", 0.5, 0.1, 0.3, True)]
    more = found.evidence._replace(leaks=[Leak("a", 0.0)], drift=[Drift("val", 0.8, 0.7, 0.9, shifts)])
    stored = found._replace(evidence=more).to_bytes()
    assert Evidence.from_diagnostics(stored) == more
    assert (again := Diagnostics.from_bytes(stored)) is not None and again.evidence == more
    dataset, rows = made[0], dict(made[0].rows)
    errors = found.evidence.errors
    assert errors["test"].rows == rows["test"] and errors["val"].rows == rows["val"] * dataset.folds
    assert errors["train"].rows == rows["train"] + (rows["val"] if dataset.folds > 1 else 0)
    assert (errors["val"].deviation is None) == bool(dataset.classes) == (not found.evidence.regression)
    assert found.evidence.parameters == len(np.frombuffer(result.weights, np.float32)) / dataset.folds


def test_the_deviation_of_a_regression_is_that_of_its_squares(tmp_path: Path) -> None:
    """Its standard error is that of the mean of (p − y)² over the variance of y; targets are in their units."""
    found, scores, *_ = seen(tmp_path, data={"source": "sklearn", "name": "diabetes"}, metric={"name": "val/rmse"})
    assert found.evidence is not None and found.test is not None
    y, p = np.array(found.test.targets), np.array(found.test.predicted)
    shares = np.square(p - y) / y.var()
    assert shares.mean() == pytest.approx(1 - scores["test/r2"], rel=1e-4)
    assert found.evidence.errors["test"].deviation == pytest.approx(shares.std(), rel=1e-4)


def test_evidence_out_of_range_is_not_used() -> None:
    def stored(**changes: Any) -> bytes:
        return zlib.compress(
            json.dumps({"evidence": {"errors": {"val": {"rows": 5, "deviation": None}}, **changes}}).encode()
        )

    assert Evidence.from_diagnostics(stored()) is not None
    for changes in ({"noise": 2.0}, {"errors": {"val": {"rows": 0, "deviation": None}}}, {"parameters": -1}):
        assert Evidence.from_diagnostics(stored(**changes)) is None
    assert Evidence.from_diagnostics(zlib.compress(b"{}")) is None is Evidence.from_diagnostics(None)
    assert Evidence.from_diagnostics(b"broken") is None and Evidence.from_diagnostics(stored(layers=7)) is None

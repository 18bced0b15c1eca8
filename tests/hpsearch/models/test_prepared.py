"""Prepared data: stored with a study, they make the same model without the training data."""

from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
from fold_cases import FOLDS, POINT, VALUES, WAYS, model, one, prepared

from hpsearch.errors import DataError
from hpsearch.models.export import build_model
from hpsearch.models.prepared import PreparedData
from hpsearch.storage.records import Trial


@pytest.mark.parametrize("content", [FOLDS, WAYS, VALUES], ids=["folds", "ways", "values"])
def test_stored_data_make_the_same_model(content: dict[str, Any], tmp_path: Path) -> None:
    """The model made from the stored bytes, without the data, predicts the same bits."""
    spec = cases.small(**content)
    made = prepared(spec, tmp_path)
    point = {**POINT, **({"scaling": "none"} if made[0].choices else {})}
    result = one(spec, made[0], point)
    stored = [PreparedData.from_bytes(b.to_bytes()) for b in PreparedData.of_variants(*made)]
    kept = PreparedData.at(stored, spec, point)
    assert result.weights is not None
    record = Trial("a", 0, {}, point, "complete")
    again = build_model(spec, kept.dataset, kept.folds, record, result.weights)
    x = np.asarray(spec.data.load().x)
    assert again.scores(x).tobytes() == model(spec, made, result, point).scores(x).tobytes()
    with pytest.raises(DataError, match="the stored preprocessing cannot be read"):
        PreparedData.from_bytes(stored[0].to_bytes()[:200])

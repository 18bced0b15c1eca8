"""Predictors from the content of a model folder, which may come from anywhere."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from hpsearch.models.content import MAX_ROW, restored_network
from hpsearch.models.predictors.base import Predictor
from hpsearch.models.predictors.estimator import EstimatorPredictor
from hpsearch.models.predictors.network import NetworkPredictor


def restored_predictor(
    content: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]], folds: int, classes: Sequence[str]
) -> Predictor:
    """Return the predictor of a model from its content, whose types are checked, and its arrays.

    Raises:
        ValueError: the network fits neither its weights nor the classes, or the estimator of a fold is missing.
    """
    described = content.get("estimator")
    if (described is None) == ("network" not in content):
        raise ValueError("must have either a network or an estimator")
    if described is None:
        network = restored_network(content["network"], arrays.get("theta"), folds, classes)
        return NetworkPredictor(network, arrays["theta"])
    inputs = tuple(described["inputs"])
    if prod(inputs) > MAX_ROW:
        raise ValueError(f"estimator: a row must have at most {MAX_ROW:,} numbers")
    stored = []
    for fold in range(folds):
        array = arrays.get(f"estimator{fold}")
        if array is None or array.dtype != np.uint8 or array.ndim != 1:
            raise ValueError(f"array 'estimator{fold}' must hold the bytes of an estimator")
        stored.append(array.tobytes())
    return EstimatorPredictor(described["name"], tuple(stored), inputs, len(classes))

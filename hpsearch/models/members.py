"""The members of a model: what predicts, with its preprocessing; the predictions are averaged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from engine.network import Network
from engine.types import Floats
from hpsearch.data.frame import Frame
from hpsearch.data.preprocessing import Preprocessing
from hpsearch.errors import OutputError
from hpsearch.models.predictors.base import Predictor
from hpsearch.models.predictors.estimator import EstimatorPredictor
from hpsearch.models.predictors.network import NetworkPredictor


@final
@dataclass(frozen=True, eq=False)
class Member:
    """A trained network or estimator; in a cross-validation, one per fold, whose outputs are averaged.

    Attributes:
        preprocessing: the preprocessing of each fold.
        count: how often it counts in an ensemble.
    """

    predictor: Predictor
    preprocessing: tuple[Preprocessing, ...]
    count: int = 1

    @property
    def network(self) -> Network:
        """The network; raises like `weights_of`."""
        return weights_of(self.predictor).network

    @property
    def theta(self) -> Floats:
        """The network's weights, `(folds, parameters)`; raises like `weights_of`."""
        return weights_of(self.predictor).theta

    def outputs(self, raw: Floats | Frame) -> Floats:
        """Return probabilities, or values in the units of the target, `(rows, outputs)`."""
        folds: list[Floats] = []
        for number, preprocessing in enumerate(self.preprocessing):
            inputs = preprocessing.inputs(raw, self.predictor.inputs)
            outputs = self.predictor.outputs(number, inputs)
            if preprocessing.target_scaler is not None:
                outputs = preprocessing.target_scaler.invert(outputs.astype(np.float64))
            folds.append(outputs)
        if len(folds) == 1:
            return folds[0]
        mean: Floats = np.stack(folds).mean(axis=0, dtype=np.float64).astype(folds[0].dtype)
        return mean


def weights_of(predictor: Predictor) -> NetworkPredictor:
    """Return the networks of a model.

    Raises:
        OutputError: it has none.
    """
    if isinstance(predictor, NetworkPredictor):
        return predictor
    name = f" {predictor.name}" if isinstance(predictor, EstimatorPredictor) else ""
    raise OutputError(f"the model is the estimator{name}, and only networks of the engine can be written as ONNX")


def weighted_mean(outputs: Sequence[Floats], counts: Sequence[int]) -> Floats:
    """Return the mean of the outputs of members, each counted as often as it was selected, in their dtype."""
    if len(outputs) == 1:
        return outputs[0]
    total: Floats = np.zeros_like(outputs[0], np.float64)
    for count, array in zip(counts, outputs, strict=True):
        total += count * array.astype(np.float64)
    mean: Floats = (total / sum(counts)).astype(outputs[0].dtype)
    return mean

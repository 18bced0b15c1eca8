"""The members of a model: trained networks with their preprocessing, whose predictions are averaged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from engine.network import Network
from engine.types import Floats
from hpsearch.data.frame import Frame
from hpsearch.data.preprocessing import Preprocessing


@final
@dataclass(frozen=True, eq=False)
class Member:
    """A trained network; in a cross-validation, one per fold, whose outputs are averaged.

    Attributes:
        theta: `(folds, parameters)`.
        preprocessing: the preprocessing of each fold.
        count: how often it counts in an ensemble.
    """

    network: Network
    theta: Floats
    preprocessing: tuple[Preprocessing, ...]
    count: int = 1

    def outputs(self, raw: Floats | Frame) -> Floats:
        """Return the network's probabilities, or values in the units of the target, `(rows, outputs)`."""
        folds = []
        for theta, preprocessing in zip(self.theta, self.preprocessing, strict=True):
            inputs = preprocessing.inputs(raw, self.network.inputs)
            outputs = self.network.predict(theta[None], inputs)[0]
            if preprocessing.target_scaler is not None:
                outputs = preprocessing.target_scaler.invert(outputs.astype(np.float64))
            folds.append(outputs)
        return folds[0] if len(folds) == 1 else np.mean(folds, axis=0, dtype=np.float64).astype(folds[0].dtype)


def weighted_mean(outputs: Sequence[Floats], counts: Sequence[int]) -> Floats:
    """Return the mean of the outputs of members, each counted as often as it was selected, in their dtype."""
    if len(outputs) == 1:
        return outputs[0]
    total: Floats = np.zeros_like(outputs[0], np.float64)
    for count, array in zip(counts, outputs, strict=True):
        total += count * array.astype(np.float64)
    mean: Floats = (total / sum(counts)).astype(outputs[0].dtype)
    return mean

"""Scaling of inputs, fitted on the training rows alone."""

from dataclasses import dataclass
from typing import Self, final

import numpy as np

from engine.types import Floats


@final
@dataclass(frozen=True, eq=False)
class Standard:
    """(x − mean) / standard deviation, by column; a constant column becomes zero.

    Attributes:
        mean, deviation: `(features,)`, float64.
    """

    mean: Floats
    deviation: Floats

    @classmethod
    def fit(cls, x: Floats) -> Self:
        """From training rows `(rows, features)`."""
        mean, deviation = x.mean(axis=0), x.std(axis=0)
        return cls(mean, np.where(deviation > 1e-12 * np.maximum(1, abs(mean)), deviation, 1.0))

    def apply(self, x: Floats) -> Floats:
        """`(rows, features)`, in the dtype of mean and deviation."""
        return np.asarray((x - self.mean) / self.deviation)

    def invert(self, x: Floats) -> Floats:
        """What `apply` was given."""
        return np.asarray(x * self.deviation + self.mean)

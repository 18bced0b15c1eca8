"""Data sets bundled with scikit-learn."""

from typing import Literal, final

import numpy as np
from pydantic import Field

from hpsearch.data.sources.base import Source, Table


@final
class SklearnSource(Source):
    """`{source: sklearn, name: digits}`."""

    source: Literal["sklearn"] = Field("sklearn", description="Source.")
    name: Literal["digits", "iris", "wine", "breast_cancer", "diabetes"] = Field(description="Data set.")

    def load(self) -> Table:
        from sklearn import datasets

        bunch = getattr(datasets, f"load_{self.name}")()
        classes = tuple(str(name) for name in bunch.get("target_names", ()))
        return Table(
            x=np.asarray(bunch.data, np.float64),
            y=np.asarray(bunch.target, np.int64) if classes else np.asarray(bunch.target, np.float64),
            features=tuple(str(name) for name in bunch.feature_names),
            classes=classes,
        )

"""The base of predictors: what a model computes from prepared rows."""

from typing import Any, Protocol

import numpy.typing as npt

from engine.data.rows import Rows
from engine.types import Floats, Shape


class Predictor(Protocol):
    """Predicts prepared rows; in a cross-validation, each fold predicts alone."""

    @property
    def inputs(self) -> Shape:
        """The shape of a prepared row."""
        ...

    @property
    def folds(self) -> int:
        """The number of folds."""
        ...

    def outputs(self, fold: int, inputs: Floats) -> Floats:
        """Return probabilities or standardized values of rows `(rows, *inputs)`, `(rows, outputs)`.

        Raises:
            DataError: the predictor cannot be loaded.
        """
        ...

    def part_outputs(self, rows: Rows, *, by_row: bool = True) -> Floats:
        """Return the outputs of each fold for its own rows, `(folds, rows, outputs)`.

        Args:
            by_row: compute each row as in `outputs`, to the bit.
        """
        ...

    def check(self) -> None:
        """Check that it can predict, which may load it; raises like `outputs`."""
        ...

    def describe(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Return JSON content and arrays, from which the predictor is restored."""
        ...

"""Estimators in a model. They are loaded when they predict first, because only types on a list are loaded."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, final

import numpy as np
import numpy.typing as npt

from engine.data.rows import Rows
from engine.types import Floats, Shape
from hpsearch.core.text import first_line, printable
from hpsearch.errors import DataError
from hpsearch.training.objectives.stored_estimator import estimator_outputs, load_estimator


@final
@dataclass(frozen=True, eq=False)
class EstimatorPredictor:
    """Fitted estimators of one class.

    Attributes:
        name: the class, as in the study file.
        stored: the estimator of each fold, from `dump_estimator`.
        inputs: shape of a prepared row; estimators take it flat.
        classes: number of classes; 0 for a regression.
        trusted: packages or types that are loaded besides those on the list.
    """

    name: str
    stored: tuple[bytes, ...]
    inputs: Shape
    classes: int
    trusted: tuple[str, ...] = ()

    @property
    def folds(self) -> int:
        return len(self.stored)

    @cached_property
    def estimators(self) -> tuple[Any, ...]:
        """The estimator of each fold, loaded.

        Raises:
            DataError: one is damaged, or holds a type that is not on the list.
        """
        return tuple(load_estimator(content, self.trusted) for content in self.stored)

    def outputs(self, fold: int, inputs: Floats) -> Floats:
        estimator = self.estimators[fold]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return estimator_outputs(estimator, inputs.reshape(len(inputs), prod(self.inputs)), self.classes)
        except Exception as error:
            raise DataError(f"{self.name} cannot predict: {printable(first_line(error))}") from None

    def part_outputs(self, rows: Rows, *, by_row: bool = True) -> Floats:
        return np.stack([self.outputs(fold, rows.of(fold).x) for fold in range(self.folds)])

    def check(self) -> None:
        """Load the estimators; raises like `estimators`."""
        assert self.estimators

    def describe(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        arrays = {f"estimator{fold}": np.frombuffer(content, np.uint8) for fold, content in enumerate(self.stored)}
        return {"estimator": {"name": self.name, "inputs": list(self.inputs)}}, dict(arrays)

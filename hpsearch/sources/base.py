"""What a source of data is: a part of the study file that can load itself."""

import abc
from dataclasses import dataclass
from typing import Annotated, Literal, Self, final

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from hpsearch.section import Section


@final
@dataclass(frozen=True, eq=False)
class Table:
    """Rows as they come.

    Attributes:
        x: `(rows, features)`, float64.
        y: `(rows,)`: class numbers 0…k−1 (int64) for a classification, values (float64) for a regression.
        features: a name for each column.
        classes: a name for each class; empty for a regression.
    """

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.int64] | npt.NDArray[np.float64]
    features: tuple[str, ...]
    classes: tuple[str, ...]


@final
class Split(Section):
    """Fractions of the rows; `test` may be 0."""

    train: Annotated[float, Field(gt=0, lt=1, description="fraction to learn from")] = 0.6
    val: Annotated[float, Field(gt=0, lt=1, description="fraction to choose by")] = 0.2
    test: Annotated[float, Field(ge=0, lt=1, description="fraction that is read once, at the end")] = 0.2

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(self.train + self.val + self.test - 1) > 1e-9:
            raise ValueError(
                f"train, val and test must add up to 1, got {self.train} + {self.val} + {self.test}"
                f" = {self.train + self.val + self.test:g}"
            )
        return self


class Source(Section, abc.ABC):
    """Where data come from, how they are split and scaled. A family: one file and one line in the menu a source."""

    source: str
    split: Split = Split()
    scale: Literal["standard", "none"] = "standard"

    @abc.abstractmethod
    def load(self) -> Table:
        """Reads the rows.

        Raises:
            DataError: they cannot be read.
        """

"""What a source of data is: a part of the study file that can load itself."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, Self, final

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, Field, model_validator

from engine.types import Floats
from hpsearch.core.schema import StrictModel
from hpsearch.core.space import Point
from hpsearch.data.frame import Frame
from hpsearch.data.preprocessing import PreprocessingConfig

Part = Literal["train", "val", "test"]
Size = Annotated[int, Field(ge=1)]


def _image(value: Any) -> Any:
    if isinstance(value, list | tuple) and len(value) != 3:
        raise ValueError(f"must be [channels, height, width], got {list(value)}")
    return tuple(value) if isinstance(value, list) else value


@final
class Split(StrictModel):
    """Which rows are for what: fractions, folds, or as a column or a file says.

    Of fractions `test` may be 0. What is not given of it, when both others are, is what they leave. With `folds` the
    rows that are not for the test are all learned from and chosen by, in turn.
    """

    train: Annotated[float, Field(gt=0, lt=1, description="Share of the rows for training.")] = 0.6
    val: Annotated[float, Field(gt=0, lt=1, description="Share of the rows for validation.")] = 0.2
    test: Annotated[float, Field(ge=0, lt=1, description="Share of the rows for the test, which may be 0.")] = 0.2
    folds: Annotated[int, Field(ge=2, le=100)] | None = Field(
        None, description="Number of folds of a cross-validation, over all rows but the test rows. Default: no folds."
    )
    column: str | int | None = Field(
        None, description="Column of a table with train, val or test in each row: its name, or its place from 0."
    )
    file: str | None = Field(
        None,
        description="Text file with train, val or test in each line, or .npz file with these arrays of row numbers.",
    )

    @model_validator(mode="before")
    @classmethod
    def _rest(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.keys() >= {"train", "val"} and "test" not in data:
            train, val = data["train"], data["val"]
            if isinstance(train, int | float) and isinstance(val, int | float) and train + val <= 1 + 1e-9:
                return {**data, "test": max(0.0, round(1.0 - train - val, 9))}
        return data

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        """What says which rows are for what stands alone; fractions that are left out are there as defaults."""
        for name, others in (
            ("folds", ("train", "val")),
            ("column", ("train", "val", "test", "folds")),
            ("file", ("train", "val", "test", "folds", "column")),
        ):
            beside = [other for other in others if getattr(self, other) != type(self).model_fields[other].default]
            if getattr(self, name) is not None and beside:
                raise ValueError(f"{name} says which rows are for what, so {beside[0]} cannot stand beside it")
        return self

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.folds is None and abs(self.train + self.val + self.test - 1) > 1e-9:
            raise ValueError(
                f"train, val and test must add up to 1, got {self.train} + {self.val} + {self.test}"
                f" = {self.train + self.val + self.test:g}"
            )
        return self


@final
@dataclass(frozen=True, eq=False)
class Table:
    """Rows as they come.

    Attributes:
        x: `(rows, features)`, float64, or float32 where that holds every value; or columns, of numbers and of names.
        y: `(rows,)`: class numbers 0…k−1 (int64) for a classification, values (float64) for a regression.
        features: a name for each column.
        classes: a name for each class; empty for a regression.
        parts: the numbers of rows that the source itself fixes as a part, in order; a row may be in two of them. Rows
            in none are split over the parts that are not fixed.
        split: the fractions where the study file gives none; None for what suits the number of rows.
        notices: what a person should know of how the rows were read.
        input_format: how new rows are read alike, as plain JSON; empty where rows are no table. `missing` are marks of
            missing cells, `columns` the names of all columns in the order of the file, the `target` among them; from
            a text file also `header` (whether its first line holds names), `separator`, `decimal` and `encoding`.
    """

    x: Floats | Frame
    y: npt.NDArray[np.int64] | npt.NDArray[np.float64]
    features: tuple[str, ...]
    classes: tuple[str, ...]
    parts: Mapping[Part, npt.NDArray[np.intp]] = field(default_factory=dict)
    split: Split | None = None
    notices: tuple[str, ...] = ()
    input_format: Mapping[str, Any] = field(default_factory=dict)


class Source(StrictModel, abc.ABC):
    """Where data come from, how they are split and scaled. A family: one file and one line in the menu a source."""

    source: str = Field(description="Source.")
    split: Split | None = Field(
        None,
        description="Training, validation and test rows. Default: by the number of rows 60/20/20, 80/10/10 or 98/1/1.",
    )
    scale: str = Field(
        "standard",
        description="Scaling of the inputs, fitted to the training rows: by column, of images by channel.",
    )
    target_scale: Literal["standard", "none"] = Field(
        "standard", description="Scaling of the targets of a regression, fitted to the training rows."
    )
    image: Annotated[tuple[Size, Size, Size] | None, BeforeValidator(_image)] = Field(
        None, description="Shape [channels, height, width] of rows that are images. Default: rows are no images."
    )

    def preprocessing_config(self, point: Point) -> PreprocessingConfig:
        """How rows are prepared at a point: each setting as given, or as its parameter says."""
        words = (field.name for field in fields(PreprocessingConfig) if hasattr(self, field.name))
        values: dict[str, Any] = {name: getattr(self, name) for name in words}
        values = {name: point[v] if isinstance(v, str) and v in point else v for name, v in values.items()}
        return PreprocessingConfig(**values)

    @abc.abstractmethod
    def load(self) -> Table:
        """Reads the rows.

        Raises:
            DataError: they cannot be read.
        """

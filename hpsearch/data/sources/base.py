"""Base of the data sources: the `data` section of a study file, which loads a `Table`."""

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
from hpsearch.data.split_column import SplitColumn

Part = Literal["train", "val", "test", "train_dev"]  # the last one is drawn from the training rows
PART_NAMES: tuple[Part, ...] = ("train", "val", "test")
PositiveInt = Annotated[int, Field(ge=1)]


def _image(value: Any) -> Any:
    if isinstance(value, list | tuple) and len(value) != 3:
        raise ValueError(f"must be [channels, height, width], got {list(value)}")
    return tuple(value) if isinstance(value, list) else value


@final
class Split(StrictModel):
    """Split of the rows into training, validation and test rows: by fractions, in folds, or by a column or a file.

    `test` may be 0; if only `train` and `val` are given, it is the remaining share. With `folds`, each row that is not
    a test row is a validation row in one fold and a training row in the others. With `by`, training rows are earlier
    than validation rows, and these are earlier than test rows; rows of the same time are never on both sides. Its folds
    train on a sliding window of half of the rows and validate on the rows that follow. With `groups`, all rows of a
    group are in the same part.
    """

    train: Annotated[float, Field(gt=0, lt=1, description="Share of the rows for training.")] = 0.6
    val: Annotated[float, Field(gt=0, lt=1, description="Share of the rows for validation.")] = 0.2
    test: Annotated[float, Field(ge=0, lt=1, description="Share of the rows for testing; may be 0.")] = 0.2
    folds: Annotated[int, Field(ge=2, le=100)] | None = Field(
        None, description="Number of cross-validation folds of all rows except the test rows. Default: no folds."
    )
    column: str | int | None = Field(
        None, description="Column of a table with train, val or test in each row: its name, or its position from 0."
    )
    by: str | int | None = Field(
        None,
        description="Column of times, as numbers or dates, that orders the rows: its name, or its position from 0; for"
        " npz, the name of an array.",
    )
    groups: str | int | None = Field(
        None,
        description="Column of groups, such as patients, that must not be divided: its name, or its position from 0;"
        " for npz, the name of an array.",
    )
    date_format: str | None = Field(
        None,
        description="Format of the dates of `by`, as in strftime: '%d/%m/%Y'. Default: ISO 8601, or a common format if"
        " only one fits.",
    )
    as_feature: bool = Field(False, description="The column of `by` or `groups` is also a feature.")
    train_dev: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.0,
        description="Share of the training rows that is set aside at random and not trained on. Its error stands"
        " between those of the training and validation rows: it tells variance from rows of another distribution.",
    )
    file: str | None = Field(
        None,
        description="Text file with train, val or test in each line, or .npz file with these arrays of row indices.",
    )

    @property
    def described(self) -> str:
        """How the rows are split, in words."""
        ways = {
            f"in the order of '{self.by}'": self.by,
            f"by groups of '{self.groups}'": self.groups,
            f"by column '{self.column}'": self.column,
            f"by file {self.file}": self.file,
        }
        how = next((words for words, given in ways.items() if given is not None), "at random")
        if self.column is not None or self.file is not None:
            return how
        windows = "sliding windows" if self.by is not None else "folds"
        shares = {"train": self.train, "val": self.val, "test": self.test}
        parts = [] if self.folds is None else [f"{self.folds} {windows}"]
        parts += [f"{share:.4g} {part}" for part, share in shares.items() if share and (not parts or part == "test")]
        return f"{how}: {', '.join(parts)}"

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
        """Reject combinations of ways to split; omitted fractions have their default values."""
        for name, others in (
            ("folds", ("train", "val", "train_dev")),
            ("column", ("train", "val", "test", "folds", "by", "groups")),
            ("file", ("train", "val", "test", "folds", "column", "by", "groups")),
            ("by", ("groups", "train_dev")),
            ("groups", ("train_dev",)),
        ):
            others_given = [other for other in others if getattr(self, other) != type(self).model_fields[other].default]
            if getattr(self, name) is not None and others_given:
                raise ValueError(f"{name} already determines the split; remove {others_given[0]}")
        if self.date_format is not None and self.by is None:
            raise ValueError("date_format is the format of the dates of by, which is missing")
        if self.as_feature and self.by is None and self.groups is None:
            raise ValueError("as_feature is for the column of by or groups, which is missing")
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
    """The rows of a source before splitting and preprocessing.

    Attributes:
        x: `(rows, features)`, float64, or float32 if that represents every value exactly; or a frame.
        y: `(rows,)`: class indices 0…k−1 (int64) for a classification, values (float64) for a regression.
        features: names of the columns.
        classes: names of the classes; empty for a regression.
        parts: part → row indices, for the parts that the source fixes; a row may be in two of them. All other rows are
            split among the other parts.
        split: the source's default fractions; None for `default_split`.
        notices: messages for the user about how the rows were read.
        order: the column of `split.by` or `split.groups`.
        row_filter: `(rows of the source,)`, False for rows that were left out; None if there are none.
        input_format: how new rows are read, as plain JSON; empty for arrays. `missing` lists the markers of missing
            cells, `columns` the names of all columns in the order of the file, including the `target`. For text files
            also the settings of `TextFormat`.
    """

    x: Floats | Frame
    y: npt.NDArray[np.int64] | npt.NDArray[np.float64]
    features: tuple[str, ...]
    classes: tuple[str, ...]
    parts: Mapping[Part, npt.NDArray[np.intp]] = field(default_factory=dict)
    split: Split | None = None
    notices: tuple[str, ...] = ()
    order: SplitColumn | None = None
    row_filter: npt.NDArray[np.bool_] | None = None
    input_format: Mapping[str, Any] = field(default_factory=dict)


class Source(StrictModel, abc.ABC):
    """Base class of sources, with the settings that all share. A new source is one file and one line in `SOURCES`."""

    source: str = Field(description="Source.")
    split: Split | None = Field(
        None,
        description="Training, validation and test rows. Default: by the number of rows 60/20/20, 80/10/10 or 98/1/1.",
    )
    scale: str = Field(
        "standard",
        description="Scaling of the inputs, fitted to the training rows: by column, or by channel for images.",
    )
    target_scale: Literal["standard", "none"] = Field(
        "standard", description="Scaling of the targets of a regression, fitted to the training rows."
    )
    image: Annotated[tuple[PositiveInt, PositiveInt, PositiveInt] | None, BeforeValidator(_image)] = Field(
        None, description="Shape [channels, height, width] of a row that is an image. Default: rows are not images."
    )

    train_rows: Annotated[int, Field(ge=1)] | str | None = Field(
        None,
        description="Number of training rows to use, drawn at random, or a parameter that lists such numbers, for a"
        " learning curve by data: validation and test rows stay the same, and fewer rows are some of the more."
        " Default: all.",
    )

    def preprocessing_config(self, point: Point) -> PreprocessingConfig:
        """Return the preprocessing settings at a point, with parameter names replaced by their values."""
        settings = (field.name for field in fields(PreprocessingConfig) if hasattr(self, field.name))
        values: dict[str, Any] = {name: getattr(self, name) for name in settings}
        values = {name: point[v] if isinstance(v, str) and v in point else v for name, v in values.items()}
        return PreprocessingConfig(**values)

    def base_error(self) -> float | None:
        """Return the error that no model can avoid, as share of wrong rows or 1 − R²; None if it is not known."""
        return None

    def train_rows_at(self, point: Point) -> int | None:
        """Return the number of training rows at a point; None for all of them."""
        rows = point[self.train_rows] if isinstance(self.train_rows, str) else self.train_rows
        return None if rows is None else int(rows)

    @abc.abstractmethod
    def load(self) -> Table:
        """Read the rows.

        Raises:
            DataError: the rows cannot be read.
        """

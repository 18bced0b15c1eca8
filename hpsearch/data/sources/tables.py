"""Base of the sources of tables: named columns, numeric or categorical, one of which is the target."""

import abc
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import Discriminator, Field, Tag, model_validator

from engine.registry import nearest
from hpsearch.core.schema import CellText, Listed
from hpsearch.data.column_warnings import misread_numbers, numeric_warnings, target_warnings
from hpsearch.data.frame import Frame, FrameBuilder, MixedTypesError, first_duplicate
from hpsearch.data.missing_markers import MissingMarkers
from hpsearch.data.sources.base import Part, Source, Table
from hpsearch.data.sources.columns import ColumnConverter, guess_classification
from hpsearch.data.sources.raw_table import RawTable, RawTableReader, missing_target_hint
from hpsearch.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

ColumnName = str | int  # or the position: from 0, or −1 for the last column
Markers = Annotated[tuple[CellText, ...], Listed]
MarkersSetting = Annotated[
    Annotated[Markers, Tag("<list>")] | Annotated[dict[CellText, Markers], Tag("<columns>")],
    Discriminator(lambda value: "<columns>" if isinstance(value, dict) else "<list>"),
]


class Chunk(NamedTuple):
    """Some rows of a table.

    Attributes:
        test: the rows are separate test rows.
        rows: approximate number of rows of the whole table, 0 if unknown.
    """

    cells: "pd.DataFrame"
    test: bool = False
    rows: int = 0

    def without_empty_rows(self) -> tuple["Chunk", npt.NDArray[np.bool_]]:
        """Return the chunk without rows whose cells are all missing, and a mask of the rows that it keeps."""
        keep = np.zeros(len(self.cells), np.bool_)
        for position in range(self.cells.shape[1]):
            keep |= self.cells.iloc[:, position].notna().to_numpy()
            if keep.all():
                return self, keep
        return self._replace(cells=self.cells[keep]), keep


class TableSource(Source, abc.ABC):
    """Rows of named columns, with or without missing cells.

    Text columns are one-hot encoded unless they hold only numbers. Columns are specified by name or by position, from 0
    or, counted from the end, from −1.
    """

    decimal_hint: ClassVar[str] = (
        "convert it to numbers"  # advice on numbers in another notation; {} stands for settings
    )

    standard_markers: ClassVar[tuple[str, ...]] = ()  # of missing cells

    target: ColumnName = Field(
        description="Column to predict: its name, or its position (0 is the first, −1 the last)."
    )
    task: Literal["classification", "regression"] | None = Field(
        None, description="Kind of task. Default: derived from the target, and reported."
    )
    labels: dict[CellText, CellText] = Field(
        default_factory=dict, description="Label in the table → class, for labels with another spelling."
    )
    drop: Annotated[tuple[ColumnName, ...], Listed] = Field((), description="Columns to exclude: names or positions.")
    categorical: Annotated[tuple[ColumnName, ...], Listed] = Field(
        (), description="Columns whose numbers are categories, read as text, as written: names or positions."
    )
    missing: MarkersSetting | None = Field(
        None,
        description="Markers of missing cells, in addition to NA, None, null and the like; `[]`, or a list that"
        " contains `''`, replaces these. Or column → list, with `*` for all other columns.",
    )
    missing_target: Literal["error", "drop"] = Field(
        "error", description="Rows without a target: an `error`, or `drop` to leave them out."
    )
    impute: str = Field(
        "indicator",
        description="Imputation of missing cells: `median`, `most_frequent`, or `indicator` (median and a 0/1 column).",
    )
    min_frequency: Annotated[int, Field(ge=1)] | str = Field(
        1, description="Categories with fewer training rows share a column."
    )
    max_categories: Annotated[int, Field(ge=2)] | str = Field(
        100, description="Maximum number of columns per categorical column."
    )

    @model_validator(mode="after")
    def _no_image(self) -> Self:
        if self.image is not None:
            raise ValueError("image: rows of a table are not images; for arrays of images use source: npz")
        return self

    @abc.abstractmethod
    def chunks(self, text: frozenset[ColumnName]) -> Iterator[Chunk]:
        """Yield the rows, the test rows last, all with the same columns.

        Args:
            text: columns whose cells are not converted to numbers.

        Raises:
            DataError: the rows cannot be read.
        """

    def input_format(self) -> dict[str, Any]:
        """Return how new rows are read, as in `Table.input_format`."""
        missing, missing_of = self.all_markers()
        described = {"missing_of": {name: list(marks) for name, marks in missing_of.items()}} if missing_of else {}
        return {"missing": list(missing or ()), **described}

    def all_markers(self) -> MissingMarkers:
        """Return the markers of missing cells, with the standard ones."""
        return MissingMarkers.of_setting(self.missing).with_standard(self.standard_markers)

    def frame_builder(self, names: Sequence[str], verbatim: frozenset[str], rows: int = 0) -> FrameBuilder:
        """Return a builder of frames that knows the markers of the study file.

        Raises:
            DataError: a marker is for a column that does not exist.
        """
        general, by_column = MissingMarkers.of_setting(self.missing)
        known = {self.resolve(name, "missing", names): marks for name, marks in by_column.items()}
        return FrameBuilder(general or (), verbatim, rows, known)

    def notices(self) -> Iterator[str]:
        """Yield messages for the user about how the rows are read."""
        yield from ()

    def missing_column_hint(self) -> str:
        """Return a hint to append to an error about an unknown column; may be empty."""
        return ""

    def load(self) -> Table:
        notices, convert = list(self.notices()), ColumnConverter(self.source, self.decimal_hint)
        raw = self._read_table(notices)
        frame, names = raw.frame, raw.names
        notices += raw.left_out()
        split_column = self._split_column(raw)
        unlabeled = raw.frame.columns[raw.target].missing.any()
        y, classes = convert.targets(raw, self.labels, missing_target_hint(self, raw.target) if unlabeled else "")
        if raw.classification and raw.target not in raw.declared:
            self._check_guess(raw, y)
            notices += target_warnings(raw.target, frame.columns[raw.target], self.decimal_hint)
        categorical = {self.resolve(name, "categorical", names) for name in self.categorical}
        features = {}
        for name, column in frame.columns.items():
            if name not in (raw.target, split_column):
                notices += numeric_warnings(name, names.index(name), column.take(raw.training_rows))
                if name in categorical:
                    features[name] = column.as_categorical()
                else:
                    quiet = raw.order is not None and name == raw.order.name  # it was read as text on purpose
                    features[name] = convert.feature(name, column, name in raw.declared, [] if quiet else notices)
        parts: dict[Part, npt.NDArray[np.intp]] = {}
        if raw.test:
            parts["test"] = np.arange(len(frame) - raw.test, len(frame))
        if split_column is not None:
            parts = convert.parts(split_column, frame.columns[split_column])
        input_format = {**self.input_format(), "columns": list(names), "target": raw.target}
        return Table(
            Frame(features),
            y,
            tuple(features),
            classes,
            parts,
            notices=tuple(notices),
            order=raw.order,
            row_filter=None if raw.row_filter.all() else raw.row_filter,
            input_format=input_format,
        )

    def error(self, message: str) -> DataError:
        """Return an error that names the source."""
        return DataError(f"data: {self.source}: {message}")

    def align_columns(self, cells: "pd.DataFrame", names: Sequence[str] | None, where: str) -> "pd.DataFrame":
        """Select the columns of another file or query in the order of `names`; None selects all.

        Raises:
            DataError: a column is missing.
        """
        if names is None:
            return cells
        for name in names:
            if name not in cells.columns:
                known = [str(column) for column in cells.columns]
                hint = nearest(name, known)
                if name == self.resolve(self.target, "target", names) and not hint.startswith("; did you mean"):
                    hint = (
                        ", the target, so its rows cannot test a model; leave the file out, and predict its rows when"
                        " the study is done: hpsearch predict"
                    )
                raise self.error(f"{where}: there is no column '{name}'{hint}")
        return cells[list(names)]

    def _read_table(self, notices: list[str]) -> RawTable:
        """Read all rows; without `task`, guess it and append a notice."""
        if self.task is not None:
            return self._read(self.task == "classification")
        classification = self._guess_from_first_chunk()
        raw = self._read(classification)
        target = raw.frame.columns[raw.target].take(raw.training_rows)
        if classification and not guess_classification(
            target, raw.target in raw.declared
        ):  # later rows hold other values
            del raw
            classification = False
            raw = self._read(classification)
        notices.append(
            f"task: classification, because '{raw.target}' holds text or few distinct integers; otherwise set"
            " task: regression"
            if classification
            else f"task: regression, because '{raw.target}' holds numbers; otherwise set task: classification"
        )
        return raw

    def _read(self, classification: bool) -> RawTable:
        """Read all rows; columns that are numeric in one chunk and text in another are read again, as text."""
        text = frozenset({*self.categorical, *self.order_columns, *([self.target] if classification else ())})
        while True:
            reader = None
            for chunk in self.chunks(text):
                reader = reader or RawTableReader(self, chunk, classification)
                reader.add(chunk)
            if reader is None:
                raise self.error("there are no rows")
            try:
                return reader.table()
            except MixedTypesError as mixed:
                if mixed.names <= text:
                    raise self.error(f"columns with both numbers and text: {mixed}") from None
                text |= mixed.names
            except DataError as error:
                raise self.error(str(error)) from None

    @property
    def order_columns(self) -> tuple[ColumnName, ...]:
        """The column of `split.by` or `split.groups`, if there is one."""
        given = () if self.split is None else (self.split.by, self.split.groups)
        return tuple(column for column in given if column is not None)

    def _check_guess(self, raw: RawTable, y: npt.NDArray[Any]) -> None:
        """Raise an error if numbers that are read as text were taken for classes, too rare to be learned."""
        if self.task is not None or np.bincount(y[raw.training_rows]).min() > 1:
            return
        if description := misread_numbers(raw.frame.columns[raw.target], self.decimal_hint):
            raise self.error(f"target '{raw.target}' is {description}, or task: classification")

    def _guess_from_first_chunk(self) -> bool:
        """Return True if the task seems to be classification."""
        first = next(self.chunks(frozenset({self.target})), None)
        if first is None:
            raise self.error("there are no rows")
        names, target = self.column_names(first.cells)
        builder = self.frame_builder(names, frozenset({target}))
        try:
            builder.add(first.cells.iloc[:, [names.index(target)]])
        except DataError as error:
            raise self.error(str(error)) from None
        return guess_classification(builder.frame().columns[target], target in builder.declared)

    def column_names(self, cells: "pd.DataFrame") -> tuple[list[str], str]:
        """Return the names of all columns and of the target."""
        names = [str(name) for name in cells.columns]
        duplicate = first_duplicate(names)
        if duplicate is not None:
            raise self.error(f"two columns are named '{duplicate}'")
        return names, self.resolve(self.target, "target", names)

    def resolve(self, column: ColumnName, where: str, names: Sequence[str]) -> str:
        """Return the name of a column specified by name or position."""
        if isinstance(column, int):
            if not -len(names) <= column < len(names):
                raise self.error(
                    f"{where}: there are {len(names)} columns, so a position is from 0 to {len(names) - 1},"
                    f" got {column}"
                )
            return names[column]
        if column not in names:
            hint = f"{nearest(column, list(names))}{self.missing_column_hint()}"
            raise self.error(f"{where}: there is no column '{column}'{hint}")
        return column

    def _split_column(self, raw: RawTable) -> str | None:
        """Return the name of the column that names each row's part, None if there is none."""
        if self.split is None or self.split.column is None:
            return None
        name = self.resolve(self.split.column, "split.column", raw.names)
        if name not in raw.frame.columns:
            raise self.error(f"split.column '{name}' cannot be dropped")
        if name == raw.target:
            raise self.error(f"target '{name}' cannot also be split.column")
        if raw.test:
            raise self.error(f"split.column '{name}' names the test rows, so there must be no separate test rows")
        return name


def resolve_columns(text: Iterable[ColumnName], names: Sequence[str]) -> set[str]:
    """Return the names of columns specified by name or position; unknown columns are ignored."""
    positions = range(-len(names), len(names))
    return {
        names[c] if isinstance(c, int) else c for c in text if (c in positions if isinstance(c, int) else c in names)
    }


def as_object_dtype(cells: "pd.DataFrame", names: set[str]) -> "pd.DataFrame":
    """Convert numeric columns of these names to dtype object, so that they are read as categorical."""
    import pandas as pd

    numeric = {name for name, kind in cells.dtypes.items() if name in names and pd.api.types.is_numeric_dtype(kind)}
    return cells.astype(dict.fromkeys(numeric, object))

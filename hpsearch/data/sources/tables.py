"""What sources of tables have in common: columns of numbers and of names, one of which is to be predicted."""

import abc
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self, get_args

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, Field, model_validator

from engine.registry import nearest
from hpsearch.core.schema import Listed
from hpsearch.data.column_warnings import categorical_warnings, decimal_comma_hint, numeric_warnings, target_warnings
from hpsearch.data.frame import Column, Frame, FrameBuilder, MixedTypesError, category_name, to_numeric
from hpsearch.data.sources.base import Part, Source, Table
from hpsearch.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

CHUNK_ROWS = 50_000  # rows that a source reads at a time
FEW = 20  # different whole numbers in a target, up to which they are taken for classes when nothing is said
MOST_CLASSES = 1000
MOSTLY = 0.5  # of a column's cells are numbers: then the others are taken for mistakes

ColumnName = str | int  # or the place, from 0, or from −1 backwards


def _word(value: Any) -> Any:
    return str(value) if isinstance(value, bool | int | float) else value


Word = Annotated[str, BeforeValidator(_word)]  # a cell: what YAML reads as a number or a truth value is text here


class Piece(NamedTuple):
    """Some rows of a table.

    Attributes:
        test: they are of the test rows that the source has apart.
        rows: about how many there are in all, where that can be told.
    """

    cells: "pd.DataFrame"
    test: bool = False
    rows: int = 0


class Read(NamedTuple):
    """A table as it was read.

    Attributes:
        frame: all columns but those that are dropped, the rows of the test last.
        test: how many of the rows are these.
        names: of all columns there are.
        target: the one to predict.
        classes: whether it holds classes.
        declared: columns that are names by their type, whatever these look like.
    """

    frame: Frame
    test: int
    names: Sequence[str]
    target: str
    classes: bool
    declared: frozenset[str]

    @property
    def learned(self) -> slice:
        """The rows that are not of the test."""
        return slice(len(self.frame) - self.test)


class TableSource(Source, abc.ABC):
    """Rows of named columns, with or without missing cells. Text is names, each of which becomes a column of 0 and 1,
    unless it is nothing but numbers.

    Columns are told by their name, or by their place from 0, or from −1 backwards.
    """

    decimal_hint: ClassVar[str] = "give it as numbers"

    target: ColumnName = Field(description="Column to predict: its name, its place from 0, or from −1 backwards.")
    task: Literal["classification", "regression"] | None = Field(
        None, description="Kind of task. Default: guessed from the target, and reported."
    )
    labels: dict[Word, Word] = Field(
        default_factory=dict, description="Classes as they are written → as they are meant."
    )
    drop: Annotated[tuple[ColumnName, ...], Listed] = Field((), description="Columns to leave out: names or places.")
    categorical: Annotated[tuple[ColumnName, ...], Listed] = Field(
        (), description="Columns of numbers that are categories: names or places."
    )
    missing: Annotated[tuple[Word, ...], Listed] = Field(
        (), description="Marks of missing cells, in addition to NA, NaN, null and the like."
    )
    impute: str = Field(
        "indicator",
        description="Imputation of missing cells: `median`, `most_frequent`, or `indicator` (median and a 0/1 column).",
    )
    min_frequency: Annotated[int, Field(ge=1)] | str = Field(
        1, description="Categories of fewer training rows share a column."
    )
    max_categories: Annotated[int, Field(ge=2)] | str = Field(
        100, description="Largest number of columns that one text column becomes."
    )

    @model_validator(mode="after")
    def _no_image(self) -> Self:
        if self.image is not None:
            raise ValueError("image: rows of a table are no images; images are arrays of a file, source: npz")
        return self

    @abc.abstractmethod
    def chunks(self, text: frozenset[ColumnName]) -> Iterator[Piece]:
        """The rows, piece by piece: those to learn from and then those of the test, all with the same columns.

        Args:
            text: columns whose cells are to come as they are written.

        Raises:
            DataError: they cannot be read.
        """

    def input_format(self) -> dict[str, Any]:
        """How new rows are read alike, as `Table.input_format` says."""
        return {"missing": list(self.missing)}

    def notices(self) -> Iterator[str]:
        """What a person should know of how the rows are read."""
        yield from ()

    def no_column(self) -> str:
        """What to add where there is no column of a name."""
        return ""

    def load(self) -> Table:
        notices = list(self.notices())
        read = self._rows(notices)
        frame, names = read.frame, read.names
        by = None
        if self.split is not None and self.split.column is not None:
            by = self._column(self.split.column, "split.column", names)
        if by is not None and by not in frame.columns:
            raise self.error(f"split.column '{by}' cannot be dropped")
        if by == read.target:
            raise self.error(f"target '{by}' cannot say which rows are for what")
        y, known = self._targets(read)
        if read.classes and read.target not in read.declared:
            notices += target_warnings(read.target, frame.columns[read.target], self.decimal_hint)
        as_categorical = {self._column(name, "categorical", names) for name in self.categorical}
        features = {}
        for name, column in frame.columns.items():
            if name not in (read.target, by):
                notices += numeric_warnings(name, names.index(name), column.take(read.learned))
                declared = name in read.declared
                features[name] = (
                    column.as_categorical() if name in as_categorical else self._sound(name, column, declared, notices)
                )
        parts: dict[Part, npt.NDArray[np.intp]] = {}
        if read.test:
            parts["test"] = np.arange(len(frame) - read.test, len(frame))
        if by is not None:
            parts = self._parts(by, frame.columns[by], bool(read.test))
        input_format = {**self.input_format(), "columns": list(names), "target": read.target}
        return Table(
            Frame(features), y, tuple(features), known, parts, notices=tuple(notices), input_format=input_format
        )

    def error(self, message: str) -> DataError:
        """What is wrong, and where."""
        return DataError(f"data: {self.source}: {message}")

    def align_columns(self, cells: "pd.DataFrame", names: Sequence[str] | None, where: str) -> "pd.DataFrame":
        """Columns of another file or query in the order of the first one's names; others that it has are left out.

        Raises:
            DataError: it lacks one.
        """
        if names is None:
            return cells
        for name in names:
            if name not in cells.columns:
                there = [str(column) for column in cells.columns]
                raise self.error(f"{where}: there is no column '{name}'{nearest(name, there)}")
        return cells[list(names)]

    def _rows(self, notices: list[str]) -> Read:
        """All rows, by a task that is guessed when it is not given."""
        if self.task is not None:
            return self._read(self.task == "classification")
        classes = self._guess()
        read = self._read(classes)
        target = read.frame.columns[read.target].take(read.learned)
        if classes and not _classifies(target, read.target in read.declared):  # as later rows show
            del read
            classes = False
            read = self._read(classes)
        notices.append(
            f"task: classification, for '{read.target}' holds names or few whole numbers; task: says otherwise"
            if classes
            else f"task: regression, for '{read.target}' holds numbers; task: classification says otherwise"
        )
        return read

    def _read(self, classes: bool) -> Read:
        """All rows."""
        text = frozenset({self.target} if classes else ())
        while True:
            builder, test = None, 0
            for piece in self.chunks(text):
                if builder is None:
                    names, target = self._names(piece.cells)
                    dropped = {self._column(name, "drop", names) for name in self.drop}
                    if target in dropped:
                        raise self.error(f"target '{target}' cannot be dropped")
                    kept = [place for place, name in enumerate(names) if name not in dropped]
                    builder = FrameBuilder(self.missing, frozenset({target} if classes else ()), piece.rows)
                self._add(builder, piece.cells.iloc[:, kept])
                test += piece.test * len(piece.cells)
            if builder is None:
                raise self.error("there are no rows")
            try:
                return Read(builder.frame(), test, names, target, classes, frozenset(builder.declared))
            except MixedTypesError as mixed:
                if mixed.names <= text:
                    raise self.error(f"columns of numbers and of text: {mixed}") from None
                text |= mixed.names

    def _add(self, builder: FrameBuilder, cells: "pd.DataFrame") -> None:
        try:
            builder.add(cells)
        except DataError as error:
            raise self.error(str(error)) from None

    def _guess(self) -> bool:
        """Whether the target is classes, from the first piece."""
        first = next(self.chunks(frozenset({self.target})), None)
        if first is None:
            raise self.error("there are no rows")
        names, target = self._names(first.cells)
        builder = FrameBuilder(self.missing, frozenset({target}))
        self._add(builder, first.cells.iloc[:, [names.index(target)]])
        return _classifies(builder.frame().columns[target], target in builder.declared)

    def _names(self, cells: "pd.DataFrame") -> tuple[list[str], str]:
        """Those of the columns, and of the one to predict."""
        names = [str(name) for name in cells.columns]
        twice = next((name for name, count in Counter(names).items() if count > 1), None)
        if twice is not None:
            raise self.error(f"two columns are called '{twice}'")
        return names, self._column(self.target, "target", names)

    def _column(self, given: ColumnName, where: str, names: Sequence[str]) -> str:
        """The name of a column that is given by its name or its place."""
        if isinstance(given, int):
            if not -len(names) <= given < len(names):
                raise self.error(
                    f"{where}: there are {len(names)} columns, so a place from 0 to {len(names) - 1}, got {given}"
                )
            return names[given]
        if given not in names:
            raise self.error(f"{where}: there is no column '{given}'{nearest(given, list(names))}{self.no_column()}")
        return given

    def _targets(self, read: Read) -> tuple[npt.NDArray[np.int64] | npt.NDArray[np.float64], tuple[str, ...]]:
        """Classes, by number or by name, or values."""
        name, column = read.target, read.frame.columns[read.target]
        missing = np.flatnonzero(column.missing)
        if len(missing):
            raise self.error(
                f"target '{name}' is missing in {len(missing)} of {len(column.values)} rows, the first of them row"
                f" {missing[0] + 1}; a row without it can neither be learned from nor tested"
            )
        if not read.classes:
            values, text = to_numeric(column)
            if text is not None:
                raise self.error(
                    f"task is regression, so target '{name}' must hold numbers,"
                    f" got {text.first!r} in row {text.row + 1}{decimal_comma_hint(text.first, self.decimal_hint)}"
                )
            return values.astype(np.float64), ()
        column = self._meant(column.as_categorical())
        assert column.categories is not None
        if len(column.categories) > MOST_CLASSES:
            raise self.error(
                f"target '{name}' must have at most {MOST_CLASSES:,} classes, got {len(column.categories):,};"
                f" is it task: regression?{decimal_comma_hint(column.categories[0], self.decimal_hint)}"
            )
        used = np.bincount(column.values[: len(column.values) - read.test], minlength=len(column.categories))
        new = [label for label, count in zip(column.categories, used, strict=True) if not count]
        if new:
            known = [label for label, count in zip(column.categories, used, strict=True) if count]
            raise self.error(
                f"the test rows have a class {new[0]!r} that the others have not; if it means one of them:"
                f" labels: {{{new[0]!r}: …}}{nearest(new[0], known)}"
            )
        order = sorted(range(len(column.categories)), key=lambda code: _ordered(column.categories[code]))  # type: ignore[index]
        place = np.argsort(order)
        return place[column.values].astype(np.int64), tuple(column.categories[code] for code in order)

    def _meant(self, column: Column) -> Column:
        """Labels as they are meant."""
        assert column.categories is not None
        there = {*column.categories, *map(category_name, column.categories)}
        unknown = next(
            (label for label in self.labels if label not in there and category_name(label) not in there), None
        )
        if unknown is not None:
            raise self.error(
                f"labels: there is no class {unknown!r}{nearest(unknown, list(column.categories[:MOST_CLASSES]))}"
            )
        by_key = {category_name(label): meant for label, meant in self.labels.items()}  # true is True
        meant = [self.labels.get(name, by_key.get(category_name(name), name)) for name in column.categories]
        known = {name: code for code, name in enumerate(dict.fromkeys(meant))}
        lookup = np.array([known[name] for name in meant], np.int32)
        return Column(lookup[column.values], tuple(known))

    def _sound(self, name: str, column: Column, declared: bool, notices: list[str]) -> Column:
        """A column to learn from; text is taken for numbers when it is nothing else, and a few words among numbers for
        a mistake."""
        values, text = to_numeric(column)
        if declared or column.missing.all():
            return column
        if text is None:
            if column.categories is not None:
                notices.append(
                    f"column '{name}' is text, but holds nothing but numbers: it is taken for numbers;"
                    f" categorical: ['{name}'] says otherwise"
                )
            endless = np.flatnonzero(np.isinf(values))
            if len(endless):
                raise self.error(
                    f"column '{name}' must hold finite numbers, got {values[endless[0]]} in row {endless[0] + 1}"
                )
            return Column(values)
        there = int((~column.missing).sum())
        if there - text.cells > MOSTLY * there:
            raise self.error(
                f"column '{name}' holds numbers, and text in {text.cells} of {len(values)} rows: {text.first!r} in row"
                f" {text.row + 1}; if that stands for a missing cell: missing: [{text.first!r}];"
                f" if the numbers are names: categorical: [{name!r}]{decimal_comma_hint(text.first, self.decimal_hint)}"
            )
        notices += categorical_warnings(name, column, self.decimal_hint)
        return column

    def _parts(self, name: str, column: Column, test: bool) -> dict[Part, npt.NDArray[np.intp]]:
        """What a column says of each row."""
        if test:
            raise self.error(f"split.column '{name}' says which rows are for the test, so no others can be")
        column = column.as_categorical()
        assert column.categories is not None
        words = np.array([*column.categories, ""])[column.values]
        return by_words(words.tolist(), len(words), f"data: {self.source}: column '{name}'")


def _classifies(target: Column, declared: bool) -> bool:
    """Whether a target is classes: names, or few whole numbers."""
    values, text = to_numeric(target)
    known = np.unique(values[~np.isnan(values)])
    return declared or text is not None or (len(known) <= FEW and bool((known == np.floor(known)).all()))


def by_words(words: Sequence[str], rows: int, where: str) -> dict[Part, npt.NDArray[np.intp]]:
    """Row numbers from the words train, val and test, one a row.

    Raises:
        DataError: another word, or another number of them.
    """
    if len(words) != rows:
        raise DataError(f"{where}: must hold a word for each of {rows} rows, got {len(words)}")
    array, names = np.array(words), get_args(Part)
    unknown = np.flatnonzero(~np.isin(array, names))
    if len(unknown):
        raise DataError(f"{where}: row {unknown[0] + 1} must be train, val or test, got {str(array[unknown[0]])!r}")
    parts: dict[Part, npt.NDArray[np.intp]] = {part: np.flatnonzero(array == part) for part in names}
    if not len(parts["train"]):
        raise DataError(f"{where}: no row is train")
    return {part: numbers for part, numbers in parts.items() if len(numbers) or (part == "test" and len(parts["val"]))}


def as_written(text: Iterable[ColumnName], names: Sequence[str]) -> set[str]:
    """The names of columns that are given by name or by place, as far as they are there."""
    there = range(-len(names), len(names))
    return {names[c] if isinstance(c, int) else c for c in text if (c in there if isinstance(c, int) else c in names)}


def as_objects(cells: "pd.DataFrame", names: set[str]) -> "pd.DataFrame":
    """Some columns of numbers as objects, so that they are taken for names."""
    import pandas as pd

    words = {name for name, kind in cells.dtypes.items() if name in names and pd.api.types.is_numeric_dtype(kind)}
    return cells.astype(dict.fromkeys(words, object))


def _ordered(label: str) -> tuple[bool, float, str]:
    """Numbers by their size, then names."""
    try:
        return False, float(label), label
    except ValueError:
        return True, 0.0, label

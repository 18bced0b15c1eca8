"""Tables in text files."""

import codecs
import csv
import gzip
import re
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, final

from pydantic import Field

from hpsearch.data.sources.tables import CHUNK_ROWS, ColumnName, Piece, TableSource, as_written
from hpsearch.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

SAMPLE = 1 << 20  # bytes that the number of rows is told from
# What stands for a missing cell in any text file; those of pandas.
MISSING_MARKERS = (
    *("", " ", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A"),
    *("NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
_NUMBER = re.compile(r"\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\s*")
BROKEN = (OSError, EOFError, UnicodeError, ValueError, csv.Error, zlib.error)


@final
class CsvSource(TableSource):
    """`{source: csv, path: adult.csv, target: -1}`; a path that ends in .gz is unpacked.

    A first line without a number in it is a header, unless `header` says; without one columns are called 0, 1, …
    """

    decimal_hint: ClassVar[str] = "decimal: ',' reads it as numbers"

    source: Literal["csv"] = Field("csv", description="Source.")
    path: Annotated[str, Field(min_length=1, description="File, relative to the current folder.")]
    test_path: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="File of the test rows. Default: they are a part of `path`."
    )
    header: bool | None = Field(
        None, description="The first line has the names of the columns. Default: true if it contains no number."
    )
    separator: Annotated[str, Field(min_length=1, max_length=1, description="Separator of the cells.")] = ","
    decimal: Annotated[str, Field(min_length=1, max_length=1, description="Decimal separator.")] = "."
    encoding: str = Field("utf-8", description="Encoding of the text.")

    def chunks(self, text: frozenset[ColumnName]) -> Iterator[Piece]:
        first: list[str] | None = None
        rows = sum(self._file(path).rows for path in (self.path, self.test_path) if path is not None)
        for path, test in ((self.path, False), (self.test_path, True)):
            if path is not None:
                file = self._file(path)
                for cells in file.chunks(as_written(text, first or file.names)):
                    yield Piece(self.align_columns(cells, first, path), test, rows)
                first = file.names

    def input_format(self) -> dict[str, Any]:
        written = {"separator": self.separator, "decimal": self.decimal, "encoding": self.encoding}
        return {"missing": [*MISSING_MARKERS, *self.missing], "header": self._file(self.path).header, **written}

    def no_column(self) -> str:
        guessed = self.header is None and not self._file(self.path).header
        return "; header: true says that the first line holds names" if guessed else ""

    def _file(self, path: str) -> "CsvFile":
        return CsvFile(
            Path(path), self.header, self.separator, self.encoding, (*MISSING_MARKERS, *self.missing), self.decimal
        )


@final
class CsvFile:
    """A text file of rows, read piece by piece.

    Raises:
        DataError: it is not there, or empty.
    """

    def __init__(
        self,
        path: Path,
        header: bool | None,
        separator: str,
        encoding: str,
        missing: tuple[str, ...],
        decimal: str = ".",
    ) -> None:
        self._path, self._separator, self._missing, self._decimal = path, separator, missing, decimal
        self._packed = path.suffix.lower() == ".gz"
        self._encoding = self._marked(encoding)
        first = self._first()
        self.header = header if header is not None else not any(_is_number(_pointed(cell, decimal)) for cell in first)
        self.names = _named(first) if self.header else [str(place) for place in range(len(first))]

    def chunks(self, text: set[str]) -> Iterator["pd.DataFrame"]:
        """Rows, some at a time.

        Args:
            text: columns whose cells are to come as they are written.

        Raises:
            DataError: it cannot be read, or has rows of another length; the message names the line.
        """
        import pandas as pd

        twice = next((name for name in self.names if self.names.count(name) > 1), None)
        if twice is not None:
            raise self._error(f"two columns are called '{twice}'")
        some = checked = False
        try:
            with pd.read_csv(
                self._path,
                sep=self._separator,
                names=self.names,
                header=0 if self.header else None,
                decimal=self._decimal,
                index_col=False,
                dtype=dict.fromkeys(text, str),
                na_values=list(self._missing),
                keep_default_na=False,
                skipinitialspace=True,
                encoding=self._encoding,
                compression="gzip" if self._packed else None,
                low_memory=False,
                chunksize=CHUNK_ROWS,
            ) as reader:
                while (piece := _next(reader)) is not None:
                    if not checked and len(piece) and piece.iloc[:, -1].isna().any():
                        self._check_lengths()  # pandas fills rows that are too short
                        checked = True
                    some = some or len(piece) > 0
                    yield piece if self._decimal == "." else _with_points(piece, self._decimal)
        except pd.errors.ParserWarning:
            self._check_lengths()
            raise self._error("has rows of unequal length") from None
        except pd.errors.ParserError as error:
            self._check_lengths()
            raise self._error(
                f"cannot be read: {str(error).removeprefix('Error tokenizing data. C error: ')}"
            ) from None
        except BROKEN as error:
            raise self._error(self._reason(error)) from None
        if not some:
            raise self._error("holds no rows")

    @property
    def rows(self) -> int:
        """About how many there are, a little more rather than less; 0 where the file is packed."""
        if self._packed:
            return 0
        try:
            with self._path.open("rb") as file:
                lines = file.read(SAMPLE).count(b"\n") + 1
            size = self._path.stat().st_size
        except OSError as error:
            raise self._error(self._reason(error)) from None
        return int(lines * max(1, size / SAMPLE) * 1.02) + 1

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """Lines, each with the number of its last one in the file, but for empty ones."""
        try:
            with (gzip.open if self._packed else open)(self._path, "rt", encoding=self._encoding, newline="") as file:
                reader = csv.reader(file, delimiter=self._separator, skipinitialspace=True)
                for cells in reader:
                    if cells and not (len(cells) == 1 and not cells[0].strip()):  # as pandas skips them
                        yield reader.line_num, cells
        except BROKEN as error:
            raise self._error(self._reason(error)) from None

    def _first(self) -> list[str]:
        for _, cells in self._lines():
            return [cell.strip() for cell in cells]
        raise self._error("is empty")

    def _check_lengths(self) -> None:
        for line, cells in self._lines():
            if len(cells) != len(self.names):
                raise self._error(f"line {line} has {len(cells)} cells, the first line {len(self.names)}")

    def _marked(self, encoding: str) -> str:
        """The encoding; of UTF-8 the one that takes the mark that some editors begin a file with."""
        try:
            return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
        except LookupError:
            raise self._error(f"there is no encoding '{encoding}'") from None

    def _reason(self, error: Exception) -> str:
        if isinstance(error, FileNotFoundError):
            return "there is no such file; a relative path starts at the current folder"
        if isinstance(error, UnicodeError):
            text = self._encoding.removesuffix("-sig")
            return f"is not {text} text: {str(error).replace(self._encoding, text)}; say which: encoding: latin-1"
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"

    def _error(self, message: str) -> DataError:
        return DataError(f"data: csv: {self._path}: {message}")


def _next(reader: Iterator["pd.DataFrame"]) -> "pd.DataFrame | None":
    """Some more rows; a row that is too long, of which pandas only warns when it is among the first, is an error."""
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return next(reader, None)


def _named(cells: list[str]) -> list[str]:
    """Names of columns; one without is called by its place."""
    return [cell or f"column {place}" for place, cell in enumerate(cells)]


def _with_points(piece: "pd.DataFrame", decimal: str) -> "pd.DataFrame":
    """Numbers in columns that pandas takes for text, because there is text among them, as numbers are written here."""
    import pandas as pd

    for place in range(piece.shape[1]):
        cells = piece.iloc[:, place]
        if not pd.api.types.is_numeric_dtype(cells.dtype):
            found = {cell: _pointed(cell, decimal) for cell in cells.dropna().unique()}
            if any(cell is not point for cell, point in found.items()):
                piece.isetitem(place, cells.map(found))
    return piece


def _pointed(cell: Any, decimal: str) -> Any:
    """A number with a decimal point."""
    if isinstance(cell, str) and _NUMBER.fullmatch(point := cell.replace(decimal, ".")):
        return point
    return cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True

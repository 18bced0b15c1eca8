"""Tables in CSV files."""

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

from hpsearch.data.frame import first_duplicate
from hpsearch.data.sources.tables import CHUNK_ROWS, Chunk, ColumnName, TableSource, resolve_columns
from hpsearch.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_BYTES = 1 << 20  # that are read to estimate the number of rows
# Markers of missing cells in every CSV file, the same as those of pandas.
MISSING_MARKERS = (
    *("", " ", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A"),
    *("NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
_NUMBER = re.compile(r"\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\s*")
CSV_ERRORS = (OSError, EOFError, UnicodeError, ValueError, csv.Error, zlib.error)


@final
class CsvSource(TableSource):
    """`{source: csv, path: adult.csv, target: -1}`; files whose names end in .gz are decompressed.

    If `header` is not given, a first line without numbers is a header. Without a header, columns are named 0, 1, …
    """

    decimal_hint: ClassVar[str] = "set decimal: ','"

    source: Literal["csv"] = Field("csv", description="Source.")
    path: Annotated[str, Field(min_length=1, description="File, relative to the current folder.")]
    test_path: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="File of the test rows. Default: they are part of `path`."
    )
    header: bool | None = Field(
        None, description="The first line has the names of the columns. Default: true if it contains no number."
    )
    separator: Annotated[str, Field(min_length=1, max_length=1, description="Separator of the cells.")] = ","
    decimal: Annotated[str, Field(min_length=1, max_length=1, description="Decimal separator.")] = "."
    encoding: str = Field("utf-8", description="Encoding of the text.")

    def chunks(self, text: frozenset[ColumnName]) -> Iterator[Chunk]:
        first: list[str] | None = None
        rows = sum(self._file(path).rows for path in (self.path, self.test_path) if path is not None)
        for path, test in ((self.path, False), (self.test_path, True)):
            if path is not None:
                file = self._file(path)
                for cells in file.chunks(resolve_columns(text, first or file.names)):
                    yield Chunk(self.align_columns(cells, first, path), test, rows)
                first = file.names

    def input_format(self) -> dict[str, Any]:
        text = {"separator": self.separator, "decimal": self.decimal, "encoding": self.encoding}
        return {"missing": [*MISSING_MARKERS, *self.missing], "header": self._file(self.path).header, **text}

    def missing_column_hint(self) -> str:
        guessed = self.header is None and not self._file(self.path).header
        return "; if the first line holds the column names, set header: true" if guessed else ""

    def _file(self, path: str) -> "CsvFile":
        return CsvFile(
            Path(path), self.header, self.separator, self.encoding, (*MISSING_MARKERS, *self.missing), self.decimal
        )


@final
class CsvFile:
    """A CSV file, read chunk by chunk.

    Args:
        header: the first line holds the column names; None to detect it.
        missing: markers of missing cells.

    Attributes:
        header: the first line holds the column names.
        names: names of the columns.

    Raises:
        DataError: the file does not exist, is empty or cannot be read, or the encoding is unknown.
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
        self._compressed = path.suffix.lower() == ".gz"
        self._encoding = self._with_bom(encoding)
        first = self._first_line()
        self.header = (
            header if header is not None else not any(_is_number(_with_point(cell, decimal)) for cell in first)
        )
        self.names = _column_names(first) if self.header else [str(place) for place in range(len(first))]

    def chunks(self, text: set[str]) -> Iterator["pd.DataFrame"]:
        """Yield the rows.

        Args:
            text: columns whose cells are not converted to numbers.

        Raises:
            DataError: the file cannot be read, or rows differ in length; the message names the line.
        """
        import pandas as pd

        duplicate = first_duplicate(self.names)
        if duplicate is not None:
            raise self._error(f"two columns are named '{duplicate}'")
        has_rows = checked = False
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
                compression="gzip" if self._compressed else None,
                low_memory=False,
                chunksize=CHUNK_ROWS,
            ) as reader:
                while (chunk := _next_chunk(reader)) is not None:
                    if not checked and len(chunk) and chunk.iloc[:, -1].isna().any():
                        self._check_lengths()  # pandas pads rows that are too short
                        checked = True
                    has_rows = has_rows or len(chunk) > 0
                    yield chunk if self._decimal == "." else _with_points(chunk, self._decimal)
        except pd.errors.ParserWarning:
            self._check_lengths()
            raise self._error("has rows of unequal length") from None
        except pd.errors.ParserError as error:
            self._check_lengths()
            raise self._error(
                f"cannot be read: {str(error).removeprefix('Error tokenizing data. C error: ')}"
            ) from None
        except CSV_ERRORS as error:
            raise self._error(self._reason(error)) from None
        if not has_rows:
            raise self._error("holds no rows")

    @property
    def rows(self) -> int:
        """Estimated number of rows, usually slightly too high; 0 for compressed files."""
        if self._compressed:
            return 0
        try:
            with self._path.open("rb") as file:
                lines = file.read(SAMPLE_BYTES).count(b"\n") + 1
            size = self._path.stat().st_size
        except OSError as error:
            raise self._error(self._reason(error)) from None
        return int(lines * max(1, size / SAMPLE_BYTES) * 1.02) + 1

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the cells of each record that is not empty, with the number of its last line."""
        try:
            with (gzip.open if self._compressed else open)(
                self._path, "rt", encoding=self._encoding, newline=""
            ) as file:
                reader = csv.reader(file, delimiter=self._separator, skipinitialspace=True)
                for cells in reader:
                    if cells and not (len(cells) == 1 and not cells[0].strip()):  # pandas skips these too
                        yield reader.line_num, cells
        except CSV_ERRORS as error:
            raise self._error(self._reason(error)) from None

    def _first_line(self) -> list[str]:
        for _, cells in self._lines():
            return [cell.strip() for cell in cells]
        raise self._error("is empty")

    def _check_lengths(self) -> None:
        for line, cells in self._lines():
            if len(cells) != len(self.names):
                raise self._error(f"line {line} has {len(cells)} cells, the first line {len(self.names)}")

    def _with_bom(self, encoding: str) -> str:
        """Return the encoding; for UTF-8, the variant that accepts a byte order mark."""
        try:
            return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
        except LookupError:
            raise self._error(f"there is no encoding '{encoding}'") from None

    def _reason(self, error: Exception) -> str:
        if isinstance(error, FileNotFoundError):
            return "there is no such file; a relative path starts at the current folder"
        if isinstance(error, UnicodeError):
            text = self._encoding.removesuffix("-sig")
            reason = str(error).replace(self._encoding, text)
            return f"is not {text} text: {reason}; set another encoding, such as encoding: latin-1"
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"

    def _error(self, message: str) -> DataError:
        return DataError(f"data: csv: {self._path}: {message}")


def _next_chunk(reader: Iterator["pd.DataFrame"]) -> "pd.DataFrame | None":
    """Return the next rows, None at the end; raise pandas' warning about a first row that is too long."""
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return next(reader, None)


def _column_names(cells: list[str]) -> list[str]:
    """Return the names of the columns; unnamed ones are named by position."""
    return [cell or f"column {place}" for place, cell in enumerate(cells)]


def _with_points(chunk: "pd.DataFrame", decimal: str) -> "pd.DataFrame":
    """Write decimal points in the numbers of columns that pandas read as text because of other text in them."""
    import pandas as pd

    for position in range(chunk.shape[1]):
        cells = chunk.iloc[:, position]
        if not pd.api.types.is_numeric_dtype(cells.dtype):
            replacements = {cell: _with_point(cell, decimal) for cell in cells.dropna().unique()}
            if any(cell is not converted for cell, converted in replacements.items()):
                chunk.isetitem(position, cells.map(replacements))
    return chunk


def _with_point(cell: Any, decimal: str) -> Any:
    """Return a number with a decimal point, any other cell unchanged."""
    if isinstance(cell, str) and _NUMBER.fullmatch(converted := cell.replace(decimal, ".")):
        return converted
    return cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True

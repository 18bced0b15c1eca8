"""Tables in CSV files."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, final

from pydantic import BeforeValidator, Field, model_validator

from hpsearch.core.schema import Listed
from hpsearch.data.sources.tables import Chunk, ColumnName, TableSource, resolve_columns
from hpsearch.data.text_files.csv_file import CsvFile, TextFormat
from hpsearch.data.text_files.opening import WHITESPACE

# Markers of missing cells in every CSV file, the same as those of pandas.
MISSING_MARKERS = (
    *("", " ", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A"),
    *("NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
_SEPARATOR_WORDS = {"\\t": "\t", "tab": "\t", r"\s+": WHITESPACE, r"\s*": WHITESPACE, "space": " "}


def _separator(value: Any) -> Any:
    """Return the separator that a word of pandas or of English stands for."""
    value = _SEPARATOR_WORDS.get(value, value) if isinstance(value, str) else value
    if isinstance(value, str) and len(value) != 1 and value != WHITESPACE:
        raise ValueError(f"must be one character, or {WHITESPACE}, got {value!r}")
    return value


@final
class CsvSource(TableSource):
    """`{source: csv, path: adult.csv, target: -1}`; files whose names end in .gz are decompressed.

    Without a header, columns are named 0, 1, …; zip files must hold one file.
    """

    decimal_hint: ClassVar[str] = "set {}"
    standard_markers: ClassVar[tuple[str, ...]] = MISSING_MARKERS

    source: Literal["csv"] = Field("csv", description="Source.")
    path: Annotated[str, Field(min_length=1, description="File, relative to the current folder.")]
    test_path: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="File of the test rows. Default: they are part of `path`."
    )
    header: bool | None = Field(
        None,
        description="The first line has the names of the columns. Default: guessed from the lines below it; reported.",
    )
    separator: Annotated[str, Field(min_length=1), BeforeValidator(_separator)] | None = Field(
        None,
        description="Separator of the cells: one character, or `whitespace` for any number of spaces and tabs."
        " Default: a comma, if it parts the lines evenly; otherwise found and reported.",
    )
    decimal: Annotated[str, Field(min_length=1, max_length=1, description="Decimal separator.")] = "."
    thousands: Annotated[str, Field(min_length=1, max_length=1)] | None = Field(
        None, description="Separator of groups of digits: `,` in 1,234.5. Default: digits are not grouped."
    )
    strip: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Listed] = Field(
        (),
        description="Marks to remove from numbers, such as `$`, `%` or `kg`; `()` reads (1.5) as −1.5, `-` reads 1.5-"
        " so, and `−` is a minus.",
    )
    encoding: str | None = Field(
        None, description="Encoding of the text. Default: that of the byte order mark, otherwise utf-8."
    )
    skip_lines: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Number of lines before the table. Default: those that are comments or such as `sep=;`."
    )
    skip_footer: Annotated[int, Field(ge=0, le=1000)] = Field(0, description="Number of lines after the table.")

    @model_validator(mode="after")
    def _marks_differ(self) -> Self:
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands must differ, got {self.decimal!r}")
        if any(mark is not None and mark.isalnum() for mark in (self.decimal, self.thousands)):
            raise ValueError("decimal and thousands must not be letters or digits")
        if any(mark.isdigit() or mark == self.decimal for mark in self.strip):
            raise ValueError("strip: must hold marks around numbers, not digits or the decimal separator")
        return self

    def chunks(self, text: frozenset[ColumnName]) -> Iterator[Chunk]:
        first: list[str] | None = None
        files = [(self._file(path), path, number > 0) for number, path in enumerate(self._paths())]
        rows = sum(file.rows for file, _, _ in files)
        for file, path, test in files:
            for cells in file.chunks(resolve_columns(text, first or file.names)):
                yield Chunk(self.align_columns(cells, first, path), test, rows)
            first = file.names

    def notices(self) -> Iterator[str]:
        yield from self._file(self.path).notices

    def input_format(self) -> dict[str, Any]:
        return {**super().input_format(), **self._file(self.path).format.stored()}

    def missing_column_hint(self) -> str:
        file = self._file(self.path)
        if self.header is not None:
            return ""
        if not file.format.header:
            return "; if the first line holds the column names, set header: true"
        unclear = any(notice.endswith("header: false") for notice in file.notices)
        return "; if the first line is a row, set header: false" if unclear else ""

    def sample_cells(self) -> dict[str, list[str]]:
        """Return column → its cells in the first rows, as they are written."""
        return self._file(self.path).sample_cells()

    def _paths(self) -> list[str]:
        return [self.path] if self.test_path is None else [self.path, self.test_path]

    def _file(self, path: str) -> CsvFile:
        """Return a file; that of the test rows is read like the other one, except for the lines around its table."""
        given = TextFormat(**{name: getattr(self, name) for name in TextFormat._fields})
        if path != self.path:
            like = self._file(self.path).format
            given = given._replace(header=like.header, separator=like.separator)
        general, by_column = self.all_markers()
        missing = general or ()
        try:
            state = Path(path).stat()
        except (OSError, ValueError):
            return CsvFile(Path(path), given, missing)  # raises the error
        return _opened(
            Path(path), given, missing, tuple(by_column.items()), (state.st_ino, state.st_size, state.st_mtime_ns)
        )


@lru_cache(maxsize=4)
def _opened(
    path: Path,
    format: TextFormat,
    missing: tuple[str, ...],
    missing_of: tuple[tuple[str, tuple[str, ...]], ...],
    _state: tuple[int, ...],
) -> CsvFile:
    """Return a file, whose layout is found once as long as the file does not change."""
    return CsvFile(path, format, missing, dict(missing_of))

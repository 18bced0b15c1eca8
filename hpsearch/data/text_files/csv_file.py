"""The rows of a text file with a table, chunk by chunk."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, final

from hpsearch.core.files.regular_file import open_regular
from hpsearch.data.frame import CHUNK_ROWS
from hpsearch.data.text_files.encodings import guess_encoding, resolve_encoding
from hpsearch.data.text_files.layout import (
    SAMPLE_CHARACTERS,
    SAMPLE_LINES,
    Layout,
    find_layout,
    split_lines,
)
from hpsearch.data.text_files.numbers import NumberFormat
from hpsearch.data.text_files.opening import TEXT_ERRORS, WHITESPACE, compression, open_text, records, without_last
from hpsearch.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_BYTES = 1 << 20  # that are read to estimate the number of rows
TAIL_BYTES = 1 << 16  # that are read to find a footer
MAX_FOOTER = 10  # lines


class TextFormat(NamedTuple):
    """How a text file is read; None for what is found in the file.

    Attributes:
        header: the first line holds the names of the columns.
        separator: separator of the cells: a character, or `whitespace`.
        decimal: decimal separator.
        thousands: separator of digit groups.
        strip: marks that are removed from numbers.
        encoding: encoding of the text.
        skip_lines: number of lines before the table.
        skip_footer: number of lines after the table.
    """

    header: bool | None = None
    separator: str | None = None
    decimal: str = "."
    thousands: str | None = None
    strip: tuple[str, ...] = ()
    encoding: str | None = None
    skip_lines: int | None = None
    skip_footer: int = 0

    @classmethod
    def restore(cls, stored: Mapping[str, Any]) -> Self:
        """Return the format that was stored by `stored`."""
        known = {key: stored[key] for key in cls._fields if key in stored}
        return cls(**{**known, "strip": tuple(known.get("strip", ()))})

    def stored(self) -> dict[str, Any]:
        """Return the format as plain JSON, without the lines around the table, which other files may not have."""
        lines = ("skip_lines", "skip_footer")
        return {k: v for k, v in self._asdict().items() if v is not None and v != () and k not in lines}

    @property
    def numbers(self) -> NumberFormat:
        """How numbers are written."""
        return NumberFormat(self.decimal, self.thousands, self.strip)


@final
class CsvFile:
    """A text file with a table, read chunk by chunk.

    Args:
        format: how it is read; what is None is found in the file.
        missing: markers of missing cells.
        missing_of: column → markers in place of `missing`.

    Attributes:
        format: how it is read, with what was found.
        names: names of the columns.
        notices: what was found, in words.

    Raises:
        DataError: the file does not exist, is empty or cannot be read, or the encoding is unknown.
    """

    def __init__(
        self,
        path: Path,
        format: TextFormat,
        missing: tuple[str, ...],
        missing_of: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self._path, self._missing, self._given, self._missing_of = path, missing, format, missing_of or {}
        try:
            self._encoding = resolve_encoding(path, format.encoding)
        except LookupError:
            raise self._error(f"there is no encoding '{format.encoding}'") from None
        except TEXT_ERRORS as error:
            raise self._error(self._reason(error)) from None
        self._layout = self._find_layout()
        self.names, self.notices = list(self._layout.names), self._layout.notices
        self.format = format._replace(
            header=self._layout.header,
            separator=self._layout.separator,
            encoding=self._encoding.removesuffix("-sig"),
        )

    def chunks(self, text: set[str]) -> Iterator["pd.DataFrame"]:
        """Yield the rows.

        Args:
            text: columns whose cells are not converted to numbers.

        Raises:
            DataError: the file cannot be read, or rows differ in length; the message names the line.
        """
        import pandas as pd

        has_rows = checked = False
        numbers = self.format.numbers
        try:
            opened = open_text(self._path, self._encoding, self._layout.skip_lines, self.format.skip_footer)
            with opened as file, self._reader(file, text) as reader:
                while (chunk := _next_chunk(reader)) is not None:
                    if not checked and len(chunk) and chunk.iloc[:, -1].isna().any():
                        self._check_lengths()  # pandas pads rows that are too short
                        checked = True
                    has_rows = has_rows or len(chunk) > 0
                    yield chunk if numbers.is_plain else with_plain_numbers(chunk, numbers, text)
        except pd.errors.ParserWarning:
            self._check_lengths()
            raise self._error("has rows of unequal length") from None
        except pd.errors.ParserError as error:
            self._check_lengths()
            raise self._error(
                f"cannot be read: {str(error).removeprefix('Error tokenizing data. C error: ')}"
            ) from None
        except TEXT_ERRORS as error:
            raise self._error(self._reason(error)) from None
        if not has_rows:
            raise self._error("holds no rows")

    def _reader(self, file: Any, text: set[str]) -> Any:
        import pandas as pd

        return pd.read_csv(
            file,
            sep=r"\s+" if self._layout.separator == WHITESPACE else self._layout.separator,
            names=self.names,
            header=0 if self._layout.header else None,
            decimal=self.format.decimal,
            index_col=False,
            dtype=dict.fromkeys(text, str),
            na_values={name: list(self._missing_of.get(name, self._missing)) for name in self.names}
            if self._missing_of
            else list(self._missing),
            keep_default_na=False,
            skipinitialspace=True,
            low_memory=False,
            chunksize=CHUNK_ROWS,
            **_precision(pd.__version__),
        )

    @property
    def rows(self) -> int:
        """Estimated number of rows, usually slightly too high; 0 for compressed files."""
        try:
            with open_regular(self._path) as file:
                sample = file.read(SAMPLE_BYTES)
                size = file.seek(0, 2)
        except OSError as error:
            raise self._error(self._reason(error)) from None
        if compression(self._path, sample):
            return 0
        return int((sample.count(b"\n") + 1) * max(1, size / SAMPLE_BYTES) * 1.02) + 1

    def sample_lines(self) -> list[str]:
        """Return the first lines.

        Raises:
            DataError: the file cannot be read.
        """
        lines, characters = [], 0
        try:
            with open_text(self._path, self._encoding) as file:
                for line in file:
                    lines.append(line)
                    characters += len(line)
                    if len(lines) >= SAMPLE_LINES or (characters >= SAMPLE_CHARACTERS and len(lines) > 1):
                        break
        except TEXT_ERRORS as error:
            raise self._error(self._reason(error)) from None
        return lines

    def sample_cells(self) -> dict[str, list[str]]:
        """Return column → its cells in the first rows, as they are written."""
        rows = split_lines(self.sample_lines()[self._layout.skip_lines :], self._layout.separator)
        rows = [row for row in rows if len(row) == len(self.names)][bool(self._layout.header) :]
        return {name: [row[place].strip() for row in rows] for place, name in enumerate(self.names)}

    def footer_lines(self) -> int:
        """Return the number of lines after the table, judged by their number of cells; 0 for compressed files."""
        try:
            with open_regular(self._path) as file:
                if compression(self._path, file.read(16)):
                    return 0
                file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
                tail = file.read().decode(self._encoding, "ignore")
        except TEXT_ERRORS as error:
            raise self._error(self._reason(error)) from None
        rows = [row for row in split_lines(tail.splitlines(keepends=True), self._layout.separator) if "".join(row)]
        even = [len(row) == len(self.names) for row in rows[-3 * MAX_FOOTER :]]
        count = even[::-1].index(True) if True in even else 0
        table = even[1 : len(even) - count]
        return count if count <= MAX_FOOTER <= len(table) and all(table) else 0

    def _find_layout(self) -> Layout:
        given = self._given
        lines = self.sample_lines()
        found = find_layout(lines, given.separator, given.header, given.skip_lines, self._missing, given.decimal)
        if found is None:
            raise self._error("is empty")
        return found

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the cells of each record of the table, with the number of its last line."""
        skipped = self._layout.skip_lines
        try:
            with open_text(self._path, self._encoding, skipped) as file:
                found = without_last(records(file, self._layout.separator), self.format.skip_footer)
                yield from ((line + skipped, cells) for line, cells in found)
        except TEXT_ERRORS as error:
            raise self._error(self._reason(error)) from None

    def _check_lengths(self) -> None:
        """Raise an error if rows have more or fewer cells than there are columns."""
        width = len(self.names)
        wrong: tuple[int, list[str]] | None = None
        last = total = uneven = trailing = 0
        for line, cells in self._records():
            total += 1
            if len(cells) == width or (total == 1 and self._layout.row_names):
                trailing = 0
                continue
            wrong = wrong or (line, cells)
            last, uneven, trailing = line, uneven + 1, trailing + 1
        if wrong is None:
            return
        hint = ""
        if 0 < uneven == trailing <= MAX_FOOTER and uneven < total - 1:
            hint = f"; if {'it is' if last == wrong[0] else 'the last lines are'} not part of the table: "
            hint += f"skip_footer: {uneven}"
        elif uneven == total - 1 and total > 2:
            hint = "; if the first line is not part of the table: skip_lines: 1"
        elif self._layout.separator == " ":
            hint = "; if any number of spaces parts the cells: separator: whitespace"
        cells_in_words = "1 cell" if len(wrong[1]) == 1 else f"{len(wrong[1])} cells"
        raise self._error(f"line {wrong[0]} has {cells_in_words}, the first line {width}{hint}")

    def _reason(self, error: Exception) -> str:
        if isinstance(error, FileNotFoundError):
            return "there is no such file; a relative path starts at the current folder"
        if isinstance(error, UnicodeError):
            text = self._encoding.removesuffix("-sig")
            reason = str(error).replace(self._encoding, text)
            return f"is not {text} text: {reason}; {self._other_encoding()}"
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"

    def _other_encoding(self) -> str:
        """Return advice about a file that is not in the encoding that was expected."""
        guess = guess_encoding(self._path)
        if guess is None:
            return f"remove encoding: {self._given.encoding}"
        if guess.encoding is not None:
            words = guess.readings[guess.encoding]
            return f"it looks like encoding: {guess.encoding}" + (f", which reads {words!r}" if words else "")
        readings = ", ".join(f"{name} ({words})" for name, words in guess.readings.items() if words)
        return (
            f"set another encoding, such as encoding: latin-1; some read: {readings}"
            if readings
            else ("set another encoding, such as encoding: latin-1")
        )

    def _error(self, message: str) -> DataError:
        return DataError(f"data: csv: {self._path}: {message}")


def _next_chunk(reader: Iterator["pd.DataFrame"]) -> "pd.DataFrame | None":
    """Return the next rows, None at the end; raise pandas' warning about a first row that is too long."""
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return next(reader, None)


def with_plain_numbers(chunk: "pd.DataFrame", numbers: NumberFormat, text: set[str]) -> "pd.DataFrame":
    """Write numbers as 1234.5 in columns that pandas read as text; a column of such numbers becomes numeric.

    Args:
        text: columns that remain text.
    """
    import pandas as pd

    convert = numbers.converter()
    for position, name in enumerate(chunk.columns):
        cells = chunk.iloc[:, position]
        if pd.api.types.is_numeric_dtype(cells.dtype):
            continue
        distinct = cells.dropna().unique()
        written = {cell: convert(cell) if isinstance(cell, str) else cell for cell in distinct}
        if any(cell is not converted for cell, converted in written.items()):
            cells = cells.map(written)
            if name not in text:
                with contextlib.suppress(ValueError, TypeError):  # other text
                    cells = pd.to_numeric(cells)
            chunk.isetitem(position, cells)
    return chunk


def _precision(version: str) -> dict[str, str]:
    """Return the option of `read_csv` that reads every number exactly; pandas 3.1 always does, and deprecates it."""
    release = tuple(int(part) for part in version.split(".")[:2])
    return {"float_precision": "round_trip"} if release < (3, 1) else {}

"""Detection of a table file's format: the encoding, the separator and the header of a CSV file."""

import codecs
import csv
import gzip
import re
import zlib
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from hpsearch.data.sources.csv import CsvFile
from hpsearch.data.sources.parquet import ParquetSource

SEPARATORS = (",", ";", "\t", "|")
SAMPLE_CHARACTERS = 1 << 18  # that are read to detect the separator
MAX_NUMBER_LENGTH = 50  # longer cells are not numbers; matching them would take time quadratic in their length
_FORMATTED_NUMBER = re.compile(r"\W*[+-]?\d[\d.,'  ]*[^\w]*")  # 3,14 and 1,234 and 12 % and $5


class FileFormat(NamedTuple):
    """The format of a table file.

    Attributes:
        settings: settings of the source, in the order of a study file.
        columns: names of the columns.
    """

    settings: dict[str, Any]
    columns: list[str]


def detect_format(path: Path, test: Path | None) -> FileFormat:
    """Detect the format of a table file.

    Args:
        test: file of the test rows, which has the same format.

    Raises:
        DataError: the file cannot be read.
    """
    settings: dict[str, Any] = {"source": "csv", "path": str(path)}
    if test is not None:
        settings["test_path"] = str(test)
    if path.suffix.lower() == ".parquet":
        settings["source"] = "parquet"
        source = ParquetSource.model_validate({**settings, "target": 0})
        first = next(source.chunks(frozenset()), None)
        return FileFormat(settings, [str(name) for name in first.cells.columns] if first is not None else [])
    encoding, start = _detect_encoding(path)
    separator = detect_separator(start)
    file = CsvFile(path, None, separator, encoding, ())
    settings |= {"header": file.header, "separator": separator}
    if encoding != "utf-8":
        settings["encoding"] = encoding
    return FileFormat(settings, file.names)


def _detect_encoding(path: Path) -> tuple[str, str]:
    """Return the encoding and the first characters; bytes that are not UTF-8 are read as Latin-1, which never fails."""
    try:
        with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb") as file:
            start = file.read(SAMPLE_CHARACTERS)
            if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                return "utf-16", start.decode("utf-16", "replace")
            decoder, block = codecs.getincrementaldecoder("utf-8")(), start
            try:
                while block:
                    decoder.decode(block)
                    block = file.read(1 << 22)
                decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                return "latin-1", start.decode("latin-1")
            return "utf-8", start.decode("utf-8-sig", "replace")
    except (OSError, EOFError, ValueError, zlib.error):
        return "utf-8", ""  # CsvFile reports the error


def detect_separator(start: str) -> str:
    """Return the separator that gives the most lines of equal width, then the most numbers, then the most cells."""
    lines = start.splitlines(keepends=True)
    if len(start) >= SAMPLE_CHARACTERS // 4 and len(lines) > 1:
        lines = lines[:-1]  # the last line may be incomplete
    best, chosen = (0.0, 0.0, 0), ","
    for separator in SEPARATORS:
        try:
            rows = [r for r in csv.reader(lines, delimiter=separator, skipinitialspace=True) if "".join(r).strip()]
        except csv.Error:
            continue
        width, lines_of_width = Counter(map(len, rows)).most_common(1)[0] if rows else (0, 0)
        if width > 1:
            cells = [cell for row in rows for cell in row]
            numbers = sum(is_formatted_number(cell.strip()) and cell.count(",") < 2 for cell in cells)
            score = (lines_of_width / len(rows), numbers / len(cells), width)
            if score > best:
                best, chosen = score, separator
    return chosen


def is_formatted_number(cell: str) -> bool:
    """Return True for a number in any notation: `3,14`, `1,234`, `12 %`, `$5`."""
    return len(cell) <= MAX_NUMBER_LENGTH and _FORMATTED_NUMBER.fullmatch(cell) is not None
